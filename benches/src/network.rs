//! A network for the benches: one genesis by fixed seeds, gateways in folders, and peers in processes of their own, so
//! that what they cost is not counted.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use selvedge::config;
use selvedge::folder::{Contents, Folder};
use selvedge::gateway::Gateway;
use selvedge_core::border::{Effect, TipPolicy};
use selvedge_core::genesis::{Genesis, Member, Organisation, role};
use selvedge_core::random::Random;
use selvedge_core::scheme::{Scheme, transaction_message};
use selvedge_core::transaction::{Body, Envelope, Reference};
use selvedge_core::{Network, codec, limits};
use selvedge_crypto::{SecretKey, Signer, signer};

/// Members: the gateway that is measured, peers, and issuers that only sign.
pub(crate) const MEASURED: u8 = 0;
pub(crate) const FIRST_PEER: u8 = 1;
pub(crate) const PEERS: u8 = 10;
const FIRST_ISSUER: u8 = FIRST_PEER + PEERS;
const ISSUERS: u8 = 8;
const MEMBERS: u8 = FIRST_ISSUER + ISSUERS;

pub(crate) fn key(member: u8) -> SecretKey {
    SecretKey::from_seed(Scheme::MlDsa44, &[member + 1; 32])
}

/// The genesis; the committee is the measured gateway and the first three peers.
pub(crate) fn genesis() -> anyhow::Result<Genesis> {
    let organisation = signer(&SecretKey::from_seed(Scheme::MlDsa65, &[200; 32]))?;
    let member = |number: u8| -> anyhow::Result<Member> {
        let key = signer(&key(number))?.public_key().clone();
        Ok(Member { organisation: 0, key, name: format!("g{number}"), roles: vec![role::GATEWAY.into()] })
    };
    Ok(Genesis {
        version: 0,
        network_name: "bench".into(),
        random: [3; 32],
        organisations: vec![Organisation { name: "Bench".into(), key: organisation.public_key().clone() }],
        members: (0..MEMBERS).map(member).collect::<anyhow::Result<_>>()?,
        committee: vec![0, 1, 2, 3],
    })
}

/// A data folder of a member.
pub(crate) fn folder(path: &Path, member: u8) -> anyhow::Result<Folder> {
    let contents = Contents {
        genesis: &genesis()?.to_bytes(),
        gateway: &key(member),
        organisation: None,
        salt_key: &[4; 32],
        config: "",
        passphrase: None,
        enrolment: None,
        further: &[],
        restored: false,
    };
    Ok(Folder::create(path, &contents)?)
}

/// Starts a gateway on loopback that dials these peers.
pub(crate) async fn start(folder: &Folder, peers: &[String]) -> anyhow::Result<Gateway> {
    let list = peers.iter().map(|p| format!("\"{p}\"")).collect::<Vec<_>>().join(", ");
    let text = format!("[network]\nlisten = \"127.0.0.1:0\"\npeers = [{list}]\nstart_wait = \"0s\"\n");
    let settings = config::parse(&text).map_err(|findings| anyhow::anyhow!("{findings:?}"))?;
    Gateway::start(folder, settings, None).await
}

/// A signed tangle: notes of eight issuers, each approving two of the newest.
pub(crate) struct Tangle {
    network: Network,
    signers: Vec<Arc<dyn Signer>>,
    heads: Vec<Option<(u64, selvedge_core::Id)>>,
    tips: Vec<Reference>,
    random: Random,
}

impl Tangle {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let network = Network::new(Genesis::network_id_of(&genesis()?.to_bytes()));
        let signers = (FIRST_ISSUER..MEMBERS).map(|m| signer(&key(m))).collect::<Result<Vec<_>, _>>()?;
        let tips = vec![Reference::genesis(network.id()); 2];
        let heads = vec![None; usize::from(ISSUERS)];
        Ok(Self { network, signers, heads, tips, random: Random::new(&[9; 32]) })
    }

    /// The next transaction: an envelope of about 2.9 kB.
    pub(crate) fn next(&mut self, number: usize) -> anyhow::Result<Vec<u8>> {
        let at = number % self.signers.len();
        let signer = &self.signers[at];
        let head = self.heads[at];
        let mut pick = || self.tips[self.random.below(self.tips.len() as u64) as usize];
        let body = Body {
            version: 0,
            issuer: signer.public_key().issuer(),
            sequence: head.map_or(0, |(s, _)| s + 1),
            prev: head.map_or(self.network.genesis_id(), |(_, id)| id),
            approves: [pick(), pick()],
            witness: None,
            issued_at_ms: 1_790_000_000_000 + number as u64,
            flags: 0,
            kind: 0,
            payload: vec![at as u8; 200],
        };
        let bytes = codec::encode(&body);
        let id = self.network.transaction_id(&bytes);
        let message = transaction_message(Scheme::MlDsa44, 0, self.network.id(), id);
        let signature = signer.sign(&message)?;
        self.heads[at] = Some((body.sequence, id));
        self.tips.push(Reference { issuer: body.issuer, sequence: body.sequence, id });
        if self.tips.len() > 16 {
            self.tips.remove(0);
        }
        let envelope =
            Envelope { scheme: Scheme::MlDsa44, key_number: 0, signature: &signature, body: &bytes };
        Ok(codec::encode(&envelope))
    }

    /// What to check of an envelope, as the core asks for it.
    pub(crate) fn message_of(&self, envelope: &[u8]) -> anyhow::Result<(usize, Vec<u8>, Vec<u8>)> {
        let (opened, body) = Envelope::open(envelope)?;
        let id = self.network.transaction_id(opened.body);
        let message = transaction_message(opened.scheme, opened.key_number, self.network.id(), id);
        let at = self.signers.iter().position(|s| s.public_key().issuer() == body.issuer);
        Ok((at.context("an issuer of ours")?, message, opened.signature.to_vec()))
    }

    pub(crate) fn signer(&self, at: usize) -> &Arc<dyn Signer> {
        &self.signers[at]
    }
}

