//! `key list`: the keys that this gateway's own chain names, and which of them is in force.

use selvedge_core::record::GENESIS_NUMBER;
use selvedge_crypto::ids;
use serde::{Deserialize, Serialize};

use super::shown::Time;
use super::{Answers, AskError};

/// The keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysAnswer {
    /// When it was asked.
    pub asked: Time,
    /// By number. Empty for a gateway that the genesis does not name, until its enrolment is in the ledger.
    pub keys: Vec<KeyAnswer>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyAnswer {
    /// Its number.
    pub number: u32,
    /// Its scheme.
    pub scheme: String,
    /// Sequence of the own transaction that names it; `None`: the genesis does.
    pub named_at: Option<u64>,
    /// Id of that transaction.
    pub named_by: Option<String>,
    /// Does it sign what this gateway issues?
    pub in_force: bool,
}

impl Answers {
    /// The keys of this gateway.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn keys(&self, asked: Time) -> Result<KeysAnswer, AskError> {
        let mut keys = Vec::new();
        if let Some(member) = self.facts.genesis.member(self.facts.issuer) {
            let scheme = member.key.scheme.name().to_owned();
            keys.push(KeyAnswer { number: 0, scheme, named_at: None, named_by: None, in_force: false });
        }
        let own = self.reader.issuer_state(&self.facts.issuer)?;
        for key in own.into_iter().flat_map(|own| own.keys).filter(|k| k.brought_by != GENESIS_NUMBER) {
            let record = self.reader.record(key.brought_by)?;
            keys.push(KeyAnswer {
                number: key.key_number,
                scheme: key.key.scheme.name().to_owned(),
                named_at: record.as_ref().map(|record| record.sequence),
                named_by: record.as_ref().map(|record| ids::to_text(&record.id)),
                in_force: false,
            });
        }
        keys.sort_by_key(|key| key.number);
        if let Some(newest) = keys.last_mut() {
            newest.in_force = true;
        }
        Ok(KeysAnswer { asked, keys })
    }
}
