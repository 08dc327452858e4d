//! Ids as text: what is taken, and what is said about what is not.

mod common;

use common::Draws;
use selvedge_core::{Id, Issuer, NetworkId};
use selvedge_crypto::ids::{IdError, Kind, TextId, parse, to_text};

const BECH32: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

fn round_trip<T: TextId + Copy + PartialEq + std::fmt::Debug>(draws: &mut Draws) {
    for _ in 0..200 {
        let id = T::from_bytes(draws.bytes(32).try_into().unwrap());
        let text = to_text(&id);
        assert!(text.starts_with(T::KIND.prefix()) && text.len() == T::KIND.text_chars(), "{text}");
        assert_eq!(parse::<T>(&text), Ok(id));
        assert_eq!(parse::<T>(&text.to_uppercase()), Ok(id));
        assert_eq!(parse::<T>(&format!(" {text}\n")), Ok(id));
    }
}

#[test]
fn ids_come_back() {
    let mut draws = Draws::new(0x5EED_0009_0000_0000);
    round_trip::<NetworkId>(&mut draws);
    round_trip::<Issuer>(&mut draws);
    round_trip::<Id>(&mut draws);
}

#[test]
fn texts_are_those_of_the_standard() {
    let bytes = std::array::from_fn(|at| at as u8);
    for (text, golden) in [
        (to_text(&NetworkId(bytes)), reference("svnet", &bytes)),
        (to_text(&Issuer(bytes)), reference("svid", &bytes)),
        (to_text(&Id(bytes)), reference("svtx", &bytes)),
    ] {
        assert_eq!(text, golden);
    }
}

/// BIP-350, "Reference implementation", written anew.
fn reference(prefix: &str, bytes: &[u8; 32]) -> String {
    let mut data = Vec::new();
    let (mut held, mut bits) = (0_u32, 0);
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            data.push(held >> bits & 31);
        }
        held &= (1 << bits) - 1;
    }
    data.push(held << (5 - bits) & 31);
    let mut check: u32 = 1;
    let mut add = |value: u32| {
        let top = check >> 25;
        check = (check & 0x1FF_FFFF) << 5 ^ value;
        for (bit, generator) in
            [0x3B6A_57B2, 0x2650_8E6D, 0x1EA1_19FA, 0x3D42_33DD, 0x2A14_62B3].into_iter().enumerate()
        {
            if top >> bit & 1 == 1 {
                check ^= generator;
            }
        }
    };
    prefix.bytes().for_each(|c| add(u32::from(c) >> 5));
    add(0);
    prefix.bytes().for_each(|c| add(u32::from(c) & 31));
    for value in &data {
        add(*value);
    }
    (0..6).for_each(|_| add(0));
    check ^= 0x2BC8_30A3;
    data.extend((0..6).map(|at| check >> (5 * (5 - at)) & 31));
    let data: String = data.iter().map(|value| char::from(BECH32[*value as usize])).collect();
    format!("{prefix}1{data}")
}

#[test]
fn an_id_of_another_kind_is_named() {
    let text = to_text(&Issuer([9; 32]));
    let error = parse::<NetworkId>(&text).unwrap_err();
    assert_eq!(error, IdError::Kind { expected: Kind::Network, got: Kind::Issuer });
    assert_eq!(error.to_string(), "this is an issuer (svid1…), expected a network id (svnet1…)");
}

#[test]
fn one_wrong_character_is_refused_and_pointed_at() {
    let text = to_text(&NetworkId([0x5A; 32]));
    for at in Kind::Network.prefix().len() + 1..text.len() {
        for other in BECH32 {
            let mut altered = text.clone().into_bytes();
            if altered[at] == *other {
                continue;
            }
            altered[at] = *other;
            let error = parse::<NetworkId>(std::str::from_utf8(&altered).unwrap()).unwrap_err();
            assert_eq!(error, IdError::Mistyped { expected: Kind::Network, at: Some(at + 1) });
        }
    }
}

