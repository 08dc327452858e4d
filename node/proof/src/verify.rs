//! The one function behind every "verified": structure first, then every signature.

use selvedge_core::hash::NetworkId;
use selvedge_crypto::Verifier;

use crate::file::Proof;
use crate::refusal::Refusal;
use crate::verdict::Verdict;
use crate::walk::walk;

/// Which network the verifier trusts. Everybody can invent a whole network with the same names, so without an
/// id from elsewhere a proof shows only that it hangs together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust<'a> {
    /// The network with this id.
    Network(NetworkId),
    /// The network that this genesis founds.
    Genesis(&'a [u8]),
    /// None: everything else is checked, and the verdict is [`Outcome::Consistent`](crate::Outcome::Consistent).
    Nobody,
}

/// Follows all links of the proof file `bytes`, from the reading to the network that `trust` names.
///
/// # Errors
/// The first link that does not hold: form and network first, then what the bytes show, then the signatures.
pub fn verify(bytes: &[u8], trust: Trust<'_>, verifier: &dyn Verifier) -> Result<Verdict, Refusal> {
    let proof = Proof::from_bytes(bytes)?;
    let walked = walk(&proof, trust)?;
    for due in walked.due {
        if !verifier.verify(&due.key, &due.message, &due.signature) {
            return Err(Refusal::Signature { link: due.link, scheme: due.key.scheme, key: due.whose });
        }
    }
    Ok(walked.verdict)
}
