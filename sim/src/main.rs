//! `selvedge-sim`: the ledger core in virtual time. One file per command in `cli/`.

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use cli::golden::Golden;
use cli::mutants::Mutants;
use cli::network::Network;
use cli::quick::Quick;
use cli::replay::Replay;
use cli::run::Run;
use cli::swarm::Swarm;
use cli::sweep::Sweep;
use cli::tangle::Tangle;
use cli::throughput::Throughput;

#[derive(Debug, Parser)]
#[command(name = "selvedge-sim", version, about = "Drives the ledger core of Selvedge in virtual time", after_help = cli::EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Quick(Quick),
    Run(Run),
    Sweep(Sweep),
    Swarm(Swarm),
    Tangle(Tangle),
    Network(Network),
    Throughput(Throughput),
    Replay(Replay),
    Golden(Golden),
    Mutants(Mutants),
}

fn main() -> ExitCode {
    cli::end_when_output_fails();
    match Cli::parse().command {
        Command::Quick(command) => command.run(),
        Command::Run(command) => command.run(),
        Command::Sweep(command) => command.run(),
        Command::Swarm(command) => command.run(),
        Command::Tangle(command) => command.run(),
        Command::Network(command) => command.run(),
        Command::Throughput(command) => command.run(),
        Command::Replay(command) => command.run(),
        Command::Golden(command) => command.run(),
        Command::Mutants(command) => command.run(),
    }
}
