//! Who is linked with whom.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use selvedge_core::limits;

use super::params::{Params, Problem};
use super::units::{Wrong, as_text};
use crate::dice::Dice;

/// Who is linked with whom: `full`, `regular:DEGREE` or `sites:SITESxGATEWAYS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// Everybody with everybody.
    Full,
    /// A connected random graph in which each has the same number of links, drawn from the seed.
    Regular {
        /// Links of each.
        degree: usize,
    },
    /// Sites with a fast network inside and a wire between them that the gateways of a site share. All are linked.
    Sites {
        /// Sites.
        sites: usize,
        /// Gateways of each.
        each: usize,
    },
}

as_text!(Topology);

impl FromStr for Topology {
    type Err = Wrong;
    fn from_str(text: &str) -> Result<Self, Wrong> {
        const EXPECTED: &str =
            "full, regular:DEGREE such as regular:4, or sites:SITESxGATEWAYS such as sites:3x4";
        let (word, rest) = text.split_once(':').unwrap_or((text, ""));
        match word {
            "full" if rest.is_empty() && !text.contains(':') => Ok(Self::Full),
            "regular" => match rest.parse() {
                Ok(degree) if degree > 0 => Ok(Self::Regular { degree }),
                _ => Err(Wrong::new(text, EXPECTED)),
            },
            "sites" => {
                let (sites, each) = rest.split_once('x').ok_or_else(|| Wrong::new(text, EXPECTED))?;
                match (sites.parse(), each.parse()) {
                    (Ok(sites), Ok(each)) if sites > 0 && each > 0 => Ok(Self::Sites { sites, each }),
                    _ => Err(Wrong::new(text, EXPECTED)),
                }
            }
            _ => Err(Wrong::word(text, word, &["full", "regular", "sites"], EXPECTED)),
        }
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("full"),
            Self::Regular { degree } => write!(f, "regular:{degree}"),
            Self::Sites { sites, each } => write!(f, "sites:{sites}x{each}"),
        }
    }
}

impl Topology {
    /// The site of a gateway; without sites each is one of its own.
    pub const fn site(self, gateway: usize) -> usize {
        match self {
            Self::Sites { each, .. } => gateway / each,
            Self::Full | Self::Regular { .. } => gateway,
        }
    }

    /// How many sites there are.
    pub const fn sites(self, gateways: usize) -> usize {
        match self {
            Self::Sites { sites, .. } => sites,
            Self::Full | Self::Regular { .. } => gateways,
        }
    }

    pub(super) fn check(self, params: &Params, problems: &mut Vec<Problem>) {
        let gateways = params.gateways;
        let links = match self {
            Self::Regular { degree } => degree,
            Self::Full | Self::Sites { .. } => gateways.saturating_sub(1),
        };
        if links > limits::PEERS_MAX {
            let most = limits::PEERS_MAX;
            let expected = format!("at most {most} links of each of {gateways} gateways, such as regular:8");
            problems.push(Problem::new("topology", self, expected));
        }
        match self {
            Self::Regular { degree } if gateways > 1 && degree >= gateways => {
                let expected = format!("a degree below the {gateways} gateways");
                problems.push(Problem::new("topology", self, expected));
            }
            Self::Regular { degree } if degree * gateways % 2 == 1 => {
                let expected = format!(
                    "an even degree: {gateways} gateways with {degree} links each have no whole number"
                );
                problems.push(Problem::new("topology", self, expected));
            }
            Self::Regular { degree: 1 } if gateways > 2 => {
                problems.push(Problem::new(
                    "topology",
                    self,
                    "a degree of 2 or more: pairs are not connected",
                ));
            }
            Self::Full | Self::Regular { .. } => {}
            Self::Sites { sites, each } => {
                if sites.saturating_mul(each) != gateways {
                    let expected = format!("sites times gateways of each to be the {gateways} gateways");
                    problems.push(Problem::new("topology", self, expected));
                }
            }
        }
    }
}

/// Who is linked with whom in one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// Of each gateway those that it is linked with, ascending.
    pub neighbours: Vec<Vec<usize>>,
}

/// Attempts to exchange the ends of two links, for each link of a random graph. Ten for each link mix well in practice
/// (Milo and others, "On the uniform generation of random graphs with prescribed degree sequences", 2003: 100 are safe).
const EXCHANGES_PER_LINK: usize = 100;

impl Graph {
    /// Draws it from the seed. The parameters were checked.
    pub fn new(params: &Params) -> Self {
        let gateways = params.gateways;
        match params.topology {
            Topology::Regular { degree } if gateways > 1 => Self::regular(gateways, degree, params.seed),
            _ => Self::from_links(gateways, (0..gateways).flat_map(|a| (0..a).map(move |b| (a, b)))),
        }
    }

    fn from_links(gateways: usize, links: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let mut neighbours = vec![Vec::new(); gateways];
        for (a, b) in links {
            neighbours[a].push(b);
            neighbours[b].push(a);
        }
        for list in &mut neighbours {
            list.sort_unstable();
        }
        Self { neighbours }
    }

    /// Begins with a ring of chords, which is regular and connected, and exchanges ends of links drawn at random: degrees
    /// stay as they are. Goes on until it is connected.
    fn regular(gateways: usize, degree: usize, seed: u64) -> Self {
        let mut dice = Dice::new(seed, "topology");
        let key = |a: usize, b: usize| (a.min(b), a.max(b));
        let mut links: Vec<(usize, usize)> = Vec::new();
        for a in 0..gateways {
            links.extend((1..=degree / 2).map(|step| key(a, (a + step) % gateways)));
            if degree % 2 == 1 && a < gateways / 2 {
                links.push((a, a + gateways / 2));
            }
        }
        let mut present: BTreeSet<(usize, usize)> = links.iter().copied().collect();
        debug_assert_eq!(present.len(), gateways * degree / 2, "a ring of chords has each link once");
        loop {
            for _ in 0..links.len() * EXCHANGES_PER_LINK {
                let (one, other) =
                    (dice.below(links.len() as u64) as usize, dice.below(links.len() as u64) as usize);
                let ((a, b), (c, d)) = (links[one], links[other]);
                let (c, d) = if dice.chance(500) { (c, d) } else { (d, c) };
                let (first, second) = (key(a, c), key(b, d));
                if a == c || b == d || present.contains(&first) || present.contains(&second) {
                    continue;
                }
                present.remove(&links[one]);
                present.remove(&links[other]);
                present.extend([first, second]);
                (links[one], links[other]) = (first, second);
            }
            let graph = Self::from_links(gateways, present.iter().copied());
            // Two links each, or one, and the ring is the only one there is.
            if graph.is_connected() {
                return graph;
            }
        }
    }

    /// Can everybody reach everybody?
    pub fn is_connected(&self) -> bool {
        let mut seen = vec![false; self.neighbours.len()];
        let mut left = vec![0];
        while let Some(at) = left.pop() {
            if !std::mem::replace(&mut seen[at], true) {
                left.extend(self.neighbours[at].iter().filter(|next| !seen[**next]));
            }
        }
        seen.into_iter().all(|seen| seen)
    }

    /// Links, each counted once.
    pub fn links(&self) -> usize {
        self.neighbours.iter().map(Vec::len).sum::<usize>() / 2
    }
}
