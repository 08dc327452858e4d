//! The keys that sign for this gateway, by their number on its chain.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use selvedge_crypto::Signer;

/// The keys. Clones share them: one that `key rotate` brings while the node runs is there for all.
#[derive(Debug, Clone)]
pub struct SigningKeys {
    by_number: Arc<RwLock<BTreeMap<u32, Arc<dyn Signer>>>>,
}

impl SigningKeys {
    /// These keys, with the numbers 0, 1, ….
    pub fn new(keys: impl IntoIterator<Item = Arc<dyn Signer>>) -> Self {
        Self { by_number: Arc::new(RwLock::new((0..).zip(keys).collect())) }
    }

    /// The key of this number.
    pub fn get(&self, number: u32) -> Option<Arc<dyn Signer>> {
        self.by_number.read().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
    }

    /// From now on there is this key too. One that is there is not exchanged: the chain names it.
    pub fn add(&self, number: u32, key: Arc<dyn Signer>) {
        self.by_number.write().unwrap_or_else(PoisonError::into_inner).entry(number).or_insert(key);
    }
}
