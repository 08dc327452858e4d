use super::*;
use crate::passphrase::Cost;

const PASSPHRASE: &str = "a passphrase";

fn secret(scheme: Scheme) -> SecretKey {
    SecretKey::from_seed(scheme, &std::array::from_fn(|at| at as u8))
}

fn sealed() -> Zeroizing<Vec<u8>> {
    seal_at_cost(&secret(Scheme::MlDsa44), PASSPHRASE, Cost::LEAST).unwrap()
}

fn refused(bytes: &[u8], passphrase: Option<&str>) -> KeyTextError {
    decode(bytes, passphrase).err().unwrap_or_else(|| panic!("taken: {}", bytes.escape_ascii()))
}

#[test]
fn the_text_of_an_open_key() {
    let text = encode(&secret(Scheme::MlDsa65), None).unwrap();
    let lines: Vec<&str> = std::str::from_utf8(&text).unwrap().lines().collect();
    assert_eq!(
        lines[..3],
        [
            "selvedge key 1",
            "scheme ML-DSA-65",
            "seed 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        ]
    );
    assert!(lines[3].starts_with("check ") && lines[3].len() == 38 && lines.len() == 4, "{lines:?}");
}

#[test]
fn keys_come_back() {
    for scheme in [Scheme::MlDsa44, Scheme::MlDsa65] {
        let secret = secret(scheme);
        let open = encode(&secret, None).unwrap();
        let sealed = seal_at_cost(&secret, PASSPHRASE, Cost::LEAST).unwrap();
        assert!(sealed.len() <= KEY_FILE_BYTES_MAX);
        for (text, passphrase) in [(&open, None), (&sealed, Some(PASSPHRASE))] {
            let again = decode(text, passphrase).unwrap();
            assert_eq!((again.scheme(), again.seed()), (scheme, secret.seed()));
        }
    }
}

#[test]
fn a_sealed_key_shows_nothing_of_the_seed() {
    let text = sealed();
    assert!(!std::str::from_utf8(&text).unwrap().contains("04050607"));
}

#[test]
fn each_mistake_has_its_own_answer() {
    let open = encode(&secret(Scheme::MlDsa44), None).unwrap();
    assert_eq!(refused(&open, Some(PASSPHRASE)), KeyTextError::NotSealed);
    assert_eq!(refused(&sealed(), None), KeyTextError::PassphraseNeeded);
    let wrong = KeyTextError::Passphrase(PassphraseError::WrongPassphrase);
    assert_eq!(refused(&sealed(), Some("A passphrase")), wrong);
    assert_eq!(refused(b"-----BEGIN PRIVATE KEY-----\n", None), KeyTextError::NotAKeyFile);
    assert_eq!(refused(b"selvedge key 2\nsomething new\n", None), KeyTextError::Version);
    assert_eq!(refused(b"", None), KeyTextError::Damaged("it is cut short"));
    let long = [open.as_slice(), &[b'\n'; KEY_FILE_BYTES_MAX]].concat();
    assert!(matches!(refused(&long, None), KeyTextError::Damaged(_)));
}

#[test]
fn every_flipped_bit_is_refused() {
    let open = encode(&secret(Scheme::MlDsa44), None).unwrap();
    for (text, passphrase) in [(&open, None), (&sealed(), Some(PASSPHRASE))] {
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut altered = text.to_vec();
                altered[at] ^= 1 << bit;
                let why = refused(&altered, passphrase);
                // Damage is called damage; it is never put down to the passphrase.
                assert!(
                    matches!(
                        why,
                        KeyTextError::Damaged(_) | KeyTextError::NotAKeyFile | KeyTextError::Version
                    ),
                    "bit {bit} of byte {at}: {why}"
                );
            }
        }
    }
}

#[test]
fn every_truncation_is_refused_as_damage() {
    let open = encode(&secret(Scheme::MlDsa44), None).unwrap();
    for (text, passphrase) in [(&open, None), (&sealed(), Some(PASSPHRASE))] {
        for length in 0..text.len() {
            let why = refused(&text[..length], passphrase);
            assert!(matches!(why, KeyTextError::Damaged(_)), "{length} bytes: {why}");
        }
    }
}

/// With a checksum made for it, so that the parser behind the checksum is what refuses.
fn checked(body: &str) -> Vec<u8> {
    let mut text = body.as_bytes().to_vec();
    let check = check_of(&text);
    text.extend_from_slice(b"check ");
    push_hex(&mut text, &check);
    text.push(b'\n');
    text
}

#[test]
fn other_texts_for_the_same_key_are_refused() {
    let seed = "ab".repeat(32);
    let good = format!("selvedge key 1\nscheme ML-DSA-44\nseed {seed}\n");
    assert!(decode(&checked(&good), None).is_ok());
    for altered in [
        good.replace("ab", "AB"),
        good.replace("seed ", "seed  "),
        good.replace('\n', "\r\n"),
        good.replace("scheme ML-DSA-44\n", ""),
        good.replace("ML-DSA-44", "ml-dsa-44"),
        good.replace("ML-DSA-44", "ML-DSA-87"),
        good.replace("seed", "sead"),
        good.replacen("ab", "", 1),
        good.replacen('a', "", 1),
        good.clone() + "\n",
        good.clone() + "seed 00\n",
        format!("\n{good}"),
    ] {
        decode(&checked(&altered), None).expect_err(&altered);
    }
    // Sealed for one scheme, and the file names the other.
    let text = sealed();
    let (body, _) = std::str::from_utf8(&text).unwrap().rsplit_once("check ").unwrap();
    let why = refused(&checked(&body.replace("ML-DSA-44", "ML-DSA-65")), Some(PASSPHRASE));
    assert!(matches!(why, KeyTextError::Damaged(_)), "{why}");
}

#[test]
fn hostile_texts_are_refused_without_panic() {
    let seed: u64 = 0x5EED_0006_0000_0000;
    println!("seed {seed:#018x}");
    let mut state = seed;
    // SplitMix64.
    let mut next = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    let goods = [encode(&secret(Scheme::MlDsa44), None).unwrap(), sealed()];
    let words =
        ["selvedge key 1\n", "scheme ML-DSA-44\n", "scheme ", "seed ", "sealed ", "check ", "\n", "00", "ü"];
    let mut behind_the_checksum = 0;
    for number in 0..50_000_u32 {
        let good = &goods[(next() % 2) as usize];
        let bytes = match number % 3 {
            // Words of the format in any order, half of them with a checksum that fits.
            0 => {
                let mut body = String::from("selvedge key 1\n");
                for _ in 0..next() % 8 {
                    body += words[(next() % words.len() as u64) as usize];
                }
                behind_the_checksum += 1;
                if next() % 2 == 0 { checked(&body) } else { body.into_bytes() }
            }
            1 => (0..next() % 2_000).map(|_| next() as u8).collect(),
            _ => {
                let mut bytes = good.to_vec();
                for _ in 0..=next() % 3 {
                    let at = (next() % bytes.len() as u64) as usize;
                    bytes[at] = next() as u8;
                }
                bytes
            }
        };
        let passphrase = (next() % 2 == 0).then_some(PASSPHRASE);
        // A change may have written the byte that stood there.
        let taken = decode(&bytes, passphrase).is_ok();
        assert!(!taken || goods.iter().any(|good| good.as_slice() == bytes), "{}", bytes.escape_ascii());
    }
    assert!(behind_the_checksum > 10_000);
}
