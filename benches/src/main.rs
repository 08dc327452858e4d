//! The headline figures: `cargo run --release -p selvedge-benches -- headline`.
//!
//! Every figure is a ratio against a limit or a peer measured in the same run, or a count of bytes. Times are
//! seconds of CPU wherever the work is computing (a shared machine's clock says little), contestants take turns
//! (A B A B), and what is shown is the median; the least stands beside it. After each round the work is checked:
//! a rate is printed only when all of it was done.
//!
//! # Layout
//! - this file: the command line
//! - [`figure`]: a figure, its goal, the table, the JSON; [`cpu`]: clocks and samples; [`plan`]: how much is done
//! - [`plant`]: the values that machines would send; [`gateway`]: a gateway in a folder, and the check of what it kept
//! - [`network`]: gateways on loopback and a signed tangle; [`peer`]: peers in processes of their own
//! - [`machines`]: Modbus servers that stand for machines
//! - [`ingest`] (figure 1), [`gossip`] (2, 7 and the connections of 8), [`root`] (3), [`archive`] (5), [`proof`] (6),
//!   [`idle`] (10), [`sim`] (12), [`latency`] (14), [`adapters`] (15 to 18)

mod adapters;
mod archive;
mod cpu;
mod figure;
mod gateway;
mod gossip;
mod idle;
mod ingest;
mod latency;
mod machines;
mod network;
mod peer;
mod plan;
mod plant;
mod proof;
mod root;
mod sim;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use figure::Report;
use plan::Plan;

/// Measures what Selvedge promises.
#[derive(Debug, Parser)]
#[command(name = "selvedge-benches")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The headline figures: 1 ingest, 2 gossip, 3 Merkle root, 5 archive, 6 proof, 7 catch-up, 8 memory of a
    /// connection, 10 idle, 12 simulator, 14 latency, 15 Modbus, 16 MQTT (needs mosquitto), 17 OPC-UA, 18 memory of a
    /// gateway at work.
    Headline {
        /// The last line is one object with all figures.
        #[arg(long)]
        json: bool,
        /// Only the figure with this number.
        #[arg(long, value_name = "NUMBER")]
        only: Option<u32>,
        /// Tiny sizes: shows that each bench works and its check passes. Times mean nothing and are not judged.
        #[arg(long)]
        smoke: bool,
        /// Where the stores are made: a folder on the disk to be measured. Beside this program if not given.
        #[arg(long, value_name = "FOLDER")]
        dir: Option<PathBuf>,
    },
    /// A peer of a network bench; started by the bench.
    #[command(hide = true, subcommand)]
    Peer(peer::Role),
    /// Runs a part of figure 1 alone, without contestants, for a profiler to look at.
    Profile {
        /// `1000`, `4096` or `adapter`.
        part: String,
        /// Readings.
        #[arg(long, default_value_t = 200_000)]
        readings: usize,
        /// As for `headline`.
        #[arg(long, value_name = "FOLDER")]
        dir: Option<PathBuf>,
    },
}

type Bench = fn(&Plan) -> anyhow::Result<Report>;

const BENCHES: [(u32, &str, Bench); 14] = [
    (1, "readings ingested, durable, batched, signed, attached", ingest::measure),
    (2, "transactions received from peers", gossip::receive),
    (3, "Merkle root over many leaves", root::measure),
    (5, "archive bytes of a reading", archive::measure),
    (6, "proof of one reading", proof::measure),
    (7, "a node that joins", gossip::join),
    (8, "memory of a connection", gossip::connections),
    (10, "idle gateways", idle::measure),
    (12, "the simulator", sim::measure),
    (14, "submit to durable, open loop", latency::measure),
    (15, "one Modbus connection", adapters::modbus::measure),
    (16, "MQTT, acknowledged from the journal", adapters::mqtt::measure),
    (17, "OPC-UA notifications", adapters::opcua::measure),
    (18, "memory of a gateway at work", adapters::memory::measure),
];

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Headline { json, only, smoke, dir } => headline(json, only, smoke, dir),
        Command::Peer(role) => peer::run(&role).map(|()| true),
        Command::Profile { part, readings, dir } => profile(&part, readings, dir),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why:#}");
            ExitCode::from(2)
        }
    }
}

fn profile(part: &str, readings: usize, dir: Option<PathBuf>) -> anyhow::Result<bool> {
    let seconds = ingest::profile(&Plan::new(false, dir)?, part, readings)?;
    println!("{part}: {} CPU-s a million readings", figure::number(seconds));
    Ok(true)
}

/// `true` when every bench did its work; whether goals are met is for the reader.
fn headline(json: bool, only: Option<u32>, smoke: bool, dir: Option<PathBuf>) -> anyhow::Result<bool> {
    let plan = Plan::new(smoke, dir)?;
    let chosen: Vec<_> = BENCHES.iter().filter(|(number, ..)| only.is_none_or(|o| o == *number)).collect();
    anyhow::ensure!(
        !chosen.is_empty(),
        "there is no figure {}; expected 1, 2, 3, 5, 6, 7, 8, 10, 12 or 14 to 18",
        only.unwrap_or(0)
    );
    if cfg!(debug_assertions) && !smoke {
        eprintln!("warning: this is not a release build, so no time here means anything");
    }
    let mut all = Report::default();
    let mut is_complete = true;
    for (number, what, bench) in chosen {
        eprintln!("figure {number}: {what} ...");
        match bench(&plan) {
            Ok(report) => all.append(report),
            Err(why) => {
                is_complete = false;
                eprintln!("figure {number}: no rate is given, the work was not done: {why:#}");
            }
        }
    }
    print!("{}", all.table(&plan));
    if json {
        println!("{}", all.json(&plan)?);
    }
    Ok(is_complete)
}
