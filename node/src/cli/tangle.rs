//! `selvedge tangle`: the newest transactions and what they approve.

use std::process::ExitCode;

use super::Globals;
use crate::answers::print::{print, print_json};
use crate::api::ask::asking;

const AFTER_HELP: &str = "\
Examples:
  selvedge tangle --last 50
  selvedge tangle --dot | dot -Tsvg > tangle.svg           a picture, by Graphviz
  selvedge tangle --json | jq -r '.newest[].id'

Each transaction approves two others, or one twice when there is no second. AGE goes by the issuer's own claim. \
`witnessed k/n`: k of the n members of the committee have it in their past; only a running node knows, and only of \
its newest transactions.

Exit codes: 0 done; 2 wrong use, or there is no answer.";

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The newest N.
    #[arg(long, value_name = "N", default_value_t = 20)]
    last: usize,
    /// A picture for Graphviz instead of a table.
    #[arg(long, conflicts_with = "json")]
    dot: bool,
}

/// Runs it.
pub(crate) fn run(Args { last, dot }: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let answer = asking(&globals.data, |ask| ask.tangle(last))?;
    if globals.json {
        print_json(&answer)?;
    } else if dot {
        print(|out| out.write_all(answer.to_dot().as_bytes()))?;
    } else {
        print(|out| answer.write_words(out))?;
    }
    Ok(ExitCode::SUCCESS)
}
