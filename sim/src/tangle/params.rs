//! What a run is asked to do.

use std::fmt;
use std::str::FromStr;

use selvedge_core::tips::CHOSEN_MAX;
use serde::{Deserialize, Serialize};

use crate::network::params::Problem;
use crate::network::units::{Wrong, as_text};

/// Transactions whose age at the end is less than so many h are not judged as approved or never approved. With uniform
/// selection and k = 2 a transaction waits longer with probability e⁻¹⁹.
pub const JUDGED_AGE: f64 = 20.0;
/// What is left out at the beginning unless asked otherwise, in h: by then the number of tips has forgotten the genesis.
const WARMUP_H: f64 = 20.0;
/// Bounds of the parameters. Numbers of transactions fit 32 bits.
const RATES: (f64, f64) = (1e-6, 1e9);
const DELAYS: (f64, f64) = (1e-6, 1e9);
const TRANSACTIONS: (u64, u64) = (10, 2_000_000_000);
/// Shortest run, in h: of its judged transactions, all but the last quarter, the youngest are then seen by others.
const SHORTEST_H: f64 = 4.0;
/// Most transactions that arrive or are hidden at once (λ × h): each is held in memory.
const HIDDEN_MAX: f64 = 1e7;
/// Most transactions of a weighted walk: it keeps all of them, and what reaches what among those that can be chosen.
const WALK_TRANSACTIONS_MAX: u64 = 1_000_000;
const BURSTS: (u32, u32) = (1, 1_000_000);
const ISSUERS: (u32, u32) = (1, 1_000_000);

/// How transactions choose what they approve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Selection {
    /// Uniform over the visible tips, different ones (`urts`).
    Uniform,
    /// As many independent random walks from the genesis as there are approvals, weighted by exact cumulative weight
    /// (`walk:ALPHA`; Popov, "The Tangle", section 4.1). Walks that end at the same tip approve it once.
    Walk {
        /// How much heavier counts; 0: not at all.
        alpha: f64,
    },
    /// As gateways ship it: `selvedge_core::tips::select` with its default policy, two tips of those that are young and
    /// among the newest of their issuer (`shipped`). A unit of time is a second here.
    Shipped,
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => f.write_str("urts"),
            Self::Walk { alpha } => write!(f, "walk:{alpha}"),
            Self::Shipped => f.write_str("shipped"),
        }
    }
}

impl FromStr for Selection {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let expected = "urts, walk:ALPHA (such as walk:0.01) or shipped";
        match text.split_once(':') {
            None if text == "urts" => Ok(Self::Uniform),
            None if text == "shipped" => Ok(Self::Shipped),
            Some(("walk", alpha)) => {
                let alpha = alpha.parse().map_err(|_| Wrong::new(text, expected))?;
                Ok(Self::Walk { alpha })
            }
            _ => Err(Wrong::word(text, text, &["urts", "walk", "shipped"], expected)),
        }
    }
}

/// When transactions arrive. The mean rate is λ with each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// Independently: exponential gaps (`poisson`).
    Poisson,
    /// At equal distances (`fixed`).
    Fixed,
    /// So many at the same moment, at moments with exponential gaps (`bursty:N`).
    Bursty(u32),
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poisson => f.write_str("poisson"),
            Self::Fixed => f.write_str("fixed"),
            Self::Bursty(size) => write!(f, "bursty:{size}"),
        }
    }
}

impl FromStr for Arrivals {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let expected = "poisson, fixed or bursty:N (such as bursty:10, N at once)";
        match text.split_once(':') {
            None if text == "poisson" => Ok(Self::Poisson),
            None if text == "fixed" => Ok(Self::Fixed),
            None if text == "bursty" => Ok(Self::Bursty(10)),
            Some(("bursty", size)) => {
                let size = size.parse().ok().filter(|size| (BURSTS.0..=BURSTS.1).contains(size));
                size.map(Self::Bursty).ok_or_else(|| {
                    Wrong::new(text, format!("bursty:N with N from {} to {}", BURSTS.0, BURSTS.1))
                })
            }
            _ => Err(Wrong::word(text, text, &["poisson", "fixed", "bursty"], expected)),
        }
    }
}

