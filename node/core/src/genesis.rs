//! The genesis: what a network starts from. Its hash is the network's id, so whoever pins the id pins all of it.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::codec::{self, Canonical};
use crate::hash::{Issuer, NetworkId, context, derive, issuer_of};
use crate::limits;
use crate::scheme::Scheme;

/// What a member may be (text, so that a role unknown to this version is carried, not refused).
pub mod role {
    /// May sign credentials for its organisation.
    pub const INVITER: &str = "inviter";
    /// Reads machines and signs batches.
    pub const GATEWAY: &str = "gateway";
}

/// A public key and its scheme.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey {
    /// The scheme.
    pub scheme: Scheme,
    /// The key, of exactly the scheme's length.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

impl PublicKey {
    /// The identity that this key founds.
    pub fn issuer(&self) -> Issuer {
        issuer_of(self.scheme.tag(), &self.bytes)
    }
    /// Has it the length of its scheme?
    pub fn check(&self) -> Result<(), &'static str> {
        if self.bytes.len() == self.scheme.public_key_bytes() {
            Ok(())
        } else {
            Err("a public key is not of its scheme's length")
        }
    }
}

/// An organisation: it signs the credentials of its members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organisation {
    /// For people.
    pub name: String,
    /// Its key.
    pub key: PublicKey,
}

/// A member that the genesis itself names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its organisation: place in `Genesis::organisations`.
    pub organisation: u16,
    /// Its first key (key number 0).
    pub key: PublicKey,
    /// For people.
    pub name: String,
    /// Roles, ascending, each once.
    #[serde(deserialize_with = "codec::at_most::<_, _, { limits::ROLES_MAX }>")]
    pub roles: Vec<String>,
}

/// What a network starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    /// 0.
    pub version: u8,
    /// For people.
    pub network_name: String,
    /// Random: two networks with the same names have different ids.
    pub random: [u8; 32],
    /// The organisations.
    #[serde(deserialize_with = "codec::at_most::<_, _, { limits::ORGANISATIONS_MAX }>")]
    pub organisations: Vec<Organisation>,
    /// The first members.
    #[serde(deserialize_with = "codec::at_most::<_, _, { limits::GENESIS_MEMBERS_MAX }>")]
    pub members: Vec<Member>,
    /// The committee of epoch 0, in order: places in `members`.
    #[serde(deserialize_with = "codec::at_most::<_, _, { limits::COMMITTEE_MAX }>")]
    pub committee: Vec<u16>,
}

impl Canonical for Genesis {
    const WHAT: &'static str = "genesis";
    const BYTES_MAX: usize = limits::GENESIS_BYTES_MAX;

    fn check(&self) -> Result<(), &'static str> {
        if self.version != 0 {
            return Err("genesis version is not 0");
        }
        codec::check_name(&self.network_name)?;
        if self.organisations.is_empty() || self.organisations.len() > limits::ORGANISATIONS_MAX {
            return Err("not between 1 and 64 organisations");
        }
        if self.members.is_empty() || self.members.len() > limits::GENESIS_MEMBERS_MAX {
            return Err("not between 1 and 1,024 members");
        }
        let mut identities = BTreeSet::new();
        for organisation in &self.organisations {
            codec::check_name(&organisation.name)?;
            organisation.key.check()?;
            if !identities.insert(organisation.key.issuer()) {
                return Err("a key stands twice");
            }
        }
        for member in &self.members {
            codec::check_name(&member.name)?;
            member.key.check()?;
            check_roles(&member.roles)?;
            if usize::from(member.organisation) >= self.organisations.len() {
                return Err("a member's organisation does not exist");
            }
            if !identities.insert(member.key.issuer()) {
                return Err("a key stands twice");
            }
        }
        let distinct: BTreeSet<_> = self.committee.iter().collect();
        if distinct.len() != self.committee.len() || self.committee.is_empty() {
            return Err("the committee is empty or names a member twice");
        }
        if self.committee.len() > limits::COMMITTEE_MAX {
            return Err("the committee has more than 63 members");
        }
        if self.committee.iter().any(|m| usize::from(*m) >= self.members.len()) {
            return Err("a committee member does not exist");
        }
        Ok(())
    }
}

/// Roles ascend and each stands once.
pub(crate) fn check_roles(roles: &[String]) -> Result<(), &'static str> {
    if roles.len() > limits::ROLES_MAX {
        return Err("more than 16 roles");
    }
    for role in roles {
        codec::check_name(role)?;
    }
    if roles.is_sorted_by(|a, b| a < b) { Ok(()) } else { Err("roles are not in ascending order, each once") }
}

impl Genesis {
    /// The encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }
    /// The network that these bytes found.
    pub fn network_id_of(bytes: &[u8]) -> NetworkId {
        NetworkId(derive(context::GENESIS, bytes))
    }
    /// The member with this identity.
    pub fn member(&self, issuer: Issuer) -> Option<&Member> {
        self.members.iter().find(|m| m.key.issuer() == issuer)
    }
}
