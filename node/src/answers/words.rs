//! The answers as lines for people. Programs take `--json`.

use std::io::{self, Write};

use edge_adapters::{MessageFigures, SubscriptionFigures};
use selvedge_proof::unit_text;

use super::readings::ReadingAnswer;
use super::shown::{Scalar, Time};
use super::standing;
use super::status::{
    BacklogAnswer, ClockAnswer, DeviceAnswer, DiskAnswer, LedgerAnswer, NodeState, StatusAnswer, closes_words,
};
use super::streams::StreamsAnswer;
use super::tangle::{TangleAnswer, TransactionAnswer, short_id};
use super::times::{age_words, bytes_words, count_words, plain, plural, span_words};

/// Readings that came later than this after their source time show both times.
const LATE_NS: u64 = 1_000_000_000;

/// `21.4 °C`.
pub fn value_words(value: &Scalar, unit: &str) -> String {
    match value {
        Scalar::None => value.words(),
        _ if unit.is_empty() => value.words(),
        _ => format!("{} {}", value.words(), unit_text(unit)),
    }
}

/// The same with the word for it: `1 (running)`.
fn named_words(value: &Scalar, word: Option<&str>, unit: &str) -> String {
    let word = word.map_or_else(String::new, |word| format!(" ({})", plain(word)));
    value_words(value, unit) + &word
}

/// Columns as wide as their longest cell; the last one is not padded.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|h| (*h).to_owned()).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Writes it.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |at: usize| self.rows.iter().filter_map(|r| r.get(at)).map(|c| c.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let padding = width - cell.chars().count();
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', padding + 2));
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

impl StatusAnswer {
    /// For people.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_words(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut line = |name: &str, text: String| writeln!(out, "{name:<9} {text}");
        line("Node", self.node_words())?;
        let name = self.gateway.name.as_deref().unwrap_or("not enrolled yet");
        let organisation =
            self.gateway.organisation.as_deref().map_or_else(String::new, |o| format!(" of {o:?}"));
        line("Gateway", format!("{name:?}{organisation}, {}", self.gateway.id))?;
        line("Network", format!("{:?}, {}", self.network.name, self.network.id))?;
        line("Clock", clock_words(&self.clock))?;
        line("Backlog", backlog_words(&self.backlog, self.asked))?;
        line("Ledger", ledger_words(&self.ledger))?;
        if let Some(peers) = &self.peers {
            line("Peers", standing::words(peers, self.own_chain.as_ref()))?;
        }
        line("Disk", disk_words(&self.disk))?;
        line("Streams", count_words(self.streams))?;
        if self.devices.is_empty() {
            line("Devices", "none; name one in the configuration".into())?;
        } else {
            writeln!(out, "Devices")?;
        }
        for device in &self.devices {
            writeln!(out, "  {}", device_words(device, self.asked))?;
        }
        if !self.attention.is_empty() {
            writeln!(out, "\nNeeds attention:")?;
        }
        for what in &self.attention {
            writeln!(out, "- {}", plain(what))?;
        }
        Ok(())
    }

    fn node_words(&self) -> String {
        let uptime = self.uptime_s.map_or_else(String::new, |s| match s {
            // Whole seconds are all that is known.
            0..10 => format!(" for {s} s"),
            _ => format!(" for {}", span_words(s.saturating_mul(1_000_000_000))),
        });
        match self.state {
            NodeState::Running => format!("running{uptime}, version {}", self.version),
            NodeState::Starting => format!(
                "starting{uptime}, version {}; journals readings, and asks its peers how far its chain goes",
                self.version
            ),
            NodeState::Silent => {
                format!("running{uptime}, version {}; journals readings, issues nothing", self.version)
            }
            NodeState::Halted => format!("halted{uptime}, version {}", self.version),
            NodeState::NotRunning => "not running; this is what the store says".into(),
        }
    }
}

fn clock_words(clock: &ClockAnswer) -> String {
    let kept = match (clock.plausible, clock.synchronised) {
        (false, _) => "cannot be right",
        (true, Some(true)) => "synchronised",
        (true, Some(false)) => "not synchronised",
        (true, None) => "plausible",
    };
    format!("{}, {kept}", Time(clock.now.0 - clock.now.0.rem_euclid(1_000_000)))
}

fn backlog_words(backlog: &BacklogAnswer, asked: Time) -> String {
    if backlog.readings == 0 {
        return "none: every reading is in a transaction".into();
    }
    let mut words = vec![format!("{} in no transaction yet", plural(backlog.readings, "reading"))];
    if backlog.batches > 1 {
        words.push(format!(", in {}", plural(backlog.batches, "batch")));
    }
    if let Some(drain) = &backlog.drain {
        words.push(format!(", about {} left", span_words(drain.left_s.max(1).saturating_mul(1_000_000_000))));
    }
    if let Some(oldest) = backlog.oldest {
        words.push(format!(", the oldest journaled {}", age_words(oldest, asked)));
    }
    if let Some(batch) = &backlog.newest_batch {
        let of =
            batch.readings_max.map_or_else(String::new, |max| format!(" of {}", count_words(u64::from(max))));
        words.push(format!("; batch {}: {}{of}", batch.number, count_words(batch.readings)));
        words.push(closes_words(batch, asked).map_or_else(String::new, |closes| format!(", {closes}")));
    }
    words.concat()
}

