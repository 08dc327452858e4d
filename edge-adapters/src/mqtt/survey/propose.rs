//! A configuration for what was seen. What it proposes is read by [`config::sources`](crate::config::sources) as it is.

#[cfg(feature = "sparkplug")]
mod sparkplug;

#[cfg(feature = "sparkplug")]
pub use sparkplug::unborn;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use selvedge_core::limits::{NAME_BYTES_MAX, TEXT_FIELD_BYTES_MAX};

use super::kind::{Field, FieldKind, PayloadKind};
use super::{Report, TopicReport};
use crate::config::compose::one_line;

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
    let mut proposal = Proposal { head, out: String::new(), names: BTreeSet::new(), left_out: 0 };
    proposal.line("# Proposed by `selvedge adapter listen mqtt`. Names, types and units are guesses: look through them, take out");
    proposal.line("# what you do not need, then try it: selvedge adapter test --config FILE");
    proposal.topics(report);
    #[cfg(feature = "sparkplug")]
    sparkplug::groups(&mut proposal, report);
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
    (proposal.out, streams)
}

struct Proposal<'a> {
    head: &'a Head,
    out: String,
    /// Of streams.
    names: BTreeSet<String>,
    left_out: usize,
}

impl Proposal<'_> {
    fn line(&mut self, line: &str) {
        // Writing to a text cannot fail.
        let _ = writeln!(self.out, "{line}");
    }

    /// The keys of a device, before its streams.
    fn device(&mut self, name: &str, protocol: &str, more: &[String]) {
        let head = self.head;
        self.line("\n[[device]]");
        self.line(&format!("name = {}", quoted(name)));
        self.line(&format!("protocol = \"{protocol}\""));
        self.line(&format!("address = {}", quoted(&head.address)));
        for line in head.lines.iter().chain(more) {
            self.line(line);
        }
        if let Some(tls) = &head.tls {
            self.line("[device.tls]");
            for line in tls {
                self.line(line);
            }
        }
    }

    /// All that is no Sparkplug. The device is there only if it has streams.
    fn topics(&mut self, report: &Report) {
        let before = std::mem::take(&mut self.out);
        for topic in &report.topics {
            self.topic(topic);
        }
        let topics = std::mem::replace(&mut self.out, before);
        if !self.names.is_empty() {
            self.device("broker", "mqtt", &[]);
        }
        self.out.push_str(&topics);
    }

    fn comment(&mut self, topic: &TopicReport, why: &str) {
        self.line(&format!("\n# {}: {why}", one_line(&topic.topic)));
    }

    fn topic(&mut self, topic: &TopicReport) {
        if topic.topic.starts_with('$') {
            return self.comment(topic, "what the broker says of itself; left out");
        }
        if topic.topic.starts_with("spBv1.0/STATE/") {
            return self.comment(topic, "what a host application of Sparkplug says of itself; left out");
        }
        match topic.kind {
            PayloadKind::Json
            | PayloadKind::Csv
            | PayloadKind::Number
            | PayloadKind::Switch
            | PayloadKind::Text => {}
            // Its streams are named by metric and not by topic.
            PayloadKind::Sparkplug if cfg!(feature = "sparkplug") => return,
            PayloadKind::Sparkplug => {
                return self.comment(topic, "Sparkplug B, which this program is built without");
            }
            PayloadKind::Binary => return self.comment(topic, "bytes that are no text; left out"),
            PayloadKind::Empty => return self.comment(topic, "empty messages only; left out"),
            PayloadKind::Mixed => return self.comment(topic, "messages of several kinds; left out"),
        }
        let time = topic.fields.iter().find(|field| field.kind == FieldKind::Time);
        for field in topic.fields.iter().filter(|field| field.kind.stream_type().is_some()) {
            // A descriptor says where the value is: `mqtt ADDRESS topic TOPIC column PLACE`.
            let place = self.head.address.len() + topic.topic.len() + field.place.len() + 24;
            if self.names.len() >= STREAMS_MAX || place > TEXT_FIELD_BYTES_MAX {
                self.left_out += 1;
                continue;
            }
            self.stream(topic, field, time);
        }
        if topic.fields_left_out > 0 {
            self.line(&format!(
                "# {}: fields that are deeper, longer or more are left out",
                one_line(&topic.topic)
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
        self.line(&format!("type = \"{kind}\"     # seen last: {}", one_line(&field.example)));
    }

    /// The topic and the place, made a name that nothing else has.
    fn name(&mut self, topic: &TopicReport, field: &Field) -> String {
        let place = match topic.kind {
            PayloadKind::Csv => format!("/{}", field.place),
            _ => field.place.clone(),
        };
        self.unique(&format!("{}{place}", topic.topic))
    }

    /// Made a name that no other stream has.
    fn unique(&mut self, full: &str) -> String {
        let full = one_line(full);
        // Room for a number behind it.
        let cut = &full[..full.floor_char_boundary(NAME_BYTES_MAX - 6)];
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
