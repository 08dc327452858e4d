//! Standard output for commands. Whoever reads may leave early (`| head`): that is no failure.

use std::io::{self, BufWriter, Write};

use anyhow::Context as _;
use serde::Serialize;

/// Lets `write` print, and flushes. A closed pipe ends it quietly.
///
/// # Errors
/// When standard output takes nothing for another reason, such as a full disk.
pub fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    finish(write(&mut out).and_then(|()| out.flush()))
}

/// One object as a line of JSON.
///
/// # Errors
/// As for [`print()`].
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(|out| json_line(out, value))
}

/// Writes one line of JSON.
///
/// # Errors
/// Those of the writer.
pub fn json_line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// Forgives a closed pipe.
///
/// # Errors
/// Every other error.
pub fn finish(outcome: io::Result<()>) -> anyhow::Result<()> {
    match outcome {
        Err(why) if why.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_closed_pipe_is_forgiven() {
        assert!(finish(Ok(())).is_ok());
        assert!(finish(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        assert!(finish(Err(io::ErrorKind::StorageFull.into())).is_err());
    }

    #[test]
    fn a_closed_pipe_stays_recognisable_through_json() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let outcome = json_line(&mut Closed, &"text");
        assert_eq!(outcome.as_ref().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert!(finish(outcome).is_ok());
    }
}
