//! `selvedge status`: how the gateway is.

use std::process::ExitCode;

use super::Globals;
use crate::answers::print::{print, print_json};
use crate::answers::status::NodeState;
use crate::api::ask::{Ask, asking};

const AFTER_HELP: &str = "\
Examples:
  selvedge status --data ./g1
  selvedge status --json | jq .backlog.readings

A running node answers over its socket. With none running the store is opened and says what it holds.

Exit codes: 0 the node runs and nothing needs attention; 1 it runs, and something does (it stands at the end, with \
what to do); 3 no node runs; 2 there is no answer.";

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {}

/// Runs it.
pub(crate) fn run(Args {}: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let answer = asking(&globals.data, Ask::status)?;
    if globals.json {
        print_json(&answer)?;
    } else {
        print(|out| answer.write_words(out))?;
    }
    Ok(match answer.state {
        NodeState::NotRunning => ExitCode::from(3),
        NodeState::Running | NodeState::Starting if answer.attention.is_empty() => ExitCode::SUCCESS,
        NodeState::Running | NodeState::Starting | NodeState::Silent | NodeState::Halted => ExitCode::from(1),
    })
}
