//! The commands, one file each: its arguments and `fn run(&self) -> ExitCode`. What several share is here.
//!
//! Exit codes: 0 all is well, 1 a check failed, 2 usage or input error. With `--json` the last line of the standard
//! output is one object; progress goes to the standard error.

pub(crate) mod golden;
pub(crate) mod mutants;
pub(crate) mod network;
pub(crate) mod progress;
pub(crate) mod quick;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod swarm;
pub(crate) mod sweep;
pub(crate) mod tangle;
pub(crate) mod throughput;

use std::fmt;

use selvedge_sim::case::Case;
use selvedge_sim::network::params::Signatures;
use selvedge_sim::network::units::Span;

/// Shown below the help of the whole program.
pub(crate) const EXAMPLES: &str = "Examples:
  selvedge-sim quick                               a first look, about a minute
  selvedge-sim run sim/scenarios/ten-gateways.toml a scenario from a file, and whether it holds
  selvedge-sim sweep FILE --out DIR                all combinations of a grid
  selvedge-sim swarm --seeds 200                   200 runs with faults drawn from their seeds
  selvedge-sim replay 1234 --trace                 one of them again, step by step

Exit code 0: all checks held; 1: one did not; 2: the command line or a file is wrong.";

/// Bounds of the time for which readings come in, in a run of the swarm.
const LOAD: (Span, Span) = (Span::from_s(1), Span::from_s(3_600));

/// A time between 1 s and an hour.
pub(crate) fn parse_load(text: &str) -> Result<Span, String> {
    let load: Span = text.parse().map_err(|wrong| format!("{wrong}"))?;
    let is_fine = (LOAD.0..=LOAD.1).contains(&load);
    is_fine.then_some(load).ok_or_else(|| format!("got {load}, expected {} to {}", LOAD.0, LOAD.1))
}

/// The command that runs a case again, with the signatures that it had: others make another run.
pub(crate) fn again(case: &Case, signatures: Signatures) -> String {
    match signatures {
        Signatures::Modelled => case.to_string(),
        #[cfg(feature = "real-signatures")]
        Signatures::Real => format!("{case} --signatures {signatures}"),
    }
}

/// A bug that is planted in the core for these runs: only in a build with the feature `planted`, by which the tests see what a
/// failing run prints.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct Mutant {
    /// With this planted bug, by its number in `mutants --list`.
    #[cfg(feature = "planted")]
    #[arg(long = "planted", value_name = "NUMBER",
          value_parser = clap::value_parser!(u16).range(1..=selvedge_sim::mutants::ALL.len() as i64))]
    number: Option<u16>,
}

impl Mutant {
    /// Plants it, for the rest of the process.
    #[cfg_attr(not(feature = "planted"), expect(clippy::unused_self, reason = "there is none in this build"))]
    pub(crate) fn plant(self) {
        #[cfg(feature = "planted")]
        if let Some(number) = self.number {
            selvedge_sim::mutants::plant(selvedge_sim::mutants::ALL[usize::from(number) - 1].bug);
        }
    }
}

/// As it stands in the command that runs a case again.
impl fmt::Display for Mutant {
    #[cfg_attr(not(feature = "planted"), expect(unused_variables, reason = "there is none in this build"))]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[cfg(feature = "planted")]
        if let Some(number) = self.number {
            write!(f, " --planted {number}")?;
        }
        Ok(())
    }
}

/// Exit code of a program whose output nobody reads any more: 128 and the number of SIGPIPE.
const UNREAD: i32 = 141;

/// Ends the process without a word when nobody reads its output any more, as in `replay 3 --trace | head`, and with one
/// when the output cannot be written. `println!` panics in both cases, which would look like a bug of the ledger.
pub(crate) fn end_when_output_fails() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // std::io::Stdout's words: nothing else tells this panic from others.
        match panic.payload_as_str().and_then(|text| text.strip_prefix("failed printing to stdout: ")) {
            Some(why) if why.starts_with("Broken pipe") => std::process::exit(UNREAD),
            Some(why) => {
                eprintln!("error: the output cannot be written: {why}");
                std::process::exit(2);
            }
            None => usual(panic),
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_has_bounds() {
        assert_eq!(parse_load("20s"), Ok(Span::from_s(20)));
        for (wrong, why) in
            [("999ms", "1s to 60m"), ("61m", "1s to 60m"), ("5", "a number and us, ms, s, m or h")]
        {
            let said = parse_load(wrong).expect_err(wrong);
            assert!(said.contains("got ") && said.contains(why), "{said}");
        }
    }

    #[cfg(feature = "real-signatures")]
    #[test]
    fn a_run_with_real_signatures_is_repeated_with_them() {
        let case = Case::default();
        assert_eq!(again(&case, Signatures::Modelled), "selvedge-sim replay 0");
        assert_eq!(again(&case, Signatures::Real), "selvedge-sim replay 0 --signatures real");
    }
}
