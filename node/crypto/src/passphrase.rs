//! Bytes sealed with a passphrase: Argon2id (RFC 9106) makes a key of it, ChaCha20-Poly1305 (RFC 8439) seals.
//!
//! ChaCha20, because it is fast and constant in time on the processors that lack AES instructions (Raspberry
//! Pi 3 and 4). The format, numbers little-endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `svsealed` |
//! | 8 | 1 | version, 1 |
//! | 9 | 4 | Argon2id: memory, in KiB |
//! | 13 | 4 | Argon2id: passes |
//! | 17 | 4 | Argon2id: lanes |
//! | 21 | 16 | salt |
//! | 37 | 12 | nonce |
//! | 49 | n + 16 | the sealed bytes and their tag; all before is authenticated with them |
//! | 65 + n | 16 | checksum over all before (BLAKE3) |
//!
//! The checksum needs no passphrase: where it fits and the tag does not, the passphrase is wrong. (Or somebody
//! altered the bytes on purpose and made a new checksum: no format can tell the two apart.)

use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use selvedge_core::hash::derive;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::RandomnessError;

/// Longest content that is sealed or opened, in bytes.
pub const CONTENT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest passphrase, in bytes of UTF-8.
pub const PASSPHRASE_BYTES_MAX: usize = 1_024;
/// Most memory that opening may ask for, in KiB: what a gateway with 1 GiB can spare while it runs.
pub const MEMORY_KIB_MAX: u32 = 128 * 1024;
/// Most passes over that memory.
pub const PASSES_MAX: u32 = 16;
/// Most lanes.
pub const LANES_MAX: u32 = 4;

/// What is sealed is longer by this many bytes.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + TAG_BYTES + CHECKSUM_BYTES;

const MAGIC: &[u8; 8] = b"svsealed";
const VERSION: u8 = 1;
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
const HEADER_BYTES: usize = 8 + 1 + 12 + SALT_BYTES + NONCE_BYTES;
const TAG_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 16;
const CHECKSUM_CONTEXT: &str = "selvedge v0 sealed checksum";

const _: () = {
    assert!(HEADER_BYTES == 49);
    assert!(Cost::DEFAULT.memory_kib <= MEMORY_KIB_MAX);
    assert!(Cost::DEFAULT.passes <= PASSES_MAX && Cost::DEFAULT.lanes <= LANES_MAX);
};

/// Why something was not sealed or not opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PassphraseError {
    /// No passphrase at all.
    #[error("the passphrase is empty; expected at least one character")]
    Empty,
    /// The passphrase is longer than anybody types.
    #[error("the passphrase has {got} bytes, expected at most {PASSPHRASE_BYTES_MAX}")]
    PassphraseTooLong {
        /// Its length.
        got: usize,
    },
    /// The content is too long.
    #[error("{got} bytes of content, expected at most {CONTENT_BYTES_MAX}")]
    TooLong {
        /// Its length.
        got: usize,
    },
    /// Shorter than the shortest sealed content.
    #[error("cut short: {got} bytes, expected at least {OVERHEAD_BYTES}; use another copy")]
    TooShort {
        /// Its length.
        got: usize,
    },
    /// It does not begin as sealed bytes do.
    #[error("not sealed by Selvedge: expected it to begin with \"svsealed\"")]
    NotSealed,
    /// Of a version that this program does not know.
    #[error("sealed in version {0}, expected version {VERSION}; open it with a newer Selvedge")]
    Version(u8),
    /// A parameter of Argon2id is out of bounds.
    #[error("Argon2id {what} is {got}, expected {least} to {most}")]
    Cost {
        /// Which.
        what: &'static str,
        /// Its value.
        got: u32,
        /// The least.
        least: u32,
        /// The most.
        most: u32,
    },
    /// The checksum does not fit: bytes were changed or lost.
    #[error("damaged: its checksum does not fit its content; the passphrase was not tried, use another copy")]
    Damaged,
    /// Undamaged, but this passphrase does not open it.
    #[error("wrong passphrase: the content is undamaged, but this passphrase does not open it")]
    WrongPassphrase,
    /// Argon2id did not get its memory.
    #[error("Argon2id could not get {memory_kib} KiB of memory; free some and try again")]
    Memory {
        /// How much, in KiB.
        memory_kib: u32,
    },
    /// The operating system gave no randomness.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
}

