//! What gateways say to one another: frames of one byte of kind and a canonical body.
//!
//! Kinds from [`SHELL_KINDS`] on belong to the shell (addresses, for one); a kind that this version does not know is
//! skipped and counted, so that a newer version may say more. The first frame in each direction is a [`Hello`].

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;

use crate::codec::{self, Canonical, CodecError};
use crate::hash::{Hash, Id, Issuer, NetworkId};
use crate::limits::{
    BRANCHES_MAX, ENVELOPE_BYTES_MAX, FRAME_BYTES_MAX, FRONTIER_CHAINS_MAX, RANGES_MAX,
    REFERENCES_PER_ASK_MAX, SEQUENCE_MAX, SOFTWARE_BYTES_MAX, TRANSACTIONS_PER_FRAME_MAX,
};
use crate::transaction::Reference;

/// The protocol version that this program speaks, lowest and highest alike.
pub const VERSION: u16 = 0;
/// Kinds from here on are the shell's.
pub const SHELL_KINDS: u8 = 64;

/// First bytes of frames.
mod kind {
    pub(super) const HELLO: u8 = 0;
    pub(super) const TRANSACTION: u8 = 1;
    pub(super) const TRANSACTIONS: u8 = 2;
    pub(super) const ANNOUNCE: u8 = 3;
    pub(super) const WANT: u8 = 4;
    pub(super) const PRUNE: u8 = 5;
    pub(super) const DIGEST: u8 = 6;
    pub(super) const FRONTIER: u8 = 7;
    pub(super) const FETCH: u8 = 8;
    pub(super) const FETCH_END: u8 = 9;
    pub(super) const HAVE: u8 = 10;
    pub(super) const NOTICE: u8 = 11;
}

/// A random number of one start of a node: tells two machines with one key apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StartId(pub [u8; 16]);

/// The newest transaction of a chain, as its holder knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ChainHead {
    /// Its sequence.
    pub sequence: u64,
    /// Its id.
    pub id: Id,
}

fn check_head(head: Option<&ChainHead>) -> Result<(), &'static str> {
    if head.is_some_and(|h| h.sequence > SEQUENCE_MAX) {
        return Err("a sequence that no chain reaches");
    }
    Ok(())
}

/// Who speaks, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Lowest protocol version spoken.
    pub lowest: u16,
    /// Highest protocol version spoken.
    pub highest: u16,
    /// Optional parts spoken, one bit each. None is defined yet; unknown ones are ignored.
    pub features: u64,
    /// The network.
    pub network: NetworkId,
    /// Longest frame that is read, in bytes.
    pub frame_bytes_max: u32,
    /// The speaker's own newest transaction.
    pub head: Option<ChainHead>,
    /// This start of the speaker.
    pub start: StartId,
    /// Name and version of the program, for people.
    pub software: String,
}

impl Canonical for Hello {
    const WHAT: &'static str = "hello";
    const BYTES_MAX: usize = 256;

    fn check(&self) -> Result<(), &'static str> {
        check_head(self.head.as_ref())?;
        if self.lowest > self.highest {
            return Err("its lowest version is above its highest");
        }
        if self.software.len() > SOFTWARE_BYTES_MAX || self.software.chars().any(char::is_control) {
            return Err("the program's name is longer than 64 bytes or holds a control character");
        }
        Ok(())
    }
}

/// Ids that the speaker holds and has not sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announce {
    /// At most [`REFERENCES_PER_ASK_MAX`].
    #[serde(deserialize_with = "codec::at_most::<_, _, REFERENCES_PER_ASK_MAX>")]
    pub references: Vec<Reference>,
}

impl Canonical for Announce {
    const WHAT: &'static str = "announcement";
    const BYTES_MAX: usize = REFERENCES_PER_ASK_MAX * REFERENCE_BYTES_MAX + 8;
}

/// Transactions that the speaker asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// The link is to become an eager one: what was announced did not come by any other (Plumtree's graft).
    pub graft: bool,
    /// At most [`REFERENCES_PER_ASK_MAX`].
    #[serde(deserialize_with = "codec::at_most::<_, _, REFERENCES_PER_ASK_MAX>")]
    pub references: Vec<Reference>,
}

impl Canonical for Want {
    const WHAT: &'static str = "want";
    const BYTES_MAX: usize = REFERENCES_PER_ASK_MAX * REFERENCE_BYTES_MAX + 8;
}

