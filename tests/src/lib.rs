//! What tests of whole processes need: the program under test, other programs, and how to wait for them.
//!
//! Nothing here sleeps and hopes: a test waits for a line, an end or a condition, each with a bound, and what it saw
//! until then is in the message when the bound is reached. Every process dies with its guard. All of it panics when
//! something is not as a test expects: that is how a test fails.
//!
//! # Layout
//! - [`process`]: a child process with its output, to be waited for, signalled and killed
//! - [`program`]: the program under test
//! - [`site`]: a data folder with a gateway in it
//! - [`fleet`]: several gateways of one network, and what their folders hold
//! - [`netns`]: machines in network namespaces, with cables that can be cut
//! - [`ready`]: a long ledger, made before any process runs
//! - [`device`]: a real pymodbus server
//! - [`broker`]: a real mosquitto, and a way to it that can be cut
//! - [`mod@line`]: Modbus units that count, and a way to them that can be cut
//! - [`hostile`]: a hostile peer, and an honest pair for it
//! - [`ledger`]: core, store and signatures in this process, on any [`Disk`](selvedge::store::Disk)

#![allow(clippy::missing_panics_doc, clippy::return_self_not_must_use)]

pub mod broker;
pub mod device;
pub mod fleet;
pub mod hostile;
pub mod ledger;
pub mod line;
pub mod netns;
pub mod process;
pub mod program;
pub mod ready;
pub mod site;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. Generous: it is reached only when something is wrong.
pub const WITHIN: Duration = Duration::from_mins(1);

/// How often [`eventually`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The top of the source tree.
pub fn project() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the crate lies in the project's folder").to_owned()
}

/// A number from the environment, for longer runs.
pub fn from_env(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, expected a number")),
        Err(_) => default,
    }
}

/// Asks again and again until there is an answer.
pub fn eventually<T, E: std::fmt::Display>(what: &str, look: impl FnMut() -> Result<T, E>) -> T {
    eventually_within(WITHIN, what, look)
}

/// The same with a bound of its own, for what takes long by its nature.
pub fn eventually_within<T, E: std::fmt::Display>(
    within: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T, E>,
) -> T {
    let start = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(state) if start.elapsed() > within => {
                panic!("waited {} s for {what}; last seen: {state}", within.as_secs())
            }
            Err(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// A small generator (splitmix64): the same test for the same seed.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The numbers of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }
}
