//! Readings into batches, batches into transactions.

use selvedge_core::border::{Effect, Event, Input, Origin, Outcome, Refusal, Silence, StartCheck, Write};
use selvedge_core::limits::{ACKNOWLEDGE_AT, ACKNOWLEDGE_WITHIN_US};
use selvedge_core::reading::{FLAG_POSSIBLY_REPEATED, FLAG_UNSYNCHRONISED, Value};

use crate::driver::{Driver, PEER, SECOND_US, Work, descriptor};

fn counts(driver: &Driver) -> Vec<u32> {
    driver.store.batches().iter().map(|b| b.count).collect()
}

#[test]
fn nobody_hears_of_a_reading_before_it_is_durable() {
    let mut driver = Driver::new();
    driver.describe(0, "a");
    driver.take();
    driver.hold.insert(Work::Persist);
    let reply = driver.submit_count(0, 3);
    assert_eq!(driver.outcome(reply), None);
    let asked = driver.open_work(Work::Persist);
    let [only] = asked.as_slice() else { panic!("one Persist expected, got {}", asked.len()) };
    let Effect::Persist { writes, .. } = &only.effect else { panic!("asked for as Persist") };
    assert!(matches!(writes.as_slice(), [Write::Journal { batch: 0, .. }]), "{writes:?}");
    driver.advance_us(5 * SECOND_US);
    assert_eq!(driver.outcome(reply), None, "time alone makes nothing durable");
    driver.release(Work::Persist);
    assert_eq!(driver.outcome(reply), Some(Outcome::Durable));
}

/// A broker stopped sending once its window was full, and the window was full for as long as a slow trickle of messages may
/// wait: 256 of them every 20 ms, however fast the disk was.
#[test]
fn messages_to_acknowledge_wait_for_others_only_while_they_are_few() {
    let mut driver = Driver::with(|c| c.journal_within_us = SECOND_US);
    driver.describe(0, "a");
    let mut submit = |origins: usize| -> u64 {
        driver.take();
        let origin = |n| Origin { source: 1, packet: n as u16, digest: [0; 16] };
        let readings = vec![driver.reading(0, Value::Unsigned(1))];
        let reply = driver.next_reply();
        driver.input(Input::Submit { readings, origins: (0..origins).map(origin).collect(), reply });
        let within = |effect: &Effect| match effect {
            Effect::Persist { writes, within_us, .. } if matches!(writes[0], Write::Journal { .. }) => {
                Some(*within_us)
            }
            _ => None,
        };
        driver.take().iter().find_map(within).expect("a record for the journal")
    };
    for _ in 0..3 {
        for _ in 1..ACKNOWLEDGE_AT {
            assert_eq!(submit(1), ACKNOWLEDGE_WITHIN_US, "a trickle shares a sync");
            assert_eq!(submit(0), SECOND_US, "nobody waits for these");
        }
        assert_eq!(submit(1), 0, "they are enough to be synced at once, with all before them");
    }
    assert_eq!(submit(ACKNOWLEDGE_AT), 0);
    assert_eq!(submit(20 * ACKNOWLEDGE_AT), 0);
    assert_eq!(submit(1), ACKNOWLEDGE_WITHIN_US);
}

/// What was synced by its deadline went on counting: of a stream of messages as slow as that every tenth was synced once more.
#[test]
fn messages_that_are_synced_do_not_count_for_the_next_group() {
    let mut driver = Driver::with(|c| c.journal_within_us = SECOND_US);
    driver.describe(0, "a");
    driver.take();
    let mut within = |origins: usize| {
        driver.advance_us(ACKNOWLEDGE_WITHIN_US / 4);
        let packets = (0..origins).map(|packet| Origin { source: 7, packet: packet as u16, digest: [3; 16] });
        let (reply, readings) = (driver.next_reply(), vec![driver.reading(0, Value::Int(1))]);
        driver.take();
        driver.input(Input::Submit { reply, readings, origins: packets.collect() });
        let within = |effect: &Effect| match effect {
            Effect::Persist { writes, within_us, .. } => {
                writes.iter().any(|w| matches!(w, Write::Journal { .. })).then_some(*within_us)
            }
            _ => None,
        };
        driver.take().iter().find_map(within).expect("a record for the journal")
    };
    for _ in 0..40 {
        assert_eq!(within(ACKNOWLEDGE_AT / 5), ACKNOWLEDGE_WITHIN_US, "eight in each twenty milliseconds");
    }
}

