//! One gateway with fifty devices over all protocols, three of them dead and one that comes and goes: the others go on as
//! if nothing were, nothing is lost or doubled, and the gateway does not grow.
//!
//! `SELVEDGE_ENDURANCE_S` sets for how long, `SELVEDGE_SEED` when the one is cut. What was measured is printed at the end.

mod judge;
mod plant;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use plant::{Device, FLAPPING, Fate, MUTE, OFF, Plant, UNIT, now_ns};
use selvedge_tests::process::{Process, Signal};
use selvedge_tests::site::Site;
use selvedge_tests::{Random, WITHIN, eventually, from_env};
use serde_json::Value;

/// The gateway is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A run has so many windows, in each of which each good device must give something new.
const WINDOWS: u32 = 5;
/// The memory of the second half is at most so much of that of the first. What grows with each reading would grow by
/// more in either run.
const GROWTH_MAX: f64 = 1.15;
/// Attempts at a dead device before its waits are a minute, or half of it by chance; with some room.
const ATTEMPTS_AT_FIRST: u64 = 10;
/// The least wait between two attempts after that, in seconds.
const WAIT_S: u64 = 30;

/// A device of the status.
fn of<'a>(status: &'a Value, name: &str) -> &'a Value {
    let devices = status["devices"].as_array().expect("a list");
    devices.iter().find(|device| device["name"] == name).unwrap_or_else(|| panic!("no {name} in {status}"))
}

/// What the status says of a device, by a path of keys.
fn figure(status: &Value, device: &str, path: &[&str]) -> u64 {
    let found = path.iter().fold(of(status, device), |found, key| &found[key]);
    found.as_u64().unwrap_or_else(|| panic!("no {path:?} of {device} in {status}"))
}

fn errors(status: &Value, device: &str) -> u64 {
    let kinds = of(status, device)["figures"]["errors"].as_object().expect("errors by kind");
    kinds.values().filter_map(Value::as_u64).sum()
}

/// When the newest good reading of a device came.
fn newest(status: &Value, device: &str) -> String {
    of(status, device)["last_good"]["receive_time"].as_str().unwrap_or_default().to_owned()
}

/// The device whose way is cut: what happens to it, by the seed.
struct Flapping {
    random: Random,
    until: Instant,
    /// When it was cut, while it is.
    cut_ns: Option<i64>,
    /// When its newest good reading came, before it was cut.
    before: String,
    /// When it was cut, when mended, and how long after that a good reading was there.
    cuts: Vec<(i64, i64, Duration)>,
}

impl Flapping {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let until = Instant::now() + Duration::from_millis(2_000 + random.below(3_000));
        Self { random, until, cut_ns: None, before: String::new(), cuts: Vec::new() }
    }

    /// Cuts or mends what is due; both are waited for, until the gateway says so.
    fn turn(&mut self, plant: &Plant, site: &Site) {
        if Instant::now() < self.until {
            return;
        }
        if let Some(cut_ns) = self.cut_ns.take() {
            let (healed_ns, healed) = (now_ns(), Instant::now());
            plant.wire.heal();
            eventually("something new after the mending", || {
                let status = site.status();
                let is_new = !self.before.is_empty() && newest(&status, FLAPPING) != self.before;
                if of(&status, FLAPPING)["state"] == "up" && is_new {
                    Ok(())
                } else {
                    Err(of(&status, FLAPPING).clone())
                }
            });
            self.cuts.push((cut_ns, healed_ns, healed.elapsed()));
            self.until = Instant::now() + Duration::from_millis(3_000 + self.random.below(9_000));
        } else {
            self.cut_ns = Some(now_ns());
            plant.wire.cut();
            self.before = eventually("the device that was cut, down", || {
                let status = site.status();
                let device = of(&status, FLAPPING);
                if device["state"] == "down" { Ok(newest(&status, FLAPPING)) } else { Err(device.clone()) }
            });
            self.until = Instant::now() + Duration::from_millis(self.random.below(5_000));
        }
    }
}

/// What was seen of the gateway while it ran.
#[derive(Default)]
struct Seen {
    /// Kibibytes in memory, at each look.
    memory: Vec<u64>,
    /// Of polls of Modbus devices that are well, at each look, in microseconds.
    lateness: Vec<u64>,
}

