//! A real core on a real store with real keys, driven on one thread: what the tests of answers and API ask.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use selvedge_core::border::{
    BatchPolicy, Config, Effect, Event, Input, NewReading, Now, Outcome, PeerId, ReplyTo, StartCheck,
    StreamHandle, TipPolicy,
};
use selvedge_core::genesis::{Genesis, Member, Organisation, role};
use selvedge_core::node::Node;
use selvedge_core::reading::{Quality, Value};
use selvedge_core::stream::{Attestation, Descriptor};
use selvedge_core::wire::{self, Hello, Message, StartId};
use selvedge_core::{Issuer, Network, Scheme};
use selvedge_crypto::{SecretKey, Signer, default_verifier, signer};

use super::{Answers, EventCounts, Facts, Live, Time};
use crate::engine::Notices;
use crate::store::{Disk, MemDisk, Store, StoreOptions, archive};

/// 2026-05-01T12:00:00Z: when the clock of a bench starts.
pub(crate) const START: Time = Time(1_777_636_800_000_000_000);
/// One second in nanoseconds.
pub(crate) const SECOND: i64 = 1_000_000_000;

/// Two names, one number: the network of a bench. Another `seed` is another network with the same names.
pub(crate) fn genesis(seed: u8) -> (Genesis, SecretKey) {
    let organisation = SecretKey::from_seed(Scheme::MlDsa65, &[seed; 32]);
    let gateway = SecretKey::from_seed(Scheme::MlDsa44, &[seed.wrapping_add(1); 32]);
    let public = |secret: &SecretKey| signer(secret).unwrap().public_key().clone();
    let genesis = Genesis {
        version: 0,
        network_name: "bottling".into(),
        random: [seed; 32],
        organisations: vec![Organisation { name: "Acme".into(), key: public(&organisation) }],
        members: vec![Member {
            organisation: 0,
            key: public(&gateway),
            name: "gateway-1".into(),
            roles: vec![role::GATEWAY.into()],
        }],
        committee: vec![0],
    };
    (genesis, gateway)
}

/// The same network with a second gateway of a second organisation; the committee is both.
pub(crate) fn genesis_of_two(seed: u8) -> (Genesis, SecretKey, SecretKey) {
    let (mut genesis, gateway) = genesis(seed);
    let organisation = SecretKey::from_seed(Scheme::MlDsa65, &[seed.wrapping_add(2); 32]);
    let other = SecretKey::from_seed(Scheme::MlDsa44, &[seed.wrapping_add(3); 32]);
    let public = |secret: &SecretKey| signer(secret).unwrap().public_key().clone();
    genesis.organisations.push(Organisation { name: "Owner".into(), key: public(&organisation) });
    genesis.members.push(Member {
        organisation: 1,
        key: public(&other),
        name: "press-7".into(),
        roles: vec![role::GATEWAY.into()],
    });
    genesis.committee = vec![0, 1];
    (genesis, gateway, other)
}

/// A gateway without tasks and threads.
pub(crate) struct Bench {
    pub(crate) facts: Arc<Facts>,
    pub(crate) events: Vec<Event>,
    node: Node,
    store: Store,
    disk: Arc<dyn Disk>,
    signer: Arc<dyn Signer>,
    policy: BatchPolicy,
    wall_ns: i64,
    replies: u64,
}

impl Bench {
    /// On a disk in memory.
    pub(crate) fn new(seed: u8) -> Self {
        let (genesis, gateway) = genesis(seed);
        Self::on(Arc::new(MemDisk::new()), Path::new("/nowhere"), genesis, &gateway)
    }

