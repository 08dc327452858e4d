//! Exact cumulative weights of a tangle that grows, and who refers to whom: what a weighted walk needs.
//!
//! A transaction that becomes visible adds one to the weight of everything in its past cone, which is nearly the whole
//! tangle. So cones are sets of bits, 64 records a word, made by joining those of the references; and where a cone holds
//! most of a word, one is added to what the word's records have in common and taken back from the few that it does not
//! hold. A full word, the usual case in the deep past, costs one addition. Only transactions that can still be chosen
//! need their cone, so the others' are dropped.

use selvedge_core::tips::Graph;

const BITS: usize = u64::BITS as usize;

/// Visible transactions by number, from the genesis, 0; hidden ones wait with their cones.
#[derive(Debug, Default)]
pub struct Weights {
    /// By number: the visible transactions that approve it.
    referrers: Vec<Vec<u32>>,
    /// By word of 64 numbers: weight that all of them have.
    common: Vec<u32>,
    /// By number: what it has beside that, less or more. Whole words, so also numbers that are still to come.
    own: Vec<i32>,
    /// By number: itself and all that it reaches; empty when nobody needs it any more.
    cones: Vec<Vec<u64>>,
    /// Memory of dropped cones, to be used again.
    spare: Vec<Vec<u64>>,
}

impl Weights {
    /// Nothing yet: the genesis is added first.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next transaction, which approves these; hidden until it is shown.
    ///
    /// # Panics
    /// When one of them was given up.
    pub fn add(&mut self, approved: &[u32]) {
        let number = self.cones.len();
        let mut cone = self.spare.pop().unwrap_or_default();
        cone.clear();
        cone.resize(number / BITS + 1, 0);
        for reference in approved {
            let theirs = &self.cones[*reference as usize];
            assert!(!theirs.is_empty(), "{reference} is approved, but its cone was given up");
            for (word, bits) in cone.iter_mut().zip(theirs) {
                *word |= bits;
            }
        }
        cone[number / BITS] |= 1 << (number % BITS);
        self.cones.push(cone);
        self.referrers.push(Vec::new());
    }

    /// The transaction with this number, which approves these, becomes visible.
    pub fn show(&mut self, number: u32, approved: &[u32]) {
        for reference in approved {
            self.referrers[*reference as usize].push(number);
        }
        let cone = &self.cones[number as usize];
        if self.common.len() < cone.len() {
            self.common.resize(cone.len(), 0);
            self.own.resize(cone.len() * BITS, 0);
        }
        for ((bits, common), own) in cone.iter().zip(&mut self.common).zip(self.own.as_chunks_mut::<BITS>().0)
        {
            let (mut left, change) = if bits.count_ones() > u64::BITS / 2 {
                *common += 1;
                (!bits, -1)
            } else {
                (*bits, 1)
            };
            while left != 0 {
                own[left.trailing_zeros() as usize] += change;
                left &= left - 1;
            }
        }
    }

    /// Nobody can approve this transaction any more.
    pub fn give_up(&mut self, number: u32) {
        self.spare.push(std::mem::take(&mut self.cones[number as usize]));
    }
}

impl Graph for Weights {
    fn referrers(&self, place: u32) -> &[u32] {
        &self.referrers[place as usize]
    }

    fn weight(&self, place: u32) -> u32 {
        let place = place as usize;
        self.common[place / BITS].wrapping_add_signed(self.own[place])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;
    use selvedge_core::tips::Stretch;

    /// Random small tangles, with some transactions left behind for ever, against the core's own count after each step.
    #[test]
    fn weights_are_those_of_the_core_counted_anew() {
        for seed in 0..40 {
            let mut dice = Dice::new(seed, "weights");
            let (size, hidden_most) = (dice.between(2, 300), dice.between(0, 20));
            let mut weights = Weights::new();
            weights.add(&[]);
            weights.show(0, &[]);
            let mut records: Vec<(u64, Vec<u64>)> = vec![(0, vec![])];
            let mut hidden: Vec<(u32, Vec<u32>)> = Vec::new();
            let mut tips = vec![0_u32];
            for number in 1..size as u32 {
                // The newest tips are chosen more often, so that old ones stay.
                let pick = |dice: &mut Dice| {
                    tips[tips.len() - 1 - (dice.below(tips.len() as u64).min(dice.below(9))) as usize]
                };
                let mut approved: Vec<u32> = (0..dice.between(1, 4)).map(|_| pick(&mut dice)).collect();
                approved.sort_unstable();
                approved.dedup();
                weights.add(&approved);
                hidden.push((number, approved));
                while hidden.len() as u64 > dice.below(hidden_most + 1) {
                    let (shown, approved) = hidden.remove(0);
                    weights.show(shown, &approved);
                    for reference in &approved {
                        if let Some(place) = tips.iter().position(|tip| tip == reference) {
                            tips.remove(place);
                            weights.give_up(*reference);
                        }
                    }
                    tips.push(shown);
                    records.push((u64::from(shown), approved.iter().map(|n| u64::from(*n)).collect()));
                }
                let stretch = Stretch::new(records.clone());
                let counted: Vec<u32> = (0..records.len() as u32).map(|n| weights.weight(n)).collect();
                assert_eq!(counted, stretch.weights(), "seed {seed}, transaction {number}");
                let referrers: Vec<&[u32]> =
                    (0..records.len() as u32).map(|n| weights.referrers(n)).collect();
                assert_eq!(referrers, stretch.referrers, "seed {seed}, transaction {number}");
            }
        }
    }
}
