//! `selvedge demo`: the whole of it in a few seconds, with nothing to install.
//!
//! A simulated bottling plant answers on a real Modbus TCP socket; a gateway with a data folder and an ordinary
//! configuration polls it. Then the gateway stops, its folder is opened again, and a proof of the last reading is
//! verified; the same proof with one byte changed is refused, and so is that of a forger who invents a network with
//! the same names. Plant, gateway, proofs and forgery are made by the parts that do the same in earnest, and each
//! outcome is that of the function behind `selvedge verify`, on files written and read back.
//!
//! # Layout
//! - this file: the course of events, and the words about it
//! - [`plant`]: the plant, simulated; [`serve`]: the plant on a socket, and the gateway's configuration
//! - [`frame`]: what is shown of a moment; [`view`]: as lines; [`screen`]: on a terminal or in a log
//! - [`evidence`]: the folder opened again, the proofs, the forgeries, and what is said of them

pub mod evidence;
pub mod frame;
pub mod plant;
pub mod screen;
pub mod serve;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod view;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use selvedge_crypto::ids;
use serde::Serialize;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::answers::times::{count_words, plural};
use crate::cli::Failed;
use crate::cli::init::{Names, new_network};
use crate::cli::prove::shell_word;
use crate::cli::verify::refusal_words;
use crate::config;
use crate::folder::Folder;
use crate::gateway::Gateway;
use evidence::{Counts, Files, Judgement, Last, Reopened, Said};
use frame::Frame;
use plant::Plant;
use serve::{LEVEL, RunningPlant};

/// The picture is drawn anew this often.
const FRAME_EVERY: Duration = Duration::from_millis(250);
/// Gateways of the demo's network.
const GATEWAYS: u32 = 1;

/// How the demo is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long the gateway polls the plant.
    pub run_for: Duration,
    /// Where everything is kept; `None`: nowhere.
    pub keep: Option<PathBuf>,
    /// How the plant's instruments are off.
    pub seed: [u8; 32],
}

/// Whoever watches.
pub trait Audience {
    /// A moment of the running gateway.
    fn frame(&mut self, frame: &Frame);
    /// Words, in one or more lines.
    fn say(&mut self, text: &str);
}

/// How it went, for programs.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Gateways that ran.
    pub gateways: u32,
    /// Readings in the data folder.
    pub readings: u64,
    /// Batches in transactions.
    pub batches: u64,
    /// Transactions in the ledger.
    pub transactions: u64,
    /// Tips.
    pub tips: u64,
    /// Was the proof of the last reading verified?
    pub proof_verified: bool,
    /// Was the same proof with one byte changed refused?
    pub tampered_proof_rejected: bool,
    /// Was a proof of a network with the same names refused?
    pub forged_network_rejected: bool,
    /// The network's id.
    pub network: String,
    /// How long the gateway polled, in seconds.
    pub seconds: f64,
    /// The data folder, where it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
}

impl Report {
    /// Did everything hold?
    pub const fn holds(&self) -> bool {
        self.proof_verified && self.tampered_proof_rejected && self.forged_network_rejected
    }
}

