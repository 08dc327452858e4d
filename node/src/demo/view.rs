//! A [`Frame`] as lines: a picture that a terminal redraws, or one line for a log. Pure.

use super::frame::{Frame, GatewayFrame, Newest, Phase, Shown};
use super::plant::{FILL_ML, TANK_CAPACITY_L};
use super::wiring::LEVEL;
use crate::answers::times::{bytes_words, count_words, plain, plural};

/// Characters of a bar.
const BAR: usize = 26;
/// Characters before what a label names.
const LABEL: usize = 15;

/// How a piece of a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As the terminal writes.
    Plain,
    /// The heading.
    Title,
    /// What a line is about.
    Label,
    /// Full part of a bar.
    Bar,
    /// All is well.
    Good,
    /// Something is not.
    Bad,
}

impl Style {
    /// The code that starts it (ECMA-48, select graphic rendition).
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Title => "\x1b[1m",
            Self::Label => "\x1b[2m",
            Self::Bar => "\x1b[36m",
            Self::Good => "\x1b[32m",
            Self::Bad => "\x1b[31m",
        }
    }
}

/// A line in pieces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line(Vec<(Style, String)>);

impl Line {
    fn new(style: Style, text: impl Into<String>) -> Self {
        Self(vec![(style, text.into())])
    }

    fn about(label: &str) -> Self {
        Self::new(Style::Label, format!(" {label:<width$}", width = LABEL - 1))
    }

    fn and(mut self, style: Style, text: impl Into<String>) -> Self {
        self.0.push((style, text.into()));
        self
    }

    fn text(self, text: impl Into<String>) -> Self {
        self.and(Style::Plain, text)
    }

    /// The line for a terminal of `width` columns, cut where it would be longer, so that it never wraps.
    pub fn paint(&self, width: usize, colour: bool) -> String {
        let mut painted = String::new();
        let mut left = width;
        for (style, text) in &self.0 {
            let piece: String = text.chars().take(left).collect();
            left -= piece.chars().count();
            let code = if colour { style.code() } else { "" };
            painted += code;
            painted += &piece;
            if !code.is_empty() {
                painted += "\x1b[0m";
            }
        }
        painted
    }
}

/// Lines at the end of the picture that say what keys do, the empty one before them included.
pub const HINT_LINES: usize = 2;

/// The whole picture: with the most gateways it still has room on 24 lines of 80 columns.
pub fn picture(frame: &Frame) -> Vec<Line> {
    let mut lines = vec![
        Line::new(Style::Title, " Selvedge: a bottling plant, its gateways, one tangle")
            .text(phase_words(frame)),
        Line::default(),
        plant(frame),
        tank(frame),
        bottle(frame),
        conveyor(frame),
        Line::default(),
        Line::new(Style::Label, header()),
    ];
    lines.extend(frame.gateways.iter().map(row));
    lines.push(Line::default());
    let mut total = Line::about("all").text(plural(frame.readings(), "reading"));
    if frame.waiting() > 0 {
        total = total.text(format!(", {} of them in no transaction yet", count_words(frame.waiting())));
    }
    lines.push(total);
    lines.push(Line::about("tangle").text(tangle_words(frame)));
    lines.push(Line::about("newest").text(newest_words(frame.newest.as_ref())));
    if let Some(cable) = &frame.cable {
        lines.push(Line::about("cut cable").and(Style::Bad, plain(cable)));
    }
    lines.push(Line::about("disk").text(disk_words(frame)));
    lines.push(Line::default());
    lines.push(match frame.phase {
        Phase::Polling => Line::new(Style::Label, " Ctrl-C: no more readings, on to the proof"),
        Phase::Settling { left } => Line::new(
            Style::Label,
            format!(" Waiting {} s at most: {}", left.as_secs(), settling_words(frame)),
        ),
    });
    lines
}

/// The moment in lines for a log: one each second, and every now and then one for each gateway.
pub fn sentences(frame: &Frame) -> Vec<String> {
    let mut lines = vec![sentence(frame)];
    if frame.elapsed.as_secs().is_multiple_of(GATEWAYS_EVERY_S) && frame.gateways.len() > 1 {
        lines.push(header());
        lines.extend(frame.gateways.iter().map(|gateway| row(gateway).paint(usize::MAX, false)));
    }
    lines
}

