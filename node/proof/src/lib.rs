//! The proof: one file that shows a stranger, offline and years later, that a reading was signed by a gateway,
//! at this place of its order, unchanged, and that the gateway belongs to a network.
//!
//! [`Proof::make`] puts the file together, [`verify`] follows its links and gives a [`Verdict`], in words
//! ([`Verdict::words`]) and as JSON (`serde::Serialize`), or the [`Refusal`] that names the link that does not
//! hold. Nothing here knows a store, a network or a clock.
//!
//! Where things are: the format in `file`, the links in `walk`, what they show in `verdict`, the sentences in
//! `words`; the value that people read comes from [`selvedge_core::scaled`].
#![warn(missing_docs)]

mod file;
mod ids;
mod refusal;
mod times;
mod verdict;
mod verify;
mod walk;
mod words;

use selvedge_core::scaled;

pub use file::{MAGIC, PATH_HASHES_MAX, PROOF_BYTES_MAX, Parts, Proof, ROTATIONS_MAX, VERSION};
pub use refusal::{Link, MakeError, Refusal, RefusalReport};
pub use selvedge_core::scaled::{scaled, unit_text};
pub use times::{rfc3339, rfc3339_ms};
pub use verdict::{
    BatchShown, IssuerShown, KeyNamed, KeyShown, LeafShown, NamedBy, NetworkShown, NotShown, Outcome,
    ReadingShown, SignatureShown, TransactionShown, Trusted, Verdict,
};
pub use verify::{Trust, verify};
