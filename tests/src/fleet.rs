//! Several gateways of one network, each a process with a data folder of its own; and what closed folders hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge::chain;
use selvedge::folder::Folder;
use selvedge::store::RealDisk;
use selvedge_core::codec;
use selvedge_core::payload::{Batch, PayloadKind};
use selvedge_core::record::Record;
use selvedge_core::transaction::Envelope;
use selvedge_core::{Id, Issuer};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Done, Process, Signal};
use crate::site::{QUICK, runs};
use crate::{eventually_within, program};

/// A gateway that listens on any free port and waits for nobody.
pub const LISTEN: &str = "listen = \"127.0.0.1:0\"\nstart_wait = \"200ms\"\n";
/// Transactions in one answer, at most.
const NEWEST: &str = "10000";
/// An approval is made within this time of what it approves, so a ledger that is the same on all and did not change for
/// so long changes no more.
const QUIET: Duration = Duration::from_secs(3);

/// The gateways of one network, which founded it together. Removed when dropped.
#[derive(Debug)]
pub struct Fleet {
    above: TempDir,
    network: String,
}

impl Fleet {
    /// Gateways with these names, each of an organisation of its own. All are the committee.
    pub fn new(names: &[&str]) -> Self {
        let above = tempfile::tempdir().expect("a folder for tests");
        let (first, others) = names.split_first().expect("one gateway at least");
        let at = |name: &str| Gateway::at(above.path().join(name));
        let mut found =
            vec!["init", "--json", "--network", "works", "--organisation", first, "--name", first];
        let files: Vec<String> = others
            .iter()
            .map(|name| {
                at(name).ask(&["init", "--introduce", "--organisation", name, "--name", name]).expect(0);
                text(&at(name).file("introduction")).to_owned()
            })
            .collect();
        for file in &files {
            found.extend(["--with", file]);
        }
        let committee = names.join(",");
        found.extend(["--committee", &committee]);
        let made = at(first).ask(&found).expect(0).json();
        let network = made["network"].as_str().expect("the network's id").to_owned();
        let genesis = at(first).file("genesis.bin");
        for name in others {
            at(name).ask(&["init", "--genesis", text(&genesis)]).expect(0);
        }
        Self { above, network }
    }

    /// The network's id.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// A gateway, or a folder that is to become one.
    pub fn gateway(&self, name: &str) -> Gateway {
        Gateway::at(self.beside(name))
    }

    /// A place beside the data folders, gone with them.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.above.path().join(name)
    }
}

/// A path for a command line.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("folders for tests have names of UTF-8")
}

/// A data folder.
#[derive(Debug, Clone)]
pub struct Gateway {
    data: PathBuf,
}

impl Gateway {
    /// The one in this folder.
    pub fn at(data: PathBuf) -> Self {
        Self { data }
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A file or folder in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.data.join(name)
    }

    /// Writes a configuration: keys of its table `[network]`, and devices.
    pub fn configure(&self, network: &str, devices: &str) {
        let config = format!("{QUICK}[network]\n{network}\n{devices}");
        std::fs::write(self.file("selvedge.toml"), config).expect("the configuration can be written");
    }

    /// The command that runs it.
    pub fn command(&self) -> Command {
        let mut command = program::command(["run", "--data"]);
        command.arg(&self.data);
        command
    }

    /// Starts it and returns when it runs.
    pub fn run(&self) -> Process {
        let node = Process::start(&mut self.command());
        runs(&node);
        node
    }

    /// A command on the data folder.
    pub fn ask(&self, arguments: &[&str]) -> Done {
        program::ask([arguments, &["--data", text(&self.data)]].concat())
    }

    /// Its answer in JSON, whatever the exit code.
    pub fn json(&self, arguments: &[&str]) -> Value {
        self.ask(&[arguments, &["--json"]].concat()).json()
    }

    /// `status`.
    pub fn status(&self) -> Value {
        self.json(&["status"])
    }

    /// Its id.
    pub fn id(&self) -> String {
        let id = std::fs::read_to_string(self.file("gateway.id")).expect("it was made");
        id.trim().to_owned()
    }

    /// Where it listens, while it runs.
    pub fn address(&self) -> String {
        self.json(&["peers"])["listen"].as_str().expect("it listens").to_owned()
    }

    /// `[network]` of a gateway that dials this one.
    pub fn dials(&self) -> String {
        format!("listen = \"127.0.0.1:0\"\nstart_wait = \"30s\"\npeers = [{:?}]\n", self.address())
    }

    /// Transactions in its ledger.
    pub fn count(&self) -> u64 {
        self.status()["ledger"]["transactions"].as_u64().expect("a number")
    }

    /// Waits until its ledger holds so many.
    pub fn wait_for(&self, count: u64) {
        crate::eventually("transactions", || {
            let status = self.status();
            let got = status["ledger"]["transactions"].as_u64().expect("a number");
            if got >= count { Ok(()) } else { Err(status) }
        });
    }

    /// Waits until it has issued so many transactions more.
    pub fn issues(&self, more: usize) {
        let own = || {
            let newest = self.json(&["tangle", "--last", NEWEST]);
            newest["newest"].as_array().expect("a list").iter().filter(|t| t["own"] == true).count()
        };
        let before = own();
        crate::eventually("own transactions", || {
            let now = own();
            if now >= before + more { Ok(()) } else { Err(format!("{now}, there were {before}")) }
        });
    }

