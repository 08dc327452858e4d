//! `selvedge adapter scan`: what is at an address, as a configuration.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use edge_adapters::modbus::scan::file::{Wish, configuration, readable, who};
use edge_adapters::modbus::scan::{Answering, Request, Scanned, SunSpec, Unit, scan};
use edge_adapters::modbus::sunspec::decode::{Model, Point};
use serde_json::{Value, json};

use super::{check_new, parse_duration, parse_name, write_new};
use crate::answers::shown;
use crate::cli::{Failed, Globals, start_log};

const AFTER_HELP: &str = "\
Examples:
  selvedge adapter scan modbus 192.168.1.40                        what is there?
  selvedge adapter scan modbus 192.168.1.40 --out inverter.toml    and a configuration for it
  selvedge adapter test --config inverter.toml                     which is used as it is
  selvedge adapter scan modbus gateway.local:1502 --unit 1-10,247 --timeout 5s
  selvedge adapter scan modbus 192.168.1.40 --unit 1 --json

It only reads: one connection, one question at a time, with pauses where nothing answers. Units with SunSpec models \
(solar inverters, meters, batteries) say what their registers mean, with units and scale factors. Others do not: of \
them it finds out which registers can be read, and the manual must say the rest.

Exit codes: 0 something answered; 1 nothing did; 2 wrong use, or the file cannot be written.";

/// Units that are asked if nobody says which.
const UNITS: &str = "1-10";
const PORT: u16 = 502;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    protocol: Protocol,
}

#[derive(Debug, clap::Subcommand)]
enum Protocol {
    /// Modbus TCP: which units answer, which SunSpec models they have, what can be read.
    #[command(after_help = AFTER_HELP)]
    Modbus(ModbusArgs),
}

#[derive(Debug, clap::Args)]
struct ModbusArgs {
    /// Where: a host, or host and port; port 502 if not given.
    #[arg(value_parser = parse_address, value_name = "HOST[:PORT]")]
    address: String,
    /// Which units, 0 to 255: one, a range, or several of both.
    #[arg(long = "unit", default_value = UNITS, value_parser = parse_units, value_name = "UNITS")]
    units: Units,
    /// How long an answer may take. Longer than a gateway to a serial line waits for a unit that is not there.
    #[arg(long, default_value = "2s", value_parser = parse_duration, value_name = "DURATION")]
    timeout: Duration,
    /// Write a configuration into this new file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// With what the names in the configuration begin; what the device calls itself if not given.
    #[arg(long, value_parser = parse_name, value_name = "NAME")]
    name: Option<String>,
    /// Configure points too that the device says it has not.
    #[arg(long)]
    all: bool,
}

/// Units, as written and in order.
#[derive(Debug, Clone)]
struct Units {
    written: String,
    ids: Vec<u8>,
}

fn parse_units(text: &str) -> Result<Units, String> {
    let wrong =
        || format!("{text:?} names no units; expected numbers from 0 to 255 such as 1, 1-10 or 1-10,247");
    let mut ids = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<u8>().map_err(|_| wrong());
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(wrong());
        }
        ids.extend((first..=last).filter(|id| !ids.contains(id)).collect::<Vec<_>>());
    }
    Ok(Units { written: text.to_owned(), ids })
}

/// Host and port, with the usual port if there is none.
fn parse_address(text: &str) -> Result<String, String> {
    let wrong = || {
        format!("{text:?} is no address; expected a host, or host:port such as 10.0.0.7:502 or [fd00::7]:502")
    };
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/') {
        return Err(wrong());
    }
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(format!("[{text}]:{PORT}"));
    }
    // A bracket at the end is the end of an IPv6 address, whose colons are no sign of a port.
    match text.rsplit_once(':').filter(|_| !text.ends_with(']')) {
        None => Ok(format!("{text}:{PORT}")),
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) => {
            Ok(text.to_owned())
        }
        Some(_) => Err(wrong()),
    }
}

