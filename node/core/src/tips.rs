//! Tip selection: which two tips a new transaction approves. Policy at issue, never a question of validity.
//! The simulator's abstract tangle chooses with [`some_of`] and [`walk`] too, so that theory is compared with this code.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::border::{TipPolicy, TipSelection};
use crate::hash::Issuer;
use crate::limits::PREFERRED_TIPS_PER_ISSUER;
use crate::random::Random;

/// Most tips that [`some_of`] chooses at once.
pub const CHOSEN_MAX: usize = 16;

/// A tip, as selection sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    /// Local number.
    pub number: u64,
    /// Who signed it.
    pub issuer: Issuer,
    /// When it was attached here, microseconds on the monotonic clock.
    pub arrived_us: u64,
}

/// A stretch of the newest records, for the weighted walk.
#[derive(Debug, Clone, Default)]
pub struct Stretch {
    /// Local numbers, ascending.
    pub numbers: Vec<u64>,
    /// For each the places in `numbers` of those that refer to it. All of them stand behind it.
    pub referrers: Vec<Vec<u32>>,
}

impl Stretch {
    /// Builds the stretch from records in ascending order: local number and references.
    pub fn new<R: IntoIterator<Item = u64>>(records: impl IntoIterator<Item = (u64, R)>) -> Self {
        let mut stretch = Self::default();
        for (number, references) in records {
            let place = stretch.numbers.len() as u32;
            stretch.numbers.push(number);
            stretch.referrers.push(Vec::new());
            for reference in references {
                if let Ok(referred) = stretch.numbers.binary_search(&reference) {
                    let referrers = &mut stretch.referrers[referred];
                    if referrers.last() != Some(&place) {
                        referrers.push(place);
                    }
                }
            }
        }
        stretch
    }

    /// Exact cumulative weight of each record within the stretch: itself and all that reach it.
    pub fn weights(&self) -> Vec<u32> {
        let words = self.numbers.len().div_ceil(64);
        let mut sets = alloc::vec![0_u64; words * self.numbers.len()];
        let mut weights = alloc::vec![0; self.numbers.len()];
        for place in (0..self.numbers.len()).rev() {
            // Referrers stand behind their reference, so their sets are complete.
            let (own, later) = sets[place * words..].split_at_mut(words);
            own[place / 64] |= 1 << (place % 64);
            for referrer in &self.referrers[place] {
                let start = (*referrer as usize - place - 1) * words;
                for (word, theirs) in own.iter_mut().zip(&later[start..start + words]) {
                    *word |= theirs;
                }
            }
            weights[place] = own.iter().map(|word| word.count_ones()).sum();
        }
        weights
    }
}

/// What a walk goes over: records in places of their own, each referred to by later ones.
pub trait Graph {
    /// The places of those that refer to the record at this place, each once.
    fn referrers(&self, place: u32) -> &[u32];
    /// Cumulative weight of the record at this place: itself and all that reach it.
    fn weight(&self, place: u32) -> u32;
}

/// A stretch with its weights.
struct Weighted<'a> {
    stretch: &'a Stretch,
    weights: Vec<u32>,
}

impl Graph for Weighted<'_> {
    fn referrers(&self, place: u32) -> &[u32] {
        &self.stretch.referrers[place as usize]
    }

    fn weight(&self, place: u32) -> u32 {
        self.weights[place as usize]
    }
}

/// Two tips to approve, different ones when there are two; none when there is no tip (the genesis is approved then).
///
/// `stretch` is asked for by the weighted walk only.
pub fn select(
    policy: &TipPolicy,
    tips: &[Tip],
    stretch: impl FnOnce() -> Stretch,
    now_us: u64,
    random: &mut Random,
) -> Option<[u64; 2]> {
    let eligible = eligible(policy.age_max_us, tips, now_us);
    match policy.selection {
        TipSelection::Uniform => two_of(&eligible, random),
        TipSelection::Walk { alpha } => walk_twice(&stretch(), alpha, &eligible, random),
    }
}

/// Tips within the age bound (all, when none is), and of each issuer the newest few.
fn eligible(age_max_us: u64, tips: &[Tip], now_us: u64) -> Vec<u64> {
    let is_young = |tip: &&Tip| now_us.saturating_sub(tip.arrived_us) <= age_max_us;
    let any_young = tips.iter().any(|tip| is_young(&tip));
    let mut taken: BTreeMap<Issuer, usize> = BTreeMap::new();
    let mut newest_first: Vec<u64> = tips
        .iter()
        .rev()
        .filter(|tip| !any_young || is_young(tip))
        .filter(|tip| {
            let count = taken.entry(tip.issuer).or_default();
            *count += 1;
            *count <= PREFERRED_TIPS_PER_ISSUER
        })
        .map(|tip| tip.number)
        .collect();
    newest_first.reverse();
    newest_first
}

