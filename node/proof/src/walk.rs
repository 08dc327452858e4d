//! The links, one after the other: all that the bytes show without arithmetic, and a list of the signatures
//! that are then due. Order: network, transaction, reading, issuer, keys.

use selvedge_core::codec::{self, Canonical};
use selvedge_core::genesis::{Genesis, Member, PublicKey, role};
use selvedge_core::hash::{Id, Issuer, Network};
use selvedge_core::merkle;
use selvedge_core::payload::{Batch, Credential, CredentialSigner, Enrol, PayloadKind, Rotate};
use selvedge_core::reading::{FLAG_POSSIBLY_REPEATED, FLAG_UNSYNCHRONISED, Quality, Reading, is_long};
use selvedge_core::scheme::{credential_message, transaction_message};
use selvedge_core::stream::Descriptor;
use selvedge_core::transaction::{self, Body, Envelope};
use serde::Deserialize;

use crate::file::Proof;
use crate::ids;
use crate::refusal::{Link, Refusal};
use crate::scaled::{decimal_text, scaled};
use crate::verdict::{
    BatchShown, IssuerShown, KeyNamed, KeyShown, LeafShown, NamedBy, NetworkShown, NotShown, Outcome,
    ReadingShown, SignatureShown, TransactionShown, Trusted, Verdict,
};
use crate::verify::Trust;

/// A signature that has to hold.
pub(crate) struct Due {
    pub(crate) link: Link,
    pub(crate) key: PublicKey,
    /// Whose key, in words.
    pub(crate) whose: String,
    pub(crate) message: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

/// What the proof shows once all signatures hold.
pub(crate) struct Walked {
    pub(crate) verdict: Verdict,
    pub(crate) due: Vec<Due>,
}

/// A transaction of the file, opened, its header found possible.
struct Opened<'a> {
    link: Link,
    envelope: Envelope<'a>,
    body: Body,
    id: Id,
}

/// Who the issuer is, and its first key.
struct Founding {
    key: PublicKey,
    issuer: IssuerShown,
    /// Sequence and id of its enrolment.
    enrolment: Option<(u64, Id)>,
}

/// The network of the file, trusted or not.
pub(crate) struct Found {
    network: Network,
    pub(crate) genesis: Genesis,
    shown: NetworkShown,
}

/// Follows all links of `proof` and collects the signatures.
pub(crate) fn walk(proof: &Proof, trust: Trust<'_>) -> Result<Walked, Refusal> {
    walk_in(proof, follow_network(proof, trust)?)
}

/// All links but that to the network.
pub(crate) fn walk_in(proof: &Proof, found: Found) -> Result<Walked, Refusal> {
    let mut due = Vec::new();
    let Found { network, genesis, shown } = found;
    let transaction = Opened::open(&proof.transaction, Link::Transaction, &network)?;
    let batch: Batch = transaction.payload(Link::Batch, PayloadKind::Batch)?;
    let (reading, leaf) = follow_reading(proof, &batch)?;
    let span = batch.streams[reading.0 as usize];
    let founding = follow_issuer(proof, &network, &genesis, transaction.body.issuer, &mut due)?;
    let (keys, from) = follow_keys(proof, &network, &founding, &transaction, &mut due)?;
    let outcome = if shown.trusted == Trusted::Nobody { Outcome::Consistent } else { Outcome::Verified };
    let Opened { envelope, body, id, .. } = &transaction;
    let verdict = Verdict {
        outcome,
        not_shown: not_shown(outcome, &reading.1, envelope.key_number, from, body.sequence),
        reading: reading.1,
        leaf,
        batch: BatchShown {
            number: batch.number,
            first_time_ns: batch.first_time_ns,
            last_time_ns: batch.last_time_ns,
            streams: batch.streams.len(),
            stream_first: span.first,
            stream_count: span.count,
            segment: batch.segment,
            segment_bytes: batch.segment_bytes,
        },
        transaction: TransactionShown {
            id: *id,
            sequence: body.sequence,
            issued_at_ms: body.issued_at_ms,
            unsynchronised: body.flags & transaction::FLAG_UNSYNCHRONISED != 0,
        },
        signature: SignatureShown { scheme: envelope.scheme, key_number: envelope.key_number },
        keys,
        issuer: founding.issuer,
        network: shown,
    };
    Ok(Walked { verdict, due })
}

