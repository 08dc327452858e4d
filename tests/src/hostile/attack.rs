//! Which attacks there are, and what all of them have in common.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use quinn::Endpoint;
use selvedge_core::limits::FRAME_BYTES_MAX;
use selvedge_core::wire::{ChainRange, Fetch, Hello, Message, StartId, VERSION};
use selvedge_core::{Issuer, NetworkId};
use serde_json::Value;

use super::attacks;
use super::identity::Identity;
use super::link::{self, Link};
use super::make::Maker;
use super::tally::Tally;

/// After a refusal an attacker knocks again this soon.
const KNOCK_AGAIN: Duration = Duration::from_millis(100);

/// A gateway takes a hello within this.
const TAKEN: Duration = Duration::from_secs(3);
/// An attacker that does not come to its end by itself is ended so long after its time.
const PATIENCE: Duration = Duration::from_secs(15);

/// What can be done to an honest gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Attack {
    /// Streams of garbage, too many streams, streams of other kinds
    GarbageStreams,
    /// Garbage as the body of a frame of every kind
    GarbageFrames,
    /// Frames that are said to be longer than any may be
    Oversize,
    /// Announcements of what does not exist, as fast as possible
    FloodAnnouncements,
    /// Well-made transactions with signatures that are none, as fast as possible
    FloodSignatures,
    /// Digests, frontiers, prunes and claims, as fast as possible
    FloodSmall,
    /// Questions for everything, as fast as possible
    FloodRequests,
    /// Right transactions, as fast as possible
    FloodTransactions,
    /// Asks for everything and reads nothing
    SlowReading,
    /// Writes a byte now and then
    SlowWriting,
    /// First packets of handshakes that never go on
    HalfOpen,
    /// Handshakes that are wrong
    WrongHandshakes,
    /// A hello of another network
    WrongNetwork,
    /// A hello with versions that nobody here speaks
    NoVersion,
    /// No hello at all
    NoHello,
    /// Connections with keys that nobody let in
    Strangers,
    /// Many connections of one member
    ManyConnections,
    /// Honest transactions, again and again
    Replay,
    /// Right transactions whose parents are never given
    WithheldParents,
    /// Transactions that refer to nothing
    ReferencesToNothing,
    /// A body with garbage for a signature first, and the genuine one after it
    GarbageSignatureFirst,
    /// Two bodies at one place, one to each gateway
    Fork,
    /// Many bodies at one place
    ManyBodies,
    /// Honest transactions, written as nobody may write them
    NonCanonical,
    /// Frontiers of what does not exist
    FrontierLies,
    /// Sequences as great as numbers go
    GreatSequences,
    /// Answers to questions that hold nothing and promise more
    EmptyAnswers,
    /// Claims to hold more of a gateway's own chain than there is
    OwnHeadLies,
    /// Addresses at which nobody is
    AddressLies,
}

impl Attack {
    /// Its name, as it is given on the command line.
    pub fn name(self) -> String {
        let value = self.to_possible_value().expect("none is hidden");
        value.get_name().to_owned()
    }

    /// How the gateways name what was wrong with it, in `peers` or their logs; empty where nothing is to be refused.
    pub const fn named(self) -> &'static str {
        match self {
            Self::GarbageFrames => "addresses: malformed",
            Self::FloodSignatures => "it broke the rules",
            Self::GarbageSignatureFirst => "does not hold",
            Self::NonCanonical => "not the canonical encoding",
            Self::GarbageStreams | Self::Oversize => "expected 1 to 262144",
            Self::WrongNetwork => "it is of network",
            Self::NoVersion => "no common version",
            Self::NoHello => "was not a hello",
            Self::Strangers => "not a member",
            Self::WrongHandshakes => "a signature of the handshake does not verify",
            Self::ManyConnections => "a second connection to the same node",
            Self::Replay => "repeated, refused or not asked for",
            Self::Fork | Self::ManyBodies => "forked its chain",
            _ => "",
        }
    }

    /// What it does, in words.
    pub fn words(self) -> String {
        let value = self.to_possible_value().expect("none is hidden");
        value.get_help().map_or_else(String::new, ToString::to_string)
    }
}

/// What an attack is given.
#[derive(Debug)]
pub struct Orders {
    /// Where the honest gateways are.
    pub targets: Vec<SocketAddr>,
    /// Data folders of hostile members: the attacker's, and where an attack needs one an observer's.
    pub identities: Vec<Identity>,
    /// All randomness comes from it.
    pub seed: u64,
    /// How many of what the attack counts.
    pub count: u64,
    /// For how long at most.
    pub within: Duration,
}

/// An attack under way.
#[derive(Debug)]
pub struct Field {
    /// What it was given.
    pub orders: Orders,
    /// What it tried and got.
    pub tally: Tally,
    /// Makes its transactions.
    pub maker: Maker,
    /// Whence it connects.
    pub endpoint: Endpoint,
    until: Instant,
    targets_made: u64,
}

impl Field {
    /// The attacker.
    pub fn identity(&self) -> &Identity {
        &self.orders.identities[0]
    }

    /// Is there time left?
    pub fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    /// How much time is left.
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// The targets in turn.
    pub fn target(&mut self) -> SocketAddr {
        let number = self.targets_made as usize % self.orders.targets.len();
        self.targets_made += 1;
        self.orders.targets[number]
    }