/// Runs it. `stop` ends the polling early; the proof comes all the same.
///
/// # Errors
/// When the folder to be kept is not empty, the gateway cannot start or fails, or no reading came.
pub async fn run(
    options: &Options,
    audience: &mut dyn Audience,
    stop: &CancellationToken,
) -> anyhow::Result<Report> {
    let place = Place::new(options.keep.as_deref())?;
    let names = Names {
        network: "bottling".into(),
        organisation: "Plant owner".into(),
        gateway: "filler-gateway".into(),
    };
    let plant = RunningPlant::start(&options.seed).await.context("the system gives no port for the plant")?;
    let folder = place.make_gateway(&names, &plant)?;
    introduce(&folder, &names, &plant, options, audience);
    let ran = watch(&folder, options.run_for, audience, stop).await?;
    let requests = plant.requests();
    let plant = plant.stop().await.context("the simulated plant stopped by itself")?;

    let reopened = Reopened::open(&folder)?;
    let counts = reopened.count()?;
    if counts.readings == 0 {
        return Err(Failed(no_reading(ran, requests)).into());
    }
    say_counts(&counts, requests, &plant, audience);
    let last = reopened.prove_last(LEVEL)?;
    let readings = reopened.readings(LEVEL)?;
    reopened.close()?;

    let tampered = evidence::tamper(&last.bytes)?;
    let forged = evidence::forge(&place.forger(), &folder, &names, LEVEL, &readings).await?;
    let files = Files::within(&place.proofs());
    files.write(&last.bytes, &tampered.bytes, &forged.last.bytes)?;
    let judgement = Judgement::of(&files, folder.network().id(), forged.network)?;

    let network = ids::to_text(&folder.network().id());
    let story =
        Story { place: &place, network: &network, names: &names, files: &files, judgement: &judgement };
    story.tell_proof(&last, audience);
    story.tell_tampered(&last, &tampered, audience);
    story.tell_forged(&last, &forged, audience);
    let report = Report {
        gateways: GATEWAYS,
        readings: counts.readings,
        batches: counts.batches,
        transactions: counts.transactions,
        tips: counts.tips,
        proof_verified: judgement.proof_verified(&last),
        tampered_proof_rejected: judgement.tampered_proof_rejected(),
        forged_network_rejected: judgement.forged_network_rejected(&forged.last),
        network: network.clone(),
        seconds: (ran.as_secs_f64() * 10.0).round() / 10.0,
        data: place.kept().map(Path::to_owned),
    };
    story.conclude(&report, audience);
    Ok(report)
}

/// Where everything of this demo lies: the data folder itself, the proofs in it, and the forger's data folder.
#[derive(Debug)]
struct Place {
    root: PathBuf,
    /// Removed with everything in it when the demo is over.
    temporary: Option<TempDir>,
}

impl Place {
    fn new(keep: Option<&Path>) -> anyhow::Result<Self> {
        let Some(keep) = keep else {
            let made = tempfile::Builder::new().prefix("selvedge-demo-").tempdir();
            let temporary = made.context("cannot make a folder for temporary files")?;
            return Ok(Self { root: temporary.path().to_owned(), temporary: Some(temporary) });
        };
        match std::fs::read_dir(keep).map(|mut entries| entries.next().is_some()) {
            Ok(true) => bail!(
                "--keep {}: the folder is not empty; expected one that is empty, or that is not there yet",
                keep.display()
            ),
            Ok(false) => {}
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => {}
            Err(why) => {
                return Err(why)
                    .with_context(|| format!("--keep {}: cannot use it as a folder", keep.display()));
            }
        }
        Ok(Self { root: keep.to_owned(), temporary: None })
    }

    /// The configuration first: `new_network` leaves alone what is there.
    fn make_gateway(&self, names: &Names, plant: &RunningPlant) -> anyhow::Result<Folder> {
        let root = self.root.display();
        std::fs::create_dir_all(&self.root).with_context(|| format!("cannot make the folder {root}"))?;
        let config = self.root.join("selvedge.toml");
        std::fs::write(&config, serve::configuration(plant.address()))
            .with_context(|| format!("cannot write {}", config.display()))?;
        new_network(&self.root, names, None)
    }

    fn proofs(&self) -> PathBuf {
        self.root.join("proofs")
    }

    fn forger(&self) -> PathBuf {
        self.root.join("forger")
    }

    fn kept(&self) -> Option<&Path> {
        self.temporary.is_none().then_some(self.root.as_path())
    }
}

