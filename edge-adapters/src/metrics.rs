//! What a page of metrics shows of the devices: samples with a name, a device and a number. One small interface, so that
//! whoever serves such a page needs to know neither devices nor protocols.
//!
//! Names and units follow the conventions of Prometheus: seconds and not milliseconds, `_total` for what only grows, one
//! unit in the name. A sample that has no value yet is left out, and is not zero.

use crate::health::{DeviceSnapshot, DeviceState, Spans};

/// One number about one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<'a> {
    /// What it counts: `selvedge_device_requests_total`.
    pub name: &'static str,
    /// What that means, in a sentence.
    pub help: &'static str,
    /// Does it only grow, until the adapter is made anew?
    pub is_counter: bool,
    /// The device.
    pub device: &'a str,
    /// Its protocol.
    pub protocol: &'static str,
    /// A further label and its value: `("kind", "timeout")`.
    pub label: Option<(&'static str, &'static str)>,
    /// The number.
    pub value: f64,
}

/// All samples of a device, in an order that does not change.
pub fn samples(device: &DeviceSnapshot) -> Vec<Sample<'_>> {
    let mut out = Samples { device, samples: Vec::new() };
    let states = [
        DeviceState::Starting,
        DeviceState::Up,
        DeviceState::Degraded,
        DeviceState::Down,
        DeviceState::Stopped,
    ];
    for state in states {
        let value = f64::from(u8::from(state == device.state));
        out.gauge(
            "selvedge_device_state",
            "1 for the state the device is in.",
            Some(("state", state.name())),
            value,
        );
    }
    if let Some(at) = device.last_good_ns {
        out.gauge(
            "selvedge_device_last_good_time_seconds",
            "When the last good reading came, since 1970.",
            None,
            seconds(at),
        );
    }
    if let Some(at) = device.next_attempt_ns {
        out.gauge(
            "selvedge_device_next_attempt_time_seconds",
            "When it is asked again while it is down.",
            None,
            seconds(at),
        );
    }
    let stale = device.streams.iter().filter(|stream| stream.stale).count();
    out.gauge("selvedge_device_streams", "Its streams.", None, device.streams.len() as f64);
    out.gauge("selvedge_device_streams_stale", "Its streams whose link is dead.", None, stale as f64);
    for (name, help, value) in [
        ("selvedge_device_connections_total", "Connections made.", device.connections),
        ("selvedge_device_requests_total", "Requests sent.", device.requests),
        ("selvedge_device_answers_total", "Requests answered, refusals included.", device.answers),
        ("selvedge_device_polls_total", "Polls done.", device.polls),
        ("selvedge_device_readings_total", "Readings handed over.", device.readings),
        ("selvedge_device_readings_dropped_total", "Readings lost to a full queue.", device.readings_dropped),
        (
            "selvedge_device_restarts_total",
            "Times the adapter was started again after a failure.",
            device.restarts,
        ),
    ] {
        out.counter(name, help, None, value);
    }
    let skipped = [("late", device.polls_skipped_late), ("full", device.polls_skipped_full)];
    for (why, value) in skipped {
        out.counter(
            "selvedge_device_polls_skipped_total",
            "Polls left out, and why.",
            Some(("why", why)),
            value,
        );
    }
    let errors = &device.errors;
    for (kind, value) in [
        ("timeout", errors.timeout),
        ("unreachable", errors.unreachable),
        ("closed", errors.closed),
        ("protocol", errors.protocol),
        ("exception", errors.exception),
        ("adapter", errors.adapter),
    ] {
        out.counter("selvedge_device_errors_total", "What went wrong, by kind.", Some(("kind", kind)), value);
    }
    out.spans("selvedge_device_round_trip_seconds", "From a request to its answer.", &device.round_trip);
    out.spans(
        "selvedge_device_lateness_seconds",
        "How long after it was due a poll began.",
        &device.lateness,
    );
    out.messages();
    out.subscription();
    out.samples
}

