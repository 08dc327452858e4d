//! `selvedge export`: readings as CSV or JSON lines, however many.

use std::fs::Permissions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::readings::range;
use super::{Globals, segment};
use crate::answers::Time;
use crate::answers::print::{finish, json_line};
use crate::answers::readings::{ReadingAnswer, ReadingsQuery};
use crate::answers::shown::Scalar;
use crate::answers::times::plural;
use crate::api::ask::{AskedReadings, asking};

const AFTER_HELP: &str = "\
Examples:
  selvedge export --stream filler/tank/level --format csv -o level.csv
  selvedge export --all --from -1d --format jsonl | gzip > day.jsonl.gz
  selvedge export --stream filler/tank/level --from 2026-05-01T00:00:00Z --to 2026-05-02T00:00:00Z --zone Europe/Berlin
  selvedge export --segment 12 -o batch-12.segment       a whole batch, for a partner who wants to prove from it

Columns: stream, counter, source_time, receive_time, value, unit, raw, quality, flags, status, state, batch, \
transaction. Times are RFC 3339, in UTC or with the offset of --zone; value is scaled and in unit, raw is what the \
device sent. --from and --to go by the time at which the gateway received a reading. Of one stream the readings come \
by its counter, which has no gaps; with --all batch by batch, in each batch stream by stream. A file is whole or not \
there: it gets its name at the end.

Exit codes: 0 done, if with no reading; 1 no such stream; 2 wrong use, or the export could not be finished.";

/// A long export says how far it is this often.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["stream", "all", "segment"])))]
pub(crate) struct Args {
    /// Of this stream.
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Of all streams.
    #[arg(long)]
    all: bool,
    /// The archive segment of the own batch with this number, as it is: for a partner's `selvedge prove --segment`.
    #[arg(long, value_name = "BATCH", conflicts_with_all = ["from", "to", "format", "zone"])]
    segment: Option<u64>,
    /// Received at this moment or later: RFC 3339 with a zone, or a span back from now, such as -1d.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<String>,
    /// Received before this moment.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<String>,
    /// Comma-separated values with a line of headings (RFC 4180, lines end in LF), or one JSON object a line.
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Time zone of the times written, such as Europe/Berlin.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    zone: String,
    /// Write to this file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// How readings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Comma-separated values.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// One reading with its times in the zone asked for.
#[derive(Debug, Serialize)]
struct Line<'a> {
    stream: &'a str,
    counter: u64,
    source_time: String,
    receive_time: String,
    value: &'a Scalar,
    unit: &'a str,
    raw: &'a Scalar,
    quality: &'a str,
    flags: &'a [String],
    status: u32,
    state: &'static str,
    batch: u64,
    transaction: Option<&'a str>,
}

const HEADINGS: &str =
    "stream,counter,source_time,receive_time,value,unit,raw,quality,flags,status,state,batch,transaction";

/// Runs it.
pub(crate) fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    if let Some(batch) = args.segment {
        return segment::export(batch, args.output, globals);
    }
    let (from, to) = range(args.from.as_deref(), args.to.as_deref(), Time::now())?;
    let exporter = Exporter { format: args.format, zone: Zone::named(&args.zone)? };
    let query = ReadingsQuery { stream: args.stream, from, to, last: None };
    asking(&globals.data, |ask| {
        let readings = ask.readings(&query)?;
        if let Some(path) = &args.output {
            return to_file(&exporter, readings, path);
        }
        let mut out = BufWriter::new(io::stdout().lock());
        exporter.write(&mut out, readings, &mut Progress::new())?;
        finish(out.flush())
    })?;
    Ok(ExitCode::SUCCESS)
}

fn to_file(exporter: &Exporter, readings: AskedReadings<'_>, path: &Path) -> anyhow::Result<()> {
    if path.is_dir() {
        bail!("{} is a folder; expected the name of a file for -o", path.display());
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let cannot = || format!("cannot write {}", path.display());
    let mode = Permissions::from_mode(0o644);
    let made = tempfile::Builder::new().prefix(".export-").permissions(mode).tempfile_in(folder);
    let mut out = BufWriter::with_capacity(256 * 1024, made.with_context(cannot)?);
    let written = exporter.write(&mut out, readings, &mut Progress::new())?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error).with_context(cannot)?;
    file.as_file().sync_all().with_context(cannot)?;
    file.persist(path).with_context(cannot)?;
    eprintln!("{} written to {}", plural(written, "reading"), path.display());
    Ok(())
}

struct Exporter {
    format: Format,
    zone: Zone,
}