#[test]
fn a_descriptor_is_written_once_and_before_the_readings_that_need_it() {
    let mut driver = Driver::new();
    driver.describe(0, "a");
    driver.describe(3, "b");
    driver.describe(0, "a");
    driver.submit_count(0, 1);
    let kinds: Vec<&str> = driver
        .store
        .log
        .iter()
        .map(|w| match w {
            Write::Descriptor { .. } => "descriptor",
            Write::Journal { .. } => "journal",
            Write::Transaction { .. } => "transaction",
        })
        .collect();
    assert_eq!(kinds, ["descriptor", "descriptor", "journal"]);
}

#[test]
fn a_batch_closes_at_its_count() {
    let mut driver = Driver::new();
    driver.describe(0, "a");
    driver.submit_count(0, 9);
    assert_eq!(driver.count(Work::Seal), 0);
    driver.submit_count(0, 1);
    assert_eq!((driver.count(Work::Seal), counts(&driver)), (1, vec![10]));
    let batched = driver.events().iter().any(|e| matches!(e, Event::Batched { batch: 0, readings: 10, .. }));
    assert!(batched);
    driver.store.check_readings();
    assert_eq!(driver.node.status().backlog_readings, 0);
}

#[test]
fn a_batch_closes_at_its_bytes() {
    let mut driver = Driver::with(|c| (c.batch.bytes_max, c.batch.readings_max) = (1_024, 1_000));
    driver.describe(0, "a");
    for _ in 0..21 {
        driver.submit_count(0, 1);
    }
    assert_eq!(driver.count(Work::Seal), 0, "21 readings of 48 bytes are 1,008 bytes");
    driver.submit_count(0, 1);
    assert_eq!(counts(&driver), [21], "the 22nd has no room and opens the next batch");
    // A value larger than the limit gets a batch of its own: it is not refused.
    let text = driver.reading(0, Value::Text("t".repeat(3_000)));
    driver.submit(vec![text]);
    assert_eq!(counts(&driver), [21, 1, 1]);
    driver.store.check_readings();
}

#[test]
fn a_batch_closes_at_its_age_and_the_deadline_says_when() {
    let mut driver = Driver::new();
    driver.input(Input::PeerDown(PEER));
    driver.describe(0, "a");
    let first = driver.now.monotonic_us;
    driver.submit_count(0, 1);
    driver.advance_us(4 * SECOND_US);
    driver.submit_count(0, 1);
    assert_eq!(
        driver.node.next_deadline(),
        Some(first + 10 * SECOND_US),
        "the age of the first reading counts"
    );
    driver.advance_us(6 * SECOND_US - 1);
    assert_eq!(driver.count(Work::Seal), 0);
    driver.advance_us(1);
    assert_eq!(counts(&driver), [2]);
    assert!(driver.is_at_rest(), "nothing waits any more");
}

#[test]
fn an_urgent_reading_closes_its_batch_with_those_before_it() {
    let mut driver = Driver::new();
    driver.describe(0, "a");
    driver.describe_as(1, descriptor("alarm", "1"), true);
    driver.submit_count(0, 2);
    assert_eq!(driver.count(Work::Seal), 0);
    driver.submit_count(1, 1);
    assert_eq!(counts(&driver), [3]);
    driver.submit_count(0, 1);
    assert_eq!(counts(&driver), [3], "the next batch is not urgent");
}

#[test]
fn flush_closes_what_there_is_and_nothing_when_there_is_nothing() {
    let mut driver = Driver::new();
    driver.describe(0, "a");
    driver.input(Input::Flush);
    assert_eq!(driver.count(Work::Seal), 0);
    driver.submit_count(0, 4);
    driver.input(Input::Flush);
    driver.input(Input::Flush);
    assert_eq!(counts(&driver), [4]);
    assert!(driver.is_at_rest());
}

#[test]
fn a_large_submission_is_split_over_batches_and_answered_once() {
    let mut driver = Driver::with(|c| c.batch.readings_max = 100);
    driver.describe(0, "a");
    driver.describe(1, "b");
    let mixed = (0..1_050_u64).map(|i| driver.reading(u32::from(i % 3 == 0), Value::Unsigned(i))).collect();
    let reply = driver.submit(mixed);
    assert_eq!(driver.outcome(reply), Some(Outcome::Durable));
    assert_eq!(counts(&driver), [100; 10]);
    assert_eq!(driver.node.status().backlog_readings, 50);
    driver.input(Input::Flush);
    assert_eq!(counts(&driver).iter().sum::<u32>(), 1_050);
    driver.store.check_readings();
    let readings = driver.store.readings();
    assert_eq!((readings["a"].len(), readings["b"].len()), (700, 350));
}

