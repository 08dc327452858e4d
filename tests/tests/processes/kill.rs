//! kill −9 under load, at random moments. What was ever shown to anybody is there after the restart.
//!
//! The device gives a new number at each read, so a number that stands twice was invented, and one that was shown and
//! is gone was lost. An oracle outside keeps asking `readings --json` and remembers every whole line it is given,
//! also while the gateway dies and comes back; nobody tells it when that is. `SELVEDGE_KILLS` sets how often,
//! `SELVEDGE_SEED` when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use selvedge_tests::device::Device;
use selvedge_tests::process::{Process, Signal};
use selvedge_tests::site::{Site, runs};
use selvedge_tests::{Random, eventually, from_env};
use serde_json::Value;

/// Batches that close every few polls: a kill falls into journal, seal, signature and log alike.
const SETTINGS: &str = "[batch]\nreadings = 60\nage = \"150ms\"\n\n[journal]\nsync_within = \"20ms\"\n\n";
/// Readings in one question of the oracle.
const ASKED: &str = "400";

/// What was shown, by stream and counter: value, and when it was received.
type Shown = BTreeMap<(String, u64), (String, String)>;

/// Asks, and remembers.
struct Oracle {
    shown: Arc<Mutex<Shown>>,
    asked: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

/// A reading as it was shown: what of it may never change.
fn remember(shown: &mut Shown, reading: &Value) {
    let text = |name: &str| reading[name].as_str().expect("text").to_owned();
    let key = (text("stream"), reading["counter"].as_u64().expect("a counter"));
    let what = (format!("{} {}", reading["value"], text("quality")), text("receive_time"));
    if let Some(before) = shown.insert(key.clone(), what.clone()) {
        assert_eq!(before, what, "{key:?} was shown as another reading before");
    }
}

impl Oracle {
    fn start(site: &Arc<Site>, streams: Vec<String>) -> Self {
        let (shown, stop, asked) =
            (Arc::<Mutex<Shown>>::default(), Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let thread = {
            let (site, shown, stop, asked) = (site.clone(), shown.clone(), stop.clone(), asked.clone());
            std::thread::spawn(move || {
                for stream in streams.iter().cycle() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let done = site.ask(&["readings", stream, "--last", ASKED, "--json"]);
                    // Cut off, the answer ends in an error; its whole lines were shown all the same.
                    let whole = done.out.rfind('\n').map_or("", |end| &done.out[..end]);
                    let mut shown = shown.lock().expect("nobody panicked with it");
                    for line in whole.lines() {
                        remember(
                            &mut shown,
                            &serde_json::from_str(line).expect("whole lines are whole objects"),
                        );
                    }
                    drop(shown);
                    asked.fetch_add(u64::from(done.status.success()), Ordering::Relaxed);
                }
            })
        };
        Self { shown, asked, stop, thread }
    }

    fn shown(&self) -> Shown {
        self.shown.lock().expect("nobody panicked with it").clone()
    }

    /// Waits until it was answered so many times more.
    fn wait_for_answers(&self, count: u64) {
        let from = self.asked.load(Ordering::Relaxed);
        eventually("answers to the oracle", || {
            assert!(!self.thread.is_finished(), "the oracle stopped: its panic stands above");
            let got = self.asked.load(Ordering::Relaxed) - from;
            if got >= count { Ok(()) } else { Err(format!("{got} of {count}")) }
        });
    }

    fn end(self) -> Shown {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it never saw a contradiction");
        Arc::try_unwrap(self.shown)
            .expect("its thread is gone")
            .into_inner()
            .expect("nobody panicked with it")
    }
}

/// All readings of all streams, as the gateway shows them; gapless, and no number twice.
fn check(site: &Site, streams: &[String], shown: &Shown) -> u64 {
    let mut numbers = BTreeSet::new();
    let mut now = Shown::new();
    for stream in streams {
        let readings = site.readings(stream);
        for (expected, reading) in (0_u64..).zip(&readings) {
            assert_eq!(
                reading["counter"].as_u64(),
                Some(expected),
                "{stream} has a gap or a repetition: {reading}"
            );
            // A stale one repeats the last number by design, and says so.
            if reading["quality"] == "good" {
                let number = reading["value"].as_u64().expect("a number");
                assert!(numbers.insert(number), "{number} stands twice: {reading}");
            }
            remember(&mut now, reading);
        }
    }
    for (key, what) in shown {
        assert_eq!(now.get(key), Some(what), "{key:?} was shown, and is gone or another one");
    }
    now.len() as u64
}

/// Starts the gateway, and kills it when its time has come: at once, while it starts, or under load.
fn one_life(site: &Site, random: &mut Random, oracle: &Oracle) {
    let node = site.start();
    if random.below(4) == 0 {
        // While it starts. This is the random moment itself, nothing waits for anything.
        std::thread::sleep(Duration::from_micros(random.below(120_000)));
    } else {
        runs(&node);
        oracle.wait_for_answers(1 + random.below(8));
        std::thread::sleep(Duration::from_micros(random.below(700_000)));
    }
    killed(node);
}

fn killed(node: Process) {
    let done = node.end_with(Signal::KILL);
    assert_eq!(done.status.code(), None, "killed, and not ended by itself: {done}");
}

#[test]
fn kill_at_random_moments_loses_nothing_that_was_shown() {
    let (kills, seed) = (from_env("SELVEDGE_KILLS", 5), from_env("SELVEDGE_SEED", 1));
    println!("seed {seed}, {kills} kills");
    let mut random = Random::new(seed);
    let device = Device::start();
    let site = Arc::new(Site::new());
    site.configure_exactly(&format!("{SETTINGS}{}", device.counters_config("10ms")));
    let streams = device.counter_names();

    let mut node = site.run();
    let oracle = Oracle::start(&site, streams.clone());
    oracle.wait_for_answers(streams.len() as u64);
    killed(node);
    let mut stored = 0;
    for kill in 1..kills {
        one_life(&site, &mut random, &oracle);
        let shown = oracle.shown();
        // Asked with nobody running: by the next command itself, with no repair by hand.
        let now = check(&site, &streams, &shown);
        println!("kill {kill}: {} readings remembered, {now} stored", shown.len());
        assert!(now >= stored, "{now} readings, there were {stored}");
        stored = now;
    }
    // It still works: the chain goes on, and ends in order.
    let before = stored;
    node = site.run();
    oracle.wait_for_answers(2 * streams.len() as u64);
    let shown = oracle.end();
    node.end_with(Signal::TERM).expect(0);
    stored = check(&site, &streams, &shown);
    assert!(stored > before, "nothing new was read after the last kill");
    println!("{kills} kills, {} readings remembered, all of them there; {stored} stored", shown.len());
    assert!(!shown.is_empty(), "nothing was shown, so nothing was tested");

    let proof = site.beside("last.proof");
    site.prove(&streams[0], &proof);
    let proof = proof.to_str().expect("UTF-8");
    selvedge_tests::program::ask(["verify", proof, "--network", site.network()]).expect(0);
}
