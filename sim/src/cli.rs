//! The commands, one file each: its arguments and `fn run(&self) -> ExitCode`. What several share is here.
//!
//! Exit codes: 0 all is well, 1 a check failed, 2 usage or input error. With `--json` the last line of the standard
//! output is one object; progress goes to the standard error.

pub(crate) mod golden;
pub(crate) mod mutants;
pub(crate) mod network;
pub(crate) mod quick;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod swarm;
pub(crate) mod sweep;
pub(crate) mod tangle;
pub(crate) mod throughput;

use clap::ValueEnum;
use selvedge_sim::signatures::Mode;

/// Shown below the help of the whole program.
pub(crate) const EXAMPLES: &str = "Examples:
  selvedge-sim quick                               a first look, about a minute
  selvedge-sim run sim/scenarios/ten-gateways.toml a scenario from a file, and whether it holds
  selvedge-sim sweep FILE --out DIR                all combinations of a grid
  selvedge-sim swarm --seeds 200                   200 runs with faults drawn from their seeds
  selvedge-sim replay 1234 --trace                 one of them again, step by step

Exit code 0: all checks held; 1: one did not; 2: the command line or a file is wrong.";

/// `--signatures`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Signatures {
    /// Tokens that nobody without the secret can make.
    Modelled,
    /// ML-DSA, as shipped.
    #[cfg(feature = "real-signatures")]
    Real,
}

impl From<Signatures> for Mode {
    fn from(signatures: Signatures) -> Self {
        match signatures {
            Signatures::Modelled => Self::Modelled,
            #[cfg(feature = "real-signatures")]
            Signatures::Real => Self::Real,
        }
    }
}

/// A time such as 500us, 20ms, 1.5s, 2m or 1h, in microseconds.
pub(crate) fn parse_time_us(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no time: expected a number and us, ms, s, m or h, such as 20s");
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[number.len()..] {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        _ => return Err(wrong()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    // Six digits of a fraction of an hour are 3.6 ms: finer than anybody writes.
    if fraction.is_empty() || fraction.len() > 6 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let parts: u64 = format!("{fraction:0<6}").parse().map_err(|_| wrong())?;
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let us = whole.checked_mul(factor).and_then(|us| us.checked_add(parts * factor / 1_000_000));
    us.ok_or_else(|| format!("{text:?} is too long: at most {} h", u64::MAX / 3_600_000_000))
}

/// A time between 1 s and an hour.
pub(crate) fn parse_load_us(text: &str) -> Result<u64, String> {
    let us = parse_time_us(text)?;
    let is_fine = (1_000_000..=3_600_000_000).contains(&us);
    is_fine.then_some(us).ok_or_else(|| format!("{text:?}: expected between 1s and 60m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_and_fractions() {
        assert_eq!(parse_time_us("20s"), Ok(20_000_000));
        assert_eq!(parse_time_us("1.5ms"), Ok(1_500));
        assert_eq!(parse_time_us("0.25h"), Ok(900_000_000));
        for wrong in ["", "s", "20", "1.s", "-1s", "1e3s", "1 s", "20 parsecs", "99999999999999999999s"] {
            assert!(parse_time_us(wrong).is_err(), "{wrong:?}");
        }
        assert!(parse_time_us("9999999999999h").is_err_and(|why| why.contains("too long")));
        assert!(parse_load_us("999ms").is_err() && parse_load_us("61m").is_err());
    }
}
