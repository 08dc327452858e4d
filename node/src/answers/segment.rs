//! Which transaction names an archive segment, and what of the ledger a proof of its readings needs. Readings lie only
//! with the gateway that read them; whoever gets a segment handed over proves them from it and the own ledger.

use selvedge_core::genesis::Genesis;
use selvedge_core::hash::hex;
use selvedge_core::payload::{Batch, PayloadKind};
use selvedge_core::seal::SealedBatch;
use selvedge_core::stream::Descriptor;
use selvedge_core::transaction::Envelope;
use selvedge_core::{Network, codec};
use selvedge_crypto::ids;
use selvedge_proof::{Parts, Proof};
use serde::{Deserialize, Serialize};

use super::prove::{ProofAbout, ProofAnswer, ProofQuery, newest_in};
use super::{Answers, AskError};
use crate::store::StoreError;

/// Which segment: one of the two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentQuery {
    /// The one whose hash has these 64 hexadecimal digits, whoever issued its batch.
    pub hash: Option<String>,
    /// The one of the own batch with this number.
    pub batch: Option<u64>,
}

/// The transaction that names a segment, and those that brought the key which signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentAnswer {
    /// The hash, 64 hexadecimal digits: its name in the archive.
    pub segment: String,
    /// Its length.
    pub segment_bytes: u64,
    /// Number of its batch on the issuer's chain.
    pub batch: u64,
    /// Who issued the batch.
    pub issuer: String,
    /// The issuer's name.
    pub issuer_name: Option<String>,
    /// Is that this gateway?
    pub own: bool,
    /// The envelope of the transaction, in hexadecimal digits, as are the following.
    pub envelope: String,
    /// The issuer's transaction 0, when the genesis does not name the issuer.
    pub enrolment: Option<String>,
    /// Its rotations up to the key that signed, ascending.
    pub rotations: Vec<String>,
}

impl Answers {
    /// Finds the transaction that names a segment; of several, which only a gateway that copies others' roots makes,
    /// the one that was attached first here. By hash it looks through the whole ledger: some microseconds for each
    /// batch in it.
    ///
    /// # Errors
    /// When there is none, the question names neither or both, or the store cannot be read.
    pub fn segment(&self, query: &SegmentQuery) -> Result<SegmentAnswer, AskError> {
        let number = match (&query.hash, query.batch) {
            (Some(hash), None) => self.naming(hash)?,
            (None, Some(batch)) => {
                let found = self.reader.own_batch(batch)?.map(|own| own.transaction);
                found.ok_or_else(|| AskError::Refused {
                    why: format!(
                        "no transaction of this gateway carries batch {batch}; `selvedge readings STREAM --json` and \
                         `selvedge tangle` name the batches that are in transactions"
                    ),
                })?
            }
            _ => {
                let what = "expected either `hash` or `batch`".to_owned();
                return Err(AskError::Malformed { what });
            }
        };
        self.carrier(number)
    }

    /// The first transaction whose batch names this segment.
    fn naming(&self, hash: &str) -> Result<u64, AskError> {
        for number in 0..self.reader.next_number()? {
            let record = self.reader.record(number)?;
            if record.is_none_or(|record| record.kind != PayloadKind::Batch as u16) {
                continue;
            }
            let Some(envelope) = self.reader.envelope(number)? else { continue };
            let (_, body) = Envelope::open(&envelope).map_err(StoreError::from)?;
            let batch: Batch = codec::decode(&body.payload).map_err(StoreError::from)?;
            if batch.segment.to_hex() == hash {
                return Ok(number);
            }
        }
        Err(AskError::Refused {
            why: format!(
                "no transaction in this ledger names the archive segment {hash}: the file was changed or is not whole, it \
                 is of another network, or its transaction has not arrived here yet (`selvedge peers` says who is connected)"
            ),
        })
    }

    fn carrier(&self, number: u64) -> Result<SegmentAnswer, AskError> {
        let missing = || AskError::Store { why: format!("the log does not hold transaction {number}") };
        let bytes = self.reader.envelope(number)?.ok_or_else(missing)?;
        let (envelope, body) = Envelope::open(&bytes).map_err(StoreError::from)?;
        let batch: Batch = codec::decode(&body.payload).map_err(StoreError::from)?;
        let mut keys = self.reader.key_transactions(&body.issuer, envelope.key_number)?;
        let is_enrolled = self.facts.genesis.member(body.issuer).is_none() && !keys.is_empty();
        let enrolment = is_enrolled.then(|| hex(&keys.remove(0)));
        Ok(SegmentAnswer {
            segment: batch.segment.to_hex(),
            segment_bytes: batch.segment_bytes,
            batch: batch.number,
            issuer: ids::to_text(&body.issuer),
            issuer_name: self.issuer_name(&body.issuer)?.map(|(name, _)| name),
            own: body.issuer == self.facts.issuer,
            envelope: hex(&bytes),
            enrolment,
            rotations: keys.iter().map(|key| hex(key)).collect(),
        })
    }
}

