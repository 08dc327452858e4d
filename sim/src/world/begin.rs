//! Keys, genesis and gateways of a plan, and what is known beforehand to happen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use selvedge_core::border::{Config, StartCheck};
use selvedge_core::genesis::{Genesis, Member, Organisation, role};
use selvedge_core::payload::{Credential, CredentialSigner, Enrol};
use selvedge_core::scheme::credential_message;
use selvedge_core::{Network, Scheme, codec, limits};

use super::gateway::{Clock, Gateway, Stream};
use super::patience::Patience;
use super::{Event, Figures, World};
use crate::dice::Dice;
use crate::hostile::{Hostile, Keys};
use crate::invariants::Watch;
use crate::invariants::asked_again::AGAIN_WITHIN_US;
use crate::oracle::Oracle;
use crate::plan::faults::{DISK_FULL_MAX_US, DISK_STALL_MAX_US};
use crate::plan::{Plan, Topology};
use crate::signatures::{Key, Keyring};
use crate::store::Store;
use crate::tally::Tally;
use crate::trace::Trace;

/// 2026-01-01 00:00 UTC, ns since 1970.
const WALL_BEGIN_NS: i64 = 1_767_225_600_000_000_000;
/// From equal ledgers until whatever is hopeless was given up.
const REST_WITHIN_US: u64 = 900_000_000;

/// From faults off until nothing but digests is said.
const QUIET_AFTER_US: u64 = 1_800_000_000;
const HOUR_US: u64 = 3_600_000_000;

impl World {
    /// A world before its first event.
    pub fn new(plan: Plan) -> Self {
        let mut dice = Dice::new(plan.seed, "world");
        let mut keyring = Keyring::new(plan.signatures);
        let gateway_keys: Vec<Key> =
            (0..plan.gateways).map(|_| keyring.make(Scheme::MlDsa44, dice.bytes32())).collect();
        let keys = Keys {
            members: (0..plan.hostile_members)
                .map(|_| keyring.make(Scheme::MlDsa44, dice.bytes32()))
                .collect(),
            joiner: keyring.make(Scheme::MlDsa44, dice.bytes32()),
            stranger: keyring.make(Scheme::MlDsa44, dice.bytes32()),
            organisation: keyring.make(Scheme::MlDsa65, dice.bytes32()),
        };
        let genesis = Arc::new(genesis_of(&plan, &gateway_keys, &keys, dice.bytes32()));
        let joiner_keys: Vec<Key> =
            (0..plan.joiners).map(|_| keyring.make(Scheme::MlDsa44, dice.bytes32())).collect();
        let genesis_bytes: Arc<[u8]> = genesis.to_bytes().into();
        let network = Network::new(Genesis::network_id_of(&genesis_bytes));
        let hostile = (plan.hostile_actions > 0)
            .then(|| Hostile::new(plan.seed, network.clone(), &genesis, &keys, plan.gateways + plan.joiners));
        let mut gateways = Vec::new();
        for (place, key) in gateway_keys.into_iter().chain(joiner_keys).enumerate() {
            let enrolment = (place >= plan.gateways).then(|| {
                codec::encode(&enrolment_of(&mut keyring, &network, &keys.organisation, &key, place))
            });
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
                start_check: match plan.start_wait_us {
                    0 => StartCheck::None,
                    wait_us => StartCheck::Bounded(wait_us),
                },
                enrolment,
                signing_keys: None,
                software: "selvedge-sim".to_owned(),
                window_records: plan.window_records,
            };
            gateways.push(gateway(place, config, key, &mut dice));
        }
        let links = links_of(&plan, &mut dice);
        let mut world = Self {
            patience: Patience::of(&plan, &links),
            trace: Trace::new(plan.print_trace),
            clients: Dice::new(plan.seed, "clients"),
            faults: plan.faults,
            links,
            quiet_since: None,
            quiet_bytes: 0,
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
            last_cuts: BTreeSet::new(),
            attached_at_check: Vec::new(),
            figures: Figures::default(),
            tally: Tally::default(),
            report: None,
        };
        world.plan_events();
        world
    }

    fn plan_events(&mut self) {
        let (count, load_us) = (self.gateways.len(), self.plan.load_us);
        for at in 0..count {
            let (late, late_us) = self.plan.late;
            let is_late = at + late >= count;
            let after_us = self.dice.below(if is_late { late_us.max(1) } else { 100_000 })
                + if is_late { self.plan.late_after_us } else { 0 };
            self.at(after_us, Event::Start { at });
            self.at(500_000 + after_us, Event::Submit { at, again: true });
            if self.plan.describe_every_us > 0 {
                self.at(500_000 + after_us, Event::Describe { at });
            }
            if self.plan.issue_every_us > 0 {
                self.at(500_000 + after_us, Event::Issue { at });
            }
        }
        for _ in 0..self.faults.partitions {
            let from = self.dice.below(count as u64) as usize;
            let to = (from + 1 + self.dice.below(count as u64 - 1) as usize) % count;
            let length_us = self.dice.below(load_us);
            let after_us = self.dice.below(load_us);
            self.at(after_us, Event::Partition { from, to, length_us });
        }
        for _ in 0..self.faults.isolations {
            let (at, after_us, length_us) = self.window(count, load_us);
            self.at(after_us, Event::Isolate { at, length_us });
        }
        if let Some((after_us, length_us)) = self.plan.offline {
            self.at(after_us, Event::Isolate { at: 0, length_us });
        }
        for _ in 0..self.faults.disk_full {
            let (at, after_us, length_us) = self.window(count, DISK_FULL_MAX_US);
            self.at(after_us, Event::Fill { at, length_us });
        }
        for _ in 0..self.faults.disk_stalls {
            let (at, after_us, length_us) = self.window(count, DISK_STALL_MAX_US);
            self.at(after_us, Event::Stall { at, length_us });
        }
        for _ in 0..self.faults.clock_jumps {
            let at = self.dice.below(count as u64) as usize;
            let after_us = self.dice.below(load_us);
            self.at(after_us, Event::Clock { at });
        }
        for at in (0..self.plan.gateways).take(self.plan.images) {
            let after_us = load_us / 20 + self.dice.below(load_us / 10);
            self.at(after_us, Event::Image { at });
            let later_us = load_us / 3 + self.dice.below(load_us / 3);
            self.at(later_us, Event::Restore { at });
        }
        for _ in 0..self.plan.hostile_actions {
            let after_us = self.dice.below(load_us);
            self.at(after_us, Event::Act);
        }
        self.at(load_us, Event::Heal);
        let equal_us = load_us + self.patience.ledgers_us;
        let fresh_us = equal_us + self.patience.fresh_us;
        self.at(equal_us - AGAIN_WITHIN_US, Event::NoteAwaited);
        self.at(equal_us, Event::CheckLedgers);
        self.at(fresh_us, Event::CheckFresh);
        self.at(fresh_us + self.patience.ledgers_us, Event::CheckAgain);
        self.at(equal_us + REST_WITHIN_US, Event::CheckRest);
        self.at(load_us + QUIET_AFTER_US, Event::CheckQuiet { ends: false });
        self.at(load_us + QUIET_AFTER_US + HOUR_US, Event::CheckQuiet { ends: true });
    }
}

