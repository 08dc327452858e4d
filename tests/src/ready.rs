//! A ledger that is made quickly: many transactions of several issuers, each really signed, in the store of a data folder
//! before any process runs on it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use selvedge::folder::{Contents, Folder};
use selvedge::store::{RealDisk, Store, StoreOptions};
use selvedge_core::border::{BatchPolicy, Config, Effect, Input, Now, PeerId, StartCheck, TipPolicy, Write};
use selvedge_core::genesis::{Genesis, Member, Organisation, role};
use selvedge_core::node::Node;
use selvedge_core::random::Random;
use selvedge_core::scheme::transaction_message;
use selvedge_core::transaction::{Body, Envelope, Reference};
use selvedge_core::wire::{self, Hello, Message, StartId};
use selvedge_core::{Id, Network, Scheme, codec, limits};
use selvedge_crypto::{SecretKey, Signer, signer};

use crate::ledger::START_NS;
use crate::site::QUICK;

/// The gateways that run, and the issuers that only signed.
const GATEWAYS: u8 = 2;
const ISSUERS: u8 = 6;
/// Tips that the next transaction chooses from.
const TIPS: usize = 16;
/// Bytes of a note.
const NOTE_BYTES: usize = 200;
/// Writes that are made durable together.
const GROUP: usize = 1_000;

fn key(member: u8) -> SecretKey {
    SecretKey::from_seed(Scheme::MlDsa44, &[member + 1; 32])
}

fn public(key: &SecretKey) -> selvedge_core::genesis::PublicKey {
    signer(key).expect("a key").public_key().clone()
}

fn genesis() -> Genesis {
    let organisation = SecretKey::from_seed(Scheme::MlDsa65, &[200; 32]);
    let member = |number: u8| Member {
        organisation: 0,
        key: public(&key(number)),
        name: format!("g{number}"),
        roles: vec![role::GATEWAY.into()],
    };
    Genesis {
        version: 0,
        network_name: "ready".into(),
        random: [3; 32],
        organisations: vec![Organisation { name: "Acme".into(), key: public(&organisation) }],
        members: (0..GATEWAYS + ISSUERS).map(member).collect(),
        committee: (0..u16::from(GATEWAYS)).collect(),
    }
}

/// The data folder of gateway 0 or 1.
pub fn folder(path: &Path, gateway: u8) -> Folder {
    assert!(gateway < GATEWAYS);
    let contents = Contents {
        genesis: &genesis().to_bytes(),
        gateway: &key(gateway),
        organisation: None,
        salt_key: &[4; 32],
        config: QUICK,
        passphrase: None,
        enrolment: None,
        further: &[],
        restored: false,
    };
    Folder::create(path, &contents).expect("a new folder")
}

/// Signs a tangle: each transaction approves two of the newest.
struct Tangle {
    network: Network,
    signers: Vec<Arc<dyn Signer>>,
    heads: Vec<Option<(u64, Id)>>,
    tips: Vec<Reference>,
    random: Random,
}

impl Tangle {
    fn new() -> Self {
        let network = Network::new(Genesis::network_id_of(&genesis().to_bytes()));
        let signers: Vec<_> =
            (GATEWAYS..GATEWAYS + ISSUERS).map(|member| signer(&key(member)).expect("a key")).collect();
        let tips = vec![Reference::genesis(network.id())];
        Self { network, heads: vec![None; signers.len()], signers, tips, random: Random::new(&[9; 32]) }
    }

