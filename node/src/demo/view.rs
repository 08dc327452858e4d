//! A [`Frame`] as lines: a picture that a terminal redraws, or one line for a log. Pure.

use super::frame::{Frame, Newest, Shown};
use super::plant::{FILL_ML, TANK_CAPACITY_L};
use super::serve::LEVEL;
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

/// The whole picture.
pub fn picture(frame: &Frame) -> Vec<Line> {
    let device = if frame.device_up { Style::Good } else { Style::Bad };
    let mut waiting = Line::about("readings").text(format!("{}, durable", count_words(frame.readings)));
    if frame.waiting.readings > 0 {
        waiting = waiting.text(format!("; {} in no transaction yet", count_words(frame.waiting.readings)));
    }
    vec![
        Line::new(Style::Title, " Selvedge: a bottling plant, a gateway, a tangle").text(format!(
            "   {} of {} s",
            frame.elapsed.as_secs(),
            frame.run_for.as_secs_f64()
        )),
        Line::default(),
        Line::about("plant").and(device, plain(&frame.device)),
        tank(frame),
        bottle(frame),
        conveyor(frame),
        Line::default(),
        waiting,
        Line::about("batches").text(count_words(frame.batches)),
        Line::about("transactions")
            .text(count_words(frame.transactions))
            .text(newest_words(frame.newest.as_ref())),
        Line::about("tips").text(count_words(frame.tips as u64)),
        Line::about("disk").text(disk_words(frame)),
        Line::default(),
        Line::new(Style::Label, " Ctrl-C: no more readings, on to the proof"),
    ]
}

/// The moment in one line.
pub fn sentence(frame: &Frame) -> String {
    let mut plant = Vec::new();
    if !frame.device_up {
        plant.push(plain(&frame.device));
    }
    plant.extend(number(frame, LEVEL, 2, "L in the tank"));
    plant.extend(number(frame, "filler/bottle/fill", 0, "mL in the bottle"));
    let ledger = [
        plural(frame.readings, "reading"),
        plural(frame.batches, "batch"),
        plural(frame.transactions, "transaction"),
        plural(frame.tips as u64, "tip"),
    ];
    let disk = bytes_words(frame.disk_bytes());
    format!(
        "{:>4} s  {}; {}; {disk} on the disk",
        frame.elapsed.as_secs(),
        plant.join(", "),
        ledger.join(", ")
    )
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
    let Some(Newest { number, id, approves: [first, second] }) = newest else { return String::new() };
    let approved = if first == second { format!("{first} twice") } else { format!("{first} and {second}") };
    format!("; number {number}, {id}…, approves {approved}")
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
            "40.31 L",
            "312 mL",
            "pump on",
            "valve open, 29.8 L/min",
            "4 bottles filled",
            "1,320, durable",
            "40 in no transaction",
            "genesis twice",
            "12.3 kB",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
    }

    #[test]
    fn a_sentence_is_one_line_with_all_counts() {
        let text = sentence(&frame());
        assert!(!text.contains('\n'));
        for part in ["7 s", "40.31 L", "1,320 readings", "1 batch", "1 transaction", "1 tip"] {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
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
