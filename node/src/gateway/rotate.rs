//! `key rotate` on a running gateway: the next key's file is durable first, then the `Rotate` is issued with the key in
//! force; only when it is durable is the new key in force ([`crate::rotate`]).

use std::sync::Arc;

use selvedge_core::border::Outcome;
use selvedge_core::payload::PayloadKind;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::answers::AskError;
use crate::engine::{Engine, SigningKeys};
use crate::folder::Folder;
use crate::rotate;
use crate::store::StoreReader;

/// What came of a rotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateAnswer {
    /// Number of the key that is in force from now on.
    pub number: u32,
    /// Where it lies.
    pub file: String,
}

/// Rotates the key of a running gateway, one rotation at a time.
pub struct Rotator {
    folder: Folder,
    passphrase: Option<Zeroizing<String>>,
    keys: SigningKeys,
    engine: Engine,
    reader: StoreReader,
    turn: Mutex<()>,
}

impl std::fmt::Debug for Rotator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the passphrase.
        f.debug_struct("Rotator").field("folder", &self.folder.path()).finish_non_exhaustive()
    }
}

impl Rotator {
    pub(super) fn new(folder: &Folder, passphrase: Option<&str>, keys: SigningKeys, engine: &Engine) -> Self {
        Self {
            folder: folder.clone(),
            passphrase: passphrase.map(|p| Zeroizing::new(p.to_owned())),
            keys,
            engine: engine.clone(),
            reader: engine.reader(),
            turn: Mutex::new(()),
        }
    }

    /// Makes the next key and has the chain name it. Returns when that is durable.
    ///
    /// # Errors
    /// When the keys in the folder do not fit the chain, the key file cannot be written, or the node issues nothing.
    pub async fn rotate(self: Arc<Self>) -> Result<RotateAnswer, AskError> {
        let _turn = self.turn.lock().await;
        let failed = |why: String| AskError::Refused { why };
        if let Some(why) = self.engine.snapshot().borrow().ledger.silence {
            // Before the file is made: the chain that is still to come back may name another key with this number.
            return Err(failed(format!("this node issues no transactions: {why}")));
        }
        let this = Arc::clone(&self);
        let prepared = tokio::task::spawn_blocking(move || {
            let own = this.reader.issuer_state(&this.folder.issuer()).map_err(|why| why.to_string())?;
            let in_force = own.and_then(|own| own.keys.last().map(|key| key.key_number)).unwrap_or(0);
            let passphrase = this.passphrase.as_ref().map(|p| p.as_str());
            let prepared =
                rotate::prepare(&this.folder, in_force, passphrase).map_err(|why| why.to_string())?;
            let signer = selvedge_crypto::signer(&prepared.key).map_err(|why| why.to_string())?;
            // Before the chain names it: from the moment it is durable on, everything is signed with it.
            this.keys.add(prepared.number, signer);
            Ok((prepared.number, prepared.file, prepared.payload))
        });
        let (number, file, payload) = match prepared.await {
            Ok(prepared) => prepared.map_err(failed)?,
            Err(why) => return Err(failed(format!("the rotation failed: {why}"))),
        };
        match self.engine.issue(PayloadKind::Rotate as u16, payload).await {
            Ok(Outcome::Durable) => Ok(RotateAnswer { number, file: file.display().to_string() }),
            Ok(Outcome::Refused(why)) => Err(failed(format!(
                "{why}. The new key lies in {} and is not in force; the next rotation takes it",
                file.display()
            ))),
            Ok(Outcome::Unknown) | Err(_) => Err(failed(
                "the node stopped before it said whether the new key is in force; after its next start `selvedge key \
                 show` says which is"
                    .into(),
            )),
        }
    }
}
