use std::sync::Arc;

use super::{LogKind, SegmentLog};
use crate::store::{CrashPolicy, Disk as _, MemDisk, StoreError};

const KIND: LogKind = LogKind { folder: "log", purpose: b'J', recycled: true };
const SEGMENT_BYTES: u32 = 4_096;

fn open(disk: &MemDisk) -> Result<SegmentLog, StoreError> {
    SegmentLog::open(Arc::new(disk.clone()), KIND, SEGMENT_BYTES).map(|(log, _)| log)
}

/// A small generator: the same test for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }
}

/// All payloads from the oldest segment on, with the number of the first.
fn read_all(log: &SegmentLog) -> Result<(u64, Vec<Vec<u8>>), StoreError> {
    let first = log.tags().first().and_then(|(number, _)| log.first_sequence_of(*number)).unwrap_or(0);
    let mut frames = log.frames_from(first)?;
    let mut payloads = Vec::new();
    while let Some(frame) = frames.next()? {
        assert_eq!(frame.sequence, first + payloads.len() as u64, "frames come in order");
        assert_eq!(log.reader().read(frame.place)?, frame, "a frame reads alike by its place");
        payloads.push(frame.payload);
    }
    Ok((first, payloads))
}

/// A payload that tells which one it is.
fn payload(number: u64, random: &mut Random) -> Vec<u8> {
    let mut payload = number.to_le_bytes().to_vec();
    payload.resize(8 + random.below(700), number as u8);
    payload
}

fn written(groups: usize, seed: u64) -> (MemDisk, Vec<Vec<u8>>) {
    let (disk, mut random) = (MemDisk::new(), Random(seed));
    let mut log = open(&disk).expect("a new log");
    let mut payloads = Vec::new();
    for _ in 0..groups {
        for _ in 0..=random.below(3) {
            let next = payload(payloads.len() as u64, &mut random);
            log.append(1, &[&next[..4], &next[4..]], 0).expect("appended");
            payloads.push(next);
        }
        log.sync().expect("synced");
    }
    (disk, payloads)
}

#[test]
fn frames_come_back_in_order_across_segments() {
    let (disk, payloads) = written(40, 1);
    let log = open(&disk).expect("opens");
    assert!(log.tags().len() > 3, "several segments");
    assert_eq!(read_all(&log).expect("reads"), (0, payloads.clone()));
    let mut from_ten = log.frames_from(10).expect("a cursor");
    assert_eq!(from_ten.next().expect("reads").expect("a frame").payload, payloads[10]);
}

#[test]
fn a_payload_longer_than_a_segment_is_refused() {
    let mut log = open(&MemDisk::new()).expect("opens");
    let outcome = log.append(1, &[&[0; SEGMENT_BYTES as usize]], 0);
    assert!(matches!(outcome, Err(StoreError::TooLong { got: 4_096, .. })), "{outcome:?}");
    let limit = SEGMENT_BYTES as usize - 1_024 - 28;
    log.append(1, &[&vec![1; limit]], 0).expect("the longest that fits");
    log.append(1, &[&vec![2; limit]], 0).expect("in a segment of its own");
    log.sync().expect("synced");
    assert_eq!(read_all(&log).expect("reads").1.len(), 2);
}

/// Whatever is done to the files: no panic, no long allocation, and what is read is the beginning of what was written.
#[test]
fn damaged_segments_give_the_beginning_or_an_error() {
    let cases = crate::store::tests::from_env("SELVEDGE_CASES", 50_000);
    let originals: Vec<_> = (0..8).map(|seed| written(6, seed)).collect();
    let (mut refused, mut shorter, mut whole) = (0, 0, 0);
    for case in 0..cases {
        let mut random = Random(case);
        let (original, payloads) = &originals[random.below(8)];
        let disk = original.crash(CrashPolicy::KeepAll, 0);
        damage(&disk, &mut random);
        let outcome = open(&disk).and_then(|log| read_all(&log));
        assert!(
            disk.largest_read() <= SEGMENT_BYTES as usize * 2,
            "case {case} read {} bytes",
            disk.largest_read()
        );
        match outcome {
            Err(_) => refused += 1,
            Ok((first, read)) => {
                let kept = payloads.get(first as usize..first as usize + read.len());
                assert_eq!(
                    kept,
                    Some(read.as_slice()),
                    "case {case}: something was read that was never written"
                );
                if read.len() == payloads.len() { whole += 1 } else { shorter += 1 }
            }
        }
    }
    println!("{cases} cases: {refused} refused, {shorter} shorter, {whole} whole");
    assert!(refused > 0 && shorter > 0 && whole > 0, "the cases are of all kinds");
}

