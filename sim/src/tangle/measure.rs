//! What is counted while a tangle grows, in memory that does not grow with it.

/// Mean and deviation over time of a value that jumps at moments.
#[derive(Debug, Clone, Default)]
pub struct OverTime {
    /// Since when the value is held; none before the measured part begins.
    since: Option<f64>,
    time: f64,
    sum: f64,
    squares: f64,
}

impl OverTime {
    /// The measured part begins at this moment.
    pub fn begin(&mut self, at: f64) {
        self.since = Some(at);
    }

    /// From the last moment until this one the value was this.
    pub fn hold(&mut self, until: f64, value: f64) {
        if let Some(since) = &mut self.since {
            let time = until - *since;
            *since = until;
            self.time += time;
            self.sum += value * time;
            self.squares += value * value * time;
        }
    }

    /// Length of the measured part.
    pub const fn time(&self) -> f64 {
        self.time
    }

    /// Mean over the measured part; not a number when that has no length.
    pub fn mean(&self) -> f64 {
        self.sum / self.time
    }

    /// Standard deviation over the measured part.
    pub fn deviation(&self) -> f64 {
        (self.squares / self.time - self.mean() * self.mean()).max(0.0).sqrt()
    }
}

/// Spans of time: their mean, and quantiles to a thousandth of h.
#[derive(Debug, Clone)]
pub struct Spans {
    bins_per_unit: f64,
    counts: Vec<u64>,
    count: u64,
    sum: f64,
    longest: f64,
}

impl Spans {
    /// Bins for each h. A span of so many bins or more is counted in the last.
    const BINS: f64 = 1_000.0;
    const BINS_MAX: usize = 1 << 20;

    /// None yet, with this h.
    pub fn new(h: f64) -> Self {
        Self { bins_per_unit: Self::BINS / h, counts: Vec::new(), count: 0, sum: 0.0, longest: 0.0 }
    }

    /// One more.
    pub fn add(&mut self, span: f64) {
        let bin = ((span * self.bins_per_unit) as usize).min(Self::BINS_MAX - 1);
        if bin >= self.counts.len() {
            self.counts.resize(bin + 1, 0);
        }
        self.counts[bin] += 1;
        self.count += 1;
        self.sum += span;
        self.longest = self.longest.max(span);
    }

    /// How many.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Their mean; not a number when there are none.
    pub fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }

    /// The longest.
    pub const fn longest(&self) -> f64 {
        self.longest
    }

    /// The span that this part (0 to 1) of them does not exceed: the middle of its bin. None when there are none.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let rank = (libm::ceil(part * self.count as f64) as u64).clamp(1, self.count.max(1));
        let mut below = 0;
        let bin = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        })?;
        Some((bin as f64 + 0.5) / self.bins_per_unit)
    }

    /// Span (middle) and count, `joined` bins together.
    pub fn histogram(&self, joined: usize) -> impl Iterator<Item = (f64, u64)> {
        let width = joined as f64 / self.bins_per_unit;
        let sums = self.counts.chunks(joined).map(|bins| bins.iter().sum::<u64>());
        sums.enumerate().map(move |(place, sum)| ((place as f64 + 0.5) * width, sum))
    }
}

/// Tags followed at a time: one bit each.
const TAGS: usize = 64;
/// Cohorts of tags in a run, at most: following them costs time.
const COHORTS_MAX: u64 = 16;

/// How cumulative weight grows with age: the mean over tagged transactions, 64 at a time.
///
/// Each transaction carries one bit for each tag that it reaches; it is the union of the bits of what it approves.
#[derive(Debug, Clone)]
pub struct Growth {
    /// Distance of ages, and how many.
    step: f64,
    ages: usize,
    /// Transactions between two tags of a cohort.
    spacing: u32,
    /// Number of the first tagged transaction of this cohort: bits of older ones belong to former cohorts.
    first: u32,
    births: Vec<f64>,
    /// By age, transactions that reached a tag of this cohort.
    reached: Vec<u64>,
    /// The same of all complete cohorts.
    total: Vec<u64>,
    cohorts: u64,
}

