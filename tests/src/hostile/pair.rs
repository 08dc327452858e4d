//! Two honest gateways of one network, real processes on the loopback interface, that read a device all the while.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge::folder::Folder;
use selvedge::store::{RealDisk, Store, StoreOptions};
use selvedge_core::Id;
use serde_json::Value;
use tempfile::TempDir;

use super::network::{Folders, HONEST};
use crate::device::Device;
use crate::process::{Done, Output, Process, Signal};
use crate::site::runs;
use crate::{eventually, program};

/// The name under which the hostile program is `selvedge`: so one program is enough for the table.
const SELVEDGE: &str = "selvedge";
/// Transactions that one answer shows, at most.
const NEWEST: &str = "10000";
const HALF: &str = "5000";
/// What `tangle` says of a note that holds nothing.
const APPROVES_ONLY: &str = "nothing: approves only";
/// A few of the newest, where only these are of interest.
const FEW: &str = "40";

/// Was this program started as `selvedge`?
pub fn is_called_selvedge() -> bool {
    let name = std::env::args_os().next().unwrap_or_default();
    Path::new(&name).file_name() == Some(OsStr::new(SELVEDGE))
}

fn is_hostile_program() -> bool {
    let path = std::env::current_exe().expect("the system knows what it runs");
    path.file_name() == Some(OsStr::new("selvedge-hostile"))
}

