//! `selvedge adapter`: what a device says and what is on it, before anything is signed. No gateway needs to run.

mod arm;
mod listen;
mod scan;
mod test;

use std::process::ExitCode;
use std::time::Duration;

use super::Globals;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Print decoded readings of the configured devices.
    #[command(after_help = test::AFTER_HELP)]
    Test(test::Args),
    /// Find out what is at an address, and write a configuration for it.
    Scan(scan::Args),
    /// Find out what a broker has, and write a configuration for it.
    Listen(listen::Args),
    /// Let devices be written to for a while.
    #[command(after_help = arm::ARM_HELP)]
    Arm(arm::ArmArgs),
    /// Let no device be written to.
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

/// Runs it.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Test(args) => test::run(args, globals),
        Action::Scan(args) => scan::run(args, globals),
        Action::Listen(args) => listen::run(args, globals),
        Action::Arm(args) => arm::arm(&args, globals),
        Action::Disarm => arm::disarm(globals),
        Action::Write(args) => arm::write(&args, globals),
    }
}
