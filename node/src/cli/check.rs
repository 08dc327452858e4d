//! `selvedge check`: is the configuration right?

use std::path::PathBuf;
use std::process::ExitCode;

use super::Globals;
use crate::config::{self, ConfigError, Settings};
use edge_adapters::config::doubts;

const AFTER_HELP: &str = "\
Examples:
  selvedge check --data ./g1
  selvedge check other.toml

Exit codes: 0 right; 1 something is wrong with it (each line names file, line, key, and what was expected); \
2 it cannot be read.";

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The file; that of the data folder if not given.
    file: Option<PathBuf>,
}

/// Runs it.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let path = args.file.unwrap_or_else(|| globals.data.join("selvedge.toml"));
    match config::load(&path) {
        Ok(settings) => {
            say(&settings, &path.display().to_string(), globals.json);
            Ok(ExitCode::SUCCESS)
        }
        Err(error @ ConfigError::Io { .. }) => Err(error.into()),
        Err(ConfigError::Wrong { path, findings }) => {
            if globals.json {
                let findings: Vec<_> =
                    findings.iter().map(|f| serde_json::json!({ "line": f.line, "what": f.what })).collect();
                println!(
                    "{}",
                    serde_json::json!({ "file": path.display().to_string(), "right": false, "findings": findings })
                );
            } else {
                eprintln!("{}", ConfigError::Wrong { path, findings });
            }
            Ok(ExitCode::from(1))
        }
    }
}

fn say(settings: &Settings, path: &str, json: bool) {
    if json {
        let devices: Vec<_> = settings
            .devices
            .iter()
            .map(|d| serde_json::json!({ "device": d.device(), "streams": d.streams().len() }))
            .collect();
        println!(
            "{}",
            serde_json::json!({ "file": path, "right": true, "devices": devices, "doubts": doubts(&settings.devices) })
        );
        return;
    }
    println!("{path} is right.");
    if settings.devices.is_empty() {
        println!("It has no devices yet: the gateway would run and read nothing.");
    }
    for device in &settings.devices {
        println!(
            "  {} ({} {}): {} streams",
            device.device(),
            device.head().protocol,
            device.address(),
            device.streams().len()
        );
    }
    for doubt in doubts(&settings.devices) {
        eprintln!("warning: {doubt}");
    }
}
