//! All attacks on one honest pair, as a Markdown table: what it tried, what it got, what it cost.

use std::fmt::Write as _;
use std::time::Duration;

use clap::ValueEnum as _;

use super::attack::Attack;
use super::pair::Pair;
use super::trial::{self, Outcome, Plan};

/// The member that watches, where an attack has an observer.
pub const OBSERVER: &str = "observer";
/// The processor time of a pair that nobody attacks is measured for this long.
const BASELINE: Duration = Duration::from_secs(8);
/// Lines of the log that are shown on demand.
const LINES_SHOWN: usize = 30;
/// Reasons shown.
const REASONS: usize = 4;

/// How many of what each attack counts, when it is not to be cut short by that.
fn count(attack: Attack, connections: u64) -> u64 {
    match attack {
        Attack::Strangers => connections,
        Attack::GarbageSignatureFirst => 8,
        Attack::HalfOpen => 100_000,
        Attack::WrongHandshakes => 40,
        _ => u64::MAX,
    }
}

/// Strangers come in their number, however long that takes.
fn seconds(attack: Attack, seconds: f64) -> f64 {
    match attack {
        Attack::Strangers => 1_200.0,
        // A hello that never comes is waited for ten seconds.
        Attack::NoHello => seconds.max(14.0),
        _ => seconds,
    }
}

/// Carries out all of them and writes the table.
///
/// # Panics
/// When the honest pair does not go on working.
pub fn table(seed: u64, connections: u64, for_seconds: f64, only: &[Attack], show: bool) -> String {
    let is_wanted = |attack: &&Attack| only.is_empty() || only.contains(attack);
    let attacks: Vec<Attack> = Attack::value_variants().iter().filter(is_wanted).copied().collect();
    let names: Vec<String> = attacks.iter().map(|attack| attack.name()).collect();
    let mut members: Vec<&str> = names.iter().map(String::as_str).collect();
    members.push(OBSERVER);
    let mut pair = Pair::start(seed, &members);
    let baseline = trial::baseline(&mut pair, BASELINE);
    let before = pair.gateways().iter().map(|g| super::cost::rss(g.pid())).max().unwrap_or(0);
    let mut out = head(seed, &baseline, before);
    let (apart, attacks): (Vec<_>, Vec<_>) =
        attacks.into_iter().partition(|attack| *attack == Attack::ManyBodies);
    for attack in attacks {
        eprintln!("{} …", attack.name());
        let plan = Plan::new(attack, count(attack, connections), seconds(attack, for_seconds));
        let outcome = trial::attack(&mut pair, &plan);
        pair.agree();
        if show {
            let end = &outcome.log[outcome.log.len().saturating_sub(LINES_SHOWN)..];
            eprintln!("{}\n{}\n{}", outcome.said, outcome.peers, end.join("\n"));
        }
        out.push_str(&row(&outcome, &baseline));
    }
    let ids = pair.end();
    for attack in apart {
        // On a pair of its own: what is at one place in excess need not be on both sides.
        let mut pair = Pair::start(seed, &members);
        let plan = Plan::new(attack, count(attack, connections), for_seconds).observed_by(OBSERVER);
        out.push_str(&row(&trial::attack(&mut pair, &plan), &baseline));
    }
    // Writing to a string cannot fail.
    let _ = writeln!(out, "\nAt the end both gateways held the same {} transactions.", ids.len());
    out
}

fn head(seed: u64, baseline: &[f64], rss: u64) -> String {
    let cpu: Vec<String> = baseline.iter().map(|rate| format!("{:.1} %", rate * 100.0)).collect();
    format!(
        "Seed {seed}. Two honest gateways that read a Modbus device; without an attack they use {} of a processor and at \
         most {} MiB. Processor time is that of the busier gateway during the attack, and how many times its share without \
         one; memory is the most that either held; the last column is the longest that a new transaction took to \
         the other gateway meanwhile, as the command line shows it.\n\n\
         | attack | what it tried | what it got | processor | memory | named in, counted in `peers` | crossing |\n\
         |---|---|---|---|---|---|---|\n",
        cpu.join(" and "),
        rss >> 20,
    )
}

fn row(outcome: &Outcome, baseline: &[f64]) -> String {
    let (frames, bytes) = (outcome.number("/tried/frames"), outcome.number("/tried/bytes"));
    let connections = outcome.number("/tried/connections");
    let reasons = outcome.reasons();
    let shown = reasons.iter().take(REASONS).map(|(why, count)| format!("{count}× {}", cell(why)));
    let got: Vec<String> = shown.collect();
    let busier = outcome.cpu.iter().zip(baseline).max_by(|a, b| a.0.total_cmp(b.0));
    let (cpu, ratio) = busier.map_or((0.0, 0.0), |(cpu, base)| (*cpu, cpu / base.max(0.001)));
    let memory = outcome.rss_most.iter().max().copied().unwrap_or(0) >> 20;
    let named = named(outcome);
    let said = outcome.said["said"].as_object().map(|said| {
        let short = |(name, value): (&String, &serde_json::Value)| {
            value.as_u64().map(|value| format!("; {} {value}", name.replace('_', " ")))
        };
        said.iter().filter_map(short).collect::<String>()
    });
    format!(
        "| {}: {} | {connections} connections, {frames} frames, {:.1} MB{} | {} | {:.0} %, {ratio:.1}× | {memory} MiB | {named} | \
         {:.1} s |\n",
        outcome.plan.attack.name(),
        outcome.plan.attack.words(),
        bytes as f64 / 1e6,
        said.unwrap_or_default(),
        got.join("; "),
        cpu * 100.0,
        outcome.crossing.as_secs_f64(),
    )
}

/// Where a gateway names what was wrong, and what it counted.
fn named(outcome: &Outcome) -> String {
    let phrase = outcome.plan.attack.named();
    let place = if phrase.is_empty() { "" } else { outcome.named_where(phrase) };
    let counted = outcome.counted();
    let parts = [place, &counted].into_iter().filter(|part| !part.is_empty());
    let words = parts.collect::<Vec<_>>().join("; ");
    format!("{words} ({} kB of log)", outcome.log_bytes().div_ceil(1_000))
}

/// Text that stays in its cell.
fn cell(text: &str) -> String {
    let cut: String = text.chars().take(110).collect();
    cut.replace('|', "/").replace('\n', " ")
}