#[test]
fn up_to_four_wrong_characters_are_always_refused() {
    let mut draws = Draws::new(0x5EED_000A_0000_0000);
    let text = to_text(&Id([0xC3; 32]));
    for _ in 0..2_000 {
        let mut altered = text.clone().into_bytes();
        for _ in 0..=draws.below(4) {
            let at = 5 + draws.below(altered.len() - 5);
            altered[at] = BECH32[draws.below(32)];
        }
        let altered = String::from_utf8(altered).unwrap();
        assert!(altered == text || parse::<Id>(&altered).is_err(), "{altered}");
    }
}

#[test]
fn each_mistake_is_said_as_what_it_is() {
    let text = to_text(&NetworkId([1; 32]));
    let expected = Kind::Network;
    let character = |got, at| IdError::Character { expected, got, at };
    let with = |at: usize, c: &str| format!("{}{c}{}", &text[..at - 1], &text[at..]);
    for (altered, error) in [
        (with(20, "b"), character('b', 20)),
        (with(20, "é"), character('é', 20)),
        (with(20, "1"), character('1', 20)),
        (with(20, "Q"), IdError::MixedCase { expected }),
        (text[..63].into(), IdError::Length { expected, got: 63 }),
        (text.clone() + "q", IdError::Length { expected, got: 65 }),
        (text.repeat(1_000), IdError::Length { expected, got: 64_000 }),
        ("svnet1".into(), IdError::Length { expected, got: 6 }),
        (String::new(), IdError::Prefix { expected, got: String::new() }),
        ("deadbeef".repeat(8), IdError::Prefix { expected, got: "deadbeef…".into() }),
        (
            text.replace("svnet", "bc"),
            IdError::Prefix { expected, got: format!("{}…", "bc1qyqszqgpq".split_at(8).0) },
        ),
    ] {
        assert_eq!(parse::<NetworkId>(&altered), Err(error), "{altered}");
    }
}

#[test]
fn the_older_checksum_is_refused() {
    // bech32 (BIP-173) differs in a constant only; it lets a q before a final p come and go.
    let bytes = [7; 32];
    let old = bech32_old("svtx", &bytes);
    assert_eq!(old.len(), Kind::Transaction.text_chars());
    assert!(matches!(parse::<Id>(&old), Err(IdError::Mistyped { .. })));
}

fn bech32_old(prefix: &str, bytes: &[u8; 32]) -> String {
    // The checksums differ by 0x2BC830A3 ^ 1, six characters of five bits.
    let mut text = reference(prefix, bytes).into_bytes();
    let difference: u32 = 0x2BC8_30A3 ^ 1;
    let end = text.len();
    for at in 0..6 {
        let value = BECH32.iter().position(|c| *c == text[end - 1 - at]).unwrap();
        text[end - 1 - at] = BECH32[value ^ (difference >> (5 * at) & 31) as usize];
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn hostile_texts_are_refused_without_panic() {
    let mut draws = Draws::new(0x5EED_000B_0000_0000);
    let good = to_text(&Issuer([3; 32]));
    for number in 0..50_000 {
        let text = match number % 3 {
            0 => {
                let length = draws.below(200);
                String::from_utf8_lossy(&draws.bytes(length)).into_owned()
            }
            1 => {
                let length = draws.below(100);
                let tail: String = draws.bytes(length).iter().map(|b| char::from(b & 0x7F)).collect();
                format!("svid1{tail}")
            }
            _ => {
                let mut chars: Vec<char> = good.chars().collect();
                for _ in 0..=draws.below(3) {
                    let at = draws.below(chars.len());
                    chars[at] = char::from_u32(draws.next() as u32 % 0x3000).unwrap();
                }
                chars.into_iter().collect()
            }
        };
        if let Ok(id) = parse::<Issuer>(&text) {
            assert!(to_text(&id).eq_ignore_ascii_case(text.trim()), "{text}");
        }
    }
}
