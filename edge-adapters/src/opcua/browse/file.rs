//! Chosen variables as a configuration, to be used as it is or edited. Pure.
//!
//! Texts that a server sent stand in comments on one line, in strings of TOML, and, reduced to letters and digits, in
//! names: whatever a server calls its nodes, it cannot write a line of the file.

use std::collections::HashSet;
use std::fmt::Write as _;

use selvedge_core::limits::{NAME_BYTES_MAX, STREAMS_MAX, TEXT_FIELD_BYTES_MAX};
use selvedge_core::reading::{Quality, Value};

use super::super::node_id::{Namespace, NodeName};
use super::glob::Glob;
use super::{Found, Node, Target, Variable};
use crate::config::compose::{comment, one_line};
use crate::status_code;

/// Arrays of up to so many elements have a stream for each of them; of a longer one the first has.
pub const ELEMENTS_MAX: usize = 16;
/// What a descriptor needs besides url and node: the protocol, two spaces, an index of five digits with its brackets.
const PLACE_BYTES: usize = 14;
/// Longest value that a comment shows, in characters.
const SHOWN_CHARS_MAX: usize = 60;

/// Which variables, and under which name.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// The name of the device; the names of its streams begin with it.
    pub name: String,
    /// Only these of those that are meant; all if there are none.
    pub only: Vec<Choice>,
}

/// One choice.
#[derive(Debug, Clone, PartialEq)]
pub enum Choice {
    /// This node.
    Node(NodeName),
    /// What has such a path.
    Path(Glob),
}

impl std::str::FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let as_node = text.parse::<NodeName>();
        if let Ok(node) = as_node {
            return Ok(Self::Node(node));
        }
        let prefixes = ["nsu=", "ns=", "i=", "s=", "g=", "b=", "svr="];
        if let (Err(why), true) = (as_node, prefixes.iter().any(|prefix| text.starts_with(prefix))) {
            return Err(format!("{text:?} is no node: {why}"));
        }
        text.parse::<Glob>()
            .map(Self::Path)
            .map_err(|why| format!("{text:?} is neither a node nor a path: {why}"))
    }
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Node(node) => node.fmt(f),
            Self::Path(glob) => glob.fmt(f),
        }
    }
}

impl Choice {
    /// Is the node chosen by this?
    pub fn is_of(&self, found: &Found, at: usize) -> bool {
        match self {
            Self::Node(name) => found.nodes.get(at).is_some_and(|node| found.is_named(node, name)),
            Self::Path(glob) => glob.is_match(found.path(at)),
        }
    }
}

/// The configuration, and how many streams are in it.
pub fn configuration(found: &Found, target: &Target, wish: &Wish) -> (String, usize) {
    let mut text = head(found, target, wish);
    let mut names = HashSet::new();
    let mut streams = 0;
    let chosen = found
        .variables()
        .filter(|(at, ..)| wish.only.is_empty() || wish.only.iter().any(|choice| choice.is_of(found, *at)));
    for (at, node, variable) in chosen {
        text.push('\n');
        text += &comment(&about(&found.written_path(at), variable));
        if let Some(why) = left_out(&found.url, node, variable) {
            text += &comment(&format!("Left out ({}): {why}.", node.node));
            continue;
        }
        if matches!(node.node.namespace, Namespace::Index(1..)) {
            text += &comment(
                "Careful: its namespace has no name of its own; its number may be another after a restart.",
            );
        }
        let elements = match variable.elements {
            None => vec![None],
            Some(count) if count > ELEMENTS_MAX => {
                text += &comment(&format!("The first of {count} elements; index says which."));
                vec![Some(0)]
            }
            Some(count) => (0..count).map(Some).collect(),
        };
        for (number, element) in elements.into_iter().enumerate() {
            if number > 0 {
                text.push('\n');
            }
            let name = name(&wish.name, &found.path(at), element, &mut names);
            text += &stream(&name, node, variable, element);
            streams += 1;
        }
    }
    if streams > STREAMS_MAX {
        let more = format!(
            "There are {streams} streams in this file, more than the {STREAMS_MAX} that a gateway can have. Take out what \
             you do not need, or narrow --path."
        );
        text.insert_str(0, &comment(&more));
    }
    (text, streams)
}

fn head(found: &Found, target: &Target, wish: &Wish) -> String {
    let mut text = comment(&format!("Found by `selvedge adapter browse opcua {}`.", found.url));
    text += &comment(
        "Take out what you do not need, then try it: selvedge adapter test --config FILE. The [[device]] table can be \
         copied into a gateway's selvedge.toml. Values in the comments are those at the time of browsing.",
    );
    if found.is_cut {
        text += &comment("The server has more nodes than were taken in: this is a part of what is meant.");
    }
    // Writing to a string cannot fail.
    let _ =
        write!(text, "\n[[device]]\nname = {}\nprotocol = \"opcua\"\n{}", quoted(&wish.name), target.keys());
    text
}

