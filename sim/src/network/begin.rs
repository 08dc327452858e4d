//! From parameters to a world before its first event: keys, genesis, gateways, connections.

use std::sync::Arc;

use selvedge_core::border::{Config, Input, Restored, StartCheck, StreamHandle};
use selvedge_core::genesis::{Genesis, Member, Organisation, role};
use selvedge_core::node::Node;
use selvedge_core::stream::{Attestation, Decimal, Descriptor};
use selvedge_core::{Issuer, Scheme};

use super::gateway::{Gateway, now_at};
use super::lanes::End;
use super::ledger::Ledger;
use super::params::Params;
use super::tokens::Keys;
use super::topology::Graph;
use super::wires::Wires;
use super::workload::Source;
use super::world::{Checked, Event, World};
use crate::dice::Dice;

/// Connections come up within this time, microseconds.
const CONNECT_WITHIN_US: u64 = 200_000;
/// The load begins when hellos have been said even on slow links, microseconds.
pub(super) const BEGIN_US: u64 = 2_000_000;
/// Tips and queues are looked at so often during the load …
const SAMPLES: u64 = 400;
/// … but no more often than this, in microseconds.
const SAMPLE_LEAST_US: u64 = 10_000;

impl<'a> World<'a> {
    /// A world before its first event.
    ///
    /// # Errors
    /// When a core cannot be opened.
    pub(super) fn new(params: &'a Params) -> Checked<Self> {
        let mut dice = Dice::new(params.seed, "network");
        let mut keys = Keys::new(params.signatures.into());
        let public: Vec<_> =
            (0..params.gateways).map(|_| keys.make(Scheme::MlDsa44, dice.bytes32())).collect();
        let organisation = keys.make(Scheme::MlDsa65, dice.bytes32());
        let member = |(place, key): (usize, &Arc<_>)| Member {
            organisation: 0,
            key: selvedge_core::genesis::PublicKey::clone(key),
            name: format!("gateway {place}"),
            roles: vec![role::GATEWAY.to_owned()],
        };
        let genesis = Arc::new(Genesis {
            version: 0,
            network_name: "simulated".to_owned(),
            random: dice.bytes32(),
            organisations: vec![Organisation {
                name: "organisation".to_owned(),
                key: (*organisation).clone(),
            }],
            members: public.iter().enumerate().map(member).collect(),
            committee: (0..params.committee() as u16).collect(),
        });
        let genesis_bytes: Arc<[u8]> = genesis.to_bytes().into();
        let issuers: Vec<Issuer> = public.iter().map(|key| key.issuer()).collect();
        let graph = Graph::new(params);
        let wires = Wires::new(params, &graph);
        let members = params.committee();
        let quorum = (members - (members - 1) / 3) as u32;
        let mut world = Self::empty(params, keys, Ledger::new(&issuers), wires, quorum);
        for (place, issuer) in issuers.iter().enumerate() {
            let config = Config {
                genesis: genesis.clone(),
                genesis_bytes: genesis_bytes.clone(),
                issuer: *issuer,
                salt_key: dice.bytes32(),
                batch: params.batch.policy(),
                journal_within_us: params.node.journal_within.us,
                foreign_within_us: params.node.foreign_within.us,
                tips: params.tip_policy(),
                approve_delay_max_us: params.node.approve_within.us,
                // All begin with nothing: there is nothing to ask.
                start_check: StartCheck::None,
                enrolment: None,
                software: "selvedge-sim".to_owned(),
                window_records: params.node.window_records,
                signing_keys: None,
            };
            world.open(place, config, &dice.bytes32())?;
        }
        world.connect_all(&graph, &mut dice)?;
        world.plan_load();
        Ok(world)
    }

    fn open(&mut self, place: usize, config: Config, seed: &[u8; 32]) -> Checked {
        let mut effects = Vec::new();
        let node = Node::open(config, seed, Restored::default(), now_at(0), &mut effects);
        let node = node.map_err(|why| format!("gateway {place} cannot be opened: {why}"))?;
        self.gateways.push(Gateway::new(node, self.params.hardware.of(place).profile()));
        let at = place as u32;
        for effect in effects {
            self.do_effect(at, effect)?;
        }
        for stream in 0..self.params.workload.streams {
            let descriptor = descriptor(place, stream);
            self.input(at, Input::Describe { stream: StreamHandle(stream), descriptor, urgent: false });
        }
        self.plan_wake(at);
        Ok(())
    }

    fn connect_all(&mut self, graph: &Graph, dice: &mut Dice) -> Checked {
        for (one, neighbours) in graph.neighbours.iter().enumerate() {
            for other in neighbours.iter().copied().filter(|other| *other > one) {
                let here = self.ends.len() as u32;
                let wire = |from, to| self.wires.link(from, to).ok_or("two neighbours are not linked");
                let (there, back) = (wire(one, other)?, wire(other, one)?);
                self.ends.push(End::new(one as u32, here + 1, there));
                self.ends.push(End::new(other as u32, here, back));
                // Both notice at about the same time.
                let up_us = dice.below(CONNECT_WITHIN_US);
                self.queue.push(up_us, Event::Connect { end: here });
                self.queue.push(up_us, Event::Connect { end: here + 1 });
            }
        }
        Ok(())
    }

    fn plan_load(&mut self) {
        self.sources = (0..self.params.gateways).map(|at| Source::new(self.params, at)).collect();
        for at in 0..self.params.gateways as u32 {
            self.plan_submission(at);
        }
        self.sample_every_us = (self.params.load.us / SAMPLES).max(SAMPLE_LEAST_US);
        self.queue.push(BEGIN_US, Event::Sample);
        self.queue.push(BEGIN_US + self.params.load.us, Event::Rest);
    }

    /// Plans the next submission of a gateway's client.
    pub(super) fn plan_submission(&mut self, at: u32) {
        if let Some((after_us, readings)) = self.sources[at as usize].next() {
            self.queue.push(BEGIN_US + after_us, Event::Submit { at, readings });
        }
    }
}

fn descriptor(place: usize, stream: u32) -> Descriptor {
    Descriptor {
        name: format!("gateway {place}/stream {stream}"),
        device: "plant".to_owned(),
        address: format!("register {stream}"),
        source_type: "u64".to_owned(),
        unit: "Cel".to_owned(),
        scale: Decimal::ONE,
        offset: Decimal::ZERO,
        attestation: Attestation::Gateway,
    }
}
