//! Links: what their wires carry.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::delay::Delay;
use super::params::{Params, Problem};
use super::topology::Topology;
use super::units::{Bandwidth, Share, Span};

/// What the links are like, each direction of each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinkModel {
    /// How long a packet is on its way.
    pub delay: Delay,
    /// What each direction of each link carries; without it there is no such limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Bandwidth>,
    /// What a gateway sends at most over all its links together; with sites, what a site sends to the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink: Option<Bandwidth>,
    /// The same for what it receives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub downlink: Option<Bandwidth>,
    /// Packets that get lost. QUIC sends what they carried again.
    pub loss: Share,
    /// Packets that come twice. QUIC drops the second one.
    pub duplicate: Share,
    /// With sites: the delay inside a site.
    pub lan_delay: Delay,
    /// With sites: what each gateway sends at most inside its site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lan_bandwidth: Option<Bandwidth>,
}

impl Default for LinkModel {
    /// 50 to 100 ms, no limits, nothing lost; inside a site 0.2 to 1 ms.
    fn default() -> Self {
        Self {
            delay: Delay::Uniform { low: Span::from_ms(50), high: Span::from_ms(100) },
            bandwidth: None,
            uplink: None,
            downlink: None,
            loss: Share::default(),
            duplicate: Share::default(),
            lan_delay: Delay::Uniform { low: Span::from_us(200), high: Span::from_ms(1) },
            lan_bandwidth: None,
        }
    }
}

impl LinkModel {
    pub(super) fn load_files(&mut self, folder: &Path) -> Result<(), Problem> {
        self.delay.load_file("link.delay", folder)?;
        self.lan_delay.load_file("link.lan_delay", folder)
    }

    pub(super) fn check(&self, params: &Params, problems: &mut Vec<Problem>) {
        let mut wrong = |key: &str, got: &dyn std::fmt::Display, expected: String| {
            problems.push(Problem::new(key, got, expected));
        };
        if self.delay.is_missing() {
            wrong("link.delay", &self.delay, "a matrix that was read".to_owned());
        }
        if let Some(rows) = self.delay.sites() {
            let sites = params.topology.sites(params.gateways);
            match params.topology {
                Topology::Sites { .. } if rows != sites => {
                    let expected = format!("a matrix of the {sites} sites of the topology; it has {rows}");
                    wrong("link.delay", &self.delay, expected);
                }
                _ if rows > params.gateways => {
                    let expected =
                        format!("a matrix of at most {} sites, the gateways; it has {rows}", params.gateways);
                    wrong("link.delay", &self.delay, expected);
                }
                _ => {}
            }
        }
        if matches!(self.lan_delay, Delay::Matrix(_)) {
            wrong(
                "link.lan_delay",
                &self.lan_delay,
                "no matrix: the diagonal of link.delay is not used inside a site".to_owned(),
            );
        }
        // What has no effect would be believed to have one.
        if !matches!(params.topology, Topology::Sites { .. }) {
            let expected = "nothing unless the topology is sites:…, since it holds inside a site";
            if self.lan_delay != Self::default().lan_delay {
                wrong("link.lan_delay", &self.lan_delay, expected.to_owned());
            }
            if let Some(bandwidth) = &self.lan_bandwidth {
                wrong("link.lan_bandwidth", bandwidth, expected.to_owned());
            }
        }
        // At half of all packets lost a connection does not live: QUIC gives it up.
        for (key, share) in [("link.loss", self.loss), ("link.duplicate", self.duplicate)] {
            if share.ppm > 500_000 {
                wrong(key, &share, "0% to 50%".to_owned());
            }
        }
    }
}
