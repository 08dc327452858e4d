//! What a proof shows, link by link, and what it does not show. Serialised for `verify --json`: ids as the text
//! that people see, times as RFC 3339, hashes as hexadecimal digits.

use selvedge_core::hash::{Hash, Id, Issuer, NetworkId};
use selvedge_core::reading::{Quality, Value};
use selvedge_core::scheme::Scheme;
use serde::{Serialize, Serializer};

use crate::ids;
use crate::{rfc3339, rfc3339_ms};

/// All links hold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Down to a network that the verifier trusts, or only among themselves.
    pub outcome: Outcome,
    /// The reading.
    pub reading: ReadingShown,
    /// Its place in the batch.
    pub leaf: LeafShown,
    /// The batch.
    pub batch: BatchShown,
    /// The transaction that carries the batch.
    pub transaction: TransactionShown,
    /// The signature of the transaction.
    pub signature: SignatureShown,
    /// The issuer's keys up to the one that signed; place in the list is the key's number.
    pub keys: Vec<KeyShown>,
    /// Who signed.
    pub issuer: IssuerShown,
    /// The network.
    pub network: NetworkShown,
    /// What none of this shows.
    pub not_shown: Vec<NotShown>,
}

/// How far a proof without a fault reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Down to the network that the verifier trusts.
    Verified,
    /// Nobody said which network to trust.
    Consistent,
}

/// The reading, with what its descriptor says about it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReadingShown {
    /// Name of the stream.
    pub stream: String,
    /// The device, as the gateway's configuration names it.
    pub device: String,
    /// Where on the device.
    pub address: String,
    /// What the device sends.
    pub source_type: String,
    /// The scaled value ([`scaled`](crate::scaled())); none for a reading without one.
    pub value: Option<String>,
    /// Unit as UCUM text.
    pub unit: String,
    /// The raw value, as the device gave it.
    #[serde(serialize_with = "text::raw")]
    pub raw: Value,
    /// Scaled value = raw × scale + offset, exact.
    pub scale: String,
    /// See `scale`.
    pub offset: String,
    /// How much the source trusts it.
    #[serde(serialize_with = "text::quality")]
    pub quality: Quality,
    /// The source's own status code; 0 where it has none.
    pub status: u32,
    /// The stream's gapless counter.
    pub counter: u64,
    /// When the source says it was taken, ns since 1970 UTC.
    #[serde(rename = "source_time", serialize_with = "text::time_ns")]
    pub source_time_ns: i64,
    /// When the gateway says it received it, ns since 1970 UTC.
    #[serde(rename = "receive_time", serialize_with = "text::time_ns")]
    pub receive_time_ns: i64,
    /// The gateway says that its clock was not synchronised.
    pub unsynchronised: bool,
    /// The source may have delivered it twice.
    pub possibly_repeated: bool,
    /// Who vouches that the value came from the device.
    pub attestation: &'static str,
}

/// The reading's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeafShown {
    /// Index from 0: it follows from stream and counter.
    pub index: u64,
    /// Leaves of the tree.
    pub count: u32,
    /// Hashes on the path.
    pub path_hashes: usize,
    /// Where it leads: the root that the batch names.
    #[serde(serialize_with = "text::hash")]
    pub root: Hash,
}

/// The batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BatchShown {
    /// The gateway's gapless counter of batches.
    pub number: u64,
    /// Its first time of receiving, ns since 1970 UTC.
    #[serde(rename = "first_time", serialize_with = "text::time_ns")]
    pub first_time_ns: i64,
    /// Its last.
    #[serde(rename = "last_time", serialize_with = "text::time_ns")]
    pub last_time_ns: i64,
    /// Streams in it.
    pub streams: usize,
    /// The stream's counter of its first reading in the batch.
    pub stream_first: u64,
    /// Readings of the stream in the batch.
    pub stream_count: u32,
    /// Hash of the archive segment that holds all of its readings.
    #[serde(serialize_with = "text::hash")]
    pub segment: Hash,
    /// Its length in bytes.
    pub segment_bytes: u64,
}

/// The transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TransactionShown {
    /// Its id.
    #[serde(serialize_with = "ids::serialize")]
    pub id: Id,
    /// Its place on its issuer's chain.
    pub sequence: u64,
    /// The issuer's claim, ms since 1970 UTC.
    #[serde(rename = "issued_at", serialize_with = "text::time_ms")]
    pub issued_at_ms: u64,
    /// The issuer says that its clock was not synchronised.
    pub unsynchronised: bool,
}

/// The signature of the transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignatureShown {
    /// The scheme.
    #[serde(serialize_with = "text::scheme")]
    pub scheme: Scheme,
    /// Which of the issuer's keys.
    pub key_number: u32,
}

/// One of the issuer's keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyShown {
    /// Its number, from 0.
    pub number: u32,
    /// Its scheme.
    #[serde(serialize_with = "text::scheme")]
    pub scheme: Scheme,
    /// Where it is named.
    pub named: KeyNamed,
}