impl Exporter {
    /// Writes all readings; gives their number. A closed pipe ends it quietly.
    fn write<E: Into<anyhow::Error>>(
        &self,
        out: &mut dyn Write,
        readings: impl Iterator<Item = Result<ReadingAnswer, E>>,
        progress: &mut Progress,
    ) -> anyhow::Result<u64> {
        let mut written = 0;
        let mut outcome = match self.format {
            Format::Csv => writeln!(out, "{HEADINGS}"),
            Format::Jsonl => Ok(()),
        };
        for reading in readings {
            if matches!(&outcome, Err(why) if why.kind() == io::ErrorKind::BrokenPipe) {
                return Ok(written);
            }
            outcome.context("cannot write the export")?;
            let reading = reading.map_err(Into::into)?;
            outcome = self.line(out, &reading);
            written += 1;
            progress.look(written, reading.receive_time);
        }
        finish(outcome)?;
        Ok(written)
    }

    fn line(&self, out: &mut dyn Write, reading: &ReadingAnswer) -> io::Result<()> {
        let line = Line {
            stream: &reading.stream,
            counter: reading.counter,
            source_time: self.zone.show(reading.source_time),
            receive_time: self.zone.show(reading.receive_time),
            value: &reading.value,
            unit: &reading.unit,
            raw: &reading.raw,
            quality: &reading.quality,
            flags: &reading.flags,
            status: reading.status,
            state: reading.state.name(),
            batch: reading.batch,
            transaction: reading.transaction.as_deref(),
        };
        match self.format {
            Format::Csv => csv_line(out, &line),
            Format::Jsonl => json_line(out, &line),
        }
    }
}

fn csv_line(out: &mut dyn Write, line: &Line<'_>) -> io::Result<()> {
    cell(out, line.stream)?;
    write!(out, ",{},{},{},", line.counter, line.source_time, line.receive_time)?;
    cell(out, line.value.text())?;
    out.write_all(b",")?;
    cell(out, line.unit)?;
    out.write_all(b",")?;
    cell(out, line.raw.text())?;
    let (flags, transaction) = (line.flags.join(" "), line.transaction.unwrap_or_default());
    writeln!(out, ",{},{flags},{},{},{},{transaction}", line.quality, line.status, line.state, line.batch)
}

/// A cell, in quotes when it must be.
fn cell(out: &mut dyn Write, text: &str) -> io::Result<()> {
    // Spaces at the ends: some programs drop them outside quotes.
    let is_plain = !text.contains([',', '"', '\n', '\r']) && text.trim() == text;
    if is_plain {
        return out.write_all(text.as_bytes());
    }
    write!(out, "\"{}\"", text.replace('"', "\"\""))
}

/// Writes times with the offset that a zone has at each of them.
struct Zone(Option<TimeZone>);

impl Zone {
    fn named(name: &str) -> anyhow::Result<Self> {
        if name.eq_ignore_ascii_case("UTC") || name == "Z" {
            return Ok(Self(None));
        }
        let zone = TimeZone::get(name).map_err(|why| {
            anyhow::anyhow!(
                "--zone: {name:?} is not known here ({why}); expected UTC or a name such as Europe/Berlin, and the \
                 system's time zones (package tzdata)"
            )
        })?;
        Ok(Self(Some(zone)))
    }

    fn show(&self, time: Time) -> String {
        let Some(zone) = &self.0 else { return time.to_string() };
        let timestamp = Timestamp::from_nanosecond(i128::from(time.0))
            .expect("64 bits of nanoseconds are within the calendar");
        timestamp.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string()
    }
}

/// Says on standard error how far a long export is.
struct Progress {
    last: Instant,
}

impl Progress {
    fn new() -> Self {
        Self { last: Instant::now() }
    }

