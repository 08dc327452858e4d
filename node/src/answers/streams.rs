//! `streams`: what this gateway reads, how far each stream is, and its newest reading.

use serde::{Deserialize, Serialize};

use super::readings::ReadingAnswer;
use super::shown::Time;
use super::{Answers, AskError};
use crate::store::{Range, StreamInfo};

/// Names offered for one that nobody knows.
const NEAREST_MAX: usize = 3;

/// All streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamsAnswer {
    /// When it was asked.
    pub asked: Time,
    /// By name.
    pub streams: Vec<StreamAnswer>,
}

/// One stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamAnswer {
    /// Its name.
    pub name: String,
    /// The device, as the configuration names it.
    pub device: String,
    /// Where on the device.
    pub address: String,
    /// What the device sends.
    pub source_type: String,
    /// Unit as UCUM text.
    pub unit: String,
    /// Readings so far: counters are gapless from 0.
    pub readings: u64,
    /// The newest reading.
    pub last: Option<ReadingAnswer>,
    /// The newest reading of good quality among the last few dozens.
    pub last_good: Option<ReadingAnswer>,
}

/// How far back the last good reading is looked for.
const GOOD_WITHIN: usize = 64;

impl Answers {
    /// All streams of this gateway.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn streams(&self, asked: Time) -> Result<StreamsAnswer, AskError> {
        let streams: Result<_, AskError> =
            self.reader.streams()?.into_iter().map(|info| self.stream(info)).collect();
        Ok(StreamsAnswer { asked, streams: streams? })
    }

    fn stream(&self, info: StreamInfo) -> Result<StreamAnswer, AskError> {
        let last = info.newest.as_ref().map(ReadingAnswer::new);
        let mut last_good = last.clone().filter(ReadingAnswer::is_good);
        if last.is_some() && last_good.is_none() {
            let range = Range { last: Some(GOOD_WITHIN), skip_absent: true, ..Range::default() };
            for reading in self.reader.readings(&info.name, range)? {
                let reading = ReadingAnswer::new(&reading?);
                if reading.is_good() {
                    last_good = Some(reading);
                }
            }
        }
        let descriptor = info.descriptor;
        Ok(StreamAnswer {
            name: info.name,
            device: descriptor.device,
            address: descriptor.address,
            source_type: descriptor.source_type,
            unit: descriptor.unit,
            readings: info.next_counter,
            last,
            last_good,
        })
    }

    /// Is there such a stream?
    ///
    /// # Errors
    /// [`AskError::NoSuchStream`] with the nearest names when there is none.
    pub(crate) fn check_stream(&self, name: &str) -> Result<(), AskError> {
        // The index knows most of them at once; all names take a look through the journal.
        if !self.reader.batches_of_stream(name, 1)?.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = self.reader.streams()?.into_iter().map(|stream| stream.name).collect();
        if names.iter().any(|known| known == name) {
            return Ok(());
        }
        Err(AskError::NoSuchStream {
            name: name.to_owned(),
            streams: names.len(),
            nearest: nearest(name, names),
        })
    }
}

/// The names most like this one, the nearest first.
fn nearest(name: &str, names: Vec<String>) -> Vec<String> {
    let lower = name.to_lowercase();
    let mut ranked: Vec<(f64, String)> = names
        .into_iter()
        .map(|known| {
            let known_lower = known.to_lowercase();
            // A part of a name is as good as a slip of the finger: `level` finds `filler/tank/level`.
            let part = known_lower.contains(&lower) || lower.contains(&known_lower);
            let alike = strsim::normalized_damerau_levenshtein(&lower, &known_lower);
            (if part { alike.max(0.8) } else { alike }, known)
        })
        .collect();
    ranked.sort_by(|(a, one), (b, other)| b.total_cmp(a).then_with(|| one.cmp(other)));
    // Far from the best one is no help beside it.
    let least = ranked.first().map_or(0.5, |(best, _)| (best - 0.25).max(0.5));
    let near = ranked.into_iter().filter(|(alike, _)| *alike >= least);
    near.take(NEAREST_MAX).map(|(_, known)| known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_are_offered() {
        let names = || {
            ["filler/tank/level", "filler/flow", "filler/valve", "conveyor/speed"].map(String::from).to_vec()
        };
        assert_eq!(nearest("filler/tank/levle", names()), ["filler/tank/level"]);
        assert_eq!(nearest("level", names()), ["filler/tank/level"]);
        assert_eq!(nearest("Filler/Flow", names()), ["filler/flow"]);
        assert!(nearest("zzz", names()).is_empty());
    }
}
