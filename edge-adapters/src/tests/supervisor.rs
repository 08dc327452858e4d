//! An adapter that fails is started again, alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use selvedge_core::border::StreamHandle;
use selvedge_core::reading::{Quality, Value};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::support::{Log, brief};
use super::toy::{End, Toy};
use crate::adapter::Source;
use crate::clock::SetClock;
use crate::health::DeviceState;
use crate::outlet::Delivery;
use crate::status_code;
use crate::supervisor::{Device, Supervisor};

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

/// Another configuration touches only what changed, with the whole line of what changed.
#[tokio::test(start_paused = true)]
async fn a_change_leaves_untouched_devices_alone() {
    let toy = |name: &str, written: &str, line: Option<&str>| {
        let mut toy = Toy::new(name, &[End::GoOn]);
        toy.head.written = written.into();
        toy.line = line.map(str::to_owned);
        toy
    };
    let mut toys = start(vec![
        toy("same", "1", None),
        toy("other", "1", None),
        toy("gone", "1", None),
        toy("on the line", "1", Some("tty")),
        toy("beside it", "1", Some("tty")),
    ]);
    for _ in 0..5 {
        toys.deliveries.recv().await.expect("each speaks once");
    }
    // The node: it takes everything, and answers the question whether it has.
    let (readings, mut seen) = mpsc::unbounded_channel();
    let mut deliveries = toys.deliveries;
    tokio::spawn(async move {
        while let Some(Delivery { readings: new, ack, .. }) = deliveries.recv().await {
            let _ = ack.map(|ack| ack.send(()));
            for reading in new {
                let _ = readings.send(reading);
            }
        }
    });
    let new = [
        toy("new", "1", None),
        toy("same", "1", None),
        toy("other", "2", None),
        toy("on the line", "1", Some("tty")),
        toy("beside it", "2", Some("tty")),
    ];
    let built: Vec<_> = new.iter().map(|toy| Arc::clone(&toy.built)).collect();
    let sources = new.into_iter().map(|toy| Arc::new(toy) as Arc<dyn Source>).collect();
    let devices = toys.supervisor.devices();
    let mut next = 10;
    let describe = async |_: &Arc<dyn Source>| {
        next += 1;
        Ok::<_, ()>(vec![StreamHandle(next)])
    };
    let changes = toys.supervisor.change(sources, describe).await.expect("a change");
    assert_eq!(changes.kept, ["same"]);
    assert_eq!(changes.restarted, ["other", "on the line", "beside it"]);
    assert_eq!((changes.added, changes.removed), (vec!["new".to_owned()], vec!["gone".to_owned()]));
    let (mut stale, mut new) = (0, 0);
    while new < 4 {
        let reading = seen.recv().await.expect("each new one speaks");
        if reading.stream.0 > 10 {
            new += 1;
        } else {
            // Of those that were stopped; the untouched one is 0.
            assert_eq!(
                (reading.quality, reading.status),
                (Quality::Stale, status_code::STOPPED),
                "{reading:?}"
            );
            assert_eq!((reading.source_time_ns, reading.stream.0 > 0), (5, true), "{reading:?}");
            stale += 1;
        }
    }
    assert_eq!(stale, 4, "whoever was stopped leaves no good value behind");
    let built: Vec<u32> = built.iter().map(|built| built.load(Ordering::SeqCst)).collect();
    assert_eq!(built, [1, 0, 1, 1, 1], "the untouched one goes on with its old adapter");
    // Whoever looks at the devices since before the change sees those of now.
    let names: Vec<_> = devices.snapshots().into_iter().map(|d| d.device).collect();
    assert_eq!(names, ["new", "same", "other", "on the line", "beside it"]);
}

/// Handles of a device that went may become another's: nothing of the old one may be taken for the new one's.
#[tokio::test(start_paused = true)]
async fn a_stopped_device_delivers_nothing_any_more() {
    let mut toys = start(vec![Toy::new("gone", &[End::GoOn])]);
    let first = toys.deliveries.recv().await.expect("it speaks").readings.remove(0);
    let view = toys.supervisor.source("gone").is_some();
    assert!(view);
    let outlet = toys.supervisor.outlet_of("gone").expect("it runs");
    let none = async |_: &Arc<dyn Source>| Ok::<_, ()>(Vec::new());
    let change = toys.supervisor.change(Vec::new(), none);
    let answer = async {
        let last = toys.deliveries.recv().await.expect("its last word").readings.remove(0);
        assert_eq!((last.quality, last.source_time_ns), (Quality::Stale, 5), "{last:?}");
        let barrier = toys.deliveries.recv().await.expect("the question whether all was taken");
        assert!(barrier.readings.is_empty());
        let _ = barrier.ack.map(|ack| ack.send(()));
    };
    let (changes, ()) = tokio::join!(change, answer);
    assert_eq!(changes.expect("a change").removed, ["gone"]);
    outlet.offer(vec![first.clone()]);
    outlet.mark_stale(status_code::CLOSED);
    assert!(outlet.hand_over(vec![first], Vec::new()).await.is_err());
    assert!(toys.deliveries.try_recv().is_err());
}
