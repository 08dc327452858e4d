//! Credentials: an organisation's word that an identity is its member, written by whoever may, and checked by the
//! gateway that gets one exactly as every node will check it later.
//!
//! Who may: the organisation itself, where its key lies in the folder; or a gateway to which the genesis gives the role
//! `inviter`, with its first key, whatever keys it has since.

use std::sync::Arc;

use selvedge_core::codec::{self, Canonical, CodecError, check_name};
use selvedge_core::genesis::{Genesis, PublicKey, role};
use selvedge_core::payload::{Credential, CredentialSigner, Enrol};
use selvedge_core::reject::Reject;
use selvedge_core::scheme::credential_message;
use selvedge_core::{Issuer, Network, NetworkId, credential_check, limits};
use selvedge_crypto::{SecretKey, SignError, Signer, ids};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::document::Document;
use crate::folder::{Folder, FolderError};

/// Addresses that a credential file or an answer to a joiner names, at most.
pub const ADDRESSES_MAX: usize = 16;
/// Longest address, in bytes: a host name of DNS, and a port.
pub const ADDRESS_BYTES_MAX: usize = 253 + 6;

/// Why there is no credential, or why one is not good.
#[derive(Debug, Error)]
pub enum CredentialError {
    /// This gateway may not let anybody in.
    #[error(
        "this gateway may not let others in: the folder holds no key of an organisation of the genesis \
         (keys/organisation.key), and the genesis does not give it the role {:?}; ask a gateway that may",
        role::INVITER
    )]
    NotAllowed,
    /// Its key cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Signing failed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// It does not decode.
    #[error("no good credential: {0}")]
    Codec(#[from] CodecError),
    /// It is for another key.
    #[error("the credential is for {}, and this gateway is {}", ids::to_text(got), ids::to_text(expected))]
    OtherKey {
        /// Whom it is for.
        got: Issuer,
        /// Who this is.
        expected: Issuer,
    },
    /// The genesis does not know who signed it.
    #[error("the credential would be refused by every node: {0}")]
    Rejected(#[from] Reject),
    /// The signature is wrong.
    #[error(
        "the signature of the credential is wrong: the organisation that it names did not sign it for this name, these \
         roles and this network"
    )]
    Signature,
    /// A file for another network.
    #[error("the file is for network {}, expected {}", ids::to_text(got), ids::to_text(expected))]
    OtherNetwork {
        /// Its network.
        got: NetworkId,
        /// The one that was meant.
        expected: NetworkId,
    },
    /// A file for a gateway of another name.
    #[error("the credential calls this gateway {got:?}, expected {expected:?}; ask for one with that name")]
    OtherName {
        /// The name in it.
        got: String,
        /// The name that was asked for.
        expected: String,
    },
}

/// The roles of a gateway that is let in later: it reads machines.
pub fn roles() -> Vec<String> {
    vec![role::GATEWAY.to_owned()]
}

/// Whoever may write credentials here.
#[derive(Debug, Clone)]
pub struct Authority {
    network: NetworkId,
    organisation: u16,
    signer: CredentialSigner,
    key: Arc<dyn Signer>,
}

impl Authority {
    /// The authority of this folder: its organisation's key if it holds that, else the gateway as inviter.
    ///
    /// # Errors
    /// When it has none, or the key cannot be read.
    pub fn of(folder: &Folder, passphrase: Option<&str>) -> Result<Self, CredentialError> {
        let genesis = folder.genesis();
        let network = folder.network().id();
        if let Some(secret) = folder.organisation_key(passphrase)? {
            let key = selvedge_crypto::signer(&secret)?;
            let place = genesis.organisations.iter().position(|o| o.key == *key.public_key());
            if let Some(place) = place {
                let (organisation, signer) = (place as u16, CredentialSigner::Organisation);
                return Ok(Self { network, organisation, signer, key });
            }
        }
        let (place, organisation) = inviter(&genesis, folder.issuer()).ok_or(CredentialError::NotAllowed)?;
        let key = selvedge_crypto::signer(&folder.gateway_key(passphrase)?)?;
        Ok(Self { network, organisation, signer: CredentialSigner::Inviter(place), key })
    }

    /// May this folder let others in, as far as can be said without opening a key?
    ///
    /// # Errors
    /// When it cannot be searched.
    pub fn is_likely(folder: &Folder) -> Result<bool, FolderError> {
        Ok(folder.has_organisation_key()? || inviter(&folder.genesis(), folder.issuer()).is_some())
    }

