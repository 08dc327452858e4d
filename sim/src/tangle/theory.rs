//! What has been published about such tangles, to be printed beside what is measured.
//!
//! - \[T\] S. Popov, "The Tangle", version 1.4.3, 2018: section 3 (number of tips, time to the first approval, in high
//!   load), section 3.1 (growth of cumulative weight), for k approvals chosen uniformly.
//! - \[L\] S. Müller, I. Amigo, A. Reiffers-Masson, S. Ruano-Rincón, "Stability of local tip pool sizes",
//!   arXiv:2302.01625: tips = arrival rate × mean time to the first reference, an identity of Little's kind.
//! - \[P\] B. Kuśmierz, P. Staupe, A. Gal, "Extracting Tangle Properties in Continuous Time via Large-Scale
//!   Simulations", 2018, and "Properties of the Tangle for Uniform Random and Random Walk Tip Selection",
//!   arXiv:2001.07734: the same by simulation, also for walks.
//!
//! What follows from \[T\]'s assumption (approvals reach each revealed tip as independent Poisson flows of rate k λ / L)
//! but is not written there is marked *derived*.

use serde::Serialize;

use super::measure::{OverTime, Spans};
use super::params::Params;

/// A published value beside the measured one.
#[derive(Debug, Clone, Serialize)]
pub struct Relation {
    /// What.
    pub name: &'static str,
    /// As this run measured it.
    pub measured: f64,
    /// As the theory has it.
    pub expected: f64,
    /// Measured over expected, less 1.
    pub deviation: f64,
    /// Where it stands.
    pub source: &'static str,
}

impl Relation {
    fn new(name: &'static str, measured: f64, expected: f64, source: &'static str) -> Self {
        Self { name, measured, expected, deviation: measured / expected - 1.0, source }
    }
}

/// Equilibrium of the number of tips, k λ h / (k − 1) (\[T\], section 3, equation 1).
pub fn tips(k: usize, lambda: f64, h: f64) -> f64 {
    revealed(k, lambda, h) * k as f64
}

/// Of these the revealed ones, λ h / (k − 1) (\[T\], section 3).
pub fn revealed(k: usize, lambda: f64, h: f64) -> f64 {
    lambda * h / (k as f64 - 1.0)
}

/// Exponent of the growth of cumulative weight in the adaptation period, in 1/h: the c with c eᶜ = (k − 1)²/k. For
/// k = 2 that is W(1/2) = 0.352 (\[T\], section 3.1); for other k derived in the same way, see [`mean_field`].
pub fn exponent(k: usize) -> f64 {
    let k = k as f64;
    lambert((k - 1.0) * (k - 1.0) / k)
}

/// Length of the adaptation period, h ln(L) / c (\[T\], section 3.1: about 2.84 h ln L for k = 2).
pub fn adaptation(k: usize, lambda: f64, h: f64) -> f64 {
    h * libm::log(tips(k, lambda, h).max(1.0)) / exponent(k)
}

/// The part of [`oldest`] in h, at its end, in which weight is taken to grow evenly.
const LINEAR: f64 = 8.0;

/// The age up to which the growth of weight is followed: well into its second phase. The length of the first is a mean;
/// some transactions take half as long again.
pub fn oldest(k: usize, lambda: f64, h: f64) -> f64 {
    1.5 * adaptation(k, lambda, h) + (LINEAR + LINEAR) * h
}

/// W(x), the solution of w eʷ = x for x ≥ 0, by Newton's method.
fn lambert(x: f64) -> f64 {
    let mut w = libm::log1p(x);
    for _ in 0..50 {
        let power = libm::exp(w);
        w -= (w * power - x) / (power * (w + 1.0));
    }
    w
}

/// Share of transactions with n direct approvers: one, and those who choose the transaction during the h in which the
/// first approval is not visible yet, a Poisson number of mean k − 1. Derived.
pub fn approvers(k: usize, n: usize) -> f64 {
    if n == 0 {
        return 0.0;
    }
    let mean = k as f64 - 1.0;
    (1..n).fold(libm::exp(-mean), |share, place| share * mean / place as f64)
}

/// The span that a part of the transactions do not exceed until their first approval: h, and an exponential time of mean
/// h / (k − 1). Derived.
pub fn first_approval(k: usize, h: f64, part: f64) -> f64 {
    h - h / (k as f64 - 1.0) * libm::log1p(-part)
}

/// Mean cumulative weight at ages `step` apart, by the equations of \[T\], section 3.1, for k approvals: of the L tips
/// that a selector sees K approve the transaction; with x = K(t − h)/L
///
/// K' = λ (1 − (1 − x)ᵏ − x), H' = λ (1 − (1 − x)ᵏ),
///
/// K = 1 until the age h, H(0) = 1. (The paper has k = 2, where the first is λ x (1 − x).)
///
/// # Panics
/// Never.
pub fn mean_field(params: &Params, step: f64, ages: usize) -> Vec<(f64, f64)> {
    /// Steps of the integration (Euler) in each h.
    const FINE: usize = 200;
    let (k, h) = (params.k, params.h);
    let all = tips(k, params.lambda, h).max(1.0);
    let fine = h / FINE as f64;
    // K at the last h, oldest first.
    let mut history = std::collections::VecDeque::from(vec![1.0_f64; FINE]);
    let (mut tips_above, mut weight, mut time) = (1.0, 1.0, 0.0);
    let mut points = vec![(0.0, 1.0)];
    while points.len() <= ages {
        // Nobody can choose it before the age h.
        let seen = history.pop_front().expect("as many go in as come out");
        let part = if time < h { 0.0 } else { (seen / all).min(1.0) };
        let reaching = 1.0 - (0..k).fold(1.0, |share, _| share * (1.0 - part));
        tips_above += params.lambda * fine * (reaching - part);
        weight += params.lambda * fine * reaching;
        history.push_back(tips_above);
        time += fine;
        while points.len() <= ages && time >= points.len() as f64 * step {
            points.push((points.len() as f64 * step, weight));
        }
    }
    points
}

