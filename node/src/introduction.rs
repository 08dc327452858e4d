//! How partners found a network together: each introduces its keys in a file, one makes the genesis of all of them.
//!
//! Nobody's secret leaves its folder. An introduction is signed by both of its keys, so that a file that was mixed up,
//! shortened or edited is noticed before a network stands on it. Whether it comes from the partner is for people to
//! make sure of: the ids are printed on both sides to be compared.

use selvedge_core::codec::{self, Canonical, check_name};
use selvedge_core::genesis::{Genesis, Member, Organisation, PublicKey, role};
use selvedge_core::hash::derive;
use selvedge_core::{Issuer, limits};
use selvedge_crypto::{SecretKey, SignError, ids};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::document::Document;

const CONTEXT: &str = "selvedge v0 introduction";
const DOMAIN: &[u8] = b"selvedge introduction";

/// One partner's keys and names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduction {
    /// 0.
    pub version: u8,
    /// The organisation and its key.
    pub organisation: Organisation,
    /// The gateway's name.
    pub name: String,
    /// The gateway's first key.
    pub key: PublicKey,
    /// The gateway's roles, ascending, each once.
    pub roles: Vec<String>,
    /// By the organisation's key and by the gateway's, over everything before.
    pub signatures: [serde_bytes::ByteBuf; 2],
}

impl Canonical for Introduction {
    const WHAT: &'static str = "introduction";
    const BYTES_MAX: usize = 16 * 1024;

    fn check(&self) -> Result<(), &'static str> {
        if self.version != 0 {
            return Err("its version is not 0");
        }
        check_name(&self.organisation.name)?;
        check_name(&self.name)?;
        self.organisation.key.check()?;
        self.key.check()?;
        if self.roles.len() > limits::ROLES_MAX || !self.roles.is_sorted_by(|a, b| a < b) {
            return Err("its roles are more than 16, or not in ascending order");
        }
        self.roles.iter().try_for_each(|role| check_name(role))
    }
}

impl Document for Introduction {
    const KIND: &'static str = "introduction";
    const FROM: &'static str = "`selvedge init --introduce`";
}

