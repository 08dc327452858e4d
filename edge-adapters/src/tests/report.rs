//! Report by exception, as a plant sees it: through a real poll, and from a source that says each change once.

use std::any::Any;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use selvedge_core::border::{NewReading, StreamHandle};
use selvedge_core::reading::{Quality, Value};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::support::{Rig, accept, advance, answer, asked, listen, send};
use super::toy;
use crate::adapter::{Adapter, Claim, Context, Deadband, Head, Report, Running, Source, StreamSpec};
use crate::clock::Clock;
use crate::outlet::Delivery;
use crate::supervisor::{Device, Supervisor};

const SECOND_NS: i64 = 1_000_000_000;

/// What is delivered of these values, one a second, when the stream has these keys: second and raw value.
async fn polled(keys: &str, values: &[u16]) -> Vec<(i64, i64)> {
    let (listener, address) = listen().await;
    let mut rig = Rig::new(&format!(
        "[[device]]\nname = \"plc\"\nprotocol = \"modbus-tcp\"\naddress = \"{address}\"\n\
         [[device.stream]]\nname = \"plc/level\"\nregister = \"holding:5\"\ntype = \"u16\"\nscale = 0.1\n{keys}\n"
    ));
    let start_ns = rig.clock.wall_ns();
    let mut device = accept(&listener).await;
    for (second, value) in (0..).zip(values) {
        let request = asked(&mut device).await.expect("a poll");
        rig.clock.set(start_ns + second * SECOND_NS);
        send(&mut device, &answer(request, &[*value])).await;
        rig.polls(second as u64 + 1).await;
        advance(1_000).await;
    }
    let mut delivered = Vec::new();
    while let Ok(Delivery { readings, .. }) = rig.deliveries.try_recv() {
        for NewReading { value, source_time_ns, .. } in readings {
            let Value::Unsigned(raw) = value else { panic!("{value:?}") };
            delivered.push(((source_time_ns - start_ns) / SECOND_NS, raw as i64));
        }
    }
    delivered
}

