//! The loop: a transaction arrives, what became visible since is shown, tips are chosen, and all is counted.

use std::collections::VecDeque;

use selvedge_core::random::Random;
use selvedge_core::tips::CHOSEN_MAX;

use super::arrivals::Process;
use super::choose::{Chooser, Shipped, Uniform, Walk};
use super::measure::{Growth, OverTime, Spans};
use super::outcome::Outcome;
use super::params::{Params, Selection};
use super::theory;
use crate::cpu;
use crate::network::params::Problem;

/// Samples of the number of tips over the run.
const SAMPLES: u64 = 600;
/// Ages at which the cumulative weight is given, at most, and their usual distance in h.
const AGES_MAX: f64 = 400.0;
const AGE_STEP: f64 = 0.25;
/// Progress is told each so many transactions.
const TELL_EACH: u64 = 1 << 12;
/// Bytes of the trace that are hashed together.
const TRACE_BUFFER: usize = 1 << 16;

/// Runs to the end. `progress` is told now and then how many transactions there are.
///
/// # Errors
/// What is wrong with the parameters.
pub fn run(params: &Params, progress: &mut dyn FnMut(u64)) -> Result<Outcome, Vec<Problem>> {
    params.check()?;
    let begin = cpu::thread_s();
    let measured = match params.tips {
        Selection::Uniform => Engine::new(params, Uniform::default()).run(progress),
        Selection::Walk { alpha } => Engine::new(params, Walk::new(alpha)).run(progress),
        Selection::Shipped => {
            let issuers = random(params.seed, "issuers");
            Engine::new(params, Shipped::new(params.issuers, issuers)).run(progress)
        }
    };
    Ok(Outcome::new(params.clone(), measured, cpu::thread_s() - begin))
}

/// A stream of random numbers of its own for each purpose.
fn random(seed: u64, purpose: &str) -> Random {
    let mut hasher = blake3::Hasher::new_derive_key("selvedge-sim v0 tangle random");
    hasher.update(&seed.to_le_bytes()).update(purpose.as_bytes());
    Random::new(hasher.finalize().as_bytes())
}

/// The number of tips at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// When.
    pub time: f64,
    /// Transactions that none approves.
    pub tips: u32,
    /// As a selector sees them.
    pub visible: u32,
}

/// What was counted.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) tips: OverTime,
    pub(super) visible: OverTime,
    pub(super) revealed: OverTime,
    pub(super) first_approval: Spans,
    /// By number of direct approvers, judged transactions.
    pub(super) approvers: Vec<u64>,
    pub(super) growth: Growth,
    pub(super) samples: Vec<Sample>,
    pub(super) trace: blake3::Hash,
}

/// What is known of a transaction while it can still change.
#[derive(Debug, Clone, Copy)]
struct Record {
    arrived: f64,
    /// Tags that it reaches.
    reach: u64,
    approvers: u32,
    /// How many it approves: their numbers stand in `Engine::references` until it is shown.
    references: u8,
    /// The first of those that approve it is visible, so nothing changes any more.
    is_covered: bool,
}

struct Engine<'a, C> {
    params: &'a Params,
    chooser: C,
    arrivals: Process,
    random: Random,
    /// From the number `first` on.
    records: VecDeque<Record>,
    first: u32,
    /// The oldest hidden transaction, and what the hidden ones approve.
    hidden: u32,
    references: VecDeque<u32>,
    /// Transactions that are judged.
    judged: std::ops::RangeInclusive<u64>,
    tips_now: u32,
    visible_now: u32,
    sample_each: u64,
    trace: blake3::Hasher,
    trace_buffer: Vec<u8>,
    measured: Measured,
}

impl<'a, C: Chooser> Engine<'a, C> {
    fn new(params: &'a Params, chooser: C) -> Self {
        let (k, lambda, h) = (params.k, params.lambda, params.h);
        let oldest = theory::oldest(k, lambda, h);
        let step = (AGE_STEP * h).max(oldest / AGES_MAX);
        let spacing = libm::ceil(lambda * h / 16.0).max(1.0) as u32;
        let growth =
            Growth::new(params.warmup() as u32 + 1, spacing, step, libm::ceil(oldest / step) as usize);
        let measured = Measured {
            tips: OverTime::default(),
            visible: OverTime::default(),
            revealed: OverTime::default(),
            first_approval: Spans::new(h),
            approvers: Vec::new(),
            growth,
            samples: Vec::new(),
            trace: blake3::Hash::from_bytes([0; 32]),
        };
        Self {
            params,
            chooser,
            arrivals: Process::new(params.arrivals, lambda, random(params.seed, "arrivals")),
            random: random(params.seed, "tips"),
            records: VecDeque::new(),
            first: 0,
            hidden: 0,
            references: VecDeque::new(),
            judged: params.warmup() + 1..=params.judged_until(),
            tips_now: 0,
            visible_now: 0,
            sample_each: params.transactions.div_ceil(SAMPLES),
            trace: blake3::Hasher::new_derive_key("selvedge-sim v0 tangle trace"),
            trace_buffer: Vec::with_capacity(TRACE_BUFFER),
            measured,
        }
    }

