//! Traces that are kept in a file: a machine on which one differs does not run the same ledger.

use std::fmt::Write as _;

use crate::network::delay::Delay;
use crate::network::params::{Params, Tips};
use crate::network::units::{Rate, Span};
use crate::network::{self, workload};
use crate::plan::Plan;
use crate::report::Failure;
use crate::run;

/// Seeds with every fault.
const FAULTY: [u64; 4] = [1, 2, 3, 4];
/// Seed of the calm run.
const CALM: u64 = 1;

/// A line for each run: kind, seed, trace hash.
///
/// # Errors
/// When a check of one of them does not hold.
pub fn traces() -> Result<String, Failure> {
    let mut lines = String::new();
    let calm = run(&Plan::calm(CALM, 3, 10_000_000))?;
    // Writing to a string cannot fail.
    let _ = writeln!(lines, "calm {CALM} {}", calm.trace_hash);
    for seed in FAULTY {
        let _ = writeln!(lines, "faulty {seed} {}", run(&Plan::faulty(seed))?.trace_hash);
    }
    let named = |params: Params| (format!("network of {}", params.gateways), params);
    let drawn = DELAYS.map(|delay| (delay.to_owned(), delayed(delay)));
    let walk = ("tips walk:0.01".to_owned(), walking());
    for (name, params) in [small_network(), ten_gateways()].map(named).into_iter().chain(drawn).chain([walk])
    {
        let failure = |what: String| Failure::new(params.seed, None, None, what.into());
        let measured = network::measure(&params, &mut |_| {}).map_err(|why| failure(why.to_string()))?;
        if !measured.ledgers_equal {
            return Err(failure("the ledgers of the network differ at its end".to_owned()));
        }
        let _ = writeln!(lines, "{name} {} {}", params.seed, measured.trace_hash);
    }
    Ok(lines)
}

/// `selvedge-sim network --gateways 10 --delay uniform:50ms..100ms --rate 10/s --for 20s --seed 1`.
fn ten_gateways() -> Params {
    let mut params = Params { gateways: 10, load: Span::from_s(20), seed: 1, ..Params::default() };
    params.workload = workload::Workload { rate: Rate::per_s(10), ..params.workload };
    params.link.delay = Delay::Uniform { low: Span::from_ms(50), high: Span::from_ms(100) };
    params
}

/// Delays whose draws need logarithms and powers: where those come from differs from machine to machine, unless they come
/// from `libm`.
const DELAYS: [&str; 3] = ["normal:80ms~40ms,min=20ms", "pareto:20ms,1.5", "lognormal:60ms,0.5"];

/// A small network with these delays.
fn delayed(delay: &str) -> Params {
    let mut params = Params { load: Span::from_s(3), ..small_network() };
    params.link.delay = delay.parse().expect("a delay of the table above");
    params
}

/// A small network that selects tips by weighted walks, whose steps need exponentials.
fn walking() -> Params {
    Params { load: Span::from_s(3), tips: Tips::Walk { alpha: 0.01 }, ..small_network() }
}

/// Six gateways over links that lose and delay, long enough for batches, notes, wants and digests.
fn small_network() -> Params {
    let mut params = Params { gateways: 6, load: Span::from_s(5), ..Params::default() };
    params.workload = workload::Workload { rate: Rate::per_s(20), ..params.workload };
    params.link.loss.ppm = 20_000;
    params
}
