//! `replay`: one run again, as it was or with less that goes wrong.

use std::collections::BTreeSet;
use std::process::ExitCode;

use selvedge_sim::case::{Base, Case, GATEWAYS_MAX};
use selvedge_sim::network::params::Signatures;
use selvedge_sim::network::units::Span;
use selvedge_sim::plan::faults::FaultKind;
use selvedge_sim::{Failure, run};
use serde_json::json;

use super::swarm::print_shrunk;
use super::{Mutant, again, parse_load};

const EXAMPLES: &str = "Examples:
  selvedge-sim replay 1234 --trace                       a run of the swarm, step by step
  selvedge-sim replay 1234 --only loss,crash --for 5s    two kinds of faults, a shorter load
  selvedge-sim replay 1234 --gateways 3 --hostile-acts 0
  selvedge-sim replay 1234 --shrink                      a smaller run that fails alike
  selvedge-sim replay 7 --plan calm --for 20s            three gateways, only delays
  selvedge-sim replay 9 --plan many:16                   sixteen gateways

In a trace each line has the time, the gateway, and -> for what its core takes in, <- for what comes out of \
it, ** for what the world does to it. Kinds of faults: delay, loss, duplicates, partitions, work, slow-disk, \
failing-disk, full-disk, crash, clock.

Exit code 0: all checks held; 1: one did not.";

/// A list of kinds; `none` is the empty one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kinds(BTreeSet<FaultKind>);

fn parse_kinds(text: &str) -> Result<Kinds, String> {
    if text == "none" {
        return Ok(Kinds(BTreeSet::new()));
    }
    text.split(',').map(str::parse).collect::<Result<_, _>>().map(Kinds)
}

/// One run again, step by step if asked for.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct Replay {
    /// Decides every choice of the run.
    seed: u64,
    /// What the seed decides: swarm, faulty, restored (a gateway starts again from an old image), calm, many:N.
    #[arg(long, value_name = "PLAN", default_value_t = Base::Swarm)]
    plan: Base,
    /// Only these kinds of faults happen, as far as the seed has drawn them: a list, or none.
    #[arg(long, value_name = "KINDS", value_parser = parse_kinds, conflicts_with = "without")]
    only: Option<Kinds>,
    /// These kinds of faults do not happen: a list.
    #[arg(long, value_name = "KINDS", value_parser = parse_kinds)]
    without: Option<Kinds>,
    /// Gateways that the genesis names [default: from the seed].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=GATEWAYS_MAX as i64))]
    gateways: Option<u16>,
    /// Gateways that join later [default: from the seed].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=8))]
    joiners: Option<u16>,
    /// For how long readings come in, in virtual time: 20s, 2m [default: from the seed].
    #[arg(long = "for", value_parser = parse_load, value_name = "TIME")]
    load: Option<Span>,
    /// Things that hostile peers do; 0: there are no such peers [default: from the seed].
    #[arg(long, value_name = "N")]
    hostile_acts: Option<u64>,
    /// Everybody is linked to everybody, and links keep their order.
    #[arg(long)]
    plain_links: bool,
    /// Print every input and effect.
    #[arg(long)]
    trace: bool,
    /// If it fails, look for a smaller run that fails in the same way.
    #[arg(long)]
    shrink: bool,
    /// End with one JSON object on a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    mutant: Mutant,
    /// Which signatures: modelled (tokens that nobody without the secret can make) or real (ML-DSA, as shipped).
    #[arg(long, default_value_t = Signatures::Modelled)]
    signatures: Signatures,
}

impl Replay {
    fn case(&self) -> Case {
        let all = || FaultKind::ALL.into_iter();
        let without = match (&self.only, &self.without) {
            (Some(Kinds(only)), _) => all().filter(|kind| !only.contains(kind)).collect(),
            (None, Some(Kinds(without))) => without.clone(),
            (None, None) => BTreeSet::new(),
        };
        Case {
            base: self.plan,
            seed: self.seed,
            without,
            gateways: self.gateways.map(usize::from),
            joiners: self.joiners.map(usize::from),
            load_us: self.load.map(|load| load.us),
            hostile_acts: self.hostile_acts,
            plain_links: self.plain_links,
        }
    }

    pub(crate) fn run(&self) -> ExitCode {
        self.mutant.plant();
        let case = self.case();
        println!("seed {}: {}{}", self.seed, again(&case, self.signatures), self.mutant);
        let mut plan = case.plan();
        plan.signatures = self.signatures.into();
        plan.print_trace = self.trace;
        match run(&plan) {
            Ok(report) => {
                println!("{report}");
                if self.json {
                    println!("{}", report.to_json());
                }
                ExitCode::SUCCESS
            }
            Err(failure) => {
                println!("FAILED {failure}");
                if self.shrink {
                    print_shrunk(case, failure.clone(), self.signatures, self.mutant);
                }
                if self.json {
                    println!("{}", json_of(&failure));
                }
                ExitCode::FAILURE
            }
        }
    }
}

fn json_of(failure: &Failure) -> serde_json::Value {
    json!({ "seed": failure.seed, "invariant": failure.invariant.name(), "failed": failure.what })
}
