//! Is the key in force here?
//!
//! An image from before a key rotation takes its chain back from its peers, and with it a key that the image does not
//! hold. A node that asked for a signature with it would halt, and so would each start after that; readings would be
//! lost for want of a key that they do not need. So they are journaled, and nothing is issued until the key is here.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::border::{Effect, Event, Silence};
use crate::genesis::PublicKey;
use crate::issuers::Chain;

use super::Node;

/// The keys that can sign here.
#[derive(Debug)]
pub(super) struct OwnKeys {
    /// `None`: all that the own chain names.
    held: Option<Vec<PublicKey>>,
    /// Number of the key in force, when it is not held. Kept, since it is asked for with every input.
    missing: Option<u32>,
    /// Was that said?
    is_said: bool,
    /// Does the network know a key of this node? Kept for the same reason.
    is_known: bool,
}

impl OwnKeys {
    pub(super) fn new(held: Option<Vec<PublicKey>>, own: Option<&Chain>) -> Self {
        let mut keys = Self { held, missing: None, is_said: false, is_known: false };
        keys.look(own);
        keys
    }

    /// Number of the key in force, when it is not here.
    pub(super) const fn missing(&self) -> Option<u32> {
        self.missing
    }

    /// Does the network know a key of this node?
    pub(super) const fn is_known(&self) -> bool {
        self.is_known
    }

    /// From now on this key can sign.
    pub(super) fn hold(&mut self, key: &Arc<PublicKey>) {
        if let Some(held) = &mut self.held
            && !held.contains(key)
        {
            held.push(key.as_ref().clone());
        }
    }

    /// The own chain names other keys than before.
    pub(super) fn look(&mut self, own: Option<&Chain>) {
        // The newest one, as for a draft: an own chain has one branch.
        let in_force = own.and_then(|chain| chain.keys.last());
        self.is_known = in_force.is_some();
        let is_held = |key: &PublicKey| self.held.as_ref().is_none_or(|held| held.contains(key));
        self.missing = in_force.filter(|key| !is_held(&key.key)).map(|key| key.key_number);
        self.is_said &= self.missing.is_some();
    }
}

impl Node {
    /// Says that the key in force is not here, once that is why nothing is issued.
    pub(super) fn say_missing_key(&mut self, out: &mut Vec<Effect>) {
        if self.own_keys.missing.is_some()
            && !self.own_keys.is_said
            && matches!(self.silence(), Some(Silence::KeyMissing { .. }))
        {
            self.own_keys.is_said = true;
            out.push(Effect::Emit(Event::Silent));
        }
    }
}
