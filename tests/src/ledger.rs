//! Core, store and signatures in this process: what the daemon's loop does, one effect at a time, on any disk.
//!
//! The daemon does the same on several threads. Here a test stands between any two effects, and can cut the power
//! there ([`MemDisk::crash`](selvedge::store::MemDisk::crash)).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use selvedge::folder::Folder;
use selvedge::store::{Disk, Range, Store, StoreError, StoreOptions, StreamReading, archive};
use selvedge_core::border::{
    BatchPolicy, Config, Effect, Event, Input, NewReading, Now, Outcome, ReplyTo, StartCheck, StreamHandle,
    Ticket, TipPolicy, Write,
};
use selvedge_core::codec::Canonical as _;
use selvedge_core::genesis::{Genesis, Member, Organisation, role};
use selvedge_core::node::{Node, Status};
use selvedge_core::reading::{Quality, Value};
use selvedge_core::stream::{Attestation, Decimal, Descriptor};
use selvedge_core::{Issuer, Network, Scheme};
use selvedge_crypto::{SecretKey, Signer, Verifier};

/// 2027-01-15, ns since 1970 UTC.
pub const START_NS: i64 = 1_800_000_000_000_000_000;

/// Who signs, and in which network.
#[derive(Debug, Clone)]
pub struct Identity {
    genesis: Arc<Genesis>,
    genesis_bytes: Arc<[u8]>,
    network: Network,
    issuer: Issuer,
    salt_key: [u8; 32],
    signer: Arc<dyn Signer>,
}

impl Identity {
    /// A network with one gateway, made from a seed.
    pub fn from_seed(seed: u8) -> Self {
        let key = |scheme, number: u8| {
            selvedge_crypto::signer(&SecretKey::from_seed(scheme, &[seed ^ number; 32])).expect("a key")
        };
        let (organisation, signer) = (key(Scheme::MlDsa65, 0x40), key(Scheme::MlDsa44, 0x80));
        let genesis = Genesis {
            version: 0,
            network_name: "works".into(),
            random: [seed; 32],
            organisations: vec![Organisation { name: "Acme".into(), key: organisation.public_key().clone() }],
            members: vec![Member {
                organisation: 0,
                key: signer.public_key().clone(),
                name: "g1".into(),
                roles: vec![role::GATEWAY.into()],
            }],
            committee: vec![0],
        };
        genesis.check().expect("a right genesis");
        let genesis_bytes = genesis.to_bytes();
        Self {
            network: Network::new(Genesis::network_id_of(&genesis_bytes)),
            genesis: Arc::new(genesis),
            genesis_bytes: genesis_bytes.into(),
            issuer: signer.public_key().issuer(),
            salt_key: [seed; 32],
            signer,
        }
    }

    /// The gateway of a data folder.
    pub fn of_folder(folder: &Folder) -> Self {
        let key = folder.gateway_key(None).expect("the gateway's key, not sealed");
        Self {
            genesis: folder.genesis(),
            genesis_bytes: folder.genesis_bytes(),
            network: folder.network().clone(),
            issuer: folder.issuer(),
            salt_key: *folder.salt_key().expect("the salt key"),
            signer: selvedge_crypto::signer(&key).expect("a key"),
        }
    }

    /// The options that a store of this gateway is opened with; `small`: with short segments and an index that is
    /// made durable often.
    pub fn options(&self, small: bool) -> StoreOptions<'_> {
        let options = StoreOptions::new(&self.network, self.issuer);
        if small {
            return StoreOptions { segment_bytes: 16 * 1024, index_every: 5, window_records: 16, ..options };
        }
        options
    }

    fn config(&self, batch: BatchPolicy, window_records: usize) -> Config {
        Config {
            genesis: self.genesis.clone(),
            genesis_bytes: self.genesis_bytes.clone(),
            issuer: self.issuer,
            salt_key: self.salt_key,
            batch,
            journal_within_us: 50_000,
            foreign_within_us: 1_000_000,
            tips: TipPolicy::default(),
            approve_delay_max_us: 0,
            start_check: StartCheck::None,
            enrolment: None,
            signing_keys: None,
            software: "tests".to_owned(),
            window_records,
        }
    }
}

