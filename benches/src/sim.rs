//! Figure 12: what the simulator makes in a second of CPU.
//!
//! The abstract tangle with uniform tips, λ = 100, h = 1, k = 2, against a bare loop in the same run: the same process
//! over arrays, with a generator of its own, without statistics, without a trace and without the core. The weighted walk
//! with exact weights stands beside it, against the rate that it is to reach.
//!
//! # Layout
//! [`tangle`] is the abstract half, [`network`] that about whole networks of gateways, on the shipped core.

use selvedge_sim::network::measure::Measured;
use selvedge_sim::network::params::Params as NetworkParams;
use selvedge_sim::network::units::{Rate, Size, Span};
use selvedge_sim::tangle::{self as sim, Params, Selection, theory};

use crate::cpu::{self, Samples};
use crate::figure::{Figure, Goal, Report, number};
use crate::plan::Plan;

const LAMBDA: f64 = 100.0;
/// Walks a CPU-second that are to be reached, at a tangle of [`WALKED`] transactions.
const WALKS: f64 = 9_000.0;
const WALKED: usize = 10_000;
/// Numbers that the bare loop remembers: the oldest tip is never so old (14 h of 100 transactions in a million).
const RING: usize = 1 << 13;

pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Report> {
    let mut report = tangle(plan)?;
    report.append(network(plan)?);
    Ok(report)
}

/// Whole networks of ten gateways: attachments with readings in batches, and items at the load of a peer's simulator.
fn network(plan: &Plan) -> anyhow::Result<Report> {
    let (mut attachments, mut items) = (Samples::default(), Samples::default());
    let mut notes = Vec::new();
    for round in 0..plan.rounds() as u64 {
        let batched = ten_gateways(plan, round + 1, BATCHED)?;
        attachments.add(batched.cpu_s * 1e6 / batched.attached as f64);
        let peers = ten_gateways(plan, round + 1, AS_THE_PEER)?;
        items.add(peers.cpu_s * 1e6 / peers.offered_readings as f64);
        notes = vec![format!(
            "12: ten gateways: {} attachments a CPU-second with readings batched; at 1,000 items of 512 B a second and \
             replica {} items and {} attachments a CPU-second",
            number(batched.attached as f64 / batched.cpu_s),
            number(peers.offered_readings as f64 / peers.cpu_s),
            number(peers.attached as f64 / peers.cpu_s),
        )];
    }
    let figures = vec![
        Figure::of(12, "network: an attachment", "CPU-us", &attachments)
            .against("50,000 a CPU-s", 1e6 / ATTACHMENTS)
            .goal(Goal::Ratio(1.0)),
        Figure::of(12, "network: an item of 512 B", "CPU-us", &items)
            .against("70,000 a CPU-s", 1e6 / ITEMS)
            .goal(Goal::Ratio(1.0)),
    ];
    Ok(Report { figures, notes })
}

/// Attachments a CPU-second that are to be reached.
const ATTACHMENTS: f64 = 50_000.0;
/// Items a CPU-second: what the simulator of asonnino/mysticeti makes of its load.
const ITEMS: f64 = 70_000.0;

/// Readings a second and gateway, how many come together, their bytes, and readings of a batch.
type Load = (u64, u32, u64, u32);
/// A poll of twenty registers, a hundred times a second.
const BATCHED: Load = (2_000, 20, 48, 100);
/// The peer's: about 83 items in an own block.
const AS_THE_PEER: Load = (1_000, 1, 512, 83);

/// Runs ten gateways that all know each other, 50 to 100 ms apart. The work was done: all is attached everywhere.
fn ten_gateways(plan: &Plan, seed: u64, load: Load) -> anyhow::Result<Measured> {
    let (rate, together, bytes, batch) = load;
    let mut params =
        NetworkParams { seed, load: Span::from_s(plan.size(10, 1) as u64), ..Default::default() };
    params.workload.rate = Rate::per_s(rate);
    params.workload.together = together;
    params.workload.reading = Size::of(bytes);
    params.batch.readings = batch;
    let measured = selvedge_sim::network::measure(&params, &mut |_| {});
    let measured = measured.map_err(|problem| anyhow::anyhow!("{problem}"))?;
    anyhow::ensure!(measured.ledgers_equal && measured.drained, "seed {seed}: the ledgers are not equal");
    anyhow::ensure!(
        measured.reading_attach.count() == measured.offered_readings && measured.offered_readings > 0,
        "seed {seed}: {} of {} readings are attached everywhere",
        measured.reading_attach.count(),
        measured.offered_readings
    );
    Ok(measured)
}

