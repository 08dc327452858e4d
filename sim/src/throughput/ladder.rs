//! Which load is tried next: rungs of a ladder, the same ones wherever the search begins.

use crate::network::units::Rate;

/// The rate grows so many times from step to step until it is too much.
pub const GROWTH: u32 = 4;
/// So many rungs below the answer are tried as well.
const DOUBTED: i64 = 4;
/// Digits of a rate that count.
const DIGITS: u32 = 3;

/// Rates in equal ratios, 1/s among them. A rung is known by its number; 1/s has 0.
#[derive(Debug, Clone, Copy)]
pub struct Ladder {
    /// Rungs from a rate to its double.
    per_octave: i64,
    /// The lowest.
    first: i64,
    /// The highest.
    last: i64,
    least: Rate,
    most: Rate,
}

impl Ladder {
    /// Neighbours differ by at most so many percent (or what three digits can tell apart).
    pub fn new(precision_percent: u64, least: Rate, most: Rate) -> Self {
        let ratio = 1.0 + precision_percent.max(1) as f64 / 100.0;
        let per_octave = libm::ceil(1.0 / libm::log2(ratio)).max(1.0);
        let rung = |rate: Rate| libm::log2(rate.as_per_s()) * per_octave;
        let (first, last) = (libm::ceil(rung(least)) as i64, libm::floor(rung(most)) as i64);
        Self { per_octave: per_octave as i64, first, last: last.max(first), least, most }
    }

    /// The rate of a rung, to three digits.
    pub fn rate(&self, rung: i64) -> Rate {
        let exact = libm::exp2(rung as f64 / self.per_octave as f64) * 1e6;
        let scale = libm::pow(10.0, (libm::floor(libm::log10(exact)) + 1.0 - f64::from(DIGITS)).max(0.0));
        let micro_per_s = (libm::round(exact / scale) * scale) as u64;
        Rate { micro_per_s }.clamp(self.least, self.most)
    }

    /// A search that begins near this rate.
    pub fn start(&self, near: Rate) -> Place {
        let rung = libm::round(libm::log2(near.as_per_s().max(1e-6)) * self.per_octave as f64) as i64;
        Place { begin: rung.clamp(self.first, self.last), tried: Vec::new() }
    }

    const fn stride(&self) -> i64 {
        self.per_octave * GROWTH.ilog2() as i64
    }
}

/// Where a search stands.
#[derive(Debug, Clone)]
pub struct Place {
    begin: i64,
    /// Rungs, and whether they were too much.
    tried: Vec<(i64, bool)>,
}

impl Place {
    /// This rung was carried, or was too much.
    pub fn tried(&mut self, rung: i64, is_too_much: bool) {
        self.tried.push((rung, is_too_much));
    }

    /// The lowest rung that was too much.
    pub fn too_much(&self) -> Option<i64> {
        self.tried.iter().filter(|(_, is_too_much)| *is_too_much).map(|(rung, _)| *rung).min()
    }

    /// The highest one below that was carried.
    pub fn carried(&self) -> Option<i64> {
        let limit = self.too_much().unwrap_or(i64::MAX);
        self.tried
            .iter()
            .filter(|(rung, is_too_much)| !is_too_much && *rung < limit)
            .map(|(rung, _)| *rung)
            .max()
    }

    /// The rung to try next; `None` when the answer is there.
    pub fn next(&self, ladder: &Ladder) -> Option<i64> {
        let stride = ladder.stride();
        match (self.carried(), self.too_much()) {
            (None, None) => Some(self.begin),
            (Some(low), None) if low < ladder.last => Some((low + stride).min(ladder.last)),
            (None, Some(high)) => (high > ladder.first).then(|| (high - stride).max(ladder.first)),
            (Some(low), Some(high)) if high - low > 1 => Some(low + (high - low) / 2),
            (Some(low), _) => self.doubt(ladder, low),
        }
    }

