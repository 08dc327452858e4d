//! Registers to values, against an oracle that knows nothing but the letters of the order.

use selvedge_core::reading::{Quality, Reading, Value};
use selvedge_core::stream::{Attestation, Decimal, Descriptor};

use super::support::cases;
use crate::backoff::SplitMix;
use crate::mapping::{
    Decoded, EMPTY_TEXT, Encoding, Kind, Order, Scaled, decode_bit, decode_registers, scaled,
};
use crate::status_code;

const NUMBERS: [Kind; 10] = Kind::NUMBERS;

/// The registers in which the bytes of a value (`A` first) arrive in the order of `letters`.
fn arrival(bytes: &[u8], letters: &str) -> Vec<u16> {
    let wire: Vec<u8> = letters.bytes().map(|letter| bytes[usize::from(letter - b'A')]).collect();
    wire.chunks(2).map(|pair| u16::from(pair[0]) << 8 | u16::from(pair[1])).collect()
}

/// The value of these bytes, `A` first, by the conversions of the standard library.
fn oracle(kind: Kind, bytes: &[u8]) -> Value {
    match kind {
        Kind::I8 => Value::Int(i8::from_be_bytes(bytes.try_into().unwrap()).into()),
        Kind::I16 => Value::Int(i16::from_be_bytes(bytes.try_into().unwrap()).into()),
        Kind::I32 => Value::Int(i32::from_be_bytes(bytes.try_into().unwrap()).into()),
        Kind::I64 => Value::Int(i64::from_be_bytes(bytes.try_into().unwrap())),
        Kind::U8 => Value::Unsigned(bytes[0].into()),
        Kind::U16 => Value::Unsigned(u16::from_be_bytes(bytes.try_into().unwrap()).into()),
        Kind::U32 => Value::Unsigned(u32::from_be_bytes(bytes.try_into().unwrap()).into()),
        Kind::U64 => Value::Unsigned(u64::from_be_bytes(bytes.try_into().unwrap())),
        Kind::F32 => Value::Float(f32::from_be_bytes(bytes.try_into().unwrap()).into()),
        Kind::F64 => Value::Float(f64::from_be_bytes(bytes.try_into().unwrap())),
        Kind::Bit(_) | Kind::Bool | Kind::Text(_) => unreachable!("not a number"),
    }
}

fn encoding(kind: Kind, order: Order) -> Encoding {
    Encoding { kind, order, not_available: Vec::new(), bit: None }
}

