//! The samples of a device: complete, well named, and never a number that is not known.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::adapter::{Fault, FaultKind};
use crate::clock::SetClock;
use crate::health::{Health, MessageFigures, SparkplugFigures};
use crate::metrics::{Sample, samples};

fn value(samples: &[Sample<'_>], name: &str, label: Option<(&str, &str)>) -> Option<f64> {
    samples.iter().find(|s| s.name == name && s.label == label).map(|s| s.value)
}

#[test]
fn what_is_not_known_yet_is_left_out_and_what_is_known_is_there() {
    let health = Health::new("plc", "modbus-tcp", "h:502".into(), Arc::new(SetClock::at(5_000_000_000)));
    let before = health.figures();
    let before = samples(&before);
    assert_eq!(value(&before, "selvedge_device_state", Some(("state", "starting"))), Some(1.0));
    assert_eq!(value(&before, "selvedge_device_last_good_time_seconds", None), None);
    assert!(before.iter().all(|s| !s.name.contains("round_trip") && !s.name.contains("messages")));
    assert!(before.iter().all(|s| !s.name.contains("sparkplug")));

    health.connected();
    health.requested();
    health.answered(Duration::from_millis(20));
    health.good_at(5_500_000_000);
    health.failed(FaultKind::Timeout);
    health.down(&Fault::new(FaultKind::Timeout, "no answer"), Duration::from_secs(4));
    health.messages(|figures: &mut MessageFigures| {
        (figures.messages, figures.fields_missing) = (3, 2);
        // All of them others, so that none stands for another.
        figures.sparkplug = Some(SparkplugFigures {
            births: 11,
            deaths: 12,
            late_deaths: 13,
            gaps: 14,
            reordered: 15,
            before_birth: 16,
            unknown_metrics: 17,
            rebirths_asked: 18,
            unreadable: 19,
            metrics_unmatched: 20,
            unmatched_metrics: vec!["n/d/M".into()],
        });
    });
    let after = health.figures();
    let after = samples(&after);
    for (name, label, expected) in [
        ("selvedge_device_state", Some(("state", "down")), 1.0),
        ("selvedge_device_state", Some(("state", "up")), 0.0),
        ("selvedge_device_last_good_time_seconds", None, 5.5),
        ("selvedge_device_next_attempt_time_seconds", None, 9.0),
        ("selvedge_device_requests_total", None, 1.0),
        ("selvedge_device_errors_total", Some(("kind", "timeout")), 1.0),
        ("selvedge_device_errors_total", Some(("kind", "closed")), 0.0),
        ("selvedge_device_round_trip_seconds", Some(("of", "max")), 0.02),
        ("selvedge_device_messages_total", Some(("what", "taken")), 3.0),
        ("selvedge_device_fields_missing_total", None, 2.0),
        ("selvedge_device_sparkplug_total", Some(("what", "births")), 11.0),
        ("selvedge_device_sparkplug_total", Some(("what", "deaths")), 12.0),
        ("selvedge_device_sparkplug_total", Some(("what", "late-deaths")), 13.0),
        ("selvedge_device_sparkplug_total", Some(("what", "gaps")), 14.0),
        ("selvedge_device_sparkplug_total", Some(("what", "reordered")), 15.0),
        ("selvedge_device_sparkplug_total", Some(("what", "before-birth")), 16.0),
        ("selvedge_device_sparkplug_total", Some(("what", "unknown-metrics")), 17.0),
        ("selvedge_device_sparkplug_total", Some(("what", "rebirths-asked")), 18.0),
        ("selvedge_device_sparkplug_total", Some(("what", "unreadable")), 19.0),
        ("selvedge_device_sparkplug_metrics_unmatched", None, 20.0),
    ] {
        assert_eq!(value(&after, name, label), Some(expected), "{name} {label:?}");
    }
    let mut seen = BTreeSet::new();
    for sample in &after {
        assert!(seen.insert((sample.name, sample.label)), "{sample:?} twice");
        assert_eq!(sample.is_counter, sample.name.ends_with("_total"), "{sample:?}");
        assert!(
            sample.help.ends_with('.') && sample.value.is_finite() && sample.device == "plc",
            "{sample:?}"
        );
    }
}
