//! What is published to write a value.

use std::time::Duration;

use selvedge_core::reading::Value;

use super::support::cases;
use crate::backoff::SplitMix;
use crate::mqtt::client::Service;
use crate::mqtt::command::{Command, Template, is_same};

fn filled(template: &str, value: &Value) -> Option<String> {
    Template::new(template).expect("a template").filled(value)
}

#[test]
fn a_payload_holds_the_value_where_the_template_says() {
    for (template, value, expected) in [
        ("{value}", Value::Float(21.5), "21.5"),
        ("{value}", Value::Float(21.0), "21"),
        ("{value}", Value::Int(-7), "-7"),
        ("{value}", Value::Bool(true), "true"),
        ("{value}", Value::Text("on \"hold\"".into()), "on \"hold\""),
        ("{json}", Value::Text("on \"hold\"".into()), "\"on \\\"hold\\\"\""),
        ("{\"set\": {json}, \"by\": \"{name}\"}", Value::Unsigned(7), "{\"set\": 7, \"by\": \"{name}\"}"),
        ("SET {value};GET {value}", Value::Int(1), "SET 1;GET 1"),
        // A value that looks like a place is a value.
        ("{value}{value}", Value::Text("{json}".into()), "{json}{json}"),
    ] {
        assert_eq!(filled(template, &value).as_deref(), Some(expected), "{template} {value:?}");
    }
    for value in [Value::None, Value::Bytes(vec![1]), Value::Float(f64::INFINITY)] {
        assert_eq!(filled("{value}", &value), None, "{value:?}");
    }
    assert!(Template::new("on").is_err(), "whatever is asked for, the same would be said");
    assert!(Template::new(&format!("{{value}}{}", " ".repeat(5_000))).is_err());
}

#[test]
fn a_command_that_is_not_taken_soon_is_not_taken_later() {
    let command = |retain| Command {
        topic: "a/set".into(),
        service: Service::AtLeastOnce,
        retain,
        template: Template::default(),
        confirm_within: Duration::from_millis(2_500),
    };
    assert_eq!(command(false).publication(&Value::Int(1)).expect("a text").expiry, Some(2));
    assert_eq!(
        command(true).publication(&Value::Int(1)).expect("a text").expiry,
        None,
        "it is meant to stay"
    );
}

#[test]
fn numbers_are_the_same_whatever_their_types() {
    for (told, says, same) in [
        (Value::Int(7), Value::Unsigned(7), true),
        (Value::Int(7), Value::Float(7.0), true),
        (Value::Float(0.0), Value::Float(-0.0), true),
        (Value::Bool(true), Value::Int(1), true),
        (Value::Int(7), Value::Int(8), false),
        (Value::Text("7".into()), Value::Int(7), false),
        (Value::Text("on".into()), Value::Text("on".into()), true),
        (Value::Int(7), Value::None, false),
    ] {
        assert_eq!(is_same(&told, &says), same, "{told:?} {says:?}");
    }
}

/// Whatever the template and the value, what JSON is promised is JSON, and says the value.
#[test]
fn generated_templates_hold_the_value_as_json() {
    let mut random = SplitMix(0x7E3);
    println!("seed 0x7E3");
    for case in 0..cases() {
        let letters = ["a", "\"", "\\", "{", "}", "{value}", "{json}", "é", "\n", "\u{1}", " "];
        let text: String =
            (0..random.next() % 8).map(|_| letters[random.next() as usize % letters.len()]).collect();
        let value = match random.next() % 4 {
            0 => Value::Int(random.next() as i64),
            1 => Value::Unsigned(random.next()),
            2 => Value::Float(f64::from_bits(random.next())),
            _ => Value::Text(text),
        };
        let Some(payload) = filled("{\"set\": {json}}", &value) else {
            assert!(matches!(value, Value::Float(float) if !float.is_finite()), "case {case}: {value:?}");
            continue;
        };
        let json: serde_json::Value =
            serde_json::from_str(&payload).unwrap_or_else(|why| panic!("case {case}: {payload}: {why}"));
        let says = match &json["set"] {
            serde_json::Value::String(text) => Value::Text(text.clone()),
            number => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(number), ..) => Value::Int(number),
                (_, Some(number), _) => Value::Unsigned(number),
                (.., Some(number)) => Value::Float(number),
                _ => Value::None,
            },
        };
        assert!(is_same(&value, &says), "case {case}: {value:?} as {payload} says {says:?}");
    }
}
