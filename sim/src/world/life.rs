//! Clients, clocks, crashes and starts.

use selvedge_core::Id;
use selvedge_core::border::{Input, NewReading, Refusal, ReplyTo, StartCheck, StreamHandle};
use selvedge_core::node::Node;
use selvedge_core::payload::PayloadKind;
use selvedge_core::reading::{Quality, Value};
use selvedge_core::stream::{Attestation, Decimal, Descriptor};

use super::gateway::Stream;
use super::{Checked, Event, Peer, World};
use crate::invariants::{Watch, client};
use crate::plan::Plant;
use crate::restore::restored;
use crate::tally::Happened;

/// A gateway whose card was lost is away for this long, microseconds.
const AWAY_US: u64 = 5_000_000;
/// Other settings of a stream are tried for this long at most, microseconds.
const TRIED_MAX_US: u64 = 300_000;
const HOUR_NS: u64 = 3_600_000_000_000;

impl World {
    /// A client hands readings in.
    pub(super) fn submit(&mut self, at: usize, again: bool) -> Checked {
        if again && !self.is_load_over() {
            let after_us = self.clients.between(self.plan.submit_every_us / 4, self.plan.submit_every_us);
            self.at(after_us, Event::Submit { at, again });
        }
        let (count, bad) = (self.clients.between(1, self.plan.submit_readings_max), self.clients.chance(10));
        self.hand_in(at, count, bad)?;
        if self.clients.chance(20) { self.step(at, Input::Flush) } else { Ok(()) }
    }

    /// So many readings; with `bad` the first one is one that no reading can hold, and then none of them is kept.
    pub(super) fn hand_in(&mut self, at: usize, count: u64, bad: bool) -> Checked {
        self.hand_in_of(at, None, count, bad)
    }

    /// The same, all of one stream.
    fn hand_in_of(&mut self, at: usize, only: Option<usize>, count: u64, bad: bool) -> Checked {
        if self.gateways[at].node.is_none() {
            return Ok(());
        }
        let now = self.gateways[at].clock.now(self.time_us);
        let (mut readings, mut remembered) = (Vec::new(), Vec::new());
        for place in 0..count {
            let any = self.gateways[at].streams.len() as u64;
            let stream = only.unwrap_or_else(|| self.clients.below(any) as usize);
            let value = self.value(stream);
            let source_time_ns = now.wall_ns - self.clients.below(1_000_000) as i64 - place as i64;
            remembered.push((self.gateways[at].streams[stream].name.clone(), value.clone(), source_time_ns));
            readings.push(NewReading {
                stream: StreamHandle(stream as u32),
                value,
                quality: Quality::Good,
                flags: 0,
                status: place as u32,
                source_time_ns,
                receive_time_ns: now.wall_ns,
            });
        }
        if bad {
            readings[0].value = Value::Float(f64::NAN);
        }
        let reply = self.reply();
        self.gateways[at].oracle.submit(reply, remembered);
        self.step(at, Input::Submit { readings, origins: Vec::new(), reply })
    }

    /// Every value is another one, but for bits.
    fn value(&mut self, stream: usize) -> Value {
        let unique = self.clients.bits();
        match stream {
            0 => Value::Unsigned(unique),
            1 => Value::Float((unique >> 12) as f64 / 1_024.0),
            2 => Value::Bool(unique % 2 == 1),
            _ if unique.is_multiple_of(3) => Value::Bytes(unique.to_le_bytes().repeat(20)),
            _ => Value::Text(format!("state {unique}")),
        }
    }

    /// A client asks for a payload to be issued, or for what must be refused.
    pub(super) fn issue(&mut self, at: usize) -> Checked {
        if self.is_load_over() {
            return Ok(());
        }
        let after_us = self.clients.between(self.plan.issue_every_us / 4, self.plan.issue_every_us);
        self.at(after_us, Event::Issue { at });
        if self.gateways[at].node.is_none() {
            return Ok(());
        }
        let kinds = [PayloadKind::Note, PayloadKind::Note, PayloadKind::Registry, PayloadKind::Enrol];
        let kind = self.clients.pick(&kinds) as u16;
        let payload = format!("client note {}", self.clients.bits()).into_bytes();
        let reply = self.reply();
        self.gateways[at].oracle.issue(reply, payload.clone());
        self.step(at, Input::Issue { kind, payload, reply })
    }

    fn reply(&mut self) -> ReplyTo {
        self.next_reply += 1;
        ReplyTo(self.next_reply)
    }

    /// The wall clock of a gateway jumps by up to an hour, and may lose its time server.
    pub(super) fn jump(&mut self, at: usize) {
        self.tally.add(Happened::ClockJump);
        let jump_ns = self.dice.below(2 * HOUR_NS) as i64 - HOUR_NS as i64;
        let synchronised = self.dice.chance(500);
        let clock = &mut self.gateways[at].clock;
        clock.wall_base_ns += jump_ns;
        clock.synchronised = synchronised;
    }

    /// The disk of a gateway has no room from now on: until somebody makes some, every write fails.
    pub(super) fn fill(&mut self, at: usize, length_us: u64) {
        let until_us = &mut self.gateways[at].full_until_us;
        *until_us = (*until_us).max(self.time_us + length_us);
    }

