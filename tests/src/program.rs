//! The program under test.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use crate::process::{Done, Process};

/// Where it is: `SELVEDGE_BIN`, or what Cargo built beside this test.
pub fn path() -> PathBuf {
    if let Some(path) = std::env::var_os("SELVEDGE_BIN") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "SELVEDGE_BIN names {}, which is no file", path.display());
        return path;
    }
    // Tests lie in target/PROFILE/deps, programs in target/PROFILE.
    let test = std::env::current_exe().expect("the system knows what it runs");
    let folder = test.parent().and_then(|deps| deps.parent()).expect("two folders above a test");
    let path = folder.join("selvedge-tested");
    assert!(
        path.is_file(),
        "{} is missing. Cargo builds it with the tests of `selvedge-tests`; run them with `tests/run -p selvedge-tests` \
         or `cargo nextest run -p selvedge-tests`, or name a program in SELVEDGE_BIN",
        path.display()
    );
    path
}

/// A command of the program, with nothing of this shell's settings.
pub fn command<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(path());
    command.args(arguments);
    for name in [
        "SELVEDGE_DATA",
        "SELVEDGE_PASSPHRASE_FILE",
        "CREDENTIALS_DIRECTORY",
        "RUST_LOG",
        "JOURNAL_STREAM",
        "NOTIFY_SOCKET",
    ] {
        command.env_remove(name);
    }
    command
}

/// Runs a command of the program to its end.
pub fn ask<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Done {
    Process::start(&mut command(arguments)).done()
}

/// Runs any other program to its end.
pub fn run(program: &str, arguments: &[&OsStr]) -> Done {
    Process::start(Command::new(program).args(arguments)).done()
}
