//! A configuration for what was seen. What it proposes is read by [`config::sources`](crate::config::sources) as it is.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use selvedge_core::limits::{NAME_BYTES_MAX, TEXT_FIELD_BYTES_MAX};

use super::kind::{Field, FieldKind, PayloadKind};
use super::{Report, TopicReport};

/// Streams of one proposal.
const STREAMS_MAX: usize = 1_000;

/// What stands at the top of the device's table.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// Host and port.
    pub address: String,
    /// Further lines of the device: `version = "5"`, `user = "…"`.
    pub lines: Vec<String>,
    /// Lines of its table `tls`; `None`: there is none.
    pub tls: Option<Vec<String>>,
}

/// The text of a configuration, and how many streams are in it.
pub fn propose(head: &Head, report: &Report) -> (String, usize) {
    let mut out = String::new();
    let mut proposal =
        Proposal { out: &mut out, names: BTreeSet::new(), left_out: 0, address_bytes: head.address.len() };
    proposal.line("# Proposed by `selvedge adapter listen mqtt`. Names, types and units are guesses: look through them, take out");
    proposal.line("# what you do not need, then try it: selvedge adapter test --config FILE");
    proposal.line("[[device]]");
    proposal.line("name = \"broker\"");
    proposal.line("protocol = \"mqtt\"");
    proposal.line(&format!("address = {}", quoted(&head.address)));
    for line in &head.lines {
        proposal.line(line);
    }
    if let Some(tls) = &head.tls {
        proposal.line("[device.tls]");
        for line in tls {
            proposal.line(line);
        }
    }
    for topic in &report.topics {
        proposal.topic(topic);
    }
    if report.messages_left_out > 0 {
        let count = report.messages_left_out;
        proposal.line(&format!(
            "\n# {count} messages on further topics are not in here; listen with a narrower --topic"
        ));
    }
    let (streams, left_out) = (proposal.names.len(), proposal.left_out);
    if left_out > 0 {
        proposal.line(&format!(
            "\n# {left_out} further fields are not in here: {STREAMS_MAX} streams are the most, and a place has {TEXT_FIELD_BYTES_MAX} bytes at most"
        ));
    }
    (out, streams)
}

struct Proposal<'a> {
    out: &'a mut String,
    names: BTreeSet<String>,
    left_out: usize,
    address_bytes: usize,
}

impl Proposal<'_> {
    fn line(&mut self, line: &str) {
        // Writing to a text cannot fail.
        let _ = writeln!(self.out, "{line}");
    }

    fn comment(&mut self, topic: &TopicReport, why: &str) {
        self.line(&format!("\n# {}: {why}", plain(&topic.topic)));
    }

    fn topic(&mut self, topic: &TopicReport) {
        if topic.topic.starts_with('$') {
            return self.comment(topic, "what the broker says of itself; left out");
        }
        match topic.kind {
            PayloadKind::Json
            | PayloadKind::Csv
            | PayloadKind::Number
            | PayloadKind::Switch
            | PayloadKind::Text => {}
            PayloadKind::Sparkplug => {
                let note = topic.note.as_deref().unwrap_or_default();
                return self.comment(
                    topic,
                    &format!("Sparkplug B ({}); its streams are named by metric", plain(note)),
                );
            }
            PayloadKind::Binary => return self.comment(topic, "bytes that are no text; left out"),
            PayloadKind::Empty => return self.comment(topic, "empty messages only; left out"),
            PayloadKind::Mixed => return self.comment(topic, "messages of several kinds; left out"),
        }
        let time = topic.fields.iter().find(|field| field.kind == FieldKind::Time);
        for field in topic.fields.iter().filter(|field| field.kind.stream_type().is_some()) {
            // A descriptor says where the value is: `mqtt ADDRESS topic TOPIC column PLACE`.
            let place = self.address_bytes + topic.topic.len() + field.place.len() + 24;
            if self.names.len() >= STREAMS_MAX || place > TEXT_FIELD_BYTES_MAX {
                self.left_out += 1;
                continue;
            }
            self.stream(topic, field, time);
        }
        if topic.fields_left_out > 0 {
            self.line(&format!(
                "# {}: fields that are deeper, longer or more are left out",
                plain(&topic.topic)
            ));
        }
    }

    fn stream(&mut self, topic: &TopicReport, field: &Field, time: Option<&Field>) {
        let kind = field.kind.stream_type().unwrap_or("string");
        let name = self.name(topic, field);
        self.line("\n[[device.stream]]");
        self.line(&format!("name = {}", quoted(&name)));
        self.line(&format!("topic = {}", quoted(&topic.topic)));
        match topic.kind {
            PayloadKind::Json => self.line(&format!("pointer = {}", quoted(&field.place))),
            PayloadKind::Csv => {
                self.line("format = \"csv\"");
                if let Some(rows) = topic.rows {
                    if rows.separator != ',' {
                        self.line(&format!("separator = {}", quoted(&rows.separator.to_string())));
                    }
                    if rows.decimal_comma {
                        self.line("decimal_comma = true");
                    }
                }
                self.line(&format!("column = {}", field.place));
            }
            _ => {}
        }
        if let Some(time) = time {
            let place = if topic.kind == PayloadKind::Csv { time.place.clone() } else { quoted(&time.place) };
            self.line(&format!("time = {place}"));
        }
        self.line(&format!("type = \"{kind}\"     # seen last: {}", plain(&field.example)));
    }

    /// The topic and the place, made a name that nothing else has.
    fn name(&mut self, topic: &TopicReport, field: &Field) -> String {
        let place = match topic.kind {
            PayloadKind::Csv => format!("/{}", field.place),
            _ => field.place.clone(),
        };
        let full: String = format!("{}{place}", topic.topic).chars().filter(|c| !c.is_control()).collect();
        let mut cut = full.as_str();
        // Room for a number behind it.
        while cut.len() > NAME_BYTES_MAX - 6 {
            cut = cut.split_at(cut.len() - cut.chars().next_back().map_or(1, char::len_utf8)).0;
        }
        let mut name = cut.to_owned();
        let mut number = 2;
        while name.is_empty() || !self.names.insert(name.clone()) {
            name = format!("{cut}-{number}");
            number += 1;
        }
        name
    }
}

/// A text of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                // Writing to a text cannot fail.
                let _ = write!(out, "\\u{:04X}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// For a comment: on one line.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