/// A gateway in this process.
#[derive(Debug)]
pub struct Ledger {
    identity: Identity,
    disk: Arc<dyn Disk>,
    node: Node,
    store: Store,
    verifier: Arc<dyn Verifier>,
    now: Now,
    effects: VecDeque<Effect>,
    /// Writes that wait for others, to share one sync.
    group: Vec<(Ticket, Vec<Write>)>,
    next_reply: u64,
    waiting: BTreeMap<ReplyTo, (String, u64)>,
    /// Readings of each stream that were acknowledged.
    acknowledged: BTreeMap<String, u64>,
    /// Transactions that were said to be attached.
    attached: u64,
    handles: BTreeMap<String, StreamHandle>,
    handed_in: BTreeMap<String, u64>,
}

impl Ledger {
    /// Opens a gateway on a disk, at a wall time, ns since 1970 UTC.
    ///
    /// # Errors
    /// Those of the store.
    pub fn open(
        identity: &Identity,
        disk: Arc<dyn Disk>,
        small: bool,
        wall_ns: i64,
    ) -> Result<Self, StoreError> {
        let (store, restored, _) = Store::open(disk.clone(), &identity.options(small))?;
        let handed_in = restored.streams.iter().map(|s| (s.name.clone(), s.next_counter)).collect();
        let attached = restored.next_number;
        let now = Now { monotonic_us: 0, wall_ns, synchronised: true };
        let batch = BatchPolicy { readings_max: 12, bytes_max: 4_096, age_max_us: 400_000 };
        let config = identity.config(batch, identity.options(small).window_records);
        let mut effects = Vec::new();
        let node = Node::open(config, &[7; 32], restored, now, &mut effects)
            .expect("the core takes up what was stored");
        Ok(Self {
            identity: identity.clone(),
            disk,
            node,
            store,
            verifier: selvedge_crypto::default_verifier(),
            now,
            effects: effects.into(),
            group: Vec::new(),
            next_reply: 0,
            waiting: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            attached,
            handles: BTreeMap::new(),
            handed_in,
        })
    }

    /// The value of a stream's reading with this counter: tests know what must be there.
    pub fn value(stream: &str, counter: u64) -> Value {
        if counter % 7 == 4 {
            return Value::Text(format!("{stream} says {counter}"));
        }
        Value::Unsigned(counter * 1_000 + stream.len() as u64)
    }

    /// Makes a stream known; `unit` changes what its numbers mean.
    pub fn describe(&mut self, stream: &str, unit: &str) {
        let next = StreamHandle(self.handles.len() as u32);
        let handle = *self.handles.entry(stream.to_owned()).or_insert(next);
        let descriptor = Descriptor {
            name: stream.to_owned(),
            device: "machine".into(),
            address: "nowhere".into(),
            source_type: "u64".into(),
            unit: unit.to_owned(),
            scale: Decimal::ONE,
            offset: Decimal::ZERO,
            attestation: Attestation::Gateway,
        };
        self.input(Input::Describe { stream: handle, descriptor, urgent: false });
    }

    /// Hands in the next readings of a described stream.
    pub fn submit(&mut self, stream: &str, count: u64) {
        let handle = self.handles[stream];
        let first = *self.handed_in.get(stream).unwrap_or(&0);
        let readings = (first..first + count)
            .map(|counter| NewReading {
                stream: handle,
                value: Self::value(stream, counter),
                quality: Quality::Good,
                flags: 0,
                status: 0,
                source_time_ns: self.now.wall_ns,
                receive_time_ns: self.now.wall_ns,
            })
            .collect();
        self.handed_in.insert(stream.to_owned(), first + count);
        self.next_reply += 1;
        let reply = ReplyTo(self.next_reply);
        self.waiting.insert(reply, (stream.to_owned(), first + count));
        self.input(Input::Submit { readings, origins: Vec::new(), reply });
    }

    /// Hands in anything.
    pub fn input(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.node.handle(self.now, input, &mut effects);
        self.effects.extend(effects);
    }

