//! The data folders of a network: honest members `g1`, `g2`, …, and hostile ones.

use std::path::{Path, PathBuf};

use selvedge::folder::{Contents, Folder};
use selvedge_core::codec::Canonical as _;
use selvedge_core::genesis::{Genesis, Member, Organisation, role};
use selvedge_core::{Network, Scheme};
use selvedge_crypto::{SecretKey, ids};

use crate::Random;

/// How many honest gateways there are.
pub const HONEST: usize = 2;

/// A network whose folders lie below one folder, each named like its member.
#[derive(Debug, Clone)]
pub struct Folders {
    above: PathBuf,
    network: String,
}

fn seed_of(random: &mut Random) -> [u8; 32] {
    std::array::from_fn(|_| random.bits() as u8)
}

impl Folders {
    /// Makes them. The honest members are the committee, with the first hostile one: members of a committee are told
    /// most.
    pub fn make(above: &Path, seed: u64, hostile: &[&str]) -> Self {
        let mut random = Random::new(seed);
        let honest = (1..=HONEST).map(|number| format!("g{number}"));
        let names: Vec<String> = honest.chain(hostile.iter().map(|name| format!("h-{name}"))).collect();
        let organisation = SecretKey::from_seed(Scheme::MlDsa65, &seed_of(&mut random));
        let keys: Vec<SecretKey> =
            names.iter().map(|_| SecretKey::from_seed(Scheme::MlDsa44, &seed_of(&mut random))).collect();
        let public = |key: &SecretKey| selvedge_crypto::signer(key).expect("a key").public_key().clone();
        let member = |(name, key): (&String, &SecretKey)| Member {
            organisation: 0,
            key: public(key),
            name: name.clone(),
            roles: vec![role::GATEWAY.into()],
        };
        let genesis = Genesis {
            version: 0,
            network_name: "works".into(),
            random: seed_of(&mut random),
            organisations: vec![Organisation { name: "Acme".into(), key: public(&organisation) }],
            members: names.iter().zip(&keys).map(member).collect(),
            committee: (0..names.len().min(HONEST + 1) as u16).collect(),
        };
        genesis.check().expect("a right genesis");
        let bytes = genesis.to_bytes();
        for (name, key) in names.iter().zip(&keys) {
            let contents = Contents {
                genesis: &bytes,
                gateway: key,
                organisation: None,
                salt_key: &seed_of(&mut random),
                config: "",
                passphrase: None,
                enrolment: None,
                further: &[],
                restored: false,
            };
            Folder::create(&above.join(name), &contents).expect("a new data folder");
        }
        let network = ids::to_text(&Network::new(Genesis::network_id_of(&bytes)).id());
        Self { above: above.to_owned(), network }
    }

    /// The folder of an honest gateway, counted from 0.
    pub fn honest(&self, number: usize) -> PathBuf {
        self.above.join(format!("g{}", number + 1))
    }

    /// The folder of a hostile member.
    pub fn hostile(&self, name: &str) -> PathBuf {
        self.above.join(format!("h-{name}"))
    }

    /// The network's id.
    pub fn network(&self) -> &str {
        &self.network
    }
}
