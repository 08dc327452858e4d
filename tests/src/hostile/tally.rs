//! What an attack tried and what it got.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::link::Link;

/// Reasons that differ only in numbers are one; so many are kept.
const REASONS_MAX: usize = 32;

/// See the module.
#[derive(Debug, Default)]
pub struct Tally {
    connections: u64,
    frames: u64,
    bytes: u64,
    heard: u64,
    heard_bytes: u64,
    /// Why connections ended or never began.
    reasons: BTreeMap<String, u64>,
    /// Whatever else there is to say.
    said: serde_json::Map<String, Value>,
}

impl Tally {
    /// A connection was open.
    pub fn connected(&mut self) {
        self.connections += 1;
    }

    /// Datagrams or other things that are no frames.
    pub const fn tried(&mut self, count: u64, bytes: u64) {
        self.frames += count;
        self.bytes += bytes;
    }

    /// A connection did not come about, or ended.
    pub fn reason(&mut self, why: &str) {
        let why = without_ids(why);
        if self.reasons.len() < REASONS_MAX || self.reasons.contains_key(&why) {
            *self.reasons.entry(why).or_default() += 1;
        }
    }

    /// What went over a connection that is done with.
    pub fn over(&mut self, link: &Link) {
        let (bytes, frames) = link.sent;
        self.tried(frames, bytes);
        let (heard, heard_bytes) = link.heard_count();
        self.heard += heard;
        self.heard_bytes += heard_bytes;
    }

    /// Says something more.
    pub fn say(&mut self, name: &str, value: impl Into<Value>) {
        self.said.insert(name.into(), value.into());
    }

    /// All of it.
    pub fn to_json(&self, attack: &str, seed: u64, seconds: f64) -> Value {
        let tried = json!({ "connections": self.connections, "frames": self.frames, "bytes": self.bytes });
        let got = json!({ "reasons": self.reasons, "frames": self.heard, "bytes": self.heard_bytes });
        json!({
            "attack": attack, "seed": seed, "seconds": seconds, "tried": tried, "got": got, "said": self.said,
        })
    }
}

/// Long runs of hexadecimal digits differ from one to the next and say nothing here.
fn without_ids(why: &str) -> String {
    let mut out = String::with_capacity(why.len());
    let mut run = String::new();
    for c in why.chars().chain(std::iter::once('\0')) {
        if c.is_ascii_hexdigit() {
            run.push(c);
            continue;
        }
        out.push_str(if run.len() > 16 { "…" } else { &run });
        run.clear();
        if c != '\0' {
            out.push(c);
        }
    }
    out
}
