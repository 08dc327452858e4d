//! What the bytes of a transaction show by themselves, with the genesis beside them. Alike for every node, for ever.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::border::{NewKey, SignatureCheck};
use crate::codec;
use crate::genesis::{Genesis, role};
use crate::hash::{Issuer, Network};
use crate::payload::{CredentialSigner, Enrol, PayloadKind, Rotate};
use crate::reject::Reject;
use crate::scheme::credential_message;
use crate::transaction::{Body, Parents, Reference, WitnessPart};

/// Genesis and committee of epoch 0: what every check may use.
pub(crate) struct Facts<'a> {
    pub(crate) network: &'a Network,
    pub(crate) genesis: &'a Genesis,
    pub(crate) committee: &'a [Issuer],
    /// Does the genesis name the issuer of the body? [`Genesis::member`] would hash the keys of all members to say so.
    pub(crate) in_genesis: bool,
}

/// What a payload that carries a key says.
#[derive(Debug, Clone)]
pub(crate) enum KeyPayload {
    /// No key.
    None,
    /// The first key, and the credential to check.
    Enrol(NewKey, SignatureCheck),
    /// The next key; its number is one more than that of the key in force.
    Rotate(Rotate),
}

/// Checks a body and returns what it refers to, `prev` first, and the key that it brings.
pub(crate) fn check(facts: &Facts<'_>, body: &Body) -> Result<(Vec<Reference>, KeyPayload), Reject> {
    let genesis = Reference::genesis(facts.network.id());
    if body.sequence == 0 && body.prev != genesis.id {
        return Err(Reject::FirstWithoutGenesis { got: body.prev, expected: genesis.id });
    }
    let mut references = Vec::from([body.prev_reference(facts.network.id())]);
    references.extend(body.approves);
    if let Some(witness) = &body.witness {
        check_witness(facts, body, witness)?;
        references.extend(parents(facts, witness));
        references.extend(&witness.also);
    }
    if let Some(wrong) = references.iter().find(|r| r.is_genesis() && **r != genesis) {
        return Err(Reject::WrongGenesis { got: *wrong, expected: genesis });
    }
    Ok((references, check_keys(facts, body)?))
}

fn check_witness(facts: &Facts<'_>, body: &Body, witness: &WitnessPart) -> Result<(), Reject> {
    if witness.epoch > 0 {
        // An epoch not known yet: waits.
        return Ok(());
    }
    if !facts.committee.contains(&body.issuer) {
        return Err(Reject::NotInCommittee { issuer: body.issuer, epoch: 0 });
    }
    let members = facts.committee.len();
    match &witness.parents {
        Parents::Anchor(anchor) if *anchor != facts.network.genesis_id() => {
            Err(Reject::WrongAnchor { got: *anchor, expected: facts.network.genesis_id() })
        }
        Parents::Anchor(_) => Ok(()),
        Parents::Witnesses(parents) => {
            let quorum = members - (members - 1) / 3;
            if let Some(beyond) = parents.iter().find(|p| usize::from(p.member) >= members) {
                return Err(Reject::NoSuchMember { got: beyond.member, expected: members });
            }
            if parents.len() < quorum {
                return Err(Reject::TooFewParents { got: parents.len(), expected: quorum });
            }
            Ok(())
        }
    }
}

/// The parents as references. Those of a later epoch cannot be named yet: its transaction waits anyway.
fn parents<'a>(facts: &'a Facts<'_>, witness: &'a WitnessPart) -> impl Iterator<Item = Reference> + 'a {
    let parents = match &witness.parents {
        Parents::Witnesses(parents) => parents.as_slice(),
        Parents::Anchor(_) => &[],
    };
    parents.iter().filter_map(|parent| {
        let issuer = *facts.committee.get(usize::from(parent.member))?;
        Some(Reference { issuer, sequence: parent.sequence, id: parent.id })
    })
}

/// Of payloads only those two that carry keys are read.
fn check_keys(facts: &Facts<'_>, body: &Body) -> Result<KeyPayload, Reject> {
    let first_of_stranger = body.sequence == 0 && !facts.in_genesis;
    match PayloadKind::from_u16(body.kind) {
        Some(PayloadKind::Enrol) if first_of_stranger => check_enrol(facts, body),
        Some(PayloadKind::Enrol) => {
            Err(Reject::MisplacedEnrol { issuer: body.issuer, sequence: body.sequence })
        }
        _ if first_of_stranger => Err(Reject::NotEnrolled { issuer: body.issuer, got: body.kind }),
        Some(PayloadKind::Rotate) => {
            codec::decode(&body.payload).map(KeyPayload::Rotate).map_err(Reject::KeyPayload)
        }
        _ => Ok(KeyPayload::None),
    }
}

fn check_enrol(facts: &Facts<'_>, body: &Body) -> Result<KeyPayload, Reject> {
    let enrol: Enrol = codec::decode(&body.payload).map_err(Reject::KeyPayload)?;
    let founded = enrol.key.issuer();
    if founded != body.issuer {
        return Err(Reject::ForeignKey { got: founded, expected: body.issuer });
    }
    let credential = credential_check(facts.network, facts.genesis, &enrol)?;
    Ok(KeyPayload::Enrol(NewKey { key_number: 0, key: Arc::new(enrol.key) }, credential))
}

/// The signature that an enrolment stands on, down to a key of the genesis.
///
/// # Errors
/// When the genesis has no such organisation or inviter, or the signature is not of its scheme's length.
pub fn credential_check(
    network: &Network,
    genesis: &Genesis,
    enrol: &Enrol,
) -> Result<SignatureCheck, Reject> {
    let credential = &enrol.credential;
    let organisation = credential.organisation;
    let unknown = Reject::UnknownSigner { organisation };
    let key = match credential.signer {
        CredentialSigner::Organisation => {
            genesis.organisations.get(usize::from(organisation)).map(|o| &o.key)
        }
        CredentialSigner::Inviter(member) => genesis
            .members
            .get(usize::from(member))
            .filter(|m| m.organisation == organisation && m.roles.iter().any(|r| r == role::INVITER))
            .map(|m| &m.key),
    };
    let key = key.ok_or(unknown)?;
    if usize::from(organisation) >= genesis.organisations.len() {
        return Err(Reject::UnknownSigner { organisation });
    }
    let expected = key.scheme.signature_bytes();
    if credential.signature.len() != expected {
        return Err(Reject::CredentialLength { got: credential.signature.len(), expected });
    }
    let hash = Enrol::credential_hash(enrol.key.issuer(), organisation, &enrol.name, &enrol.roles);
    Ok(SignatureCheck {
        message: credential_message(key.scheme, 0, network.id(), &hash),
        key: Arc::new(key.clone()),
        signature: credential.signature.clone(),
    })
}
