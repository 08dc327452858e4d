//! The clients of one gateway: what they handed in, what they were promised, and whether it was kept.
//!
//! Until an outcome is known a submission counts as neither kept nor lost. What a restart finds durable is kept,
//! whatever the client was told; what it was told is durable must be found.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_core::border::{Outcome, ReplyTo};
use selvedge_core::payload::PayloadKind;
use selvedge_core::reading::{FLAG_UNSYNCHRONISED, Reading, Value};
use selvedge_core::seal::{Salts, decode_columns};
use selvedge_core::transaction::Envelope;
use selvedge_core::{Hash, Issuer, codec, merkle};

use crate::store::Store;

/// A reading as its client remembers it.
#[derive(Debug, Clone)]
struct Remembered {
    value: Value,
    source_time_ns: i64,
    acknowledged: bool,
}

/// What a client knows of a payload that it asked to be issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Unknown,
    Durable,
    Refused,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Oracle {
    /// By name; the place in the list is the counter that the core must give.
    streams: BTreeMap<String, Vec<Remembered>>,
    submissions: BTreeMap<ReplyTo, Vec<(String, u64)>>,
    issues: BTreeMap<ReplyTo, (Vec<u8>, Asked)>,
    /// What its gateway knew before it was restored from an old image.
    before: Option<Before>,
}

/// See [`Oracle::restored`].
#[derive(Debug)]
struct Before {
    streams: BTreeMap<String, Vec<Remembered>>,
    names: BTreeMap<Hash, String>,
}

/// What the end of a run found.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kept {
    /// Readings in batches.
    pub readings: u64,
    /// Readings among them that a client was told are durable.
    pub acknowledged: u64,
    /// Batches.
    pub batches: u64,
}

impl Oracle {
    /// Readings are handed in: name of the stream, value and source time of each.
    pub fn submit(&mut self, reply: ReplyTo, readings: Vec<(String, Value, i64)>) {
        let mut places = Vec::new();
        for (name, value, source_time_ns) in readings {
            let stream = self.streams.entry(name.clone()).or_default();
            places.push((name, stream.len() as u64));
            stream.push(Remembered { value, source_time_ns, acknowledged: false });
        }
        self.submissions.insert(reply, places);
    }

    /// A payload is handed in.
    pub fn issue(&mut self, reply: ReplyTo, payload: Vec<u8>) {
        self.issues.insert(reply, (payload, Asked::Unknown));
    }

    /// An outcome is told. `Durable` must be true at this moment.
    pub fn told(
        &mut self,
        reply: ReplyTo,
        outcome: &Outcome,
        store: &Store,
        own: Issuer,
    ) -> Result<(), String> {
        if let Some((payload, asked)) = self.issues.get_mut(&reply) {
            *asked = match outcome {
                Outcome::Durable => Asked::Durable,
                Outcome::Refused(_) => Asked::Refused,
                Outcome::Unknown => Asked::Unknown,
            };
            if *outcome == Outcome::Durable && !payloads(store, own)?.contains(payload) {
                return Err(format!("reply {} says durable, and no durable transaction has it", reply.0));
            }
            return Ok(());
        }
        let places = self.submissions.remove(&reply);
        let places = places.ok_or_else(|| format!("an answer to {}, which nobody waits for", reply.0))?;
        match outcome {
            Outcome::Durable => places.iter().try_for_each(|(name, counter)| {
                self.acknowledge(name, *counter, store).map_err(|why| format!("reply {}: {why}", reply.0))
            }),
            Outcome::Refused(_) => places.iter().rev().try_for_each(|(name, counter)| {
                let stream = self.streams.get_mut(name).ok_or("a stream that nobody knows")?;
                stream.pop();
                let was_last = stream.len() as u64 == *counter;
                was_last.then_some(()).ok_or_else(|| "a submission is refused after others were taken".into())
            }),
            Outcome::Unknown => Ok(()),
        }
    }

    fn acknowledge(&mut self, name: &str, counter: u64, store: &Store) -> Result<(), String> {
        let remembered = self.streams.get_mut(name).and_then(|s| s.get_mut(counter as usize));
        let remembered = remembered.ok_or("a reading that nobody remembers")?;
        remembered.acknowledged = true;
        if self.before.is_some() {
            let is_it = |r: &Reading| same(name, remembered, r).is_ok();
            let is_durable = store.readings(name).iter().any(is_it);
            return is_durable.then_some(()).ok_or_else(|| format!("a reading of {name} is not durable"));
        }
        let durable = store.readings(name).get(counter as usize);
        let durable = durable.ok_or_else(|| format!("{name} #{counter} is not durable"))?;
        same(name, remembered, durable)
    }

