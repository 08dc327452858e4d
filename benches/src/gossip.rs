//! Figures 2 and 7: transactions received from peers, against the check of their signatures alone; and the memory of a
//! connection (figure 8).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use selvedge::gateway::Gateway;
use selvedge_crypto::default_verifier;

use crate::adapters::memory::status_kib;
use crate::cpu::{self, Samples};
use crate::figure::{Figure, Goal, Report, number};
use crate::network::{self, FIRST_PEER, MEASURED, Peer, Tangle};
use crate::plan::Plan;

/// A bench that gets no further in this time has failed.
const STUCK: Duration = Duration::from_mins(5);

/// Figure 2: received on one link, verified, stored, attached, forwarded on another.
///
/// # Errors
/// When not all of them were attached and durable.
pub(crate) fn receive(plan: &Plan) -> anyhow::Result<Report> {
    let transactions = plan.size(20_000, 200);
    let mut round = |report: &mut Report| -> anyhow::Result<(f64, f64)> {
        let place = plan.folder()?;
        let folder = network::folder(&place.path().join("g"), MEASURED)?;
        runtime()?.block_on(async {
            let gateway = network::start(&folder, &[]).await?;
            let to = gateway.network_address().context("it listens")?.to_string();
            let sink = peer(&["crowd", &to, "1", "2"])?;
            let mut feeder = peer(&["feed", &to, &transactions.to_string()])?;
            feeder.line()?;
            let verify = verify_alone(plan)?;
            let (before, threads) = (cpu::process(), by_thread()?);
            feeder.go()?;
            attached(&gateway, transactions).await?;
            let spent = (cpu::process() - before) / transactions as f64 * 1e6;
            report.notes = vec![stages("2", &threads, &by_thread()?, transactions), memory(&gateway)?];
            drop((feeder, sink));
            gateway.stop().await?;
            Ok((spent, verify))
        })
    };
    measure(plan, 2, "received, stored, attached, forwarded", 1.0 / 0.65, &mut round)
}

/// Figure 7: a node that starts empty catches up.
///
/// # Errors
/// When not all of them were attached and durable.
pub(crate) fn join(plan: &Plan) -> anyhow::Result<Report> {
    let transactions = plan.size(100_000, 300);
    let filled = plan.folder()?;
    let path = filled.path().join("g");
    let folder = network::folder(&path, FIRST_PEER)?;
    network::fill(&folder, transactions)?;
    let mut round = |report: &mut Report| -> anyhow::Result<(f64, f64)> {
        let place = plan.folder()?;
        let folder = network::folder(&place.path().join("g"), MEASURED)?;
        let mut server = peer(&["serve", &path.display().to_string()])?;
        let address = server.line()?;
        runtime()?.block_on(async {
            let verify = verify_alone(plan)?;
            let (before, threads, started) = (cpu::process(), by_thread()?, Instant::now());
            let gateway = network::start(&folder, &[address]).await?;
            attached(&gateway, transactions).await?;
            let spent = (cpu::process() - before) / transactions as f64 * 1e6;
            let rate = transactions as f64 / started.elapsed().as_secs_f64();
            report.notes = vec![stages("7", &threads, &by_thread()?, transactions)];
            report.notes.push(format!("7: {} transactions a second by the clock", number(rate)));
            gateway.stop().await?;
            Ok((spent, verify))
        })
    };
    measure(plan, 7, "a node that joins: catch-up", 1.0 / 0.7, &mut round)
}

type Round<'a> = &'a mut dyn FnMut(&mut Report) -> anyhow::Result<(f64, f64)>;

fn measure(
    plan: &Plan,
    figure: u32,
    part: &'static str,
    most: f64,
    round: Round<'_>,
) -> anyhow::Result<Report> {
    let (mut report, mut spent, mut verify) = (Report::default(), Samples::default(), Samples::default());
    for _ in 0..plan.size(3, 1) {
        let (whole, alone) = round(&mut report)?;
        spent.add(whole);
        verify.add(alone);
    }
    let figure = Figure::of(figure, part, "CPU-us", &spent)
        .against("ML-DSA-44 verification alone", verify.median())
        .goal(Goal::Ratio((most * 100.0).round() / 100.0));
    report.figures.push(figure);
    Ok(report)
}