/// A log has a table of the gateways this often, in seconds.
const GATEWAYS_EVERY_S: u64 = 5;

/// The moment in one line.
pub fn sentence(frame: &Frame) -> String {
    let seconds = frame.elapsed.as_secs();
    if let Phase::Settling { .. } = frame.phase {
        return format!("{seconds:>4} s  no more readings; {}", settling_words(frame));
    }
    let mut plant = Vec::new();
    if !frame.device_up {
        plant.push(plain(&frame.device));
    }
    plant.extend(number(frame, LEVEL, 2, "L in the tank"));
    plant.extend(number(frame, "filler/bottle/fill", 0, "mL in the bottle"));
    let ledger = [
        plural(frame.readings(), "reading"),
        plural(frame.batches(), "batch"),
        plural(frame.agreement.transactions, "transaction"),
        plural(frame.tips as u64, "tip"),
    ];
    let disk = bytes_words(frame.disk_bytes());
    let cable =
        frame.cable.as_ref().map_or_else(String::new, |cable| format!("; cut cable: {}", plain(cable)));
    format!("{seconds:>4} s  {}; {}; {disk} on the disk{cable}", plant.join(", "), ledger.join(", "))
}

fn phase_words(frame: &Frame) -> String {
    match frame.phase {
        Phase::Polling => format!("   {} of {} s", frame.elapsed.as_secs(), frame.run_for.as_secs_f64()),
        Phase::Settling { .. } => "   no more readings".into(),
    }
}

fn settling_words(frame: &Frame) -> String {
    let agreement = &frame.agreement;
    format!(
        "{} of {} witnessed by all, {} of {} ledgers whole",
        count_words(agreement.witnessed_by_all),
        count_words(agreement.payloads),
        agreement.whole(),
        frame.gateways.len()
    )
}

fn tangle_words(frame: &Frame) -> String {
    let agreement = &frame.agreement;
    let transactions = plural(agreement.transactions, "transaction");
    let witnessed = if frame.gateways.len() > 1 {
        format!("; of {} payloads all have {}", agreement.payloads, agreement.witnessed_by_all)
    } else {
        String::new()
    };
    format!("{transactions}, {}{witnessed}", plural(frame.tips as u64, "tip"))
}

/// The heads of [`row`]'s columns.
fn header() -> String {
    format!(
        " {:<15} {:>9} {:>7} {:>6} {:>5} {:>9} {:>9} {:>9}",
        "gateway", "readings", "batches", "tx", "peers", "witnessed", "sent", "received"
    )
}

/// One gateway. A cable that is out stands where the peers would.
fn row(gateway: &GatewayFrame) -> Line {
    let witnessed = gateway.witnessed.map_or_else(|| "-".to_owned(), |(k, n)| format!("{k}/{n}"));
    let line = Line::new(Style::Plain, format!(" {:<15}", plain(&gateway.name))).text(format!(
        " {:>9} {:>7} {:>6}",
        count_words(gateway.readings),
        count_words(gateway.batches),
        count_words(gateway.transactions)
    ));
    let line = if gateway.is_cut {
        line.and(Style::Bad, format!(" {:>5}", "cut"))
    } else {
        line.text(format!(" {:>5}", gateway.peers))
    };
    let style = match gateway.witnessed {
        Some((k, n)) if k == n => Style::Good,
        _ => Style::Plain,
    };
    line.and(style, format!(" {witnessed:>9}")).text(format!(
        " {:>9} {:>9}",
        bytes_words(gateway.bytes_sent),
        bytes_words(gateway.bytes_received)
    ))
}

fn plant(frame: &Frame) -> Line {
    let line = Line::about("plant");
    match frame.phase {
        Phase::Settling { .. } => line.text("polled no more"),
        Phase::Polling if frame.device_up => line.and(Style::Good, plain(&frame.device)),
        Phase::Polling => line.and(Style::Bad, plain(&frame.device)),
    }
}

fn number(frame: &Frame, stream: &str, digits: usize, unit: &str) -> Option<String> {
    frame.value(stream).map(|value| format!("{value:.digits$} {unit}"))
}