/// Two hashes with their lengths, and a varint.
const REFERENCE_BYTES_MAX: usize = 33 + 10 + 33;

/// The hash of the speaker's whole frontier: equal ones need no more words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// See [`Frontier`].
    pub frontier: Hash,
}

impl Canonical for Digest {
    const WHAT: &'static str = "digest";
    const BYTES_MAX: usize = 40;
}

/// One issuer's chain as the speaker holds it: the heads of all its branches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainHeads {
    /// The issuer.
    pub issuer: Issuer,
    /// The heads, ascending, at least one.
    #[serde(deserialize_with = "codec::at_most::<_, _, BRANCHES_MAX>")]
    pub heads: Vec<ChainHead>,
}

/// A part of what the speaker holds. Chains are gapless, so this is the whole of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frontier {
    /// Is this the last part?
    pub last: bool,
    /// By issuer, ascending over all parts.
    #[serde(deserialize_with = "codec::at_most::<_, _, FRONTIER_CHAINS_MAX>")]
    pub chains: Vec<ChainHeads>,
}

impl Canonical for Frontier {
    const WHAT: &'static str = "frontier";
    const BYTES_MAX: usize = FRONTIER_CHAINS_MAX * (33 + 2 + BRANCHES_MAX * 43) + 8;

    fn check(&self) -> Result<(), &'static str> {
        if !self.chains.is_sorted_by(|a, b| a.issuer < b.issuer) {
            return Err("issuers are not in ascending order, each once");
        }
        self.chains.iter().flat_map(|c| &c.heads).try_for_each(|h| check_head(Some(h)))?;
        if self.chains.iter().any(|c| c.heads.is_empty() || !c.heads.is_sorted_by(|a, b| a < b)) {
            return Err("a chain without heads, or heads not in ascending order");
        }
        Ok(())
    }
}

/// A stretch of one issuer's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainRange {
    /// The issuer.
    pub issuer: Issuer,
    /// First sequence.
    pub from: u64,
    /// Last sequence, included.
    pub to: u64,
    /// Only the branch that ends with this transaction, which has sequence `to`; else all branches.
    pub branch: Option<Id>,
}

/// Stretches that the speaker lacks. The answer: what the other holds of them, in the order in which it attached them,
/// so that parents come first, and then a [`FetchEnd`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// At most [`RANGES_MAX`].
    #[serde(deserialize_with = "codec::at_most::<_, _, RANGES_MAX>")]
    pub ranges: Vec<ChainRange>,
    /// At most so many transactions.
    pub transactions_max: u32,
}

impl Canonical for Fetch {
    const WHAT: &'static str = "fetch";
    const BYTES_MAX: usize = RANGES_MAX * (33 + 20 + 34) + 16;

    fn check(&self) -> Result<(), &'static str> {
        if self.ranges.iter().any(|r| r.to > SEQUENCE_MAX) {
            return Err("a sequence that no chain reaches");
        }
        if self.ranges.is_empty() || self.ranges.iter().any(|r| r.from > r.to) {
            return Err("no range, or one that ends before it begins");
        }
        if self.transactions_max == 0 {
            return Err("it asks for no transaction");
        }
        Ok(())
    }
}

/// The end of the answer to a [`Fetch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchEnd {
    /// Is there more in these ranges?
    pub more: bool,
}

impl Canonical for FetchEnd {
    const WHAT: &'static str = "end of fetch";
    const BYTES_MAX: usize = 1;
}

/// How far the speaker holds the listener's own chain, durably: the first branch's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Have {
    /// `None`: nothing of it.
    pub head: Option<ChainHead>,
}

impl Canonical for Have {
    const WHAT: &'static str = "have";
    const BYTES_MAX: usize = 48;

    fn check(&self) -> Result<(), &'static str> {
        check_head(self.head.as_ref())
    }
}

/// Something that the listener should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// Two machines that are up at the same time use the listener's key.
    AnotherMachine,
}

impl Canonical for Notice {
    const WHAT: &'static str = "notice";
    const BYTES_MAX: usize = 4;
}

#[derive(Serialize, Deserialize)]
struct Envelopes<'a> {
    #[serde(borrow, deserialize_with = "codec::at_most::<_, _, TRANSACTIONS_PER_FRAME_MAX>")]
    list: Vec<&'a Bytes>,
}