/// From the genesis in the file to the network that is trusted.
pub(crate) fn follow_network(proof: &Proof, trust: Trust<'_>) -> Result<Found, Refusal> {
    let id = Genesis::network_id_of(&proof.genesis);
    let genesis: Result<Genesis, _> = codec::decode(&proof.genesis);
    let (expected, trusted) = match trust {
        Trust::Network(expected) => (expected, Trusted::Id),
        Trust::Genesis(bytes) => {
            codec::decode::<Genesis>(bytes).map_err(|why| Refusal::TrustedGenesis { why })?;
            (Genesis::network_id_of(bytes), Trusted::Genesis)
        }
        Trust::Nobody => (id, Trusted::Nobody),
    };
    if id != expected {
        let name = genesis.ok().map(|genesis| genesis.network_name);
        return Err(Refusal::OtherNetwork { got: id, name, expected });
    }
    let genesis = genesis.map_err(|why| Refusal::malformed(Link::Genesis, why))?;
    let shown = NetworkShown { id, name: genesis.network_name.clone(), trusted };
    Ok(Found { network: Network::new(id), genesis, shown })
}

impl<'a> Opened<'a> {
    fn open(bytes: &'a [u8], link: Link, network: &Network) -> Result<Self, Refusal> {
        let (envelope, body) = Envelope::open(bytes).map_err(|why| Refusal::malformed(link, why))?;
        let opened = Self { link, id: network.transaction_id(envelope.body), envelope, body };
        opened.check_header(network)?;
        Ok(opened)
    }

    /// The rules that every node applies to a header: without them a proof could hold what no node takes.
    fn check_header(&self, network: &Network) -> Result<(), Refusal> {
        let Self { link, body, id, .. } = self;
        let refuse = |why| Err(Refusal::Header { link: *link, id: *id, sequence: body.sequence, why });
        if body.sequence == 0 && body.prev != network.genesis_id() {
            return refuse("has something else than the genesis of its network before it");
        }
        let further = body.witness.iter().flat_map(|witness| &witness.also);
        for reference in body.approves.iter().chain(further) {
            if reference.is_genesis() && *reference != transaction::Reference::genesis(network.id()) {
                return refuse("approves the genesis of another network");
            }
            if reference.issuer == body.issuer && reference.sequence >= body.sequence {
                return refuse("approves a transaction of its own issuer that is not before it");
            }
        }
        Ok(())
    }

    fn payload<T: Canonical + for<'de> Deserialize<'de>>(
        &self,
        link: Link,
        kind: PayloadKind,
    ) -> Result<T, Refusal> {
        if self.body.kind != kind as u16 {
            return Err(Refusal::Kind { link, got: self.body.kind, expected: kind as u16 });
        }
        codec::decode(&self.body.payload).map_err(|why| Refusal::malformed(link, why))
    }

    /// Notes the signature as due, by key `number` of the issuer.
    fn signed_by(&self, key: &PublicKey, number: u32, network: &Network) -> Result<Due, Refusal> {
        let Self { link, envelope, .. } = self;
        if envelope.key_number != number {
            return Err(Refusal::KeyNumber { link: *link, got: envelope.key_number, expected: number });
        }
        if envelope.scheme != key.scheme {
            return Err(Refusal::WrongScheme {
                link: *link,
                key_number: number,
                got: envelope.scheme,
                expected: key.scheme,
            });
        }
        Ok(Due {
            link: if *link == Link::Transaction { Link::Signature } else { *link },
            key: key.clone(),
            whose: format!("key {number} of {}", ids::text(self.body.issuer)),
            message: transaction_message(envelope.scheme, number, network.id(), self.id),
            signature: envelope.signature.to_vec(),
        })
    }

    fn check_issuer(&self, expected: Issuer) -> Result<(), Refusal> {
        if self.body.issuer == expected {
            return Ok(());
        }
        Err(Refusal::OtherIssuer { link: self.link, got: self.body.issuer, expected })
    }

    /// Can this be later on the same chain than `before`?
    fn check_follows(&self, before: Option<(u64, Id)>) -> Result<(), Refusal> {
        let Some((sequence, id)) = before else { return Ok(()) };
        let refuse =
            |why| Err(Refusal::Order { link: self.link, got: self.body.sequence, before: sequence, why });
        if self.body.sequence <= sequence {
            return refuse("expected a higher sequence");
        }
        if self.body.sequence == sequence + 1 && self.body.prev != id {
            return refuse("it names another transaction before it");
        }
        Ok(())
    }
}

