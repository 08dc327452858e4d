//! The configuration file: read, checked, and explained with file, line and the nearest valid key.

pub mod network;
mod template;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use edge_adapters::Source;
use selvedge_core::border::{BatchPolicy, TipPolicy, TipSelection};
use serde::Deserialize;
use thiserror::Error;

use crate::engine::clock::Trust;
use network::{NetworkSettings, NetworkTable};
pub use template::{template, template_with_peers};

/// A configuration file is at most this long.
const CONFIG_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A checked configuration.
#[derive(Debug)]
pub struct Settings {
    /// How readings become batches.
    pub batch: BatchPolicy,
    /// How long a poll's readings may wait for others before they are synced.
    pub sync_within: Duration,
    /// Which tips a transaction approves.
    pub tips: TipPolicy,
    /// Whose word counts on the wall clock.
    pub clock: Trust,
    /// Where peers are.
    pub network: NetworkSettings,
    /// The devices.
    pub devices: Vec<Arc<dyn Source>>,
    /// Everything but the devices, as it was read: equal in two files that differ in devices only.
    pub rest: String,
}

/// As written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    batch: BatchTable,
    journal: JournalTable,
    tips: TipsTable,
    clock: ClockTable,
    network: NetworkTable,
    /// Read by the adapters themselves ([`edge_adapters::config`]).
    device: serde::de::IgnoredAny,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BatchTable {
    readings: u32,
    bytes: usize,
    age: Span,
}

