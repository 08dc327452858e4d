//! Which tips a transaction approves: three ways, each over the core's own code.

use std::collections::VecDeque;

use selvedge_core::border::TipPolicy;
use selvedge_core::hash::Issuer;
use selvedge_core::random::Random;
use selvedge_core::tips::{self, Stretch, Tip};

use super::weights::Weights;

/// A way to choose. It is told all that happens, and keeps what it needs of it.
pub(super) trait Chooser {
    /// A transaction arrived and approves these; nobody sees it yet.
    fn arrived(&mut self, number: u32, approved: &[u32]);
    /// It becomes visible, a tip.
    fn shown(&mut self, number: u32, approved: &[u32], now: f64);
    /// The first of those that approve it became visible: it is no visible tip any more.
    fn covered(&mut self, number: u32);
    /// Different visible tips, into `chosen`; returns how many: at least one.
    fn choose(&mut self, now: f64, chosen: &mut [u32], random: &mut Random) -> usize;
}

/// Uniform over the visible tips.
#[derive(Debug, Default)]
pub(super) struct Uniform {
    tips: Vec<u64>,
    /// Where in `tips` the visible transactions from number `first` on stand; meaningless for those that are no tips.
    places: VecDeque<u32>,
    first: u32,
    /// Room for what the core chooses.
    chosen: [u64; tips::CHOSEN_MAX],
}

/// Marks a transaction that is no tip any more.
const NOWHERE: u32 = u32::MAX;

impl Chooser for Uniform {
    fn arrived(&mut self, _: u32, _: &[u32]) {}

    fn shown(&mut self, number: u32, _: &[u32], _: f64) {
        self.places.push_back(self.tips.len() as u32);
        self.tips.push(u64::from(number));
    }

    fn covered(&mut self, number: u32) {
        let place = std::mem::replace(&mut self.places[(number - self.first) as usize], NOWHERE);
        self.tips.swap_remove(place as usize);
        if let Some(moved) = self.tips.get(place as usize) {
            self.places[(*moved as u32 - self.first) as usize] = place;
        }
        while self.places.front() == Some(&NOWHERE) {
            self.places.pop_front();
            self.first += 1;
        }
    }

    fn choose(&mut self, _: f64, chosen: &mut [u32], random: &mut Random) -> usize {
        let count = tips::some_of(&self.tips, &mut self.chosen[..chosen.len()], random);
        for (number, found) in chosen.iter_mut().zip(&self.chosen[..count]) {
            *number = *found as u32;
        }
        count
    }
}

/// Independent walks from the genesis, weighted by exact cumulative weight.
#[derive(Debug)]
pub(super) struct Walk {
    alpha: f64,
    weights: Weights,
}

impl Walk {
    pub(super) fn new(alpha: f64) -> Self {
        Self { alpha, weights: Weights::new() }
    }
}

impl Chooser for Walk {
    fn arrived(&mut self, _: u32, approved: &[u32]) {
        self.weights.add(approved);
    }

    fn shown(&mut self, number: u32, approved: &[u32], _: f64) {
        self.weights.show(number, approved);
    }

    fn covered(&mut self, number: u32) {
        self.weights.give_up(number);
    }

    fn choose(&mut self, _: f64, chosen: &mut [u32], random: &mut Random) -> usize {
        let mut count = 0;
        for _ in 0..chosen.len() {
            let end = tips::walk(&self.weights, 0, self.alpha, random);
            if !chosen[..count].contains(&end) {
                chosen[count] = end;
                count += 1;
            }
        }
        count
    }
}

/// What gateways do: `select` with its default policy. The unit of time is a second.
#[derive(Debug)]
pub(super) struct Shipped {
    policy: TipPolicy,
    issuers: u64,
    /// Ascending, as the core keeps them.
    tips: Vec<Tip>,
    /// Who issues what.
    random: Random,
}

impl Shipped {
    pub(super) fn new(issuers: u32, random: Random) -> Self {
        Self { policy: TipPolicy::default(), issuers: u64::from(issuers), tips: Vec::new(), random }
    }
}

fn microseconds(time: f64) -> u64 {
    (time * 1e6) as u64
}

impl Chooser for Shipped {
    fn arrived(&mut self, _: u32, _: &[u32]) {}

    fn shown(&mut self, number: u32, _: &[u32], now: f64) {
        let mut issuer = Issuer([0; 32]);
        issuer.0[..8].copy_from_slice(&self.random.below(self.issuers).to_le_bytes());
        self.tips.push(Tip { number: u64::from(number), issuer, arrived_us: microseconds(now) });
    }

    fn covered(&mut self, number: u32) {
        if let Ok(place) = self.tips.binary_search_by_key(&u64::from(number), |tip| tip.number) {
            self.tips.remove(place);
        }
    }

    fn choose(&mut self, now: f64, chosen: &mut [u32], random: &mut Random) -> usize {
        let pair = tips::select(&self.policy, &self.tips, Stretch::default, microseconds(now), random);
        let [one, other] = pair.expect("the newest visible transaction is a tip, so there is one");
        (chosen[0], chosen[1]) = (one as u32, other as u32);
        if one == other { 1 } else { 2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use selvedge_core::tips::Graph;

    /// The same tangle, in which everything weighs the same.
    struct Weightless<'a>(&'a Weights);

    impl Graph for Weightless<'_> {
        fn referrers(&self, place: u32) -> &[u32] {
            self.0.referrers(place)
        }

        fn weight(&self, _: u32) -> u32 {
            1
        }
    }

    #[test]
    fn a_walk_with_alpha_zero_is_unweighted_and_with_a_large_one_is_not() {
        let mut weights = Weights::new();
        for (number, approved) in
            [vec![], vec![0], vec![0], vec![1], vec![1, 2], vec![3], vec![3, 4]].iter().enumerate()
        {
            weights.add(approved);
            weights.show(number as u32, approved);
        }
        let ends = |alpha, weighted: bool| -> Vec<u32> {
            let mut random = Random::new(&[1; 32]);
            let mut end = || {
                if weighted {
                    tips::walk(&weights, 0, alpha, &mut random)
                } else {
                    tips::walk(&Weightless(&weights), 0, alpha, &mut random)
                }
            };
            (0..200).map(|_| end()).collect()
        };
        assert_eq!(ends(0.0, true), ends(0.0, false));
        assert_ne!(ends(1.0, true), ends(1.0, false));
    }
}