#[tokio::test(start_paused = true)]
async fn a_percent_of_the_value_delivered_last_is_left_out() {
    // Ten percent of 100.0, then of 111.0; near zero the band is narrow, and at zero there is none.
    let values = [1_000, 1_050, 1_100, 1_110, 1_020, 1_000, 998, 10, 10, 8, 0, 0, 1];
    let delivered = polled("deadband_percent = 10", &values).await;
    assert_eq!(delivered, [(0, 1_000), (3, 1_110), (6, 998), (7, 10), (9, 8), (10, 0), (12, 1)]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_too_soon_is_left_out_of_polls() {
    let values = [1, 2, 3, 4, 5, 6, 7, 8];
    assert_eq!(polled("min_interval = \"3s\"", &values).await, [(0, 1), (3, 4), (6, 7)]);
    // Between the intervals the deadband decides.
    let delivered = polled("min_interval = \"3s\"\ndeadband = 0.3", &[1, 9, 9, 3, 5, 9, 9, 6]).await;
    assert_eq!(delivered, [(0, 1), (4, 5)]);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_stands_still_is_delivered_after_its_longest_silence() {
    let delivered = polled("deadband = 1\nmax_silence = \"4s\"", &[5; 10]).await;
    assert_eq!(delivered, [(0, 5), (4, 5), (8, 5)]);
    // A change in between begins it anew.
    let delivered = polled("deadband = 1\nmax_silence = \"4s\"", &[5, 5, 50, 50, 50, 50, 50, 50]).await;
    assert_eq!(delivered, [(0, 5), (2, 50), (6, 50)]);
}

/// The wall clock goes with tokio's.
#[derive(Debug)]
struct Together(Instant);

impl Clock for Together {
    fn wall_ns(&self) -> i64 {
        2_000_000 * SECOND_NS + self.0.elapsed().as_nanos() as i64
    }
}

/// Reports these changes, each at its millisecond, and then says nothing more.
#[derive(Debug)]
struct Changes {
    head: Head,
    streams: Vec<StreamSpec>,
    all: Vec<(u64, i64, Quality)>,
    /// When the link is found dead.
    dead_at: Option<u64>,
}

impl Source for Changes {
    fn head(&self) -> &Head {
        &self.head
    }
    fn as_any(&self) -> &dyn Any {
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
        Box::new(Reporting { all: self.all.clone(), dead_at: self.dead_at })
    }
}

struct Reporting {
    all: Vec<(u64, i64, Quality)>,
    dead_at: Option<u64>,
}

impl Adapter for Reporting {
    fn run(self: Box<Self>, context: Context) -> Running {
        Box::pin(async move {
            let begun = Instant::now();
            for (ms, value, quality) in self.all {
                tokio::time::sleep_until(begun + Duration::from_millis(ms)).await;
                let now = context.clock.wall_ns();
                let reading = NewReading {
                    stream: context.streams[0],
                    value: Value::Int(value),
                    quality,
                    flags: 0,
                    status: 0,
                    source_time_ns: now,
                    receive_time_ns: now,
                };
                let taken = context.outlet.hand_over(vec![reading], Vec::new()).await;
                taken.expect("somebody takes it");
            }
            if let Some(ms) = self.dead_at {
                tokio::time::sleep_until(begun + Duration::from_millis(ms)).await;
                context.outlet.mark_stale(crate::status_code::CLOSED);
            }
            context.stop.cancelled().await;
            Ok(())
        })
    }
}

/// A device with one stream that changes so.
fn changing(report: Report, changes: &[(u64, i64, Quality)], dead_at: Option<u64>) -> Device {
    let mut spec = toy::spec("d/level", "d");
    spec.report = report;
    let head = Head { device: "d".into(), protocol: "toy", written: String::new() };
    let source = Changes { head, streams: vec![spec], all: changes.to_vec(), dead_at };
    Device { source: Arc::new(source), streams: vec![StreamHandle(0)] }
}

/// What is delivered of these changes, until `until` and then a stop: when it was delivered, when it came (both ms), value and
/// quality.
async fn reported(
    report: Report,
    changes: &[(u64, i64, Quality)],
    dead_at: Option<u64>,
    until: u64,
) -> Vec<(u64, u64, i64, Quality)> {
    let begun = Instant::now();
    let clock: Arc<dyn Clock> = Arc::new(Together(begun));
    let start_ns = clock.wall_ns();
    let (sender, mut deliveries) = mpsc::channel(16);
    let stop = CancellationToken::new();
    let devices = vec![changing(report, changes, dead_at)];
    let supervisor = Supervisor::start(devices, &sender, &clock, 7, &stop);
    drop(sender);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let taking = tokio::spawn({
        let seen = Arc::clone(&seen);
        async move {
            while let Some(Delivery { readings, .. }) = deliveries.recv().await {
                for reading in readings {
                    let Value::Int(value) = reading.value else { panic!("{reading:?}") };
                    let came = (reading.source_time_ns - start_ns) / 1_000_000;
                    let now = begun.elapsed().as_millis() as u64;
                    seen.lock().expect("no panic").push((now, came as u64, value, reading.quality));
                }
            }
        }
    });
    sleep(Duration::from_millis(until)).await;
    stop.cancel();
    supervisor.stopped().await;
    taking.await.expect("no panic");
    Arc::into_inner(seen).expect("the taker has ended").into_inner().expect("no panic")
}

const GOOD: Quality = Quality::Good;

fn every_second() -> Report {
    Report { min_interval: Duration::from_secs(1), ..Report::default() }
}

/// Story: a valve opens and closes within a second and then stands still for a day. The server reports each change once. With
/// `min_interval = "1s"` the ledger said for that day that it was open.
#[tokio::test(start_paused = true)]
async fn the_last_change_of_a_burst_is_delivered_when_its_interval_is_over() {
    let changes = [(0, 0, GOOD), (200, 1, GOOD), (300, 2, GOOD), (400, 0, GOOD)];
    let seen = reported(every_second(), &changes, None, 60_000).await;
    assert_eq!(seen, [(0, 0, 0, GOOD), (1_000, 400, 0, GOOD)], "once, when due, with its own time");

    // The next interval counts from there: a change at 1.5 s waits until 2 s, one at 3.5 s does not wait.
    let changes = [(0, 0, GOOD), (200, 1, GOOD), (1_500, 2, GOOD), (3_500, 3, GOOD)];
    let seen = reported(every_second(), &changes, None, 60_000).await;
    let expected = [(0, 0, 0, GOOD), (1_000, 200, 1, GOOD), (2_000, 1_500, 2, GOOD), (3_500, 3_500, 3, GOOD)];
    assert_eq!(seen, expected);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_gives_way_to_what_is_newer() {
    // A change of quality passes at once, and nothing older comes after it.
    let changes = [(0, 0, GOOD), (200, 1, GOOD), (300, 2, Quality::Bad)];
    let seen = reported(every_second(), &changes, None, 60_000).await;
    assert_eq!(seen, [(0, 0, 0, GOOD), (300, 300, 2, Quality::Bad)]);
    // What went back into the deadband is what the ledger says already.
    let within = Report { deadband: Some(Deadband::Absolute(1.0)), ..every_second() };
    let seen = reported(within, &[(0, 0, GOOD), (200, 5, GOOD), (300, 1, GOOD)], None, 60_000).await;
    assert_eq!(seen, [(0, 0, 0, GOOD)]);
    let seen = reported(within, &[(0, 0, GOOD), (200, 1, GOOD), (300, 5, GOOD)], None, 60_000).await;
    assert_eq!(seen, [(0, 0, 0, GOOD), (1_000, 300, 5, GOOD)]);
}

/// Story: a subscription brought 25.0 and 20.1 in one message. Both were compared with the 20.0 before it: 25.0 left, 20.1 did
/// not, and the server, which has the same deadband, had said its last. The ledger said 25 until the next real change. And a
/// moment of bad quality in the middle of a message was never over.
#[tokio::test(start_paused = true)]
async fn what_comes_in_one_message_is_compared_one_after_the_other() {
    let within = Report { deadband: Some(Deadband::Absolute(1.0)), ..Report::default() };
    let (sender, mut deliveries) = mpsc::channel(16);
    let mut spec = toy::spec("d/level", "d");
    spec.report = within;
    let clock: Arc<dyn Clock> = Arc::new(Together(Instant::now()));
    let health = Arc::new(crate::health::Health::new("d", "toy", String::new(), Arc::clone(&clock)));
    let outlet = crate::outlet::Outlet::new([(StreamHandle(0), spec)], sender, health, Arc::clone(&clock));
    let reading = |value, quality| NewReading {
        stream: StreamHandle(0),
        value: Value::Int(value),
        quality,
        flags: 0,
        status: 0,
        source_time_ns: clock.wall_ns(),
        receive_time_ns: clock.wall_ns(),
    };
    let mut left = Vec::new();
    for message in
        [vec![(20, GOOD)], vec![(25, GOOD), (20, GOOD), (21, GOOD)], vec![(20, Quality::Bad), (20, GOOD)]]
    {
        let message: Vec<_> = message.into_iter().map(|(value, quality)| reading(value, quality)).collect();
        outlet.hand_over(message, Vec::new()).await.expect("there is room");
        while let Ok(Delivery { readings, .. }) = deliveries.try_recv() {
            left.extend(readings.into_iter().map(|reading| (reading.value, reading.quality)));
        }
    }
    let expected =
        [(20, GOOD), (25, GOOD), (20, GOOD), (20, Quality::Bad), (20, GOOD)].map(|(v, q)| (Value::Int(v), q));
    assert_eq!(left, expected);
}

#[tokio::test(start_paused = true)]
async fn a_dead_link_and_a_stop_leave_nothing_held() {
    let changes = [(0, 0, GOOD), (200, 1, GOOD)];
    // The stale reading says it: value 1, of 200 ms.
    let seen = reported(every_second(), &changes, Some(300), 60_000).await;
    assert_eq!(seen, [(0, 0, 0, GOOD), (300, 200, 1, Quality::Stale)]);
    // Stopped before it is due: it is delivered then.
    let seen = reported(every_second(), &changes, None, 500).await;
    assert_eq!(seen, [(0, 0, 0, GOOD), (500, 200, 1, GOOD)]);
}

/// Story: a valve closed within its interval, and the gateway was stopped, or the device taken out of the configuration, in
/// that second. The node had much to do, and the queue to it was full at that moment: the ledger never heard of the change.
#[tokio::test(start_paused = true)]
async fn what_is_held_at_the_end_waits_for_room() {
    for is_removed in [false, true] {
        let changes = [(0, 0, GOOD), (200, 1, GOOD)];
        let clock: Arc<dyn Clock> = Arc::new(Together(Instant::now()));
        // Full as long as nobody takes the first one.
        let (sender, mut deliveries) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let devices = vec![changing(every_second(), &changes, None)];
        let mut supervisor = Supervisor::start(devices, &sender, &clock, 7, &stop);
        sleep(Duration::from_millis(500)).await;
        let end = async {
            if is_removed {
                let none = async |_: &Arc<dyn Source>| Ok::<_, ()>(Vec::new());
                supervisor.change(Vec::new(), none).await.expect("nothing to describe");
            } else {
                stop.cancel();
            }
            supervisor.stopped().await;
            drop(sender);
        };
        let take = async {
            sleep(Duration::from_millis(100)).await;
            let mut seen = Vec::new();
            while let Some(Delivery { readings, ack, .. }) = deliveries.recv().await {
                seen.extend(readings.into_iter().map(|reading| (reading.value, reading.quality)));
                let _ = ack.map(|ack| ack.send(()));
            }
            seen
        };
        let ((), seen) = tokio::join!(end, take);
        // Nobody asks any more, and that shows.
        let stale = is_removed.then_some((1, Quality::Stale));
        let expected = [(0, GOOD), (1, GOOD)].into_iter().chain(stale);
        assert_eq!(
            seen,
            expected.map(|(v, q)| (Value::Int(v), q)).collect::<Vec<_>>(),
            "removed: {is_removed}"
        );
    }
}

/// Story: the gateway was off for an hour, and the broker kept a message a minute. With `min_interval = "5s"` all of them came
/// within one moment, so the first was recorded, the last when its interval was over, and 58 were acknowledged and gone.
#[tokio::test(start_paused = true)]
async fn what_was_kept_for_an_hour_is_as_far_apart_as_it_was_taken() {
    let (sender, mut deliveries) = mpsc::channel(16);
    let mut spec = toy::spec("d/level", "d");
    spec.report = Report { min_interval: Duration::from_secs(5), ..Report::default() };
    let clock: Arc<dyn Clock> = Arc::new(Together(Instant::now()));
    let health = Arc::new(crate::health::Health::new("d", "toy", String::new(), Arc::clone(&clock)));
    let outlet = crate::outlet::Outlet::new([(StreamHandle(0), spec)], sender, health, Arc::clone(&clock));
    let now_ns = clock.wall_ns();
    let kept = |second: i64| NewReading {
        stream: StreamHandle(0),
        value: Value::Int(second),
        quality: GOOD,
        flags: 0,
        status: 0,
        source_time_ns: now_ns + (second - 3_600) * SECOND_NS,
        receive_time_ns: now_ns,
    };
    // A minute apart, and then each second, of which every fifth is wanted.
    let seconds = (0..60).map(|minute| minute * 60).chain(3_541..3_561);
    outlet.hand_over(seconds.map(kept).collect::<Vec<_>>(), Vec::new()).await.expect("there is room");
    let delivered = deliveries.try_recv().expect("they came").readings;
    let delivered: Vec<_> = delivered.into_iter().map(|reading| reading.value).collect();
    let wanted = (0..60).map(|minute| minute * 60).chain([3_545, 3_550, 3_555, 3_560]);
    assert_eq!(delivered, wanted.map(Value::Int).collect::<Vec<_>>());
}
