//! Joining, from the line to the enrolment, with everything that goes wrong on the way.

mod desk;
mod line;
mod wire;

use std::net::{IpAddr, Ipv4Addr};

use selvedge_core::codec;
use selvedge_core::genesis::PublicKey;
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::exchange::{Answer, JoinError, Joined, Redeem, Refusal, accept, redeem};
use super::*;
use crate::folder::Folder;
use crate::folder::testing::{key, network};

const NOW_S: u64 = 1_800_000_000;

/// A member with a desk.
struct Member {
    above: TempDir,
    folder: Folder,
    desk: Desk,
}

impl Member {
    fn new() -> Self {
        let (above, folder) = network("works");
        let desk = Desk::open(&folder, None).expect("a desk");
        Self { above, folder, desk }
    }

    /// Gives out a line that is good for an hour.
    fn invites(&self, secret: u8, name: Option<&str>) -> Line {
        let secret = Zeroizing::new([secret; SECRET_BYTES]);
        let (network, expires_s) = (self.folder.network().id(), NOW_S + 3_600);
        let name = name.map(str::to_owned);
        Invitation::new(network, &secret, name, NOW_S, expires_s).keep(&self.folder).expect("kept");
        let address = "192.0.2.7:7440".parse().expect("an address");
        Line { network, address, secret, expires_s: expires_s as u32 }
    }

    fn answers(&self, asked: &Redeem, guest: &Guest, now_s: u64) -> Vec<u8> {
        let addresses = ["192.0.2.7:7440".to_owned()];
        codec::encode(&self.desk.redeem(&codec::encode(asked), guest, &addresses, now_s))
    }

    /// A whole redemption over one connection.
    fn lets_in(&self, line: &Line, seed: u8, name: Option<&str>, now_s: u64) -> Result<Joined, JoinError> {
        let guest = guest(key(seed).1, 1);
        let asked = redeem(line, guest.key.clone(), name.map(str::to_owned), &guest.exporter);
        accept(line, &asked, &guest.exporter, &self.answers(&asked, &guest, now_s))
    }
}

/// Someone at address 198.51.100.`from`.
fn guest(key: PublicKey, from: u8) -> Guest {
    Guest { key, source: IpAddr::V4(Ipv4Addr::new(198, 51, 100, from)), exporter: [9; 32] }
}

fn refusal(outcome: Result<Joined, JoinError>) -> Refusal {
    match outcome {
        Err(JoinError::Refused(refusal)) => refusal,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn refused(answer: &[u8]) -> Refusal {
    codec::decode::<Answer>(answer).expect("an answer").outcome.expect_err("a refusal")
}
