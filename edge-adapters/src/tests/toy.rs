//! A source without a device: it says one reading at each start and then does as it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use selvedge_core::border::NewReading;
use selvedge_core::reading::{Quality, Value};
use selvedge_core::stream::{Attestation, Decimal, Descriptor};

use crate::adapter::{Adapter, Claim, Context, Fault, FaultKind, Head, Report, Running, Source, StreamSpec};
use crate::write::Written;

/// A stream of this name, of this device.
pub(super) fn spec(name: &str, device: &str) -> StreamSpec {
    let descriptor = Descriptor {
        name: name.into(),
        device: device.into(),
        address: String::new(),
        source_type: String::new(),
        unit: String::new(),
        scale: Decimal::ONE,
        offset: Decimal::ZERO,
        attestation: Attestation::Gateway,
    };
    StreamSpec { descriptor, urgent: false, report: Report::default(), write: None, words: None }
}

/// What the nth adapter of a source does after its first reading.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Panic,
    Fail,
    Return,
    GoOn,
    IgnoreStop,
    /// Is busy with something else for this long before it looks for writes.
    Busy(Duration),
}

#[derive(Debug)]
pub(super) struct Toy {
    pub(super) head: Head,
    pub(super) line: Option<String>,
    ends: &'static [End],
    /// Adapters that were built.
    pub(super) built: Arc<AtomicU32>,
    /// Writes that an adapter was asked for; it confirms each.
    pub(super) written: Arc<AtomicU32>,
    streams: Vec<StreamSpec>,
}

impl Toy {
    pub(super) fn new(name: &str, ends: &'static [End]) -> Self {
        Self::with(name, vec![spec(&format!("{name}/s"), name)], ends)
    }

    pub(super) fn with(name: &str, streams: Vec<StreamSpec>, ends: &'static [End]) -> Self {
        let head = Head { device: name.into(), protocol: "toy", written: String::new() };
        Self { head, line: None, ends, built: Arc::default(), written: Arc::default(), streams }
    }
}

impl Source for Toy {
    fn head(&self) -> &Head {
        &self.head
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
    fn address(&self) -> String {
        String::new()
    }
    fn streams(&self) -> &[StreamSpec] {
        &self.streams
    }
    fn line(&self) -> Option<String> {
        self.line.clone()
    }
    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }
    fn build(&self) -> Box<dyn Adapter> {
        let nth = self.built.fetch_add(1, Ordering::SeqCst);
        let (end, written) = (self.ends[nth as usize % self.ends.len()], Arc::clone(&self.written));
        Box::new(Nth { number: nth, end, written })
    }
}

struct Nth {
    number: u32,
    end: End,
    written: Arc<AtomicU32>,
}

impl Adapter for Nth {
    fn run(self: Box<Self>, context: Context) -> Running {
        Box::pin(async move {
            let now = context.clock.wall_ns();
            context.health.up();
            context.outlet.offer(vec![NewReading {
                stream: context.streams[0],
                value: Value::Unsigned(self.number.into()),
                quality: Quality::Good,
                flags: 0,
                status: 0,
                source_time_ns: now,
                receive_time_ns: now,
            }]);
            match self.end {
                End::Panic => panic!("a bug in adapter {}", self.number),
                End::Fail => return Err(Fault::new(FaultKind::Protocol, "cannot go on")),
                End::Return => return Ok(()),
                End::Busy(long) => {
                    tokio::time::sleep(long).await;
                    let request = context.writes.next().await;
                    self.written.fetch_add(1, Ordering::SeqCst);
                    drop(request);
                }
                End::GoOn => loop {
                    tokio::select! {
                        () = context.stop.cancelled() => break,
                        request = context.writes.next() => {
                            self.written.fetch_add(1, Ordering::SeqCst);
                            let read_back = request.value.clone();
                            request.done(Written::Confirmed { read_back });
                        }
                    }
                },
                End::IgnoreStop => std::future::pending().await,
            }
            Ok(())
        })
    }
}
