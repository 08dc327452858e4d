//! A child process: its output is captured while it runs, it can be waited for, and it is killed with its guard.
//!
//! The tests of `edge-adapters` have this file too: they are built without the node, and so without this crate.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
pub use rustix::process::Signal;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use super::WITHIN;

/// What a panic shows of each output, in bytes from its end.
const SHOWN_BYTES: usize = 8_000;

/// One of the two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// A running process. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    what: String,
    child: Child,
    /// Names the process for as long as this is open, so that a signal never reaches another one.
    pidfd: OwnedFd,
    captured: Arc<Captured>,
    ended: Option<ExitStatus>,
}

#[derive(Debug, Default)]
struct Captured {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    out: Vec<u8>,
    err: Vec<u8>,
    /// Outputs that have ended.
    ended: usize,
}

impl State {
    fn of(&self, output: Output) -> &Vec<u8> {
        match output {
            Output::Out => &self.out,
            Output::Err => &self.err,
        }
    }
    /// Whole lines.
    fn lines(&self, output: Output) -> Vec<String> {
        let text = String::from_utf8_lossy(self.of(output));
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_owned).collect()
    }
}

impl Captured {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a process ended, and what it said.
#[derive(Debug, Clone)]
pub struct Done {
    /// What ran.
    pub what: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Process {
    /// Starts a program. Its standard input is a pipe that ends with this guard.
    pub fn start(command: &mut Command) -> Self {
        let what = words(command);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap_or_else(|why| panic!("cannot start {what}: {why}"));
        let pid = Pid::from_child(&child);
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("it was just started and not waited for");
        let captured = Arc::new(Captured::default());
        capture(Output::Out, child.stdout.take().expect("piped above"), &captured);
        capture(Output::Err, child.stderr.take().expect("piped above"), &captured);
        Self { what, child, pidfd, captured, ended: None }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to its standard input.
    pub fn say(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("piped at the start");
        let said = writeln!(input, "{line}").and_then(|()| input.flush());
        said.unwrap_or_else(|why| panic!("cannot say {line:?} to {}: {why}", self.what));
    }

    /// All whole lines so far.
    pub fn lines(&self, output: Output) -> Vec<String> {
        self.captured.lock().lines(output)
    }

    /// Waits for a line for which `is_it` holds, among those from number `from` on.
    pub fn line_from(&self, output: Output, from: usize, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        self.find_line(WITHIN, output, from, what, is_it)
    }

    /// Waits for a line with a bound of its own, for what takes long by its nature.
    pub fn line_within(
        &self,
        within: Duration,
        output: Output,
        what: &str,
        is_it: impl Fn(&str) -> bool,
    ) -> String {
        self.find_line(within, output, 0, what, is_it)
    }

    fn find_line(
        &self,
        within: Duration,
        output: Output,
        from: usize,
        what: &str,
        is_it: impl Fn(&str) -> bool,
    ) -> String {
        let end = Instant::now() + within;
        let mut state = self.captured.lock();
        loop {
            if let Some(line) = state.lines(output).into_iter().skip(from).find(|line| is_it(line)) {
                return line;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || state.ended == 2 {
                let why = if left.is_zero() { "in time" } else { "before it ended" };
                drop(state);
                panic!("{} did not say {what} {why}\n{}", self.what, self.shown());
            }
            state = self.captured.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for a line.
    pub fn line(&self, output: Output, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        self.line_from(output, 0, what, is_it)
    }

    /// Sends a signal. Nothing happens when it has ended.
    pub fn signal(&self, signal: Signal) {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(why) => panic!("cannot signal {}: {why}", self.what),
        }
    }

    /// Has it ended?
    pub fn has_ended(&mut self) -> bool {
        self.ended_within(Duration::ZERO).is_some()
    }

    fn ended_within(&mut self, within: Duration) -> Option<ExitStatus> {
        if self.ended.is_none() {
            let end = Instant::now() + within;
            loop {
                let left = end.saturating_duration_since(Instant::now());
                let timeout = Timespec::try_from(left).expect("a minute or so");
                match poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&timeout)) {
                    Ok(0) => return None,
                    Ok(_) => break,
                    Err(rustix::io::Errno::INTR) => {}
                    Err(why) => panic!("cannot wait for {}: {why}", self.what),
                }
            }
            self.ended = Some(self.child.wait().expect("it has ended"));
        }
        self.ended
    }

    /// Waits for its end.
    pub fn done(mut self) -> Done {
        drop(self.child.stdin.take());
        let Some(status) = self.ended_within(WITHIN) else {
            panic!("{} still runs after {} s\n{}", self.what, WITHIN.as_secs(), self.shown());
        };
        // What it wrote may still be in the pipes; a grandchild that holds them open is not waited for.
        let end = Instant::now() + Duration::from_secs(2);
        let mut state = self.captured.lock();
        while state.ended < 2 && Instant::now() < end {
            let left = end.saturating_duration_since(Instant::now());
            state = self.captured.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&state.out), text(&state.err));
        drop(state);
        Done { what: self.what.clone(), status, out, err }
    }

    /// Sends a signal and waits for the end.
    pub fn end_with(self, signal: Signal) -> Done {
        self.signal(signal);
        self.done()
    }

    /// What it said so far, cut, for a panic.
    pub fn shown(&self) -> String {
        let state = self.captured.lock();
        let mut text = String::new();
        for (name, bytes) in [("output", &state.out), ("errors", &state.err)] {
            let from = bytes.len().saturating_sub(SHOWN_BYTES);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "--- its {name}:\n{}", String::from_utf8_lossy(&bytes[from..]));
        }
        text
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // It may have ended by itself.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn capture(output: Output, mut from: impl Read + Send + 'static, into: &Arc<Captured>) {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        let mut buffer = [0; 8_192];
        loop {
            let read = from.read(&mut buffer).unwrap_or(0);
            let mut state = into.lock();
            if read == 0 {
                state.ended += 1;
            } else if output == Output::Out {
                state.out.extend_from_slice(&buffer[..read]);
            } else {
                state.err.extend_from_slice(&buffer[..read]);
            }
            drop(state);
            into.changed.notify_all();
            if read == 0 {
                return;
            }
        }
    });
}

fn words(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

impl Done {
    /// Its exit code.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("ended by signal {:?}: {self}", self.status.signal()))
    }

    /// This, if it ended with an exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self}");
        self
    }

    /// This, if standard error (or standard output) names all of these.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.err.contains(text) || self.out.contains(text), "expected {text:?}: {self}");
        }
        self
    }

    /// Its standard output as one value of JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|why| panic!("no JSON: {why}: {self}"))
    }

    /// Its standard output as one value of JSON a line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        let parse = |line| {
            serde_json::from_str(line).unwrap_or_else(|why| panic!("{line:?} is no JSON: {why}: {self}"))
        };
        self.out.lines().map(parse).collect()
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} ended with {}", self.what, self.status)?;
        for (name, text) in [("output", &self.out), ("errors", &self.err)] {
            let mut from = text.len().saturating_sub(SHOWN_BYTES);
            while !text.is_char_boundary(from) {
                from += 1;
            }
            writeln!(f, "--- its {name}:\n{}", &text[from..])?;
        }
        Ok(())
    }
}