fn ledger_words(ledger: &LedgerAnswer) -> String {
    let mut words =
        vec![format!("{}, {}", plural(ledger.transactions, "transaction"), plural(ledger.tips, "tip"))];
    if let Some((sequence, id)) = &ledger.own_newest {
        words.push(format!("; own newest: sequence {}, {id}", count_words(*sequence)));
    }
    for (count, what) in [(ledger.pending, "pending"), (ledger.wanted, "wanted")] {
        if let Some(count) = count.filter(|count| *count > 0) {
            words.push(format!("; {} {what}", count_words(count)));
        }
    }
    words.concat()
}

fn disk_words(disk: &DiskAnswer) -> String {
    let free = disk.free_bytes.map_or_else(String::new, |free| format!("; {} free", bytes_words(free)));
    format!(
        "{} (log {}, journal {}, index {}, archive {}){free}",
        bytes_words(disk.total_bytes),
        bytes_words(disk.log_bytes),
        bytes_words(disk.journal_bytes),
        bytes_words(disk.index_bytes),
        bytes_words(disk.archive_bytes),
    )
}

pub(super) fn device_words(device: &DeviceAnswer, asked: Time) -> String {
    let mut words = vec![device.name.clone()];
    if let Some(state) = &device.state {
        words.push(format!("  {state}"));
        words.push(device.since.map_or_else(String::new, |since| {
            format!(" for {}", span_words(u64::try_from(asked.0.saturating_sub(since.0)).unwrap_or(0)))
        }));
    }
    words.push(format!("  {}", plain(&device.address)));
    words.push(match &device.last_good {
        Some(good) => format!(
            "  last good: {} = {}, {}",
            good.stream,
            named_words(&good.value, good.word.as_deref(), &good.unit),
            age_words(good.receive_time, asked)
        ),
        None => "  no good reading yet".to_owned(),
    });
    if let Some(dropped) = device.dropped.filter(|dropped| *dropped > 0) {
        words.push(format!("  {} dropped: the node was too slow", count_words(dropped)));
    }
    words.extend(device.messages.as_ref().map(message_words));
    words.extend(device.subscription.as_ref().map(subscription_words));
    words.concat()
}

/// What a person should know of a broker's messages, beyond that they come.
fn message_words(figures: &MessageFigures) -> String {
    let last = figures.unmatched_topics.last();
    let last = last.map_or_else(String::new, |topic| format!(" (the last {})", plain(topic)));
    counted([
        (figures.unmatched, "on topics without a stream", last.as_str()),
        (figures.undecodable, "bad: not what the configuration says", ""),
        (figures.possibly_repeated, "possibly repeated", ""),
        (figures.sessions_lost, "times the broker lost the session", ""),
    ])
}

/// What a person should know of a server's subscription, beyond that values come.
fn subscription_words(figures: &SubscriptionFigures) -> String {
    counted([
        (figures.items_refused, "of its nodes refused by the server", ""),
        (figures.overflows, "times its queue was full and the server dropped values", ""),
        (figures.notifications_lost, "notifications lost", ""),
        (figures.deaf, "nodes of which the server said nothing, watched anew", ""),
    ])
}

/// What there is any of.
fn counted<const N: usize>(figures: [(u64, &str, &str); N]) -> String {
    let there = figures.into_iter().filter(|(count, ..)| *count > 0);
    there
        .map(|(count, what, more)| format!("  {} {what}{more}", count_words(count)))
        .collect::<Vec<_>>()
        .concat()
}

impl StreamsAnswer {
    /// For people.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_words(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.streams.is_empty() {
            return writeln!(out, "no streams yet; `selvedge run` makes those of the configuration");
        }
        let mut table =
            Table::new(&["STREAM", "DEVICE", "TYPE", "UNIT", "READINGS", "LAST VALUE", "QUALITY", "AGE"]);
        for stream in &self.streams {
            let last = stream.last.as_ref();
            table.row(vec![
                stream.name.clone(),
                stream.device.clone(),
                plain(&stream.source_type),
                unit_text(&stream.unit),
                count_words(stream.readings),
                last.map_or_else(|| "none yet".into(), |r| named_words(&r.value, r.word.as_deref(), &r.unit)),
                last.map_or_else(String::new, |r| r.quality.clone()),
                last.map_or_else(String::new, |r| age_words(r.receive_time, self.asked)),
            ]);
        }
        table.write(out)
    }
}

/// Do they look alike to a person? The raw 21.399999618530273 of a device that sends 32-bit floats is its 21.4.
fn is_same(raw: &Scalar, value: &Scalar) -> bool {
    let narrow = |text: &str| text.parse::<f64>().map(|number| number as f32);
    match (raw, value) {
        (Scalar::Number(raw), Scalar::Number(value)) => raw == value || narrow(raw) == narrow(value),
        _ => raw == value,
    }
}