    /// On any disk.
    pub(crate) fn on(disk: Arc<dyn Disk>, folder: &Path, genesis: Genesis, gateway: &SecretKey) -> Self {
        let signer = signer(gateway).unwrap();
        let genesis_bytes: Arc<[u8]> = genesis.to_bytes().into();
        let facts = Arc::new(Facts {
            network: Network::new(Genesis::network_id_of(&genesis_bytes)),
            genesis: Arc::new(genesis),
            genesis_bytes: genesis_bytes.clone(),
            issuer: signer.public_key().issuer(),
            folder: folder.to_owned(),
            restored_mark: false,
        });
        let options =
            StoreOptions { segment_bytes: 1024 * 1024, ..StoreOptions::new(&facts.network, facts.issuer) };
        let (store, restored, _) = Store::open(disk.clone(), &options).unwrap();
        let policy = BatchPolicy::default();
        let config = Config {
            genesis: facts.genesis.clone(),
            genesis_bytes,
            issuer: facts.issuer,
            salt_key: [9; 32],
            batch: policy,
            journal_within_us: 0,
            foreign_within_us: 0,
            tips: TipPolicy::default(),
            approve_delay_max_us: 0,
            start_check: StartCheck::None,
            enrolment: None,
            signing_keys: None,
            software: "selvedge test".into(),
            window_records: 1_024,
        };
        let mut effects = Vec::new();
        let now = Now { monotonic_us: 0, wall_ns: START.0, synchronised: true };
        let node = Node::open(config, &[1; 32], restored, now, &mut effects).unwrap();
        let events = Vec::new();
        let mut bench =
            Self { facts, events, node, store, disk, signer, policy, wall_ns: START.0, replies: 0 };
        bench.carry_out(effects);
        bench
    }

    pub(crate) fn now(&self) -> Time {
        Time(self.wall_ns)
    }

    /// Lets time pass. Keep it shorter than a batch may be open, unless it should close.
    pub(crate) fn pass(&mut self, ns: i64) {
        self.wall_ns += ns;
    }

    fn handle(&mut self, input: Input) {
        let monotonic_us = u64::try_from((self.wall_ns - START.0) / 1_000).unwrap();
        let now = Now { monotonic_us, wall_ns: self.wall_ns, synchronised: true };
        let mut effects = Vec::new();
        self.node.handle(now, input, &mut effects);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Persist { ticket, writes, .. } => {
                    self.store.commit(&writes).unwrap();
                    self.handle(Input::Persisted { ticket });
                }
                Effect::Load { ticket, references } => {
                    let found = self.store.reader().load(&references).unwrap();
                    self.handle(Input::Loaded { ticket, found });
                }
                Effect::LoadBatch { ticket, batch } => {
                    let records = self.store.reader().batch_records(batch).unwrap();
                    self.handle(Input::BatchLoaded { ticket, records });
                }
                Effect::Seal { ticket, batch } => {
                    let (root, segment, segment_bytes) = archive::seal(&batch, self.disk.as_ref()).unwrap();
                    self.handle(Input::Sealed { ticket, root, segment, segment_bytes });
                }
                Effect::Verify { ticket, checks } => {
                    let holds =
                        checks.iter().all(|c| default_verifier().verify(&c.key, &c.message, &c.signature));
                    self.handle(Input::Verified { ticket, valid: holds });
                }
                Effect::Sign { ticket, message, .. } => {
                    let signature = self.signer.sign(&message).unwrap();
                    self.handle(Input::Signed { ticket, signature });
                }
                Effect::Reply { outcome, .. } => assert_eq!(outcome, Outcome::Durable),
                Effect::Emit(event) => self.events.push(event),
                // What peers would get is the network's; see there.
                Effect::Send { .. } | Effect::Serve { .. } => {}
                Effect::Disconnect { why, .. } => panic!("a peer of a test is sent away: {why}"),
                Effect::Drop { reject, .. } => panic!("a peer of a test broke a rule: {reject}"),
            }
        }
    }

    pub(crate) fn describe(&mut self, handle: u32, descriptor: Descriptor) {
        self.handle(Input::Describe { stream: StreamHandle(handle), descriptor, urgent: false });
    }

    pub(crate) fn submit(&mut self, readings: Vec<NewReading>) {
        self.replies += 1;
        self.handle(Input::Submit { readings, origins: Vec::new(), reply: ReplyTo(self.replies) });
    }

    pub(crate) fn issue(&mut self, kind: u16, payload: Vec<u8>) {
        self.replies += 1;
        self.handle(Input::Issue { kind, payload, reply: ReplyTo(self.replies) });
    }

    /// A peer is there, and has greeted.
    pub(crate) fn connect(&mut self, peer: u64, issuer: Issuer) {
        let peer = PeerId(peer);
        self.handle(Input::PeerUp { peer, issuer, outgoing: false });
        let hello = Hello {
            lowest: wire::VERSION,
            highest: wire::VERSION,
            features: 0,
            network: self.facts.network.id(),
            frame_bytes_max: 256 * 1024,
            head: None,
            start: StartId([7; 16]),
            software: "selvedge 9.9".into(),
        };
        self.handle(Input::Frame { peer, bytes: Message::Hello(hello).to_frame() });
    }

    /// A connected peer pushes a transaction.
    pub(crate) fn receive(&mut self, peer: u64, envelope: &[u8]) {
        let bytes = Message::Transaction(envelope).to_frame();
        self.handle(Input::Frame { peer: PeerId(peer), bytes });
    }

    /// The envelope of a transaction that is in this ledger.
    pub(crate) fn envelope(&self, number: u64) -> Vec<u8> {
        self.store.reader().envelope(number).unwrap().unwrap()
    }

    /// Closes the open batch; with nothing slow, its transaction is attached when this returns.
    pub(crate) fn flush(&mut self) {
        self.handle(Input::Flush);
    }

    /// A reading now, received when it was taken.
    pub(crate) fn reading(&self, stream: u32, value: Value) -> NewReading {
        NewReading {
            stream: StreamHandle(stream),
            value,
            quality: Quality::Good,
            flags: 0,
            status: 0,
            source_time_ns: self.wall_ns,
            receive_time_ns: self.wall_ns,
        }
    }

    /// What can be asked when no node runs.
    pub(crate) fn answers(&self) -> Answers {
        Answers { reader: self.store.reader(), facts: self.facts.clone(), live: None }
    }

    /// What a node would publish now.
    pub(crate) fn live(&self) -> Live {
        let mut events = EventCounts::default();
        for event in &self.events {
            events.count(event, self.now());
        }
        let attached = self.node.status().attached;
        let monotonic_us = u64::try_from((self.wall_ns - START.0) / 1_000).unwrap();
        let now = Now { monotonic_us, wall_ns: self.wall_ns, synchronised: true };
        Live {
            ledger: self.node.status(),
            peers: self.node.peers(now),
            faulty: BTreeMap::new(),
            notices: Notices::default(),
            net: None,
            listen: None,
            is_marked: false,
            drain: None,
            batch: self.policy,
            devices: Vec::new(),
            started: START,
            uptime: Duration::from_nanos(u64::try_from(self.wall_ns - START.0).unwrap()),
            synchronised: true,
            events,
            halted: None,
            witnessed: (0..attached).filter_map(|n| Some((n, self.node.witnessed(n)?))).collect(),
        }
    }
}