    /// A hello as it should be.
    pub fn hello(&mut self) -> Hello {
        Hello {
            lowest: VERSION,
            highest: VERSION,
            features: 0,
            network: self.identity().network.id(),
            frame_bytes_max: FRAME_BYTES_MAX as u32,
            head: None,
            start: StartId(*self.maker.bytes32().first_chunk().expect("32 bytes")),
            software: "hostile 0".into(),
        }
    }

    /// Connects to a target; says nothing. A refusal is counted, and the next knock comes a little later.
    pub async fn knock(&mut self, to: SocketAddr) -> Option<Link> {
        self.knock_as(to, 0, true).await
    }

    /// The same as one of the identities; a slow reader reads nothing.
    pub async fn knock_as(&mut self, to: SocketAddr, identity: usize, reads: bool) -> Option<Link> {
        let opened = Link::open(&self.endpoint, to, &self.orders.identities[identity], reads).await;
        match opened {
            Ok(link) => {
                self.tally.connected();
                Some(link)
            }
            Err(why) => {
                self.tally.reason(&why);
                // This is the attacker's pace and waits for nothing.
                tokio::time::sleep(KNOCK_AGAIN.min(self.left())).await;
                None
            }
        }
    }

    /// Connects, says hello, and waits until the gateway took it.
    pub async fn enter(&mut self, to: SocketAddr) -> Option<Link> {
        let hello = self.hello();
        self.enter_with(to, hello).await
    }

    /// The same with this hello.
    pub async fn enter_with(&mut self, to: SocketAddr, hello: Hello) -> Option<Link> {
        let mut link = self.knock(to).await?;
        let said = link.say(&Message::Hello(hello)).await;
        // Its own hello comes at once, anything else only after ours was taken: lanes do not wait for each other, so
        // what goes by the other lane could get there before it.
        let taken = tokio::time::timeout(TAKEN, async {
            while link.heard_count().0 < 2 && link.ended().is_none() {
                link.wait_for(2, TAKEN).await;
            }
        });
        if said.is_err() || taken.await.is_err() || link.ended().is_some() {
            self.leave(&link);
            return None;
        }
        Some(link)
    }

    /// Connects and says hello, until it may or the time is over.
    pub async fn force(&mut self, to: SocketAddr) -> Option<Link> {
        while self.goes_on() {
            if let Some(link) = self.enter(to).await {
                return Some(link);
            }
        }
        None
    }

    /// Done with a connection: what was sent and why it ended is counted.
    pub fn leave(&mut self, link: &Link) {
        self.tally.over(link);
        match link.ended() {
            Some(why) => self.tally.reason(&why),
            None => self.tally.reason("left open"),
        }
    }

    /// Stays until the other side ends the connection, or the time is over.
    pub async fn stay(&mut self, link: &Link) {
        let left = self.left();
        // Either way the outcome is counted.
        let _ = tokio::time::timeout(left, link.connection().closed()).await;
        self.leave(link);
    }

    /// Honest transactions that a gateway gives to whoever asks: envelopes, oldest first.
    pub async fn overhear(&mut self, to: SocketAddr) -> Vec<Vec<u8>> {
        let Some(mut link) = self.force(to).await else { return Vec::new() };
        let honest = self.identity().members("g");
        let ranges = honest.iter().map(|issuer| whole(*issuer)).collect();
        if link.say(&Message::Fetch(Fetch { ranges, transactions_max: 2_048 })).await.is_err() {
            return Vec::new();
        }
        let mut envelopes = Vec::new();
        let mut is_over = false;
        while !is_over && self.goes_on() && link.ended().is_none() {
            link.wait(self.left()).await;
            for frame in link.heard() {
                match Message::open(&frame) {
                    Ok(Message::Transaction(one)) => envelopes.push(one.to_vec()),
                    Ok(Message::Transactions(some)) => envelopes.extend(some.iter().map(|e| e.to_vec())),
                    Ok(Message::FetchEnd(_)) => is_over = true,
                    _ => {}
                }
            }
        }
        self.leave(&link);
        envelopes
    }
}

/// All of an issuer's chain.
pub const fn whole(issuer: Issuer) -> ChainRange {
    ChainRange { issuer, from: 0, to: 1 << 40, branch: None }
}

/// A network that is not this one.
pub const fn other_network() -> NetworkId {
    NetworkId([0xAB; 32])
}

/// Carries out an attack and says what came of it.
///
/// # Panics
/// When there is no target, or no identity.
pub async fn carry_out(attack: Attack, orders: Orders) -> Value {
    assert!(!orders.targets.is_empty() && !orders.identities.is_empty(), "no target, or no identity");
    let started = Instant::now();
    let (seed, until) = (orders.seed, started + orders.within);
    let maker = Maker::new(&orders.identities[0], seed);
    // Each attack from an address of its own: gateways count handshakes by address.
    let endpoint = link::endpoint(10 + attack as u8);
    let mut field = Field { orders, tally: Tally::default(), maker, endpoint, until, targets_made: 0 };
    let within = field.orders.within + PATIENCE;
    if tokio::time::timeout(within, attacks::run(attack, &mut field)).await.is_err() {
        // A gateway that takes nothing more holds a writer up; what that connection did is not in the tally.
        field.tally.reason("held up by flow control until the end");
    }
    // The last words of connections that were closed go out before the socket goes.
    let _ = tokio::time::timeout(Duration::from_secs(1), field.endpoint.wait_idle()).await;
    field.tally.to_json(&attack.name(), seed, started.elapsed().as_secs_f64())
}
