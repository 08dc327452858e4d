//! Writing a metric: a command to its node or device, confirmed when the metric itself shows the value.
//!
//! A command is sent once, with quality of service 0 as the specification demands: one that came late, perhaps after
//! another, would be worse than one that did not come.

use std::time::Duration;

use selvedge_core::reading::Value;
use tokio::time::Instant;

use super::payload::Metric;
use super::scope::Born;
use super::topic::Place;
use super::value;
use crate::mqtt::command::is_same;
use crate::status_code;
use crate::write::{WriteRequest, Written};

/// A value that was sent and is not confirmed yet.
pub(super) struct Writing {
    request: WriteRequest,
    due: Instant,
    /// What the metric showed since.
    read_back: Option<Value>,
}

impl Writing {
    /// Sends the value of a request to `metric`, which is what its birth says. `None`: it was not sent, and the request
    /// has its answer.
    pub(super) fn begin(
        request: WriteRequest,
        metric: Option<(&Place, &str, Born)>,
        within: Duration,
        publish: impl FnOnce(&Place, Metric) -> Result<u16, String>,
    ) -> Option<Self> {
        let refused = |status, why: String| Written::Refused { status, why };
        let Some((place, name, Born { kind: Some(kind), alias })) = metric else {
            let why = "its edge node or device is not there, or its birth has no such metric of a known type";
            request.done(refused(status_code::UNREACHABLE, why.to_owned()));
            return None;
        };
        let metric = match value::encode(&request.value, kind) {
            // Where a birth gives an alias, only that is used from then on (section 6.4.6).
            Ok(metric) if alias.is_some() => Metric { alias, ..metric },
            Ok(metric) => Metric { name: Some(name.as_bytes().to_vec()), ..metric },
            Err(why) => {
                request.done(refused(status_code::NOT_ALLOWED, why));
                return None;
            }
        };
        if !request.is_armed() {
            let why = "the gateway was disarmed while it waited".to_owned();
            request.done(refused(status_code::NOT_ARMED, why));
            return None;
        }
        match publish(place, metric) {
            Ok(_) => Some(Self { request, due: Instant::now() + within, read_back: None }),
            Err(why) => {
                request.done(refused(status_code::NOT_ALLOWED, why));
                None
            }
        }
    }

    /// When it is given up.
    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// A stream shows a value of now. `None`: that confirms it.
    pub(super) fn shown(mut self, stream: usize, value: &Value) -> Option<Self> {
        if self.request.stream != stream {
            return Some(self);
        }
        if is_same(&self.request.value, value) {
            self.request.done(Written::Confirmed { read_back: value.clone() });
            return None;
        }
        // It may be on its way still.
        self.read_back = Some(value.clone());
        Some(self)
    }

    /// Time has gone on. `None`: it is given up.
    pub(super) fn tick(self) -> Option<Self> {
        if Instant::now() < self.due {
            return Some(self);
        }
        self.ended("the metric did not show the value in time");
        None
    }

    /// It will not be known any more.
    pub(super) fn ended(self, why: &str) {
        let Self { request, read_back, .. } = self;
        request.done(Written::NotConfirmed { read_back, why: why.to_owned() });
    }
}
