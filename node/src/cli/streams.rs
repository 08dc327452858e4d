//! `selvedge streams`: what this gateway reads.

use std::process::ExitCode;

use super::Globals;
use crate::answers::print::{print, print_json};
use crate::api::ask::{Ask, asking};

const AFTER_HELP: &str = "\
Examples:
  selvedge streams --data ./g1
  selvedge streams --json | jq -r '.streams[].name'

READINGS counts all readings since the stream began; the last value is the newest one that is durable.

Exit codes: 0 done; 2 there is no answer.";

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {}

/// Runs it.
pub(crate) fn run(Args {}: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let answer = asking(&globals.data, Ask::streams)?;
    if globals.json {
        print_json(&answer)?;
    } else {
        print(|out| answer.write_words(out))?;
    }
    Ok(ExitCode::SUCCESS)
}