/// Where what [`Relation::source`] names is to be found.
pub const SOURCES: &str = "Popov: S. Popov, \"The Tangle\", 1.4.3; Müller and others: arXiv:2302.01625; derived: from Popov's assumption";

/// All relations that this run can be compared with.
pub fn relations(
    params: &Params,
    tips_over_time: &OverTime,
    revealed_over_time: &OverTime,
    first: &Spans,
    approver_counts: &[u64],
    weights: &[(f64, f64)],
) -> Vec<Relation> {
    let (k, lambda, h) = (params.k, params.lambda, params.h);
    let judged: u64 = approver_counts.iter().sum();
    let share = |n: usize| approver_counts.get(n).map_or(0.0, |count| *count as f64 / judged as f64);
    let mean_approvers =
        approver_counts.iter().enumerate().map(|(n, count)| n as f64 * *count as f64).sum::<f64>()
            / judged as f64;
    let mean_tips = tips_over_time.mean();
    let mut relations = vec![
        Relation::new("tips, k λ h / (k − 1)", mean_tips, tips(k, lambda, h), "Popov, section 3, eq. (1)"),
        Relation::new(
            "revealed tips, λ h / (k − 1)",
            revealed_over_time.mean(),
            revealed(k, lambda, h),
            "Popov, section 3",
        ),
        Relation::new(
            "mean time to first approval, h + L / (k λ)",
            first.mean(),
            h + tips(k, lambda, h) / (k as f64 * lambda),
            "Popov, section 3, high load",
        ),
    ];
    // Those left behind are tips for ever, and have no first approval to be averaged.
    if approver_counts.first() == Some(&0) {
        let name = "tips, λ × mean time to first approval";
        relations.push(Relation::new(
            name,
            mean_tips,
            lambda * first.mean(),
            "Little's law; Müller and others, 2023",
        ));
    }
    if let Some(median) = first.quantile(0.5) {
        let expected = first_approval(k, h, 0.5);
        relations.push(Relation::new(
            "median time to first approval, h + h ln 2 / (k − 1)",
            median,
            expected,
            "derived",
        ));
    }
    relations.push(Relation::new("direct approvers, mean", mean_approvers, k as f64, "each approves k"));
    relations.push(Relation::new("share with k direct approvers", share(k), approvers(k, k), "derived"));
    relations.extend(growth_relations(params, weights));
    relations
}

/// The two phases of the growth of weight, each where it can be told apart.
fn growth_relations(params: &Params, weights: &[(f64, f64)]) -> Vec<Relation> {
    let (k, lambda, h) = (params.k, params.lambda, params.h);
    let mut relations = Vec::new();
    let slope = |points: &[(f64, f64)]| -> Option<f64> {
        let (first, last) = (points.first()?, points.last()?);
        (points.len() >= 3).then(|| (last.1 - first.1) / (last.0 - first.0))
    };
    // Far enough from the beginning, which is discrete, and from the end, where tips run out: the logarithm's slope.
    let most = tips(k, lambda, h) / 5.0;
    let early: Vec<(f64, f64)> = weights
        .iter()
        .filter(|(_, weight)| (4.0..=most).contains(weight))
        .map(|(age, weight)| (*age, libm::log(*weight)))
        .collect();
    if let Some(found) = slope(&early) {
        let name = "growth of weight, adaptation period: exponent × h";
        relations.push(Relation::new(name, found * h, exponent(k), "Popov, section 3.1 (k = 2: 0.352)"));
    }
    let is_late = |(age, _): &&(f64, f64)| *age >= oldest(k, lambda, h) - LINEAR * h;
    if let Some(found) = slope(&weights.iter().filter(is_late).copied().collect::<Vec<_>>()) {
        relations.push(Relation::new(
            "growth of weight afterwards, a unit of time: λ",
            found,
            lambda,
            "Popov, section 3.1",
        ));
    }
    relations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_the_paper() {
        assert!((tips(2, 100.0, 1.0) - 200.0).abs() < 1e-9);
        assert!((tips(8, 70.0, 2.0) - 160.0).abs() < 1e-9);
        assert!((exponent(2) - 0.352).abs() < 0.000_5, "{}", exponent(2));
        // 2.84 h ln L.
        assert!((adaptation(2, 100.0, 1.0) / libm::log(200.0) - 2.84).abs() < 0.01);
    }

    #[test]
    fn approvers_are_a_distribution_with_mean_k() {
        for k in [2, 3, 8] {
            let shares: Vec<f64> = (0..60).map(|n| approvers(k, n)).collect();
            let mean: f64 = shares.iter().enumerate().map(|(n, share)| n as f64 * share).sum();
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9 && (mean - k as f64).abs() < 1e-9);
        }
    }

    #[test]
    fn the_mean_field_grows_with_the_exponent_and_then_with_lambda() {
        let params = Params { lambda: 1e5, ..Params::default() };
        let points = mean_field(&params, 1.0, 60);
        let rate = libm::log(points[20].1 / points[15].1) / 5.0;
        assert!((rate - exponent(2)).abs() < 0.01, "{rate}");
        assert!(((points[60].1 - points[59].1) / 1e5 - 1.0).abs() < 0.01);
    }
}