/// One reading as a line.
pub fn reading_words(reading: &ReadingAnswer) -> String {
    let mut words = vec![format!(
        "{}  {}",
        reading.source_time,
        named_words(&reading.value, reading.word.as_deref(), &reading.unit)
    )];
    if !is_same(&reading.raw, &reading.value) {
        words.push(format!(" (raw {})", reading.raw.words()));
    }
    words.push(format!("  {}", reading.quality));
    if reading.status != 0 {
        words.push(format!(" (status {:#010x})", reading.status));
    }
    words.push(format!("  #{}", reading.counter));
    words.push(match &reading.transaction {
        Some(transaction) => format!("  in transaction {transaction} ({})", reading.state.name()),
        None => format!("  {}", reading.state.name()),
    });
    if reading.receive_time.0.abs_diff(reading.source_time.0) > LATE_NS {
        words.push(format!("  received {}", reading.receive_time));
    }
    for flag in &reading.flags {
        words.push(format!("  {flag}"));
    }
    words.concat()
}

impl TangleAnswer {
    /// For people: the newest last.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_words(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.newest.is_empty() {
            return writeln!(out, "no transaction yet: the ledger holds its genesis only");
        }
        let mut table =
            Table::new(&["NUMBER", "ID", "ISSUER", "SEQUENCE", "CARRIES", "APPROVES", "AGE", "STATE"]);
        for transaction in &self.newest {
            table.row(vec![
                transaction.number.to_string(),
                short_id(&transaction.id),
                transaction.issuer_name.clone(),
                transaction.sequence.to_string(),
                transaction.payload.clone(),
                approves_words(transaction),
                transaction.issued_at.map_or_else(|| "?".into(), |at| age_words(at, self.asked)),
                self.state_words(transaction),
            ]);
        }
        table.write(out)?;
        writeln!(out, "{}, {}", plural(self.transactions, "transaction"), plural(self.tips, "tip"))
    }

    fn state_words(&self, transaction: &TransactionAnswer) -> String {
        let mut words = match transaction.witnessed {
            Some(witnessed) => format!("witnessed {witnessed}/{}", self.committee),
            None => "attached".to_owned(),
        };
        if transaction.second_branch {
            words += ", second branch of a fork";
        } else if transaction.tip {
            words += ", tip";
        }
        words
    }
}

fn approves_words(transaction: &TransactionAnswer) -> String {
    let name = |id: &str| if id.starts_with("svnet") { "genesis".to_owned() } else { short_id(id) };
    let [one, other] = &transaction.approves;
    if one == other { format!("{} (twice)", name(one)) } else { format!("{} {}", name(one), name(other)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::readings::ReadingState;

    fn reading() -> ReadingAnswer {
        ReadingAnswer {
            stream: "tank".into(),
            counter: 7,
            source_time: Time(1_777_636_800_250_000_000),
            receive_time: Time(1_777_636_800_300_000_000),
            value: Scalar::Number("21.4".into()),
            word: None,
            raw: Scalar::Number("214".into()),
            unit: "Cel".into(),
            quality: "good".into(),
            flags: Vec::new(),
            status: 0,
            state: ReadingState::Attached,
            batch: 3,
            transaction: Some("svtx1q".into()),
        }
    }

    #[test]
    fn a_reading_is_one_line() {
        assert_eq!(
            reading_words(&reading()),
            "2026-05-01T12:00:00.25Z  21.4 °C (raw 214)  good  #7  in transaction svtx1q (attached)"
        );
        let stale = ReadingAnswer {
            raw: Scalar::Number("21.399999618530273".into()),
            quality: "stale".into(),
            status: 0x8000_0001,
            receive_time: Time(1_777_636_805_000_000_000),
            flags: vec!["unsynchronised".into()],
            state: ReadingState::Journaled,
            transaction: None,
            ..reading()
        };
        assert_eq!(
            reading_words(&stale),
            "2026-05-01T12:00:00.25Z  21.4 °C  stale (status 0x80000001)  #7  journaled  \
             received 2026-05-01T12:00:05Z  unsynchronised"
        );
        let named = ReadingAnswer {
            value: Scalar::Number("1".into()),
            word: Some("run\u{1b}ning".into()),
            raw: Scalar::Number("1".into()),
            unit: String::new(),
            ..reading()
        };
        assert!(
            reading_words(&named).starts_with("2026-05-01T12:00:00.25Z  1 (run\\u{1b}ning)  good  #7"),
            "{}",
            reading_words(&named)
        );
        let forged = ReadingAnswer {
            value: Scalar::Text("on\n2026".into()),
            raw: Scalar::Text("on\n2026".into()),
            ..reading()
        };
        assert_eq!(reading_words(&forged).lines().count(), 1);
    }

    #[test]
    fn a_table_is_as_wide_as_its_cells() {
        let mut table = Table::new(&["A", "LONG"]);
        table.row(vec!["°°°".into(), "x".into()]);
        table.row(vec!["1".into(), String::new()]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "A    LONG\n°°°  x\n1\n");
    }
}