fn damage(disk: &MemDisk, random: &mut Random) {
    let names = disk.names();
    let name = &names[random.below(names.len())];
    let file = disk.open(name).expect("it is there");
    let length = file.len().expect("a length") as usize;
    match random.below(5) {
        0 => file.set_len(random.below(length + 1) as u64).expect("cut"),
        1 => {
            file.write_at(length as u64, &vec![random.below(256) as u8; random.below(2_000)]).expect("grown");
        }
        2 => {
            let from = random.below(length);
            let bytes: Vec<u8> =
                (0..random.below(64).min(length - from)).map(|_| random.below(256) as u8).collect();
            disk.damage(name, from, &bytes);
        }
        3 => {
            // A part of one file in another, as a mixed-up folder has it.
            let other = disk.content(&names[random.below(names.len())]).expect("it is there");
            let from = random.below(other.len() / 8) * 8;
            let bytes = &other[from..(from + random.below(1_500)).min(other.len())];
            file.write_at((random.below(length / 8) * 8) as u64, bytes).expect("written");
        }
        _ => {
            let at = random.below(length);
            let before = disk.content(name).expect("it is there")[at];
            disk.damage(name, at, &[before ^ (1 << random.below(8))]);
        }
    }
}

#[test]
fn damage_before_what_was_durable_is_an_error_with_its_place() {
    let (disk, _) = written(30, 5);
    let mut log = open(&disk).expect("opens");
    // Two groups in the last segment: the second says that the first was durable.
    let mut append = || {
        let place = log.append(1, &[&[7; 100]], 0).expect("appended");
        log.sync().expect("synced");
        place
    };
    let (mut first, mut second) = (append(), append());
    while first.segment != second.segment {
        (first, second) = (second, append());
    }
    for place in [super::Place { segment: 0, offset: 1_024 }, first] {
        let image = disk.crash(CrashPolicy::KeepAll, 0);
        let (name, at) =
            (log.shared.segment(place.segment).expect("held").name.clone(), place.offset as usize + 24);
        let before = image.content(&name).expect("it is there")[at];
        image.damage(&name, at, &[before ^ 1]);
        let outcome = open(&image).and_then(|log| read_all(&log)).map(|(_, read)| read.len());
        let Err(StoreError::Corrupt { file, offset, .. }) = outcome else { panic!("{outcome:?}") };
        assert_eq!(file, name);
        // Named is where the frame before it ends: its padding may come first.
        assert_eq!(offset.next_multiple_of(512), u64::from(place.offset));
    }
}

#[test]
fn a_damaged_header_is_read_from_its_copy_and_two_are_an_error() {
    let (disk, payloads) = written(30, 6);
    for name in disk.names() {
        let image = disk.crash(CrashPolicy::KeepAll, 0);
        image.damage(&name, 0, &[0x5a; 512]);
        let log = open(&image).expect("the copy is good");
        assert_eq!(read_all(&log).expect("reads"), (0, payloads.clone()));
        image.damage(&name, 512, &[0x5a; 512]);
        let outcome = open(&image);
        let Err(StoreError::Corrupt { file, .. }) = outcome else { panic!("{name}: {outcome:?}") };
        assert_eq!(file, name);
    }
}

