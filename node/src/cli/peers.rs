//! `selvedge peers`: who is connected, and who is not and why.

use std::process::ExitCode;

use super::Globals;
use crate::answers::peers::NetworkState;
use crate::answers::print::{print, print_json};
use crate::api::ask::{Ask, asking};

const AFTER_HELP: &str = "\
Examples:
  selvedge peers --data ./g1
  selvedge peers --json | jq '.peers[] | {name, address, behind, round_trip_us}'

DIR: out, when this node dialled. LAG: transactions that the peer holds and this node lacks (ahead), or lacked when it \
last said what it holds (behind). BUDGET: useless bytes that it may still send before it is sent away, and transactions \
that it may ask for at once. LINK: eager links get whole transactions, lazy ones their names.

Exit codes: 0 at least one peer is connected, or the configuration has no network; 1 none is; 3 no node runs; 2 there \
is no answer.";

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {}

/// Runs it.
pub(crate) fn run(Args {}: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let answer = asking(&globals.data, Ask::peers)?;
    if globals.json {
        print_json(&answer)?;
    } else {
        print(|out| answer.write_words(out))?;
    }
    Ok(match answer.network {
        NetworkState::NotRunning => ExitCode::from(3),
        NetworkState::Up if answer.peers.is_empty() => ExitCode::from(1),
        NetworkState::Up | NetworkState::None => ExitCode::SUCCESS,
    })
}