#[test]
fn closed_batches_beyond_the_few_in_memory_come_back_from_the_journal() {
    let mut driver = Driver::new();
    driver.describe(0, "a");
    driver.hold.insert(Work::Seal);
    for _ in 0..20 {
        driver.submit_count(0, 10);
    }
    assert_eq!(driver.node.status().closed_batches, 20);
    driver.release(Work::Seal);
    assert_eq!(counts(&driver), [10; 20]);
    assert_eq!(driver.count(Work::LoadBatch), 11, "20 batches, one at work and eight in memory");
    driver.store.check_readings();
}

#[test]
fn many_long_values_keep_their_places() {
    let mut driver = Driver::new();
    driver.describe(0, "a");
    driver.describe(1, "b");
    let values = [
        Value::Text("öffnet".to_owned()),
        Value::None,
        Value::Bytes(vec![0, 255, 7]),
        Value::Float(-0.0),
        Value::Text(String::new()),
        Value::Bool(true),
        Value::Int(i64::MIN),
        Value::Bytes(vec![1; 4_096]),
        Value::Unsigned(u64::MAX),
        Value::Float(f64::INFINITY),
    ];
    let of = |handle: u32| values.iter().map(|v| driver.reading(handle, v.clone())).collect::<Vec<_>>();
    let mixed = of(0).into_iter().zip(of(1)).flat_map(|(a, b)| [b, a]).collect();
    driver.submit(mixed);
    assert_eq!(counts(&driver), [10, 10]);
    driver.store.check_readings();
    for readings in driver.store.readings().values() {
        assert!(readings.iter().map(|r| &r.value).eq(&values));
    }
}

#[test]
fn a_changed_descriptor_is_a_second_entry_and_the_counter_goes_on() {
    let mut driver = Driver::new();
    driver.describe(0, "a");
    driver.submit_count(0, 4);
    driver.describe_as(0, descriptor("a", "0.1"), false);
    driver.submit_count(0, 3);
    driver.input(Input::Flush);
    let batches = driver.store.batches();
    let spans: Vec<(u64, u32)> = batches[0].streams.iter().map(|s| (s.first, s.count)).collect();
    assert_eq!(spans, [(0, 4), (4, 3)]);
    assert_ne!(batches[0].streams[0].descriptor, batches[0].streams[1].descriptor);
    driver.store.check_readings();
}

/// A descriptor that changed and changed back within one batch was put into its old entry of the stream table, whose
/// counters then had a gap: the batch no longer came back from the journal, and its archive gave other counters.
#[test]
fn a_descriptor_that_changes_back_within_a_batch_leaves_no_gap() {
    let mut driver = Driver::new();
    driver.describe(0, "a");
    driver.submit_count(0, 4);
    driver.describe_as(0, descriptor("a", "0.1"), false);
    driver.submit_count(0, 3);
    driver.describe(0, "a");
    driver.submit_count(0, 2);
    driver.store.check_readings();
    let mut driver = driver.crash();
    driver.describe(0, "a");
    driver.submit_count(0, 1);
    assert_eq!(counts(&driver), [10]);
    driver.store.check_readings();
}

#[test]
fn a_stream_moved_to_another_handle_keeps_its_counter() {
    let mut driver = Driver::new();
    driver.describe(0, "a");
    driver.submit_count(0, 3);
    driver.describe(5, "a");
    driver.submit_count(5, 3);
    let reply = driver.submit_count(0, 1);
    assert_eq!(driver.outcome(reply), Some(Outcome::Refused(Refusal::UnknownStream(0))));
    driver.describe(0, "b");
    driver.submit_count(0, 2);
    assert_eq!(driver.node.status().streams, [("a".to_owned(), 6), ("b".to_owned(), 2)]);
    driver.store.check_readings();
}