    /// After a crash: what is durable decides what was kept.
    pub fn after_crash(&mut self, store: &Store) -> Result<(), String> {
        self.submissions.clear();
        for (name, stream) in &mut self.streams {
            let durable = store.readings(name);
            let lost = stream.iter().skip(durable.len()).position(|r| r.acknowledged);
            if let Some(at) = lost {
                return Err(format!("{name} #{} was acknowledged and is lost", durable.len() + at));
            }
            if durable.len() > stream.len() {
                let (got, expected) = (durable.len(), stream.len());
                return Err(format!("{name} has {got} durable readings, its client handed in {expected}"));
            }
            stream.truncate(durable.len());
            stream.iter().zip(durable).try_for_each(|(r, d)| same(name, r, d))?;
        }
        Ok(())
    }

    /// The gateway was restored from an old image. Its clients begin anew; what its chain carries from before stays.
    pub fn restored(&mut self, before: &Store) {
        let streams = std::mem::take(&mut self.streams);
        *self = Self {
            before: Some(Before { streams, names: before.stream_names().clone() }),
            ..Self::default()
        };
    }

    /// At the end of a gateway that was restored: every counter of a stream once, without a gap; every reading that was
    /// acknowledged since in exactly one batch, and none twice, but for one from before whose clock was not to be trusted.
    fn finish_restored(&self, before: &Before, store: &Store) -> Result<Kept, String> {
        let mut kept = Kept { batches: store.batches().len() as u64, ..Kept::default() };
        // Value and source time, and whether it was sealed here with a receive time that was not to be trusted.
        let mut found: BTreeMap<String, Vec<(Value, i64, bool)>> = BTreeMap::new();
        for (id, batch) in store.batches() {
            let sealed = store.segment(&batch.segment).map(decode_columns).transpose();
            let sealed = sealed.map_err(|why| format!("batch {}: {why}", batch.number))?;
            // Of one that is sealed here each reading is looked at below.
            for span in batch.streams.iter().filter(|_| sealed.is_none()) {
                let name = before.names.get(&span.descriptor).map(String::as_str);
                let name = name.or_else(|| store.stream_name(&span.descriptor));
                let name = name.ok_or_else(|| format!("{}: no stream", id.short()))?;
                let held = found.entry(name.to_owned()).or_default();
                if span.first != held.len() as u64 {
                    let (got, expected) = (span.first, held.len());
                    return Err(format!(
                        "batch {}: {name} goes on with #{got}, expected #{expected}",
                        batch.number
                    ));
                }
                let known = before.streams.get(name).map_or(&[][..], Vec::as_slice);
                let (first, last) = (span.first as usize, span.first as usize + span.count as usize);
                let adopted = known.get(first..last).ok_or("an adopted batch of readings that nobody had")?;
                held.extend(adopted.iter().map(|r| (r.value.clone(), r.source_time_ns, false)));
            }
            let Some(sealed) = sealed else { continue };
            if sealed.number != batch.number || sealed.streams != batch.streams {
                return Err(format!("batch {}: its segment holds another one", batch.number));
            }
            for (at, block) in sealed.blocks.iter().enumerate() {
                let long = sealed.long.get(&(at as u32)).map(Vec::as_slice);
                let reading = Reading::from_block(block, long).map_err(|why| why.to_string())?;
                let descriptor = &batch.streams[reading.stream_index as usize].descriptor;
                let name = before
                    .names
                    .get(descriptor)
                    .map(String::as_str)
                    .or_else(|| store.stream_name(descriptor));
                let held = found.entry(name.ok_or("no stream")?.to_owned()).or_default();
                if reading.counter != held.len() as u64 {
                    return Err(format!(
                        "batch {}: #{}, expected #{}",
                        batch.number,
                        reading.counter,
                        held.len()
                    ));
                }
                let is_untrusted = reading.flags & FLAG_UNSYNCHRONISED != 0;
                held.push((reading.value, reading.source_time_ns, is_untrusted));
                kept.readings += 1;
            }
        }
        for (name, stream) in &self.streams {
            let held = found.get(name).map_or(&[][..], Vec::as_slice);
            for r in stream.iter().filter(|r| r.acknowledged) {
                let times = held.iter().filter(|(v, at, _)| *v == r.value && *at == r.source_time_ns).count();
                if times != 1 {
                    return Err(format!(
                        "{times} batches have {name} {:?}, acknowledged since the restore",
                        r.value
                    ));
                }
                kept.acknowledged += 1;
            }
        }
        for (name, stream) in &before.streams {
            let held = found.get(name).map_or(&[][..], Vec::as_slice);
            for r in stream {
                let copies = || held.iter().filter(|(v, at, _)| *v == r.value && *at == r.source_time_ns);
                let times = copies().count();
                // Without a clock one cannot tell whether the chain carries it: rather twice than never (core, counters.rs).
                let may_be_twice = copies().any(|(.., is_untrusted)| *is_untrusted);
                if times > 1 && !may_be_twice {
                    return Err(format!(
                        "{times} batches have {name} {:?}, from before the restore",
                        r.value
                    ));
                }
            }
        }
        Ok(kept)
    }