#[test]
fn every_number_in_every_order_is_what_its_letters_say() {
    let mut random = SplitMix(1);
    let mut checked = 0;
    for kind in NUMBERS {
        let width = kind.number_bits().unwrap() as usize / 8;
        for (letters, order) in Order::choices(kind) {
            for _ in 0..5_000 {
                let mut bytes = random.next().to_be_bytes()[..width].to_vec();
                let registers = if width == 1 {
                    // The letter says which byte of the register is meant; the other is noise.
                    let noise = random.next() as u8;
                    let wire = if *letters == "A" { [bytes[0], noise] } else { [noise, bytes[0]] };
                    vec![u16::from_be_bytes(wire)]
                } else {
                    if random.next().is_multiple_of(16) {
                        bytes.fill(0xFF); // minus one, the greatest, a NaN
                    }
                    arrival(&bytes, letters)
                };
                let decoded = decode_registers(&encoding(kind, *order), &registers);
                let expected = oracle(kind, &bytes);
                let case = format!("{kind} {letters} {registers:04x?}");
                match expected {
                    Value::Float(float) if float.is_nan() => {
                        assert_eq!(
                            (decoded.value, decoded.quality),
                            (Value::None, Quality::NotAvailable),
                            "{case}"
                        );
                    }
                    Value::Float(float) if float.is_infinite() => {
                        assert_eq!(
                            (decoded.value, decoded.quality),
                            (expected, Quality::Uncertain),
                            "{case}"
                        );
                    }
                    _ => assert_eq!((decoded.value, decoded.quality), (expected, Quality::Good), "{case}"),
                }
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 5_000 * (2 * 2 + 2 * 2 + 3 * 4 + 3 * 4));
}

#[test]
fn every_bit_of_every_register() {
    for bit in 0..16_u8 {
        for register in 0..=u16::MAX {
            let plain = decode_registers(&encoding(Kind::Bit(bit), Order::default()), &[register]);
            assert_eq!(plain.value, Value::Bool(register & (1 << bit) != 0), "bit {bit} of {register:#06x}");
        }
        let swapped = Order { bytes_swapped: true, words_reversed: false };
        let low_first = decode_registers(&encoding(Kind::Bit(bit), swapped), &[(1_u16 << bit).swap_bytes()]);
        assert_eq!(low_first.value, Value::Bool(true), "bit {bit}, low byte first");
    }
    let truth = |register| decode_registers(&encoding(Kind::Bool, Order::default()), &[register]).value;
    assert_eq!(
        (truth(0), truth(1), truth(0xFF00)),
        (Value::Bool(false), Value::Bool(true), Value::Bool(true))
    );
    assert_eq!(decode_bit(true).value, Value::Bool(true));
}

#[test]
fn infinities_are_kept_and_uncertain_and_a_nan_is_no_number() {
    for (float, expected) in [
        (f32::INFINITY, (Value::Float(f64::INFINITY), Quality::Uncertain, status_code::INFINITE)),
        (f32::NEG_INFINITY, (Value::Float(f64::NEG_INFINITY), Quality::Uncertain, status_code::INFINITE)),
        (f32::NAN, (Value::None, Quality::NotAvailable, 0)),
        (-0.0, (Value::Float(-0.0), Quality::Good, 0)),
    ] {
        let registers = [(float.to_bits() >> 16) as u16, float.to_bits() as u16];
        let decoded = decode_registers(&encoding(Kind::F32, Order::default()), &registers);
        assert_eq!((decoded.value, decoded.quality, decoded.status), expected, "{float}");
    }
}

#[test]
fn a_text_without_a_character_is_not_available_where_that_is_its_mark() {
    let mut text = encoding(Kind::Text(4), Order::default());
    assert_eq!(decode_registers(&text, &[0, 0]), Decoded::good(Value::Text(String::new())));
    text.not_available = vec![EMPTY_TEXT];
    assert_eq!(decode_registers(&text, &[0, 0]), Decoded::not_available());
    assert_eq!(
        decode_registers(&text, &[0x2020, 0]),
        Decoded::not_available(),
        "white space at the end is none"
    );
    assert_eq!(decode_registers(&text, &[0x4100, 0]), Decoded::good(Value::Text("A".to_owned())));
    assert_eq!(decode_registers(&text, &[0xFF00, 0]).quality, Quality::Uncertain);
}

#[test]
fn marks_for_not_available_are_compared_in_the_width_of_the_value() {
    let mut marked = encoding(Kind::I16, Order { bytes_swapped: true, words_reversed: false });
    marked.not_available = vec![0x8000, 0xFFFF];
    for (register, available) in [(0x0080, false), (0xFFFF, false), (0x8000, true), (0x007F, true)] {
        let decoded = decode_registers(&marked, &[register]);
        let quality = if available { Quality::Good } else { Quality::NotAvailable };
        assert_eq!(decoded.quality, quality, "{register:#06x}");
        assert_eq!(decoded.value == Value::None, !available, "{register:#06x}");
    }
    let byte = Encoding { not_available: vec![0xFF], ..encoding(Kind::U8, Order::default()) };
    assert_eq!(
        decode_registers(&byte, &[0x12FF]).quality,
        Quality::NotAvailable,
        "the other byte does not matter"
    );
}

#[test]
fn texts_end_at_a_zero_and_lose_their_padding() {
    let text = |bytes: &[u8], length, swapped| {
        let mut bytes = bytes.to_vec();
        bytes.resize(usize::from(Kind::Text(length).registers()) * 2, b' ');
        let registers: Vec<u16> =
            bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        let order = Order { bytes_swapped: swapped, words_reversed: false };
        decode_registers(&encoding(Kind::Text(length), order), &registers)
    };
    let good = |value: &str| (Value::Text(value.to_owned()), Quality::Good);
    let brief = |decoded: crate::mapping::Decoded| (decoded.value, decoded.quality);
    assert_eq!(brief(text(b"PUMP 7", 16, false)), good("PUMP 7"));
    assert_eq!(brief(text(b"UPPM7 ", 6, true)), good("PUMP 7"));
    assert_eq!(brief(text(b"ab\0rubbish", 10, false)), good("ab"));
    assert_eq!(brief(text(b"abcd", 3, false)), good("abc"), "an odd length leaves the last byte out");
    assert_eq!(brief(text(b"", 4, false)), good(""));
    assert_eq!(brief(text("Grüße".as_bytes(), 8, false)), good("Grüße"));
    let latin = text(b"Gr\xfc\xdfe", 5, false);
    assert_eq!(latin.value, Value::Bytes(b"Gr\xfc\xdfe".to_vec()));
    assert_eq!((latin.quality, latin.status), (Quality::Uncertain, status_code::NOT_TEXT));
}

fn descriptor(scale: &str, offset: &str) -> Descriptor {
    Descriptor {
        name: "s".into(),
        device: "d".into(),
        address: String::new(),
        source_type: String::new(),
        unit: String::new(),
        scale: scale.parse().unwrap(),
        offset: offset.parse().unwrap(),
        attestation: Attestation::Gateway,
    }
}

#[test]
fn integers_are_scaled_in_decimal() {
    let number = |text: &str| Scaled::Number(text.into());
    for (raw, scale, offset, expected) in [
        (Value::Int(3), "0.1", "0", number("0.3")),
        (Value::Unsigned(231), "0.1", "0", number("23.1")),
        (Value::Unsigned(65_535), "0.001", "-40", number("25.535")),
        (Value::Int(-7), "1", "0.07", number("-6.93")),
        (Value::Int(5), "1000", "0", number("5000")),
        (Value::Int(-7), "1", "0", number("-7")),
        (Value::Unsigned(u64::MAX), "1", "0", number("18446744073709551615")),
        (Value::Float(2.5), "2", "1", number("6")),
        (Value::Float(f64::NEG_INFINITY), "2", "1", number("-inf")),
        (Value::Bool(true), "1", "0", Scaled::Bool(true)),
        (Value::Bool(true), "0.1", "3", number("3.1")),
        (Value::Text("x".into()), "0.1", "3", Scaled::Text("x".into())),
        (Value::Text("true".into()), "1", "0", Scaled::Text("true".into())),
        (Value::Bytes(vec![0x0A, 0xFF]), "0.1", "3", Scaled::Bytes("0aff".into())),
        (Value::None, "0.1", "3", Scaled::None),
    ] {
        assert_eq!(scaled(&raw, &descriptor(scale, offset)), expected, "{raw:?} × {scale} + {offset}");
    }
}

/// From the registers: 23.1 of a 32-bit instrument is 23.1 here as in answers and proofs, not 23.100000381469727.
#[test]
fn a_32_bit_float_is_shown_with_the_digits_of_the_instrument() {
    let bits = 23.1_f32.to_bits();
    let encoding = Encoding { kind: Kind::F32, order: Order::default(), not_available: vec![], bit: None };
    let raw = decode_registers(&encoding, &[(bits >> 16) as u16, bits as u16]).value;
    assert_eq!(raw, Value::Float(f64::from(23.1_f32)));
    for (scale, offset, shown) in
        [("1", "0", "23.1"), ("0.1", "0", "2.31"), ("0.1", "-40", "-37.69"), ("1000", "0.5", "23100.5")]
    {
        let descriptor = Descriptor { source_type: "f32 ABCD".into(), ..descriptor(scale, offset) };
        let scaled = scaled(&raw, &descriptor);
        assert_eq!(scaled.to_string(), shown);
        assert_eq!(serde_json::to_string(&scaled).unwrap(), shown);
        assert_eq!(scaled.as_f64(), shown.parse().ok());
    }
}

/// Numbers and bits are shown with the very text of the core, which answers and proofs show too.
#[test]
fn what_an_adapter_shows_is_what_the_core_shows() {
    const SEED: u64 = 4;
    println!("seed: {SEED}");
    let mut random = SplitMix(SEED);
    for case in 0..2_000 {
        let mut bits = || random.next() >> (random.next() % 64);
        let value = match case % 5 {
            0 => Value::Int(bits() as i64),
            1 => Value::Unsigned(bits()),
            2 => Value::Float(f64::from(bits() as f32 / 1_000.0)),
            3 => Value::Float(bits() as f64 / 1_000.0),
            _ => Value::Bool(bits() % 2 == 1),
        };
        let source_type = if case % 5 == 2 { "f32 ABCD" } else { "" };
        let scale = Decimal::new(bits() as i64 >> 32, -3).unwrap();
        let descriptor = Descriptor { source_type: source_type.into(), scale, ..descriptor("1", "-40") };
        let expected = selvedge_core::scaled::scaled(&value, &descriptor).unwrap();
        assert_eq!(scaled(&value, &descriptor).to_string(), expected, "case {case}: {value:?} × {scale}");
    }
}

#[test]
fn scaling_in_decimal_is_never_far_from_floats() {
    let mut random = SplitMix(2);
    for case in 0..20_000 {
        let decimal = |random: &mut SplitMix| {
            let mantissa = (random.next() as i64) >> (random.next() % 64);
            Decimal::new(mantissa, (random.next() % 21) as i32 - 10).unwrap_or(Decimal::ONE)
        };
        let (scale, offset) = (decimal(&mut random), decimal(&mut random));
        let raw = (random.next() as i64) >> (random.next() % 64);
        let scaled = scaled(&Value::Int(raw), &Descriptor { scale, offset, ..descriptor("1", "0") });
        let (product, offset) = (raw as f64 * scale.to_f64(), offset.to_f64());
        let error = (scaled.as_f64().unwrap() - (product + offset)).abs();
        assert!(
            error <= 1e-12 * (product.abs() + offset.abs()),
            "case {case}: {raw} × {scale} + {offset}: {scaled}"
        );
    }
}

#[test]
fn scaled_values_in_json_are_plain() {
    let json = |scaled: &Scaled| serde_json::to_string(scaled).unwrap();
    assert_eq!(json(&Scaled::None), "null");
    let number = |text: &str| json(&Scaled::Number(text.into()));
    assert_eq!(number("inf"), "null");
    assert_eq!(number("-inf"), "null");
    assert_eq!(number("1.5e309"), "null", "beyond the floats");
    assert_eq!(number("23.1"), "23.1");
    assert_eq!(number("5000"), "5000");
    assert_eq!(number("-9223372036854775808"), i64::MIN.to_string());
    assert_eq!(number("18446744073709551615"), u64::MAX.to_string());
    assert_eq!(json(&Scaled::Bool(true)), "true");
    assert_eq!(json(&Scaled::Text("23.1".into())), "\"23.1\"");
    assert_eq!(json(&Scaled::Bytes("0aff".into())), "\"0aff\"");
}

/// Whatever arrives, whatever is configured: no panic, and a value that a reading can hold.
#[test]
fn any_registers_decode_to_something_that_a_reading_holds() {
    const SEED: u64 = 3;
    println!("seed: {SEED}");
    let mut random = SplitMix(SEED);
    for case in 0..cases() {
        let kind = match random.next() % 13 {
            10 => Kind::Bit(random.next() as u8),
            11 => Kind::Bool,
            12 => Kind::Text(random.next() as u16),
            number => NUMBERS[number as usize],
        };
        let order = Order {
            words_reversed: random.next().is_multiple_of(2),
            bytes_swapped: random.next().is_multiple_of(2),
        };
        // Mostly as many registers as it takes, sometimes any number.
        let fitting = usize::from(kind.registers()).min(200);
        let count = if random.next().is_multiple_of(4) { random.next() as usize % 130 } else { fitting };
        let registers: Vec<u16> = (0..count).map(|_| random.next() as u16 & random.next() as u16).collect();
        let not_available = vec![random.next() % 4];
        let decoded = decode_registers(&Encoding { kind, order, not_available, bit: None }, &registers);
        let fits = count == usize::from(kind.registers());
        assert_eq!(decoded.status == status_code::PROTOCOL, !fits, "case {case}: {kind}, {count} registers");
        let reading = Reading {
            stream_index: 0,
            counter: 0,
            source_time_ns: 0,
            receive_time_ns: 0,
            quality: decoded.quality,
            flags: 0,
            status: decoded.status,
            value: decoded.value,
        };
        let again = Reading::from_block(&reading.to_block(), reading.value.long_bytes());
        assert_eq!(again.as_ref(), Ok(&reading), "case {case}: {kind}");
    }
}
