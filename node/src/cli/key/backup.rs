//! The file that `key backup` writes: what it holds before it is sealed.

use anyhow::Context as _;
use selvedge_core::codec::{self, Canonical, CodecError};
use selvedge_core::{Issuer, Scheme, limits};
use selvedge_crypto::SecretKey;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use zeroize::Zeroize;

use crate::folder::{KEYS_MAX, SALT_KEY_BYTES};

/// What a backup holds, before it is sealed.
#[derive(Serialize, Deserialize)]
pub(super) struct Backup {
    pub(super) version: u8,
    #[serde(with = "serde_bytes")]
    pub(super) genesis: Vec<u8>,
    /// The encoded enrolment of a gateway that the genesis does not name.
    pub(super) enrolment: Option<ByteBuf>,
    /// By number; the first founds the identity.
    pub(super) gateway: Vec<Seed>,
    pub(super) organisation: Option<Seed>,
    pub(super) salt_key: [u8; SALT_KEY_BYTES],
}

/// A backup as written before there were several keys.
#[derive(Serialize, Deserialize)]
struct BackupV0 {
    version: u8,
    #[serde(with = "serde_bytes")]
    genesis: Vec<u8>,
    gateway: Seed,
    organisation: Option<Seed>,
    salt_key: [u8; SALT_KEY_BYTES],
}

#[derive(Serialize, Deserialize)]
pub(super) struct Seed {
    pub(super) scheme: Scheme,
    pub(super) seed: [u8; 32],
}

impl Drop for Seed {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

impl Drop for Backup {
    fn drop(&mut self) {
        self.salt_key.zeroize();
    }
}

impl Canonical for Backup {
    const WHAT: &'static str = "key backup";
    const BYTES_MAX: usize = limits::GENESIS_BYTES_MAX + 16 * 1024 + KEYS_MAX as usize * 40;

    fn check(&self) -> Result<(), &'static str> {
        match (self.version, self.gateway.len()) {
            (1, 1..) => Ok(()),
            (1, 0) => Err("it holds no key of the gateway"),
            _ => Err("its version is not 1"),
        }
    }
}

impl Canonical for BackupV0 {
    const WHAT: &'static str = "key backup";
    const BYTES_MAX: usize = limits::GENESIS_BYTES_MAX + 256;

    fn check(&self) -> Result<(), &'static str> {
        if self.version == 0 { Ok(()) } else { Err("its version is not 0") }
    }
}

impl From<BackupV0> for Backup {
    fn from(old: BackupV0) -> Self {
        let BackupV0 { genesis, gateway, organisation, salt_key, .. } = old;
        Self { version: 1, genesis, enrolment: None, gateway: vec![gateway], organisation, salt_key }
    }
}

impl Backup {
    /// The gateway's keys, by number.
    pub(super) fn gateway_keys(&self) -> Vec<SecretKey> {
        self.gateway.iter().map(|seed| SecretKey::from_seed(seed.scheme, &seed.seed)).collect()
    }
    pub(super) fn organisation_key(&self) -> Option<SecretKey> {
        self.organisation.as_ref().map(|seed| SecretKey::from_seed(seed.scheme, &seed.seed))
    }
    /// The identity that the first key founds.
    pub(super) fn issuer(&self) -> anyhow::Result<Issuer> {
        let first =
            self.gateway_keys().into_iter().next().context("the backup holds no key of the gateway")?;
        Ok(selvedge_crypto::signer(&first)?.public_key().issuer())
    }

    /// The backup in what was sealed, of this version or the one before.
    pub(super) fn decode(content: &[u8]) -> Result<Self, CodecError> {
        match content.first() {
            Some(0) => codec::decode::<BackupV0>(content).map(Self::from),
            _ => codec::decode::<Self>(content),
        }
    }
}

impl From<&SecretKey> for Seed {
    fn from(key: &SecretKey) -> Self {
        Self { scheme: key.scheme(), seed: *key.seed() }
    }
}

#[cfg(test)]
mod tests {
    use selvedge_core::random::Random;

    use super::*;
    use crate::folder::testing::{cases, mutated};

    fn backup(keys: u8) -> Backup {
        let seed = |n| Seed { scheme: Scheme::MlDsa44, seed: [n; 32] };
        Backup {
            version: 1,
            genesis: vec![7; 300],
            enrolment: Some(ByteBuf::from(vec![8; 300])),
            gateway: (0..keys).map(seed).collect(),
            organisation: Some(Seed { scheme: Scheme::MlDsa65, seed: [9; 32] }),
            salt_key: [5; SALT_KEY_BYTES],
        }
    }

    #[test]
    fn backups_come_back_those_of_the_version_before_too() {
        let bytes = codec::encode(&backup(3));
        let read = Backup::decode(&bytes).expect("a backup");
        assert_eq!(codec::encode(&read), bytes);
        assert_eq!(read.gateway_keys().len(), 3);
        let old = BackupV0 {
            version: 0,
            genesis: vec![7; 300],
            gateway: Seed { scheme: Scheme::MlDsa44, seed: [1; 32] },
            organisation: None,
            salt_key: [5; SALT_KEY_BYTES],
        };
        let read = Backup::decode(&codec::encode(&old)).expect("a backup of version 0");
        assert_eq!((read.version, read.gateway.len(), read.enrolment.is_none()), (1, 1, true));
        assert_eq!(read.gateway[0].seed, [1; 32]);
        assert!(Backup::decode(&codec::encode(&backup(0))).is_err(), "a backup without a key");
        assert!(Backup::decode(b"").is_err());
    }

    #[test]
    fn no_bytes_make_the_decoder_of_backups_panic() {
        println!("seed 0xC5, {} cases", cases());
        let bytes = codec::encode(&backup(3));
        let mut random = Random::new(&[0xC5; 32]);
        let mut decoded = 0;
        for _ in 0..cases() {
            let changed = mutated(&bytes, &mut random);
            if let Ok(read) = codec::decode::<Backup>(&changed) {
                decoded += 1;
                assert_eq!(codec::encode(&read), changed);
            }
            // Version 0 is read as well.
            let _ = Backup::decode(&changed);
        }
        assert!(decoded > 0);
    }
}