impl Seen {
    fn look(&mut self, node: &Process, status: &Value, devices: &[Device]) {
        self.memory.push(judge::memory_kib(node.pid()));
        for device in
            devices.iter().filter(|device| device.protocol == "modbus-tcp" && device.fate == Fate::Good)
        {
            self.lateness.push(figure(status, &device.name, &["figures", "lateness", "last_us"]));
        }
        for device in devices.iter().filter(|device| device.fate == Fate::Dead) {
            let dead = of(status, &device.name);
            let is_said =
                dead["state"] == "down" && !dead["error"].is_null() && !dead["next_attempt"].is_null();
            assert!(is_said && dead["last_good"].is_null(), "{dead}");
        }
    }
}

/// Waits until each good device gave something new since `before`; returns when.
fn all_went_on(
    site: &Site,
    devices: &[Device],
    before: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    eventually("something new of each good device", || {
        let status = site.status();
        let good = devices.iter().filter(|device| device.fate == Fate::Good);
        let now: BTreeMap<String, String> =
            good.map(|device| (device.name.clone(), newest(&status, &device.name))).collect();
        let stuck: Vec<&Value> = now
            .iter()
            .filter(|(name, time)| time.is_empty() || before.get(*name) == Some(*time))
            .map(|(name, _)| of(&status, name))
            .collect();
        if stuck.is_empty() { Ok(now) } else { Err(format!("{stuck:?}")) }
    })
}

/// Everything is there: good devices are up, dead ones down.
fn all_is_known(site: &Site, devices: &[Device]) {
    eventually("each device up or down", || {
        let status = site.status();
        let is_right = |device: &Device| {
            let expected = if device.fate == Fate::Dead { "down" } else { "up" };
            of(&status, &device.name)["state"] == expected
        };
        let wrong: Vec<&Value> = devices
            .iter()
            .filter(|device| !is_right(device))
            .map(|device| of(&status, &device.name))
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(format!("{wrong:?}")) }
    });
}

#[test]
fn show3_fifty_devices_of_which_three_are_dead_and_one_flaps() {
    let (lasts, seed) = (from_env("SELVEDGE_ENDURANCE_S", 25), from_env("SELVEDGE_SEED", 1));
    println!("{lasts} s, seed {seed}");
    let (mut plant, devices, site) = (Plant::start(), Plant::devices(), Site::new());
    assert_eq!(devices.len(), 50);
    site.configure_exactly(&format!(
        "[clock]\ntrust = \"assume\"\n\n[batch]\nage = \"1s\"\n\n{}",
        plant.config()
    ));
    let node = site.run();
    all_is_known(&site, &devices);
    let publishing = plant.publish();
    let mut newest = all_went_on(&site, &devices, &BTreeMap::new());

    let (started, cpu_before) = (Instant::now(), judge::cpu_seconds(node.pid()));
    let lasts = Duration::from_secs(lasts);
    let (mut seen, mut flapping) = (Seen::default(), Flapping::new(seed));
    let (mut window, mut look) = (1, started);
    while started.elapsed() < lasts {
        seen.look(&node, &site.status(), &devices);
        flapping.turn(&plant, &site);
        if started.elapsed() >= lasts * window / WINDOWS {
            newest = all_went_on(&site, &devices, &newest);
            window += 1;
        }
        look += LOOK_EVERY;
        // Its pace of looking: nothing waits for it.
        std::thread::sleep(look.saturating_duration_since(Instant::now()));
    }
    if flapping.cut_ns.is_some() {
        flapping.until = Instant::now();
        flapping.turn(&plant, &site);
    }
    let cpu_share = (judge::cpu_seconds(node.pid()) - cpu_before) / started.elapsed().as_secs_f64();
    let status = site.status();
    assert!(started.elapsed() < lasts + WITHIN, "it took {:?} in place of {lasts:?}", started.elapsed());

    // What was sent is there before the end.
    let ticks = plant.stop_ticking();
    let (said, _edges) = publishing.end();
    for device in devices.iter().filter(|device| device.fate == Fate::Good && device.protocol != "modbus-tcp")
    {
        let last = if device.protocol == "opcua" { ticks } else { said };
        eventually(&format!("{last} of {}", device.name), || {
            let status = site.status();
            let of = of(&status, &device.name);
            if of["last_good"]["value"].as_u64() == Some(last) { Ok(()) } else { Err(of.clone()) }
        });
    }
    node.end_with(Signal::TERM).expect(0);

    let counts = judge::exported(&site);
    for device in &devices {
        let none = Vec::new();
        let readings = counts.get(&device.count()).unwrap_or(&none);
        match (device.fate, device.protocol) {
            (Fate::Dead, _) => {
                assert!(readings.iter().all(|r| !r.is_good()), "{}: {readings:?}", device.name);
            }
            (Fate::Flapping, _) => judge::is_whole_around(readings, &flapping.cuts),
            (Fate::Good, "modbus-tcp") => {
                let last = judge::counts_up(&device.name, readings);
                // The last answer may have come when the gateway was already stopping.
                let given = plant.given(&device.name);
                assert!(u64::from(given) - last <= 1, "{}: {last} of {given}", device.name);
            }
            (Fate::Good, "opcua") => {
                assert_eq!(judge::counts_up(&device.name, readings), ticks, "{}", device.name);
            }
            // An edge node's birth brings the value that it had before.
            (Fate::Good, "sparkplug") => {
                assert_eq!(judge::counts_up(&device.name, &readings[1..]), said, "{}", device.name);
            }
            (Fate::Good, _) => assert_eq!(judge::counts_up(&device.name, readings), said, "{}", device.name),
        }
    }
    println!("{}", judge::table(&devices, &counts, &status, &mut seen.lateness));
    no_neighbour_lost_a_poll(&status, &devices);
    let attempts = dead_are_tried_ever_more_rarely(&plant, &status, lasts);
    let (first, second) = seen.memory.split_at(seen.memory.len() / 2);
    let [first, second] = [first, second].map(|half| half.iter().copied().max().expect("some looks"));

    assert!(flapping.cuts.len() as u64 >= lasts.as_secs() / 40, "{:?}", flapping.cuts);
    let longest = flapping.cuts.iter().map(|(.., took)| *took).max().unwrap_or_default();
    let fifth = seen.memory.len().div_ceil(5);
    let fifths: Vec<String> = seen.memory.chunks(fifth).map(judge::most_mib).collect();
    println!(
        "memory in MiB, at most, in each fifth of the time: {}; {:.1} % of a core\n\
         attempts at the dead: {attempts}\n{} cuts of the one that flaps; well again {:.1} s after a mending at most",
        fifths.join(", "),
        cpu_share * 100.0,
        flapping.cuts.len(),
        longest.as_secs_f64()
    );
    assert!((second as f64) < first as f64 * GROWTH_MAX, "memory grew from {first} KiB to {second} KiB");
}