impl SegmentAnswer {
    /// The proof of a reading in the segment that this answer is about, with the bytes of the network's genesis.
    ///
    /// # Errors
    /// When the segment holds no such stream or reading, or what the issuer signed is not what it holds.
    pub fn prove(
        &self,
        genesis: &[u8],
        sealed: &SealedBatch,
        query: &ProofQuery,
    ) -> Result<ProofAnswer, AskError> {
        let to_ns = query.at.map(|at| at.0.saturating_add(1));
        let Some((stream_index, counter)) = newest_in(sealed, &query.stream, to_ns)? else {
            return Err(AskError::Refused { why: not_in_it(sealed, query)? });
        };
        let transaction = unhex(&self.envelope)?;
        let (envelope, body) = Envelope::open(&transaction).map_err(StoreError::from)?;
        let batch: Batch = codec::decode(&body.payload).map_err(StoreError::from)?;
        let leaf = batch
            .leaf_index(stream_index, counter)
            .ok_or_else(|| self.unlike(&format!("its batch holds no reading {counter} of that stream")))?;
        let enrolment = self.enrolment.as_deref().map(unhex).transpose()?;
        let rotations = self.rotations.iter().map(|key| unhex(key)).collect::<Result<Vec<_>, _>>()?;
        let rotations: Vec<&[u8]> = rotations.iter().map(Vec::as_slice).collect();
        let parts = Parts {
            genesis,
            batch: sealed,
            tree: None,
            leaf: leaf as u32,
            transaction: &transaction,
            enrolment: enrolment.as_deref(),
            rotations: &rotations,
        };
        let proof = Proof::make(&parts).map_err(|why| self.unlike(&why))?;
        let id = Network::new(Genesis::network_id_of(genesis)).transaction_id(envelope.body);
        let about =
            ProofAbout { counter, batch: self.batch, transaction: ids::to_text(&id), journaled: None };
        Ok(ProofAnswer { bytes: proof.to_bytes(), about })
    }

    /// The issuer signed a root, and names a segment that does not have it.
    fn unlike(&self, why: &dyn std::fmt::Display) -> AskError {
        let who = self.issuer_name.as_deref().unwrap_or(&self.issuer);
        AskError::Refused {
            why: format!(
                "the segment is the one that {who:?} named in its transaction, but what {who:?} signed there is something \
                 else: {why}. Nothing of it can be proved; ask {who:?}"
            ),
        }
    }
}

/// Why a segment holds no such reading.
fn not_in_it(sealed: &SealedBatch, query: &ProofQuery) -> Result<String, AskError> {
    let stream = &query.stream;
    let mut names = Vec::new();
    for bytes in &sealed.descriptors {
        names.push(codec::decode::<Descriptor>(bytes).map_err(StoreError::from)?.name);
    }
    if names.contains(stream) {
        return Ok(format!(
            "the segment holds readings of {stream:?}, but none that was received by then; `latest` proves its newest one"
        ));
    }
    names.sort();
    names.dedup();
    let more = names.len().saturating_sub(8);
    let mut listed: Vec<String> = names.iter().take(8).map(|name| format!("{name:?}")).collect();
    if more > 0 {
        listed.push(format!("{more} more"));
    }
    Ok(format!("the segment holds no reading of {stream:?}; its streams are {}", listed.join(", ")))
}

/// What [`hex`] wrote.
fn unhex(digits: &str) -> Result<Vec<u8>, AskError> {
    let bad =
        || AskError::Malformed { what: "the answer holds bytes that are not in hexadecimal digits".into() };
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(bad());
    }
    let byte = |pair: &[u8; 2]| {
        let text = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(text, 16).ok()
    };
    pairs.iter().map(|pair| byte(pair).ok_or_else(bad)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, filled};
    use super::*;
    use crate::answers::Time;

    #[test]
    fn a_segment_is_found_by_hash_and_by_batch_and_proves_what_it_holds() {
        let mut bench = Bench::new(3);
        filled(&mut bench);
        let answers = bench.answers();
        let by_batch = answers.segment(&SegmentQuery { batch: Some(1), hash: None }).unwrap();
        let hash = Some(by_batch.segment.clone());
        assert_eq!(answers.segment(&SegmentQuery { hash, batch: None }).unwrap(), by_batch);
        assert!(by_batch.own && by_batch.enrolment.is_none());
        let own = answers.reader.own_batch(1).unwrap().unwrap();
        let sealed = answers.reader.archived(1, &own).unwrap();
        let ask = |stream: &str, at| {
            by_batch.prove(&answers.facts.genesis_bytes, &sealed, &ProofQuery { stream: stream.into(), at })
        };
        let proved = ask("tank/level", None).unwrap();
        let trust = selvedge_proof::Trust::Network(answers.facts.network.id());
        let verifier = selvedge_crypto::default_verifier();
        selvedge_proof::verify(&proved.bytes, trust, verifier.as_ref()).unwrap();
        for (stream, at, said) in
            [("tank/levle", None, "\"tank/level\""), ("tank/level", Some(Time(1)), "received by then")]
        {
            let why = ask(stream, at).unwrap_err();
            assert!(why.exit_code() == 1 && why.to_string().contains(said), "{why}");
        }
    }

    #[test]
    fn a_root_that_the_issuer_did_not_sign_is_refused() {
        let mut bench = Bench::new(4);
        filled(&mut bench);
        let answers = bench.answers();
        let carrier = answers.segment(&SegmentQuery { batch: Some(1), hash: None }).unwrap();
        let own = answers.reader.own_batch(1).unwrap().unwrap();
        let mut sealed = answers.reader.archived(1, &own).unwrap();
        sealed.blocks[0][40] ^= 1;
        let query = ProofQuery { stream: "tank/level".into(), at: None };
        let why = carrier.prove(&answers.facts.genesis_bytes, &sealed, &query).unwrap_err().to_string();
        assert!(why.contains("signed there is something else"), "{why}");
    }

    #[test]
    fn what_nobody_named_is_said() {
        let mut bench = Bench::new(5);
        filled(&mut bench);
        let answers = bench.answers();
        let no = |query: SegmentQuery, said: &str| {
            let why = answers.segment(&query).unwrap_err().to_string();
            assert!(why.contains(said), "{why}");
        };
        no(SegmentQuery { hash: Some("00".repeat(32)), batch: None }, "names the archive segment 0000");
        no(SegmentQuery { hash: None, batch: Some(99) }, "carries batch 99");
        no(SegmentQuery::default(), "either");
    }
}