impl Growth {
    /// Weights at `ages` ages, `step` apart, of tags that begin with transaction `first`, `spacing` apart.
    pub fn new(first: u32, spacing: u32, step: f64, ages: usize) -> Self {
        let (reached, total) = (vec![0; ages], vec![0; ages]);
        Self { step, ages, spacing, first, births: Vec::with_capacity(TAGS), reached, total, cohorts: 0 }
    }

    /// The bits that a transaction hands on, if it carries `bits`.
    pub const fn carried(&self, number: u32, bits: u64) -> u64 {
        if number < self.first { 0 } else { bits }
    }

    /// A transaction arrives, and reaches these tags. Returns its own bits.
    pub fn arrived(&mut self, number: u32, now: f64, reached: u64) -> u64 {
        let mut left = reached;
        while left != 0 {
            let tag = left.trailing_zeros() as usize;
            left &= left - 1;
            let age = ((now - self.births[tag]) / self.step) as usize;
            if let Some(count) = self.reached.get_mut(age) {
                *count += 1;
            }
        }
        let tags = self.births.len();
        if tags == TAGS {
            self.end_of_cohort(number, now);
            return reached;
        }
        let is_tagged = self.cohorts < COHORTS_MAX && number == self.first + tags as u32 * self.spacing;
        if !is_tagged {
            return reached;
        }
        self.births.push(now);
        reached | 1 << tags
    }

    /// When the youngest tag is old enough the cohort counts, and the next one begins.
    fn end_of_cohort(&mut self, number: u32, now: f64) {
        let youngest = self.births[TAGS - 1];
        if now - youngest < self.step * self.ages as f64 {
            return;
        }
        for (total, reached) in self.total.iter_mut().zip(&mut self.reached) {
            *total += std::mem::take(reached);
        }
        self.cohorts += 1;
        self.births.clear();
        self.first = number + 1;
    }

    /// Tagged transactions that were followed to the end.
    pub const fn tags(&self) -> u64 {
        self.cohorts * TAGS as u64
    }

    /// Age and mean weight; nothing when no cohort was followed to its end.
    pub fn weights(&self) -> Vec<(f64, f64)> {
        if self.cohorts == 0 {
            return Vec::new();
        }
        let mut sum = 0;
        let mut points = vec![(0.0, 1.0)];
        for (place, reached) in self.total.iter().enumerate() {
            sum += reached;
            points.push(((place + 1) as f64 * self.step, 1.0 + sum as f64 / self.tags() as f64));
        }
        points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_over_time_counts_how_long_a_value_was_held() {
        let mut over = OverTime::default();
        over.hold(5.0, 1_000.0);
        over.begin(5.0);
        over.hold(6.0, 4.0);
        over.hold(9.0, 8.0);
        assert_eq!((over.time(), over.mean()), (4.0, 7.0));
        assert!((over.deviation() - 3.0_f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn quantiles_are_true_to_a_thousandth_of_h() {
        let mut spans = Spans::new(2.0);
        assert_eq!(spans.quantile(0.5), None);
        (1..=1_000).for_each(|n| spans.add(f64::from(n) * 0.01));
        assert_eq!((spans.count(), spans.longest()), (1_000, 10.0));
        assert!((spans.mean() - 5.005).abs() < 1e-9);
        for (part, expected) in [(0.5, 5.0), (0.9, 9.0), (1.0, 10.0)] {
            let found = spans.quantile(part).expect("spans");
            assert!((found - expected).abs() <= 0.002, "{part}: {found}");
        }
        assert_eq!(spans.histogram(500).map(|(_, count)| count).sum::<u64>(), 1_000);
    }

    #[test]
    fn a_chain_grows_by_one_a_step_and_old_cohorts_are_forgotten() {
        // One transaction a unit of time, each approves the last: a tag weighs its age and itself.
        let mut growth = Growth::new(5, 3, 1.0, 40);
        let mut bits = 0;
        for number in 1..3_000_u32 {
            let reached = growth.carried(number - 1, bits);
            bits = growth.arrived(number, f64::from(number), reached);
        }
        assert!(growth.tags() >= 640, "{}", growth.tags());
        for (age, weight) in growth.weights() {
            // Arrivals at the ends of an interval count in the next.
            assert!((weight - age.max(1.0)).abs() < 1e-9, "{age}: {weight}");
        }
        assert_eq!(Growth::new(1, 1, 1.0, 10).weights(), []);
    }
}