    /// The disk of a gateway takes its time from now on.
    pub(super) fn stall(&mut self, at: usize, length_us: u64) {
        let until_us = &mut self.gateways[at].stalled_until_us;
        *until_us = (*until_us).max(self.time_us + length_us);
    }

    /// After an effect of a gateway: is it the one at which it crashes?
    pub(super) fn count_down(&mut self, at: usize) -> Checked {
        let Some(left) = self.gateways[at].crash_after.as_mut() else { return Ok(()) };
        *left -= 1;
        if *left == 0 { self.crash(at) } else { Ok(()) }
    }

    /// The power goes, in the middle of nothing.
    pub(super) fn cut(&mut self, at: usize) -> Checked {
        let gateway = &self.gateways[at];
        if gateway.node.is_some() && !gateway.is_restored { self.crash(at) } else { Ok(()) }
    }

    /// Somebody copies the card of a gateway: what a power cut would leave.
    pub(super) fn take_image(&mut self, at: usize) -> Checked {
        let mut image = self.gateways[at].store.clone();
        image.crash(0)?;
        self.gateways[at].image = Some(image);
        Ok(())
    }

    /// A gateway is lost, and started from its old image once the others have handed round what they got of it.
    pub(super) fn restore(&mut self, at: usize) -> Checked {
        if self.gateways[at].node.is_none() {
            self.at(50_000, Event::Restore { at });
            return Ok(());
        }
        self.crash(at)?;
        self.trace.note(self.time_us, at, "restored from an old image");
        let gateway = &mut self.gateways[at];
        gateway.oracle.restored(&gateway.store);
        let own = gateway.config.issuer;
        gateway.lost =
            gateway.store.log().map(|h| &h.record).filter(|r| r.issuer == own).map(|r| r.id).collect();
        gateway.away_until_us = self.time_us + AWAY_US;
        gateway.store = gateway.image.take().ok_or("it is restored without an image")?;
        gateway.store.is_restored = true;
        gateway.is_restored = true;
        gateway.config.start_check = StartCheck::UntilAnswered;
        self.figures.restored += 1;
        self.tally.add(Happened::Restored);
        Ok(())
    }

    fn crash(&mut self, at: usize) -> Checked {
        self.trace.note(self.time_us, at, "crash");
        self.tally.add(Happened::Crash);
        self.figures.crashes += 1;
        let volatile = self.gateways[at].store.volatile_writes() as u64;
        // Nothing that was not synced, all of it, or its beginning.
        let keep = match self.dice.below(3) {
            0 => 0,
            1 => volatile,
            _ => self.dice.below(volatile + 1),
        };
        let down_us = self.dice.between(10_000, 3_000_000);
        let gateway = &mut self.gateways[at];
        gateway.node = None;
        gateway.crash_after = None;
        gateway.may_halt = false;
        gateway.wakes_at_us = None;
        gateway.start += 1;
        gateway.store.crash(keep as usize)?;
        if self.plan.plant == Plant::LoseSynced {
            gateway.store.lose_durable(3)?;
        }
        client::after_crash(&mut gateway.oracle, &gateway.store)?;
        self.part(at);
        self.at(down_us, Event::Start { at });
        Ok(())
    }

    /// Is what a lost gateway issued still on its way between the others? Each is with all of them or with none then.
    fn is_awaited(&self, at: usize) -> bool {
        let gateway = &self.gateways[at];
        let others = || (0..self.plan.gateways).filter(|other| *other != at);
        let is_halfway = |id: &Id| {
            let holders = others().filter(|other| self.is_held(*other, id)).count();
            holders > 0 && holders < others().count()
        };
        self.time_us < gateway.away_until_us || gateway.lost.iter().any(is_halfway)
    }

    /// A gateway starts from what is durable.
    pub(super) fn start(&mut self, at: usize) -> Checked {
        if self.is_awaited(at) {
            self.at(500_000, Event::Start { at });
            return Ok(());
        }
        self.trace.note(self.time_us, at, "start");
        let (seed, plant) = (self.dice.bytes32(), self.plan.plant);
        let crash_max = self.faults.crash_effects_max;
        let crash_after = (crash_max > 0).then(|| self.dice.between(1, crash_max));
        // The model does not keep enough of an adopted tail to start from it once more.
        let crash_after = crash_after.filter(|_| !self.gateways[at].is_restored);
        let gateway = &mut self.gateways[at];
        gateway.start += 1;
        let config = gateway.config.clone();
        let mut from = restored(&gateway.store, config.issuer, config.window_records)?;
        match plant {
            Plant::ForgetTip => drop(from.tips.pop()),
            Plant::CounterBack => {
                from.streams.iter_mut().for_each(|s| s.next_counter = s.next_counter.saturating_sub(1));
            }
            Plant::BatchAgain => from.next_batch = from.next_batch.saturating_sub(1),
            _ => {}
        }
        gateway.last_stamp_ns = from.last_wall_ns;
        gateway.crash_after = crash_after;
        let now = gateway.clock.now(self.time_us);
        let mut effects = Vec::new();
        let node = Node::open(config, &seed, from, now, &mut effects);
        let node = node.map_err(|why| format!("it cannot be opened again: {why}"))?;
        gateway.watch = Watch::recompute(&node, &gateway.store)?;
        gateway.node = Some(node);
        self.after_step(at, effects)?;
        self.describe_all(at)?;
        for other in self.neighbours(at) {
            let after_us = self.dice.below(100_000);
            self.at(after_us, Event::Connect { one: Peer::Gateway(other), other: at });
        }
        for member in 0..self.hostile.as_ref().map_or(0, crate::hostile::Hostile::members) {
            self.at(50_000, Event::Connect { one: Peer::Hostile(member), other: at });
        }
        Ok(())
    }

