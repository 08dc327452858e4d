//! Where the demo speaks: a terminal that is redrawn in place, or lines.

use std::io::{IsTerminal as _, Write};

use super::frame::Frame;
use super::{Audience, view};

/// A terminal smaller than this gets lines, and no picture.
const COLUMNS_MIN: usize = 40;

/// Columns and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
}

/// Writes frames and words.
///
/// Each picture is one write, which hides the cursor, draws, and shows it again. So there is nothing to restore,
/// however the program ends.
#[derive(Debug)]
pub struct Screen<W> {
    out: W,
    /// Size of the terminal; `None`: none, lines only.
    size: fn() -> Option<Size>,
    colour: bool,
    /// Lines of the picture above the cursor.
    drawn: usize,
    /// The second that has had its line.
    said: Option<u64>,
}

impl Screen<Box<dyn Write>> {
    /// On standard output; on standard error when standard output is for a program.
    pub fn new(json: bool) -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
        // https://no-color.org: present and not empty.
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let (out, is_terminal, size): (Box<dyn Write>, _, fn() -> _) = if json {
            (Box::new(std::io::stderr()), std::io::stderr().is_terminal(), stderr_size)
        } else {
            (Box::new(std::io::stdout()), std::io::stdout().is_terminal(), stdout_size)
        };
        let is_live = is_terminal && !is_dumb;
        Self::with(out, if is_live { size } else { || None }, is_live && !no_colour)
    }

    /// Does it redraw a picture? Then nothing else should write to the terminal meanwhile.
    pub fn is_live(&self) -> bool {
        (self.size)().is_some()
    }
}

impl<W: Write> Screen<W> {
    fn with(out: W, size: fn() -> Option<Size>, colour: bool) -> Self {
        Self { out, size, colour, drawn: 0, said: None }
    }

    fn draw(&mut self, lines: &[view::Line], columns: usize) {
        let mut picture = String::from("\x1b[?25l\r");
        if self.drawn > 0 {
            picture.push_str(&up(self.drawn));
        }
        for line in lines {
            picture += "\x1b[2K";
            picture += &line.paint(columns, self.colour);
            picture.push('\n');
        }
        // What an interrupt key left, and what a taller picture left.
        picture += "\x1b[J\x1b[?25h";
        self.drawn = lines.len();
        self.write(&picture);
    }

    fn write(&mut self, text: &str) {
        // A closed pipe is no reason to fail: the object, the files and the exit code still say how it went.
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}

impl<W: Write> Audience for Screen<W> {
    fn frame(&mut self, frame: &Frame) {
        let lines = view::picture(frame);
        if let Some(size) = (self.size)()
            && size.columns >= COLUMNS_MIN
            && size.rows > lines.len()
        {
            return self.draw(&lines, size.columns);
        }
        let second = frame.elapsed.as_secs();
        if self.said != Some(second) {
            self.said = Some(second);
            self.drawn = 0;
            let lines: String = view::sentences(frame).into_iter().map(|line| line + "\n").collect();
            self.write(&lines);
        }
    }