    fn run(mut self, progress: &mut dyn FnMut(u64)) -> Measured {
        self.begin();
        let mut chosen = [0; CHOSEN_MAX];
        let warmup = self.params.warmup();
        for number in 1..=self.params.transactions {
            let now = self.arrivals.draw();
            self.show_until(now);
            if number == warmup + 1 {
                self.measured.tips.begin(now);
                self.measured.visible.begin(now);
                self.measured.revealed.begin(now);
            }
            let count = self.chooser.choose(now, &mut chosen[..self.params.k], &mut self.random);
            self.arrive(number as u32, now, &chosen[..count]);
            if number.is_multiple_of(self.sample_each) {
                let sample = Sample { time: now, tips: self.tips_now, visible: self.visible_now };
                self.measured.samples.push(sample);
            }
            if number.is_multiple_of(TELL_EACH) {
                progress(number);
            }
        }
        self.end()
    }

    /// The genesis: visible from the beginning.
    fn begin(&mut self) {
        self.records.push_back(Record {
            arrived: 0.0,
            reach: 0,
            approvers: 0,
            references: 0,
            is_covered: false,
        });
        self.chooser.arrived(0, &[]);
        self.chooser.shown(0, &[], 0.0);
        (self.tips_now, self.visible_now, self.hidden) = (1, 1, 1);
    }

    fn place(&self, number: u32) -> usize {
        (number - self.first) as usize
    }

    /// Of the tips those that are older than h.
    fn revealed_now(&self) -> f64 {
        let hidden = self.first + self.records.len() as u32 - self.hidden;
        f64::from(self.tips_now - hidden)
    }

    /// Shows all that is h old by now.
    fn show_until(&mut self, now: f64) {
        while let Some(record) = self.records.get(self.place(self.hidden)) {
            let at = record.arrived + self.params.h;
            if at > now {
                break;
            }
            self.show(record.references, at);
        }
    }

    /// Shows the oldest hidden transaction: it is a visible tip, and what it approves is none any more.
    fn show(&mut self, count: u8, at: f64) {
        let mut approved = [0; CHOSEN_MAX];
        let approved = &mut approved[..usize::from(count)];
        for (reference, number) in approved.iter_mut().zip(self.references.drain(..usize::from(count))) {
            *reference = number;
        }
        self.measured.visible.hold(at, f64::from(self.visible_now));
        self.measured.revealed.hold(at, self.revealed_now());
        self.chooser.shown(self.hidden, approved, at);
        self.hidden += 1;
        self.visible_now += 1;
        for reference in approved.iter() {
            // What left the window was covered long ago.
            let Some(place) = reference.checked_sub(self.first) else { continue };
            let record = &mut self.records[place as usize];
            if !std::mem::replace(&mut record.is_covered, true) {
                let approvers = record.approvers;
                self.visible_now -= 1;
                self.chooser.covered(*reference);
                self.count(*reference, approvers);
            }
        }
        while self.records.front().is_some_and(|record| record.is_covered) {
            self.records.pop_front();
            self.first += 1;
        }
    }

    /// The number of its direct approvers is final.
    fn count(&mut self, number: u32, approvers: u32) {
        if !self.judged.contains(&u64::from(number)) {
            return;
        }
        let counts = &mut self.measured.approvers;
        if counts.len() <= approvers as usize {
            counts.resize(approvers as usize + 1, 0);
        }
        counts[approvers as usize] += 1;
    }

    fn arrive(&mut self, number: u32, now: f64, approved: &[u32]) {
        self.measured.tips.hold(now, f64::from(self.tips_now));
        self.measured.revealed.hold(now, self.revealed_now());
        let mut reach = 0;
        for reference in approved {
            let place = self.place(*reference);
            let record = &mut self.records[place];
            reach |= self.measured.growth.carried(*reference, record.reach);
            record.approvers += 1;
            if record.approvers == 1 {
                self.tips_now -= 1;
                if self.judged.contains(&u64::from(*reference)) {
                    self.measured.first_approval.add(now - record.arrived);
                }
            }
            self.references.push_back(*reference);
        }
        let reach = self.measured.growth.arrived(number, now, reach);
        let references = approved.len() as u8;
        self.records.push_back(Record { arrived: now, reach, approvers: 0, references, is_covered: false });
        self.tips_now += 1;
        self.chooser.arrived(number, approved);
        self.trace(now, approved);
    }

    fn trace(&mut self, now: f64, approved: &[u32]) {
        self.trace_buffer.extend_from_slice(&now.to_bits().to_le_bytes());
        self.trace_buffer.push(approved.len() as u8);
        for reference in approved {
            self.trace_buffer.extend_from_slice(&reference.to_le_bytes());
        }
        // Room for one more is left: 9 + 4 × 16 bytes.
        if self.trace_buffer.len() > TRACE_BUFFER - 128 {
            self.trace.update(&self.trace_buffer);
            self.trace_buffer.clear();
        }
    }

    /// Judges what is still open.
    fn end(mut self) -> Measured {
        for place in 0..self.records.len() {
            let record = self.records[place];
            if !record.is_covered {
                self.count(self.first + place as u32, record.approvers);
            }
        }
        self.trace.update(&self.trace_buffer);
        self.measured.trace = self.trace.finalize();
        self.measured
    }
}
