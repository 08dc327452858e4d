//! A data folder with a gateway in it, made by `selvedge init`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::device::Device;
use crate::eventually;
use crate::process::{Done, Output, Process, Signal};
use crate::program;

/// Batches close often, so that a test sees transactions soon, and readings are shown soon after they came. The clock
/// of a test machine counts as kept, whoever keeps it.
pub const QUICK: &str = "[batch]\nreadings = 200\nage = \"200ms\"\n\n[journal]\nsync_within = \"20ms\"\n\n[clock]\ntrust = \"assume\"\n\n";

/// A gateway's folder. Removed when dropped.
#[derive(Debug)]
pub struct Site {
    above: TempDir,
    data: PathBuf,
    network: String,
}

impl Site {
    /// A new network with one gateway.
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// The same, with further arguments for `init`.
    pub fn with(arguments: &[&str]) -> Self {
        let above = tempfile::tempdir().expect("a folder for tests");
        let data = above.path().join("g1");
        let mut all =
            vec!["init", "--json", "--network", "works", "--organisation", "Acme", "--gateway", "g1"];
        all.extend(arguments);
        let mut all: Vec<OsString> = all.into_iter().map(OsString::from).collect();
        all.extend(["--data".into(), data.clone().into()]);
        let made = program::ask(all).expect(0).json();
        let network = made["network"].as_str().expect("the network's id").to_owned();
        assert!(network.starts_with("svnet1"), "{made}");
        Self { above, data, network }
    }

    /// A gateway that read a device for a while and was stopped in order: a chain of some transactions.
    pub fn with_chain() -> Self {
        let (site, device) = (Self::new(), Device::start());
        site.configure(&device.counters_config("20ms"));
        let node = site.run();
        site.wait_for_transactions(4);
        node.end_with(Signal::TERM).expect(0);
        site
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A file or folder in the data folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.data.join(name)
    }

    /// A place beside the data folder, gone with it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.above.path().join(name)
    }

    /// The network's id.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// Writes a configuration with these devices, under which batches close often.
    pub fn configure(&self, devices: &str) {
        self.configure_exactly(&format!("{QUICK}{devices}"));
    }

    /// Writes a configuration.
    pub fn configure_exactly(&self, text: &str) {
        std::fs::write(self.file("selvedge.toml"), text).expect("the configuration can be written");
    }

    /// Starts the gateway and returns without waiting.
    pub fn start(&self) -> Process {
        self.start_with(&[])
    }

    /// The same, with further arguments.
    pub fn start_with(&self, arguments: &[&str]) -> Process {
        let mut command = program::command(["run", "--data"]);
        Process::start(command.arg(&self.data).args(arguments))
    }

    /// Starts the gateway and returns when it runs.
    pub fn run(&self) -> Process {
        let node = self.start();
        runs(&node);
        node
    }

    /// Runs a command on the data folder to its end.
    pub fn ask(&self, arguments: &[&str]) -> Done {
        let mut command = program::command(arguments);
        Process::start(command.arg("--data").arg(&self.data)).done()
    }

    /// `status --json`: the same with a node and without, whether or not something needs attention.
    pub fn status(&self) -> Value {
        let done = self.ask(&["status", "--json"]);
        assert!([0, 1, 3].contains(&done.code()), "{done}");
        done.json()
    }

    /// All readings of a stream, in order.
    pub fn readings(&self, stream: &str) -> Vec<Value> {
        self.ask(&["export", "--stream", stream, "--format", "jsonl"]).expect(0).json_lines()
    }

    /// Waits until there are so many transactions.
    pub fn wait_for_transactions(&self, count: u64) {
        eventually("transactions", || {
            let status = self.status();
            let got = status["ledger"]["transactions"].as_u64().expect("a number");
            if got >= count { Ok(()) } else { Err(status) }
        });
    }

    /// Waits until the newest reading of a stream can be proved, and writes the proof.
    pub fn prove(&self, stream: &str, to: &Path) {
        eventually("a proof", || {
            let done = self.ask(&["prove", stream, "latest", "-o", to.to_str().expect("UTF-8")]);
            if done.status.success() { Ok(()) } else { Err(done) }
        });
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

/// Waits until a gateway says that it runs.
pub fn runs(node: &Process) {
    node.line(Output::Err, "that it runs", |line| line.contains("running") && line.contains("svnet1"));
}