/// Why the introductions make no network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FoundError {
    /// A signature is wrong.
    #[error(
        "the introduction of {name:?} is not signed by the {whose} key that it names: it was edited or put together from \
         two; ask for it again"
    )]
    Signature {
        /// Whose introduction.
        name: String,
        /// Which of the two.
        whose: &'static str,
    },
    /// A key stands twice.
    #[error(
        "the key of gateway {name:?} is introduced twice; give each introduction once, your own not at all"
    )]
    Twice {
        /// Whose.
        name: String,
    },
    /// Two of one name.
    #[error(
        "two {what} are called {name:?}, with different keys; one of them must be introduced under another name"
    )]
    Name {
        /// What they are.
        what: &'static str,
        /// Their name.
        name: String,
    },
    /// One key, two names.
    #[error("one organisation key is introduced as {one:?} and as {other:?}; ask which it is")]
    TwoNames {
        /// One name.
        one: String,
        /// The other.
        other: String,
    },
    /// A committee member that is not there.
    #[error("the committee names {name:?}, which is no gateway of this network; there are: {there}")]
    NotThere {
        /// Who is missing.
        name: String,
        /// All names.
        there: String,
    },
    /// A rule of the genesis.
    #[error("the genesis would be wrong: {0}")]
    Rule(&'static str),
    /// Signing failed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// What is signed: everything but the signatures.
fn message(introduction: &Introduction, key: &PublicKey) -> Vec<u8> {
    let Introduction { version, organisation, name, key: gateway, roles, .. } = introduction;
    let hash = derive(CONTEXT, &codec::encode(&(version, organisation, name, gateway, roles)));
    let mut message = DOMAIN.to_vec();
    message.push(key.scheme.tag());
    message.extend(hash);
    message
}

impl Introduction {
    /// Introduces these keys under these names.
    ///
    /// # Errors
    /// When signing fails.
    pub fn new(
        organisation_name: &str,
        organisation: &SecretKey,
        name: &str,
        gateway: &SecretKey,
        is_inviter: bool,
    ) -> Result<Self, SignError> {
        let signers = [selvedge_crypto::signer(organisation)?, selvedge_crypto::signer(gateway)?];
        let mut roles = vec![role::GATEWAY.to_owned()];
        if is_inviter {
            roles.push(role::INVITER.to_owned());
        }
        let mut introduction = Self {
            version: 0,
            organisation: Organisation {
                name: organisation_name.to_owned(),
                key: signers[0].public_key().clone(),
            },
            name: name.to_owned(),
            key: signers[1].public_key().clone(),
            roles,
            signatures: Default::default(),
        };
        for (place, signer) in signers.iter().enumerate() {
            let signature = signer.sign(&message(&introduction, signer.public_key()))?;
            introduction.signatures[place] = signature.into();
        }
        Ok(introduction)
    }

    /// The identity of its gateway.
    pub fn issuer(&self) -> Issuer {
        self.key.issuer()
    }

    /// Did both keys sign it?
    ///
    /// # Errors
    /// Which did not.
    pub fn check_signatures(&self) -> Result<(), FoundError> {
        let verifier = selvedge_crypto::default_verifier();
        let keys = [("organisation", &self.organisation.key), ("gateway", &self.key)];
        for ((whose, key), signature) in keys.into_iter().zip(&self.signatures) {
            if !verifier.verify(key, &message(self, key), signature) {
                return Err(FoundError::Signature { name: self.name.clone(), whose });
            }
        }
        Ok(())
    }

    /// The member of the genesis that this introduction became, if it names its keys, names and roles unchanged.
    pub fn named_by(&self, genesis: &Genesis) -> Result<(), String> {
        let member = genesis.member(self.issuer());
        let id = ids::to_text(&self.issuer());
        let member = member.ok_or_else(|| {
            format!(
                "the genesis of {:?} does not name this gateway, {id}; is it that of another network, or was another \
                 introduction used?",
                genesis.network_name
            )
        })?;
        // `Genesis::check` has made sure that the organisation exists.
        let organisation = &genesis.organisations[usize::from(member.organisation)];
        if member.name != self.name || member.roles != self.roles || *organisation != self.organisation {
            return Err(format!(
                "the genesis names {id} as {:?} of {:?} with the roles {}, but it was introduced as {:?} of {:?} with {}, \
                 or with another key of the organisation; ask the partner who made it to use the newest introduction",
                member.name,
                organisation.name,
                member.roles.join(", "),
                self.name,
                self.organisation.name,
                self.roles.join(", ")
            ));
        }
        Ok(())
    }
}

/// The genesis of a network of these partners, in this order. The committee is all of them, or those named (by gateway
/// name or id, in that order).
///
/// # Errors
/// When an introduction is not well signed, two contradict each other, or the committee names somebody else.
pub fn found(
    network_name: &str,
    random: [u8; 32],
    partners: &[Introduction],
    committee: Option<&[String]>,
) -> Result<Genesis, FoundError> {
    let mut organisations: Vec<Organisation> = Vec::new();
    let mut members: Vec<Member> = Vec::new();
    for partner in partners {
        partner.check_signatures()?;
        if members.iter().any(|m| m.key == partner.key) {
            return Err(FoundError::Twice { name: partner.name.clone() });
        }
        if members.iter().any(|m| m.name == partner.name) {
            return Err(FoundError::Name { what: "gateways", name: partner.name.clone() });
        }
        let organisation = place_of(&mut organisations, &partner.organisation)?;
        members.push(Member {
            organisation,
            key: partner.key.clone(),
            name: partner.name.clone(),
            roles: partner.roles.clone(),
        });
    }
    let committee = match committee {
        None => (0..members.len()).map(|place| place as u16).collect(),
        Some(named) => named.iter().map(|name| place_named(&members, name)).collect::<Result<_, _>>()?,
    };
    let genesis = Genesis {
        version: 0,
        network_name: network_name.to_owned(),
        random,
        organisations,
        members,
        committee,
    };
    genesis.check().map_err(FoundError::Rule)?;
    Ok(genesis)
}

/// Several gateways may be introduced under one organisation; one name with two keys is a mix-up.
fn place_of(organisations: &mut Vec<Organisation>, one: &Organisation) -> Result<u16, FoundError> {
    if let Some(place) = organisations.iter().position(|o| o.key == one.key) {
        let there = &organisations[place];
        if there.name != one.name {
            return Err(FoundError::TwoNames { one: there.name.clone(), other: one.name.clone() });
        }
        return Ok(place as u16);
    }
    if organisations.iter().any(|o| o.name == one.name) {
        return Err(FoundError::Name { what: "organisations", name: one.name.clone() });
    }
    organisations.push(one.clone());
    Ok((organisations.len() - 1) as u16)
}

fn place_named(members: &[Member], name: &str) -> Result<u16, FoundError> {
    let by_id = ids::parse::<Issuer>(name).ok();
    let place = members.iter().position(|m| m.name == name || Some(m.key.issuer()) == by_id);
    place.map(|place| place as u16).ok_or_else(|| FoundError::NotThere {
        name: name.to_owned(),
        there: members.iter().map(|m| m.name.as_str()).collect::<Vec<_>>().join(", "),
    })
}

#[cfg(test)]
mod tests;
