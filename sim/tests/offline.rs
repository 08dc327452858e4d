//! A gateway whose uplink is down for a day: it goes on recording and signing, and afterwards everybody has each of its
//! readings once. (Complaint 5 of those who run such gateways: offline buffers that fill, or are lost.)

use selvedge_core::border::BatchPolicy;
use selvedge_sim::{Plan, run};

const SECOND: u64 = 1_000_000;
const DAY: u64 = 86_400 * SECOND;

/// The run fails if a reading is missing or there twice, a counter leaves a gap, or ledgers differ a minute after the day.
#[test]
fn a_day_offline_drains_without_a_gap_or_a_double() {
    const SEED: u64 = 20_061_121;
    println!("seed: {SEED}");
    let before = 600 * SECOND;
    let plan = Plan {
        offline: Some((before, DAY)),
        submit_every_us: 60 * SECOND,
        batch: BatchPolicy { readings_max: 4_096, bytes_max: 64 * 1024, age_max_us: 5 * SECOND },
        // Of the day no more than an hour is in memory; the rest is asked for and comes from the store.
        window_records: 512,
        ..Plan::calm(SEED, 3, before + DAY)
    };
    let report = run(&plan).unwrap_or_else(|failure| panic!("{failure}"));
    println!(
        "{} readings in {} batches, {} transactions; {} acknowledged",
        report.readings, report.batches, report.transactions, report.acknowledged
    );
    assert!(report.ledgers_equal);
    assert!(report.acknowledged > 30_000, "a day of readings: {}", report.acknowledged);
    // It was away: the frames of that day between it and the others are missing.
    let online = run(&Plan { offline: None, ..plan }).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(
        report.frames * 4 < online.frames * 3,
        "{} frames, {} without the day",
        report.frames,
        online.frames
    );
}
