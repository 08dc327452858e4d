//! What a hostile member knows: a key, and the network that it is a member of.

use std::path::Path;
use std::sync::Arc;

use selvedge::folder::Folder;
use selvedge_core::genesis::Genesis;
use selvedge_core::{Issuer, Network, Scheme};
use selvedge_crypto::{SecretKey, Signer};

/// A key in a network. It need not be a member's.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The network.
    pub network: Network,
    /// Its genesis.
    pub genesis: Arc<Genesis>,
    /// Signs, in handshakes and transactions.
    pub signer: Arc<dyn Signer>,
}

impl Identity {
    /// The member whose data folder this is.
    pub fn of_folder(path: &Path) -> Self {
        let folder = Folder::open(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        let key = folder.gateway_key(None).expect("the member's key, not sealed");
        let signer = selvedge_crypto::signer(&key).expect("a key");
        Self { network: folder.network().clone(), genesis: folder.genesis(), signer }
    }

    /// The same network, as somebody with a key that nobody let in.
    pub fn stranger(&self, seed: u64) -> Self {
        let mut bytes = [0xEE; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let key = SecretKey::from_seed(Scheme::MlDsa44, &bytes);
        Self { signer: selvedge_crypto::signer(&key).expect("a key"), ..self.clone() }
    }

    /// Who it is.
    pub fn issuer(&self) -> Issuer {
        self.signer.public_key().issuer()
    }

    /// The members of the genesis whose names begin with this.
    pub fn members(&self, begin: &str) -> Vec<Issuer> {
        let members = self.genesis.members.iter().filter(|m| m.name.starts_with(begin));
        members.map(|m| m.key.issuer()).collect()
    }
}