struct Samples<'a> {
    device: &'a DeviceSnapshot,
    samples: Vec<Sample<'a>>,
}

type Label = Option<(&'static str, &'static str)>;

impl Samples<'_> {
    fn push(&mut self, name: &'static str, help: &'static str, is_counter: bool, label: Label, value: f64) {
        let DeviceSnapshot { device, protocol, .. } = self.device;
        self.samples.push(Sample { name, help, is_counter, device, protocol, label, value });
    }

    fn gauge(&mut self, name: &'static str, help: &'static str, label: Label, value: f64) {
        self.push(name, help, false, label, value);
    }

    fn counter(&mut self, name: &'static str, help: &'static str, label: Label, value: u64) {
        self.push(name, help, true, label, value as f64);
    }

    fn spans(&mut self, name: &'static str, help: &'static str, spans: &Spans) {
        if *spans == Spans::default() {
            return;
        }
        for (which, us) in [("last", spans.last_us), ("mean", spans.mean_us), ("max", spans.max_us)] {
            self.gauge(name, help, Some(("of", which)), us as f64 / 1e6);
        }
    }

    fn messages(&mut self) {
        let Some(messages) = &self.device.messages else { return };
        for (what, value) in [
            ("taken", messages.messages),
            ("unmatched", messages.unmatched),
            ("undecodable", messages.undecodable),
            ("repeats-dropped", messages.repeats_dropped),
            ("possibly-repeated", messages.possibly_repeated),
            ("retained-repeated", messages.retained_repeated),
        ] {
            self.counter(
                "selvedge_device_messages_total",
                "Messages, by what became of them.",
                Some(("what", what)),
                value,
            );
        }
        self.counter(
            "selvedge_device_sessions_lost_total",
            "Sessions that the server forgot.",
            None,
            messages.sessions_lost,
        );
        self.counter(
            "selvedge_device_fields_missing_total",
            "Fields that a message did not hold.",
            None,
            messages.fields_missing,
        );
        self.sparkplug();
    }

    fn sparkplug(&mut self) {
        let messages = self.device.messages.as_ref();
        let Some(figures) = messages.and_then(|messages| messages.sparkplug.as_ref()) else { return };
        for (label, value) in [
            ("births", figures.births),
            ("deaths", figures.deaths),
            ("late-deaths", figures.late_deaths),
            ("gaps", figures.gaps),
            ("reordered", figures.reordered),
            ("before-birth", figures.before_birth),
            ("unknown-metrics", figures.unknown_metrics),
            ("rebirths-asked", figures.rebirths_asked),
            ("unreadable", figures.unreadable),
        ] {
            self.counter(
                "selvedge_device_sparkplug_total",
                "What a Sparkplug host met.",
                Some(("what", label)),
                value,
            );
        }
        self.gauge(
            "selvedge_device_sparkplug_metrics_unmatched",
            "Metrics of the last births without a stream.",
            None,
            figures.metrics_unmatched as f64,
        );
    }

    fn subscription(&mut self) {
        let Some(figures) = &self.device.subscription else { return };
        let what = |what| Some(("what", what));
        let name = "selvedge_device_items";
        self.gauge(name, "Nodes that are watched, or refused.", what("watched"), figures.items as f64);
        self.gauge(
            name,
            "Nodes that are watched, or refused.",
            what("refused"),
            figures.items_refused as f64,
        );
        for (label, value) in [
            ("taken", figures.notifications),
            ("values", figures.values),
            ("republished", figures.republished),
            ("lost", figures.notifications_lost),
            ("overflowed", figures.overflows),
            ("resumed", figures.resumed),
            ("recreated", figures.recreated),
            ("deaf", figures.deaf),
        ] {
            self.counter(
                "selvedge_device_subscription_total",
                "What became of a subscription.",
                what(label),
                value,
            );
        }
    }
}

fn seconds(ns: i64) -> f64 {
    ns as f64 / 1e9
}