/// A bar for a stream, and its number.
fn bar(label: &str, shown: Option<&Shown>, full: f64, digits: usize, unit: &str) -> Line {
    let Some(shown) = shown else { return Line::about(label).text("no reading yet") };
    let part = (shown.value / full).clamp(0.0, 1.0);
    let filled = (part * BAR as f64).round() as usize;
    let line = Line::about(label)
        .and(if shown.good { Style::Bar } else { Style::Bad }, "█".repeat(filled))
        .and(Style::Label, "░".repeat(BAR - filled))
        .text(format!("  {:>width$.digits$} {unit:<2}", shown.value, width = 6));
    if shown.good { line } else { line.and(Style::Bad, "  (old)") }
}

fn tank(frame: &Frame) -> Line {
    let mut line = bar("tank", frame.values.get(LEVEL), f64::from(TANK_CAPACITY_L), 2, "L");
    if let Some(temperature) = number(frame, "filler/tank/temperature", 1, "°C") {
        line = line.text(format!("   {temperature}"));
    }
    switch(line, frame, "filler/pump/on", ["pump off", "pump on"])
}

fn bottle(frame: &Frame) -> Line {
    let shown = frame.values.get("filler/bottle/fill");
    let mut line = bar("bottle", shown, f64::from(FILL_ML), 0, "mL");
    line = switch(line, frame, "filler/valve/open", ["valve shut", "valve open"]);
    match number(frame, "filler/flow", 1, "L/min") {
        Some(flow) => line.text(format!(", {flow}")),
        None => line,
    }
}

fn conveyor(frame: &Frame) -> Line {
    let line = Line::about("conveyor");
    let Some(bottles) = frame.value("conveyor/bottles") else { return line.text("no reading yet") };
    let speed = match frame.value("conveyor/speed") {
        Some(speed) if speed > 0.0 => format!(", moving at {speed:.0} mm/s"),
        _ => String::new(),
    };
    line.text(format!("{} filled{speed}", plural(bottles as u64, "bottle")))
}

fn switch(line: Line, frame: &Frame, stream: &str, words: [&str; 2]) -> Line {
    match frame.value(stream) {
        Some(value) => line.text(format!("   {}", words[usize::from(value > 0.5)])),
        None => line,
    }
}

fn newest_words(newest: Option<&Newest>) -> String {
    let Some(Newest { number, id, approves: [first, second] }) = newest else { return "none yet".into() };
    let approved = if first == second { format!("{first} twice") } else { format!("{first} and {second}") };
    format!("number {number}, {id}…, approves {approved}")
}

