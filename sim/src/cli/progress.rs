//! How far a run is, on the standard error: on a terminal one line that changes, elsewhere (a log, a pipe) a line now and
//! then, so that a long run is not taken for a dead one.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// On a terminal the line changes at most so often …
const CHANGE_EVERY: Duration = Duration::from_millis(500);
/// … and elsewhere there is a line so often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Says how far one run is.
pub(crate) struct Teller {
    is_terminal: bool,
    told: Instant,
}

impl Teller {
    pub(crate) fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), told: Instant::now() }
    }

    /// Says it when it is time to; `words` are only made then.
    pub(crate) fn tell(&mut self, words: impl FnOnce() -> String) {
        if let Some(line) = self.line(self.told.elapsed(), words) {
            self.told = Instant::now();
            // Progress that cannot be shown is no reason to stop.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    fn line(&self, since: Duration, words: impl FnOnce() -> String) -> Option<String> {
        let every = if self.is_terminal { CHANGE_EVERY } else { LINE_EVERY };
        (since >= every)
            .then(|| if self.is_terminal { format!("\r\x1b[K{}", words()) } else { format!("{}\n", words()) })
    }
}

/// Clears the line.
pub(crate) fn end() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Off a terminal these runs said nothing until their end, however long they took.
    #[test]
    fn a_log_gets_a_line_now_and_then_and_a_terminal_one_that_changes() {
        let line = |is_terminal, ms| {
            let teller = Teller { is_terminal, told: Instant::now() };
            teller.line(Duration::from_millis(ms), || "half".to_owned())
        };
        assert_eq!((line(false, 9_999), line(false, 10_000)), (None, Some("half\n".to_owned())));
        assert_eq!((line(true, 499), line(true, 500)), (None, Some("\r\x1b[Khalf".to_owned())));
    }
}
