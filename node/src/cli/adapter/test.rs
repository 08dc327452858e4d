//! `selvedge adapter test`: what the devices say, decoded, before anything is signed.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use edge_adapters::{Clock, DeviceSnapshot, Source, SystemClock, Trial, TrialEvent};

use super::parse_duration;
use crate::answers::times::plain;
use crate::cli::{Failed, Globals, start_log};
use crate::config;

pub(super) const AFTER_HELP: &str = "\
Examples:
  selvedge adapter test --data ./g1                 all devices, ten seconds
  selvedge adapter test filler-plc --for 3s --data ./g1
  selvedge adapter test --config other.toml --json

It connects, reads, decodes and prints. Nothing is signed, stored or written to a device, and no gateway needs to run. \
A Sparkplug host also asks edge nodes for their births, unless the table says rebirth = false. \
With a broker (mqtt) it looks on as a client of its own: what a running gateway waits for still reaches it.

Exit codes: 0 every device gave a good reading; 1 one gave none: it did not answer, or all that it said was uncertain, \
stale, bad or not available (such as retained messages without a time); 2 the configuration is wrong or cannot be read.";

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this device.
    device: Option<String>,
    /// For how long.
    #[arg(long = "for", default_value = "10s", value_parser = parse_duration, value_name = "DURATION")]
    duration: Duration,
    /// Configuration; that of the data folder if not given.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs it.
pub(super) fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    start_log("error");
    let path = args.config.unwrap_or_else(|| globals.data.join("selvedge.toml"));
    let settings = config::load(&path)?;
    let devices = chosen(settings.devices, args.device.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let without = runtime.block_on(read_all(devices, args.duration, globals.json))?;
    if without.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failed(without_words(&without)).into())
}

/// Which devices gave no good reading, and whether they gave any.
fn without_words(without: &[DeviceSnapshot]) -> String {
    let (some, none): (Vec<_>, Vec<_>) = without.iter().partition(|device| device.readings > 0);
    let names = |devices: &[&DeviceSnapshot]| {
        devices.iter().map(|device| device.device.as_str()).collect::<Vec<_>>().join(", ")
    };
    let mut words = Vec::new();
    if !none.is_empty() {
        words.push(format!("no good reading from {}, nor any other", names(&none)));
    }
    if !some.is_empty() {
        words.push(format!("no good reading from {}, only others", names(&some)));
    }
    words.join("; ")
}

fn chosen(devices: Vec<Arc<dyn Source>>, only: Option<&str>) -> anyhow::Result<Vec<Arc<dyn Source>>> {
    anyhow::ensure!(!devices.is_empty(), "the configuration has no [[device]]; put one in");
    let Some(only) = only else { return Ok(devices) };
    let names: Vec<String> = devices.iter().map(|d| d.device().to_owned()).collect();
    let found: Vec<_> = devices.into_iter().filter(|d| d.device() == only).collect();
    anyhow::ensure!(!found.is_empty(), "no device {only:?}; the configuration has {}", names.join(", "));
    Ok(found)
}

/// Reads all devices at once. Returns those that gave no good reading.
async fn read_all(
    devices: Vec<Arc<dyn Source>>,
    duration: Duration,
    json: bool,
) -> anyhow::Result<Vec<DeviceSnapshot>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (lines, mut printed) = tokio::sync::mpsc::channel(64);
    let mut tasks = Vec::new();
    for device in devices {
        let lines = lines.clone();
        let trial = Trial::start(device, duration, &clock);
        tasks.push(tokio::spawn(async move { read_one(trial, json, &lines).await }));
    }
    drop(lines);
    let mut out = std::io::stdout().lock();
    while let Some(line) = printed.recv().await {
        if writeln!(out, "{line}").is_err() {
            // Nobody reads any more.
            break;
        }
    }
    let mut without = Vec::new();
    for task in tasks {
        let device = task.await.context("a device's task failed")?;
        if device.last_good_ns.is_none() {
            without.push(device);
        }
    }
    Ok(without)
}

