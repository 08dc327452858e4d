//! The hash over a run: every input of every core with its time, kind and size, and the ids of what is attached. Ids
//! commit to bodies, so frames need not be hashed as a whole; signatures no id commits to, and they are left out.

use selvedge_core::Id;

/// Bytes gathered before they are hashed: BLAKE3 is fast on long inputs only.
const GATHERED_BYTES: usize = 16 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Trace {
    hasher: blake3::Hasher,
    gathered: Vec<u8>,
}

impl Trace {
    pub(super) fn new() -> Self {
        let hasher = blake3::Hasher::new_derive_key("selvedge-sim v0 network trace");
        Self { hasher, gathered: Vec::with_capacity(GATHERED_BYTES) }
    }

    /// An input of a core: which, and of what size.
    pub(super) fn input(&mut self, time_us: u64, gateway: u32, kind: u8, size: usize) {
        let mut bytes = [0; 17];
        bytes[..8].copy_from_slice(&time_us.to_le_bytes());
        bytes[8..12].copy_from_slice(&gateway.to_le_bytes());
        bytes[12] = kind;
        bytes[13..].copy_from_slice(&(size as u32).to_le_bytes());
        self.add(&bytes);
    }

    /// A core attached this, in the input that was noted last.
    pub(super) fn attached(&mut self, id: &Id) {
        let mut bytes = [u8::MAX; 33];
        bytes[1..].copy_from_slice(id.as_bytes());
        self.add(&bytes);
    }

    fn add(&mut self, bytes: &[u8]) {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= GATHERED_BYTES - 64 {
            self.hasher.update(&self.gathered);
            self.gathered.clear();
        }
    }

    pub(super) fn hash(&mut self) -> String {
        self.hasher.update(&std::mem::take(&mut self.gathered));
        self.hasher.finalize().to_hex().to_string()
    }
}