fn disk_words(frame: &Frame) -> String {
    let disk = &frame.disk;
    let parts = [
        ("log", disk.log_bytes),
        ("journal", disk.journal_bytes),
        ("index", disk.index_bytes),
        ("archive", disk.archive_bytes),
    ];
    let parts = parts.map(|(name, bytes)| format!("{name} {}", bytes_words(bytes)));
    format!("{}: {}", bytes_words(frame.disk_bytes()), parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::testing::frame;

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [0, 1, 20, 40, 80, 200] {
            for line in picture(&frame()) {
                assert!(line.paint(width, false).chars().count() <= width);
            }
        }
    }

    #[test]
    fn without_colour_there_is_no_escape_and_with_it_each_ends() {
        for line in picture(&frame()) {
            assert!(!line.paint(80, false).contains('\x1b'));
            let painted = line.paint(80, true);
            let (starts, ends) = (painted.matches("\x1b[").count(), painted.matches("\x1b[0m").count());
            assert_eq!(starts, ends * 2, "{painted:?}");
        }
    }

    #[test]
    fn the_picture_shows_what_the_frame_holds() {
        let frame = frame();
        let text: Vec<String> = picture(&frame).iter().map(|line| line.paint(200, false)).collect();
        let text = text.join("\n");
        for part in [
            "7 of 20 s",
            "filler-plc modbus-tcp, conveyor-plc opcua, plant-broker mqtt: up",
            "40.31 L",
            "312 mL",
            "pump on",
            "valve open, 29.8 L/min",
            "4 bottles filled",
            "1,325 readings, 41 of them in no transaction yet",
            "12 transactions, 2 tips; of 9 payloads all have 7",
            "genesis twice",
            "12.3 kB",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
    }

    #[test]
    fn each_gateway_has_a_line_of_80_columns() {
        let text: Vec<String> = picture(&frame()).iter().map(|line| line.paint(200, false)).collect();
        let line = |name| text.iter().find(|line| line.contains(name)).expect("a line").as_str();
        let columns = |name| line(name).split_whitespace().collect::<Vec<_>>();
        assert_eq!(columns("filler-gateway")[1..7], ["1,320", "4", "12", "3", "2/4", "40.0"]);
        assert_eq!(columns("maker-gateway")[1..6], ["5", "1", "9", "cut", "-"]);
        for line in text.iter().filter(|line| line.contains("-gateway") || line.contains("witnessed ")) {
            assert!(line.chars().count() <= 80, "{line:?}");
        }
        let plant = line("plant-broker");
        assert!(plant.chars().count() <= 80, "{plant:?}");
        // With numbers as large as they get in a day.
        let mut gateway = frame().gateways.remove(0);
        gateway = GatewayFrame { readings: 9_999_999, batches: 43_200, transactions: 99_999, ..gateway };
        gateway = GatewayFrame { bytes_sent: 999_900_000, bytes_received: 999_900_000, ..gateway };
        assert!(row(&gateway).paint(200, false).chars().count() <= 80);
    }

    #[test]
    fn a_cable_that_is_out_is_said() {
        let text: Vec<String> = picture(&frame()).iter().map(|line| line.paint(200, false)).collect();
        assert!(
            text.iter().any(|line| line.contains("cut cable") && line.contains("maker-gateway")),
            "{text:?}"
        );
        assert!(sentence(&frame()).contains("cut cable: that of"));
        let whole = Frame { cable: None, ..frame() };
        assert!(!sentence(&whole).contains("cut cable"));
    }

    #[test]
    fn the_most_gateways_fit_a_terminal_of_24_lines() {
        let mut frame = frame();
        frame.gateways = vec![frame.gateways[0].clone(); crate::demo::wiring::GATEWAYS_MAX];
        assert!(picture(&frame).len() < 24);
    }

    #[test]
    fn the_wait_at_the_end_is_said() {
        let phase = Phase::Settling { left: std::time::Duration::from_millis(9_100) };
        let frame = Frame { phase, ..frame() };
        let said = " Waiting 9 s at most: 7 of 9 witnessed by all, 1 of 2 ledgers whole";
        let text: Vec<String> = picture(&frame).iter().map(|line| line.paint(200, false)).collect();
        assert!(text.last().is_some_and(|line| line.contains(said)), "{text:?}");
        assert!(sentence(&frame).contains("7 of 9 witnessed"), "{}", sentence(&frame));
    }

    #[test]
    fn a_sentence_is_one_line_with_all_counts() {
        let text = sentence(&frame());
        assert!(!text.contains('\n'));
        for part in ["7 s", "40.31 L", "1,325 readings", "5 batches", "12 transactions", "2 tips"] {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
    }

    #[test]
    fn a_log_has_the_gateways_now_and_then() {
        let at = |s| Frame { elapsed: std::time::Duration::from_secs(s), ..frame() };
        assert_eq!([4, 5, 6].map(|s| sentences(&at(s)).len()), [1, 4, 1]);
        let alone = Frame { gateways: vec![frame().gateways[0].clone()], ..at(5) };
        assert_eq!(sentences(&alone).len(), 1);
    }

    #[test]
    fn an_old_value_and_a_dead_device_are_said() {
        let mut frame = frame();
        frame.device_up = false;
        frame.device = "filler-plc at x: down (\u{1b}[31m)".into();
        frame.values.get_mut(LEVEL).unwrap().good = false;
        let lines: Vec<String> = picture(&frame).iter().map(|line| line.paint(200, false)).collect();
        assert!(lines.iter().any(|line| line.contains("(old)")));
        assert!(lines.iter().all(|line| !line.contains('\u{1b}')), "a device cannot write escapes");
        assert!(sentence(&frame).contains("down"));
    }
}
