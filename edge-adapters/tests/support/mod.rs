//! What the tests against real servers share: server programs in processes of their own, the line by which each says
//! that it is ready, free ports, and what is waited for.
//!
//! A server ends when its standard input ends, and is killed when its guard is dropped, so none outlives its test.
//! Each test binary uses a part of this.
#![allow(dead_code, reason = "each test binary uses a part of this")]

pub(crate) mod example;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before a test gives up. Generous: it is reached only when something is wrong.
pub(crate) const WITHIN: Duration = Duration::from_mins(1);
/// How often [`eventually`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// What a panic shows of each output, in bytes from its end.
const SHOWN_BYTES: usize = 8_000;

/// The top of the source tree.
pub(crate) fn project() -> PathBuf {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.parent().expect("the crate lies in the project's folder").to_owned()
}

/// A server program in `tests/servers`.
pub(crate) fn server(name: &str) -> PathBuf {
    project().join("tests/servers").join(name)
}

/// The Python interpreter that has the packages of `tests/requirements.txt`.
pub(crate) fn python() -> PathBuf {
    installed("SELVEDGE_TEST_PYTHON", ".test-env/python/bin/python", "Python with tests/requirements.txt")
}

/// The folder of the npm packages of `tests/package.json`: a `node_modules`.
pub(crate) fn node_modules() -> PathBuf {
    installed(
        "SELVEDGE_TEST_NODE_MODULES",
        ".test-env/node/node_modules",
        "the npm packages of tests/package.json",
    )
}

/// What `tests/run` installs and an environment variable may name in its place.
fn installed(variable: &str, usual: &str, what: &str) -> PathBuf {
    let path = std::env::var_os(variable).map_or_else(|| project().join(usual), PathBuf::from);
    assert!(
        path.exists(),
        "{} is missing: this test needs {what}. `tests/run` installs it there; or name another place in {variable}",
        path.display()
    );
    path
}

/// A program of the system, by its name.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    places
        .map(|place| place.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is missing: `tests/run` installs it, or `apt-get install {name}`"))
}

/// A port of 127.0.0.1 that is free at this moment, for a server that cannot choose one and say which. Another
/// program may take it first; so prefer a server that listens on port 0.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("the loopback interface");
    listener.local_addr().expect("it is bound").port()
}

/// Asks again and again until there is an answer. The error is what was seen last.
pub(crate) fn eventually<T, E: std::fmt::Display>(what: &str, mut look: impl FnMut() -> Result<T, E>) -> T {
    let start = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(state) if start.elapsed() > WITHIN => {
                panic!("waited {} s for {what}; last seen: {state}", WITHIN.as_secs())
            }
            Err(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// A server in a process of its own. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    what: String,
    child: Child,
    captured: Arc<Captured>,
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
    /// Whole lines.
    fn lines(&self, output: Output) -> Vec<String> {
        let bytes = match output {
            Output::Out => &self.out,
            Output::Err => &self.err,
        };
        let text = String::from_utf8_lossy(bytes);
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_owned).collect()
    }
}

/// One of the two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Server {
    /// Starts a program. Its standard input is a pipe that ends with this guard.
    pub(crate) fn start(command: &mut Command) -> Self {
        let what = words(command);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap_or_else(|why| panic!("cannot start {what}: {why}"));
        let captured = Arc::new(Captured::default());
        capture(Output::Out, child.stdout.take().expect("piped above"), &captured);
        capture(Output::Err, child.stderr.take().expect("piped above"), &captured);
        Self { what, child, captured }
    }

    /// Starts a Python server of `tests/servers`, and waits for the line of JSON by which it says that it is ready.
    pub(crate) fn python<S: AsRef<OsStr>>(
        script: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> (Self, Value) {
        Self::ready(Command::new(python()).arg(server(script)).args(arguments))
    }

    /// Starts a Node.js server of `tests/servers` that finds its packages by `NODE_PATH` and by
    /// `SELVEDGE_TEST_NODE_MODULES` (modules need the latter: they do not look at the former), and waits for its line.
    pub(crate) fn node<S: AsRef<OsStr>>(
        script: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> (Self, Value) {
        let modules = node_modules();
        let mut command = Command::new(program("node"));
        command.arg(server(script)).args(arguments);
        command.env("NODE_PATH", &modules).env("SELVEDGE_TEST_NODE_MODULES", &modules);
        Self::ready(&mut command)
    }

    /// Starts a server and waits for the line of JSON by which it says that it is ready.
    pub(crate) fn ready(command: &mut Command) -> (Self, Value) {
        let server = Self::start(command);
        let line = server.line(Output::Out, 0, "that it is ready", |line| line.starts_with('{'));
        let said = serde_json::from_str(&line)
            .unwrap_or_else(|why| panic!("{}: {line:?} is no JSON: {why}", server.what));
        (server, said)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to its standard input.
    pub(crate) fn say(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("piped at the start");
        let said = writeln!(input, "{line}").and_then(|()| input.flush());
        said.unwrap_or_else(|why| panic!("cannot say {line:?} to {}: {why}", self.what));
    }

    /// Writes a line to its standard input, and waits until it echoes it: what was asked holds.
    pub(crate) fn command(&mut self, line: &str) {
        let before = self.lines(Output::Out).len();
        self.say(line);
        self.line(Output::Out, before, &format!("{line:?} again"), |said| said == line);
    }

    /// Writes a line to its standard input, and gives back the next line of JSON that it says.
    pub(crate) fn ask(&mut self, line: &str) -> Value {
        let before = self.lines(Output::Out).len();
        self.say(line);
        let said =
            self.line(Output::Out, before, &format!("an answer to {line:?}"), |said| said.starts_with('{'));
        serde_json::from_str(&said).unwrap_or_else(|why| panic!("{}: {said:?} is no JSON: {why}", self.what))
    }

    /// All whole lines so far.
    pub(crate) fn lines(&self, output: Output) -> Vec<String> {
        self.captured.lock().lines(output)
    }

    /// Waits for a line for which `is_it` holds, among those from number `from` on.
    pub(crate) fn line(
        &self,
        output: Output,
        from: usize,
        what: &str,
        is_it: impl Fn(&str) -> bool,
    ) -> String {
        let end = Instant::now() + WITHIN;
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

    /// Kills it at once, as a pulled plug would: nothing is closed in order. Returns when it is gone.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Ends it in order by the end of its standard input, and waits until it is gone.
    pub(crate) fn stop(mut self) {
        drop(self.child.stdin.take());
        let ended = eventually(&format!("the end of {}", self.what), || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("it runs".to_owned()),
            Err(why) => Err(why.to_string()),
        });
        assert!(ended.success(), "{} ended with {ended}\n{}", self.what, self.shown());
    }

    /// Everything that it said, cut, for a panic.
    pub(crate) fn shown(&self) -> String {
        let state = self.captured.lock();
        let mut text = String::new();
        for (name, bytes) in [("output", &state.out), ("errors", &state.err)] {
            let from = bytes.len().saturating_sub(SHOWN_BYTES);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "--- its {name}:\n{}", String::from_utf8_lossy(&bytes[from..]));
        }
        text
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

impl Captured {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn capture(output: Output, mut from: impl Read + Send + 'static, into: &Arc<Captured>) {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        let mut buffer = [0; 8_192];
        loop {
            let read = from.read(&mut buffer).unwrap_or(0);
            let mut state = into.lock();
            match output {
                _ if read == 0 => state.ended += 1,
                Output::Out => state.out.extend_from_slice(&buffer[..read]),
                Output::Err => state.err.extend_from_slice(&buffer[..read]),
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
