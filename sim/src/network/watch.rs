//! Clients that hand readings in, and what is measured on the way.

use selvedge_core::border::{Input, NewReading, ReplyTo, StreamHandle};
use selvedge_core::payload::Batch;
use selvedge_core::reading::{Quality, READING_BYTES, Value};
use selvedge_core::record::{Record, flag};
use selvedge_core::wire::Message;

use super::begin::BEGIN_US;
use super::gateway::now_at;
use super::ledger::Transaction;
use super::measure::{Measured, TipSample};
use super::memory;
use super::world::{Checked, Event, World};

/// After the load the run is looked at so often, in microseconds.
const REST_EVERY_US: u64 = 100_000;
/// It is over when nothing has been attached for the longest delay of an approving note and this, in microseconds.
const REST_FOR_US: u64 = 1_000_000;

impl World<'_> {
    /// A client hands readings in.
    pub(super) fn submit(&mut self, at: u32, count: u32) {
        self.plan_submission(at);
        self.next_reply += 1;
        let (reply, wall_ns) = (ReplyTo(self.next_reply), now_at(self.now_us).wall_ns);
        let long = self.params.workload.reading.bytes as usize - READING_BYTES;
        let streams = u64::from(self.params.workload.streams);
        let readings = (0..u64::from(count)).map(|place| {
            let number = self.measured.offered_readings + place;
            NewReading {
                stream: StreamHandle((number % streams) as u32),
                value: value(number, long),
                quality: Quality::Good,
                flags: 0,
                status: 0,
                source_time_ns: wall_ns,
                receive_time_ns: wall_ns,
            }
        });
        let readings: Vec<NewReading> = readings.collect();
        self.measured.offered_readings += u64::from(count);
        let gateway = &mut self.gateways[at as usize];
        gateway.replies.push_back((reply, self.now_us, count));
        gateway.readings.push_back((reply, self.now_us, count));
        self.input(at, Input::Submit { readings, origins: Vec::new(), reply });
    }

    /// A core attached a transaction, and handed it to its store: its own, or another's.
    pub(super) fn attached(
        &mut self,
        at: u32,
        record: &Record,
        envelope: &std::sync::Arc<[u8]>,
        batch: Option<&Batch>,
    ) -> Checked {
        self.trace.attached(&record.id);
        let place = match self.ledger.place_of(&record.id) {
            Some(place) => place,
            None => self.made(at, record, envelope, batch)?,
        };
        let transaction = self.ledger.get_mut(place);
        transaction.attached += 1;
        let (made_us, is_own) = (transaction.made_us, transaction.issuer == at);
        self.measured.attached += 1;
        let gateway = &mut self.gateways[at as usize];
        gateway.attached += 1;
        gateway.look_for_witnesses |= (transaction.issuer as usize) < self.params.committee();
        if !transaction.has_payload {
            return Ok(());
        }
        self.measured.attached_payloads += 1;
        if is_own {
            gateway.unwitnessed.push((record.number, place));
        } else {
            self.measured.attach.add(self.now_us - made_us, 1);
        }
        if transaction.attached as usize == self.params.gateways {
            let measured = &mut self.measured;
            measured.attached_everywhere += 1;
            let is_steady = measured.is_steady(self.now_us);
            for (submitted_us, readings) in &transaction.submitted {
                let (way_us, readings) = (self.now_us - submitted_us, u64::from(*readings));
                measured.reading_attach.add(way_us, readings);
                measured.steady_readings += if is_steady { readings } else { 0 };
                if let Some(stretch) = measured.stretch(*submitted_us) {
                    measured.ways[stretch].add(way_us, readings);
                }
            }
            if transaction.is_witnessed {
                transaction.submitted = Vec::new();
            }
        }
        Ok(())
    }

    fn made(
        &mut self,
        at: u32,
        record: &Record,
        envelope: &std::sync::Arc<[u8]>,
        batch: Option<&Batch>,
    ) -> Checked<u32> {
        let gateway = &mut self.gateways[at as usize];
        if record.issuer != gateway.node.issuer() {
            return Err(format!(
                "gateway {at} attaches {}, which its issuer did not make",
                record.id.short()
            ));
        }
        // Batches carry readings in the order in which they were submitted.
        let (mut left, mut submitted) = (batch.map_or(0, |b| b.count), Vec::new());
        while left > 0 {
            let Some((_, submitted_us, readings)) = gateway.readings.front_mut() else {
                return Err(format!("gateway {at} has {left} readings in a batch that nobody submitted"));
            };
            let taken = left.min(*readings);
            submitted.push((*submitted_us, taken));
            *readings -= taken;
            left -= taken;
            if *readings == 0 {
                gateway.readings.pop_front();
            }
        }
        self.measured.steady_transactions += u64::from(self.measured.is_steady(self.now_us));
        let has_payload = record.has(flag::PAYLOAD);
        if has_payload {
            self.measured.offered += 1;
        } else {
            self.measured.notes += 1;
        }
        self.ledger.made(Transaction {
            id: record.id,
            issuer: at,
            sequence: record.sequence,
            envelope: envelope.clone(),
            has_payload,
            made_us: self.now_us,
            attached: 0,
            submitted,
            is_witnessed: false,
        })
    }

    /// Something of a committee member's was attached: own transactions may be witnessed now.
    pub(super) fn look_for_witnesses(&mut self, at: u32) {
        let gateway = &mut self.gateways[at as usize];
        let (ledger, measured, now_us) = (&mut self.ledger, &mut self.measured, self.now_us);
        let (node, quorum, gateways) = (&gateway.node, self.quorum, self.params.gateways);
        gateway.unwitnessed.retain(|(number, place)| {
            // Below the window nobody can tell any more: it counts as not witnessed.
            let Some(witnesses) = node.witnessed(*number) else { return false };
            if witnesses < quorum {
                return true;
            }
            let transaction = ledger.get_mut(*place);
            transaction.is_witnessed = true;
            measured.witnessed += 1;
            measured.witness.add(now_us - transaction.made_us, 1);
            for (submitted_us, readings) in &transaction.submitted {
                measured.reading_witness.add(now_us - submitted_us, u64::from(*readings));
            }
            if transaction.attached as usize == gateways {
                transaction.submitted = Vec::new();
            }
            false
        });
    }

    /// A frame has come: are there bodies in it?
    pub(super) fn note_arrival(&mut self, frame: &[u8]) {
        self.measured.bodies_received += match frame.first() {
            Some(1) => 1,
            Some(2) => match Message::open(frame) {
                Ok(Message::Transactions(list)) => list.len() as u64,
                _ => 0,
            },
            _ => 0,
        };
    }

    /// Looks at tips, what waits, and memory.
    pub(super) fn sample(&mut self) {
        let end_us = BEGIN_US + self.params.load.us;
        let (mut sum, mut most) = (0, 0);
        if self.now_us == BEGIN_US {
            self.measured.traffic_before = self.wires.traffic();
            self.measured.frames_load[0] = self.measured.frames_sent();
        }
        let peaks = &mut self.measured.peaks;
        for gateway in &self.gateways {
            let status = gateway.node.status();
            sum += status.tips;
            most = most.max(status.tips);
            peaks.pending = peaks.pending.max(status.pending);
            peaks.backlog_readings = peaks.backlog_readings.max(status.backlog_readings);
            let bytes = memory::of_core(&status, self.params);
            self.measured.memory.core_most_bytes = self.measured.memory.core_most_bytes.max(bytes);
            let share = bytes as f64 / gateway.profile.memory_bytes as f64;
            self.measured.fullest.memory = self.measured.fullest.memory.max(share);
        }
        peaks.tips = peaks.tips.max(most);
        let mean = sum as f64 / self.gateways.len() as f64;
        self.measured.tips.push(TipSample { time_us: self.now_us, mean, most });
        if self.now_us + self.sample_every_us <= end_us {
            self.queue.push(self.now_us + self.sample_every_us, Event::Sample);
        }
    }

    fn ledgers_equal(&self) -> bool {
        // Each attaches a transaction once (the store checks it), so equal counts are equal sets.
        self.gateways.iter().all(|gateway| gateway.attached == self.ledger.len())
    }

    /// The load has ended: what was busy until now counts.
    fn note_busy(&mut self) {
        let measured = &mut self.measured;
        for gateway in &self.gateways {
            measured.busy_loop.add(gateway.busy_loop_ns / 1_000);
            measured.busy_workers.add(gateway.workers.busy_ns / 1_000);
            measured.busy_sign.add(gateway.busy_sign_ns / 1_000);
            measured.busy_verify.add(gateway.busy_verify_ns / 1_000);
            measured.busy_seal.add(gateway.busy_seal_ns / 1_000);
            measured.busy_net.add(gateway.net.busy_ns / 1_000);
            measured.busy_disk.add(gateway.disk.busy_us);
            measured.syncs += gateway.disk.syncs;
            // The disk's time is mostly waiting: what of it is CPU is small beside the rest, and not told apart.
            let threads_ns = gateway.busy_loop_ns + gateway.workers.busy_ns + gateway.net.busy_ns;
            let (cores, workers) = (gateway.profile.cores, gateway.profile.workers());
            let fullest = &mut measured.fullest;
            for (most, busy_ns, of) in [
                (&mut fullest.cpu_us, threads_ns, cores),
                (&mut fullest.workers_us, gateway.workers.busy_ns, workers),
                (&mut fullest.verify_us, gateway.busy_verify_ns, workers),
                (&mut fullest.sign_us, gateway.busy_sign_ns, workers),
                (&mut fullest.seal_us, gateway.busy_seal_ns, workers),
            ] {
                *most = most.max(busy_ns as f64 / 1e3 / of as f64);
            }
        }
        measured.traffic_load = self.wires.traffic();
        measured.frames_load[1] = measured.frames_sent();
    }

    /// After the load: is everything issued and attached, and has nothing come for a while?
    pub(super) fn look_for_rest(&mut self) {
        let (attached, now_us) = (self.measured.attached, self.now_us);
        if now_us == BEGIN_US + self.params.load.us {
            self.note_busy();
        }
        if self.at_rest_since.0 != attached {
            self.at_rest_since = (attached, now_us);
        }
        let quiet_us = now_us - self.at_rest_since.1;
        let is_quiet = quiet_us >= self.params.node.approve_within.us + REST_FOR_US;
        let is_done = is_quiet
            && self.ledgers_equal()
            && self.gateways.iter().all(|g| g.is_at_rest() && g.node.backlog() == 0 && g.replies.is_empty());
        let time_is_up = now_us >= BEGIN_US + self.params.load.us + self.params.drain.us;
        if is_done || time_is_up {
            self.is_over = true;
            self.measured.drained = is_done;
            // Of a quiet end only what was needed counts.
            let ended_us = if is_done { self.at_rest_since.1 } else { now_us };
            // Where nothing came, nothing has happened since before the load.
            self.measured.ended_us = ended_us.max(BEGIN_US + self.params.load.us);
        } else {
            self.queue.push(now_us + REST_EVERY_US, Event::Rest);
        }
    }

    /// Readings that are not attached everywhere at the end: their way is at least as long as until now. Without them
    /// only those that got through would count.
    fn count_unattached(&self, measured: &mut Measured) {
        let waiting = self.gateways.iter().flat_map(|gateway| &gateway.readings);
        let waiting = waiting.map(|(_, submitted_us, readings)| (*submitted_us, *readings));
        let under_way = self.ledger.iter().filter(|one| (one.attached as usize) < self.params.gateways);
        for (submitted_us, readings) in waiting.chain(under_way.flat_map(|one| one.submitted.iter().copied()))
        {
            if let Some(stretch) = measured.stretch(submitted_us) {
                measured.ways[stretch].add(self.now_us - submitted_us, u64::from(readings));
            }
        }
    }

    /// What was measured.
    pub(super) fn finish(mut self) -> Measured {
        let ledgers_equal = self.ledgers_equal();
        let mut measured = std::mem::take(&mut self.measured);
        measured.gateways = self.gateways.len();
        self.count_unattached(&mut measured);
        measured.ledgers_equal = ledgers_equal;
        let foreign: u64 = measured.attached - self.ledger.len() as u64;
        let mut pending = 0;
        for gateway in &self.gateways {
            let status = gateway.node.status();
            pending += status.pending as u64;
            measured.memory.cores_bytes += memory::of_core(&status, self.params);
            let peaks = &mut measured.peaks;
            peaks.loop_inputs = peaks.loop_inputs.max(gateway.most_inputs);
            peaks.arrivals = peaks.arrivals.max(gateway.most_arrivals);
            peaks.work = peaks.work.max(gateway.workers.most_under_way);
            peaks.writes = peaks.writes.max(gateway.disk.most_waiting.0);
            peaks.write_bytes = peaks.write_bytes.max(gateway.disk.most_waiting.1);
        }
        // Frames still on their way count as neither; after a drain there are none with bodies.
        measured.duplicates = measured.bodies_received.saturating_sub(foreign + pending);
        for end in &self.ends {
            measured.peaks.send_frames = measured.peaks.send_frames.max(end.most.0);
            measured.peaks.send_bytes = measured.peaks.send_bytes.max(end.most.1);
        }
        measured.traffic = self.wires.traffic();
        measured.trace_hash = self.trace.hash();
        measured
    }
}

fn value(number: u64, long: usize) -> Value {
    if long == 0 {
        return Value::Unsigned(number);
    }
    let mut bytes = vec![0; long];
    for (place, byte) in bytes.iter_mut().zip(number.to_le_bytes().iter().cycle()) {
        *place = *byte;
    }
    Value::Bytes(bytes)
}