/// Uniform over the pairs of different ones.
pub(crate) fn two_of(tips: &[u64], random: &mut Random) -> Option<[u64; 2]> {
    match tips {
        [] => None,
        [only] => Some([*only; 2]),
        _ => {
            let mut chosen = [0; 2];
            some_of(tips, &mut chosen, random);
            Some(chosen)
        }
    }
}

/// As many different tips as `chosen` has room for, or all when there are fewer; every choice equally likely, in every
/// order. Returns how many there are.
///
/// # Panics
/// When `chosen` has room for more than [`CHOSEN_MAX`].
pub fn some_of(tips: &[u64], chosen: &mut [u64], random: &mut Random) -> usize {
    assert!(chosen.len() <= CHOSEN_MAX, "{} tips are asked for; at most {CHOSEN_MAX}", chosen.len());
    let count = chosen.len().min(tips.len());
    // Places drawn so far, ascending.
    let mut taken = [0; CHOSEN_MAX];
    for (nth, room) in chosen[..count].iter_mut().enumerate() {
        // Counts only the places that are left: each one taken before it moves it up by one.
        let mut place = random.below((tips.len() - nth) as u64) as usize;
        let mut smaller = 0;
        while smaller < nth && place >= taken[smaller] {
            place += 1;
            smaller += 1;
        }
        taken.copy_within(smaller..nth, smaller + 1);
        taken[smaller] = place;
        *room = tips[place];
    }
    count
}

/// Two walks that should end at different tips; after eight that did not, the second tip is drawn uniformly.
fn walk_twice(stretch: &Stretch, alpha: f64, eligible: &[u64], random: &mut Random) -> Option<[u64; 2]> {
    if eligible.len() < 2 || stretch.numbers.is_empty() {
        return two_of(eligible, random);
    }
    let graph = Weighted { stretch, weights: stretch.weights() };
    let mut found: Option<u64> = None;
    for _ in 0..8 {
        let end = stretch.numbers[walk(&graph, 0, alpha, random) as usize];
        match found {
            _ if eligible.binary_search(&end).is_err() => {}
            Some(first) if first != end => return Some([first, end]),
            _ => found = Some(end),
        }
    }
    let first = found.unwrap_or(eligible[random.below(eligible.len() as u64) as usize]);
    let others: Vec<u64> = eligible.iter().copied().filter(|tip| *tip != first).collect();
    Some([first, others[random.below(others.len() as u64) as usize]])
}

