//! What the demo says: before it starts, and of what was found when all gateways had stopped.

use std::path::Path;
use std::time::Duration;

use selvedge_crypto::ids;

use super::compare::Agreement;
use super::evidence::{self, Files, Judgement, Last, Said};
use super::fleet::{self, names_of};
use super::plant::Plant;
use super::serve::Served;
use super::wiring::{LEVEL, Places};
use super::{Audience, Cut, Found, Options, Place, Report};
use crate::answers::times::{bytes_words, count_words, plural};
use crate::cli::init::Names;
use crate::cli::prove::shell_word;
use crate::cli::verify::refusal_words;
use crate::folder::Folder;

/// What is told.
pub(super) struct Story<'a> {
    pub(super) place: &'a Place,
    pub(super) network: &'a str,
    /// Of the gateway whose readings were forged.
    pub(super) names: &'a Names,
    pub(super) files: &'a Files,
    pub(super) judgement: &'a Judgement,
}

/// Why there is nothing to prove.
pub(super) fn no_reading(ran: Duration, requests: u64) -> String {
    format!(
        "no reading of the tank's level came in {:.1} s, so there is nothing to prove; the plant was asked {requests} times. Give it longer \
         with --for, or see with RUST_LOG=debug what hinders the gateways",
        ran.as_secs_f64()
    )
}

/// What the readings came from.
pub(super) fn sources_words(served: Served, published: Option<(u64, u64)>) -> String {
    let mut sources = vec![plural(served.requests, "Modbus request")];
    sources.extend(served.changes.map(|changes| plural(changes, "new OPC-UA value")));
    sources.extend(published.map(|(taken, dropped)| {
        let taken = plural(taken, "MQTT message");
        if dropped == 0 { taken } else { format!("{taken} (the broker did not take {dropped})") }
    }));
    listed(&sources)
}