/// What deriving a key costs. Stands in what is sealed, so it can be raised later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// RFC 9106, section 4, the second recommendation (64 MiB, 3 passes), in one lane: this Argon2 computes its
    /// lanes one after the other, so more of them would help nobody but an attacker.
    pub(crate) const DEFAULT: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 };
    /// The least there is: for tests only.
    #[cfg(test)]
    pub(crate) const LEAST: Self = Self { memory_kib: 8, passes: 1, lanes: 1 };

    fn check(self) -> Result<(), PassphraseError> {
        let bounds = [
            ("lanes", self.lanes, 1, LANES_MAX),
            ("passes", self.passes, 1, PASSES_MAX),
            ("memory in KiB", self.memory_kib, 8, MEMORY_KIB_MAX),
        ];
        for (what, got, least, most) in bounds {
            if !(least..=most).contains(&got) {
                return Err(PassphraseError::Cost { what, got, least, most });
            }
        }
        let least = 8 * self.lanes;
        if self.memory_kib < least {
            let got = self.memory_kib;
            return Err(PassphraseError::Cost { what: "memory in KiB", got, least, most: MEMORY_KIB_MAX });
        }
        Ok(())
    }

    fn key(self, passphrase: &str, salt: &[u8]) -> Result<LessSafeKey, PassphraseError> {
        let memory = PassphraseError::Memory { memory_kib: self.memory_kib };
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32))
            .expect("the bounds were checked, and Argon2's own are wider");
        // Our own memory: Argon2's would be given back with what it was computed from still in it.
        let mut blocks = Zeroizing::new(Vec::new());
        blocks.try_reserve_exact(params.block_count()).map_err(|_| memory.clone())?;
        blocks.resize(params.block_count(), Block::new());
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(passphrase.as_bytes(), salt, key.as_mut_slice(), &mut *blocks)
            .map_err(|_| memory.clone())?;
        // With a key of 32 bytes only a lack of memory can make it fail.
        UnboundKey::new(&CHACHA20_POLY1305, key.as_slice()).map(LessSafeKey::new).map_err(|_| memory)
    }
}

/// `content` sealed with `passphrase`. Takes about a third of a second on a desktop and 64 MiB of memory, on
/// purpose.
///
/// The passphrase is taken as its UTF-8 bytes, unchanged.
///
/// # Errors
/// When passphrase or content are empty or too long, or memory or randomness are lacking.
pub fn seal_with_passphrase(content: &[u8], passphrase: &str) -> Result<Vec<u8>, PassphraseError> {
    seal_at_cost(content, passphrase, Cost::DEFAULT)
}

pub(crate) fn seal_at_cost(content: &[u8], passphrase: &str, cost: Cost) -> Result<Vec<u8>, PassphraseError> {
    check_passphrase(passphrase)?;
    if content.len() > CONTENT_BYTES_MAX {
        return Err(PassphraseError::TooLong { got: content.len() });
    }
    let mut random = [0; SALT_BYTES + NONCE_BYTES];
    getrandom::fill(&mut random).map_err(RandomnessError)?;
    let header = Header { cost, random };
    let coded = header.to_bytes();
    let key = cost.key(passphrase, header.salt())?;

    // Room for all of it from the start: growing would leave a copy of the content behind.
    let mut sealed = Vec::with_capacity(content.len() + OVERHEAD_BYTES);
    sealed.extend_from_slice(&coded);
    sealed.extend_from_slice(content);
    let tag = key
        .seal_in_place_separate_tag(header.nonce(), Aad::from(coded), &mut sealed[HEADER_BYTES..])
        .expect("16 MiB are within what ChaCha20-Poly1305 seals with one nonce");
    sealed.extend_from_slice(tag.as_ref());
    let checksum = checksum(&sealed);
    sealed.extend_from_slice(&checksum);
    Ok(sealed)
}

