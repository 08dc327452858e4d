//! Scaled values into raw ones. A setpoint of 12.34 bar at a scale of 0.1 once went out as 123.39999999999999: a machine
//! that said 123.4 from then on, as it should, counted as one that does not hold what it was told.

use selvedge_core::reading::Value;
use selvedge_core::scaled::scaled;
use selvedge_core::stream::{Attestation, Decimal, Descriptor};

use super::support::cases;
use crate::backoff::SplitMix;
use crate::write::unscaled;

fn descriptor(scale: Decimal, offset: Decimal) -> Descriptor {
    Descriptor {
        name: "s".into(),
        device: "d".into(),
        address: String::new(),
        source_type: "f64".into(),
        unit: String::new(),
        scale,
        offset,
        attestation: Attestation::Gateway,
    }
}

fn raw(asked: &Value, scale: &str, offset: &str) -> Option<Value> {
    unscaled(&descriptor(scale.parse().expect("a decimal"), offset.parse().expect("a decimal")), asked)
}

#[test]
fn what_a_person_asks_for_is_sent_with_the_digits_that_a_person_expects() {
    let (int, float) = (Value::Int, Value::Float);
    for (asked, scale, offset, expected) in [
        (float(12.34), "0.1", "0", float(123.4)),
        (float(12.3), "0.1", "0", int(123)),
        (float(0.3), "0.1", "0", int(3)),
        (float(-0.05), "0.01", "0", int(-5)),
        (float(-0.05), "0.1", "-273.15", int(2_731)),
        (int(0), "0.1", "-40", int(400)),
        (int(-40), "0.1", "-40", int(0)),
        (float(1.1e3), "1.1", "0", int(1_000)),
        // A quotient that does not end: the nearest float.
        (int(10), "3", "0", float(10.0 / 3.0)),
        (int(-10), "0.3", "0", float(-100.0 / 3.0)),
        (int(1), "-8", "0", float(-0.125)),
        // The ends of what readings hold.
        (Value::Unsigned(u64::MAX), "1", "-1", float(18_446_744_073_709_551_616.0)),
        (int(i64::MAX), "-1", "-1", int(i64::MIN)),
        (Value::Unsigned(u64::MAX), "10", "5", int(1_844_674_407_370_955_161)),
        (int(1), "1e-30", "0", float(1e30)),
    ] {
        assert_eq!(raw(&asked, scale, offset), Some(expected), "{asked:?} at {scale} and {offset}");
    }
    // A program that added 0.1 and 0.2 means 0.3, and a register can hold three tenths.
    assert_eq!(raw(&float(0.1 + 0.2), "0.1", "0"), Some(int(3)));
    assert_eq!(raw(&float(40.1 + 0.2), "0.1", "40"), Some(int(3)));
    // Digits that somebody wrote are none of a float's noise.
    assert_eq!(raw(&float(0.300_000_000_000_01), "0.1", "0"), Some(float(3.000_000_000_000_1)));
    for nonsense in [Value::None, Value::Bool(true), Value::Text("12".into()), float(f64::NAN)] {
        assert_eq!(raw(&nonsense, "0.1", "0"), None);
    }
    assert_eq!(raw(&float(1e300), "1e-30", "0"), None, "no float is so large");
    assert_eq!(raw(&float(1e300), "1e-3", "0.5"), Some(float(1e303)));
    assert_eq!(raw(&Value::Text("auto".into()), "1", "0"), Some(Value::Text("auto".into())));
}

/// What is shown of a raw value, written back through the same scale and offset, is that raw value: as far as JSON carries
/// the digits, which is fifteen of them.
#[test]
fn what_is_read_and_written_back_is_the_same() {
    const SEED: u64 = 41;
    println!("seed: {SEED}");
    let mut random = SplitMix(SEED);
    let mut whole = 0;
    for case in 0..cases() {
        let mut decimal = |most: u64| {
            let mantissa = (random.next() % (2 * most)) as i64 - most as i64;
            Decimal::new(mantissa, (random.next() % 9) as i32 - 6).expect("a small one")
        };
        let (scale, offset) = (decimal(1_000), decimal(100_000));
        if scale == Decimal::ZERO {
            continue;
        }
        let descriptor = descriptor(scale, offset);
        let digits = (random.next() % 2_000_000) as i64 - 1_000_000;
        let raw = if case % 2 == 0 {
            Value::Int(digits)
        } else {
            // As a device would write it, in thousandths.
            Value::Float(format!("{digits}e-3").parse().expect("a float"))
        };
        let shown = scaled(&raw, &descriptor).expect("a number");
        if shown.bytes().filter(u8::is_ascii_digit).count() > 15 {
            continue;
        }
        let json: serde_json::Value = serde_json::from_str(&shown).expect("a number");
        let asked = json.as_i64().map_or_else(|| Value::Float(json.as_f64().expect("a number")), Value::Int);
        let back = unscaled(&descriptor, &asked).expect("a number");
        whole += u64::from(matches!(back, Value::Int(_)));
        // A float may be whole, and is asked for as that.
        let is_same = match (&raw, &back) {
            (Value::Float(raw), Value::Int(back)) => raw.total_cmp(&(*back as f64)).is_eq() || *back == 0,
            (raw, back) => raw == back,
        };
        assert!(is_same, "case {case}: {raw:?} is shown as {shown} and written back as {back:?}");
        assert_eq!(scaled(&back, &descriptor).as_deref(), Some(shown.as_str()), "case {case}");
    }
    assert!(whole > cases() / 4, "{whole} whole numbers");
}

/// Whatever is asked for, what is sent is that: to within the last digit of a float.
#[test]
fn any_number_scale_and_offset_agree_with_floats() {
    const SEED: u64 = 42;
    println!("seed: {SEED}");
    let mut random = SplitMix(SEED);
    for case in 0..cases() {
        let mut decimal = || {
            let mantissa = random.next() as i64 >> (random.next() % 64);
            Decimal::new(mantissa, (random.next() % 41) as i32 - 30).unwrap_or(Decimal::ONE)
        };
        let (scale, offset) = (decimal(), decimal());
        let bits = random.next() >> (random.next() % 64);
        let asked = match case % 4 {
            0 => Value::Int(bits as i64),
            1 => Value::Unsigned(bits),
            2 => Value::Float(bits as f64 / 1_000.0),
            _ => Value::Float(f64::from_bits(bits)),
        };
        let got = unscaled(&descriptor(scale, offset), &asked);
        // The shortest digits of a subnormal number are not those that it stands for.
        let is_usual = |number: &f64| number.is_normal() || number.abs() <= 0.0;
        let Some(number) = asked.as_f64().filter(is_usual).filter(|_| scale != Decimal::ZERO) else {
            continue;
        };
        let expected = (number - offset.to_f64()) / scale.to_f64();
        let Some(got) = got.and_then(|value| value.as_f64()) else {
            assert!(expected.abs() >= 1e308, "case {case}: {asked:?} has no raw value");
            continue;
        };
        let scaled_error = (number.abs() + offset.to_f64().abs()) * 1e-14;
        let tolerance = (scaled_error / scale.to_f64()).abs() + expected.abs() * 1e-14 + f64::MIN_POSITIVE;
        assert!((got - expected).abs() <= tolerance, "case {case}: {asked:?}, {scale:?}, {offset:?}: {got}");
    }
}
