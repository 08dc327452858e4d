//! Signatures whose outcome is known in advance, made without a secret: with a public key whose t₁ is zero the
//! challenge plays no part in what a verifier computes, so for any z and any hint somebody can compute w₁ and
//! from it the challenge that fits. Such a signature is wrong only if its norm or its encoding is, which is
//! what no flipped bit in an honest signature can show: there the challenge fails as well.
//!
//! The little arithmetic that this takes follows FIPS 204 to the letter, and is for tests only.

use selvedge_core::Scheme;
use selvedge_core::genesis::PublicKey;
use shake::digest::{ExtendableOutput, Update, XofReader};
use shake::{Shake128, Shake256};

use super::Draws;

const Q: i64 = 8_380_417;
const N: usize = 256;

type Polynomial = [i64; N];

/// FIPS 204, table 1.
pub(crate) struct Parameters {
    pub(crate) scheme: Scheme,
    pub(crate) k: usize,
    pub(crate) l: usize,
    pub(crate) gamma1: i64,
    gamma2: i64,
    pub(crate) beta: i64,
    pub(crate) omega: usize,
    pub(crate) challenge_bytes: usize,
    z_bits: usize,
    w1_bits: usize,
}

impl Parameters {
    pub(crate) fn of(scheme: Scheme) -> Self {
        match scheme {
            Scheme::MlDsa44 => Self {
                scheme,
                k: 4,
                l: 4,
                gamma1: 1 << 17,
                gamma2: (Q - 1) / 88,
                beta: 78,
                omega: 80,
                challenge_bytes: 32,
                z_bits: 18,
                w1_bits: 6,
            },
            Scheme::MlDsa65 => Self {
                scheme,
                k: 6,
                l: 5,
                gamma1: 1 << 19,
                gamma2: (Q - 1) / 32,
                beta: 196,
                omega: 55,
                challenge_bytes: 48,
                z_bits: 20,
                w1_bits: 4,
            },
        }
    }
    pub(crate) fn hint_bytes(&self) -> usize {
        self.omega + self.k
    }
}

/// A key with t₁ = 0 and its matrix.
pub(crate) struct Forge {
    pub(crate) parameters: Parameters,
    pub(crate) key: PublicKey,
    matrix: Vec<Vec<Polynomial>>,
    zetas: Polynomial,
}

/// What goes into a signature besides the challenge.
pub(crate) struct Draft {
    /// l polynomials, with coefficients −γ₁ + 1 … γ₁ (what the encoding can say).
    pub(crate) z: Vec<Polynomial>,
    /// Per polynomial of w, which coefficients are adjusted.
    pub(crate) hint: Vec<Vec<u8>>,
}

impl Forge {
    pub(crate) fn new(scheme: Scheme, draws: &mut Draws) -> Self {
        let parameters = Parameters::of(scheme);
        let mut bytes = draws.bytes(32);
        let matrix = (0..parameters.k)
            .map(|row| (0..parameters.l).map(|column| uniform(&bytes, column as u8, row as u8)).collect())
            .collect();
        bytes.resize(scheme.public_key_bytes(), 0);
        Self { parameters, key: PublicKey { scheme, bytes }, matrix, zetas: zetas() }
    }

    /// Any z below the bound and any hint within ω.
    pub(crate) fn draft(&self, draws: &mut Draws) -> Draft {
        let Parameters { k, l, gamma1, beta, omega, .. } = self.parameters;
        let bound = gamma1 - beta;
        let mut coefficient = || i64::try_from(draws.below((2 * bound - 1) as usize)).unwrap() - bound + 1;
        let z = (0..l).map(|_| std::array::from_fn(|_| coefficient())).collect();
        let mut hint = vec![Vec::new(); k];
        for _ in 0..draws.below(omega + 1) {
            let place = draws.next() as u8;
            let row: &mut Vec<u8> = &mut hint[draws.below(k)];
            if let Err(at) = row.binary_search(&place) {
                row.insert(at, place);
            }
        }
        Draft { z, hint }
    }

    /// The signature with the challenge that fits (FIPS 204, algorithm 8, with t₁ = 0).
    pub(crate) fn sign(&self, message: &[u8], draft: &Draft) -> Vec<u8> {
        let tr = shake256(&[&self.key.bytes], 64);
        let mu = shake256(&[&tr, &[0, 0], message], 64);
        let challenge = shake256(&[&mu, &self.w1(draft)], self.parameters.challenge_bytes);

        let mut signature = challenge;
        let gamma1 = self.parameters.gamma1;
        for polynomial in &draft.z {
            let coded = polynomial.map(|z| u64::try_from(gamma1 - z).unwrap());
            signature.extend(pack(&coded, self.parameters.z_bits));
        }
        signature.extend(self.pack_hint(&draft.hint));
        assert_eq!(signature.len(), self.parameters.scheme.signature_bytes());
        signature
    }