/// `a`, `a and b`, `a, b and c`.
fn listed(things: &[String]) -> String {
    match things {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// What is about to happen.
pub(super) fn introduce(folders: &[Folder], plant: Places, options: &Options, audience: &mut dyn Audience) {
    let mut ways = vec![format!("its filler answers on {}, Modbus TCP", plant.modbus)];
    ways.extend(plant.opcua.map(|server| format!("its conveyor on opc.tcp://{server}, OPC-UA")));
    ways.extend(options.broker.as_ref().map(|broker| {
        format!("its thermometer and flow meter publish through the broker at {broker}, MQTT 3.1.1")
    }));
    audience.say(&format!("A bottling plant is simulated: {}.", listed(&ways)));
    let seconds = options.run_for.as_secs_f64();
    let whose = |place: usize| format!("{:?} of {:?}", names_of(place).gateway, names_of(place).organisation);
    if folders.len() == 1 {
        let network = fleet::NETWORK;
        audience
            .say(&format!("Gateway {} in the new network {network:?} polls it for {seconds} s.", whose(0)));
    } else {
        let gateways: Vec<String> = (0..folders.len()).map(whose).collect();
        audience.say(&format!(
            "{} gateways of the new network {:?} divide its streams among themselves and poll it for {seconds} s; over QUIC \
             they hold one tangle. They are {}.",
            folders.len(),
            fleet::NETWORK,
            gateways.join(", ")
        ));
    }
    if let Some(Cut { gateway, at, heal_at }) = options.cut {
        let back = heal_at.map_or_else(
            || "and stays out".to_owned(),
            |heal_at| format!("and is put back at {} s", heal_at.as_secs_f64()),
        );
        audience.say(&format!(
            "The cable of {:?} is pulled out at {} s {back}.",
            names_of(gateway).gateway,
            at.as_secs_f64()
        ));
    }
    let network = ids::to_text(&folders[0].network().id());
    audience.say(&format!("The network's id, which an auditor pins: {network}"));
    if let Some(keep) = &options.keep {
        audience.say(&format!("Data folders: in {}", keep.display()));
    }
    audience.say("");
}

/// What the folders hold, and what the plant says of itself.
pub(super) fn tell_counts(found: &Found, sources: &str, plant: &Plant, audience: &mut dyn Audience) {
    let counts = &found.counts;
    audience.say(&format!(
        "\n{} stopped: the open batches were signed, the stores closed. Opened again, the data folders hold\n  \
         {} of {}, no counter missing, from {},\n  in {} and {}; {}.",
        if found.gateways.len() == 1 { "The gateway has" } else { "The gateways have" },
        plural(counts.readings, "reading"),
        plural(counts.streams, "stream"),
        sources,
        plural(counts.batches, "batch"),
        plural(found.agreement.transactions, "transaction"),
        plural(counts.tips, "tip"),
    ));
    let accounts = plant.accounts();
    let litres = |microlitres: u64| microlitres as f64 / 1e6;
    audience.say(&format!(
        "The plant itself says: {} filled; of {:.2} L that left the tank, {:.2} L were taken away and {:.2} L are in \
         the bottle under the valve.",
        plural(u64::from(plant.instruments().bottles), "bottle"),
        litres(accounts.poured),
        litres(accounts.shipped),
        litres(accounts.bottle),
    ));
}

/// Whether the ledgers agree, and if not, where.
pub(super) fn agreement_words(found: &Found, bytes_sent: u64, cut: Option<usize>) -> Vec<String> {
    let Found { gateways, agreement, .. } = found;
    let count = gateways.len();
    let mut lines = Vec::new();
    if count == 1 {
        lines.push(
            "There is one gateway, so nothing was compared: witnessed_all and ledgers_equal are false. More are run with \
             --gateways."
                .into(),
        );
        return lines;
    }
    if agreement.ledgers_equal() {
        lines.push(format!(
            "Each of the {count} folders holds the same {}.",
            plural(agreement.transactions, "transaction")
        ));
    }
    if agreement.witnessed_all() {
        lines.push(format!(
            "Each of the {} with a payload lies in the past cone of a transaction of every other gateway.",
            count_words(agreement.payloads)
        ));
    }
    lines.extend(missing_words(gateways, agreement));
    if let Some(cut) = cut {
        lines.push(format!(
            "That is how it must be: the cable of {:?} was out when the gateways stopped. Its own transactions are safe in \
             its folder, and go to the others when they meet again.",
            gateways[cut]
        ));
    }
    lines.push(format!("On the wire: {} sent, all gateways together.", bytes_words(bytes_sent)));
    lines
}

/// Which gateway lacks how many.
pub(super) fn missing_words(gateways: &[String], agreement: &Agreement) -> Vec<String> {
    let mut lines = Vec::new();
    if agreement.payloads == 0 {
        lines.push(
            "There is no transaction with a payload, so there is nothing that could be witnessed.".into(),
        );
    }
    for (name, missing) in gateways.iter().zip(&agreement.missing).filter(|(_, missing)| **missing > 0) {
        let all = plural(agreement.transactions, "transaction");
        lines.push(format!("{name:?} lacks {} of {all}.", count_words(*missing)));
    }
    for (name, lacks) in gateways.iter().zip(&agreement.unapproved).filter(|(_, lacks)| **lacks > 0) {
        lines.push(format!("{name:?} has not approved {} of the others.", plural(*lacks, "payload")));
    }
    lines
}

impl Story<'_> {
    pub(super) fn tell_proof(&self, last: &Last, audience: &mut dyn Audience) {
        audience.say("\n1. A proof of the last reading of the tank's level\n");
        audience.say(&format!(
            "  One file of {} bytes holds it. An auditor needs that file and the network's id: no gateway, no \
             connection. `selvedge verify` says:",
            count_words(last.bytes.len() as u64)
        ));
        self.tell(&self.judgement.last, &self.files.last, audience);
        let others = &self.judgement.others;
        if others.is_empty() {
            return;
        }
        audience.say(
            "\n  And from the folder of each other gateway, of the last reading of a stream of its own:",
        );
        audience.say("");
        for other in others {
            let said = match &other.said {
                Ok(verdict) if verdict.exit_code() == 0 => "verified".to_owned(),
                Ok(_) => "consistent, but not down to this network".to_owned(),
                Err(refusal) => format!("REFUSED: {refusal}"),
            };
            audience.say(&format!("  - {}, {}: {said}", other.gateway, other.last.stream));
        }
    }

    pub(super) fn tell_tampered(
        &self,
        last: &Last,
        tampered: &evidence::Tampered,
        audience: &mut dyn Audience,
    ) {
        audience.say("\n2. The same proof with one byte changed\n");
        let was = evidence::claimed(&last.bytes).unwrap_or_else(|| "its value".into());
        let claims =
            evidence::claimed(&tampered.bytes).unwrap_or_else(|| "something that is no value".into());
        let at = count_words(tampered.at as u64);
        audience.say(&format!(
            "  Byte {at} of the file (from 0) was changed: it now claims {claims} where it said {was}."
        ));
        self.tell(&self.judgement.tampered, &self.files.tampered, audience);
    }

    pub(super) fn tell_forged(&self, last: &Last, forged: &evidence::Forged, audience: &mut dyn Audience) {
        audience.say("\n3. A forged network with the same names\n");
        let was = evidence::claimed(&last.bytes).unwrap_or_else(|| "its value".into());
        let claims = evidence::claimed(&forged.last.bytes).unwrap_or_else(|| "another value".into());
        let Names { network, organisation, gateway } = self.names;
        audience.say(&format!(
            "  Anybody can call a network {network:?}, an organisation {organisation:?} and a gateway {gateway:?}, and \
             sign with keys of his own. A forger did, copied every reading of this stream, and made the last one \
             {claims} instead of {was}."
        ));
        let among_forgers = match &self.judgement.forged_among_forgers {
            Ok(_) => {
                "His proof has no fault in itself: whoever took the network's id from him would see it verified"
            }
            Err(_) => "His proof does not even hold in his own network",
        };
        let forger = ids::to_text(&forged.network);
        audience.say(&format!("  {among_forgers} ({forger}). Against the id that the auditor pinned:"));
        self.tell(&self.judgement.forged, &self.files.forged, audience);
    }

    /// The command that a reader could give, and what it says.
    fn tell(&self, said: &Said, file: &Path, audience: &mut dyn Audience) {
        audience.say("");
        if self.place.kept().is_some() {
            audience.say(&format!("  $ selvedge verify {} --network {}", shell_path(file), self.network));
        }
        let words = match said {
            Ok(verdict) => verdict.words(),
            Err(refusal) => refusal_words(refusal),
        };
        for line in words.lines() {
            audience.say(if line.is_empty() { String::new() } else { format!("  | {line}") }.as_str());
        }
    }

    pub(super) fn conclude(&self, report: &Report, audience: &mut dyn Audience) {
        let mut outcomes = Vec::new();
        if report.agreement_expected {
            outcomes.push((report.witnessed_all, "all was witnessed by all", "NOT ALL WAS WITNESSED BY ALL"));
            outcomes.push((report.ledgers_equal, "the ledgers are equal", "THE LEDGERS ARE NOT EQUAL"));
        }
        outcomes.extend([
            (report.proof_verified, "the proof was verified", "THE PROOF WAS NOT VERIFIED"),
            (
                report.tampered_proof_rejected,
                "the changed one was refused",
                "THE CHANGED ONE WAS NOT REFUSED",
            ),
            (
                report.forged_network_rejected,
                "the forged network was refused",
                "THE FORGED NETWORK WAS NOT REFUSED",
            ),
        ]);
        let said: Vec<&str> =
            outcomes.iter().map(|(holds, yes, no)| if *holds { *yes } else { *no }).collect();
        let head = if report.holds() { "All of it held" } else { "This must not be" };
        audience.say(&format!("\n{head}: {}.", said.join(", ")));
        let Some(kept) = self.place.kept() else {
            audience.say("Nothing of it is left on the disk. With --keep DIR it stays, and each step can be done by hand.");
            return;
        };
        let (data, proof) = (shell_path(&kept.join(&self.names.gateway)), shell_path(&self.files.last));
        audience.say(&format!("\nIt is all in {}. By hand:", kept.display()));
        for command in [
            format!("selvedge readings {LEVEL} --last 5 --data {data}"),
            format!("selvedge tangle --data {data}"),
            format!("selvedge prove {LEVEL} latest -o level.proof --data {data}"),
            format!("selvedge verify {proof} --network {}", self.network),
        ] {
            audience.say(&format!("  {command}"));
        }
    }
}

/// A path as a word of a shell's command line.
fn shell_path(path: &Path) -> String {
    shell_word(&path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::evidence::Counts;

    fn found(missing: [u64; 2], unapproved: [u64; 2]) -> Found {
        let witnessed_by_all = 9 - unapproved.iter().sum::<u64>();
        Found {
            gateways: vec!["filler-gateway".into(), "maker-gateway".into()],
            counts: Counts::default(),
            agreement: Agreement {
                transactions: 12,
                payloads: 9,
                witnessed_by_all,
                missing: missing.to_vec(),
                unapproved: unapproved.to_vec(),
            },
        }
    }

    #[test]
    fn what_is_missing_is_said_gateway_by_gateway() {
        let words = agreement_words(&found([0, 3], [2, 0]), 1_000, None).join("\n");
        for part in
            ["\"maker-gateway\" lacks 3 of 12 transactions", "\"filler-gateway\" has not approved 2 payloads"]
        {
            assert!(words.contains(part), "{part:?} is missing in {words}");
        }
        assert!(!words.contains("Each of") && !words.contains("cable"), "{words}");
        let words = agreement_words(&found([0, 3], [2, 0]), 1_000, Some(1)).join("\n");
        assert!(words.contains("the cable of \"maker-gateway\""), "{words}");
    }

    #[test]
    fn agreement_is_said_and_one_gateway_is_none() {
        let words = agreement_words(&found([0, 0], [0, 0]), 1_000, None).join("\n");
        assert!(words.contains("the same 12 transactions") && !words.contains("lacks"), "{words}");
        let mut alone = found([0, 0], [0, 0]);
        alone.gateways.truncate(1);
        let words = agreement_words(&alone, 0, None).join("\n");
        assert!(words.contains("nothing was compared"), "{words}");
    }
}