/// Runs it.
pub(super) fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let Protocol::Modbus(args) = args.protocol;
    start_log("error");
    if let Some(out) = &args.out {
        check_new(out)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let request =
        Request { address: args.address.clone(), units: args.units.ids.clone(), timeout: args.timeout };
    eprintln!(
        "selvedge: asking units {} at {}, up to {:?} for each answer",
        args.units.written, args.address, args.timeout
    );
    let progress = |line: &str| eprintln!("selvedge: {line}");
    let scanned = runtime.block_on(scan(&request, progress)).map_err(|error| {
        Failed(format!("{error}; is the device on, the address right, and Modbus TCP switched on there?"))
    })?;
    let nothing = scanned.answering().next().is_none();
    let written = match &args.out {
        Some(out) if !nothing => Some((out, write(out, &scanned, &Wish { name: args.name, all: args.all })?)),
        _ => None,
    };
    print(&scanned, written, globals.json)?;
    if nothing {
        return Err(Failed(format!(
            "no unit of {} answered at {}; others may, such as --unit 0,126,247,255, and a slow gateway wants a longer --timeout",
            args.units.written, args.address
        ))
        .into());
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the configuration; returns how many streams are in it.
fn write(out: &Path, scanned: &Scanned, wish: &Wish) -> anyhow::Result<usize> {
    let (text, streams) = configuration(scanned, wish);
    write_new(out, &text)?;
    Ok(streams)
}

fn print(scanned: &Scanned, written: Option<(&PathBuf, usize)>, is_json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let text = if is_json { to_json(scanned, written) + "\n" } else { to_words(scanned, written) };
    // Nobody may be reading any more.
    match out.write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn to_words(scanned: &Scanned, written: Option<(&PathBuf, usize)>) -> String {
    let mut lines: Vec<String> = Vec::new();
    for unit in &scanned.units {
        let who = who(unit);
        let what = match (&unit.answer, &unit.sunspec) {
            (Answering::No(why), _) => why.clone(),
            (Answering::As(other), _) => {
                format!("is unit {other} once more: same serial number, same models")
            }
            (Answering::Yes, Some(sunspec)) => format!("{who}; SunSpec at holding:{}", sunspec.base),
            (Answering::Yes, None) => format!(
                "answers{}{who}; no SunSpec, so its manual must say what its registers mean",
                if who.is_empty() { "" } else { ": " }
            ),
        };
        lines.push(format!("unit {:<3}  {what}", unit.unit_id));
        if unit.answer != Answering::Yes {
            continue;
        }
        if let Some(sunspec) = &unit.sunspec {
            lines.extend(sunspec.models.iter().map(model_words));
            lines.extend(
                sunspec.broken.iter().map(|why| format!("          the chain of models is broken: {why}")),
            );
        }
        lines.extend(unit.readable.iter().map(|range| format!("          {}", readable(range))));
    }
    lines.extend(scanned.cut_short.iter().map(|why| format!("the scan ended early, {why}")));
    if let Some((file, streams)) = written {
        let file = file.display();
        lines.push(format!(
            "wrote {file} with {streams} streams; try it: selvedge adapter test --config {file}"
        ));
    } else if scanned.answering().next().is_some() {
        lines.push("--out FILE writes a configuration for it".to_owned());
    }
    lines.join("\n") + "\n"
}

fn model_words(model: &Model) -> String {
    let link = model.link;
    let Some((name, label)) = model.known else {
        return format!(
            "          model {:<5} not known; {} registers at holding:{}",
            link.id, link.length, link.address
        );
    };
    let there = model.points.iter().filter(|point| point.is_implemented()).count();
    format!(
        "          model {:<5} {name} ({label}) at holding:{}: {there} of {} points implemented",
        link.id,
        link.address,
        model.points.len()
    )
}

fn to_json(scanned: &Scanned, written: Option<(&PathBuf, usize)>) -> String {
    json!({
        "address": scanned.address,
        "questions": scanned.questions,
        "cut_short": scanned.cut_short,
        "units": scanned.units.iter().map(unit_json).collect::<Vec<_>>(),
        "file": written.map(|(file, streams)| json!({ "path": file, "streams": streams })),
    })
    .to_string()
}

fn unit_json(unit: &Unit) -> Value {
    let (answers, error, same_as) = match &unit.answer {
        Answering::Yes => (true, None, None),
        Answering::As(other) => (true, None, Some(other)),
        Answering::No(why) => (false, Some(why), None),
    };
    let identification: serde_json::Map<String, Value> =
        unit.identification.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let readable: Vec<Value> = unit
        .readable
        .iter()
        .map(|range| {
            json!({
                "table": range.span.table.name(), "first": range.span.first, "last": range.span.last,
                "max_in_request": range.at_most, "may_go_on": range.may_go_on,
            })
        })
        .collect();
    json!({
        "unit": unit.unit_id, "answers": answers, "error": error, "same_as": same_as,
        "identification": identification, "sunspec": unit.sunspec.as_ref().map(sunspec_json), "readable": readable,
    })
}

fn sunspec_json(sunspec: &SunSpec) -> Value {
    json!({
        "base": sunspec.base, "error": sunspec.broken, "max_registers": sunspec.max_registers,
        "models": sunspec.models.iter().map(model_json).collect::<Vec<_>>(),
    })
}

fn model_json(model: &Model) -> Value {
    json!({
        "id": model.link.id, "name": model.known.map(|known| known.0), "label": model.known.map(|known| known.1),
        "address": model.link.address, "length": model.link.length, "notes": model.notes,
        "points": model.points.iter().map(point_json).collect::<Vec<_>>(),
        "unexplained": model.rest.as_ref().map(|(first, registers)| json!({ "address": first, "registers": registers })),
    })
}

fn point_json(point: &Point) -> Value {
    let raw = point.decoded().map_or(selvedge_core::reading::Value::None, |decoded| decoded.value);
    json!({
        "name": point.path, "label": point.label, "type": point.kind.name(), "address": point.address,
        "registers": point.registers, "implemented": point.is_implemented(), "raw": shown::Scalar::raw(&raw),
        "value": point.value(), "scale": point.factor().to_string(), "unit": point.ucum(), "sunspec_unit": point.unit,
    })
}

#[cfg(test)]
mod tests {
    use super::{parse_address, parse_units};

    #[test]
    fn addresses_get_a_port() {
        for (text, address) in [
            ("10.0.0.7", "10.0.0.7:502"),
            ("10.0.0.7:1502", "10.0.0.7:1502"),
            ("plc.example", "plc.example:502"),
            ("fd00::7", "[fd00::7]:502"),
            ("[fd00::7]", "[fd00::7]:502"),
            ("[fd00::7]:1502", "[fd00::7]:1502"),
        ] {
            assert_eq!(parse_address(text).as_deref(), Ok(address));
        }
        for wrong in ["", ":502", "plc:", "plc:0", "plc:65536", "plc:x", "modbus://plc", "a b"] {
            assert!(parse_address(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn units_are_numbers_ranges_and_lists_of_both() {
        assert_eq!(parse_units("1").expect("one").ids, [1]);
        assert_eq!(parse_units("1-4").expect("a range").ids, [1, 2, 3, 4]);
        assert_eq!(parse_units("3-4,1,4,255").expect("several").ids, [3, 4, 1, 255]);
        for wrong in ["", "4-1", "256", "1-256", "1-", "-1", "1,,2", "one"] {
            assert!(parse_units(wrong).is_err(), "{wrong:?}");
        }
    }
}