as_text!(Selection, Arrivals);

/// A run. The unit of time is the reader's; h and λ are in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Decides every choice.
    pub seed: u64,
    /// λ: transactions that arrive in a unit of time.
    pub lambda: f64,
    /// h: from the arrival of a transaction until all see it, in units of time.
    pub h: f64,
    /// Tips that a transaction approves.
    pub k: usize,
    /// How it chooses them.
    pub tips: Selection,
    /// When transactions arrive.
    pub arrivals: Arrivals,
    /// Transactions in all, the genesis not counted.
    pub transactions: u64,
    /// Of these the first so many are not measured; none: 20 h of them, or a quarter of the run when that is less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup: Option<u64>,
    /// Issuers, each as busy as the others (`shipped` only).
    pub issuers: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            seed: 1,
            lambda: 100.0,
            h: 1.0,
            k: 2,
            tips: Selection::Uniform,
            arrivals: Arrivals::Poisson,
            transactions: 100_000,
            warmup: None,
            issuers: 100,
        }
    }
}

impl Params {
    /// Transactions that are not measured at the beginning.
    pub fn warmup(&self) -> u64 {
        let usual = libm::ceil(WARMUP_H * self.lambda * self.h) as u64;
        self.warmup.unwrap_or_else(|| usual.min(self.transactions / 4))
    }

    /// The number behind the last transaction that is judged.
    pub fn judged_until(&self) -> u64 {
        let young = libm::ceil(JUDGED_AGE * self.lambda * self.h) as u64;
        self.transactions.saturating_sub(young.min(self.transactions / 4))
    }

