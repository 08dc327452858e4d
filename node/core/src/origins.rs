//! Where acknowledged readings came from: the newest few messages of each source, so that one which comes again because
//! its acknowledgement was lost is known.
//!
//! The journal keeps them beside the readings. It is freed batch by batch, so the first record of each batch holds the
//! whole window once more: whoever has the newest batch, and what came before it, has the window. The window is bounded:
//! [`ORIGINS_HELD_MAX`] messages of each of [`ORIGIN_SOURCES_MAX`] sources; of more sources, the one that was silent for
//! longest is forgotten.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::border::Origin;
use crate::limits::{ORIGIN_SOURCES_MAX, ORIGINS_HELD_MAX};

/// The window. See the [module](self).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    /// The source that was heard last stands last; of each the oldest message first.
    sources: Vec<VecDeque<Origin>>,
}

impl Origins {
    /// The messages in this order, as [`all`](Self::all) or the journal's records give them.
    pub fn extend<'a>(&mut self, origins: impl IntoIterator<Item = &'a Origin>) {
        for origin in origins {
            self.push(*origin);
        }
    }

    /// One more message. One that is held already moves to the end, so replaying a window over itself changes nothing.
    pub fn push(&mut self, origin: Origin) {
        let of_source = |held: &VecDeque<Origin>| held.front().is_some_and(|o| o.source == origin.source);
        let mut held = match self.sources.iter().rposition(of_source) {
            Some(at) => self.sources.remove(at),
            None => VecDeque::new(),
        };
        if let Some(at) = held.iter().position(|o| *o == origin) {
            held.remove(at);
        }
        held.push_back(origin);
        if held.len() > ORIGINS_HELD_MAX {
            held.pop_front();
        }
        self.sources.push(held);
        if self.sources.len() > ORIGIN_SOURCES_MAX {
            self.sources.remove(0);
        }
    }

    /// All messages, so that [`extend`](Self::extend) gives the same window again.
    pub fn all(&self) -> Vec<Origin> {
        self.sources.iter().flatten().copied().collect()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }
}
