//! What is asked of the gateways: readings, how large, how many, when.

use std::fmt;
use std::str::FromStr;

use selvedge_core::limits;
use selvedge_core::reading::READING_BYTES;
use serde::{Deserialize, Serialize};

use super::delay::exponential;
use super::params::{Params, Problem};
use super::units::{Rate, Size, Span, Wrong, as_text};
use crate::dice::Dice;

/// Most readings of a run: with more it would take days.
const RUN_READINGS_MAX: u128 = 1_000_000_000;

/// What is asked of each gateway. Open loop: readings come whether or not the gateway keeps up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Workload {
    /// Readings per second and gateway, on average.
    pub rate: Rate,
    /// When they come.
    pub arrivals: Arrivals,
    /// Bytes of a reading: 48 for a number, more for a text of so many bytes beyond 48.
    pub reading: Size,
    /// Readings that come together, as an adapter that polls hands them over.
    pub together: u32,
    /// Streams of each gateway, in turn.
    pub streams: u32,
    /// So many of the last gateways have nothing to say.
    pub silent: usize,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            rate: Rate::per_s(10),
            arrivals: Arrivals::Poisson,
            reading: Size::of(READING_BYTES as u64),
            together: 1,
            streams: 1,
            silent: 0,
        }
    }
}

/// When readings come: `poisson`, `fixed` or `burst:EVERY,FOR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// With pauses drawn from an exponential distribution.
    Poisson,
    /// With equal pauses; each gateway begins at another moment.
    Fixed,
    /// Poisson, but all within the first part of each period, and so much denser: the mean rate stays.
    Burst {
        /// The period.
        every: Span,
        /// Its first part.
        within: Span,
    },
}

as_text!(Arrivals);

impl FromStr for Arrivals {
    type Err = Wrong;
    fn from_str(text: &str) -> Result<Self, Wrong> {
        const EXPECTED: &str = "poisson, fixed, or burst:EVERY,FOR such as burst:10s,1s";
        let (word, rest) = text.split_once(':').unwrap_or((text, ""));
        match word {
            "poisson" if word == text => Ok(Self::Poisson),
            "fixed" if word == text => Ok(Self::Fixed),
            "burst" => {
                let (every, within) = rest.split_once(',').ok_or_else(|| Wrong::new(text, EXPECTED))?;
                let (every, within): (Span, Span) = (every.parse()?, within.trim().parse()?);
                if within.us == 0 || within >= every {
                    return Err(Wrong::new(
                        text,
                        "a burst that is shorter than its period, such as burst:10s,1s",
                    ));
                }
                Ok(Self::Burst { every, within })
            }
            _ => Err(Wrong::word(text, word, &["poisson", "fixed", "burst"], EXPECTED)),
        }
    }
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poisson => f.write_str("poisson"),
            Self::Fixed => f.write_str("fixed"),
            Self::Burst { every, within } => write!(f, "burst:{every},{within}"),
        }
    }
}