/// Transactions of the abstract tangle.
fn tangle(plan: &Plan) -> anyhow::Result<Report> {
    let transactions = plan.size(1_000_000, 20_000);
    let (mut uniform, mut bare, mut walk) = (Samples::default(), Samples::default(), Samples::default());
    for round in 0..plan.rounds() as u64 {
        let params = Params { seed: round + 1, transactions: transactions as u64, ..Params::default() };
        let (seconds, outcome) = cpu::seconds(|| sim::run(&params, &mut |_| {}));
        let outcome = outcome.map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        check("the simulator", outcome.mean_tips, 0.02)?;
        uniform.add(a_million(seconds, transactions));
        let (seconds, tips) = cpu::seconds(|| bare_loop(transactions, round + 1));
        // It takes no mean, only a few glances.
        check("the bare loop", tips, 0.1)?;
        bare.add(a_million(seconds, transactions));
        let walked = plan.size(WALKED, 1_000);
        let tips = Selection::Walk { alpha: 0.01 };
        let params = Params { seed: round + 1, transactions: walked as u64, tips, ..Params::default() };
        let (seconds, outcome) = cpu::seconds(|| sim::run(&params, &mut |_| {}));
        let outcome = outcome.map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        anyhow::ensure!(outcome.judged() > 0, "the walk judged no transaction");
        walk.add(a_million(seconds, walked));
    }
    let unit = "CPU-s a million";
    let figures = vec![
        Figure::of(12, "tangle: uniform tips", unit, &uniform)
            .against("a bare loop", bare.median())
            .goal(Goal::Measured(1.0)),
        Figure::of(12, "tangle: weighted walk", unit, &walk)
            .against("9,000 a CPU-s", 1e6 / WALKS)
            .goal(Goal::Ratio(1.0)),
    ];
    let rate = |samples: &Samples| number(1e6 / samples.median());
    let notes = vec![format!(
        "12: transactions a CPU-second: uniform tips {}, the bare loop {}, weighted walk over {WALKED} {}; tips within 2 % of \
         k λ h / (k − 1)",
        rate(&uniform),
        rate(&bare),
        rate(&walk),
    )];
    Ok(Report { figures, notes })
}

fn a_million(seconds: f64, transactions: usize) -> f64 {
    seconds * 1e6 / transactions as f64
}

/// The work was done: there are as many tips as there must be.
fn check(who: &str, tips: f64, within: f64) -> anyhow::Result<()> {
    let expected = theory::tips(2, LAMBDA, 1.0);
    anyhow::ensure!(
        (tips / expected - 1.0).abs() < within,
        "{who} has {tips} tips, expected about {expected}"
    );
    Ok(())
}

/// A hundred glances at the number of visible tips, their mean.
fn bare_loop(transactions: usize, seed: u64) -> f64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    // xorshift64* (Marsaglia 2003, Vigna 2016).
    let mut random = move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    };
    let (mut tips, mut places) = (vec![0_u32], vec![0_u32; RING]);
    let (mut times, mut approved) = (vec![0.0_f64; RING], vec![[0_u32; 2]; RING]);
    let (mut now, mut shown, mut glances) = (0.0, 1, 0.0);
    let each = (transactions / 200).max(1);
    for new in 1..=transactions {
        let unit = (random() >> 11) as f64 / (1_u64 << 53) as f64;
        now -= (1.0 - unit).ln() / LAMBDA;
        while shown < new && times[shown % RING] + 1.0 <= now {
            places[shown % RING] = tips.len() as u32;
            tips.push(shown as u32);
            for tip in approved[shown % RING] {
                let place = places[tip as usize % RING] as usize;
                // Covered by another before: its place holds someone else, or nobody.
                if tips.get(place) == Some(&tip) {
                    tips.swap_remove(place);
                    if let Some(moved) = tips.get(place) {
                        places[*moved as usize % RING] = place as u32;
                    }
                }
            }
            shown += 1;
        }
        let mut below = |bound: usize| ((u128::from(random()) * bound as u128) >> 64) as usize;
        let one = below(tips.len());
        let mut other = if tips.len() > 1 { below(tips.len() - 1) } else { one };
        if tips.len() > 1 && other >= one {
            other += 1;
        }
        approved[new % RING] = [tips[one], tips[other]];
        times[new % RING] = now;
        if new > transactions / 2 && new % each == 0 {
            glances += tips.len() as f64 / (transactions - transactions / 2).div_ceil(each) as f64;
        }
    }
    glances
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bare_loop_is_the_same_process() {
        let tips = bare_loop(200_000, 3);
        check("the bare loop", tips, 0.03).unwrap();
        assert!(check("nobody", 150.0, 0.1).is_err());
    }
}