fn stream(name: &str, node: &Node, variable: &Variable, element: Option<usize>) -> String {
    let mut text =
        format!("[[device.stream]]\nname = {}\nnode = {}\n", quoted(name), quoted(&node.node.to_string()));
    if let Some(element) = element {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "index = {element}");
    }
    match &variable.unit {
        Some(super::Unit { ucum: Some(ucum), .. }) => {
            let _ = writeln!(text, "unit = {}", quoted(ucum));
        }
        Some(super::Unit { symbol, .. }) => {
            text += &comment(&format!("unit = \"…\", in UCUM: the server says {symbol:?}."));
        }
        None => {}
    }
    text
}

/// Why there can be no stream for it.
fn left_out(url: &str, node: &Node, variable: &Variable) -> Option<&'static str> {
    // What stands in a stream's descriptor: "opcua", the url, the node, an index.
    if url.len() + node.node.to_string().len() + PLACE_BYTES > TEXT_FIELD_BYTES_MAX {
        return Some("its node id is longer than the descriptor of a stream can hold");
    }
    if !variable.is_readable {
        return Some("this user may not read it");
    }
    if variable.elements == Some(0) {
        return Some("an array without an element, at the time of browsing");
    }
    (variable.now.status == status_code::STRUCTURE)
        .then_some("a structure, whose fields a stream cannot hold one by one")
}

/// What a variable is, for people.
pub fn about(path: &str, variable: &Variable) -> String {
    let mut text = format!("{path}: {}", variable.kind());
    let value = variable.shown();
    // Writing to a string cannot fail, here and below.
    if !value.is_empty() {
        let _ = write!(text, ", {value}");
    }
    if let Some((low, high)) = variable.range {
        let _ = write!(text, ", usually {low} to {high}");
    }
    if variable.is_writable {
        text += ", may be written";
    }
    text
}

impl Variable {
    /// Its type in words: `Double`, `UInt16[3]`, `ModeEnumeration (Int32)`.
    pub fn kind(&self) -> String {
        let mut text = one_line(&self.data_type);
        // Writing to a string cannot fail.
        if let Some(elements) = self.elements {
            let _ = write!(text, "[{elements}]");
        }
        if let Some(encoding) = self.encoding.filter(|encoding| *encoding != self.data_type) {
            let _ = write!(text, " ({encoding})");
        }
        text
    }

    /// Its value in words, with the unit; a status where it is not good.
    pub fn shown(&self) -> String {
        let value = match &self.now.value {
            Value::None => String::new(),
            Value::Bool(bit) => bit.to_string(),
            Value::Int(int) => int.to_string(),
            Value::Unsigned(int) => int.to_string(),
            Value::Float(float) => float.to_string(),
            Value::Text(text) => format!("{:?}", cut(text)),
            Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
        };
        let unit = self.unit.as_ref().map_or("", |unit| unit.symbol.as_str());
        let mut text = if value.is_empty() { value } else { one_line(format!("{value} {unit}").trim_end()) };
        if self.now.quality != Quality::Good {
            let words = status_code::words(self.now.status);
            let words = words.split(':').next().unwrap_or_default();
            let quality = self.now.quality.name();
            let why = if words.is_empty() { quality.to_owned() } else { format!("{quality}: {words}") };
            text = if text.is_empty() { format!("({why})") } else { format!("{text} ({why})") };
        }
        text
    }
}

fn cut(text: &str) -> String {
    let mut shown: String = one_line(text).chars().take(SHOWN_CHARS_MAX).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// A name for the stream that nothing else has: the path, without `Objects`, in plain characters.
fn name(device: &str, path: &[&str], element: Option<usize>, taken: &mut HashSet<String>) -> String {
    let mut parts: Vec<String> = path.iter().skip(1).map(|name| plain(name)).collect();
    if let (Some(element), Some(last)) = (element, parts.last_mut()) {
        // Writing to a string cannot fail.
        let _ = write!(last, ".{element}");
    }
    let most = NAME_BYTES_MAX - device.len() - 1;
    let mut base = parts.join("/");
    // The end of a path says more than its beginning.
    while base.len() > most {
        base = match base.split_once('/') {
            Some((_, rest)) => rest.to_owned(),
            None => base[base.len() - most..].to_owned(),
        };
    }
    let mut name = format!("{device}/{base}");
    for number in 2.. {
        if taken.insert(name.clone()) {
            break;
        }
        let mark = format!("~{number}");
        let kept = base.len().min(most - mark.len());
        name = format!("{device}/{}{mark}", &base[..kept]);
    }
    name
}

/// Letters, digits, dots, hyphens and underscores. All of one byte, so that it can be cut anywhere.
fn plain(name: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
    name.chars().map(|char| if is_plain(char) { char } else { '-' }).collect()
}

/// A string of TOML.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
