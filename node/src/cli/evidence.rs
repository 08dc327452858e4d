//! `selvedge evidence`: who signed two transactions at one sequence.

use std::path::PathBuf;
use std::process::ExitCode;

use super::Globals;
use crate::answers::print::{print, print_json};
use crate::api::ask::{Ask, asking};
use crate::folder::Folder;

const AFTER_HELP: &str = "\
Examples:
  selvedge evidence --data ./g1
  selvedge evidence --out ./forks --data ./g1        files for whoever is to check them
  selvedge evidence --json | jq '.forks[] | {issuer_name, sequence, proven}'

Two transactions of one issuer at one sequence are a fork: its key is used by two machines, or it cheats. Both signatures \
are checked each time. What --out writes can be checked by anybody with any implementation of ML-DSA (FIPS 204); a \
README.txt beside them says how. It works with and without a running node.

Exit codes: 0 no fork is known; 1 there are forks; 2 there is no answer, or the files cannot be written.";

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Write both transactions of each fork as files into this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs it.
pub(crate) fn run(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let answer = asking(&globals.data, Ask::evidence)?;
    let written = match &args.out {
        Some(out) => answer.write_files(out, &Folder::open(&globals.data)?.genesis_bytes())?,
        None => Vec::new(),
    };
    if globals.json {
        print_json(&answer)?;
    } else {
        print(|out| {
            answer.write_words(out)?;
            written.iter().try_for_each(|folder| writeln!(out, "wrote {}", folder.display()))
        })?;
    }
    Ok(if answer.forks.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