/// One walk from the record at `from` to a tip: from x to a referrer y with probability proportional to
/// exp(−α (w(x) − w(y))) (Popov, "The Tangle", section 4.1). Returns the place of the tip.
pub fn walk(graph: &impl Graph, from: u32, alpha: f64, random: &mut Random) -> u32 {
    let mut at = from;
    while let [.., last] = graph.referrers(at) {
        let referrers = graph.referrers(at);
        // w(x) is the same for all of them. Measured from the heaviest, whose chance is then 1, not all can vanish.
        let heaviest = referrers.iter().map(|to| graph.weight(*to)).max().unwrap_or(0);
        let chance = |to: &u32| libm::exp(-alpha * f64::from(heaviest - graph.weight(*to)));
        let total: f64 = referrers.iter().map(chance).sum();
        let mut left = random.unit() * total;
        let is_next = |to: &&u32| {
            left -= chance(to);
            left < 0.0
        };
        at = *referrers.iter().find(is_next).unwrap_or(last);
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tip(number: u64, issuer: u8, arrived_us: u64) -> Tip {
        Tip { number, issuer: Issuer([issuer; 32]), arrived_us }
    }

    #[test]
    fn uniform_takes_each_pair_of_tips_equally_often() {
        let mut random = Random::new(&[7; 32]);
        let tips: Vec<Tip> = (0..5).map(|i| tip(i, i as u8 + 1, 0)).collect();
        let mut counts = BTreeMap::new();
        for _ in 0..20_000 {
            let [a, b] =
                select(&TipPolicy::default(), &tips, Stretch::default, 0, &mut random).expect("tips");
            assert_ne!(a, b);
            *counts.entry((a, b)).or_insert(0_i32) += 1;
        }
        // 20 ordered pairs, 1,000 expected each, standard deviation 31: six of them.
        assert_eq!(counts.len(), 20);
        assert!(counts.values().all(|c| (c - 1_000).abs() < 190), "{counts:?}");
    }

    #[test]
    fn one_tip_is_approved_twice_and_none_means_the_genesis() {
        let mut random = Random::new(&[1; 32]);
        let policy = TipPolicy::default();
        assert_eq!(select(&policy, &[tip(4, 1, 0)], Stretch::default, 0, &mut random), Some([4, 4]));
        assert_eq!(select(&policy, &[], Stretch::default, 0, &mut random), None);
    }

    #[test]
    fn an_old_tip_is_left_while_a_younger_one_exists() {
        let mut random = Random::new(&[2; 32]);
        let policy = TipPolicy { selection: TipSelection::Uniform, age_max_us: 10 };
        let tips = [tip(1, 1, 0), tip(2, 2, 95)];
        assert_eq!(select(&policy, &tips, Stretch::default, 100, &mut random), Some([2, 2]));
        let [a, b] = select(&policy, &tips, Stretch::default, 1_000, &mut random).expect("all are old");
        assert_ne!(a, b);
    }

    #[test]
    fn a_flooding_issuer_gets_only_its_newest_few() {
        let mut tips: Vec<Tip> = (0..100).map(|i| tip(i, 9, i)).collect();
        tips.push(tip(100, 1, 100));
        assert_eq!(eligible(u64::MAX, &tips, 100), [96, 97, 98, 99, 100]);
    }

    #[test]
    fn weights_count_all_that_reach_a_record() {
        // 0 ← 1, 0 ← 2, 1 ← 3, 2 ← 3, 3 ← 4.
        let stretch = Stretch::new(
            [(10, [].as_slice()), (11, &[10]), (12, &[10, 10]), (13, &[11, 12]), (14, &[13])]
                .map(|(n, r): (u64, &[u64])| (n, r.to_vec())),
        );
        assert_eq!(stretch.weights(), [5, 3, 3, 2, 1]);
    }

    #[test]
    fn a_heavy_alpha_follows_the_heavier_side_and_a_zero_one_does_not() {
        // From 0: a long side (1, 3, 4, 5) and a lone transaction (2). Both ends are tips.
        let records = [
            (0, alloc::vec![]),
            (1, alloc::vec![0]),
            (2, alloc::vec![0]),
            (3, alloc::vec![1]),
            (4, alloc::vec![3]),
            (5, alloc::vec![4]),
        ];
        let stretch = Stretch::new(records);
        let graph = Weighted { stretch: &stretch, weights: stretch.weights() };
        let mut random = Random::new(&[3; 32]);
        let mut lazy = |alpha| (0..2_000).filter(|_| walk(&graph, 0, alpha, &mut random) == 2).count();
        assert!(lazy(10.0) == 0);
        assert!((800..1_200).contains(&lazy(0.0)));
    }

    #[test]
    fn a_walk_takes_the_heavier_side_however_light_both_are_beside_where_it_stands() {
        // Two chains from the genesis: 1 to 400, and 401 to 780. With alpha 2 each is lighter than the genesis by so
        // much that exp(-alpha x difference) is 0 for both; the walk then took whichever referred to it last.
        let chain = (1..=400_u64).map(|n| (n, alloc::vec![n - 1]));
        let other = (401..=780_u64).map(|n| (n, alloc::vec![if n == 401 { 0 } else { n - 1 }]));
        let stretch = Stretch::new([(0, alloc::vec![])].into_iter().chain(chain).chain(other));
        let graph = Weighted { stretch: &stretch, weights: stretch.weights() };
        assert_eq!([0, 1, 401].map(|place| graph.weight(place)), [781, 400, 380]);
        let mut random = Random::new(&[4; 32]);
        assert_eq!(walk(&graph, 0, 2.0, &mut random), 400);
    }

    #[test]
    fn any_number_of_tips_is_chosen_evenly_and_never_one_twice() {
        let mut random = Random::new(&[5; 32]);
        let tips = [3, 5, 7, 11, 13];
        let mut counts = BTreeMap::new();
        for _ in 0..60_000 {
            let mut chosen = [0; 3];
            assert_eq!(some_of(&tips, &mut chosen, &mut random), 3);
            assert!(chosen[0] != chosen[1] && chosen[0] != chosen[2] && chosen[1] != chosen[2]);
            *counts.entry(chosen).or_insert(0_i32) += 1;
        }
        // 60 ordered triples, 1,000 expected each, standard deviation 31: six of them.
        assert_eq!(counts.len(), 60);
        assert!(counts.values().all(|c| (c - 1_000).abs() < 190), "{counts:?}");
        let mut all = [0; CHOSEN_MAX];
        assert_eq!(some_of(&tips, &mut all, &mut random), 5);
        all[..5].sort_unstable();
        assert_eq!(all[..6], [3, 5, 7, 11, 13, 0]);
    }
}
