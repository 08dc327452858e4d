//! What a run ends with.

use std::fmt;

use serde_json::{Value, json};

use super::engine::{Measured, Sample};
use super::measure::Spans;
use super::params::{Params, Selection};
use super::theory::{self, Relation};

/// What was measured, and what it can be compared with.
#[derive(Debug)]
pub struct Outcome {
    /// What was asked for.
    pub params: Params,
    /// Mean over time of the number of tips, after the warm-up.
    pub mean_tips: f64,
    /// Its standard deviation over time.
    pub tips_sd: f64,
    /// The same of the tips as a selector sees them.
    pub visible_tips_mean: f64,
    /// Standard deviation of those.
    pub visible_tips_sd: f64,
    /// Mean number of tips older than h.
    pub revealed_tips_mean: f64,
    /// From arrival to the arrival of the first approver, of judged transactions that have one.
    pub first_approval: Spans,
    /// Judged transactions by their number of direct approvers.
    pub direct_approvers: Vec<u64>,
    /// Age and mean cumulative weight over `tagged` transactions; empty when the run is too short to follow any.
    pub cumulative_weight: Vec<(f64, f64)>,
    /// Transactions whose weight was followed.
    pub tagged: u64,
    /// The number of tips over the whole run.
    pub samples: Vec<Sample>,
    /// Published values beside the measured ones.
    pub theory: Vec<Relation>,
    /// Seconds of CPU.
    pub cpu_s: f64,
    /// Hash over when each transaction arrived and what it approves.
    pub trace_hash: String,
}

impl Outcome {
    pub(super) fn new(params: Params, measured: Measured, cpu_s: f64) -> Self {
        let mut direct_approvers = measured.approvers;
        if direct_approvers.is_empty() {
            direct_approvers.push(0);
        }
        let cumulative_weight = measured.growth.weights();
        let theory = theory::relations(
            &params,
            &measured.tips,
            &measured.revealed,
            &measured.first_approval,
            &direct_approvers,
            &cumulative_weight,
        );
        Self {
            mean_tips: measured.tips.mean(),
            tips_sd: measured.tips.deviation(),
            visible_tips_mean: measured.visible.mean(),
            visible_tips_sd: measured.visible.deviation(),
            revealed_tips_mean: measured.revealed.mean(),
            first_approval: measured.first_approval,
            direct_approvers,
            cumulative_weight,
            tagged: measured.growth.tags(),
            samples: measured.samples,
            theory,
            cpu_s,
            trace_hash: measured.trace.to_hex().to_string(),
            params,
        }
    }

    /// Transactions that were judged.
    pub fn judged(&self) -> u64 {
        self.direct_approvers.iter().sum()
    }

    /// Share of judged transactions that none approves.
    pub fn never_approved_share(&self) -> f64 {
        self.direct_approvers[0] as f64 / self.judged() as f64
    }

    /// What the run is called beside others.
    pub fn label(&self) -> String {
        match self.params.tips {
            Selection::Uniform => "urts".to_owned(),
            Selection::Walk { alpha } => format!("walk, α = {alpha}"),
            Selection::Shipped => format!("shipped, {} issuers", self.params.issuers),
        }
    }

    /// One object.
    pub fn to_json(&self) -> Value {
        let spans = &self.first_approval;
        json!({
            "seed": self.params.seed,
            "lambda": self.params.lambda,
            "h": self.params.h,
            "k": self.params.k,
            "tips": self.params.tips,
            "arrivals": self.params.arrivals,
            "transactions": self.params.transactions,
            "warmup": self.params.warmup(),
            "judged": self.judged(),
            "mean_tips": self.mean_tips,
            "tips_sd": self.tips_sd,
            "visible_tips_mean": self.visible_tips_mean,
            "visible_tips_sd": self.visible_tips_sd,
            "revealed_tips_mean": self.revealed_tips_mean,
            "first_approval_mean": spans.mean(),
            "first_approval": {
                "p50": spans.quantile(0.5),
                "p90": spans.quantile(0.9),
                "p99": spans.quantile(0.99),
                "longest": spans.longest(),
            },
            "direct_approvers": self.direct_approvers,
            "never_approved_share": self.never_approved_share(),
            "cumulative_weight": self.cumulative_weight,
            "tagged": self.tagged,
            "theory": self.theory,
            "cpu_s": self.cpu_s,
            "transactions_per_cpu_s": self.params.transactions as f64 / self.cpu_s,
            "trace_hash": self.trace_hash,
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let params = &self.params;
        writeln!(
            f,
            "{}: λ = {}, h = {}, k = {}, {} arrivals, seed {}; {} transactions, {} of them judged",
            self.label(),
            params.lambda,
            params.h,
            params.k,
            params.arrivals,
            params.seed,
            params.transactions,
            self.judged()
        )?;
        writeln!(
            f,
            "  tips {:.2} ± {:.2}; visible {:.2} ± {:.2}; revealed {:.2}",
            self.mean_tips,
            self.tips_sd,
            self.visible_tips_mean,
            self.visible_tips_sd,
            self.revealed_tips_mean
        )?;
        let quantile = |part| self.first_approval.quantile(part).unwrap_or(f64::NAN);
        writeln!(
            f,
            "  first approval after {:.4} (p50 {:.4}, p90 {:.4}, p99 {:.4}, longest {:.4}); never approved {:.4} %",
            self.first_approval.mean(),
            quantile(0.5),
            quantile(0.9),
            quantile(0.99),
            self.first_approval.longest(),
            100.0 * self.never_approved_share()
        )?;
        let shares = self.direct_approvers.iter().map(|count| *count as f64 / self.judged() as f64);
        let shares: Vec<String> = shares
            .take(2 * params.k + 4)
            .enumerate()
            .map(|(n, share)| format!("{n}: {:.2} %", 100.0 * share))
            .collect();
        writeln!(f, "  direct approvers {}", shares.join(", "))?;
        match self.cumulative_weight.last() {
            Some((age, weight)) => {
                writeln!(
                    f,
                    "  cumulative weight {weight:.1} at age {age:.2}, mean of {} transactions",
                    self.tagged
                )?;
            }
            None => {
                writeln!(f, "  cumulative weight: the run is too short to follow a transaction to its end")?;
            }
        }
        let is_uniform = params.tips == Selection::Uniform;
        let whose = if is_uniform { "" } else { " of uniform selection" };
        writeln!(f, "  beside the theory{whose}: measured, expected, deviation")?;
        for relation in &self.theory {
            writeln!(
                f,
                "    {:<58} {:>12.4} {:>12.4} {:>+8.2} %  {}",
                relation.name,
                relation.measured,
                relation.expected,
                100.0 * relation.deviation,
                relation.source
            )?;
        }
        writeln!(f, "  {}", theory::SOURCES)?;
        let rate = params.transactions as f64 / self.cpu_s;
        write!(
            f,
            "  {:.3} s of CPU, {rate:.0} transactions a CPU-second; trace {}",
            self.cpu_s, self.trace_hash
        )
    }
}