impl Default for BatchTable {
    fn default() -> Self {
        let policy = BatchPolicy::default();
        let age = Span(Duration::from_micros(policy.age_max_us));
        Self { readings: policy.readings_max, bytes: policy.bytes_max, age }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct JournalTable {
    sync_within: Span,
}

impl Default for JournalTable {
    fn default() -> Self {
        Self { sync_within: Span(Duration::from_secs(1)) }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TipsTable {
    selection: Selection,
    alpha: f64,
    max_age: Span,
}

impl Default for TipsTable {
    fn default() -> Self {
        let max_age = Span(Duration::from_micros(TipPolicy::default().age_max_us));
        Self { selection: Selection::Uniform, alpha: 0.01, max_age }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Selection {
    Uniform,
    Walk,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ClockTable {
    trust: TrustWord,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum TrustWord {
    #[default]
    Auto,
    Assume,
}

/// A duration, written as `10s` or `200ms`.
#[derive(Debug, Clone, Copy)]
struct Span(Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        edge_adapters::config::duration(&text).map(Self).map_err(|_| {
            serde::de::Error::custom(format!(
                "{text:?} is no duration; expected one such as \"10s\" or \"200ms\""
            ))
        })
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Line, from 1; `None` when the text has no such place.
    pub line: Option<usize>,
    /// What was found, what was expected, what to do.
    pub what: String,
}

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {why}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// It can be read and is wrong.
    #[error("{}", Listed { path, findings })]
    Wrong {
        /// The file.
        path: PathBuf,
        /// All that is wrong with it.
        findings: Vec<Finding>,
    },
}

struct Listed<'a> {
    path: &'a Path,
    findings: &'a [Finding],
}

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, finding) in self.findings.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", self.path.display())?;
            if let Some(line) = finding.line {
                write!(f, ":{line}")?;
            }
            write!(f, ": {}", finding.what)?;
        }
        Ok(())
    }
}

/// Reads and checks a configuration file.
///
/// # Errors
/// When it cannot be read, or all that is wrong with it.
pub fn load(path: &Path) -> Result<Settings, ConfigError> {
    let io = |why| ConfigError::Io { path: path.to_owned(), why };
    if std::fs::metadata(path).map_err(io)?.len() > CONFIG_BYTES_MAX {
        let what = format!("longer than {CONFIG_BYTES_MAX} bytes; this is no configuration");
        return Err(ConfigError::Wrong {
            path: path.to_owned(),
            findings: vec![Finding { line: None, what }],
        });
    }
    let text = std::fs::read_to_string(path).map_err(io)?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    parse_in(folder, &text).map_err(|findings| ConfigError::Wrong { path: path.to_owned(), findings })
}

/// Checks the text of a configuration. Files that it names are meant from the working directory.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(text: &str) -> Result<Settings, Vec<Finding>> {
    parse_in(Path::new(""), text)
}

fn parse_in(folder: &Path, text: &str) -> Result<Settings, Vec<Finding>> {
    let file: File = toml::from_str(text).map_err(|error| vec![explain(text, &error)])?;
    let rest =
        format!("{:?} {:?} {:?} {:?} {:?}", file.batch, file.journal, file.tips, file.clock, file.network);
    let mut findings = Vec::new();
    let mut wrong = |path: &[&str], what: &str| {
        findings.push(Finding { line: line_of_key(text, path), what: what.to_owned() });
    };
    let policy = BatchPolicy {
        readings_max: file.batch.readings,
        bytes_max: file.batch.bytes,
        age_max_us: micros(file.batch.age.0),
    };
    if !(1..=65_536).contains(&policy.readings_max) {
        wrong(&["batch", "readings"], "key `readings`: expected 1 to 65536 readings a batch");
    }
    if !(1_024..=8 * 1024 * 1024).contains(&policy.bytes_max) {
        wrong(&["batch", "bytes"], "key `bytes`: expected 1024 to 8388608 bytes a batch");
    }
    if !(Duration::from_millis(100)..=Duration::from_hours(1)).contains(&file.batch.age.0) {
        wrong(&["batch", "age"], "key `age`: expected 100ms to 1h");
    }
    if file.journal.sync_within.0 > Duration::from_secs(10) {
        wrong(
            &["journal", "sync_within"],
            "key `sync_within`: expected at most 10s; a power cut loses what was not synced",
        );
    }
    if !file.tips.alpha.is_finite() || file.tips.alpha < 0.0 {
        wrong(&["tips", "alpha"], "key `alpha`: expected a number from 0 up");
    }
    let network = file.network.settings(|key, what| wrong(&["network", key], what));
    let devices = edge_adapters::config::sources_in(folder, text).unwrap_or_else(|errors| {
        findings.extend(errors.iter().map(|error| Finding { line: error.line, what: error.to_string() }));
        Vec::new()
    });
    if !findings.is_empty() {
        return Err(findings);
    }
    let selection = match file.tips.selection {
        Selection::Uniform => TipSelection::Uniform,
        Selection::Walk => TipSelection::Walk { alpha: file.tips.alpha },
    };
    Ok(Settings {
        batch: policy,
        sync_within: file.journal.sync_within.0,
        tips: TipPolicy { selection, age_max_us: micros(file.tips.max_age.0) },
        clock: match file.clock.trust {
            TrustWord::Auto => Trust::Auto,
            TrustWord::Assume => Trust::Assume,
        },
        network,
        devices,
        rest,
    })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The parser's error in words, with the nearest valid key where a key is unknown.
fn explain(text: &str, error: &toml::de::Error) -> Finding {
    let line = error.span().map(|span| line_at(text, span.start));
    let message = error.message();
    let mut what = message.to_owned();
    if let Some(rest) = message.strip_prefix("unknown field `")
        && let Some((unknown, expected)) = rest.split_once('`')
    {
        let valid: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        what = match nearest(unknown, &valid) {
            Some(near) => format!("unknown key `{unknown}`; did you mean `{near}`?"),
            None => format!("unknown key `{unknown}`; valid here: {}", valid.join(", ")),
        };
    }
    if !what.contains('`')
        && let Some(key) = error.span().and_then(|span| key_at(text, span.start))
    {
        what = format!("key `{key}`: {what}");
    }
    // The parser speaks of Rust's types.
    for (rust, plain) in [
        ("expected u32", "expected a whole number"),
        ("expected usize", "expected a whole number"),
        ("expected i64", "expected a whole number"),
        ("expected f64", "expected a number"),
    ] {
        what = what.replace(rust, plain);
    }
    Finding { line, what }
}

/// The key at the start of the line that holds this place.
fn key_at(text: &str, offset: usize) -> Option<&str> {
    let start = text.get(..offset)?.rfind('\n').map_or(0, |at| at + 1);
    let (key, _) = text[start..].lines().next()?.split_once('=')?;
    Some(key.trim()).filter(|key| !key.is_empty())
}

/// The valid key that is most like an unknown one, when one is like it at all.
fn nearest<'a>(unknown: &str, valid: &[&'a str]) -> Option<&'a str> {
    let scored = valid.iter().map(|v| (strsim::damerau_levenshtein(unknown, v), *v));
    scored.min().filter(|(distance, v)| *distance <= 1 + v.len() / 3).map(|(_, v)| v)
}

fn line_at(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count() + 1
}

