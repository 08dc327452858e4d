//! The addresses of one member, the most credible first.

use std::fmt;
use std::net::SocketAddr;

use crate::net::limits::ADDRESSES_PER_MEMBER;

/// How an address was learnt; later ones are more credible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// Another member said so.
    Told,
    /// It came from there. One socket serves both directions, so it is where it can be reached, unless a router in
    /// between translates addresses.
    Hint,
    /// It says so itself.
    Own,
    /// It answered there.
    Dialled,
}

/// See the head of this file.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    list: Vec<(SocketAddr, Source)>,
}

impl Places {
    /// Adds an address, or learns more about one. A full list loses its least credible one, if the new one is at least
    /// as credible. True when an address is new.
    pub(super) fn add(&mut self, at: SocketAddr, source: Source) -> bool {
        if let Some(held) = self.list.iter_mut().find(|(held, _)| *held == at) {
            held.1 = held.1.max(source);
            self.sort();
            return false;
        }
        if source == Source::Hint {
            // Ports behind a router change with each connection: the newest hint is the only one.
            self.list.retain(|(_, held)| *held != Source::Hint);
        }
        if self.list.len() >= ADDRESSES_PER_MEMBER {
            if self.list.last().is_some_and(|(_, least)| *least > source) {
                return false;
            }
            self.list.pop();
        }
        self.list.push((at, source));
        self.sort();
        true
    }

    fn sort(&mut self) {
        self.list.sort_by_key(|(_, source)| std::cmp::Reverse(*source));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn best(&self) -> Option<(SocketAddr, Source)> {
        self.list.first().copied()
    }

    pub(super) fn in_order(&self) -> Vec<SocketAddr> {
        self.list.iter().map(|(at, _)| *at).collect()
    }
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (at, _)) in self.list.iter().enumerate() {
            write!(f, "{}{at}", if place == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