/// Where a key is named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "lowercase")]
pub enum KeyNamed {
    /// In the genesis.
    Genesis,
    /// In the issuer's enrolment.
    Enrolment,
    /// In a rotation, signed with the key before.
    Rotation {
        /// Its id.
        #[serde(serialize_with = "ids::serialize")]
        transaction: Id,
        /// Its sequence.
        sequence: u64,
    },
}

/// Who signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IssuerShown {
    /// The identity.
    #[serde(serialize_with = "ids::serialize")]
    pub id: Issuer,
    /// Its name.
    pub name: String,
    /// Name of its organisation.
    pub organisation: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// Who says so.
    pub named: NamedBy,
}

/// Who says that the issuer is a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "lowercase")]
pub enum NamedBy {
    /// The genesis.
    Genesis,
    /// Its enrolment, with a credential that the organisation itself signed.
    Organisation {
        /// The enrolment.
        #[serde(serialize_with = "ids::serialize")]
        enrolment: Id,
        /// Scheme of the credential's signature.
        #[serde(serialize_with = "text::scheme")]
        scheme: Scheme,
    },
    /// Its enrolment, with a credential that an inviter of the organisation signed.
    Inviter {
        /// The enrolment.
        #[serde(serialize_with = "ids::serialize")]
        enrolment: Id,
        /// Scheme of the credential's signature.
        #[serde(serialize_with = "text::scheme")]
        scheme: Scheme,
        /// The inviter.
        #[serde(serialize_with = "ids::serialize")]
        inviter: Issuer,
        /// Its name.
        inviter_name: String,
    },
}

/// The network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkShown {
    /// Its id.
    #[serde(serialize_with = "ids::serialize")]
    pub id: NetworkId,
    /// What it calls itself. Anybody may call a network so.
    pub name: String,
    /// Why the verifier trusts it.
    pub trusted: Trusted,
}

/// Why the verifier trusts the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Trusted {
    /// The verifier named its id.
    Id,
    /// The verifier has its genesis.
    Genesis,
    /// No reason was given.
    Nobody,
}

/// What a proof does not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotShown {
    /// That this is the network that the reader means.
    Network,
    /// That the value is true at the machine.
    Truth,
    /// That the times are right.
    Times {
        /// The gateway itself says that its clock was not synchronised.
        unsynchronised: bool,
    },
    /// That the network agreed.
    Finality,
    /// That the issuer was still a member.
    Membership,
    /// That no key was stolen.
    Keys,
    /// That the key had not been replaced before.
    KeyInForce {
        /// Its number.
        key_number: u32,
        /// First sequence after it was named, from which on nothing is shown.
        from: u64,
        /// The sequence of the transaction.
        sequence: u64,
    },
    /// That no reading is missing.
    Gaps {
        /// The reading's counter.
        counter: u64,
    },
}

impl NotShown {
    /// A short name for programs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Truth => "truth",
            Self::Times { .. } => "times",
            Self::Finality => "finality",
            Self::Membership => "membership",
            Self::Keys => "keys",
            Self::KeyInForce { .. } => "key-in-force",
            Self::Gaps { .. } => "gaps",
        }
    }
}

impl Serialize for NotShown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut object = serializer.serialize_struct("NotShown", 2)?;
        object.serialize_field("what", self.name())?;
        object.serialize_field("words", &self.to_string())?;
        object.end()
    }
}

impl Verdict {
    /// What the program ends with: 0, or 3 when nobody said which network to trust.
    pub const fn exit_code(&self) -> u8 {
        match self.outcome {
            Outcome::Verified => 0,
            Outcome::Consistent => 3,
        }
    }
}

/// How fields are serialised. That they take references is serde's wish.
#[expect(clippy::trivially_copy_pass_by_ref)]
mod text {
    use super::{Hash, Quality, Scheme, Serializer, Value, rfc3339, rfc3339_ms};

    pub(super) fn raw<S: Serializer>(value: &Value, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Value::None => serializer.serialize_none(),
            Value::Bool(bit) => serializer.serialize_bool(*bit),
            Value::Int(int) => serializer.serialize_i64(*int),
            Value::Unsigned(int) => serializer.serialize_u64(*int),
            // JSON has no infinity.
            Value::Float(float) if float.is_infinite() => serializer.collect_str(float),
            Value::Float(float) => serializer.serialize_f64(*float),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) => serializer.serialize_str(&selvedge_core::hash::hex(bytes)),
        }
    }

    pub(super) fn quality<S: Serializer>(quality: &Quality, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(quality.name())
    }

    pub(super) fn scheme<S: Serializer>(scheme: &Scheme, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(scheme.name())
    }

    pub(super) fn hash<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hash.to_hex())
    }

    pub(super) fn time_ns<S: Serializer>(ns: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(*ns))
    }

    pub(super) fn time_ms<S: Serializer>(ms: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339_ms(*ms))
    }
}
