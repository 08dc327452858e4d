//! What the tests against real servers share: server programs in processes of their own, the line by which each says
//! that it is ready, free ports, and what is waited for.
//!
//! A server ends when its standard input ends, and is killed when its guard is dropped, so none outlives its test.
//! Each test binary uses a part of this.
#![allow(dead_code, reason = "each test binary uses a part of this")]

pub(crate) mod example;
#[path = "../../../tests/src/process.rs"]
#[allow(
    unreachable_pub,
    clippy::return_self_not_must_use,
    reason = "where it is from it is part of a library"
)]
pub(crate) mod process;

use std::ffi::OsStr;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

/// A server in a process of its own. Killed when dropped.
pub(crate) use process::{Output, Process as Server};

/// How long anything may take before a test gives up. Generous: it is reached only when something is wrong.
pub(crate) const WITHIN: Duration = Duration::from_mins(1);
/// How often [`eventually`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

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

impl Server {
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
        let line = server.line(Output::Out, "that it is ready", |line| line.starts_with('{'));
        let said = serde_json::from_str(&line)
            .unwrap_or_else(|why| panic!("{line:?} is no JSON: {why}\n{}", server.shown()));
        (server, said)
    }

    /// Writes a line to its standard input, and waits until it echoes it: what was asked holds.
    pub(crate) fn command(&mut self, line: &str) {
        let before = self.lines(Output::Out).len();
        self.say(line);
        self.line_from(Output::Out, before, &format!("{line:?} again"), |said| said == line);
    }

    /// Writes a line to its standard input, and gives back the next line of JSON that it says.
    pub(crate) fn ask(&mut self, line: &str) -> Value {
        let before = self.lines(Output::Out).len();
        self.say(line);
        let said = self
            .line_from(Output::Out, before, &format!("an answer to {line:?}"), |said| said.starts_with('{'));
        serde_json::from_str(&said)
            .unwrap_or_else(|why| panic!("{said:?} is no JSON: {why}\n{}", self.shown()))
    }

    /// Kills it at once, as a pulled plug would: nothing is closed in order. Returns when it is gone.
    pub(crate) fn kill(self) {
        drop(self);
    }

    /// Ends it in order by the end of its standard input, and waits until it is gone.
    pub(crate) fn stop(self) {
        self.done().expect(0);
    }
}