/// Polls are skipped where the machine of the test stands still for a second. Then all lines lose some: no more on the line
/// with the dead unit than elsewhere, but for the one in which such a second falls.
fn no_neighbour_lost_a_poll(status: &Value, devices: &[Device]) {
    let worst = |is_neighbour: bool| {
        let good =
            devices.iter().filter(|device| device.protocol == "modbus-tcp" && device.fate == Fate::Good);
        let these = good.filter(|device| device.is_neighbour == is_neighbour);
        these
            .map(|device| figure(status, &device.name, &["figures", "polls_skipped_late"]))
            .max()
            .unwrap_or(0)
    };
    let (neighbours, others) = (worst(true), worst(false));
    assert!(neighbours <= others + 1, "{neighbours} polls skipped beside a dead unit, {others} elsewhere");
    for device in devices {
        assert_eq!(of(status, &device.name)["dropped"], 0, "{status}");
    }
}

/// The bound on attempts at the dead, and that the waits between them grew; in words.
fn dead_are_tried_ever_more_rarely(plant: &Plant, status: &Value, lasts: Duration) -> String {
    let most = ATTEMPTS_AT_FIRST + lasts.as_secs() / WAIT_S;
    let mut words = Vec::new();
    for device in [OFF, MUTE, UNIT] {
        let attempts = errors(status, device);
        assert!((2..=most).contains(&attempts), "{attempts} attempts at {device}, {most} at most");
        words.push(format!("{device} {attempts}"));
    }
    for device in [MUTE, UNIT] {
        let waits = plant.between_attempts(device);
        let (first, last) = (waits[0], waits[waits.len() - 1]);
        // Beside living neighbours the first waits are all ten times as long as an attempt takes.
        assert!(waits.len() >= 2 && last > first * 1.2, "{device}: {waits:?} seconds between attempts");
        words.push(format!("{device} at first {first:.1} s apart, at last {last:.1} s"));
    }
    words.join(", ")
}
