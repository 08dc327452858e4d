//! `selvedge adapter arm`, `disarm` and `write`: writing to a machine, which needs somebody at the gateway.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use edge_adapters::write::{Arming, user_name};
use edge_adapters::{Clock, SystemClock};

use crate::answers::write::WriteAnswer;
use crate::api::ask::Ask;
use crate::cli::{Failed, Globals};
use crate::config;
use crate::folder::Folder;

pub(super) const ARM_HELP: &str = "\
Examples:
  selvedge adapter arm filler-plc --for 10min --data ./g1
  sudo -u selvedge selvedge adapter arm filler-plc --data /var/lib/selvedge    as root, or as the gateway's own user
  selvedge adapter disarm --data ./g1

Nothing is written to a machine unless three things hold: the stream has a [device.stream.write] table, the value lies \
within its bounds, and the device is armed here, by a file in the data folder. Arming replaces what was armed before.

Exit codes: 0 armed; 2 no such device, or nothing of it may be written.";

pub(super) const WRITE_HELP: &str = "\
Examples:
  selvedge adapter write filler/setpoint 12.5 --data ./g1
  selvedge adapter write filler/mode automatic --data ./g1     a value that `values` has a word for, by its word
  selvedge adapter write filler/mode 1 --data ./g1             or by its number
  selvedge adapter write filler/pump true --json

The value is JSON: a number, true, false, or a text in quotes; a word that is neither is taken as a text. It is the \
scaled value, as `readings` shows it, or the word that stands beside it there. The running gateway writes it, reads it back, and records the attempt and what \
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
    /// The scaled value, as JSON, or the configuration's word for it.
    #[arg(allow_hyphen_values = true)]
    value: String,
    /// Who asks, for the record; the user who types this if not given.
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
    let by = args.by.clone().unwrap_or_else(|| {
        asker(std::env::var("USER").ok(), || user_name(rustix::process::geteuid().as_raw()))
    });
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
    Err(Failed(outcome_words(&answer)).into())
}

/// Who asks, for a record that stays: never nobody. A service has no `USER`, but it has a user.
fn asker(user: Option<String>, of_process: impl FnOnce() -> String) -> String {
    user.filter(|user| !user.is_empty()).unwrap_or_else(of_process)
}

/// What to think of a value that was not confirmed.
fn outcome_words(answer: &WriteAnswer) -> String {
    let stream = &answer.stream;
    if answer.is_refused() {
        format!("{stream} was not written")
    } else {
        format!("nobody knows whether {stream} was written; look at the machine")
    }
}

fn arming(folder: &Folder) -> Arming {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Arming::new(folder.arming_path(), clock)
}

#[cfg(test)]
mod tests {
    use edge_adapters::write::{Attempt, Written};
    use selvedge_core::reading::Value;

    use super::*;

    /// A value for a coil that does not fit was refused by the gateway itself; and whoever asked was told that "nobody knows
    /// whether it was" written, and went to look.
    #[test]
    fn a_refusal_is_no_doubt() {
        let words = |written| {
            let attempt =
                Attempt { stream: "pump".into(), value: Value::Int(1), raw: Value::Int(1), written };
            outcome_words(&attempt.into())
        };
        let why = "1 is nothing that a bool holds".to_owned();
        assert_eq!(words(Written::Refused { status: 0, why: why.clone() }), "pump was not written");
        assert!(
            words(Written::NotConfirmed { read_back: None, why }).starts_with("nobody knows whether pump")
        );
    }

    /// A cron job and a systemd unit have no USER: the record that stays said "unknown".
    #[test]
    fn the_record_names_somebody() {
        assert_eq!(asker(Some("pi".into()), || unreachable!()), "pi");
        for none in [None, Some(String::new())] {
            let of_process = asker(none, || user_name(rustix::process::geteuid().as_raw()));
            assert!(!of_process.is_empty() && of_process != "unknown", "{of_process}");
        }
    }
}