    /// At the end: each reading is in exactly one batch, with its value, under the root that its transaction carries.
    pub fn finish(&self, store: &Store, own: Issuer) -> Result<Kept, String> {
        if let Some(before) = &self.before {
            return self.finish_restored(before, store);
        }
        let mut next: BTreeMap<String, u64> = BTreeMap::new();
        let mut kept = Kept { batches: store.batches().len() as u64, ..Kept::default() };
        for (id, batch) in store.batches() {
            let what = || format!("batch {} in {}", batch.number, id.short());
            let columns = store.segment(&batch.segment).ok_or_else(|| format!("{}: no segment", what()))?;
            let sealed = decode_columns(columns).map_err(|why| format!("{}: {why}", what()))?;
            if sealed.number != batch.number || sealed.streams != batch.streams {
                return Err(format!("{}: its segment holds another one", what()));
            }
            let salts = Salts::new(&sealed.secret);
            let mut leaves = Vec::new();
            for (at, block) in sealed.blocks.iter().enumerate() {
                let long = sealed.long.get(&(at as u32)).map(Vec::as_slice);
                let salt = salts.of(at as u64);
                leaves.push(long.map_or_else(
                    || merkle::leaf(block, &salt),
                    |bytes| merkle::long_leaf(block, &salt, bytes),
                ));
                let reading = Reading::from_block(block, long).map_err(|why| format!("{}: {why}", what()))?;
                let descriptor = &batch.streams[reading.stream_index as usize].descriptor;
                let name = store.stream_name(descriptor).ok_or_else(|| format!("{}: no stream", what()))?;
                let expected = next.entry(name.to_owned()).or_default();
                if reading.counter != *expected {
                    let got = reading.counter;
                    return Err(format!("{}: {name} goes on with #{got}, expected #{expected}", what()));
                }
                *expected += 1;
                let remembered = self.streams.get(name).and_then(|s| s.get(reading.counter as usize));
                let remembered = remembered.ok_or_else(|| format!("{}: an invented reading", what()))?;
                same(name, remembered, &reading)?;
                kept.readings += 1;
                kept.acknowledged += u64::from(remembered.acknowledged);
            }
            if merkle::Tree::new(leaves).root() != batch.root.0 || batch.count as usize != sealed.blocks.len()
            {
                return Err(format!("{}: its root is not that of its readings", what()));
            }
        }
        for (name, stream) in &self.streams {
            let in_batches = next.get(name).copied().unwrap_or(0);
            if in_batches != stream.len() as u64 {
                let expected = stream.len();
                return Err(format!("{in_batches} readings of {name} are in batches, expected {expected}"));
            }
        }
        self.check_issues(store, own)?;
        Ok(kept)
    }

    fn check_issues(&self, store: &Store, own: Issuer) -> Result<(), String> {
        let issued = payloads(store, own)?;
        let mut seen = BTreeSet::new();
        if let Some(twice) = issued.iter().find(|p| !seen.insert(*p)) {
            return Err(format!("a payload of {} bytes is issued twice", twice.len()));
        }
        for (reply, (payload, asked)) in &self.issues {
            match (asked, seen.contains(payload)) {
                (Asked::Durable, false) => {
                    return Err(format!("payload {} was promised and is lost", reply.0));
                }
                (Asked::Refused, true) => return Err(format!("payload {} was refused and issued", reply.0)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Payloads whose client does not know yet what became of them, among those handed in since the last start.
    pub fn unanswered(&self) -> usize {
        self.submissions.len()
    }
}

fn same(name: &str, remembered: &Remembered, reading: &Reading) -> Result<(), String> {
    let is_same = remembered.value == reading.value && remembered.source_time_ns == reading.source_time_ns;
    is_same.then_some(()).ok_or_else(|| {
        let counter = reading.counter;
        format!("{name} #{counter} holds {:?}, its client handed in {:?}", reading.value, remembered.value)
    })
}

/// What clients asked this gateway to issue and is durable.
fn payloads(store: &Store, own: Issuer) -> Result<Vec<Vec<u8>>, String> {
    let mut payloads = Vec::new();
    for held in store.log().filter(|held| held.record.issuer == own) {
        let (_, body) = Envelope::open(&held.envelope).map_err(|why| why.to_string())?;
        if body.kind != PayloadKind::Batch as u16 && !body.payload.is_empty() {
            payloads.push(body.payload);
        } else if body.kind == PayloadKind::Batch as u16 {
            codec::decode::<selvedge_core::payload::Batch>(&body.payload).map_err(|why| why.to_string())?;
        }
    }
    Ok(payloads)
}