    fn w1(&self, draft: &Draft) -> Vec<u8> {
        let z: Vec<Polynomial> = draft.z.iter().map(|z| self.ntt(z)).collect();
        let mut coded = Vec::new();
        for (row, hint) in self.matrix.iter().zip(&draft.hint) {
            let mut sum = [0; N];
            for (a, z) in row.iter().zip(&z) {
                for ((sum, a), z) in sum.iter_mut().zip(a).zip(z) {
                    *sum = (*sum + a * z) % Q;
                }
            }
            let w = self.ntt_inverse(&sum);
            let w1: [u64; N] = std::array::from_fn(|at| self.use_hint(hint.contains(&(at as u8)), w[at]));
            coded.extend(pack(&w1, self.parameters.w1_bits));
        }
        coded
    }

    /// Algorithm 20.
    fn pack_hint(&self, hint: &[Vec<u8>]) -> Vec<u8> {
        let mut coded: Vec<u8> = hint.concat();
        assert!(coded.len() <= self.parameters.omega);
        coded.resize(self.parameters.omega, 0);
        let mut count = 0;
        for row in hint {
            count += row.len();
            coded.push(count as u8);
        }
        coded
    }

    /// Algorithms 36 and 40.
    fn use_hint(&self, hint: bool, r: i64) -> u64 {
        let gamma2 = self.parameters.gamma2;
        let mut low = r % (2 * gamma2);
        if low > gamma2 {
            low -= 2 * gamma2;
        }
        let (high, low) = if r - low == Q - 1 { (0, low - 1) } else { ((r - low) / (2 * gamma2), low) };
        let step = match (hint, low > 0) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => -1,
        };
        u64::try_from((high + step).rem_euclid((Q - 1) / (2 * gamma2))).unwrap()
    }

    /// Algorithm 41.
    fn ntt(&self, polynomial: &Polynomial) -> Polynomial {
        let mut w = polynomial.map(|c| c.rem_euclid(Q));
        let (mut zeta, mut length) = (0, N / 2);
        while length >= 1 {
            for start in (0..N).step_by(2 * length) {
                zeta += 1;
                for j in start..start + length {
                    let t = self.zetas[zeta] * w[j + length] % Q;
                    w[j + length] = (w[j] - t).rem_euclid(Q);
                    w[j] = (w[j] + t) % Q;
                }
            }
            length /= 2;
        }
        w
    }

    /// Algorithm 42.
    fn ntt_inverse(&self, polynomial: &Polynomial) -> Polynomial {
        let mut w = *polynomial;
        let (mut zeta, mut length) = (N, 1);
        while length < N {
            for start in (0..N).step_by(2 * length) {
                zeta -= 1;
                for j in start..start + length {
                    let t = w[j];
                    w[j] = (t + w[j + length]) % Q;
                    w[j + length] = (Q - self.zetas[zeta]) * ((t - w[j + length]).rem_euclid(Q)) % Q;
                }
            }
            length *= 2;
        }
        w.map(|c| c * 8_347_681 % Q)
    }
}

/// Powers of 1753 in bit-reversed order (appendix B).
fn zetas() -> Polynomial {
    let mut powers = [1; N];
    for at in 1..N {
        powers[at] = powers[at - 1] * 1_753 % Q;
    }
    std::array::from_fn(|at| powers[usize::from((at as u8).reverse_bits())])
}

/// Algorithm 30, with the bytes of algorithm 32.
fn uniform(rho: &[u8], column: u8, row: u8) -> Polynomial {
    let mut sponge = Shake128::default();
    sponge.update(rho);
    sponge.update(&[column, row]);
    let mut stream = sponge.finalize_xof();
    let mut polynomial = [0; N];
    let mut filled = 0;
    while filled < N {
        let mut three = [0; 3];
        stream.read(&mut three);
        let number = i64::from(three[0]) | i64::from(three[1]) << 8 | i64::from(three[2] & 0x7F) << 16;
        if number < Q {
            polynomial[filled] = number;
            filled += 1;
        }
    }
    polynomial
}

fn shake256(parts: &[&[u8]], length: usize) -> Vec<u8> {
    let mut sponge = Shake256::default();
    for part in parts {
        sponge.update(part);
    }
    let mut out = vec![0; length];
    sponge.finalize_xof().read(&mut out);
    out
}

/// Algorithm 16: little-endian numbers of `bits` bits each.
fn pack(numbers: &[u64; N], bits: usize) -> Vec<u8> {
    let mut bytes = vec![0; N * bits / 8];
    for (at, number) in numbers.iter().enumerate() {
        for bit in 0..bits {
            bytes[(at * bits + bit) / 8] |= ((number >> bit & 1) as u8) << ((at * bits + bit) % 8);
        }
    }
    bytes
}