/// Appends, syncs, frees, crashes of every kind, over and over: what is read is what was synced and is not freed,
/// then perhaps the beginning of what was not; and nothing of a file's earlier life ever.
#[test]
fn recycled_segments_never_bring_old_frames_back() {
    for seed in 0..crate::store::tests::from_env("SELVEDGE_LOG_SEEDS", 150) {
        let mut random = Random(seed);
        let mut disk = MemDisk::new();
        let mut log = open(&disk).expect("a new log");
        // Payloads by frame number, the first of which has number 0; of them `synced` are durable.
        let (mut payloads, mut synced, mut unique): (Vec<Vec<u8>>, usize, u64) = (Vec::new(), 0, 0);
        for _ in 0..120 {
            match random.below(12) {
                0..7 => {
                    unique += 1;
                    let next = payload(unique, &mut random);
                    log.append(1, &[&next], unique).expect("appended");
                    payloads.push(next);
                }
                7..10 => {
                    log.sync().expect("synced");
                    synced = payloads.len();
                }
                10 => {
                    let segments = log.tags();
                    log.release_before(segments[random.below(segments.len())].0);
                }
                _ => {
                    drop(log);
                    let policy = CrashPolicy::ALL[random.below(5)];
                    disk = disk.crash(policy, seed ^ unique);
                    log = open(&disk).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
                    let (first, read) = read_all(&log).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
                    let end = first as usize + read.len();
                    assert!(
                        (synced..=payloads.len()).contains(&end),
                        "seed {seed}: {end} frames, {synced} synced"
                    );
                    assert_eq!(read, payloads[first as usize..end], "seed {seed}, {policy:?}");
                    payloads.truncate(end);
                    synced = end;
                }
            }
        }
        let files = disk.names().len();
        assert!(files < 40, "seed {seed}: {files} files, so none is recycled");
    }
}

/// Of a group that was never synced the second frame reached the medium and the first did not. What is then written in
/// place of the first must not bring the second back.
#[test]
fn frames_of_a_group_that_was_cut_off_never_come_back() {
    // With its head a whole sector.
    const PAYLOAD: usize = 492;
    let mut cut = 0;
    for seed in 0..64 {
        let disk = MemDisk::new();
        let mut log = open(&disk).expect("a new log");
        log.append(1, &[&[1; PAYLOAD]], 0).expect("appended");
        log.sync().expect("synced");
        for number in 2..6 {
            log.append(1, &[&[number; PAYLOAD]], 0).expect("appended");
        }
        log.write_buffer().expect("written, not synced");
        let disk = disk.crash(CrashPolicy::RandomSectors, seed);
        let (mut log, report) = SegmentLog::open(Arc::new(disk.clone()), KIND, SEGMENT_BYTES).expect("opens");
        let mut expected = read_all(&log).expect("reads").1;
        cut += report.cut_frames;
        log.append(1, &[&[9; PAYLOAD]], 0).expect("appended");
        log.sync().expect("synced");
        drop(log);
        expected.push(vec![9; PAYLOAD]);
        let log = open(&disk.crash(CrashPolicy::DropAll, seed)).expect("opens");
        assert_eq!(read_all(&log).expect("reads").1, expected, "seed {seed}");
    }
    assert!(cut > 0, "no image had a frame after the end");
}

#[test]
fn a_segment_that_a_reader_holds_is_not_recycled() {
    let disk = MemDisk::new();
    let mut log = open(&disk).expect("a new log");
    let first = log.append(1, &[&[1; 1_500]], 0).expect("appended");
    log.sync().expect("synced");
    let mut held = log.reader().frames(first, 0, 1);
    for number in 2..30_u8 {
        log.append(1, &[&[number; 1_500]], 0).expect("appended");
        log.sync().expect("synced");
        let newest = log.tags().pop().expect("a segment").0;
        log.release_before(newest);
    }
    assert_eq!(held.next().expect("reads").expect("a frame").payload, vec![1; 1_500]);
    let with_reader = disk.names().len();
    drop(held);
    for number in 30..90_u8 {
        log.append(1, &[&[number; 1_500]], 0).expect("appended");
        log.sync().expect("synced");
        let newest = log.tags().pop().expect("a segment").0;
        log.release_before(newest);
    }
    assert_eq!(disk.names().len(), with_reader, "without the reader its segments are used again");
}
