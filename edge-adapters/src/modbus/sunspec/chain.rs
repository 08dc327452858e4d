//! The walk from model to model. It says what is to be read and takes what was read; bad devices end it, with a reason.

use super::{END, MARK};

/// Longest chain that is followed. The longest device known here has 20 models.
pub const MODELS_MAX: usize = 200;

/// Registers of a model's head: id and length.
pub const HEAD: u16 = 2;

/// A model in a chain: its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Which model.
    pub id: u16,
    /// The register that holds its id.
    pub address: u16,
    /// Registers after its head.
    pub length: u16,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The head of a model is to be read here.
    Head(u16),
    /// The chain has ended as it should.
    End,
    /// The chain cannot be followed: why.
    Broken(String),
}

/// A walk under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    links: Vec<Link>,
    next: Next,
}

impl Walk {
    /// Starts a walk, if these first two registers at `base` are the mark of a chain.
    pub fn start(base: u16, words: &[u16]) -> Option<Self> {
        if words != MARK {
            return None;
        }
        Some(Self { links: Vec::new(), next: after(u32::from(base) + MARK.len() as u32) })
    }

    /// What comes next.
    pub const fn next(&self) -> &Next {
        &self.next
    }

    /// The models so far.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Takes the head that [`next`](Self::next) asked for. Some devices end with the id alone, so `length` may be
    /// missing there.
    pub fn head(&mut self, id: u16, length: Option<u16>) {
        let Next::Head(address) = self.next else { return };
        if id == END {
            self.next = Next::End;
            return;
        }
        let Some(length) = length else {
            self.broken(format!("the length of model {id}, at {}, cannot be read", u32::from(address) + 1));
            return;
        };
        if id == 0 {
            // Registers that nobody filled: from here each step would find the next such model.
            self.broken(format!(
                "model id 0 at {address}, which no model has; the end mark 0xFFFF is missing"
            ));
            return;
        }
        let end = u32::from(address) + u32::from(HEAD) + u32::from(length);
        if end > 0x1_0000 {
            self.broken(format!(
                "model {id} at {address} has a length of {length}, beyond the last register 65535"
            ));
            return;
        }
        self.links.push(Link { id, address, length });
        self.next = if self.links.len() < MODELS_MAX {
            after(end)
        } else {
            Next::Broken(format!("no end mark 0xFFFF after {MODELS_MAX} models"))
        };
    }

    /// The head could not be read: why.
    pub fn unreadable(&mut self, why: &str) {
        if let Next::Head(address) = self.next {
            self.broken(format!("{address} cannot be read ({why}); the end mark 0xFFFF is missing"));
        }
    }

    fn broken(&mut self, why: String) {
        self.next = Next::Broken(why);
    }
}

/// The place of a head, if there is one.
fn after(address: u32) -> Next {
    u16::try_from(address)
        .map_or_else(|_| Next::Broken("the registers end before the end mark 0xFFFF".to_owned()), Next::Head)
}
