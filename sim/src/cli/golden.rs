//! `golden`: the trace hashes that are kept.

use std::process::ExitCode;

/// Prints the trace hashes that sim/tests/golden/traces.txt keeps.
#[derive(Debug, clap::Args)]
pub(crate) struct Golden {}

impl Golden {
    #[expect(clippy::unused_self, reason = "as every command")]
    pub(crate) fn run(&self) -> ExitCode {
        match selvedge_sim::golden::traces() {
            Ok(lines) => {
                print!("{lines}");
                ExitCode::SUCCESS
            }
            Err(failure) => {
                println!("FAILED {failure}");
                ExitCode::FAILURE
            }
        }
    }
}