/// How the device is at the end.
async fn read_one(mut trial: Trial, json: bool, lines: &tokio::sync::mpsc::Sender<String>) -> DeviceSnapshot {
    while let Some(event) = trial.next().await {
        let device = trial.snapshot().device;
        let line = match &event {
            TrialEvent::Device(snapshot) => device_line(snapshot, json),
            TrialEvent::Reading(reading) => reading_line(&device, reading, json),
        };
        if lines.send(line).await.is_err() {
            break;
        }
    }
    let snapshot = trial.snapshot();
    // Nobody may be reading any more.
    let _ = lines.send(summary_line(&snapshot, json)).await;
    snapshot
}

fn device_line(device: &DeviceSnapshot, json: bool) -> String {
    if json {
        return serde_json::json!({ "device": device.device, "state": device.state, "error": device.error })
            .to_string();
    }
    // What stands in it may be a server's own words.
    let why = device.error.as_ref().map_or(String::new(), |why| format!(": {}", plain(why)));
    format!("{} at {} is {}{why}", device.device, device.address, device.state.name())
}

fn reading_line(device: &str, reading: &edge_adapters::trial::DecodedReading, json: bool) -> String {
    let time = crate::answers::shown::Time(reading.source_time_ns);
    if json {
        let raw = crate::answers::shown::Scalar::raw(&reading.raw);
        return serde_json::json!({
            "device": device, "stream": reading.stream, "value": reading.value, "word": reading.word, "unit": reading.unit,
            "raw": raw,
            "quality": reading.quality.name(), "status": reading.status,
            "source_time": time.to_string(),
            "receive_time": crate::answers::shown::Time(reading.receive_time_ns).to_string(),
        })
        .to_string();
    }
    let unit = selvedge_proof::unit_text(&reading.unit);
    let status = if reading.status == 0 { String::new() } else { format!(" status {}", reading.status) };
    format!(
        "{time} (received {:+.3} s)  {:<32} {:>14} {unit:<8} {}{status}  raw {}",
        // How old it was when it came; below zero where the source's clock is ahead.
        reading.receive_time_ns.saturating_sub(reading.source_time_ns) as f64 / 1e9,
        reading.stream,
        reading.word.clone().unwrap_or_else(|| reading.value.to_string()),
        reading.quality.name(),
        crate::answers::shown::Scalar::raw(&reading.raw).words()
    )
}

fn summary_line(device: &DeviceSnapshot, json: bool) -> String {
    if json {
        return serde_json::json!({ "device": device.device, "summary": device }).to_string();
    }
    if let Some(figures) = &device.messages {
        return format!(
            "{}: {} messages, {} on topics without a stream, {} readings, {} of them bad",
            device.device, figures.messages, figures.unmatched, device.readings, figures.undecodable
        );
    }
    format!(
        "{}: {} polls, {} requests, {} answers, {} readings; round trip {:.1} ms on average",
        device.device,
        device.polls,
        device.requests,
        device.answers,
        device.readings,
        device.round_trip.mean_us as f64 / 1_000.0
    )
}

#[cfg(test)]
mod tests {
    use edge_adapters::Health;

    use super::*;

    /// A broker that was up, with one retained message without a time, ended with 1 and "no good reading": a script took the
    /// broker for dead. What ends with 1 is said, and whether anything came.
    #[test]
    fn what_was_missing_is_said() {
        let device = |name: &str, readings| {
            let health = Health::new(name, "mqtt", "b:1883".into(), Arc::new(SystemClock));
            DeviceSnapshot { readings, ..health.figures() }
        };
        assert_eq!(
            without_words(&[device("a", 0), device("b", 0)]),
            "no good reading from a, b, nor any other"
        );
        assert_eq!(
            without_words(&[device("a", 3), device("b", 0)]),
            "no good reading from b, nor any other; no good reading from a, only others"
        );
        assert!(AFTER_HELP.contains("0 every device gave a good reading; 1 one gave none"));
    }
}