/// Memory of a connection.
///
/// # Errors
/// When the peers do not connect.
pub(crate) fn connections(plan: &Plan) -> anyhow::Result<Report> {
    const PEERS: u64 = 8;
    let mut samples = Samples::default();
    let mut whole = Samples::default();
    for _ in 0..plan.size(3, 1) {
        let place = plan.folder()?;
        let folder = network::folder(&place.path().join("g"), MEASURED)?;
        runtime()?.block_on(async {
            let gateway = network::start(&folder, &[]).await?;
            let to = gateway.network_address().context("it listens")?.to_string();
            // The first one brings what all share.
            let first = peer(&["crowd", &to, "1", "1"])?;
            connected(&gateway, 1).await?;
            let before = status_kib("VmRSS:")?;
            let rest = peer(&["crowd", &to, &(PEERS - 1).to_string(), "2"])?;
            connected(&gateway, PEERS as usize).await?;
            let after = status_kib("VmRSS:")?;
            samples.add(after.saturating_sub(before) as f64 / (PEERS - 1) as f64);
            whole.add(after as f64 / 1024.0);
            drop((first, rest));
            gateway.stop().await
        })?;
    }
    let mut report = Report::default();
    let figure = Figure::of(8, "memory of one more idle connection", "KiB", &samples);
    report.figures.push(figure.against("64 MiB among 64 peers", 1_024.0).goal(Goal::Ratio(1.0)));
    report.notes.push(format!("8: the whole process with 8 idle peers: {} MiB", number(whole.median())));
    Ok(report)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn peer(arguments: &[&str]) -> anyhow::Result<Peer> {
    let mut peer = Peer::start(&arguments.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>())?;
    if arguments[0] == "crowd" {
        peer.line()?;
    }
    Ok(peer)
}

/// CPU microseconds of one check, by the verifier that the daemon uses.
fn verify_alone(plan: &Plan) -> anyhow::Result<f64> {
    let (mut tangle, verifier) = (Tangle::new()?, default_verifier());
    let count = plan.size(2_000, 20);
    let checks: Vec<_> = (0..count)
        .map(|n| {
            let envelope = tangle.next(n)?;
            tangle.message_of(&envelope)
        })
        .collect::<anyhow::Result<_>>()?;
    let before = cpu::thread();
    for (at, message, signature) in &checks {
        let valid = verifier.verify(tangle.signer(*at).public_key(), message, signature);
        ensure!(valid, "a signature of ours does not hold");
    }
    Ok((cpu::thread() - before) / count as f64 * 1e6)
}

/// Waits until so many transactions are attached and durable.
async fn attached(gateway: &Gateway, transactions: usize) -> anyhow::Result<()> {
    let started = Instant::now();
    let reader = gateway.reader();
    loop {
        let live = gateway.live().borrow().ledger.attached;
        if live >= transactions as u64 && reader.next_number()? >= transactions as u64 {
            return Ok(());
        }
        ensure!(started.elapsed() < STUCK, "{live} of {transactions} are attached");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn connected(gateway: &Gateway, peers: usize) -> anyhow::Result<()> {
    let (started, handle) = (Instant::now(), gateway.network().context("it has a network")?);
    while handle.status().links.len() < peers {
        ensure!(started.elapsed() < STUCK, "{} of {peers} peers are connected", handle.status().links.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Handshakes leave garbage that the next second gives back.
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(())
}

fn memory(gateway: &Gateway) -> anyhow::Result<String> {
    let peers = gateway.network().map_or(0, |n| n.status().links.len());
    Ok(format!(
        "2: resident after the load, {peers} peers: {} MiB",
        number(status_kib("VmRSS:")? as f64 / 1024.0)
    ))
}

/// CPU seconds by the name of the thread.
fn by_thread() -> anyhow::Result<BTreeMap<String, f64>> {
    let mut seconds = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        let (Ok(name), Ok(stat)) =
            (std::fs::read_to_string(path.join("comm")), std::fs::read_to_string(path.join("schedstat")))
        else {
            continue;
        };
        let nanoseconds: f64 = stat.split_whitespace().next().unwrap_or("0").parse()?;
        *seconds.entry(stage_of(name.trim())).or_insert(0.0) += nanoseconds / 1e9;
    }
    Ok(seconds)
}

fn stage_of(thread: &str) -> String {
    let stage = match thread {
        t if t.starts_with("selvedge-core") => "core (codec, checks, gossip rules)",
        t if t.starts_with("selvedge-work") => "workers (verification)",
        t if t.starts_with("selvedge-net") => "network (QUIC, frames)",
        t if t.starts_with("selvedge-co") || t.starts_with("selvedge-st") => "store",
        _ => "other",
    };
    stage.to_owned()
}

fn stages(
    figure: &str,
    before: &BTreeMap<String, f64>,
    after: &BTreeMap<String, f64>,
    transactions: usize,
) -> String {
    let spent = after.iter().map(|(stage, seconds)| {
        let spent = seconds - before.get(stage).copied().unwrap_or(0.0);
        format!("{stage} {} us", number(spent / transactions as f64 * 1e6))
    });
    format!("{figure}: CPU of a transaction: {}", spent.collect::<Vec<_>>().join(", "))
}