/// A stream of 16-bit numbers in tenths of a degree.
pub(crate) fn temperature(name: &str) -> Descriptor {
    Descriptor {
        name: name.into(),
        device: "filler".into(),
        address: "modbus-tcp 10.0.0.7:502 unit 1 holding 100".into(),
        source_type: "i16".into(),
        unit: "Cel".into(),
        scale: "0.1".parse().unwrap(),
        offset: "0".parse().unwrap(),
        attestation: Attestation::Gateway,
    }
}

/// A bench with two streams, three batches in transactions and one in the journal, a second between two submissions.
/// Stream `tank/level` counts 0, 1, …; `tank/text` says the same in words, each third time.
pub(crate) fn filled(bench: &mut Bench) -> Vec<(u64, Time)> {
    bench.describe(0, temperature("tank/level"));
    let text = Descriptor {
        source_type: "text".into(),
        unit: String::new(),
        scale: "1".parse().unwrap(),
        ..temperature("tank/text")
    };
    bench.describe(1, text);
    let mut submitted = Vec::new();
    for counter in 0..10_u64 {
        let mut readings = vec![bench.reading(0, Value::Int(counter as i64))];
        if counter.is_multiple_of(3) {
            readings.push(bench.reading(1, Value::Text(format!("level {counter}"))));
        }
        submitted.push((counter, bench.now()));
        bench.submit(readings);
        if matches!(counter, 2 | 5 | 7) {
            bench.flush();
        }
        bench.pass(SECOND);
    }
    submitted
}