impl Workload {
    pub(super) fn check(&self, params: &Params, problems: &mut Vec<Problem>) {
        let mut wrong = |key: &str, got: &dyn fmt::Display, expected: String| {
            problems.push(Problem::new(key, got, expected));
        };
        let (least, most) = (READING_BYTES as u64, (READING_BYTES + limits::READING_TEXT_BYTES_MAX) as u64);
        if !(least..=most).contains(&self.reading.bytes) {
            let expected = format!("{least}B (a number) to {most}B (48 and the longest text of a reading)");
            wrong("workload.reading", &self.reading, expected);
        }
        if !(1..=limits::SUBMIT_READINGS_MAX as u32).contains(&self.together) {
            let expected = format!("1 to {}, the readings of one submission", limits::SUBMIT_READINGS_MAX);
            wrong("workload.together", &self.together, expected);
        }
        let streams_max = limits::BATCH_STREAMS_MAX as u32;
        if !(1..=streams_max).contains(&self.streams) {
            wrong("workload.streams", &self.streams, format!("1 to {streams_max}, the streams of one batch"));
        }
        if self.silent > params.gateways {
            wrong(
                "workload.silent",
                &self.silent,
                format!("0 to {}, the gateways there are", params.gateways),
            );
        }
        // One submission a microsecond is the finest that the clock of a run can tell apart.
        let rate_max = Rate::per_s(1_000_000 * u64::from(self.together.max(1)));
        if self.rate > rate_max {
            let expected = format!("0/s to {rate_max}, a submission of {} a microsecond", self.together);
            wrong("workload.rate", &self.rate, expected);
        }
        let speaking = params.gateways.saturating_sub(self.silent) as u128;
        let readings =
            u128::from(rate_max.min(self.rate).micro_per_s) * u128::from(params.load.us) * speaking;
        if readings > RUN_READINGS_MAX * 1_000_000_000_000 {
            let expected = format!(
                "at most {RUN_READINGS_MAX} readings in a run of {speaking} gateways for {}",
                params.load
            );
            wrong("workload.rate", &self.rate, expected);
        }
        if let Arrivals::Burst { every, .. } = self.arrivals
            && every > params.load
        {
            wrong(
                "workload.arrivals",
                &self.arrivals,
                format!("a period of at most {}, the run", params.load),
            );
        }
    }
}

/// The readings of one gateway, in the order of time.
#[derive(Debug, Clone)]
pub struct Source {
    dice: Dice,
    arrivals: Arrivals,
    /// Submissions per 10⁶ seconds; 0: it has nothing to say.
    rate: u128,
    together: u32,
    /// Nanoseconds of the clock that the arrivals run by: in a burst only while there are any.
    clock_ns: u128,
    /// Submissions so far.
    count: u128,
    load_us: u64,
}

impl Source {
    /// What is asked of this gateway.
    pub fn new(params: &Params, gateway: usize) -> Self {
        let workload = &params.workload;
        let is_silent = gateway + workload.silent >= params.gateways;
        let mut source = Self {
            dice: Dice::new(params.seed, &format!("readings {gateway}")),
            arrivals: workload.arrivals,
            rate: if is_silent { 0 } else { u128::from(workload.rate.micro_per_s) },
            together: workload.together,
            clock_ns: 0,
            count: 0,
            load_us: params.load.us,
        };
        if source.arrivals == Arrivals::Fixed && source.rate > 0 {
            // Another moment of the first period for each gateway.
            source.clock_ns = (source.period_ns(1) * u128::from(source.dice.below(1 << 20))) >> 20;
        }
        source
    }

    /// So many mean pauses, in nanoseconds.
    fn period_ns(&self, times: u128) -> u128 {
        times * u128::from(self.together) * 1_000_000_000_000_000 / self.rate
    }

    fn poisson_ns(&mut self, denser: (u128, u128)) -> u128 {
        // 2³² parts of a mean pause: integers from here on, so that sums are the same everywhere.
        let pause = libm::round(exponential(&mut self.dice) * 4_294_967_296.0) as u128;
        (pause * self.period_ns(1) * denser.0 / denser.1) >> 32
    }
}

impl Iterator for Source {
    /// When, in microseconds since the load began, and how many readings.
    type Item = (u64, u32);

    fn next(&mut self) -> Option<(u64, u32)> {
        if self.rate == 0 {
            return None;
        }
        let at_ns = match self.arrivals {
            Arrivals::Fixed => self.clock_ns + self.period_ns(self.count),
            Arrivals::Poisson => {
                self.clock_ns += self.poisson_ns((1, 1));
                self.clock_ns
            }
            Arrivals::Burst { every, within } => {
                let (every, within) = (u128::from(every.us), u128::from(within.us));
                self.clock_ns += self.poisson_ns((within, every));
                let within_ns = within * 1_000;
                self.clock_ns / within_ns * every * 1_000 + self.clock_ns % within_ns
            }
        };
        self.count += 1;
        let at_us = u64::try_from(at_ns / 1_000).unwrap_or(u64::MAX);
        (at_us < self.load_us).then_some((at_us, self.together))
    }
}