    /// Was it luck? The rungs just below must be carried too, and one far below. The first of these that was not tried.
    fn doubt(&self, ladder: &Ladder, low: i64) -> Option<i64> {
        let near = (1..=DOUBTED).map(|down| low - down);
        let mut below = near.chain([low - ladder.stride()]).map(|rung| rung.max(ladder.first));
        below.find(|rung| self.tried.iter().all(|(tried, _)| tried != rung))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Rate = Rate { micro_per_s: 10_000 };
    const MOST: Rate = Rate { micro_per_s: 102_400_000_000 };

    /// Follows the search against a network; the heaviest that it carries, the lightest that it does not, and the runs.
    fn found(first: Rate, is_too_much: impl Fn(Rate) -> bool) -> (Option<Rate>, Option<Rate>, usize) {
        let ladder = Ladder::new(10, LEAST, MOST);
        let mut place = ladder.start(first);
        let mut runs = 0;
        while let Some(rung) = place.next(&ladder) {
            runs += 1;
            assert!(runs < 100);
            place.tried(rung, is_too_much(ladder.rate(rung)));
        }
        let rate = |rung: Option<i64>| rung.map(|rung| ladder.rate(rung));
        (rate(place.carried()), rate(place.too_much()), runs)
    }

    #[test]
    fn the_search_closes_in_and_does_not_depend_on_where_it_began() {
        for carries in [20_000, 3_000_000, 77_000_000, 40_000_000_000] {
            let from = |first| found(first, |rate| rate.micro_per_s > carries);
            let (carried, too_much, runs) = from(Rate::per_s(10));
            let (low, high) = (carried.expect("one").micro_per_s, too_much.expect("one").micro_per_s);
            assert!(low <= carries && carries < high && high * 100 <= low * 111, "{carries}: {low} {high}");
            assert!(runs < 24, "{runs} runs");
            for first in [1, 7, 200, 5_000] {
                let (other, other_high, _) = from(Rate::per_s(first));
                assert_eq!((other, other_high), (carried, too_much), "from {first}/s");
            }
        }
    }

    /// Ten Pi 4 behind 1 Mbit/s were said to carry 32, 60 or 1,000 readings a second each, by the first load that was tried:
    /// where one above the limit went well by luck, nobody looked below it any more.
    #[test]
    fn a_load_that_goes_well_by_luck_is_not_believed() {
        let lucky =
            |rate: Rate| rate > Rate::per_s(10) && !(190..260).contains(&(rate.micro_per_s / 1_000_000));
        let (carried, too_much, _) = found(Rate::per_s(200), lucky);
        assert_eq!((carried, too_much), {
            let (carried, too_much, _) = found(Rate::per_s(1), lucky);
            (carried, too_much)
        });
        assert!(carried.is_some_and(|rate| rate <= Rate::per_s(10)), "{carried:?}");
    }

    #[test]
    fn the_search_ends_at_its_bounds() {
        let ladder = Ladder::new(10, LEAST, MOST);
        assert_eq!(found(Rate::per_s(10), |_| false).0, Some(ladder.rate(ladder.last)));
        assert_eq!(found(Rate::per_s(10), |_| true).1, Some(ladder.rate(ladder.first)));
        assert!(ladder.rate(ladder.last) <= MOST && ladder.rate(ladder.first) >= LEAST);
    }

    #[test]
    fn neighbours_differ_by_the_precision_at_most_and_rates_are_short() {
        for percent in [1, 5, 15, 20, 50, 300] {
            let ladder = Ladder::new(percent, LEAST, MOST);
            for rung in ladder.first..ladder.last {
                let (low, high) = (ladder.rate(rung).micro_per_s, ladder.rate(rung + 1).micro_per_s);
                // Half a unit of the third digit at either end.
                assert!(low < high && high * 100 <= low * (101 + percent), "{percent} %: {low} {high}");
            }
        }
        let ladder = Ladder::new(20, LEAST, MOST);
        assert_eq!([0, 1, 4, 8].map(|rung| ladder.rate(rung).to_string()), ["1/s", "1.19/s", "2/s", "4/s"]);
    }
}