/// The reading with its place in the stream table, and its leaf.
fn follow_reading(proof: &Proof, batch: &Batch) -> Result<((u32, ReadingShown), LeafShown), Refusal> {
    let block = proof.block.first_chunk().expect("the form of the file says 48 bytes");
    let salt = proof.salt.first_chunk().expect("the form of the file says 16 bytes");
    let long = proof.long.as_ref().map(|bytes| bytes.as_slice());
    let reading = Reading::from_block(block, long)?;
    let stream = reading.stream_index;
    let streams = batch.streams.len();
    let span =
        batch.streams.get(stream as usize).ok_or(Refusal::NoSuchStream { got: stream, expected: streams })?;
    let got = Descriptor::hash_of(&proof.descriptor);
    if got != span.descriptor {
        return Err(Refusal::Descriptor { stream, got, expected: span.descriptor });
    }
    let descriptor: Descriptor =
        codec::decode(&proof.descriptor).map_err(|why| Refusal::malformed(Link::Descriptor, why))?;
    let index = batch.leaf_index(stream, reading.counter).ok_or(Refusal::Counter {
        got: reading.counter,
        first: span.first,
        last: span.first + u64::from(span.count) - 1,
    })?;
    let leaf = match long {
        Some(long) if is_long(block) => merkle::long_leaf(block, salt, long),
        _ => merkle::leaf(block, salt),
    };
    let leaf = follow_path(proof, batch, leaf, index)?;
    let (first, last) = (batch.first_time_ns, batch.last_time_ns);
    if !(first..=last).contains(&reading.receive_time_ns) {
        return Err(Refusal::Time { got: reading.receive_time_ns, first, last });
    }
    Ok(((stream, reading_shown(reading, descriptor)), leaf))
}

fn follow_path(proof: &Proof, batch: &Batch, leaf: [u8; 32], index: u64) -> Result<LeafShown, Refusal> {
    let path = proof.path.as_chunks::<32>().0;
    let count = batch.count;
    let root = merkle::root_from_path(leaf, index, u64::from(count), path)
        .map(selvedge_core::Hash)
        .ok_or(Refusal::PathLength { leaf: index, count, got: path.len() })?;
    if root != batch.root {
        return Err(Refusal::Root { leaf: index, count, got: root, expected: batch.root });
    }
    Ok(LeafShown { index, count, path_hashes: path.len(), root })
}

fn reading_shown(reading: Reading, descriptor: Descriptor) -> ReadingShown {
    ReadingShown {
        // A mark for "not available" is no number, whatever its bits are.
        value: if reading.quality == Quality::NotAvailable {
            None
        } else {
            scaled(&reading.value, &descriptor)
        },
        scale: decimal_text(descriptor.scale),
        offset: decimal_text(descriptor.offset),
        raw: reading.value,
        quality: reading.quality,
        status: reading.status,
        counter: reading.counter,
        source_time_ns: reading.source_time_ns,
        receive_time_ns: reading.receive_time_ns,
        unsynchronised: reading.flags & FLAG_UNSYNCHRONISED != 0,
        possibly_repeated: reading.flags & FLAG_POSSIBLY_REPEATED != 0,
        attestation: descriptor.attestation.words(),
        stream: descriptor.name,
        device: descriptor.device,
        address: descriptor.address,
        source_type: descriptor.source_type,
        unit: descriptor.unit,
    }
}

/// From the issuer to an organisation of the genesis.
fn follow_issuer(
    proof: &Proof,
    network: &Network,
    genesis: &Genesis,
    issuer: Issuer,
    due: &mut Vec<Due>,
) -> Result<Founding, Refusal> {
    match (genesis.member(issuer), &proof.enrolment) {
        (Some(_), Some(_)) => Err(Refusal::Enrolled { issuer }),
        (Some(member), None) => Ok(founded_by_genesis(genesis, member, issuer)),
        (None, None) => Err(Refusal::NotEnrolled { issuer }),
        (None, Some(bytes)) => follow_enrolment(bytes, network, genesis, issuer, due),
    }
}

fn founded_by_genesis(genesis: &Genesis, member: &Member, issuer: Issuer) -> Founding {
    Founding {
        key: member.key.clone(),
        issuer: IssuerShown {
            id: issuer,
            name: member.name.clone(),
            organisation: genesis.organisations[usize::from(member.organisation)].name.clone(),
            roles: member.roles.clone(),
            named: NamedBy::Genesis,
        },
        enrolment: None,
    }
}

fn follow_enrolment(
    bytes: &[u8],
    network: &Network,
    genesis: &Genesis,
    issuer: Issuer,
    due: &mut Vec<Due>,
) -> Result<Founding, Refusal> {
    let opened = Opened::open(bytes, Link::Enrolment, network)?;
    opened.check_issuer(issuer)?;
    let Opened { body, id, .. } = &opened;
    if body.sequence != 0 {
        let why = "enrols, which only a transaction at sequence 0 may";
        return Err(Refusal::Header { link: Link::Enrolment, id: *id, sequence: body.sequence, why });
    }
    let enrol: Enrol = opened.payload(Link::Enrolment, PayloadKind::Enrol)?;
    if enrol.key.issuer() != issuer {
        return Err(Refusal::ForeignKey { got: enrol.key.issuer(), expected: issuer });
    }
    due.push(opened.signed_by(&enrol.key, 0, network)?);
    let (named, organisation) = follow_credential(&enrol, *id, network, genesis, due)?;
    Ok(Founding {
        key: enrol.key,
        issuer: IssuerShown { id: issuer, name: enrol.name, organisation, roles: enrol.roles, named },
        enrolment: Some((0, *id)),
    })
}