    /// Refuses what cannot be, before anything runs.
    ///
    /// # Errors
    /// Everything that is wrong: key, got, expected.
    pub fn check(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, got: &dyn fmt::Display, expected: String| {
            problems.push(Problem::new(key, got, expected));
        };
        let within = |(low, high): (f64, f64), value: f64| (low..=high).contains(&value);
        if !within(RATES, self.lambda) {
            wrong(
                "lambda",
                &self.lambda,
                format!("{:e} to {:e} transactions in a unit of time", RATES.0, RATES.1),
            );
        }
        if !within(DELAYS, self.h) {
            wrong("h", &self.h, format!("{:e} to {:e} units of time", DELAYS.0, DELAYS.1));
        }
        if self.lambda * self.h > HIDDEN_MAX {
            let got = self.lambda * self.h;
            wrong(
                "lambda",
                &self.lambda,
                format!("lambda × h (here {got}) at most {HIDDEN_MAX:e}, the transactions hidden at a time"),
            );
        }
        if !(2..=CHOSEN_MAX).contains(&self.k) {
            wrong(
                "k",
                &self.k,
                format!("2 to {CHOSEN_MAX} (with one approval each the tips never meet again)"),
            );
        }
        if !(TRANSACTIONS.0..=TRANSACTIONS.1).contains(&self.transactions) {
            wrong("transactions", &self.transactions, format!("{} to {}", TRANSACTIONS.0, TRANSACTIONS.1));
        }
        let least = SHORTEST_H * self.lambda * self.h;
        if (self.transactions as f64) < least {
            let expected = format!(
                "at least {SHORTEST_H} × lambda × h (here {least}): in less nobody sees what is judged"
            );
            wrong("transactions", &self.transactions, expected);
        }
        if self.warmup.is_some_and(|warmup| warmup >= self.judged_until()) {
            let expected = format!(
                "less than {}, so that some transactions are measured and judged",
                self.judged_until()
            );
            wrong("warmup", &self.warmup(), expected);
        }
        if let Arrivals::Bursty(size) = self.arrivals
            && !(BURSTS.0..=BURSTS.1).contains(&size)
        {
            wrong("arrivals", &self.arrivals, format!("bursty:N with N from {} to {}", BURSTS.0, BURSTS.1));
        }
        self.check_selection(&mut wrong);
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn check_selection(&self, wrong: &mut dyn FnMut(&str, &dyn fmt::Display, String)) {
        // What has no effect would be believed to have one.
        if self.tips != Selection::Shipped && self.issuers != Self::default().issuers {
            let expected = "nothing unless tips is shipped, which alone tells issuers apart".to_owned();
            wrong("issuers", &self.issuers, expected);
        }
        match self.tips {
            Selection::Uniform => {}
            Selection::Walk { alpha } => {
                if !(alpha.is_finite() && alpha >= 0.0) {
                    wrong("alpha", &alpha, "a number from 0 up".to_owned());
                }
                if self.transactions > WALK_TRANSACTIONS_MAX {
                    let expected = format!(
                        "at most {WALK_TRANSACTIONS_MAX} with a walk, which keeps all of them in memory"
                    );
                    wrong("transactions", &self.transactions, expected);
                }
            }
            Selection::Shipped => {
                if self.k != 2 {
                    wrong(
                        "k",
                        &self.k,
                        "2 with the shipped selection: transactions of this ledger approve two".to_owned(),
                    );
                }
                if !(ISSUERS.0..=ISSUERS.1).contains(&self.issuers) {
                    wrong("issuers", &self.issuers, format!("{} to {}", ISSUERS.0, ISSUERS.1));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_read_back_as_the_same_value() {
        for selection in [Selection::Uniform, Selection::Walk { alpha: 0.01 }, Selection::Shipped] {
            assert_eq!(selection.to_string().parse(), Ok(selection));
        }
        for arrivals in [Arrivals::Poisson, Arrivals::Fixed, Arrivals::Bursty(7)] {
            assert_eq!(arrivals.to_string().parse(), Ok(arrivals));
        }
        // "got walk … did you mean walk?" was said.
        let walk = "walk".parse::<Selection>().expect_err("without its alpha").to_string();
        assert!(walk.contains("walk:ALPHA") && !walk.contains("did you mean"), "{walk}");
        assert_eq!("walks".parse::<Selection>().expect_err("no such word").nearest.as_deref(), Some("walk"));
        assert!("bursty:0".parse::<Arrivals>().is_err_and(|why| why.to_string().contains("1 to 1000000")));
    }

    #[test]
    fn a_run_in_which_nobody_sees_anybody_is_refused() {
        let of = |transactions| Params { transactions, lambda: 1_000.0, ..Params::default() }.check();
        let said = of(3_999).expect_err("too short")[0].to_string();
        assert!(
            said.starts_with("transactions: got 3999, expected at least 4 × lambda × h (here 4000)"),
            "{said}"
        );
        assert_eq!(of(4_000), Ok(()));
    }

    #[test]
    fn what_cannot_be_is_named_with_its_range() {
        let all = Params {
            lambda: f64::NAN,
            h: -1.0,
            k: 1,
            transactions: 3,
            warmup: Some(9),
            tips: Selection::Walk { alpha: -0.5 },
            ..Params::default()
        };
        let found: Vec<String> =
            all.check().expect_err("much is wrong").iter().map(ToString::to_string).collect();
        let begins: Vec<&str> = found.iter().map(|text| text.split(',').next().unwrap_or("")).collect();
        let expected = [
            "lambda: got NaN",
            "h: got -1",
            "k: got 1",
            "transactions: got 3",
            "warmup: got 9",
            "alpha: got -0.5",
        ];
        assert_eq!(begins, expected, "{found:?}");
        assert!(found[2].contains("expected 2 to 16"));
        // Was accepted with every selection, while --alpha was refused with all but one.
        let idle = Params { issuers: 5, ..Params::default() }
            .check()
            .expect_err("uniform selection knows no issuers");
        assert!(
            idle[0].to_string().starts_with("issuers: got 5, expected nothing unless tips is shipped"),
            "{idle:?}"
        );
        assert_eq!(Params { issuers: 5, tips: Selection::Shipped, ..Params::default() }.check(), Ok(()));
        let shipped = Params { tips: Selection::Shipped, k: 3, ..Params::default() };
        assert!(shipped.check().expect_err("k is 3")[0].to_string().contains("2 with the shipped selection"));
        assert_eq!(Params::default().check(), Ok(()));
    }
}
