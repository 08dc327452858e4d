//! Values as machines send them: levels that walk slowly, flows that are noisy, counters, switches, temperatures.
//!
//! Analogue values are what a converter of 12 or 16 bits gives, as a single-precision float in engineering units:
//! that is where the floats of a controller come from. Everything follows from a seed.

use selvedge_core::border::{NewReading, StreamHandle};
use selvedge_core::reading::{Quality, Value};
use selvedge_core::stream::{Attestation, Decimal, Descriptor};

/// 2026-05-01T12:00:00Z, ns since 1970 UTC.
const START_NS: i64 = 1_777_636_800_000_000_000;
/// Each device is polled this often, ns.
const INTERVAL_NS: i64 = 1_000_000_000;
/// Streams of one device: what one poll brings.
pub(crate) const STREAMS_PER_DEVICE: usize = 50;

/// What a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A tank's level: 16 bits that move by at most one step a second.
    Level,
    /// A flow: 12 bits around a mean, with noise.
    Flow,
    /// Pieces made.
    Counter,
    /// A temperature in tenths.
    Temperature,
    /// A valve.
    Switch,
}

const KINDS: [Kind; 5] = [Kind::Level, Kind::Flow, Kind::Counter, Kind::Temperature, Kind::Switch];

impl Kind {
    const fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Level => ("level", "f32 ABCD", "m"),
            Self::Flow => ("flow", "f32 ABCD", "L/min"),
            Self::Counter => ("pieces", "u32 ABCD", ""),
            Self::Temperature => ("temperature", "u16 AB", "Cel"),
            Self::Switch => ("valve", "bool", ""),
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same numbers everywhere.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Around zero, at most `width` away: the sum of two dice.
    fn noise(&mut self, width: i64) -> i64 {
        let die = |random: &mut Self| random.below(width as u64 + 1) as i64;
        die(self) + die(self) - width
    }
}

/// The state of one stream: its raw number.
#[derive(Debug, Clone, Copy)]
struct Signal {
    kind: Kind,
    number: i64,
}

impl Signal {
    fn step(&mut self, random: &mut Random) {
        match self.kind {
            Kind::Level => self.number = (self.number + random.noise(1)).clamp(0, 65_535),
            Kind::Flow => self.number = (2_000 + random.noise(40)).clamp(0, 4_095),
            Kind::Counter => self.number += i64::from(random.below(4) == 0),
            Kind::Temperature => self.number = (self.number + random.noise(1)).clamp(0, 2_000),
            Kind::Switch => self.number ^= i64::from(random.below(60) == 0),
        }
    }

    /// As the controller holds it, when it is a float.
    fn float(self) -> f32 {
        match self.kind {
            Kind::Level => self.number as f32 * (5.0 / 65_535.0),
            _ => self.number as f32 * (60.0 / 4_095.0),
        }
    }

    fn value(self) -> Value {
        match self.kind {
            Kind::Level | Kind::Flow => Value::Float(f64::from(self.float())),
            Kind::Counter | Kind::Temperature => Value::Unsigned(self.number as u64),
            Kind::Switch => Value::Bool(self.number == 1),
        }
    }
}

/// Devices with streams, and where their values stand.
#[derive(Debug, Clone)]
pub(crate) struct Plant {
    signals: Vec<Signal>,
    per_device: usize,
    random: Random,
    polls: i64,
    next_device: usize,
}

impl Plant {
    /// `devices` of `per_device` streams each; values follow from `seed`.
    pub(crate) fn new(devices: usize, per_device: usize, seed: u64) -> Self {
        let mut random = Random(seed);
        let start = |kind, random: &mut Random| match kind {
            Kind::Level => random.below(65_536) as i64,
            Kind::Counter => random.below(1_000_000) as i64,
            Kind::Temperature => 180 + random.below(80) as i64,
            Kind::Flow | Kind::Switch => 0,
        };
        let signals = (0..devices * per_device)
            .map(|index| {
                let kind = kind_of(index % per_device, per_device);
                let mut signal = Signal { kind, number: start(kind, &mut random) };
                signal.step(&mut random);
                signal
            })
            .collect();
        Self { signals, per_device, random, polls: 0, next_device: 0 }
    }

    /// What the streams mean, by handle.
    pub(crate) fn descriptors(&self) -> Vec<Descriptor> {
        let describe = |(index, signal): (usize, &Signal)| {
            let (device, within) = (index / self.per_device, index % self.per_device);
            let (word, source_type, unit) = signal.kind.words();
            let tenths = signal.kind == Kind::Temperature;
            Descriptor {
                name: format!("line-{device}/{word}-{within}"),
                device: format!("plc-{device}"),
                address: format!("modbus-tcp 10.0.0.{}:502 unit 1 holding {}", 10 + device, 100 + 2 * within),
                source_type: source_type.into(),
                unit: unit.into(),
                scale: if tenths { "0.1".parse().expect("a decimal") } else { Decimal::ONE },
                offset: Decimal::ZERO,
                attestation: Attestation::Gateway,
            }
        };
        self.signals.iter().enumerate().map(describe).collect()
    }

    /// The next poll of the next device: one reading of each of its streams. Even devices are polled, so the source
    /// time is that of the answer, alike for all; odd ones stamp their values themselves, to the whole millisecond,
    /// and each arrives by itself some milliseconds later.
    pub(crate) fn poll(&mut self) -> Vec<NewReading> {
        let device = self.next_device;
        let due_ns = START_NS + self.polls * INTERVAL_NS;
        let arrived_ns = due_ns + 400_000 + self.random.noise(300_000);
        let range = device * self.per_device..(device + 1) * self.per_device;
        let mut readings = Vec::with_capacity(self.per_device);
        for index in range {
            self.signals[index].step(&mut self.random);
            let (source_time_ns, receive_time_ns) = if device.is_multiple_of(2) {
                (arrived_ns, arrived_ns)
            } else {
                (due_ns, due_ns + 3_000_000 + self.random.noise(2_000_000))
            };
            readings.push(NewReading {
                stream: StreamHandle(index as u32),
                value: self.signals[index].value(),
                quality: Quality::Good,
                flags: 0,
                status: 0,
                source_time_ns,
                receive_time_ns,
            });
        }
        self.next_device += 1;
        if self.next_device * self.per_device == self.signals.len() {
            (self.next_device, self.polls) = (0, self.polls + 1);
        }
        readings
    }

    /// At least `readings` readings, poll by poll, the last poll cut short.
    pub(crate) fn submissions(&mut self, readings: usize) -> Vec<Vec<NewReading>> {
        let mut left = readings;
        let mut submissions = Vec::new();
        while left > 0 {
            let mut poll = self.poll();
            poll.truncate(left);
            left -= poll.len();
            submissions.push(poll);
        }
        submissions
    }
}

/// Kinds stand in rows, as they do in a controller's registers.
pub(crate) fn kind_of(within: usize, per_device: usize) -> Kind {
    KINDS[within * KINDS.len() / per_device]
}