#[test]
fn without_a_synchronised_clock_readings_are_flagged_and_stamps_do_not_fall() {
    let mut driver = Driver::new();
    driver.describe(0, "a");
    driver.submit_count(0, 1);
    let before = driver.now.wall_ns;
    // The battery of the clock is empty: after the start it is 1970.
    driver = driver.crash();
    driver.describe(0, "a");
    (driver.now.wall_ns, driver.now.synchronised) = (1_000, false);
    driver.submit_count(0, 1);
    driver.input(Input::Flush);
    let readings = &driver.store.readings()["a"];
    assert_eq!((readings[0].flags, readings[1].flags), (0, FLAG_UNSYNCHRONISED));
    assert!(readings[1].receive_time_ns >= before, "received at {}", readings[1].receive_time_ns);
    assert_eq!(readings[1].source_time_ns, 0, "the source's own time stays as it is");
    let own = driver.own_newest().body;
    assert_eq!(own.flags, selvedge_core::transaction::FLAG_UNSYNCHRONISED);
    assert!(own.issued_at_ms >= before as u64 / 1_000_000);
    // Synchronised again: the flag goes, and the clock is believed.
    (driver.now.wall_ns, driver.now.synchronised) = (before + 77_000_000, true);
    let mut reading = driver.reading(0, Value::Bool(true));
    reading.flags = FLAG_POSSIBLY_REPEATED;
    driver.submit(vec![reading]);
    let readings = &driver.store.readings()["a"];
    assert_eq!(
        (readings[2].flags, readings[2].receive_time_ns),
        (FLAG_POSSIBLY_REPEATED, before + 77_000_000)
    );
}

#[test]
fn what_no_reading_can_hold_is_refused_as_a_whole() {
    let mut driver = Driver::with(|c| c.batch.readings_max = 60_000);
    driver.describe(0, "a");
    let good = driver.reading(0, Value::Int(1));
    let with = |bad| vec![good.clone(), bad, good.clone()];
    let cases = [
        (vec![], Refusal::Count(0)),
        (vec![good.clone(); 4_097], Refusal::Count(4_097)),
        (with(driver.reading(7, Value::Int(1))), Refusal::UnknownStream(7)),
        (with(driver.reading(u32::MAX, Value::Int(1))), Refusal::UnknownStream(u32::MAX)),
        (with(driver.reading(0, Value::Float(f64::NAN))), Refusal::Value),
        (with(driver.reading(0, Value::Float(-f64::NAN))), Refusal::Value),
        (with(driver.reading(0, Value::Text("x".repeat(4_097)))), Refusal::Value),
        (with(driver.reading(0, Value::Bytes(vec![0; 4_097]))), Refusal::Value),
    ];
    for (readings, refusal) in cases {
        let reply = driver.submit(readings);
        assert_eq!(driver.outcome(reply), Some(Outcome::Refused(refusal)));
    }
    assert!(driver.store.readings().is_empty(), "nothing of it is kept");
    for allowed in [driver.reading(0, Value::Text("x".repeat(4_096))), driver.reading(0, Value::Float(1e308))]
    {
        let reply = driver.submit(vec![allowed]);
        assert_eq!(driver.outcome(reply), Some(Outcome::Durable));
    }
    let reply = driver.submit_count(0, 4_096);
    assert_eq!(driver.outcome(reply), Some(Outcome::Durable));
    assert_eq!(driver.store.readings()["a"].len(), 4_098, "no counter was used up by what was refused");
    driver.store.check_readings();
}

#[test]
fn a_node_that_may_not_issue_journals_says_so_and_issues_nothing() {
    let mut driver = Driver::with(|c| c.start_check = StartCheck::Listen);
    assert!(driver.events().contains(&Event::Silent));
    driver.describe(0, "a");
    let reply = driver.submit_count(0, 95);
    assert_eq!(driver.outcome(reply), Some(Outcome::Durable));
    let refused = driver.issue(0, b"hello".to_vec());
    assert_eq!(driver.outcome(refused), Some(Outcome::Refused(Refusal::Silent(Silence::Listening))));
    let mut other = driver.world.member(1);
    let note = other.note("others go on", &[]);
    driver.frame(&note);
    driver.advance_us(60 * SECOND_US);
    assert!(driver.is_attached(&note));
    for work in [Work::Seal, Work::Sign, Work::LoadBatch] {
        assert_eq!(driver.count(work), 0, "{work:?}");
    }
    assert!(driver.sent_to(PEER).is_empty());
    assert!(driver.is_at_rest());
    // The chain came back: everything journaled meanwhile goes out.
    let mut driver = driver.restart(|c| c.start_check = StartCheck::None);
    driver.input(Input::Flush);
    assert_eq!(counts(&driver).iter().sum::<u32>(), 95);
    driver.store.check_readings();
}