/// Fills the store of a folder by the core itself: what it asks to be written is written, checks are taken as passed.
pub(crate) fn fill(folder: &Folder, transactions: usize) -> anyhow::Result<()> {
    use selvedge::store::{RealDisk, Store, StoreOptions};
    use selvedge_core::border::{BatchPolicy, Config, Input, Now, StartCheck};
    use selvedge_core::node::Node;
    let disk = Arc::new(RealDisk::open(folder.store_path())?);
    let (mut store, restored, _) = Store::open(disk, &StoreOptions::new(folder.network(), folder.issuer()))?;
    let config = Config {
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
        software: "benches".to_owned(),
        window_records: limits::WINDOW_RECORDS,
    };
    let mut now = Now { monotonic_us: 0, wall_ns: 1_790_000_000_000_000_000, synchronised: true };
    let mut out = Vec::new();
    let mut node = Node::open(config, &[5; 32], restored, now, &mut out)?;
    let peer = selvedge_core::border::PeerId(1);
    // Whose folder it is cannot be its own peer.
    let issuer = signer(&key(MEASURED))?.public_key().issuer();
    let hello = hello(folder.network().id(), None);
    let mut inputs = VecDeque::from([
        Input::PeerUp { peer, issuer, outgoing: false },
        Input::Frame { peer, bytes: hello },
    ]);
    let mut tangle = Tangle::new()?;
    let mut group = Vec::new();
    for number in 0..transactions {
        inputs
            .push_back(Input::Frame { peer, bytes: selvedge_core::wire::transaction(&tangle.next(number)?) });
        while let Some(input) = inputs.pop_front() {
            now.monotonic_us += 1;
            node.handle(now, input, &mut out);
            for effect in out.drain(..) {
                match effect {
                    Effect::Verify { ticket, .. } => {
                        inputs.push_back(Input::Verified { ticket, valid: true });
                    }
                    Effect::Persist { ticket, writes, .. } => {
                        group.extend(writes);
                        inputs.push_back(Input::Persisted { ticket });
                    }
                    Effect::Load { ticket, references } => {
                        store.commit(&std::mem::take(&mut group))?;
                        inputs.push_back(Input::Loaded { ticket, found: store.reader().load(&references)? });
                    }
                    _ => {}
                }
            }
        }
        if group.len() >= 1_000 {
            store.commit(&std::mem::take(&mut group))?;
        }
    }
    store.commit(&group)?;
    ensure!(node.status().attached == transactions as u64, "the tangle did not attach");
    Ok(store.close()?)
}

/// A peer's first frame.
pub(crate) fn hello(
    network: selvedge_core::NetworkId,
    head: Option<selvedge_core::wire::ChainHead>,
) -> Arc<[u8]> {
    use selvedge_core::wire::{Hello, Message, StartId, VERSION};
    Message::Hello(Hello {
        lowest: VERSION,
        highest: VERSION,
        features: 0,
        network,
        frame_bytes_max: limits::FRAME_BYTES_MAX as u32,
        head,
        start: StartId([7; 16]),
        software: "benches".into(),
    })
    .to_frame()
}

/// This program, as a peer, in a process of its own. It ends with its input.
#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: BufReader<std::process::ChildStdout>,
}

impl Peer {
    pub(crate) fn start(arguments: &[String]) -> anyhow::Result<Self> {
        Self::start_with(arguments, None)
    }

    /// The same with this variable in its environment.
    pub(crate) fn start_with(arguments: &[String], variable: Option<(&str, &str)>) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut child = Command::new(program)
            .arg("peer")
            .args(arguments)
            .envs(variable)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a peer")?;
        let stdin = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().context("its output")?);
        Ok(Self { child, stdin, lines })
    }

    /// The next line that it says.
    pub(crate) fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        ensure!(self.lines.read_line(&mut line)? > 0, "a peer ended before its time");
        Ok(line.trim().to_owned())
    }

    /// Lets it go on.
    pub(crate) fn go(&mut self) -> anyhow::Result<()> {
        use std::io::Write as _;
        let stdin = self.stdin.as_mut().context("it was stopped")?;
        writeln!(stdin, "go")?;
        Ok(stdin.flush()?)
    }

    /// Its input ends; what it still says can be read.
    pub(crate) fn end(&mut self) {
        self.stdin = None;
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stdin = None;
        // It ends by itself when its input does; if it hangs, it is one of ours to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