impl World {
    /// A window in which something is wrong with one gateway: which one, when, and for how long.
    fn window(&mut self, count: usize, longest_us: u64) -> (usize, u64, u64) {
        let at = self.dice.below(count as u64) as usize;
        (at, self.dice.below(self.plan.load_us), self.dice.between(1, longest_us))
    }
}

/// The organisation lets a gateway in that the genesis does not name.
fn enrolment_of(ring: &mut Keyring, network: &Network, organisation: &Key, key: &Key, place: usize) -> Enrol {
    let (name, roles) = (format!("gateway {place}"), vec![role::GATEWAY.to_owned()]);
    let hash = Enrol::credential_hash(key.public.issuer(), 0, &name, &roles);
    let message = credential_message(organisation.public.scheme, 0, network.id(), &hash);
    let signature = ring.sign(organisation, &message, place as u64);
    let credential = Credential { organisation: 0, signer: CredentialSigner::Organisation, signature };
    Enrol { key: (*key.public).clone(), name, roles, credential }
}

pub(super) fn links_of(plan: &Plan, dice: &mut Dice) -> BTreeSet<(usize, usize)> {
    let count = plan.gateways + plan.joiners;
    let pairs = || (0..count).flat_map(|one| (one + 1..count).map(move |other| (one, other)));
    match plan.topology {
        Topology::Full => pairs().collect(),
        Topology::Line => pairs().filter(|(one, other)| one + 1 == *other).collect(),
        Topology::Star => pairs().filter(|(one, _)| *one == 0).collect(),
        Topology::Random(degree) => {
            let mut links: BTreeSet<(usize, usize)> =
                (1..count).map(|at| (dice.below(at as u64) as usize, at)).collect();
            let all = count * (count - 1) / 2;
            while links.len() < all.min((count * degree as usize).div_ceil(2)) {
                let (one, other) = (dice.below(count as u64) as usize, dice.below(count as u64) as usize);
                if one != other {
                    links.insert((one.min(other), one.max(other)));
                }
            }
            links
        }
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
    let hostile = keys.members.iter().enumerate();
    let hostile = hostile.map(|(place, key)| member(key, format!("a member with other plans {place}")));
    // Hostile ones first: a committee has a most, and of a larger network they are to be in it.
    let mut committee: Vec<u16> = (0..members.len() as u16).collect();
    members.extend(hostile);
    if plan.hostile_in_committee {
        committee.splice(0..0, plan.gateways as u16..members.len() as u16);
    }
    committee.truncate(limits::COMMITTEE_MAX);
    Genesis {
        version: 0,
        network_name: "simulated".to_owned(),
        random,
        organisations: vec![Organisation {
            name: "organisation".to_owned(),
            key: (*keys.organisation.public).clone(),
        }],
        members,
        committee,
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
        watch: Watch::default(),
        image: None,
        is_restored: false,
        lost: Vec::new(),
        away_until_us: 0,
        clock,
        peers: BTreeMap::new(),
        back_off_us: BTreeMap::new(),
        bodies_received: 0,
        streams: streams.map(|name| Stream::new(format!("{name} {place}"))).to_vec(),
        crash_after: None,
        may_halt: false,
        full_until_us: 0,
        stalled_until_us: 0,
        asked_us: BTreeMap::new(),
        awaited: Vec::new(),
        wakes_at_us: None,
        idle_wakes: 0,
        last_stamp_ns: i64::MIN,
        tips: 0,
        tips_since_us: 0,
    }
}
