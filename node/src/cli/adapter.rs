//! `selvedge adapter`: what a device says and what is on it, before anything is signed, for which no gateway needs to run;
//! and writing to it through the one that runs.

mod arm;
mod browse;
mod listen;
mod scan;
mod test;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

use super::Globals;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Print decoded readings of the configured devices. No gateway needs to run.
    #[command(after_help = test::AFTER_HELP)]
    Test(test::Args),
    /// Find out what is at an address, and write a configuration for it.
    Scan(scan::Args),
    /// Show the address space of a server, and write a configuration of what is chosen.
    Browse(browse::Args),
    /// Find out what a broker has, and write a configuration for it.
    Listen(listen::Args),
    /// Let the gateway of a data folder write to devices, for a while.
    #[command(after_help = arm::ARM_HELP)]
    Arm(arm::ArmArgs),
    /// Let it write to none.
    Disarm,
    /// Write a value to a machine, through the running gateway.
    #[command(after_help = arm::WRITE_HELP)]
    Write(arm::WriteArgs),
}

/// A duration such as `10s`, for arguments.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    edge_adapters::config::duration(text)
        .map_err(|_| format!("{text:?} is no duration; expected one such as 10s or 200ms"))
}

/// The name of a device.
pub(super) fn parse_name(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    if (1..=40).contains(&text.len()) && text.bytes().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} is no name for devices; expected 1 to 40 letters, digits, hyphens, underscores, dots or slashes"
    ))
}

/// Before half an hour of scanning, not after it: a file that is there is not overwritten.
pub(super) fn check_new(out: &Path) -> anyhow::Result<()> {
    let name = out.display();
    anyhow::ensure!(
        !out.exists(),
        "{name} is there already and is not overwritten; name another file, or move it away"
    );
    let folder =
        out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    anyhow::ensure!(
        folder.is_dir(),
        "{name} cannot be written: {} is no folder; make it first",
        folder.display()
    );
    Ok(())
}

/// Writes a new file, to the disk.
pub(super) fn write_new(out: &Path, text: &str) -> anyhow::Result<()> {
    let what = || format!("{} cannot be written", out.display());
    let mut file = std::fs::File::create_new(out).with_context(what)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).with_context(what)
}

/// Runs it.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Test(args) => test::run(args, globals),
        Action::Scan(args) => scan::run(args, globals),
        Action::Browse(args) => browse::run(args, globals),
        Action::Listen(args) => listen::run(args, globals),
        Action::Arm(args) => arm::arm(&args, globals),
        Action::Disarm => arm::disarm(globals),
        Action::Write(args) => arm::write(&args, globals),
    }
}