/// What [`seal_with_passphrase`] sealed.
///
/// # Errors
/// Says whether the passphrase is wrong or the bytes are damaged. Argon2id runs only on bytes whose checksum
/// fits and whose parameters are within bounds.
pub fn open_with_passphrase(sealed: &[u8], passphrase: &str) -> Result<Zeroizing<Vec<u8>>, PassphraseError> {
    check_passphrase(passphrase)?;
    let (header, rest) = Header::read(sealed)?;
    let (ciphertext, found) = rest.split_at(rest.len() - CHECKSUM_BYTES);
    if checksum(&sealed[..sealed.len() - CHECKSUM_BYTES]) != found {
        return Err(PassphraseError::Damaged);
    }
    header.cost.check()?;
    let key = header.cost.key(passphrase, header.salt())?;
    let mut content = Zeroizing::new(ciphertext.to_vec());
    let length = key
        .open_in_place(header.nonce(), Aad::from(header.to_bytes()), &mut content)
        .map_err(|_| PassphraseError::WrongPassphrase)?
        .len();
    content.truncate(length);
    Ok(content)
}

fn check_passphrase(passphrase: &str) -> Result<(), PassphraseError> {
    match passphrase.len() {
        0 => Err(PassphraseError::Empty),
        got if got > PASSPHRASE_BYTES_MAX => Err(PassphraseError::PassphraseTooLong { got }),
        _ => Ok(()),
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = derive(CHECKSUM_CONTEXT, bytes);
    *hash.first_chunk().expect("a hash is longer than the checksum")
}

/// What stands before the sealed bytes.
struct Header {
    cost: Cost,
    /// Salt, then nonce.
    random: [u8; SALT_BYTES + NONCE_BYTES],
}

impl Header {
    fn salt(&self) -> &[u8] {
        &self.random[..SALT_BYTES]
    }

    fn nonce(&self) -> Nonce {
        let nonce =
            self.random.last_chunk::<NONCE_BYTES>().expect("salt and nonce are longer than the nonce");
        Nonce::assume_unique_for_key(*nonce)
    }

    fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8] = VERSION;
        for (place, number) in [(9, self.cost.memory_kib), (13, self.cost.passes), (17, self.cost.lanes)] {
            bytes[place..place + 4].copy_from_slice(&number.to_le_bytes());
        }
        bytes[21..].copy_from_slice(&self.random);
        bytes
    }

    /// The header, and what follows it: at least a tag and a checksum.
    fn read(sealed: &[u8]) -> Result<(Self, &[u8]), PassphraseError> {
        if !sealed.starts_with(&MAGIC[..sealed.len().min(8)]) {
            return Err(PassphraseError::NotSealed);
        }
        let got = sealed.len();
        let (header, rest) =
            sealed.split_first_chunk::<HEADER_BYTES>().ok_or(PassphraseError::TooShort { got })?;
        if header[8] != VERSION {
            return Err(PassphraseError::Version(header[8]));
        }
        if got < OVERHEAD_BYTES {
            return Err(PassphraseError::TooShort { got });
        }
        if got > CONTENT_BYTES_MAX + OVERHEAD_BYTES {
            return Err(PassphraseError::TooLong { got: got - OVERHEAD_BYTES });
        }
        let number = |place: usize| {
            u32::from_le_bytes([header[place], header[place + 1], header[place + 2], header[place + 3]])
        };
        let cost = Cost { memory_kib: number(9), passes: number(13), lanes: number(17) };
        let random = *header.last_chunk().expect("the header ends with salt and nonce");
        Ok((Self { cost, random }, rest))
    }
}

#[cfg(test)]
mod tests;
