//! Figure 10: two connected gateways with nothing to say. A minute is measured and scaled to an hour; the first minute
//! holds more digests than any later one, so the hour comes out too high.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::cpu::{self, Samples};
use crate::figure::{Figure, Goal, Report};
use crate::network::{self, FIRST_PEER, MEASURED};
use crate::plan::Plan;

/// # Errors
/// When the two do not connect.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Report> {
    let span = Duration::from_secs(plan.size(60, 2) as u64);
    let place = plan.folder()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let first = network::start(&network::folder(&place.path().join("a"), MEASURED)?, &[]).await?;
        let to = first.network_address().context("it listens")?.to_string();
        let second = network::start(&network::folder(&place.path().join("b"), FIRST_PEER)?, &[to]).await?;
        let handle = first.network().context("it has a network")?;
        let started = std::time::Instant::now();
        while handle.status().links.is_empty() {
            ensure!(started.elapsed() < Duration::from_secs(30), "the two did not connect");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (cpu_before, sent_before, written_before) = (cpu::process(), sent(&handle), written()?);
        tokio::time::sleep(span).await;
        let scale = 3_600.0 / span.as_secs_f64();
        // Two gateways share this process.
        let cpu = (cpu::process() - cpu_before) / span.as_secs_f64() / 2.0 * 100.0;
        let bytes = (sent(&handle) - sent_before) as f64 * scale / 1_000.0;
        let written = (written()? - written_before) as f64 * scale / 2.0 / 1_048_576.0;
        ensure!(handle.status().links.len() == 1, "the link did not stay up");
        first.stop().await?;
        second.stop().await?;
        let figure = |part, unit, value: f64, most| {
            Figure::of(10, part, unit, &[value].into_iter().collect::<Samples>())
                .against("the goal", most)
                .goal(Goal::Measured(most))
        };
        let mut report = Report::default();
        report.figures.push(figure("idle: CPU", "% of a core", cpu, 0.5));
        report.figures.push(figure("idle: sent on a connection in an hour", "kB", bytes, 25.0));
        report.figures.push(figure("idle: written in an hour", "MiB", written, 1.0));
        report.notes.push(format!("10: {} s measured, scaled to an hour", span.as_secs()));
        Ok(report)
    })
}

fn sent(handle: &selvedge::net::NetHandle) -> u64 {
    handle.status().links.iter().map(|l| l.bytes_sent).sum()
}

/// Bytes that this process had written to disks.
fn written() -> anyhow::Result<u64> {
    let io = std::fs::read_to_string("/proc/self/io")?;
    let line = io.lines().find(|l| l.starts_with("write_bytes:")).context("write_bytes")?;
    Ok(line.split_whitespace().nth(1).context("a number")?.parse()?)
}
