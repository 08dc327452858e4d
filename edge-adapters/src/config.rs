//! `[[device]]` tables and their `[[device.stream]]` entries.
//!
//! [`sources`] takes the text of a whole configuration file and reads the devices in it; everything else in the file is
//! someone else's. All that is wrong is said at once, each with its line, device, stream and key, what was found and
//! what was expected; and nothing is started before everything is right.
//!
//! # Layout
//! - [`written`]: the file as a tree, with lines
//! - [`keys`]: reading one table, key by key
//! - [`stream`]: the keys of every stream
//! - [`modbus`], [`mqtt`], [`opcua`]: the keys of a protocol
//! - `tls`: the table of that name
//! - [`text`]: values that are written as text; [`registers`]: those of Modbus
//! - `bounds`: what may be written, and whether its stream could hold it
//! - [`compose`], `unit`: for programs that write a configuration

mod bounds;
pub mod compose;
pub(crate) mod keys;
#[cfg(feature = "modbus")]
mod modbus;
#[cfg(feature = "mqtt")]
mod mqtt;
#[cfg(feature = "opcua")]
mod opcua;
#[cfg(feature = "modbus")]
mod registers;
mod stream;
mod text;
#[cfg(any(feature = "mqtt", feature = "modbus-tls"))]
mod tls;
pub(crate) mod unit;
mod written;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use selvedge_core::limits::STREAMS_MAX;
use thiserror::Error;

use crate::adapter::{Claim, Head, Source};
use keys::{Findings, Keys, Named, quoted};
pub use text::duration;
use written::{Table, Value};

/// Most devices of a gateway.
const DEVICES_MAX: usize = 256;

/// A protocol: its name in the configuration, and what reads the keys of its devices. `None` only after a finding.
type Protocol = (&'static str, fn(&mut Keys<'_>, Head) -> Option<Arc<dyn Source>>);

const PROTOCOLS: &[Protocol] = &[
    #[cfg(feature = "modbus")]
    ("modbus-tcp", |keys, head| Some(Arc::new(modbus::device(keys, head)?))),
    #[cfg(feature = "modbus-serial")]
    ("modbus-rtu", |keys, head| Some(Arc::new(modbus::device(keys, head)?))),
    #[cfg(feature = "modbus")]
    ("modbus-rtu-over-tcp", |keys, head| Some(Arc::new(modbus::device(keys, head)?))),
    #[cfg(feature = "modbus-tls")]
    ("modbus-tls", |keys, head| Some(Arc::new(modbus::device(keys, head)?))),
    #[cfg(feature = "mqtt")]
    ("mqtt", |keys, head| Some(Arc::new(mqtt::device(keys, head)))),
    #[cfg(feature = "opcua")]
    ("opcua", |keys, head| Some(Arc::new(opcua::device(keys, head)?))),
    #[cfg(feature = "sparkplug")]
    ("sparkplug", |keys, head| Some(Arc::new(mqtt::sparkplug::device(keys, head)))),
];

/// A number or text, as written.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// An integer.
    Integer(i64),
    /// A float.
    Float(f64),
    /// A text.
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(integer) => write!(f, "{integer}"),
            // With the exponent where there would be dozens of zeros.
            Self::Float(float) => write!(f, "{float:?}"),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}, key `{}`: found {found}, expected {expected}", .name, .key)]
pub struct ConfigError {
    /// Its line, from 1; `None` when it is about the whole file.
    pub line: Option<usize>,
    /// Which `[[device]]`, counted from 0 as in the file.
    pub device: usize,
    /// Device and stream by name.
    pub name: String,
    /// Which key; within a table of its own with a dot: `tls.ca_file`.
    pub key: String,
    /// What stands there.
    pub found: String,
    /// What may stand there.
    pub expected: String,
}

/// Every device of a configuration file, checked, in order of the file. Files that it names are meant from the working
/// directory.
///
/// # Errors
/// All that is wrong with them, by line.
pub fn sources(text: &str) -> Result<Vec<Arc<dyn Source>>, Vec<ConfigError>> {
    sources_in(Path::new(""), text)
}