    /// The word that `issuer` is a member, with this name and these roles.
    ///
    /// # Errors
    /// When signing fails.
    pub fn sign(&self, issuer: Issuer, name: &str, roles: &[String]) -> Result<Credential, SignError> {
        let hash = Enrol::credential_hash(issuer, self.organisation, name, roles);
        let message = credential_message(self.key.public_key().scheme, 0, self.network, &hash);
        Ok(Credential {
            organisation: self.organisation,
            signer: self.signer,
            signature: self.key.sign(&message)?,
        })
    }
}

/// Place and organisation of a gateway to which the genesis gives the role.
fn inviter(genesis: &Genesis, issuer: Issuer) -> Option<(u16, u16)> {
    let place = genesis.members.iter().position(|m| m.key.issuer() == issuer)?;
    let member = &genesis.members[place];
    member.roles.iter().any(|r| r == role::INVITER).then_some((place as u16, member.organisation))
}

/// The enrolment that these bytes are, if every node will take it as the first transaction of `issuer`.
///
/// # Errors
/// Why not.
pub fn check_enrolment(
    bytes: &[u8],
    network: &Network,
    genesis: &Genesis,
    issuer: Issuer,
) -> Result<Enrol, CredentialError> {
    let enrol: Enrol = codec::decode(bytes)?;
    let got = enrol.key.issuer();
    if got != issuer {
        return Err(CredentialError::OtherKey { got, expected: issuer });
    }
    let check = credential_check(network, genesis, &enrol)?;
    if selvedge_crypto::default_verifier().verify(&check.key, &check.message, &check.signature) {
        Ok(enrol)
    } else {
        Err(CredentialError::Signature)
    }
}

/// What `selvedge admit` writes for a gateway without a network: all that it needs to begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialFile {
    /// 0.
    pub version: u8,
    /// The genesis.
    #[serde(with = "serde_bytes")]
    pub genesis: Vec<u8>,
    /// Whom it is for.
    pub issuer: Issuer,
    /// What it is called.
    pub name: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// The word on it.
    pub credential: Credential,
    /// Where members are reached ("host:port"); for convenience, nobody vouches for them.
    pub addresses: Vec<String>,
}

impl Canonical for CredentialFile {
    const WHAT: &'static str = "credential file";
    const BYTES_MAX: usize = limits::GENESIS_BYTES_MAX + 32 * 1024;

    fn check(&self) -> Result<(), &'static str> {
        if self.version != 0 {
            return Err("its version is not 0");
        }
        check_name(&self.name)?;
        if self.roles.len() > limits::ROLES_MAX {
            return Err("more than 16 roles");
        }
        check_addresses(&self.addresses)
    }
}

impl Document for CredentialFile {
    const KIND: &'static str = "credential";
    const FROM: &'static str = "`selvedge admit`";
}

/// Addresses are few, short, and without anything that a terminal or a configuration would stumble over.
pub(crate) fn check_addresses(addresses: &[String]) -> Result<(), &'static str> {
    if addresses.len() > ADDRESSES_MAX {
        return Err("more than 16 addresses");
    }
    let is_good = |address: &String| {
        let fits = (1..=ADDRESS_BYTES_MAX).contains(&address.len());
        fits && address.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]%".contains(&b))
    };
    if addresses.iter().all(is_good) { Ok(()) } else { Err("an address that is no host:port") }
}

impl CredentialFile {
    /// Genesis and enrolment for the gateway with this key, checked as every node will check them.
    ///
    /// # Errors
    /// When the file is for another gateway, or would be refused.
    pub fn enrolment_for(&self, gateway: &SecretKey) -> Result<Vec<u8>, CredentialError> {
        let key = selvedge_crypto::signer(gateway)?.public_key().clone();
        if key.issuer() != self.issuer {
            return Err(CredentialError::OtherKey { got: self.issuer, expected: key.issuer() });
        }
        let genesis: Genesis = codec::decode(&self.genesis)?;
        let bytes = enrolment(key, &self.name, &self.roles, &self.credential);
        check_enrolment(&bytes, &Network::new(self.network()), &genesis, self.issuer)?;
        Ok(bytes)
    }

    /// The network that it is for.
    pub fn network(&self) -> NetworkId {
        Genesis::network_id_of(&self.genesis)
    }
}

/// The encoded enrolment: the payload of transaction 0.
pub fn enrolment(key: PublicKey, name: &str, roles: &[String], credential: &Credential) -> Vec<u8> {
    let (name, roles, credential) = (name.to_owned(), roles.to_vec(), credential.clone());
    codec::encode(&Enrol { key, name, roles, credential })
}

#[cfg(test)]
mod tests;
