//! An adapter that fails is started again, alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use selvedge_core::border::{NewReading, StreamHandle};
use selvedge_core::reading::{Quality, Value};
use selvedge_core::stream::{Attestation, Decimal, Descriptor};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::support::{Log, brief};
use crate::adapter::{Adapter, Claim, Context, Fault, FaultKind, Head, Report, Running, Source, StreamSpec};
use crate::clock::SetClock;
use crate::health::DeviceState;
use crate::outlet::Delivery;
use crate::status_code;
use crate::supervisor::{Device, Supervisor};

/// What the nth adapter of a source does after its first reading.
#[derive(Debug, Clone, Copy)]
enum End {
    Panic,
    Fail,
    Return,
    GoOn,
    IgnoreStop,
}

#[derive(Debug)]
struct Toy {
    head: Head,
    ends: &'static [End],
    built: Arc<AtomicU32>,
    streams: Vec<StreamSpec>,
}

impl Toy {
    fn new(name: &'static str, ends: &'static [End]) -> Self {
        let descriptor = Descriptor {
            name: format!("{name}/s"),
            device: name.into(),
            address: String::new(),
            source_type: String::new(),
            unit: String::new(),
            scale: Decimal::ONE,
            offset: Decimal::ZERO,
            attestation: Attestation::Gateway,
        };
        let streams = vec![StreamSpec { descriptor, urgent: false, report: Report::default(), write: None }];
        let head = Head { device: name.into(), protocol: "toy", written: String::new() };
        Self { head, ends, built: Arc::default(), streams }
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
    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }
    fn build(&self) -> Box<dyn Adapter> {
        let nth = self.built.fetch_add(1, Ordering::SeqCst);
        Box::new(Nth(nth, self.ends[nth as usize % self.ends.len()]))
    }
}

struct Nth(u32, End);

impl Adapter for Nth {
    fn run(self: Box<Self>, context: Context) -> Running {
        Box::pin(async move {
            let now = context.clock.wall_ns();
            context.health.up();
            context.outlet.offer(vec![NewReading {
                stream: context.streams[0],
                value: Value::Unsigned(self.0.into()),
                quality: Quality::Good,
                flags: 0,
                status: 0,
                source_time_ns: now,
                receive_time_ns: now,
            }]);
            match self.1 {
                End::Panic => panic!("a bug in adapter {}", self.0),
                End::Fail => return Err(Fault::new(FaultKind::Protocol, "cannot go on")),
                End::Return => return Ok(()),
                End::GoOn => context.stop.cancelled().await,
                End::IgnoreStop => std::future::pending().await,
            }
            Ok(())
        })
    }
}

struct Toys {
    supervisor: Supervisor,
    deliveries: mpsc::Receiver<Delivery>,
    stop: CancellationToken,
    built: Vec<Arc<AtomicU32>>,
}

fn start(toys: Vec<Toy>) -> Toys {
    let built = toys.iter().map(|toy| Arc::clone(&toy.built)).collect();
    let (sender, deliveries) = mpsc::channel(100);
    let stop = CancellationToken::new();
    let devices = (0..)
        .zip(toys)
        .map(|(index, toy)| Device { source: Arc::new(toy), streams: vec![StreamHandle(index)] });
    let clock = Arc::new(SetClock::at(5));
    let supervisor = Supervisor::start(devices.collect(), &sender, &(clock as _), 3, &stop);
    Toys { supervisor, deliveries, stop, built }
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_panics_is_started_again_alone_and_it_is_said() {
    let (log, _guard) = Log::listen();
    let steady = Toy::new("steady", &[End::GoOn]);
    let mut toys = start(vec![Toy::new("broken", &[End::Panic, End::Fail, End::Return, End::GoOn]), steady]);
    // Paused time goes on by itself when everything waits.
    sleep(Duration::from_secs(30)).await;
    let built: Vec<u32> = toys.built.iter().map(|built| built.load(Ordering::SeqCst)).collect();
    assert_eq!(built, [4, 1], "the one beside it never noticed");
    let figures = toys.supervisor.devices().snapshots();
    assert_eq!((figures[0].restarts, figures[0].errors.adapter, figures[0].state), (3, 3, DeviceState::Up));
    assert_eq!((figures[1].restarts, figures[1].errors.adapter, figures[1].state), (0, 0, DeviceState::Up));

    let mut readings = Vec::new();
    while let Ok(delivery) = toys.deliveries.try_recv() {
        readings.extend(brief(&delivery.readings).into_iter().filter(|reading| reading.0 == 0));
    }
    let good = |nth| (0, Value::Unsigned(nth), Quality::Good, 0, 5);
    let stale = |nth| (0, Value::Unsigned(nth), Quality::Stale, status_code::ADAPTER, 5);
    assert_eq!(readings, [good(0), stale(0), good(1), stale(1), good(2), stale(2), good(3)]);

    assert_eq!(log.lines_with("adapter failed; it alone is started again"), 3);
    assert_eq!(log.lines_with("it panicked: a bug in adapter 0"), 1);
    assert_eq!(log.lines_with("cannot go on"), 1);
    assert_eq!(log.lines_with("it ended without being told to"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_always_panics_is_started_ever_more_rarely() {
    let mut toys = start(vec![Toy::new("broken", &[End::Panic])]);
    tokio::spawn(async move { while toys.deliveries.recv().await.is_some() {} });
    sleep(Duration::from_hours(1)).await;
    let built = toys.built[0].load(Ordering::SeqCst);
    assert!((60..140).contains(&built), "{built} starts in an hour");
}

#[tokio::test(start_paused = true)]
async fn stopping_takes_two_seconds_at_most() {
    let Toys { supervisor, stop, built, .. } =
        start(vec![Toy::new("deaf", &[End::IgnoreStop]), Toy::new("waiting", &[End::Panic])]);
    sleep(Duration::from_millis(10)).await;
    assert_eq!(built[0].load(Ordering::SeqCst), 1);
    let devices = supervisor.devices();
    let told = Instant::now();
    stop.cancel();
    supervisor.stopped().await;
    assert!(told.elapsed() <= Duration::from_secs(2), "{:?}", told.elapsed());
    assert!(devices.snapshots().iter().all(|device| device.state == DeviceState::Stopped));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_supervisor_stops_its_adapters() {
    let mut toys = start(vec![Toy::new("steady", &[End::GoOn])]);
    assert!(toys.deliveries.recv().await.is_some());
    drop(toys.supervisor);
    assert!(toys.deliveries.recv().await.is_none(), "the queue ends when the last adapter has");
    assert!(!toys.stop.is_cancelled(), "others that share the token go on");
}