    /// Lets time go on.
    pub fn advance(&mut self, us: u64) {
        self.now.monotonic_us += us;
        self.now.wall_ns += us as i64 * 1_000;
        self.input(Input::Tick);
    }

    /// Carries out the next effect. `false`: there is none.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn step(&mut self) -> Result<bool, StoreError> {
        let Some(effect) = self.effects.pop_front() else {
            // Nobody else will join the group.
            return self.commit();
        };
        let reader = self.store.reader();
        match effect {
            Effect::Persist { ticket, writes, within_us } => {
                self.group.push((ticket, writes));
                if within_us == 0 || self.group.len() == 3 {
                    self.commit()?;
                }
            }
            Effect::Load { ticket, references } => {
                let found = reader.load(&references)?;
                self.input(Input::Loaded { ticket, found });
            }
            Effect::LoadBatch { ticket, batch } => {
                let records = reader.batch_records(batch)?;
                self.input(Input::BatchLoaded { ticket, records });
            }
            Effect::Seal { ticket, batch } => {
                let (root, segment, segment_bytes) = archive::seal(&batch, self.disk.as_ref())?;
                self.input(Input::Sealed { ticket, root, segment, segment_bytes });
            }
            Effect::Verify { ticket, checks } => {
                let valid = checks.iter().all(|c| self.verifier.verify(&c.key, &c.message, &c.signature));
                self.input(Input::Verified { ticket, valid });
            }
            Effect::Sign { ticket, message, .. } => {
                let signature = self.identity.signer.sign(&message).expect("a signature");
                self.input(Input::Signed { ticket, signature });
            }
            Effect::Reply { reply, outcome } => self.answered(reply, &outcome),
            Effect::Emit(Event::Attached { number, .. }) => self.attached = self.attached.max(number + 1),
            Effect::Emit(Event::Halted { why }) => panic!("the core halted: {why}"),
            Effect::Emit(_)
            | Effect::Send { .. }
            | Effect::Serve { .. }
            | Effect::Disconnect { .. }
            | Effect::Drop { .. } => {}
        }
        Ok(true)
    }

    fn commit(&mut self) -> Result<bool, StoreError> {
        let group = std::mem::take(&mut self.group);
        let (tickets, writes): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let writes: Vec<Write> = writes.into_iter().flatten().collect();
        if tickets.is_empty() {
            return Ok(false);
        }
        self.store.commit(&writes)?;
        for ticket in tickets {
            self.input(Input::Persisted { ticket });
        }
        Ok(true)
    }

    fn answered(&mut self, reply: ReplyTo, outcome: &Outcome) {
        let (stream, count) = self.waiting.remove(&reply).expect("somebody waits for it");
        assert_eq!(*outcome, Outcome::Durable);
        self.acknowledged.insert(stream, count);
    }

    /// Carries out everything, and lets time go on until nothing is left to do.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn drain(&mut self) -> Result<(), StoreError> {
        self.input(Input::Flush);
        loop {
            while self.step()? {}
            if self.status().backlog_readings == 0 && self.waiting.is_empty() {
                return Ok(());
            }
            self.advance(500_000);
        }
    }

    /// Closes the store in order.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn close(self) -> Result<(), StoreError> {
        self.store.close()
    }

    /// The core's figures.
    pub fn status(&self) -> Status {
        self.node.status()
    }

    /// Readings of each stream that were acknowledged: so many from counter 0 on.
    pub const fn acknowledged(&self) -> &BTreeMap<String, u64> {
        &self.acknowledged
    }

    /// Transactions that were said to be attached.
    pub const fn attached(&self) -> u64 {
        self.attached
    }

    /// Transactions in the store.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn stored_transactions(&self) -> Result<u64, StoreError> {
        self.store.reader().next_number()
    }

    /// How many readings of each stream a question finds now.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn shown(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        Ok(self.store.reader().streams()?.into_iter().map(|s| (s.name, s.next_counter)).collect())
    }

    /// All readings of a stream, as a question finds them.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn readings(&self, stream: &str) -> Result<Vec<StreamReading>, StoreError> {
        self.store.reader().readings(stream, Range::default())?.collect()
    }
}
