//! Keys, genesis and gateways of a plan, and what is known beforehand to happen.

use std::collections::BTreeMap;
use std::sync::Arc;

use selvedge_core::border::Config;
use selvedge_core::genesis::{Genesis, Member, Organisation, role};
use selvedge_core::{Network, Scheme};

use super::gateway::{Clock, Gateway};
use super::{Event, Figures, World};
use crate::dice::Dice;
use crate::hostile::{Hostile, Keys};
use crate::oracle::Oracle;
use crate::plan::Plan;
use crate::signatures::{Key, Keyring};
use crate::store::Store;
use crate::trace::Trace;

/// 2026-01-01 00:00 UTC, ns since 1970.
const WALL_BEGIN_NS: i64 = 1_767_225_600_000_000_000;
/// From faults off to equal ledgers, microseconds.
const LEDGERS_WITHIN_US: u64 = 60_000_000;
/// From there until whatever is hopeless was given up.
const REST_WITHIN_US: u64 = 150_000_000;

impl World {
    /// A world before its first event.
    pub fn new(plan: Plan) -> Self {
        let mut dice = Dice::new(plan.seed, "world");
        let mut keyring = Keyring::new(plan.signatures);
        let gateway_keys: Vec<Key> =
            (0..plan.gateways).map(|_| keyring.make(Scheme::MlDsa44, dice.bytes32())).collect();
        let keys = Keys {
            member: keyring.make(Scheme::MlDsa44, dice.bytes32()),
            joiner: keyring.make(Scheme::MlDsa44, dice.bytes32()),
            stranger: keyring.make(Scheme::MlDsa44, dice.bytes32()),
            organisation: keyring.make(Scheme::MlDsa65, dice.bytes32()),
        };
        let genesis = Arc::new(genesis_of(&plan, &gateway_keys, &keys, dice.bytes32()));
        let genesis_bytes: Arc<[u8]> = genesis.to_bytes().into();
        let network = Network::new(Genesis::network_id_of(&genesis_bytes));
        let hostile = (plan.hostile_actions > 0)
            .then(|| Hostile::new(plan.seed, network.clone(), &genesis, &keys, plan.gateways));
        let mut gateways = Vec::new();
        for (place, key) in gateway_keys.into_iter().enumerate() {
            let config = Config {
                genesis: genesis.clone(),
                genesis_bytes: genesis_bytes.clone(),
                issuer: key.public.issuer(),
                salt_key: dice.bytes32(),
                batch: plan.batch,
                journal_within_us: plan.journal_within_us,
                foreign_within_us: plan.foreign_within_us,
                tips: plan.tips,
                approve_delay_max_us: plan.approve_delay_max_us,
                may_issue: true,
                window_records: plan.window_records,
            };
            gateways.push(gateway(place, config, key, &mut dice));
        }
        let mut world = Self {
            trace: Trace::new(keyring.is_reproducible(), plan.print_trace),
            clients: Dice::new(plan.seed, "clients"),
            faults: plan.faults,
            plan,
            network,
            gateways,
            hostile,
            keyring,
            dice,
            queue: std::collections::BinaryHeap::new(),
            placed: 0,
            time_us: 0,
            next_peer: 0,
            peers_ever: BTreeMap::new(),
            next_reply: 0,
            dead_until: BTreeMap::new(),
            is_healed: false,
            attached_at_check: Vec::new(),
            figures: Figures::default(),
            report: None,
        };
        world.plan_events();
        world
    }

    fn plan_events(&mut self) {
        let (count, load_us) = (self.gateways.len(), self.plan.load_us);
        for at in 0..count {
            let after_us = self.dice.below(100_000);
            self.at(after_us, Event::Start { at });
            self.at(500_000 + after_us, Event::Submit { at, again: true });
            if self.plan.issue_every_us > 0 {
                self.at(500_000 + after_us, Event::Issue { at });
            }
            for to in (0..count).filter(|to| *to != at) {
                self.at(self.plan.offer_every_us, Event::Offer { from: at, to });
            }
        }
        for _ in 0..self.faults.partitions {
            let from = self.dice.below(count as u64) as usize;
            let to = (from + 1 + self.dice.below(count as u64 - 1) as usize) % count;
            let length_us = self.dice.below(load_us);
            let after_us = self.dice.below(load_us);
            self.at(after_us, Event::Partition { from, to, length_us });
        }
        for _ in 0..self.faults.clock_jumps {
            let at = self.dice.below(count as u64) as usize;
            let after_us = self.dice.below(load_us);
            self.at(after_us, Event::Clock { at });
        }
        for _ in 0..self.plan.hostile_actions {
            let after_us = self.dice.below(load_us);
            self.at(after_us, Event::Act);
        }
        self.at(load_us, Event::Heal);
        self.at(load_us + LEDGERS_WITHIN_US, Event::CheckLedgers);
        self.at(load_us + LEDGERS_WITHIN_US + REST_WITHIN_US, Event::CheckRest);
    }
}

fn genesis_of(plan: &Plan, gateways: &[Key], keys: &Keys, random: [u8; 32]) -> Genesis {
    let member = |key: &Key, name: String| Member {
        organisation: 0,
        key: (*key.public).clone(),
        name,
        roles: vec![role::GATEWAY.to_owned()],
    };
    let named = gateways.iter().enumerate().map(|(place, key)| member(key, format!("gateway {place}")));
    let mut members: Vec<Member> = named.collect();
    members.push(member(&keys.member, "a member with other plans".to_owned()));
    let in_committee = members.len() - usize::from(!plan.hostile_in_committee);
    Genesis {
        version: 0,
        network_name: "simulated".to_owned(),
        random,
        organisations: vec![Organisation {
            name: "organisation".to_owned(),
            key: (*keys.organisation.public).clone(),
        }],
        members,
        committee: (0..in_committee as u16).collect(),
    }
}

fn gateway(place: usize, config: Config, key: Key, dice: &mut Dice) -> Gateway {
    let clock = Clock {
        monotonic_base_us: dice.below(1_000_000_000_000),
        wall_base_ns: WALL_BEGIN_NS + dice.below(1_000_000_000) as i64,
        synchronised: true,
    };
    let streams = ["tank/level", "tank/flow", "line/state", "line/text"];
    Gateway {
        config,
        key,
        node: None,
        start: 0,
        store: Store::default(),
        oracle: Oracle::default(),
        clock,
        peers: BTreeMap::new(),
        streams: streams.map(|name| (format!("{name} {place}"), 0)).to_vec(),
        crash_after: None,
        may_halt: false,
        wakes_at_us: None,
        idle_wakes: 0,
        last_stamp_ns: i64::MIN,
        tips: 0,
        tips_since_us: 0,
    }
}