    fn say(&mut self, text: &str) {
        // What stands above stays, except the hint about keys, and what a key left; the next picture begins below.
        if std::mem::take(&mut self.drawn) > 0 {
            self.write(&format!("\r{}\x1b[J", up(view::HINT_LINES)));
        }
        let columns = (self.size)().map_or(usize::MAX, |size| size.columns.max(COLUMNS_MIN));
        let mut wrapped = String::new();
        for line in text.split('\n') {
            wrap(line, columns, &mut wrapped);
        }
        self.write(&wrapped);
    }
}

/// The code that moves the cursor up.
fn up(lines: usize) -> String {
    format!("\x1b[{lines}A")
}

/// Breaks a line between words. What follows begins like it: indented, behind the bar of a quotation, and below the
/// text of a list's entry.
fn wrap(line: &str, columns: usize, into: &mut String) {
    let text = line.trim_start();
    let mut begin = line[..line.len() - text.len()].to_owned();
    let quoted = text.strip_prefix("| ");
    if quoted.is_some() {
        begin += "| ";
    }
    into.push_str(&begin);
    let text = quoted.unwrap_or(text);
    let mut at = begin.chars().count();
    if text.starts_with("- ") {
        begin += "  ";
    }
    for (number, word) in text.split(' ').enumerate() {
        let length = word.chars().count();
        if number > 0 && at + 1 + length > columns {
            into.push('\n');
            into.push_str(&begin);
            at = begin.chars().count();
        } else if number > 0 {
            into.push(' ');
            at += 1;
        }
        into.push_str(word);
        at += length;
    }
    into.push('\n');
}

fn stdout_size() -> Option<Size> {
    size_of(rustix::termios::tcgetwinsize(std::io::stdout()))
}

fn stderr_size() -> Option<Size> {
    size_of(rustix::termios::tcgetwinsize(std::io::stderr()))
}

fn size_of(asked: rustix::io::Result<rustix::termios::Winsize>) -> Option<Size> {
    let size = asked.ok()?;
    // A serial line does not know its size.
    let or = |got: u16, usual| if got == 0 { usual } else { usize::from(got) };
    Some(Size { columns: or(size.ws_col, 80), rows: or(size.ws_row, 24) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::demo::testing::frame;

    fn text(screen: &Screen<Vec<u8>>) -> String {
        String::from_utf8(screen.out.clone()).unwrap()
    }

    #[test]
    fn a_picture_is_drawn_over_the_one_before() {
        let mut screen = Screen::with(Vec::new(), || Some(Size { columns: 80, rows: 24 }), true);
        screen.frame(&frame());
        let first = text(&screen);
        let lines = first.matches('\n').count();
        assert!(!first.contains(&format!("\x1b[{lines}A")));
        screen.out.clear();
        screen.frame(&frame());
        let second = text(&screen);
        assert!(second.starts_with(&format!("\x1b[?25l\r\x1b[{lines}A")), "{second:?}");
        assert_eq!(second.matches('\n').count(), lines);
    }

    /// However the program ends between two writes, the cursor is there.
    #[test]
    fn every_picture_gives_the_cursor_back() {
        let mut screen = Screen::with(Vec::new(), || Some(Size { columns: 80, rows: 24 }), false);
        for _ in 0..3 {
            screen.frame(&frame());
            assert!(text(&screen).ends_with("\x1b[?25h"));
        }
    }

    #[test]
    fn after_words_the_picture_begins_below_them() {
        let mut screen = Screen::with(Vec::new(), || Some(Size { columns: 80, rows: 24 }), true);
        screen.frame(&frame());
        screen.out.clear();
        screen.say("words");
        assert_eq!(text(&screen), "\r\x1b[2A\x1b[Jwords\n", "the hint goes");
        screen.out.clear();
        screen.say("more");
        assert_eq!(text(&screen), "more\n");
        screen.out.clear();
        screen.frame(&frame());
        assert!(text(&screen).starts_with("\x1b[?25l\r\x1b[2K"), "{}", text(&screen));
    }

    #[test]
    fn without_a_terminal_there_is_a_line_a_second_and_no_escape() {
        let mut screen = Screen::with(Vec::new(), || None, false);
        for ms in [1_000, 1_250, 1_500, 2_000, 2_250, 4_000] {
            screen.frame(&Frame { elapsed: Duration::from_millis(ms), ..frame() });
        }
        screen.say("  - words\nmore");
        assert_eq!(text(&screen).lines().count(), 5, "{}", text(&screen));
        assert!(!text(&screen).contains('\x1b'));
    }

    #[test]
    fn a_terminal_too_small_for_the_picture_gets_lines() {
        for size in [|| Some(Size { columns: 39, rows: 24 }), || Some(Size { columns: 80, rows: 14 })] {
            let mut screen = Screen::with(Vec::new(), size, true);
            screen.frame(&frame());
            assert_eq!(text(&screen).lines().count(), 1, "{}", text(&screen));
        }
    }

    #[test]
    fn long_lines_are_broken_between_words_and_stay_indented() {
        let mut wrapped = String::new();
        wrap("  - one two three four", 12, &mut wrapped);
        assert_eq!(wrapped, "  - one two\n    three\n    four\n");
        wrapped.clear();
        wrap("  a-word-that-is-too-long b", 10, &mut wrapped);
        assert_eq!(wrapped, "  a-word-that-is-too-long\n  b\n");
        wrapped.clear();
        wrap("  | - one two", 9, &mut wrapped);
        assert_eq!(wrapped, "  | - one\n  |   two\n");
        wrapped.clear();
        wrap("", 10, &mut wrapped);
        assert_eq!(wrapped, "\n");
    }
}
