//! `selvedge-hostile`: attacks honest gateways, one way at a time; or all ways, with a table of what it cost them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use selvedge_tests::hostile::attack::{self, Attack, Orders};
use selvedge_tests::hostile::identity::Identity;
use selvedge_tests::hostile::{pair, table};

/// Attacks honest gateways. For tests only.
#[derive(Debug, Parser)]
#[command(name = "selvedge-hostile")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One attack; says as JSON what it tried and what it got.
    Attack {
        /// Which.
        #[arg(value_enum)]
        attack: Attack,
        /// Where an honest gateway listens; several times for several.
        #[arg(long = "at", required = true)]
        targets: Vec<SocketAddr>,
        /// A hostile member's data folder. The second one is an observer's, for attacks that have one.
        #[arg(long = "keys", required = true)]
        keys: Vec<PathBuf>,
        /// Seed of all randomness.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many, of what the attack counts.
        #[arg(long, default_value_t = 1_000)]
        count: u64,
        /// For how many seconds at most.
        #[arg(long = "for", default_value_t = 4.0)]
        seconds: f64,
    },
    /// Every attack on an honest pair of its own making, as a Markdown table.
    Table {
        /// Seed of all randomness.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Connections of strangers.
        #[arg(long, default_value_t = 10_000)]
        connections: u64,
        /// Seconds for each attack.
        #[arg(long = "for", default_value_t = 8.0)]
        seconds: f64,
        /// Only these.
        #[arg(long = "only", value_enum)]
        only: Vec<Attack>,
        /// Show on standard error what attacker and gateways say.
        #[arg(long)]
        show: bool,
    },
}

fn main() -> ExitCode {
    if pair::is_called_selvedge() {
        return selvedge::cli::main();
    }
    match Cli::parse().command {
        Command::Attack { attack, targets, keys, seed, count, seconds } => {
            let identities = keys.iter().map(|path| Identity::of_folder(path)).collect();
            let within = Duration::from_secs_f64(seconds);
            let orders = Orders { targets, identities, seed, count, within };
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime");
            println!("{}", runtime.block_on(attack::carry_out(attack, orders)));
        }
        Command::Table { seed, connections, seconds, only, show } => {
            println!("{}", table::table(seed, connections, seconds, &only, show));
        }
    }
    ExitCode::SUCCESS
}
