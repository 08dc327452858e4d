//! Figure 10: two connected gateways with nothing to say.
//!
//! Digests begin at 2 s after the last change and come half as often each time, down to one in 10 minutes; so a minute
//! that holds the first ones, times sixty, is no hour. Two windows are measured, one after the other, and the rest of the
//! hour counts at the rate of the second, in which a digest is still ten times as frequent as at rest. Nothing becomes
//! more frequent later, so what is shown is a bound from above. Beside it stands the true hour, in the simulator's time:
//! frames alone, without QUIC.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use selvedge::net::NetHandle;

use crate::cpu::{self, Samples};
use crate::figure::{Figure, Goal, Report, number};
use crate::network::{self, FIRST_PEER, MEASURED};
use crate::plan::Plan;

/// Seconds of each window: a little over three times QUIC's keep-alive. After [`SETTLED`] the first holds the digests at
/// 6, 14, 30 and 62 s, and the second the one at 126 s.
const WINDOW_S: usize = 62;
/// The handshake and the greeting are over.
const SETTLED: Duration = Duration::from_secs(4);
/// Bytes of the headers of IPv4 and UDP.
const HEADERS_BYTES: u64 = 28;

/// # Errors
/// When the two do not connect, or the link does not stay up.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Report> {
    let window = Duration::from_secs(plan.size(WINDOW_S, 1) as u64);
    let place = plan.folder()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let seen = runtime.block_on(async {
        let first = network::start(&network::folder(&place.path().join("a"), MEASURED)?, &[]).await?;
        let to = first.network_address().context("it listens")?.to_string();
        let second = network::start(&network::folder(&place.path().join("b"), FIRST_PEER)?, &[to]).await?;
        let handles = [first.network().context("it has a network")?, second.network().context("so has it")?];
        let started = std::time::Instant::now();
        while handles.iter().any(|h| h.status().links.is_empty()) {
            ensure!(started.elapsed() < Duration::from_secs(30), "the two did not connect");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(SETTLED).await;
        let mut seen = vec![Seen::now(&handles)?];
        for _ in 0..2 {
            tokio::time::sleep(window).await;
            seen.push(Seen::now(&handles)?);
        }
        first.stop().await?;
        second.stop().await?;
        Ok(seen)
    })?;
    report(plan, &seen, window.as_secs_f64())
}

/// What has been counted so far.
#[derive(Debug)]
struct Seen {
    /// Of both gateways, which share this process.
    cpu_s: f64,
    /// The same, bytes.
    written: u64,
    /// Of the one that was dialled, and of the one that dialled and keeps the connection alive: UDP payload.
    sent: [u64; 2],
    /// The same with headers.
    on_the_wire: [u64; 2],
    frames: [u64; 2],
}

impl Seen {
    fn now(handles: &[NetHandle; 2]) -> anyhow::Result<Self> {
        let (cpu_s, written) = (cpu::process(), written()?);
        let mut seen = Self { cpu_s, written, sent: [0; 2], on_the_wire: [0; 2], frames: [0; 2] };
        for (at, handle) in handles.iter().enumerate() {
            let status = handle.status();
            let [link] = &status.links[..] else {
                anyhow::bail!("the link did not stay up: {} links", status.links.len())
            };
            seen.sent[at] = link.bytes_sent;
            seen.on_the_wire[at] = link.bytes_sent + HEADERS_BYTES * link.packets_sent;
            seen.frames[at] = link.frames_sent;
        }
        Ok(seen)
    }
}

fn report(plan: &Plan, seen: &[Seen], window_s: f64) -> anyhow::Result<Report> {
    let [begun, middle, ended] = seen else { anyhow::bail!("two windows are measured") };
    let digests = [0, 1].map(|at| ended.frames[at] - middle.frames[at]);
    ensure!(
        plan.smoke || !digests.contains(&0),
        "no digest fell into the second window: it says nothing about an hour"
    );
    let hour = |count: &dyn Fn(&Seen) -> u64| {
        let (first, second) = (count(middle) - count(begun), count(ended) - count(middle));
        first as f64 + second as f64 * (3_600.0 - window_s) / window_s
    };
    let sent = [0, 1].map(|at| hour(&|s| s.sent[at]) / 1_000.0);
    let on_the_wire = [0, 1].map(|at| hour(&|s| s.on_the_wire[at]) / 1_000.0);
    let written = hour(&|s| s.written) / 2.0 / 1_048_576.0;
    let cpu = (ended.cpu_s - begun.cpu_s) / (2.0 * window_s) / 2.0 * 100.0;
    let figure = |part, unit, value: f64, most| {
        Figure::of(10, part, unit, &[value].into_iter().collect::<Samples>())
            .against("the goal", most)
            .goal(Goal::Measured(most))
    };
    let mut report = Report::default();
    report.figures.push(figure("idle: CPU", "% of a core", cpu, 0.5));
    let most_sent = sent[0].max(sent[1]);
    report.figures.push(figure("idle: sent on a connection in an hour", "kB", most_sent, 25.0));
    report.figures.push(figure("idle: written in an hour", "MiB", written, 1.0));
    report.notes.push(format!(
        "10: two windows of {window_s} s measured, the rest of the hour at the rate of the second (a bound from above); sent \
         by the dialled {} kB, by the one that dials {} kB, with IP and UDP headers {} and {} kB",
        number(sent[0]),
        number(sent[1]),
        number(on_the_wire[0]),
        number(on_the_wire[1]),
    ));
    report.notes.push(format!(
        "10: a true hour of two gateways at rest in the simulator's time: {} kB of frames, both ways together",
        number(virtual_hour(plan)? as f64 / 1_000.0)
    ));
    Ok(report)
}

/// Bytes of frames on the link of two simulated gateways, both ways, in an hour in which nothing happens.
fn virtual_hour(plan: &Plan) -> anyhow::Result<u64> {
    let load_us = plan.size(10, 2) as u64 * 1_000_000;
    let outcome = selvedge_sim::run(&selvedge_sim::Plan::calm(1, 2, load_us));
    Ok(outcome.map_err(|failure| anyhow::anyhow!("{failure}"))?.quiet_bytes_per_link)
}

/// Bytes that this process had written to disks.
fn written() -> anyhow::Result<u64> {
    let io = std::fs::read_to_string("/proc/self/io")?;
    let line = io.lines().find(|l| l.starts_with("write_bytes:")).context("write_bytes")?;
    Ok(line.split_whitespace().nth(1).context("a number")?.parse()?)
}
