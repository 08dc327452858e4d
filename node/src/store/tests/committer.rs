//! The commit thread: groups, order, errors, the end.

use std::sync::mpsc::{Receiver, channel};

use selvedge_core::border::Ticket;

use super::open;
use super::script::Script;
use crate::store::{Committer, Faults, GroupOutcome, MemDisk, StoreError, StoreReader};

/// Long enough that no test waits for it: only something else ends the group.
const NEVER_US: u64 = 600_000_000;

fn start(script: &Script, disk: &MemDisk) -> (Committer, StoreReader, Receiver<GroupOutcome>) {
    let (store, _, _) = open(disk, script).expect("a new store");
    let reader = store.reader();
    let (sender, outcomes) = channel();
    let committer =
        Committer::start(store, 64, move |outcome| sender.send(outcome).expect("the test listens"));
    (committer.expect("a thread"), reader, outcomes)
}

#[test]
fn one_sync_serves_a_group_and_the_most_urgent_ends_the_wait() {
    let (mut script, disk) = (Script::new(31), MemDisk::new());
    let (committer, reader, outcomes) = start(&script, &disk);
    let before = disk.syncs();
    for ticket in 0..20 {
        let mut writes = Vec::new();
        script.journal(&mut writes);
        committer.submit(Ticket(ticket), writes, NEVER_US).expect("taken");
    }
    let mut writes = Vec::new();
    script.journal(&mut writes);
    committer.submit(Ticket(20), writes, 0).expect("taken");
    let tickets = outcomes.recv().expect("an answer").expect("durable");
    assert_eq!(tickets, (0..21).map(Ticket).collect::<Vec<_>>(), "in order, all of them");
    assert!(disk.syncs() - before <= 3, "{} syncs for 21 submissions", disk.syncs() - before);
    assert_eq!(reader.backlog().expect("a look").readings, script.issued.counters.iter().sum::<u64>());
    committer.shutdown().expect("ends well");
}

#[test]
fn what_was_handed_in_is_committed_at_the_end() {
    let (mut script, disk) = (Script::new(32), MemDisk::new());
    let (committer, _, outcomes) = start(&script, &disk);
    let mut writes = Vec::new();
    script.journal(&mut writes);
    script.foreign(&mut writes);
    committer.submit(Ticket(7), writes, NEVER_US).expect("taken");
    committer.shutdown().expect("ends well");
    assert_eq!(outcomes.recv().expect("an answer"), Ok(vec![Ticket(7)]));
    script.acknowledge();
    let (store, restored, report) = open(&disk, &script).expect("opens");
    assert_eq!(report.replayed, 0, "a clean end leaves nothing to do");
    script.check(&store, &restored).expect("everything is there");
}

#[test]
fn an_error_is_told_to_all_who_wait_and_to_all_after_them() {
    let (mut script, disk) = (Script::new(33), MemDisk::new());
    let (committer, _, outcomes) = start(&script, &disk);
    disk.set_faults(Faults { fail_at: Some(0), ..Faults::default() });
    for ticket in 0..2 {
        let mut writes = Vec::new();
        script.journal(&mut writes);
        committer.submit(Ticket(ticket), writes, 0).expect("taken");
        // Whether the second joins the first group or comes after it, it fails.
        if ticket == 0 {
            let (tickets, why) = outcomes.recv().expect("an answer").expect_err("it failed");
            assert_eq!(tickets, [Ticket(0)]);
            assert!(why.contains("fault of the test"), "{why}");
        }
    }
    let (tickets, why) = outcomes.recv().expect("an answer").expect_err("it failed");
    assert_eq!(tickets, [Ticket(1)]);
    assert!(why.contains("stopped after an earlier error"), "{why}");
    let outcome = committer.shutdown();
    assert!(matches!(outcome, Err(StoreError::Poisoned { .. })), "{outcome:?}");
}

#[test]
fn dropping_it_commits_too() {
    let (mut script, disk) = (Script::new(34), MemDisk::new());
    let (committer, _, outcomes) = start(&script, &disk);
    let mut writes = Vec::new();
    script.journal(&mut writes);
    committer.submit(Ticket(1), writes, NEVER_US).expect("taken");
    drop(committer);
    assert_eq!(outcomes.recv().expect("an answer"), Ok(vec![Ticket(1)]));
}