/// The same of a file in this folder, from which the files are meant that it names.
///
/// # Errors
/// As for [`sources`].
pub fn sources_in(folder: &Path, text: &str) -> Result<Vec<Arc<dyn Source>>, Vec<ConfigError>> {
    let of_file = |line, found: String, expected: &str| ConfigError {
        line,
        device: 0,
        name: "the file".to_owned(),
        key: "device".to_owned(),
        found,
        expected: expected.to_owned(),
    };
    let file = written::parse(text).map_err(|(line, why)| vec![of_file(line, why, "TOML")])?;
    let Some(devices) = file.get("device") else { return Ok(Vec::new()) };
    let tables = match &devices.value {
        Value::List(list) => {
            list.iter().map(|v| if let Value::Table(t) = v { Some(t) } else { None }).collect()
        }
        _ => None,
    };
    let tables: Vec<&Table> =
        tables.ok_or_else(|| vec![of_file(Some(devices.line), "no table".to_owned(), "[[device]]")])?;

    let findings = Findings::of(folder);
    let mut sources = Vec::new();
    for (number, table) in tables.iter().enumerate() {
        sources.push(device(Keys::new(table, &findings, number)));
    }
    let file_error =
        |found: String, expected: &str| findings.push(of_file(Some(devices.line), found, expected));
    if tables.len() > DEVICES_MAX {
        file_error(format!("{} devices", tables.len()), &format!("at most {DEVICES_MAX}"));
    }
    let streams = findings.names(Named::Stream);
    if streams > STREAMS_MAX {
        file_error(format!("{streams} streams"), &format!("at most {STREAMS_MAX}"));
    }
    check_claims(&tables, &sources, &findings);
    if findings.count() > 0 {
        return Err(findings.into_errors());
    }
    Ok(sources.into_iter().flatten().collect())
}

fn device(mut keys: Keys<'_>) -> Option<Arc<dyn Source>> {
    let name = keys.required("name", "a name of your choice, which stands in proofs");
    if !name.is_empty() || keys.has("name") {
        keys.take_name(Named::Device, &name);
    }
    let known: Vec<(&str, Option<Protocol>)> =
        PROTOCOLS.iter().map(|protocol| (protocol.0, Some(*protocol))).collect();
    if !keys.has("protocol") {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        keys.wrong("protocol", "nothing", format!("one of {}", names.join(", ")));
    }
    let (protocol, read) = keys.choice("protocol", None, &known)?;
    let head = Head { device: name, protocol, written: keys.written() };
    let source = read(&mut keys, head);
    keys.finish();
    source
}

/// No two devices claim one thing, unless they share it on the same terms.
fn check_claims(tables: &[&Table], sources: &[Option<Arc<dyn Source>>], findings: &Findings) {
    let mut claimed: BTreeMap<String, (String, Option<String>)> = BTreeMap::new();
    for (number, source) in sources.iter().enumerate() {
        let Some(source) = source else { continue };
        for claim in source.claims() {
            let Claim { key, resource, terms, expected, .. } = claim;
            match claimed.get(&resource) {
                Some((_, shared)) if terms.is_some() && terms == *shared => {}
                Some((first, shared)) => {
                    let on = |terms: &Option<String>| {
                        terms.as_ref().map_or_else(String::new, |terms| format!(" with {terms}"))
                    };
                    let first = quoted(first);
                    let found =
                        format!("{resource}{}, which device {first} uses{} too", on(&terms), on(shared));
                    Keys::new(tables[number], findings, number).wrong(key, found, expected);
                }
                None => drop(claimed.insert(resource, (source.device().to_owned(), terms))),
            }
        }
    }
}

/// What is right as it stands, and may still be a mistake: a line each, for whoever starts or checks the configuration.
pub fn doubts(sources: &[Arc<dyn Source>]) -> Vec<String> {
    let mut seen: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut doubts = Vec::new();
    for source in sources {
        for Claim { key, resource, kin, .. } in source.claims() {
            let Some(kin) = kin else { continue };
            match seen.get(&kin) {
                Some((first, other)) if *other != resource => doubts.push(format!(
                    "device {}, key `{key}`: {resource}, and device {} has {other}; if both addresses lead to one server, its two \
                     clients throw each other out for ever: give one a `{key}` of its own",
                    quoted(source.device()),
                    quoted(first),
                )),
                Some(_) => {}
                None => drop(seen.insert(kin, (source.device().to_owned(), resource))),
            }
        }
    }
    doubts
}
