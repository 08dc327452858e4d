//! What a gateway is built of: virtual time that its work takes.

use std::fmt;
use std::str::FromStr;

use super::params::{Params, Problem};
use super::units::{Wrong, as_text};

/// What the work of a gateway takes: CPU in nanoseconds of one core, and what its disk can do.
///
/// The threads are those of the shipped node: one loop, which handles inputs one after the other; up to four workers, as
/// many as there are cores, for signatures and sealing; two threads of the network; one that writes to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Cores.
    pub cores: usize,
    /// Making one ML-DSA-44 signature.
    pub sign_ns: u64,
    /// Checking one.
    pub verify_ns: u64,
    /// The loop: taking one input of any kind, effects handed on.
    pub input_ns: u64,
    /// The loop: one transaction of a peer, decoded, compared with its canonical form, hashed and attached.
    pub attach_ns: u64,
    /// The loop: one reading taken into the open batch.
    pub reading_ns: u64,
    /// A worker: one reading sealed: salt, leaf, tree, archive segment.
    pub seal_reading_ns: u64,
    /// A worker: one batch sealed, beside its readings.
    pub seal_batch_ns: u64,
    /// The network's threads: one packet sent or received, with the system's part and encryption.
    pub packet_ns: u64,
    /// The network's threads: one frame sent or received, beside its packets.
    pub frame_ns: u64,
    /// The disk's thread: CPU for one transaction written to log and index.
    pub store_transaction_ns: u64,
    /// The disk's thread: CPU for one kilobyte (1,000 bytes) written.
    pub store_kilobyte_ns: u64,
    /// The disk: one sync that finds little to write, in microseconds.
    pub sync_us: u64,
    /// The disk: bytes written per second, one after the other.
    pub disk_bytes_per_s: u64,
    /// Memory, bytes.
    pub memory_bytes: u64,
}

impl Profile {
    /// The same with all CPU times so many hundredths as long, signatures too.
    const fn times_percent(self, percent: u64) -> Self {
        Self {
            sign_ns: self.sign_ns * percent / 100,
            verify_ns: self.verify_ns * percent / 100,
            input_ns: self.input_ns * percent / 100,
            attach_ns: self.attach_ns * percent / 100,
            reading_ns: self.reading_ns * percent / 100,
            seal_reading_ns: self.seal_reading_ns * percent / 100,
            seal_batch_ns: self.seal_batch_ns * percent / 100,
            packet_ns: self.packet_ns * percent / 100,
            frame_ns: self.frame_ns * percent / 100,
            store_transaction_ns: self.store_transaction_ns * percent / 100,
            store_kilobyte_ns: self.store_kilobyte_ns * percent / 100,
            ..self
        }
    }

    /// Worker threads: as many as cores, at most four (node/src/engine/workers.rs).
    pub fn workers(&self) -> usize {
        self.cores.clamp(1, 4)
    }
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hardware {
    /// Raspberry Pi 3 B+: Cortex-A53 at 1.4 GHz, SD card.
    Pi3,
    /// Raspberry Pi 4: Cortex-A72 at 1.8 GHz, SD card.
    Pi4,
    /// Raspberry Pi 5: Cortex-A76 at 2.4 GHz, SD card.
    Pi5,
    /// Server, x86-64 with AVX2, NVMe.
    X86,
}

impl Hardware {
    /// All of the table.
    pub const ALL: [Self; 4] = [Self::Pi3, Self::Pi4, Self::Pi5, Self::X86];
    const WORDS: [&'static str; 4] = ["pi3", "pi4", "pi5", "x86"];

    /// Its row of the table.
    pub const fn profile(self) -> Profile {
        match self {
            Self::Pi3 => PI3,
            Self::Pi4 => PI4,
            Self::Pi5 => PI5,
            Self::X86 => X86,
        }
    }

    /// As it is written.
    pub const fn name(self) -> &'static str {
        Self::WORDS[self as usize]
    }
}

/// What the gateways are built of: one word for all, such as `pi4`, or counts, such as `pi4:8,x86:2`, in the order of
/// the gateways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    /// Hardware and how many of it; `None`: all.
    parts: Vec<(Hardware, Option<usize>)>,
}

impl Default for Fleet {
    fn default() -> Self {
        Self { parts: vec![(Hardware::X86, None)] }
    }
}

impl From<Hardware> for Fleet {
    fn from(hardware: Hardware) -> Self {
        Self { parts: vec![(hardware, None)] }
    }
}

impl Fleet {
    /// What a gateway is built of.
    pub fn of(&self, gateway: usize) -> Hardware {
        let mut first = 0;
        for (hardware, count) in &self.parts {
            first += count.unwrap_or(usize::MAX - first);
            if gateway < first {
                return *hardware;
            }
        }
        self.parts.last().map_or(Hardware::X86, |(hardware, _)| *hardware)
    }

    pub(super) fn check(&self, params: &Params, problems: &mut Vec<Problem>) {
        let counted: Option<usize> = self.parts.iter().map(|(_, count)| *count).sum();
        if counted.is_some_and(|counted| counted != params.gateways) {
            let expected = format!("counts that make up the {} gateways", params.gateways);
            problems.push(Problem::new("hardware", self, expected));
        }
    }
}

as_text!(Fleet);