/// Who let the issuer in, and the name of the organisation.
fn follow_credential(
    enrol: &Enrol,
    enrolment: Id,
    network: &Network,
    genesis: &Genesis,
    due: &mut Vec<Due>,
) -> Result<(NamedBy, String), Refusal> {
    let Credential { organisation: place, signer, signature } = &enrol.credential;
    let refuse = |why| Refusal::Credential { organisation: *place, why };
    let organisation = genesis
        .organisations
        .get(usize::from(*place))
        .ok_or(refuse("the genesis has no organisation at that place"))?;
    let (key, whose, named) = match signer {
        CredentialSigner::Organisation => {
            let key = &organisation.key;
            let named = NamedBy::Organisation { enrolment, scheme: key.scheme };
            (key, format!("the key of organisation {:?}", organisation.name), named)
        }
        CredentialSigner::Inviter(member) => {
            let member = genesis
                .members
                .get(usize::from(*member))
                .ok_or(refuse("names an inviter that the genesis does not have"))?;
            if member.organisation != *place {
                return Err(refuse("is signed by a member of another organisation"));
            }
            if !member.roles.iter().any(|name| name == role::INVITER) {
                return Err(refuse(
                    "is signed by a member to whom the genesis does not give the role inviter",
                ));
            }
            let named = NamedBy::Inviter {
                enrolment,
                scheme: member.key.scheme,
                inviter: member.key.issuer(),
                inviter_name: member.name.clone(),
            };
            (&member.key, format!("the key of the inviter {:?}", member.name), named)
        }
    };
    if signature.len() != key.scheme.signature_bytes() {
        return Err(refuse("its signature does not have the length of its signer's scheme"));
    }
    let hash = Enrol::credential_hash(enrol.key.issuer(), *place, &enrol.name, &enrol.roles);
    due.push(Due {
        link: Link::Credential,
        key: key.clone(),
        whose,
        message: credential_message(key.scheme, 0, network.id(), &hash),
        signature: signature.clone(),
    });
    Ok((named, organisation.name.clone()))
}

/// From the first key through the rotations to the key that signed the transaction. A rotation names key k + 1,
/// is signed with key k, and stands below the next on the issuer's chain; the transactions between are not in
/// the file. Also gives the first sequence after the last key was named.
fn follow_keys(
    proof: &Proof,
    network: &Network,
    founding: &Founding,
    transaction: &Opened<'_>,
    due: &mut Vec<Due>,
) -> Result<(Vec<KeyShown>, u64), Refusal> {
    let expected = transaction.envelope.key_number;
    if proof.rotations.len() as u64 != u64::from(expected) {
        return Err(Refusal::RotationCount { got: proof.rotations.len(), expected });
    }
    let mut key = founding.key.clone();
    let named = if founding.enrolment.is_some() { KeyNamed::Enrolment } else { KeyNamed::Genesis };
    let mut shown = vec![KeyShown { number: 0, scheme: key.scheme, named }];
    let mut before = founding.enrolment;
    for (number, bytes) in (0..).zip(&proof.rotations) {
        let rotation = Opened::open(bytes, Link::Rotation, network)?;
        rotation.check_issuer(transaction.body.issuer)?;
        rotation.check_follows(before)?;
        let next: Rotate = rotation.payload(Link::Rotation, PayloadKind::Rotate)?;
        due.push(rotation.signed_by(&key, number, network)?);
        before = Some((rotation.body.sequence, rotation.id));
        let named = KeyNamed::Rotation { transaction: rotation.id, sequence: rotation.body.sequence };
        shown.push(KeyShown { number: number + 1, scheme: next.key.scheme, named });
        key = next.key;
    }
    transaction.check_follows(before)?;
    due.push(transaction.signed_by(&key, expected, network)?);
    Ok((shown, before.map_or(0, |(sequence, _)| sequence + 1)))
}

fn not_shown(
    outcome: Outcome,
    reading: &ReadingShown,
    key_number: u32,
    from: u64,
    sequence: u64,
) -> Vec<NotShown> {
    let mut not_shown = Vec::new();
    if outcome == Outcome::Consistent {
        not_shown.push(NotShown::Network);
    }
    not_shown.extend([
        NotShown::Truth,
        NotShown::Times { unsynchronised: reading.unsynchronised },
        NotShown::Finality,
        NotShown::Membership,
        NotShown::Keys,
    ]);
    if from < sequence {
        not_shown.push(NotShown::KeyInForce { key_number, from, sequence });
    }
    not_shown.push(NotShown::Gaps { counter: reading.counter });
    not_shown
}