/// A command of `selvedge`.
fn selvedge(arguments: &[&str]) -> Command {
    if !is_hostile_program() {
        return program::command(arguments);
    }
    let mut command = Command::new(std::env::current_exe().expect("the system knows what it runs"));
    command.arg0(SELVEDGE).args(arguments);
    for name in ["SELVEDGE_DATA", "SELVEDGE_PASSPHRASE_FILE", "CREDENTIALS_DIRECTORY", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

/// A command of the hostile program.
pub(super) fn hostile() -> Command {
    if is_hostile_program() {
        return Command::new(std::env::current_exe().expect("the system knows what it runs"));
    }
    let path = program::path().with_file_name("selvedge-hostile");
    assert!(
        path.is_file(),
        "{} is missing: Cargo builds it with the tests of `selvedge-tests`",
        path.display()
    );
    Command::new(path)
}

/// A transaction as `tangle` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its id.
    pub id: String,
    /// Does it carry a batch of the gateway that was asked?
    pub own_batch: bool,
    /// Will somebody approve it yet: does it carry something, and does nobody approve it?
    pub is_awaiting: bool,
}

/// A running honest gateway.
#[derive(Debug)]
pub struct Gateway {
    data: PathBuf,
    process: Process,
    address: SocketAddr,
}

impl Gateway {
    /// Starts it and waits until it runs. `listen`: where; `peers`: whom it dials.
    fn start(data: &Path, device: &Device, listen: &str, peers: &[SocketAddr]) -> Self {
        let peers: Vec<String> = peers.iter().map(|at| format!("\"{at}\"")).collect();
        let config = format!(
            "[network]\nlisten = \"{listen}\"\npeers = [{}]\nstart_wait = \"1s\"\n\n[batch]\nreadings = 200\n\
             age = \"200ms\"\n\n[journal]\nsync_within = \"20ms\"\n\n[clock]\ntrust = \"assume\"\n\n{}",
            peers.join(", "),
            device.counters_config("50ms"),
        );
        std::fs::write(data.join("selvedge.toml"), config).expect("the configuration can be written");
        let process = Process::start(selvedge(&["run", "--data"]).arg(data));
        let line = process.line(Output::Err, "where it listens", |line| line.contains("network open"));
        let address = address_in(&line).unwrap_or_else(|| panic!("no address in {line:?}"));
        runs(&process);
        Self { data: data.to_owned(), process, address }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Has it ended?
    pub fn has_ended(&mut self) -> bool {
        self.process.has_ended()
    }

    /// Runs a command on its data folder.
    pub fn ask(&self, arguments: &[&str]) -> Done {
        Process::start(selvedge(arguments).arg("--data").arg(&self.data)).done()
    }

    /// `status --json`.
    pub fn status(&self) -> Value {
        let done = self.ask(&["status", "--json"]);
        assert!([0, 1, 3].contains(&done.code()), "{done}");
        done.json()
    }

    /// `peers --json`.
    pub fn peers(&self) -> Value {
        let done = self.ask(&["peers", "--json"]);
        assert!([0, 1].contains(&done.code()), "{done}");
        done.json()
    }

    /// Lines of its log so far.
    pub fn log(&self) -> Vec<String> {
        self.process.lines(Output::Err)
    }

    fn tangle(&self, last: &str) -> Vec<Shown> {
        let answer = self.ask(&["tangle", "--last", last, "--json"]).expect(0).json();
        let newest = answer["newest"].as_array().expect("a list of transactions");
        let shown = |t: &Value| Shown {
            id: t["id"].as_str().expect("an id").to_owned(),
            own_batch: t["own"] == true && t["kind"] == "batch",
            is_awaiting: t["tip"] == true && t["second_branch"] == false && t["payload"] != APPROVES_ONLY,
        };
        newest.iter().map(shown).collect()
    }

    /// Ids of its transactions: the newest 10,000.
    pub fn ids(&self) -> BTreeSet<String> {
        self.tangle(NEWEST).into_iter().map(|shown| shown.id).collect()
    }

    /// Ids of the newest of its transactions: half as many, since gateways attach in different orders.
    fn newest_ids(&self) -> BTreeSet<String> {
        self.tangle(HALF).into_iter().map(|shown| shown.id).collect()
    }

    /// How many transactions it holds, when nothing more is to be issued for their sake.
    fn at_rest(&self) -> Option<u64> {
        let count = self.status()["ledger"]["transactions"].as_u64().expect("a number");
        self.tangle(HALF).iter().all(|shown| !shown.is_awaiting).then_some(count)
    }

    /// The newest transaction that carries a batch of its own.
    fn newest_batch(&self) -> Option<String> {
        self.tangle(FEW).into_iter().rev().find(|shown| shown.own_batch).map(|shown| shown.id)
    }

    fn holds(&self, id: &str) -> bool {
        self.tangle(FEW).iter().any(|shown| shown.id == id) || self.ids().contains(id)
    }
}

/// The address in a line of the log, whatever colours and marks stand around it.
fn address_in(line: &str) -> Option<SocketAddr> {
    let from = line.find("127.0.0.1:")?;
    let rest = &line[from..];
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// See the module.
#[derive(Debug)]
pub struct Pair {
    folders: Folders,
    gateways: Vec<Gateway>,
    device: Option<Device>,
    seed: u64,
    _above: TempDir,
}

impl Pair {
    /// Starts a pair in a network with these hostile members, and waits until each has the other's transactions.
    pub fn start(seed: u64, hostile: &[&str]) -> Self {
        let above = tempfile::tempdir().expect("a folder for tests");
        let folders = Folders::make(above.path(), seed, hostile);
        let device = Device::start();
        let mut gateways: Vec<Gateway> = Vec::new();
        for number in 0..HONEST {
            let peers: Vec<SocketAddr> = gateways.iter().map(Gateway::address).collect();
            gateways.push(Gateway::start(&folders.honest(number), &device, "127.0.0.1:0", &peers));
        }
        let mut pair = Self { folders, gateways, device: Some(device), seed, _above: above };
        pair.crossings();
        pair
    }

    /// The seed that it was made from.
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// The gateways.
    pub fn gateways(&self) -> &[Gateway] {
        &self.gateways
    }

    /// The data folder of a hostile member.
    pub fn hostile(&self, name: &str) -> PathBuf {
        self.folders.hostile(name)
    }

    /// Their process ids.
    pub fn pids(&self) -> Vec<u32> {
        self.gateways.iter().map(Gateway::pid).collect()
    }

    /// How long a new batch takes from each gateway to the other. Panics when one never gets there.
    pub fn crossings(&mut self) -> Vec<Duration> {
        let ways = [(0, 1), (1, 0)];
        ways.into_iter().map(|(from, to)| self.crossing(from, to)).collect()
    }

    fn crossing(&mut self, from: usize, to: usize) -> Duration {
        for gateway in &mut self.gateways {
            let log = gateway.log();
            let end = &log[log.len().saturating_sub(20)..];
            assert!(!gateway.has_ended(), "an honest gateway has ended:\n{}", end.join("\n"));
        }
        let (from, to) = (&self.gateways[from], &self.gateways[to]);
        let before = from.newest_batch();
        let new = eventually("a new batch", || match from.newest_batch() {
            Some(new) if Some(&new) != before.as_ref() => Ok(new),
            _ => Err(from.status()),
        });
        let since = Instant::now();
        eventually("the other's batch", || if to.holds(&new) { Ok(()) } else { Err(to.status()) });
        since.elapsed()
    }

    /// Waits until what each held at this moment (of its newest 5,000) is held by the other.
    pub fn agree(&self) {
        let held: Vec<BTreeSet<String>> = self.gateways.iter().map(Gateway::newest_ids).collect();
        for (number, gateway) in self.gateways.iter().enumerate() {
            let wanted = &held[(number + 1) % held.len()];
            eventually("what the other held", || {
                let ids = gateway.ids();
                let missing = wanted.difference(&ids).count();
                if missing == 0 { Ok(()) } else { Err(format!("{missing} of {} missing", wanted.len())) }
            });
        }
    }

    /// Kills a gateway and starts it again where it was; its peers are the others, and these.
    pub fn kill_and_start(&mut self, number: usize) {
        let gateway = self.gateways.remove(number);
        let (data, address) = (gateway.data.clone(), gateway.address);
        gateway.process.end_with(Signal::KILL);
        let peers: Vec<SocketAddr> = self.gateways.iter().map(Gateway::address).collect();
        let device = self.device.as_ref().expect("the device was not taken away");
        let again = Gateway::start(&data, device, &address.to_string(), &peers);
        self.gateways.insert(number, again);
    }

    /// Takes the device away, waits until nothing more is to be said, ends both in order, and reads both ledgers from the
    /// closed folders. They have to be one; its ids.
    pub fn end(mut self) -> BTreeSet<Id> {
        drop(self.device.take());
        // An approval of the last transaction comes up to two seconds after it.
        let mut same_since: Option<(u64, Instant)> = None;
        eventually("both to come to rest", || {
            let counts: Vec<Option<u64>> = self.gateways.iter().map(Gateway::at_rest).collect();
            let same = counts[0].filter(|_| counts[0] == counts[1]);
            same_since = same.map(|count| match same_since {
                Some((before, since)) if before == count => (count, since),
                _ => (count, Instant::now()),
            });
            if same_since.is_some_and(|(_, since)| since.elapsed() > Duration::from_secs(3)) {
                Ok(())
            } else {
                Err(format!("{counts:?} transactions"))
            }
        });
        let mut ledgers = Vec::new();
        for gateway in self.gateways {
            gateway.process.end_with(Signal::TERM).expect(0);
            ledgers.push(closed_ledger(&gateway.data));
        }
        let (one, other) = (ledgers.remove(0), ledgers.remove(0));
        let missing: Vec<_> = one.symmetric_difference(&other).collect();
        assert!(
            missing.is_empty(),
            "{} of {} transactions are on one side only: {missing:?}",
            missing.len(),
            one.len()
        );
        assert!(one.len() > 4, "nothing was compared");
        one
    }
}

/// Ids of all transactions in a folder that no node runs on.
fn closed_ledger(data: &Path) -> BTreeSet<Id> {
    let folder = Folder::open(data).expect("a data folder");
    let disk = Arc::new(RealDisk::open(folder.store_path()).expect("nobody runs on it"));
    let options = StoreOptions::new(folder.network(), folder.issuer());
    let (store, restored, _) = Store::open(disk, &options).expect("a store that was closed in order");
    let count = usize::try_from(restored.next_number).expect("they fit");
    let records = store.reader().newest(count).expect("records");
    assert_eq!(records.len(), count, "not all of them were read");
    records.into_iter().map(|record| record.id).collect()
}