    /// Ids of the newest transactions: of all, unless there are very many.
    pub fn ids(&self) -> BTreeSet<String> {
        let newest = self.json(&["tangle", "--last", NEWEST]);
        let all = newest["newest"].as_array().expect("a list").iter();
        all.map(|t| t["id"].as_str().expect("an id").to_owned()).collect()
    }

    /// All readings of a stream from a moment on, in order.
    pub fn readings(&self, stream: &str, more: &[&str]) -> Vec<Value> {
        self.ask(&[&["export", "--stream", stream, "--format", "jsonl"], more].concat())
            .expect(0)
            .json_lines()
    }

    /// What the folder holds, while nobody runs on it.
    pub fn held(&self) -> Held {
        let folder = Folder::open(&self.data).expect("a data folder");
        let disk = RealDisk::open(folder.store_path()).expect("nobody runs on it");
        let store = chain::open(&folder, Arc::new(disk)).expect("a store that is right").store;
        let reader = store.reader();
        let mut held = Held::default();
        for number in 0..reader.next_number().expect("readable") {
            let record = reader.record(number).expect("readable").expect("no gap");
            let envelope = reader.envelope(number).expect("readable").expect("each has its bytes");
            held.bytes.insert(record.id, envelope.len() as u64);
            held.take(&record, &envelope);
        }
        held
    }
}

/// What a closed folder holds.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Held {
    /// Each transaction, with the length of its envelope.
    pub bytes: BTreeMap<Id, u64>,
    /// What was signed at each place: more than one id is a fork.
    pub places: BTreeMap<(Issuer, u64), BTreeSet<Id>>,
    /// Of each issuer the batches in order of the chain.
    pub batches: BTreeMap<Issuer, BTreeMap<u64, Batch>>,
}

impl Held {
    fn take(&mut self, record: &Record, envelope: &[u8]) {
        self.places.entry((record.issuer, record.sequence)).or_default().insert(record.id);
        if record.kind != PayloadKind::Batch as u16 {
            return;
        }
        let (_, body) = Envelope::open(envelope).expect("it was attached");
        let batch: Batch = codec::decode(&body.payload).expect("it was attached");
        self.batches.entry(record.issuer).or_default().insert(record.sequence, batch);
    }

    /// Ids of all transactions.
    pub fn ids(&self) -> BTreeSet<Id> {
        self.bytes.keys().copied().collect()
    }

    /// Places at which somebody signed two transactions, of all these folders together.
    pub fn forks<'a>(all: impl IntoIterator<Item = &'a Self>) -> Vec<(Issuer, u64)> {
        let mut places: BTreeMap<(Issuer, u64), BTreeSet<Id>> = BTreeMap::new();
        for held in all {
            for (place, ids) in &held.places {
                places.entry(*place).or_default().extend(ids);
            }
        }
        places.into_iter().filter(|(_, ids)| ids.len() > 1).map(|(place, _)| place).collect()
    }

    /// Checks that batches of each issuer are numbered without a gap, and that no stream's counter is in two, nor left
    /// out.
    #[track_caller]
    pub fn check_counters(&self) {
        for (issuer, batches) in &self.batches {
            let mut next: BTreeMap<_, u64> = BTreeMap::new();
            for (expected, (sequence, batch)) in (0_u64..).zip(batches) {
                assert_eq!(batch.number, expected, "batches of {issuer}, sequence {sequence}");
                for span in &batch.streams {
                    let counter = next.entry(span.descriptor).or_default();
                    let stream = span.descriptor;
                    assert_eq!(span.first, *counter, "stream {stream} of {issuer}, batch {expected}");
                    *counter += u64::from(span.count);
                }
            }
        }
    }
}

/// Waits until all running gateways hold the same transactions and nobody issues any more. Returns how many.
pub fn settle(gateways: &[&Gateway]) -> usize {
    let mut since: Option<(BTreeSet<String>, Instant)> = None;
    eventually_within(2 * crate::WITHIN, "one ledger that does not change", || {
        let ids: Vec<_> = gateways.iter().map(|gateway| gateway.ids()).collect();
        if ids.iter().any(|other| *other != ids[0]) {
            since = None;
            return Err(format!("{:?} transactions", ids.iter().map(BTreeSet::len).collect::<Vec<_>>()));
        }
        match &since {
            Some((before, at)) if *before == ids[0] => {
                if at.elapsed() >= QUIET {
                    Ok(ids[0].len())
                } else {
                    Err("equal, and not yet quiet".into())
                }
            }
            _ => {
                since = Some((ids[0].clone(), Instant::now()));
                Err("equal now".into())
            }
        }
    })
}

/// Stops gateways in order, and returns what their folders hold; all the same.
pub fn stop_equal(nodes: impl IntoIterator<Item = (Gateway, Process)>) -> Held {
    let (gateways, nodes): (Vec<_>, Vec<_>) = nodes.into_iter().unzip();
    for node in nodes {
        node.end_with(Signal::TERM).expect(0);
    }
    let mut held = gateways.iter().map(Gateway::held);
    let first = held.next().expect("one gateway at least");
    for (gateway, other) in gateways[1..].iter().zip(held) {
        let lacks = first.ids().difference(&other.ids()).count();
        let more = other.ids().difference(&first.ids()).count();
        assert!(lacks == 0 && more == 0, "{}: {lacks} missing, {more} more", gateway.data.display());
    }
    assert!(!first.bytes.is_empty(), "nothing was compared");
    first
}
