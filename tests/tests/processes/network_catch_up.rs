//! A gateway that starts empty catches up with a long ledger, killed on the way or not. `SELVEDGE_LEDGER` sets how long.

use std::time::{Duration, Instant};

use selvedge_tests::device::Device;
use selvedge_tests::fleet::{Gateway, Held, LISTEN, stop_equal};
use selvedge_tests::process::Signal;
use selvedge_tests::{eventually_within, from_env, ready};

/// Slower than this it is stuck.
const LEAST_PER_SECOND: u64 = 100;

#[test]
fn show5_a_gateway_that_starts_empty_catches_up() {
    let transactions = from_env("SELVEDGE_LEDGER", 3_000);
    let above = tempfile::tempdir().expect("a folder for tests");
    let [full, empty] = ["full", "empty"].map(|name| Gateway::at(above.path().join(name)));
    let ids = ready::fill(&ready::folder(full.data(), 0), transactions);
    drop(ready::folder(empty.data(), 1));
    full.configure(LISTEN, "");
    let first = full.run();
    empty.configure(&full.dials(), "");
    assert_eq!(empty.count(), 0);

    let within = Duration::from_secs(60 + transactions / LEAST_PER_SECOND);
    let reaches = |count: u64| {
        eventually_within(within, &format!("{count} transactions"), || {
            let status = empty.status();
            let got = status["ledger"]["transactions"].as_u64().expect("a number");
            if got >= count { Ok(got) } else { Err(status["ledger"].clone()) }
        })
    };
    let started = Instant::now();
    let second = empty.run();
    // As soon as anything is here; what was fetched by then, some or all, stays.
    let at_the_kill = reaches(1);
    second.end_with(Signal::KILL);
    let kept = empty.held().bytes.len() as u64;
    assert!(kept >= at_the_kill, "{kept} after the kill, {at_the_kill} were shown");
    let second = empty.run();
    reaches(transactions);
    let took = started.elapsed();
    println!(
        "{transactions} transactions in {} ms, killed once after {kept} of them: {} a second",
        took.as_millis(),
        u128::from(transactions) * 1_000 / took.as_millis().max(1),
    );

    // Both approve what the others signed: those are issued after it, and arrive too.
    let mut before = (0, 0, Instant::now());
    eventually_within(within, "one ledger that does not change", || {
        let now = (full.count(), empty.count());
        if now.0 != now.1 || now != (before.0, before.1) {
            before = (now.0, now.1, Instant::now());
        }
        if before.2.elapsed() > Duration::from_secs(3) { Ok(()) } else { Err(format!("{now:?}")) }
    });
    let held = stop_equal([(full, first), (empty, second)]);
    assert!(ids.is_subset(&held.ids()), "all that it was filled with");
    assert_eq!(Held::forks([&held]), []);
}

/// The gateway that holds the ledger issues without a pause, so the one that joins is told of its newest transactions before
/// it has any of what they stand on: what it asks for by id must neither displace nor keep out what it fetches. The ledger
/// is longer than the room for what waits. (How that once went wrong stands in the core's scenarios, `fetching.rs`.)
#[test]
fn a_gateway_that_starts_empty_catches_up_with_a_busy_peer() {
    let transactions = from_env("SELVEDGE_LEDGER_BUSY", 10_000);
    let above = tempfile::tempdir().expect("a folder for tests");
    let [full, empty] = ["full", "empty"].map(|name| Gateway::at(above.path().join(name)));
    let ids = ready::fill(&ready::folder(full.data(), 0), transactions);
    drop(ready::folder(empty.data(), 1));
    let device = Device::start();
    full.configure(LISTEN, &device.counters_config("10ms"));
    let first = full.run();
    full.issues(5);
    // It waits for nobody, so it takes part from its first moment.
    empty.configure(&format!("{LISTEN}peers = [{:?}]\n", full.address()), "");
    let started = Instant::now();
    let second = empty.run();
    let within = Duration::from_secs(60 + transactions / LEAST_PER_SECOND);
    // More than it was filled with: what came while it caught up is attached too.
    eventually_within(within, "the ledger of its peer", || {
        let (got, all) = (empty.count(), full.count());
        if got >= transactions && got + 100 > all { Ok(()) } else { Err(format!("{got} of {all}")) }
    });
    println!("{transactions} transactions of a busy peer in {} ms", started.elapsed().as_millis());
    first.end_with(Signal::TERM).expect(0);
    second.end_with(Signal::TERM).expect(0);
    let (first, second) = (full.held(), empty.held());
    assert!(ids.is_subset(&second.ids()), "all that the other was filled with");
    assert_eq!(Held::forks([&first, &second]), []);
}
