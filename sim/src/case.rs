//! A run by name: what the seed decides, the seed, and what of it is changed. Written as the command that replays it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::plan::faults::FaultKind;
use crate::plan::{Plan, Topology};

const SECOND: u64 = 1_000_000;
/// Gateways of a calm run.
const CALM_GATEWAYS: usize = 3;
/// For how long readings come in in a calm run, microseconds.
const CALM_US: u64 = 60 * SECOND;
/// Most gateways of a run: the trace numbers them with one byte, the address book of the world is a full one.
pub const GATEWAYS_MAX: usize = 200;

/// What a seed decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Base {
    /// What the swarm runs for it: see [`Plan::swarm`].
    #[default]
    Swarm,
    /// See [`Plan::faulty`].
    Faulty,
    /// See [`Plan::restored`].
    Restored,
    /// Three gateways with delays and nothing worse: see [`Plan::calm`].
    Calm,
    /// So many gateways: see [`Plan::faulty_of`].
    Many(usize),
}

impl Base {
    /// The plan of this seed.
    pub fn plan(self, seed: u64) -> Plan {
        match self {
            Self::Swarm => Plan::swarm(seed),
            Self::Faulty => Plan::faulty(seed),
            Self::Restored => Plan::restored(seed),
            Self::Calm => Plan::calm(seed, CALM_GATEWAYS, CALM_US),
            Self::Many(gateways) => Plan::faulty_of(seed, gateways),
        }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Swarm => f.write_str("swarm"),
            Self::Faulty => f.write_str("faulty"),
            Self::Restored => f.write_str("restored"),
            Self::Calm => f.write_str("calm"),
            Self::Many(gateways) => write!(f, "many:{gateways}"),
        }
    }
}

impl FromStr for Base {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let many = text.strip_prefix("many:").and_then(|n| n.parse().ok());
        match text {
            "swarm" => Ok(Self::Swarm),
            "faulty" => Ok(Self::Faulty),
            "restored" => Ok(Self::Restored),
            "calm" => Ok(Self::Calm),
            _ => many.filter(|n| (2..=GATEWAYS_MAX).contains(n)).map(Self::Many).ok_or_else(|| {
                format!("no plan is called {text:?}: expected swarm, faulty, restored, calm, or many:N with N from 2 to {GATEWAYS_MAX}")
            }),
        }
    }
}

/// A run by name. What is `None` or empty is as the seed decides.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Case {
    /// What the seed decides.
    pub base: Base,
    /// The seed.
    pub seed: u64,
    /// Kinds of faults that do not happen.
    pub without: BTreeSet<FaultKind>,
    /// Gateways that the genesis names.
    pub gateways: Option<usize>,
    /// Gateways that join.
    pub joiners: Option<usize>,
    /// For how long readings come in, microseconds.
    pub load_us: Option<u64>,
    /// Things that hostile peers do.
    pub hostile_acts: Option<u64>,
    /// Everybody knows everybody, and no lane loses its order.
    pub plain_links: bool,
}

impl Case {
    /// As the seed decides.
    pub fn new(base: Base, seed: u64) -> Self {
        Self { base, seed, ..Self::default() }
    }

    /// The plan, with what is changed.
    pub fn plan(&self) -> Plan {
        let mut plan = self.base.plan(self.seed);
        plan.gateways = self.gateways.unwrap_or(plan.gateways);
        plan.joiners = self.joiners.unwrap_or(plan.joiners);
        plan.load_us = self.load_us.unwrap_or(plan.load_us);
        plan.hostile_actions = self.hostile_acts.unwrap_or(plan.hostile_actions);
        // No more hostile members than fewer gateways can bear, and no more that are late than there are.
        plan.hostile_members = plan.hostile_members.min(Plan::hostile_members_max(plan.gateways).max(1));
        plan.late.0 = plan.late.0.min(plan.gateways + plan.joiners - 1);
        plan.faults = self.without.iter().fold(plan.faults, |faults, kind| faults.without(*kind));
        if self.plain_links {
            (plan.topology, plan.is_ordered) = (Topology::Full, true);
        }
        plan
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "selvedge-sim replay {}", self.seed)?;
        if self.base != Base::Swarm {
            write!(f, " --plan {}", self.base)?;
        }
        let names = |kinds: Vec<FaultKind>| kinds.iter().map(|k| k.name()).collect::<Vec<_>>().join(",");
        let left: Vec<FaultKind> =
            FaultKind::ALL.into_iter().filter(|kind| !self.without.contains(kind)).collect();
        match (self.without.len(), left.len()) {
            (0, _) => {}
            (_, 0) => write!(f, " --only none")?,
            (without, with) if with < without => write!(f, " --only {}", names(left))?,
            _ => write!(f, " --without {}", names(self.without.iter().copied().collect()))?,
        }
        if let Some(gateways) = self.gateways {
            write!(f, " --gateways {gateways}")?;
        }
        if let Some(joiners) = self.joiners {
            write!(f, " --joiners {joiners}")?;
        }
        if let Some(load_us) = self.load_us {
            write!(f, " --for {}ms", load_us / 1_000)?;
        }
        if let Some(acts) = self.hostile_acts {
            write!(f, " --hostile-acts {acts}")?;
        }
        if self.plain_links { f.write_str(" --plain-links") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_written_as_the_command_that_replays_it() {
        let mut case = Case::new(Base::Swarm, 7);
        assert_eq!(case.to_string(), "selvedge-sim replay 7");
        case.without = FaultKind::ALL.into_iter().filter(|k| *k != FaultKind::Loss).collect();
        (case.gateways, case.load_us) = (Some(3), Some(1_500_000));
        assert_eq!(case.to_string(), "selvedge-sim replay 7 --only loss --gateways 3 --for 1500ms");
        case.base = Base::Many(16);
        case.without = [FaultKind::Crash].into();
        assert_eq!(
            case.to_string(),
            "selvedge-sim replay 7 --plan many:16 --without crash --gateways 3 --for 1500ms"
        );
        assert_eq!("many:16".parse(), Ok(Base::Many(16)));
        assert!("many:1".parse::<Base>().is_err() && "few".parse::<Base>().is_err());
    }

    #[test]
    fn what_is_left_out_does_not_happen_and_the_rest_is_as_drawn() {
        let mut case = Case::new(Base::Faulty, 11);
        let drawn = case.plan();
        assert_eq!(drawn, Plan::faulty(11));
        case.without = [FaultKind::Loss, FaultKind::Crash].into();
        let plan = case.plan();
        assert_eq!((plan.faults.loss_permille, plan.faults.crash_effects_max), (0, 0));
        assert_eq!(plan.faults.duplicate_permille, drawn.faults.duplicate_permille);
        assert_eq!(plan.gateways, drawn.gateways);
    }
}
