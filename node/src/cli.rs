//! The command line: one file per command, and what they have in common.

pub mod adapter;
pub mod admit;
pub mod check;
pub mod demo;
pub mod evidence;
pub mod export;
pub mod init;
pub mod invite;
pub mod key;
pub mod passphrase;
pub mod peers;
pub mod prove;
pub mod readings;
pub mod run;
mod segment;
pub mod status;
pub mod streams;
pub mod tangle;
pub mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

const AFTER_HELP: &str = "\
Examples:
  selvedge demo --for 20s               a whole gateway with a simulated plant, nothing to install
  selvedge init --data ./g1 --network works --organisation Acme --gateway g1
  selvedge check --data ./g1            is the configuration right?
  selvedge adapter test --data ./g1     what do the devices say? Signs nothing
  selvedge run --data ./g1
  selvedge readings filler/tank/level --last 5 --data ./g1
  selvedge prove filler/tank/level latest -o level.proof --data ./g1
  selvedge verify level.proof --network svnet1...

Exit codes: 0 done; 1 refused, or failed while working; 2 wrong use, or something could not be read; \
3 a proof is consistent, but nobody said which network to trust.";

/// An edge gateway that makes what machines said provable.
#[derive(Debug, Parser)]
#[command(name = "selvedge", version, after_help = AFTER_HELP, max_term_width = 110)]
struct Cli {
    /// Data folder of the gateway.
    #[arg(long, global = true, env = "SELVEDGE_DATA", default_value = ".", value_name = "DIR")]
    data: PathBuf,
    /// Answer for programs: JSON, an object or one per line.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

/// What all commands know.
#[derive(Debug, Clone)]
pub struct Globals {
    /// Data folder of the gateway.
    pub data: PathBuf,
    /// Answer for programs?
    pub json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a gateway: of a new network, or of one that it joins.
    Init(init::Args),
    /// Print one line that lets one gateway join this network.
    Invite(invite::Args),
    /// Let a gateway in by its id, without a network between the two.
    Admit(admit::Args),
    /// Run the gateway: read devices, journal readings, issue transactions.
    Run(run::Args),
    /// Show everything at once: a simulated plant, a gateway, a proof, and forgeries that are refused.
    Demo(demo::Args),
    /// How is the gateway: devices, backlog, disk, clock.
    Status(status::Args),
    /// The streams and their last values.
    Streams(streams::Args),
    /// Readings of a stream.
    Readings(readings::Args),
    /// Write a proof of one reading that anybody can verify offline.
    Prove(prove::Args),
    /// Verify a proof. Needs the file and the network's id, nothing else.
    Verify(verify::Args),
    /// The newest transactions and what they approve.
    Tangle(tangle::Args),
    /// Who is connected, and who is not and why.
    Peers(peers::Args),
    /// Who signed two transactions at one sequence, with both of them.
    Evidence(evidence::Args),
    /// Readings as CSV or JSON lines.
    Export(export::Args),
    /// Check the configuration.
    Check(check::Args),
    /// Try devices and find out what is on them, without a gateway; and let a running one write to them.
    Adapter(adapter::Args),
    /// Show, list, rotate, back up and restore the keys.
    Key(key::Args),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let Cli { data, json, command } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let is_help = !error.use_stderr();
            // A closed pipe is no reason to fail.
            let _ = error.print();
            return if is_help { ExitCode::SUCCESS } else { ExitCode::from(2) };
        }
    };
    let globals = Globals { data, json };
    match dispatch(command, &globals) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("selvedge: {}", in_words(&error));
            ExitCode::from(if error.is::<Failed>() { 1 } else { 2 })
        }
    }
}

/// The whole chain of an error, without what a link before has said already.
fn in_words(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, link| {
        if said.is_empty() {
            link
        } else if said.ends_with(&link) {
            said
        } else {
            said + ": " + &link
        }
    })
}

/// Something failed while working, as opposed to wrong use: exit code 1.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failed(pub String);

fn dispatch(command: Command, globals: &Globals) -> anyhow::Result<ExitCode> {
    match command {
        Command::Init(args) => init::run(args, globals),
        Command::Invite(args) => invite::run(args, globals),
        Command::Admit(args) => admit::run(args, globals),
        Command::Run(args) => run::run(&args, globals),
        Command::Demo(args) => demo::run(args, globals),
        Command::Status(args) => status::run(args, globals),
        Command::Streams(args) => streams::run(args, globals),
        Command::Readings(args) => readings::run(args, globals),
        Command::Prove(args) => prove::run(args, globals),
        Command::Verify(args) => verify::run(args, globals),
        Command::Tangle(args) => tangle::run(args, globals),
        Command::Peers(args) => peers::run(args, globals),
        Command::Evidence(args) => evidence::run(&args, globals),
        Command::Export(args) => export::run(args, globals),
        Command::Check(args) => check::run(args, globals),
        Command::Adapter(args) => adapter::run(args, globals),
        Command::Key(args) => key::run(args, globals),
    }
}

/// The log: to standard error, in the journal's own form under systemd. `RUST_LOG` chooses what is said.
/// The OPC-UA library logs each failed connection as an error; the adapter says it once, in words.
const QUIET: &str = ",opcua_client=off,opcua_core=off,opcua_crypto=off,opcua_types=off,opcua_server=off";

pub(crate) fn start_log(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(format!("{default}{QUIET}")));
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // journald stamps each line itself, and keeps no colours.
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        let _ = builder.without_time().with_ansi(false).try_init();
    } else {
        let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let _ = builder.with_ansi(is_terminal).try_init();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Paragraphs of help that were broken by hand at 120 columns were broken again at 100, so that every second line was a
    /// word or two. A paragraph is one line here, and broken once, where it is shown.
    #[test]
    fn paragraphs_of_help_are_broken_once() {
        fn check(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for pair in help.lines().collect::<Vec<_>>().windows(2) {
                let is_prose = |line: &str| !line.is_empty() && !line.starts_with(' ');
                let [one, next] = pair else { unreachable!("windows of two") };
                let is_broken = is_prose(one) && is_prose(next) && !one.ends_with(':');
                assert!(!is_broken, "{}: {one:?} goes on in {next:?}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&<Cli as clap::CommandFactory>::command());
    }
}