    /// Adapters that reload their settings while readings come in.
    pub(super) fn describe_again(&mut self, at: usize) -> Checked {
        if self.is_load_over() {
            return Ok(());
        }
        let after_us = self.clients.between(self.plan.describe_every_us / 4, self.plan.describe_every_us);
        self.at(after_us, Event::Describe { at });
        if self.gateways[at].node.is_none() {
            return Ok(());
        }
        if self.clients.chance(500) { self.try_settings(at) } else { self.describe_all(at) }
    }

    /// Somebody tries other settings for a stream, and takes them back a moment later. The adapter reads the stream before
    /// and after each change.
    fn try_settings(&mut self, at: usize) -> Checked {
        let stream = self.clients.below(self.gateways[at].streams.len() as u64) as usize;
        self.hand_in_of(at, Some(stream), 1, false)?;
        let known = &mut self.gateways[at].streams[stream];
        let edition = known.edition;
        known.newest += 1;
        known.edition = known.newest;
        self.read_anew(at, stream)?;
        let after_us = self.clients.between(1, TRIED_MAX_US);
        self.at(after_us, Event::TakeBack { at, stream, edition });
        Ok(())
    }

    /// The settings of a stream are what they were.
    pub(super) fn take_back(&mut self, at: usize, stream: usize, edition: u64) -> Checked {
        self.gateways[at].streams[stream].edition = edition;
        self.read_anew(at, stream)
    }

    /// An adapter has new settings for a stream, and reads it.
    fn read_anew(&mut self, at: usize, stream: usize) -> Checked {
        self.tally.add(Happened::StreamChanged);
        if self.gateways[at].node.is_none() {
            return Ok(());
        }
        self.describe(at, stream)?;
        self.hand_in_of(at, Some(stream), 1, false)
    }

    /// Its adapters make their streams known; now and then one means something else than before, or what it once meant.
    fn describe_all(&mut self, at: usize) -> Checked {
        for stream in 0..self.gateways[at].streams.len() {
            // Of a gateway that is lost the old image must know what its streams mean: see `Plan::restored`.
            if self.dice.chance(200) && at >= self.plan.images {
                self.tally.add(Happened::StreamChanged);
                let known = &mut self.gateways[at].streams[stream];
                if self.dice.chance(400) {
                    known.edition = self.dice.below(known.newest + 1);
                } else {
                    known.newest += 1;
                    known.edition = known.newest;
                }
            }
            self.describe(at, stream)?;
        }
        Ok(())
    }

    fn describe(&mut self, at: usize, stream: usize) -> Checked {
        let Stream { name, edition, .. } = self.gateways[at].streams[stream].clone();
        let descriptor = Descriptor {
            name,
            device: "plant".to_owned(),
            address: format!("register {stream}"),
            source_type: "u64".to_owned(),
            unit: format!("unit {edition}"),
            scale: Decimal::ONE,
            offset: Decimal::ZERO,
            attestation: Attestation::Gateway,
        };
        let urgent = stream == 2 && self.plan.seed.is_multiple_of(4);
        let stream = StreamHandle(stream as u32);
        self.step(at, Input::Describe { stream, descriptor, urgent })
    }

    /// A stream that was never described is refused, and nothing is kept of it.
    pub(super) fn submit_to_nowhere(&mut self, at: usize) -> Checked {
        let now = self.gateways[at].clock.now(self.time_us);
        let reading = NewReading {
            stream: StreamHandle(99),
            value: Value::Unsigned(1),
            quality: Quality::Good,
            flags: 0,
            status: 0,
            source_time_ns: now.wall_ns,
            receive_time_ns: now.wall_ns,
        };
        let Some(node) = self.gateways[at].node.as_mut() else { return Ok(()) };
        let (reply, mut effects) = (ReplyTo(0), Vec::new());
        node.handle(now, Input::Submit { readings: vec![reading], origins: Vec::new(), reply }, &mut effects);
        let is_refused = effects.iter().any(|e| {
            use selvedge_core::border::{Effect, Outcome};
            let refused = Outcome::Refused(Refusal::UnknownStream(99));
            matches!(e, Effect::Reply { outcome, .. } if *outcome == refused)
        });
        is_refused.then_some(()).ok_or_else(|| "a reading of an unknown stream is not refused".into())
    }
}