impl Canonical for Envelopes<'_> {
    const WHAT: &'static str = "transactions";
    const BYTES_MAX: usize = FRAME_BYTES_MAX - 1;

    fn check(&self) -> Result<(), &'static str> {
        if self.list.iter().any(|e| e.len() > ENVELOPE_BYTES_MAX) {
            return Err("an envelope is longer than any transaction");
        }
        Ok(())
    }
}

/// A decoded frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// Who speaks.
    Hello(Hello),
    /// A transaction that was not asked for: an envelope.
    Transaction(&'a [u8]),
    /// Answers to [`Want`] and [`Fetch`]: envelopes.
    Transactions(Vec<&'a [u8]>),
    /// See [`Announce`].
    Announce(Announce),
    /// See [`Want`].
    Want(Want),
    /// Announce instead of sending from now on: what comes this way came another way before.
    Prune,
    /// See [`Digest`].
    Digest(Digest),
    /// See [`Frontier`].
    Frontier(Frontier),
    /// See [`Fetch`].
    Fetch(Fetch),
    /// See [`FetchEnd`].
    FetchEnd(FetchEnd),
    /// See [`Have`].
    Have(Have),
    /// See [`Notice`].
    Notice(Notice),
    /// A kind that this version does not know.
    Unknown(u8),
}

impl<'a> Message<'a> {
    /// Decodes a frame.
    ///
    /// # Errors
    /// When it is empty or too long, or its body is not the canonical encoding of its kind.
    pub fn open(frame: &'a [u8]) -> Result<Self, CodecError> {
        let what = "frame";
        if frame.len() > FRAME_BYTES_MAX {
            return Err(CodecError::TooLong { what, got: frame.len(), limit: FRAME_BYTES_MAX });
        }
        let Some((kind, body)) = frame.split_first() else {
            return Err(CodecError::Rule { what, why: "it is empty" });
        };
        Ok(match *kind {
            kind::HELLO => Self::Hello(codec::decode(body)?),
            kind::TRANSACTION => Self::Transaction(body),
            kind::TRANSACTIONS => {
                let envelopes: Envelopes<'a> = codec::decode(body)?;
                Self::Transactions(envelopes.list.into_iter().map(Bytes::as_ref).collect())
            }
            kind::ANNOUNCE => Self::Announce(codec::decode(body)?),
            kind::WANT => Self::Want(codec::decode(body)?),
            kind::PRUNE if body.is_empty() => Self::Prune,
            kind::PRUNE => return Err(CodecError::Trailing { what: "prune", left: body.len() }),
            kind::DIGEST => Self::Digest(codec::decode(body)?),
            kind::FRONTIER => Self::Frontier(codec::decode(body)?),
            kind::FETCH => Self::Fetch(codec::decode(body)?),
            kind::FETCH_END => Self::FetchEnd(codec::decode(body)?),
            kind::HAVE => Self::Have(codec::decode(body)?),
            kind::NOTICE => Self::Notice(codec::decode(body)?),
            unknown => Self::Unknown(unknown),
        })
    }

    /// The frame.
    pub fn to_frame(&self) -> Arc<[u8]> {
        match self {
            Self::Hello(body) => coded(kind::HELLO, body),
            Self::Transaction(envelope) => transaction(envelope),
            Self::Transactions(envelopes) => transactions(envelopes),
            Self::Announce(body) => announce(body),
            Self::Want(body) => coded_within(kind::WANT, body, room_of(&body.references)),
            Self::Prune => Arc::new([kind::PRUNE]),
            Self::Digest(body) => coded(kind::DIGEST, body),
            Self::Frontier(body) => coded(kind::FRONTIER, body),
            Self::Fetch(body) => coded(kind::FETCH, body),
            Self::FetchEnd(body) => coded(kind::FETCH_END, body),
            Self::Have(body) => coded(kind::HAVE, body),
            Self::Notice(body) => coded(kind::NOTICE, body),
            Self::Unknown(kind) => Arc::new([*kind]),
        }
    }
}

/// The frame that tells of ids.
pub fn announce(body: &Announce) -> Arc<[u8]> {
    coded_within(kind::ANNOUNCE, body, room_of(&body.references))
}

/// The frame of one transaction that was not asked for.
pub fn transaction(envelope: &[u8]) -> Arc<[u8]> {
    let mut frame = Vec::with_capacity(1 + envelope.len());
    frame.push(kind::TRANSACTION);
    frame.extend_from_slice(envelope);
    frame.into()
}

/// A frame of transactions that were asked for: at most [`TRANSACTIONS_PER_FRAME_MAX`], and within
/// [`FRAME_BYTES_MAX`] together.
pub fn transactions<E: AsRef<[u8]>>(envelopes: &[E]) -> Arc<[u8]> {
    let list = envelopes.iter().map(|e| Bytes::new(e.as_ref())).collect();
    coded(kind::TRANSACTIONS, &Envelopes { list })
}

/// The frame that ends an answer to a [`Fetch`].
pub fn fetch_end(more: bool) -> Arc<[u8]> {
    coded(kind::FETCH_END, &FetchEnd { more })
}

fn coded<T: Serialize>(kind: u8, body: &T) -> Arc<[u8]> {
    coded_within(kind, body, 0)
}

/// The same for a body that takes about so many bytes: a long one is written without moving it as it grows.
fn coded_within<T: Serialize>(kind: u8, body: &T, bytes: usize) -> Arc<[u8]> {
    let mut frame = Vec::with_capacity(1 + bytes);
    frame.push(kind);
    codec::encode_behind(frame, body).into()
}

/// Room for a list of references and what little stands beside it: two hashes and their lengths each, and a sequence.
const fn room_of(references: &[Reference]) -> usize {
    8 + references.len() * 76
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(message: &Message<'_>) {
        let frame = message.to_frame();
        assert_eq!(&Message::open(&frame).expect("our own frame"), message);
    }

    #[test]
    fn every_kind_survives_its_own_coding() {
        let head = ChainHead { sequence: 7, id: Id([2; 32]) };
        let reference = Reference { issuer: Issuer([1; 32]), sequence: 3, id: Id([4; 32]) };
        round(&Message::Hello(Hello {
            lowest: 0,
            highest: 3,
            features: 9,
            network: NetworkId([5; 32]),
            frame_bytes_max: 1 << 18,
            head: Some(head),
            start: StartId([6; 16]),
            software: "selvedge 0.1.0".into(),
        }));
        round(&Message::Transaction(b"envelope"));
        round(&Message::Transactions([b"one".as_slice(), b"two"].to_vec()));
        round(&Message::Announce(Announce { references: [reference].to_vec() }));
        round(&Message::Want(Want { graft: true, references: [reference].to_vec() }));
        round(&Message::Prune);
        round(&Message::Digest(Digest { frontier: Hash([8; 32]) }));
        let chains = [ChainHeads { issuer: Issuer([1; 32]), heads: [head].to_vec() }].to_vec();
        round(&Message::Frontier(Frontier { last: true, chains }));
        let ranges = [ChainRange { issuer: Issuer([1; 32]), from: 1, to: 9, branch: None }].to_vec();
        round(&Message::Fetch(Fetch { ranges, transactions_max: 5 }));
        round(&Message::FetchEnd(FetchEnd { more: false }));
        round(&Message::Have(Have { head: None }));
        round(&Message::Notice(Notice::AnotherMachine));
        round(&Message::Unknown(77));
    }

    #[test]
    fn the_greatest_frames_fit() {
        let envelope = alloc::vec![1_u8; ENVELOPE_BYTES_MAX];
        assert!(transaction(&envelope).len() <= FRAME_BYTES_MAX);
        for bytes in [Announce::BYTES_MAX, Want::BYTES_MAX, Frontier::BYTES_MAX, Fetch::BYTES_MAX] {
            assert!(bytes < FRAME_BYTES_MAX);
        }
    }

    #[test]
    fn what_nobody_would_have_written_is_refused() {
        assert!(Message::open(&[]).is_err());
        assert!(Message::open(&[kind::PRUNE, 0]).is_err());
        assert!(Message::open(&alloc::vec![kind::TRANSACTION; FRAME_BYTES_MAX + 1]).is_err());
        let heads = [ChainHead { sequence: 7, id: Id([2; 32]) }; 2].to_vec();
        let twice = Frontier { last: true, chains: [ChainHeads { issuer: Issuer([1; 32]), heads }].to_vec() };
        assert!(Message::open(&Message::Frontier(twice).to_frame()).is_err());
        let backwards = ChainRange { issuer: Issuer([1; 32]), from: 9, to: 1, branch: None };
        let fetch = Fetch { ranges: [backwards].to_vec(), transactions_max: 5 };
        assert!(Message::open(&Message::Fetch(fetch).to_frame()).is_err());
    }
}
