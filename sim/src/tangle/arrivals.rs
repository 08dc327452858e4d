//! When transactions arrive.

use selvedge_core::random::Random;

use super::params::Arrivals;

/// Moments, one after the other.
#[derive(Debug)]
pub struct Process {
    kind: Arrivals,
    /// Mean distance of two moments.
    gap: f64,
    /// Of the last burst.
    at: f64,
    /// Moments so far.
    count: u64,
    /// Transactions of this burst still to come.
    left: u32,
    random: Random,
}

impl Process {
    /// Arrivals at `rate` in a unit of time.
    pub fn new(kind: Arrivals, rate: f64, random: Random) -> Self {
        let size = if let Arrivals::Bursty(size) = kind { f64::from(size) } else { 1.0 };
        Self { kind, gap: size / rate, at: 0.0, count: 0, left: 0, random }
    }

    /// When the next transaction arrives: not before the last.
    pub fn draw(&mut self) -> f64 {
        if self.left > 0 {
            self.left -= 1;
            return self.at;
        }
        self.count += 1;
        match self.kind {
            // Not by adding up, which would drift.
            Arrivals::Fixed => self.at = self.count as f64 * self.gap,
            Arrivals::Poisson => self.at += self.exponential(),
            Arrivals::Bursty(size) => {
                self.at += self.exponential();
                self.left = size - 1;
            }
        }
        self.at
    }

    /// By inversion. The unit lies below 1, so the logarithm is finite.
    fn exponential(&mut self) -> f64 {
        -libm::log(1.0 - self.random.unit()) * self.gap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(kind: Arrivals) -> Vec<f64> {
        let mut process = Process::new(kind, 4.0, Random::new(&[1; 32]));
        (0..40_000).map(|_| process.draw()).collect()
    }

    #[test]
    fn each_process_has_its_rate_and_its_shape() {
        for kind in [Arrivals::Poisson, Arrivals::Fixed, Arrivals::Bursty(8)] {
            let moments = moments(kind);
            assert!(moments.is_sorted());
            // 10,000 units; the deviation of 40,000 arrivals is 50 of them, of 5,000 bursts 141.
            let end = moments.last().expect("some");
            assert!((end - 10_000.0).abs() < 400.0, "{kind}: {end}");
        }
        assert_eq!(moments(Arrivals::Fixed)[..3], [0.25, 0.5, 0.75]);
        let bursts = moments(Arrivals::Bursty(8));
        assert!(bursts.chunk_by(|a, b| a.to_bits() == b.to_bits()).all(|burst| burst.len() == 8));
        // Squares of exponential gaps: mean twice the square of the mean.
        let gaps: Vec<f64> = moments(Arrivals::Poisson).windows(2).map(|pair| pair[1] - pair[0]).collect();
        let square = gaps.iter().map(|gap| gap * gap).sum::<f64>() / gaps.len() as f64;
        assert!((square / 0.125 - 1.0).abs() < 0.1, "{square}");
    }
}