/// Runs the gateway and shows it, until the time is over or `stop` is cancelled; then stops it in order.
async fn watch(
    folder: &Folder,
    run_for: Duration,
    audience: &mut dyn Audience,
    stop: &CancellationToken,
) -> anyhow::Result<Duration> {
    let settings = config::load(&folder.config_path())?;
    let gateway = Gateway::start(folder, settings, None).await?;
    let started = Instant::now();
    let over = tokio::time::sleep(run_for);
    tokio::pin!(over);
    let mut ticks = tokio::time::interval(FRAME_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let shown = loop {
        tokio::select! {
            () = stop.cancelled() => break Ok(()),
            () = &mut over => break Ok(()),
            // Why, `stop` below says.
            () = gateway.halted() => break Ok(()),
            _ = ticks.tick() => match look(&gateway, started.elapsed(), run_for).await {
                Ok(frame) => audience.frame(&frame),
                Err(why) => break Err(why),
            },
        }
    };
    let ran = started.elapsed();
    gateway.stop().await.map_err(|why| Failed(format!("{why:#}")))?;
    shown.map(|()| ran)
}

async fn look(gateway: &Gateway, elapsed: Duration, run_for: Duration) -> anyhow::Result<Frame> {
    let (reader, live) = (gateway.reader(), Arc::clone(&gateway.live().borrow()));
    // It reads files, and the runtime has adapters to serve.
    let frame = tokio::task::spawn_blocking(move || Frame::take(&reader, &live, elapsed, run_for)).await?;
    Ok(frame?)
}

fn no_reading(ran: Duration, requests: u64) -> String {
    format!(
        "no reading came in {:.1} s, so there is nothing to prove; the plant was asked {requests} times. Give it longer \
         with --for, or see with RUST_LOG=debug what hinders the gateway",
        ran.as_secs_f64()
    )
}

fn introduce(
    folder: &Folder,
    names: &Names,
    plant: &RunningPlant,
    options: &Options,
    audience: &mut dyn Audience,
) {
    audience.say(&format!("A bottling plant is simulated and answers on {}, Modbus TCP.", plant.address()));
    audience.say(&format!(
        "Gateway {:?} of {:?} in the new network {:?} polls it for {} s.",
        names.gateway,
        names.organisation,
        names.network,
        options.run_for.as_secs_f64()
    ));
    audience
        .say(&format!("The network's id, which an auditor pins: {}", ids::to_text(&folder.network().id())));
    if let Some(keep) = &options.keep {
        audience.say(&format!("Data folder: {}", keep.display()));
    }
    audience.say("");
}

fn say_counts(counts: &Counts, requests: u64, plant: &Plant, audience: &mut dyn Audience) {
    audience.say(&format!(
        "\nThe gateway has stopped: the open batch was signed, the store closed. Opened again, the data folder holds\n  \
         {} of {}, no counter missing, from {},\n  in {} and {}; {}.",
        plural(counts.readings, "reading"),
        plural(counts.streams, "stream"),
        plural(requests, "Modbus request"),
        plural(counts.batches, "batch"),
        plural(counts.transactions, "transaction"),
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

/// What is told about the three proofs.
struct Story<'a> {
    place: &'a Place,
    network: &'a str,
    names: &'a Names,
    files: &'a Files,
    judgement: &'a Judgement,
}

impl Story<'_> {
    fn tell_proof(&self, last: &Last, audience: &mut dyn Audience) {
        audience.say("\n1. A proof of the last reading of the tank's level\n");
        audience.say(&format!(
            "  One file of {} bytes holds it. An auditor needs that file and the network's id: no gateway, no \
             connection. `selvedge verify` says:",
            count_words(last.bytes.len() as u64)
        ));
        self.tell(&self.judgement.last, &self.files.last, audience);
    }

    fn tell_tampered(&self, last: &Last, tampered: &evidence::Tampered, audience: &mut dyn Audience) {
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

    fn tell_forged(&self, last: &Last, forged: &evidence::Forged, audience: &mut dyn Audience) {
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

    fn conclude(&self, report: &Report, audience: &mut dyn Audience) {
        let outcomes = [
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
        ];
        let said: Vec<&str> =
            outcomes.iter().map(|(holds, yes, no)| if *holds { *yes } else { *no }).collect();
        let head = if report.holds() { "All of it held" } else { "This must not be" };
        audience.say(&format!("\n{head}: {}.", said.join(", ")));
        let Some(kept) = self.place.kept() else {
            audience.say("Nothing of it is left on the disk. With --keep DIR it stays, and each step can be done by hand.");
            return;
        };
        let (data, proof) = (shell_path(kept), shell_path(&self.files.last));
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
