//! What the gateway recorded, and what it took for that.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use selvedge::answers::shown::Time;
use selvedge::answers::times::parse_moment;
use selvedge_tests::site::Site;
use serde_json::Value;

use super::figure;
use super::plant::{Device, Fate};

/// A reading of a count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    number: Option<u64>,
    quality: String,
    source_ns: i64,
    receive_ns: i64,
}

impl Reading {
    fn of(line: &Value) -> Self {
        let time =
            |name: &str| parse_moment(line[name].as_str().expect("a time"), Time(0)).expect("a time").0;
        Self {
            number: line["value"].as_u64(),
            quality: line["quality"].as_str().expect("a word").to_owned(),
            source_ns: time("source_time"),
            receive_ns: time("receive_time"),
        }
    }

    pub(super) fn is_good(&self) -> bool {
        self.quality == "good"
    }
}

/// All readings of counts, by stream, in their order.
pub(super) fn exported(site: &Site) -> BTreeMap<String, Vec<Reading>> {
    let file = site.beside("readings.jsonl");
    site.ask(&["export", "--all", "--format", "jsonl", "-o", file.to_str().expect("UTF-8")]).expect(0);
    let mut counts: BTreeMap<String, Vec<Reading>> = BTreeMap::new();
    for line in fs::read_to_string(file).expect("it was written").lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let stream = line["stream"].as_str().expect("a name");
        if stream.ends_with("/count") {
            counts.entry(stream.to_owned()).or_default().push(Reading::of(&line));
        }
    }
    counts
}

/// Each number once, none left out, all good, at times that rise. Returns the last.
pub(super) fn counts_up(device: &str, readings: &[Reading]) -> u64 {
    assert!(readings.len() > 5 && readings.iter().all(Reading::is_good), "{device}: {readings:?}");
    for pair in readings.windows(2) {
        let [before, after] = pair else { continue };
        assert_eq!(
            after.number,
            before.number.map(|number| number + 1),
            "{device}: {before:?}, then {after:?}"
        );
        assert!(
            after.source_ns > before.source_ns && after.receive_ns >= before.receive_ns,
            "{device}: {before:?}, then {after:?}"
        );
    }
    readings[readings.len() - 1].number.expect("a number")
}

/// The one that flaps: no number twice, and every gap is marked by a stale reading, which has the old time.
pub(super) fn is_whole_around(readings: &[Reading], cuts: &[(i64, i64, Duration)]) {
    let (mut good, mut is_marked): (Option<&Reading>, bool) = (None, false);
    let mut marks = 0;
    for reading in readings {
        if !reading.is_good() {
            assert_eq!(reading.quality, "stale", "{reading:?}");
            if let Some(good) = good {
                assert_eq!((reading.number, reading.source_ns), (good.number, good.source_ns), "{reading:?}");
            }
            is_marked = true;
            marks += 1;
            continue;
        }
        if let Some(before) = good {
            assert!(reading.number > before.number, "{before:?}, then {reading:?}");
            assert!(reading.source_ns > before.source_ns, "{before:?}, then {reading:?}");
            let over = |(cut, healed, _): &&(i64, i64, Duration)| {
                before.receive_ns < *cut && *healed < reading.receive_ns
            };
            let cut = cuts.iter().find(over);
            assert!(cut.is_none() || is_marked, "{cut:?} left no mark between {before:?} and {reading:?}");
        }
        (good, is_marked) = (Some(reading), false);
    }
    let after = |time: i64| readings.iter().any(|reading| reading.is_good() && reading.receive_ns > time);
    assert!(cuts.iter().all(|(_, healed, _)| after(*healed)), "{cuts:?}: {readings:?}");
    assert!(marks >= cuts.len(), "{marks} marks of {} cuts", cuts.len());
}

/// What each protocol did: readings of counts, lateness of polls, and how old a value was when it came.
pub(super) fn table(
    devices: &[Device],
    counts: &BTreeMap<String, Vec<Reading>>,
    status: &Value,
    lateness_us: &mut [u64],
) -> String {
    let mut text = String::from(
        "| protocol | good devices | readings | polls skipped | a poll began late, p50 / p99 / max ms | from the source's \
         time to receipt, p50 / p99 / max ms |\n|---|---|---|---|---|---|\n",
    );
    for protocol in ["modbus-tcp", "opcua", "mqtt", "sparkplug"] {
        let these =
            || devices.iter().filter(|device| device.protocol == protocol && device.fate == Fate::Good);
        let sum = |path: &[&str]| these().map(|device| figure(status, &device.name, path)).sum::<u64>();
        let (late, age) = if protocol == "modbus-tcp" {
            let worst =
                these().map(|device| figure(status, &device.name, &["figures", "lateness", "max_us"])).max();
            (spread(lateness_us, worst.unwrap_or(0)), "has no time of its own".to_owned())
        } else {
            let readings = these().filter_map(|device| counts.get(&device.count())).flatten();
            let mut ages: Vec<u64> = readings
                .map(|reading| ((reading.receive_ns - reading.source_ns).max(0) / 1_000) as u64)
                .collect();
            let worst = ages.iter().copied().max().unwrap_or(0);
            ("comes by itself".to_owned(), spread(&mut ages, worst))
        };
        let (readings, skipped) = (sum(&["readings"]), sum(&["figures", "polls_skipped_late"]));
        let count = these().count();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {protocol} | {count} | {readings} | {skipped} | {late} | {age} |");
    }
    text
}

fn spread(us: &mut [u64], worst: u64) -> String {
    us.sort_unstable();
    let at = |share: usize| us.get(us.len() * share / 100).copied().unwrap_or(0) as f64 / 1_000.0;
    format!("{:.1} / {:.1} / {:.1}", at(50), at(99), worst as f64 / 1_000.0)
}

/// Memory of a process that is not on the disk (VmRSS of proc(5)).
pub(super) fn memory_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// The most of these, in words.
pub(super) fn most_mib(kib: &[u64]) -> String {
    format!("{:.1}", kib.iter().copied().max().unwrap_or(0) as f64 / 1024.0)
}

/// Seconds of processor that a process took, its threads together (`utime` and `stime` of proc(5)).
pub(super) fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // The name, in brackets, may hold anything.
    let fields = stat.rsplit_once(')').expect("a name in brackets").1;
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().expect("a number")).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}
