//! The peers as lines for people.

use std::io::{self, Write};

use super::{NetworkState, PeerAnswer, PeersAnswer, RefusedAnswer};
use crate::answers::shown::Time;
use crate::answers::tangle::short_id;
use crate::answers::times::{age_words, bytes_words, count_words, plain, plural, span_words};
use crate::answers::words::Table;

impl PeersAnswer {
    /// For people.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_words(&self, out: &mut dyn Write) -> io::Result<()> {
        match self.network {
            NetworkState::NotRunning => {
                return writeln!(
                    out,
                    "no node runs on this folder: `selvedge run` starts it, and then it has peers"
                );
            }
            NetworkState::None => {
                return writeln!(
                    out,
                    "no network: the configuration names neither `listen` nor `peers` under [network]; the gateway works alone"
                );
            }
            NetworkState::Up => {}
        }
        let listen = self
            .listen
            .as_deref()
            .map_or_else(String::new, |listen| format!(", listening on {listen} (UDP)"));
        writeln!(out, "{} connected{listen}", plural(self.peers.len() as u64, "peer"))?;
        if !self.peers.is_empty() {
            writeln!(out)?;
            self.table().write(out)?;
        }
        for peer in &self.peers {
            if let Some(fault) = &peer.last_fault {
                let who = who(peer.name.as_deref(), &peer.id);
                writeln!(out, "- {who} broke {}, last: {}", plural(peer.faults, "rule"), plain(fault))?;
            }
        }
        self.write_absent(out)?;
        self.write_refused(out)
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&[
            "PEER",
            "ID",
            "ADDRESS",
            "DIR",
            "FOR",
            "LAG",
            "VERSION",
            "ROUND TRIP",
            "SENT",
            "RECEIVED",
            "BUDGET",
            "LINK",
        ]);
        for peer in &self.peers {
            let age =
                |since: Time| span_words(u64::try_from(self.asked.0.saturating_sub(since.0)).unwrap_or(0));
            let name = peer.name.clone().unwrap_or_else(|| "not enrolled yet".into());
            table.row(vec![
                if peer.committee { name } else { format!("{name} (no committee)") },
                short_id(&peer.id),
                peer.address.clone().unwrap_or_else(|| "-".into()),
                peer.outgoing.map_or("-", |outgoing| if outgoing { "out" } else { "in" }).to_owned(),
                peer.since.map_or_else(|| "-".into(), age),
                lag_words(peer),
                peer.software.as_deref().map_or_else(|| "not greeted yet".into(), plain),
                peer.round_trip_us
                    .map_or_else(|| "-".into(), |us| format!("{}.{} ms", us / 1_000, us % 1_000 / 100)),
                bytes_words(peer.bytes_sent),
                bytes_words(peer.bytes_received),
                format!("{}, {}", bytes_words(peer.budget.waste_bytes), count_words(peer.budget.wants)),
                if peer.eager { "eager" } else { "lazy" }.to_owned(),
            ]);
        }
        table
    }

    fn write_absent(&self, out: &mut dyn Write) -> io::Result<()> {
        if !self.missing.is_empty() || !self.gone.is_empty() {
            writeln!(out, "\nNot connected:")?;
        }
        for missing in &self.missing {
            let name = missing
                .id
                .as_deref()
                .map_or_else(String::new, |id| format!(", {}", who(missing.name.as_deref(), id)));
            let whence = if missing.configured { "configured" } else { "learnt" };
            let next = match missing.next_attempt {
                _ if missing.dialling => "; being dialled now".to_owned(),
                Some(next) => {
                    let left = u64::try_from(next.0.saturating_sub(self.asked.0)).unwrap_or(0);
                    format!("; tried again in {}", span_words(left))
                }
                None => String::new(),
            };
            let reason = match (&missing.reason, &missing.ended) {
                // What the last dial of all met says less than how the connection ended.
                (_, Some(ended)) => {
                    format!("ended {}: {}", age_words(ended.at, self.asked), plain(&ended.reason))
                }
                (Some(reason), None) => plain(reason),
                (None, None) => "not reached yet".to_owned(),
            };
            let failed = match (&missing.reason, &missing.ended) {
                (Some(reason), Some(ended)) if missing.failures > 0 && *reason != ended.reason => {
                    format!("; last attempt: {}", plain(reason))
                }
                _ => String::new(),
            };
            writeln!(out, "- {} ({whence}{name}): {reason}{failed}{next}", plain(&missing.address))?;
        }
        for gone in &self.gone {
            let who = who(gone.name.as_deref(), &gone.id);
            writeln!(
                out,
                "- {who} at {}, ended {}: {}",
                gone.address,
                age_words(gone.at, self.asked),
                plain(&gone.reason)
            )?;
        }
        Ok(())
    }

    fn write_refused(&self, out: &mut dyn Write) -> io::Result<()> {
        let is_up = |id: &str| self.peers.iter().any(|peer| peer.id == id && peer.last_fault.is_some());
        for faulty in self.faulty.iter().filter(|faulty| !is_up(&faulty.id)) {
            let (who, at) = (who(faulty.name.as_deref(), &faulty.id), age_words(faulty.at, self.asked));
            writeln!(
                out,
                "- {who} broke {} since the start, last {at}: {}",
                plural(faulty.count, "rule"),
                plain(&faulty.last)
            )?;
        }
        let RefusedAnswer { strangers, put_off, own_key, turned_away, had_to_prove, reasons } = &self.refused;
        let counts = [
            (strangers, "unknown keys"),
            (put_off, "members sent away for a while"),
            (own_key, "this gateway's own key"),
            (turned_away, "turned away before a handshake"),
            (had_to_prove, "had to prove their address first"),
        ];
        let said: Vec<String> = counts
            .into_iter()
            .filter(|(count, _)| **count > 0)
            .map(|(count, what)| format!("{} {what}", count_words(*count)))
            .collect();
        if !said.is_empty() {
            writeln!(out, "\nRefused since the start: {}", said.join("; "))?;
        }
        for reason in reasons {
            writeln!(
                out,
                "- {}: {} address{}, last {} {}",
                plain(&reason.reason),
                count_words(reason.addresses),
                if reason.addresses == 1 { "" } else { "es" },
                reason.last_address,
                age_words(reason.last, self.asked)
            )?;
        }
        Ok(())
    }
}

/// A name with the beginning of the id: names are given by whoever let them in.
fn who(name: Option<&str>, id: &str) -> String {
    name.map_or_else(|| short_id(id), |name| format!("{name} ({})", short_id(id)))
}

fn lag_words(peer: &PeerAnswer) -> String {
    match (peer.ahead, peer.behind) {
        (0, 0) => "none".into(),
        (ahead, 0) => format!("{} ahead", count_words(ahead)),
        (0, behind) => format!("{} behind", count_words(behind)),
        (ahead, behind) => format!("{} ahead, {} behind", count_words(ahead), count_words(behind)),
    }
}