/// The line of a key such as `["batch", "age"]`.
fn line_of_key(text: &str, path: &[&str]) -> Option<usize> {
    let document = toml::de::DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    for (depth, name) in path.iter().enumerate() {
        let (key, value) = table.iter().find(|(k, _)| k.get_ref() == name)?;
        if depth + 1 == path.len() {
            return Some(line_at(text, key.span().start));
        }
        table = value.get_ref().as_table()?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<Finding> {
        parse(text).map(drop).expect_err("it is wrong")
    }

    #[test]
    fn the_template_is_valid_as_written_and_with_its_example_device() {
        let plain = template("g1", "works");
        assert!(parse(&plain).expect("valid").devices.is_empty());
        let with_device: String = plain
            .lines()
            .map(|line| line.strip_prefix("#:").map_or(line, str::trim_start).to_owned() + "\n")
            .collect();
        let settings = parse(&with_device).expect("the example is valid");
        assert_eq!(settings.devices.len(), 2);
        assert!(settings.devices[0].streams().len() >= 2);
    }

    #[test]
    fn an_unknown_key_names_the_nearest_one_with_its_line() {
        let found = findings("[batch]\nreadings = 10\nagee = \"1s\"\n");
        assert_eq!(
            found,
            [Finding { line: Some(3), what: "unknown key `agee`; did you mean `age`?".into() }]
        );
        let found = findings("[[device]]\nname = \"a\"\nprotocol = \"modbus-tcp\"\nadress = \"x:1\"\n");
        let unknown = found.iter().find(|f| f.line == Some(4)).expect("a finding in line 4");
        assert!(unknown.what.contains("expected `address` (did you mean that?)"), "{found:?}");
        assert!(found.iter().any(|f| f.what.contains("key `address`: found nothing")), "{found:?}");
    }

    #[test]
    fn values_out_of_bounds_are_found_where_they_stand() {
        let found = findings("[batch]\nreadings = 0\nage = \"1ms\"\n[tips]\nalpha = -1.0\n");
        assert_eq!(found.iter().map(|f| f.line).collect::<Vec<_>>(), [Some(2), Some(3), Some(5)]);
    }

    #[test]
    fn the_network_table_is_checked_key_by_key() {
        let settings = parse(
            "[network]\nlisten = \"0.0.0.0:7440\"\nadvertise = [\"Press-7.lan:7440\"]\npeers = [\"192.0.2.7:7440\"]\n\
             start_wait = \"0s\"\n",
        )
        .expect("it is right");
        assert_eq!(settings.network.listen.map(|l| l.port()), Some(7440));
        assert_eq!(settings.network.advertise[0].to_string(), "press-7.lan:7440");
        assert!(settings.network.is_used() && settings.network.start_wait.is_zero());
        assert_eq!(settings.network.peers.len(), 1);
        assert_eq!(parse("").expect("none is right").network, NetworkSettings::default());
        let found = findings(
            "[network]\nlisten = \"7440\"\nadvertise = [\"0.0.0.0:1\"]\n\npeers = [\"a:1\", \"b\"]\n",
        );
        assert_eq!(
            found.iter().map(|f| f.line).collect::<Vec<_>>(),
            [Some(2), Some(3), Some(5)],
            "{found:?}"
        );
        assert!(found[2].what.contains("no port"), "{found:?}");
        let found = findings("[network]\nstart_wait = \"2h\"\n");
        assert!(found[0].line == Some(2) && found[0].what.contains("at most 1h"), "{found:?}");
        let found = findings("[network]\npeer = []\n");
        assert!(found[0].what.contains("did you mean `peers`"), "{found:?}");
    }

    #[test]
    fn the_template_takes_peers() {
        let text = template_with_peers("g1", "works", &["192.0.2.7:7440".into(), "press-7.lan:7440".into()]);
        assert_eq!(parse(&text).expect("valid").network.peers.len(), 2);
    }

    #[test]
    fn a_wrong_device_key_is_found_where_it_stands() {
        let text = "[[device]]\nname = \"plc\"\nprotocol = \"modbus-tcp\"\naddress = \"h:502\"\n\n\
                    [[device.stream]]\nname = \"a\"\nregister = \"holding:70000\"\ntype = \"u16\"\n";
        let found = findings(text);
        assert_eq!(found[0].line, Some(8), "{found:?}");
    }

    #[test]
    fn a_duration_that_is_none_says_what_is() {
        let found = findings("[journal]\nsync_within = \"soon\"\n");
        assert_eq!(found[0].line, Some(2));
        assert!(found[0].what.contains("\"200ms\""), "{found:?}");
    }

    /// Mutations of a good file: bytes, lines and words taken out, doubled, swapped.
    fn mutated(good: &str, random: &mut selvedge_core::random::Random) -> String {
        let mut bytes = good.as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len() as u64 + 1) as usize;
            let to = (at + random.below(40) as usize).min(bytes.len());
            match random.below(5) {
                0 => drop(bytes.drain(at..to)),
                1 => bytes.splice(at..at, bytes[at..to].to_vec()).for_each(drop),
                2 => bytes.splice(at..to, b"9999999999999999999".iter().copied()).for_each(drop),
                3 => bytes.truncate(at),
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = random.bits() as u8;
                    }
                }
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[test]
    fn no_text_makes_the_parser_panic_and_each_finding_stands_in_the_file() {
        let cases = std::env::var("SELVEDGE_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(50_000_u32);
        println!("seed 0xC0, {cases} cases");
        let mut random = selvedge_core::random::Random::new(&[0xC0; 32]);
        let good = template("g1", "works").replace("#: ", "").replace("#:\n", "\n");
        assert_eq!(parse(&good).expect("the example is valid").devices.len(), 2);
        let (mut right, mut wrong) = (0, 0);
        for _ in 0..cases {
            let text = mutated(&good, &mut random);
            match parse(&text) {
                Ok(_) => right += 1,
                Err(findings) => {
                    wrong += 1;
                    assert!(!findings.is_empty(), "{text}");
                    for finding in findings {
                        let lines = text.lines().count() + 1;
                        assert!(
                            finding.line.is_none_or(|line| (1..=lines).contains(&line)),
                            "{finding:?} in {text}"
                        );
                        assert!(!finding.what.is_empty());
                    }
                }
            }
        }
        assert!(right > 0 && wrong > 0, "{right} right, {wrong} wrong");
    }
}
