use super::*;

const PASSPHRASE: &str = "correct horse battery staple ü";

/// SplitMix64: every draw follows from the printed seed.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

fn cheap(content: &[u8]) -> Vec<u8> {
    seal_at_cost(content, PASSPHRASE, Cost::LEAST).unwrap()
}

/// Writes the checksum that fits, as somebody would who alters the bytes on purpose.
fn with_checksum(mut sealed: Vec<u8>) -> Vec<u8> {
    let end = sealed.len() - CHECKSUM_BYTES;
    let fits = checksum(&sealed[..end]);
    sealed[end..].copy_from_slice(&fits);
    sealed
}

#[test]
fn what_is_sealed_is_opened() {
    for length in [0, 1, 33, 4_000] {
        let content = vec![7; length];
        let sealed = cheap(&content);
        assert_eq!(sealed.len(), length + OVERHEAD_BYTES);
        assert_eq!(open_with_passphrase(&sealed, PASSPHRASE).unwrap().as_slice(), content);
        assert_ne!(cheap(&content), sealed, "salt and nonce are new each time");
    }
}

#[test]
fn the_shipped_cost_stands_in_what_is_sealed() {
    let sealed = seal_with_passphrase(b"content", PASSPHRASE).unwrap();
    assert_eq!(sealed[9..21], [0, 0, 1, 0, 3, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(open_with_passphrase(&sealed, PASSPHRASE).unwrap().as_slice(), b"content");
    assert_eq!(open_with_passphrase(&sealed, "other"), Err(PassphraseError::WrongPassphrase));
}

#[test]
fn a_wrong_passphrase_is_told_apart_from_damage() {
    let sealed = cheap(b"content");
    for wrong in ["x", "Correct horse battery staple ü", "correct horse battery staple ü "] {
        assert_eq!(open_with_passphrase(&sealed, wrong), Err(PassphraseError::WrongPassphrase));
    }
    let mut damaged = sealed.clone();
    damaged[HEADER_BYTES] ^= 1;
    assert_eq!(open_with_passphrase(&damaged, PASSPHRASE), Err(PassphraseError::Damaged));
    // Altered together with its checksum: the tag still refuses.
    assert_eq!(
        open_with_passphrase(&with_checksum(damaged), PASSPHRASE),
        Err(PassphraseError::WrongPassphrase)
    );
}

#[test]
fn passphrases_that_cannot_be_meant() {
    let long = "x".repeat(PASSPHRASE_BYTES_MAX + 1);
    let sealed = cheap(b"");
    for (passphrase, why) in
        [("", PassphraseError::Empty), (&long, PassphraseError::PassphraseTooLong { got: long.len() })]
    {
        assert_eq!(seal_with_passphrase(b"", passphrase), Err(why.clone()));
        assert_eq!(open_with_passphrase(&sealed, passphrase), Err(why));
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let sealed = cheap(b"some content");
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut altered = sealed.clone();
            altered[at] ^= 1 << bit;
            assert!(open_with_passphrase(&altered, PASSPHRASE).is_err(), "bit {bit} of byte {at}");
        }
        // The header and the content are authenticated, whoever makes a new checksum.
        let in_cost = (9..21).contains(&at);
        if at < sealed.len() - CHECKSUM_BYTES && !in_cost {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(open_with_passphrase(&with_checksum(altered), PASSPHRASE).is_err(), "byte {at}");
        }
    }
}

#[test]
fn every_length_but_its_own_is_refused() {
    let sealed = cheap(b"some content");
    for length in 0..sealed.len() {
        let error = open_with_passphrase(&sealed[..length], PASSPHRASE).unwrap_err();
        let expected = if length < OVERHEAD_BYTES {
            PassphraseError::TooShort { got: length }
        } else {
            PassphraseError::Damaged
        };
        assert_eq!(error, expected, "{length} bytes");
    }
    let mut longer = sealed;
    longer.push(0);
    assert_eq!(open_with_passphrase(&longer, PASSPHRASE), Err(PassphraseError::Damaged));
}

#[test]
fn costs_beyond_the_bounds_are_refused_before_any_memory_is_taken() {
    let sealed = cheap(b"content");
    for (place, number, what) in [
        (9, MEMORY_KIB_MAX + 1, "memory in KiB"),
        (9, u32::MAX, "memory in KiB"),
        (9, 7, "memory in KiB"),
        (13, 0, "passes"),
        (13, PASSES_MAX + 1, "passes"),
        (17, 0, "lanes"),
        (17, LANES_MAX + 1, "lanes"),
        // Two lanes need 16 KiB, and there are 8.
        (17, 2, "memory in KiB"),
    ] {
        let mut altered = sealed.clone();
        altered[place..place + 4].copy_from_slice(&number.to_le_bytes());
        match open_with_passphrase(&with_checksum(altered), PASSPHRASE) {
            Err(PassphraseError::Cost { what: found, .. }) => assert_eq!(found, what),
            other => panic!("{what} {number}: {other:?}"),
        }
    }
}

#[test]
fn other_versions_and_other_files_are_named() {
    let sealed = cheap(b"content");
    let mut newer = sealed.clone();
    newer[8] = 2;
    assert_eq!(open_with_passphrase(&newer, PASSPHRASE), Err(PassphraseError::Version(2)));
    assert_eq!(open_with_passphrase(b"-----BEGIN", PASSPHRASE), Err(PassphraseError::NotSealed));
}

#[test]
fn hostile_bytes_are_refused_without_panic() {
    let seed = 0x5EED_0005_0000_0000;
    println!("seed {seed:#018x}");
    let mut draws = Draws(seed);
    let good = cheap(b"some content");
    let mut tried = 0;
    for number in 0..50_000_u32 {
        let mut bytes = match number % 4 {
            // Nothing like it.
            0 => (0..draws.below(200)).map(|_| draws.next() as u8).collect(),
            // The right beginning, then anything.
            1 => {
                let mut bytes = good[..9].to_vec();
                bytes.extend((0..draws.below(200)).map(|_| draws.next() as u8));
                bytes
            }
            // A good one with some bytes changed, cut somewhere or not.
            _ => {
                let mut bytes = good.clone();
                for _ in 0..=draws.below(4) {
                    let at = draws.below(bytes.len());
                    bytes[at] = draws.next() as u8;
                }
                if draws.below(2) == 0 {
                    bytes.truncate(draws.below(bytes.len()));
                }
                bytes
            }
        };
        // Some with a checksum that fits, so that what lies behind it is met too; with the least cost, so that
        // Argon2id stays cheap.
        if number % 8 == 2 && bytes.len() >= OVERHEAD_BYTES {
            bytes[9..21].copy_from_slice(&good[9..21]);
            bytes = with_checksum(bytes);
            tried += 1;
        }
        // A change may have written the byte that stood there.
        let opened = open_with_passphrase(&bytes, PASSPHRASE);
        assert!(opened.is_err() || bytes == good, "number {number}: {bytes:?}");
    }
    assert!(tried > 2_000, "only {tried} came past the checksum");
}