impl FromStr for Fleet {
    type Err = Wrong;
    fn from_str(text: &str) -> Result<Self, Wrong> {
        const EXPECTED: &str = "pi3, pi4, pi5 or x86, or counts of them such as pi4:8,x86:2";
        let one = |word: &str| {
            let found = Hardware::ALL.into_iter().find(|hardware| hardware.name() == word);
            found.ok_or_else(|| Wrong::word(text, word, &Hardware::WORDS, EXPECTED))
        };
        if !text.contains([':', ',']) {
            return Ok(Self { parts: vec![(one(text.trim())?, None)] });
        }
        let mut parts = Vec::new();
        for part in text.split(',') {
            let (word, count) = part.trim().split_once(':').ok_or_else(|| Wrong::new(text, EXPECTED))?;
            let hardware = one(word)?;
            match count.parse() {
                Ok(count) if count > 0 => parts.push((hardware, Some(count))),
                _ => return Err(Wrong::new(text, EXPECTED)),
            }
        }
        Ok(Self { parts })
    }
}

impl fmt::Display for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (hardware, count)) in self.parts.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            f.write_str(hardware.name())?;
            if let Some(count) = count {
                write!(f, ":{count}")?;
            }
        }
        Ok(())
    }
}

// ---- The table ----------------------------------------------------------------------------------
//
// Only the row of x86 was measured by this project, on a shared machine (AMD EPYC, two of its threads, AVX2, virtual disk):
// CPU time of threads, the least of several runs. NOTHING was measured on a Raspberry Pi by us: those rows are ESTIMATES,
// made as their comments say. Their order of magnitude can be trusted, their second digit cannot. Whoever has the board
// runs `selvedge-benches headline --only 1` and `--only 2` on it and writes the row anew.

/// Measured; where the parts of a sum were not told apart the split is an estimate.
const X86: Profile = Profile {
    cores: 4,
    // ML-DSA-44 by aws-lc, alone on a thread: 80 to 85 µs, means of 400 signatures, the least of 15 such runs, three times.
    // Attempts are random, so single signatures vary from a half to four times that; the mean is charged for each.
    sign_ns: 82_000,
    // `selvedge-benches headline --only 2`, "ML-DSA-44 verification alone": 21.9 µs; with the signer above 23.2.
    verify_ns: 22_000,
    // The same bench: 60 µs of the loop for a transaction that comes in one frame and goes on to one peer. That is three
    // inputs (frame, verified, persisted) and the attachment; the split is an estimate.
    input_ns: 6_000,
    attach_ns: 40_000,
    // `selvedge-benches profile 1000` and `profile 4096`: 3.39 and 1.24 CPU-s a million readings. Two equations give
    // 0.55 µs a reading and 2.8 ms a batch; between loop and workers the split is an estimate.
    reading_ns: 250,
    seal_reading_ns: 300,
    // Of the 2.8 ms: archive segment, its file and its syncs, without the signature.
    seal_batch_ns: 2_500_000,
    // Figure 2: 24 to 34 µs of the network's threads for one transaction in and one out, three packets each.
    packet_ns: 4_000,
    frame_ns: 1_500,
    // Figure 2: 17 µs of the disk's thread for a transaction of 2.9 kB; the split is an estimate.
    store_transaction_ns: 13_000,
    store_kilobyte_ns: 1_400,
    // `selvedge-benches headline --only 14`: a sync of 8 KiB took 0.23 ms (p50), 0.35 ms (p99).
    sync_us: 250,
    // Estimate: a virtual disk, not driven to its limit.
    disk_bytes_per_s: 500_000_000,
    memory_bytes: 8 << 30,
};

/// ESTIMATE. Signatures: mldsa-native, whose code aws-lc has taken over, reports for this very board 355,458 cycles to sign
/// and 117,778 to verify with ML-DSA-44 (github.com/pq-code-package/mldsa-native/pull/992, bench of March 2026), at
/// 2.4 GHz 148 and 49 µs. Verification thus takes 2.23 times as long as on x86, and so does everything else here.
const PI5: Profile = Profile {
    sign_ns: 148_000,
    verify_ns: 49_000,
    // A card of class A2 in a slot with SDR104: no published sync times were found; see PI4.
    sync_us: 5_000,
    disk_bytes_per_s: 40_000_000,
    memory_bytes: 4 << 30,
    ..X86.times_percent(223)
};

/// ESTIMATE. sysbench on one core: 2,737 events a second on a Pi 5, 1,478 on a Pi 4
/// (leoncode.co.uk/articles/raspberry-pi-benchmarks), a factor of 1.85. Signatures 2.5 times as long: vector code gains more
/// from the A76, which has twice the width for it (a guess within 2 to 3).
const PI4: Profile = Profile {
    sign_ns: 370_000,
    verify_ns: 122_000,
    // A card must make 500 random writes of 4 KiB a second for class A1 (SD Physical Layer 5.1), without a sync after each:
    // 2 ms; a sync writes data and the file system's journal and flushes the card: four times that. Cards differ by ten.
    sync_us: 8_000,
    // 20.5 MiB/s written in sequence on a Pi 4 with an ordinary card (darrylcauldwell.github.io/post/homelab-pi-storage).
    disk_bytes_per_s: 20_000_000,
    memory_bytes: 2 << 30,
    ..PI5.times_percent(185)
};

/// ESTIMATE. sysbench on one core: 687 events a second on a Pi 3 B+ against 1,478 on a Pi 4 (as above), a factor of 2.15,
/// signatures too: the A53 executes in order and has half the vector width.
const PI3: Profile = Profile {
    // Its slot runs at 25 MB/s at most (high speed, 50 MHz).
    sync_us: 12_000,
    disk_bytes_per_s: 10_000_000,
    memory_bytes: 1 << 30,
    ..PI4.times_percent(215)
};
