//! `selvedge adapter arm`, `disarm` and `write`: writing to a machine, which needs somebody at the gateway.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use edge_adapters::write::Arming;
use edge_adapters::{Clock, SystemClock};

use crate::api::ask::Ask;
use crate::cli::{Failed, Globals};
use crate::config;
use crate::folder::Folder;

pub(super) const ARM_HELP: &str = "\
Examples:
  selvedge adapter arm filler-plc --for 10min --data ./g1
  selvedge adapter disarm --data ./g1

Nothing is written to a machine unless three things hold: the stream has a [device.stream.write] table, the value lies
within its bounds, and the device is armed here, by a file in the data folder. Arming replaces what was armed before.

Exit codes: 0 armed; 2 no such device, or nothing of it may be written.";

pub(super) const WRITE_HELP: &str = "\
Examples:
  selvedge adapter write filler/setpoint 12.5 --data ./g1
  selvedge adapter write filler/mode '\"auto\"' --data ./g1
  selvedge adapter write filler/pump true --json

The value is JSON: a number, true, false, or a text in quotes; a word that is neither is taken as a text. It is the
scaled value, as `readings` shows it. The running gateway writes it, reads it back, and records the attempt and what
became of it in the stream NAME/write.

Exit codes: 0 written and read back; 1 refused, or not confirmed; 2 wrong arguments.";

/// Arguments of `arm`.
#[derive(Debug, clap::Args)]
pub(super) struct ArmArgs {
    /// The devices that may be written to.
    #[arg(required = true)]
    devices: Vec<String>,
    /// For how long, a day at most.
    #[arg(long = "for", default_value = "10min", value_parser = super::parse_duration, value_name = "DURATION")]
    duration: Duration,
}

/// Arguments of `write`.
#[derive(Debug, clap::Args)]
pub(super) struct WriteArgs {
    /// The stream.
    stream: String,
    /// The scaled value, as JSON.
    #[arg(allow_hyphen_values = true)]
    value: String,
    /// Who asks, for the record; the user of this process if not given.
    #[arg(long)]
    by: Option<String>,
}

pub(super) fn arm(args: &ArmArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let folder = Folder::open(&globals.data)?;
    let settings = config::load(&folder.config_path())?;
    for name in &args.devices {
        let known: Vec<&str> = settings.devices.iter().map(|device| device.device()).collect();
        let device = settings.devices.iter().find(|device| device.device() == name);
        let device = device
            .with_context(|| format!("no device {name:?}; the configuration has {}", known.join(", ")))?;
        let is_written = device.streams().iter().any(|stream| stream.write.is_some());
        anyhow::ensure!(is_written, "no stream of {name:?} has a [device.stream.write] table");
    }
    arming(&folder).arm(&args.devices, args.duration).context("the file that arms could not be written")?;
    let devices = args.devices.join(", ");
    if globals.json {
        println!(
            "{}",
            serde_json::json!({ "armed": args.devices, "for_ms": args.duration.as_millis() as u64 })
        );
    } else {
        println!("{devices} may be written to for {:?}; `selvedge adapter disarm` ends it", args.duration);
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn disarm(globals: &Globals) -> anyhow::Result<ExitCode> {
    arming(&Folder::open(&globals.data)?).disarm().context("the file that arms could not be removed")?;
    println!("{}", if globals.json { "{\"armed\":[]}" } else { "no device may be written to" });
    Ok(ExitCode::SUCCESS)
}

pub(super) fn write(args: &WriteArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let value = match serde_json::from_str::<serde_json::Value>(&args.value) {
        Ok(value) => value.to_string(),
        Err(_) => serde_json::Value::from(args.value.as_str()).to_string(),
    };
    let user = || std::env::var("USER").unwrap_or_else(|_| "unknown".into());
    let by = args.by.clone().unwrap_or_else(user);
    // Asked once only: a node that goes away half-way may have written already.
    let answer = Ask::open(&globals.data)?.write(&args.stream, &value, &by)?;
    if globals.json {
        println!("{}", serde_json::to_string(&answer)?);
    } else {
        println!("{answer}");
    }
    if answer.is_confirmed() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failed(format!("{} was not written, or nobody knows whether it was", args.stream)).into())
}

fn arming(folder: &Folder) -> Arming {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Arming::new(folder.arming_path(), clock)
}