    fn look(&mut self, written: u64, at: Time) {
        // The clock is not asked for each reading.
        if written.is_multiple_of(256) && self.last.elapsed() >= PROGRESS_EVERY {
            self.last = Instant::now();
            eprintln!("{} so far, up to {at}", plural(written, "reading"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use clap::Parser;

    use super::*;
    use crate::answers::readings::ReadingState;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &[&str]) -> Result<Args, clap::Error> {
        Alone::try_parse_from(std::iter::once("export").chain(line.iter().copied())).map(|alone| alone.args)
    }

    #[test]
    fn one_stream_or_all_but_not_both_nor_none() {
        assert!(parse(&[]).is_err());
        assert!(parse(&["--stream", "a", "--all"]).is_err());
        assert_eq!(parse(&["--all"]).unwrap().format, Format::Csv);
        assert_eq!(
            parse(&["--stream", "a", "--format", "jsonl", "--from", "-1d"]).unwrap().format,
            Format::Jsonl
        );
        assert!(parse(&["--all", "--format", "xml"]).is_err());
    }

    fn reading(counter: u64, value: Scalar, raw: Scalar) -> ReadingAnswer {
        ReadingAnswer {
            stream: "tank, left".into(),
            counter,
            source_time: Time(1_777_636_800_250_000_000),
            receive_time: Time(1_777_636_801_000_000_000),
            value,
            word: None,
            raw,
            unit: "Cel".into(),
            quality: "good".into(),
            flags: Vec::new(),
            status: 0,
            state: ReadingState::Attached,
            batch: 3,
            transaction: Some("svtx1q".into()),
        }
    }

    fn readings() -> Vec<ReadingAnswer> {
        let text = || Scalar::Text("he said \"on\",\nthen left ".into());
        let mut journaled = reading(9, Scalar::None, Scalar::None);
        journaled.state = ReadingState::Journaled;
        journaled.transaction = None;
        journaled.quality = "not-available".into();
        journaled.flags = vec!["unsynchronised".into(), "possibly-repeated".into()];
        journaled.status = 0x8000_0000;
        vec![
            reading(7, Scalar::Number("21.4".into()), Scalar::Number("214".into())),
            reading(8, text(), text()),
            journaled,
        ]
    }

    fn export(format: Format, zone: &str) -> String {
        let mut out = Vec::new();
        let exporter = Exporter { format, zone: Zone::named(zone).unwrap() };
        let all = readings().into_iter().map(Ok::<_, Infallible>);
        assert_eq!(exporter.write(&mut out, all, &mut Progress::new()).unwrap(), 3);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn csv_is_what_it_was() {
        assert_eq!(
            export(Format::Csv, "UTC"),
            "stream,counter,source_time,receive_time,value,unit,raw,quality,flags,status,state,batch,transaction\n\
             \"tank, left\",7,2026-05-01T12:00:00.25Z,2026-05-01T12:00:01Z,21.4,Cel,214,good,,0,attached,3,svtx1q\n\
             \"tank, left\",8,2026-05-01T12:00:00.25Z,2026-05-01T12:00:01Z,\"he said \"\"on\"\",\nthen left \",Cel,\
             \"he said \"\"on\"\",\nthen left \",good,,0,attached,3,svtx1q\n\
             \"tank, left\",9,2026-05-01T12:00:00.25Z,2026-05-01T12:00:01Z,,Cel,,not-available,\
             unsynchronised possibly-repeated,2147483648,journaled,3,\n"
        );
    }

    #[test]
    fn json_lines_are_what_they_were() {
        let lines = export(Format::Jsonl, "utc");
        assert_eq!(
            lines.lines().next().unwrap(),
            "{\"stream\":\"tank, left\",\"counter\":7,\"source_time\":\"2026-05-01T12:00:00.25Z\",\
             \"receive_time\":\"2026-05-01T12:00:01Z\",\"value\":21.4,\"unit\":\"Cel\",\"raw\":214,\"quality\":\"good\",\
             \"flags\":[],\"status\":0,\"state\":\"attached\",\"batch\":3,\"transaction\":\"svtx1q\"}"
        );
        for (line, expected) in lines.lines().zip(readings()) {
            assert_eq!(serde_json::from_str::<ReadingAnswer>(line).unwrap(), expected);
        }
    }

    #[test]
    fn another_zone_shows_its_offset_and_means_the_same_moments() {
        let line = |zone: &str| export(Format::Jsonl, zone).lines().next().unwrap().to_owned();
        assert!(
            line("Europe/Berlin").contains("\"2026-05-01T14:00:00.25+02:00\""),
            "{}",
            line("Europe/Berlin")
        );
        let read: ReadingAnswer = serde_json::from_str(&line("America/New_York")).unwrap();
        assert_eq!(read, readings()[0]);
        assert!(Zone::named("Mars/Phobos").err().unwrap().to_string().contains("Mars/Phobos"));
    }

    #[test]
    fn an_error_half_way_is_no_short_export() {
        let exporter = Exporter { format: Format::Csv, zone: Zone(None) };
        let broken = readings().into_iter().map(Ok).chain([Err(anyhow::anyhow!("the disk is gone"))]);
        let outcome = exporter.write(&mut Vec::new(), broken, &mut Progress::new());
        assert_eq!(outcome.unwrap_err().to_string(), "the disk is gone");
    }

    #[test]
    fn a_closed_pipe_ends_quietly_and_a_full_disk_does_not() {
        struct Failing(io::ErrorKind);
        impl Write for Failing {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let exporter = Exporter { format: Format::Jsonl, zone: Zone(None) };
        for (kind, ends_quietly) in [(io::ErrorKind::BrokenPipe, true), (io::ErrorKind::StorageFull, false)] {
            let all = readings().into_iter().map(Ok::<_, Infallible>);
            let outcome = exporter.write(&mut Failing(kind), all, &mut Progress::new());
            assert_eq!(outcome.is_ok(), ends_quietly, "{kind}");
        }
    }

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all.csv");
        let exporter = Exporter { format: Format::Csv, zone: Zone(None) };
        let broken = readings().into_iter().map(Ok).chain([Err(anyhow::anyhow!("gone"))]);
        assert!(to_file(&exporter, Box::new(broken), &path).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        to_file(&exporter, Box::new(readings().into_iter().map(Ok)), &path).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("stream,counter,"));
    }
}