    /// The next transaction, with its id.
    fn next(&mut self, number: u64) -> (Id, Vec<u8>) {
        let at = number as usize % self.signers.len();
        let head = self.heads[at];
        let mut pick = || self.tips[self.random.below(self.tips.len() as u64) as usize];
        let body = Body {
            version: 0,
            issuer: self.signers[at].public_key().issuer(),
            sequence: head.map_or(0, |(sequence, _)| sequence + 1),
            prev: head.map_or(self.network.genesis_id(), |(_, id)| id),
            approves: [pick(), pick()],
            witness: None,
            issued_at_ms: START_NS as u64 / 1_000_000 + number,
            flags: 0,
            kind: 0,
            payload: vec![at as u8; NOTE_BYTES],
        };
        let bytes = codec::encode(&body);
        let id = self.network.transaction_id(&bytes);
        let message = transaction_message(Scheme::MlDsa44, 0, self.network.id(), id);
        let signature = self.signers[at].sign(&message).expect("a signature");
        self.heads[at] = Some((body.sequence, id));
        self.tips.push(Reference { issuer: body.issuer, sequence: body.sequence, id });
        if self.tips.len() > TIPS {
            self.tips.remove(0);
        }
        let envelope =
            Envelope { scheme: Scheme::MlDsa44, key_number: 0, signature: &signature, body: &bytes };
        (id, codec::encode(&envelope))
    }
}

/// Fills the store of a folder by the core itself: a peer pushes the transactions, and what the core asks to be written is
/// written. Checks count as passed: whoever fetches them makes them. Returns the ids.
pub fn fill(folder: &Folder, transactions: u64) -> BTreeSet<Id> {
    let disk = Arc::new(RealDisk::open(folder.store_path()).expect("nobody runs on it"));
    let options = StoreOptions::new(folder.network(), folder.issuer());
    let (mut store, restored, _) = Store::open(disk, &options).expect("an empty store");
    let mut now = Now { monotonic_us: 0, wall_ns: START_NS, synchronised: true };
    let mut out = Vec::new();
    let mut node = Node::open(config(folder), &[5; 32], restored, now, &mut out).expect("an empty ledger");
    let peer = PeerId(1);
    let issuer = public(&key(1)).issuer();
    let mut inputs =
        vec![Input::Frame { peer, bytes: hello(folder) }, Input::PeerUp { peer, issuer, outgoing: false }];
    let (mut tangle, mut group, mut ids) = (Tangle::new(), Vec::<Write>::new(), BTreeSet::new());
    for number in 0..transactions {
        let (id, envelope) = tangle.next(number);
        ids.insert(id);
        inputs.insert(0, Input::Frame { peer, bytes: wire::transaction(&envelope) });
        while let Some(input) = inputs.pop() {
            now.monotonic_us += 1;
            node.handle(now, input, &mut out);
            for effect in out.drain(..) {
                match effect {
                    Effect::Verify { ticket, .. } => inputs.push(Input::Verified { ticket, valid: true }),
                    Effect::Persist { ticket, writes, .. } => {
                        group.extend(writes);
                        inputs.push(Input::Persisted { ticket });
                    }
                    Effect::Load { ticket, references } => {
                        store.commit(&std::mem::take(&mut group)).expect("written");
                        let found = store.reader().load(&references).expect("readable");
                        inputs.push(Input::Loaded { ticket, found });
                    }
                    _ => {}
                }
            }
        }
        if group.len() >= GROUP {
            store.commit(&std::mem::take(&mut group)).expect("written");
        }
    }
    store.commit(&group).expect("written");
    assert_eq!(node.status().attached, transactions, "all are attached");
    store.close().expect("closed");
    ids
}

fn config(folder: &Folder) -> Config {
    Config {
        genesis: folder.genesis(),
        genesis_bytes: folder.genesis_bytes(),
        issuer: folder.issuer(),
        salt_key: [4; 32],
        batch: BatchPolicy::default(),
        journal_within_us: 0,
        foreign_within_us: 0,
        tips: TipPolicy::default(),
        approve_delay_max_us: 0,
        start_check: StartCheck::Listen,
        enrolment: None,
        signing_keys: None,
        software: "tests".to_owned(),
        window_records: limits::WINDOW_RECORDS,
    }
}

fn hello(folder: &Folder) -> Arc<[u8]> {
    Message::Hello(Hello {
        lowest: wire::VERSION,
        highest: wire::VERSION,
        features: 0,
        network: folder.network().id(),
        frame_bytes_max: limits::FRAME_BYTES_MAX as u32,
        head: None,
        start: StartId([7; 16]),
        software: "tests".into(),
    })
    .to_frame()
}
