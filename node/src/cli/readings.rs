//! `selvedge readings`: readings of one stream.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use super::Globals;
use crate::answers::Time;
use crate::answers::print::{finish, json_line};
use crate::answers::readings::ReadingsQuery;
use crate::answers::times::parse_moment;
use crate::answers::words::reading_words;
use crate::api::ask::{AskedReadings, asking};

const AFTER_HELP: &str = "\
Examples:
  selvedge readings filler/tank/level                      the last ten
  selvedge readings filler/tank/level --last 100
  selvedge readings filler/tank/level --from -10m          of the last ten minutes
  selvedge readings filler/tank/level --from 2026-05-01T12:00:00Z --to 2026-05-01T14:00:00+02:00
  selvedge readings filler/tank/level --last 1 --json

Everything shown is durable: `journaled` in this gateway's journal, `attached` in a signed transaction of its ledger. \
Times shown are those of the source; --from and --to go by the time at which the gateway received a reading (shown \
too when it is more than a second later). #N is the stream's own counter: it has no gaps. With --json one object a \
line: stream, counter, source_time, receive_time, value, word (where the configuration has words for values), raw, unit, \
quality, flags, status, state, batch, transaction.

Exit codes: 0 done, if with no reading; 1 no such stream; 2 wrong use, or there is no answer.";

/// Readings when nobody says how many, nor from when to when.
const LAST: usize = 10;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Its name, as `selvedge streams` shows it.
    stream: String,
    /// Received at this moment or later: RFC 3339 with a zone, or a span back from now, such as -10m.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<String>,
    /// Received before this moment.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<String>,
    /// Only the newest N of them [default: 10 without --from and --to].
    #[arg(long, value_name = "N")]
    last: Option<usize>,
}

/// The range that a person typed.
///
/// # Errors
/// Naming the option, and what was expected.
pub(super) fn range(
    from: Option<&str>,
    to: Option<&str>,
    now: Time,
) -> anyhow::Result<(Option<Time>, Option<Time>)> {
    let moment = |name: &str, text: Option<&str>| {
        text.map(|text| parse_moment(text, now).map_err(|why| anyhow::anyhow!("{name}: {why}"))).transpose()
    };
    Ok((moment("--from", from)?, moment("--to", to)?))
}

impl Args {
    fn query(self, now: Time) -> anyhow::Result<ReadingsQuery> {
        let (from, to) = range(self.from.as_deref(), self.to.as_deref(), now)?;
        let last = self.last.or((from.is_none() && to.is_none()).then_some(LAST));
        Ok(ReadingsQuery { stream: Some(self.stream), from, to, last })
    }
}

/// Runs it.
pub(crate) fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let query = args.query(Time::now())?;
    asking(&globals.data, |ask| {
        let readings = ask.readings(&query)?;
        let mut out = BufWriter::new(io::stdout().lock());
        if !write(&mut out, readings, globals.json)? && !globals.json {
            eprintln!("no reading in this range; `selvedge streams` shows the last one of each stream");
        }
        finish(out.flush())?;
        Ok(ExitCode::SUCCESS)
    })
}

/// `false`: there was none. A closed pipe ends it quietly.
fn write(out: &mut dyn Write, readings: AskedReadings<'_>, json: bool) -> anyhow::Result<bool> {
    let mut any = false;
    for reading in readings {
        let reading = reading?;
        any = true;
        let written =
            if json { json_line(out, &reading) } else { writeln!(out, "{}", reading_words(&reading)) };
        if matches!(&written, Err(why) if why.kind() == io::ErrorKind::BrokenPipe) {
            break;
        }
        finish(written)?;
    }
    Ok(any)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        args: Args,
    }

    fn query(line: &[&str]) -> anyhow::Result<ReadingsQuery> {
        let line = std::iter::once("readings").chain(line.iter().copied());
        Alone::try_parse_from(line)?.args.query(Time(1_777_636_800_000_000_000))
    }

    #[test]
    fn ten_readings_are_asked_for_when_nothing_is_said() {
        let asked = query(&["tank"]).unwrap();
        assert_eq!(
            asked,
            ReadingsQuery { stream: Some("tank".into()), last: Some(10), ..ReadingsQuery::default() }
        );
    }

    #[test]
    fn a_range_alone_asks_for_all_of_it() {
        let asked = query(&["tank", "--from", "-10m", "--to", "2026-05-01T12:00:00Z"]).unwrap();
        assert_eq!(asked.from, Some(Time(1_777_636_200_000_000_000)));
        assert_eq!(asked.to, Some(Time(1_777_636_800_000_000_000)));
        assert_eq!(asked.last, None);
        assert_eq!(query(&["tank", "--from=-10m", "--last", "3"]).unwrap().last, Some(3));
    }

    #[test]
    fn wrong_use_names_the_option() {
        assert!(query(&["tank", "--from", "noon"]).unwrap_err().to_string().starts_with("--from: \"noon\""));
        assert!(query(&["tank", "--last", "-1"]).is_err());
        assert!(query(&[]).is_err());
    }
}
