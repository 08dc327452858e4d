//! `selvedge demo`: the whole of it in a few seconds, with nothing to install.
//!
//! A simulated bottling plant answers over real protocols: the filler's registers over Modbus TCP, its conveyor as an
//! OPC-UA server, and its sensors publish to an MQTT broker where one is named.
//! Gateways of several partners, each with a data folder and an ordinary configuration of its own, divide its streams
//! among themselves and hold one tangle over QUIC. Then readings stop, the gateways come to rest and stop, and their
//! folders are opened again: do they hold the same, did everybody approve everything? A proof of the last reading is
//! verified; the same proof with one byte changed is refused, and so is that of a forger who invents a network with
//! the same names. Plant, gateways, proofs and forgery are made by the parts that do the same in earnest, and each
//! outcome is that of the function behind `selvedge verify`, on files written and read back.
//!
//! # Layout
//! - this file: how it is run, and what comes of it; [`course`]: while the gateways run; [`story`]: the words about it
//! - [`plant`]: the plant, simulated; [`serve`]: the plant on sockets; `conveyor`: its OPC-UA server; [`messages`]: the
//!   plant at a broker; [`wiring`]: its streams, and the gateways' configurations
//! - [`fleet`]: the gateways; [`cables`]: between them, where a cut is to be shown
//! - [`frame`]: what is shown of a moment; [`view`]: as lines; [`screen`]: on a terminal or in a log
//! - [`compare`]: the ledgers side by side; [`evidence`]: the folders opened again, the proofs, the forgeries

pub mod cables;
pub mod compare;
#[cfg_attr(not(feature = "demo-opcua"), path = "demo/no_conveyor.rs")]
mod conveyor;
mod course;
pub mod evidence;
pub mod fleet;
pub mod frame;
pub mod messages;
pub mod plant;
pub mod screen;
pub mod serve;
mod story;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod view;
pub mod wiring;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use selvedge_core::Issuer;
use selvedge_crypto::ids;
use serde::Serialize;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::cli::Failed;
use crate::folder::Folder;
use compare::{Agreement, Comparison};
use course::Ran;
use evidence::{Counts, Files, Judgement, Last, Reopened};
use fleet::{Fleet, Work, found_network, names_of};
use frame::Frame;
use messages::Publisher;
use serve::RunningPlant;
use story::Story;
use wiring::{LEVEL, Messages, Places, Task};

/// Gateways of the demo unless told otherwise.
pub const GATEWAYS: usize = 4;

/// How the demo is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many gateways, 1 to [`wiring::GATEWAYS_MAX`].
    pub gateways: usize,
    /// How long they poll the plant.
    pub run_for: Duration,
    /// Where everything is kept; `None`: nowhere.
    pub keep: Option<PathBuf>,
    /// A broker, as host and port, that part of the plant's streams goes through.
    pub broker: Option<String>,
    /// A cable that is cut.
    pub cut: Option<Cut>,
    /// How the plant's instruments are off.
    pub seed: [u8; 32],
}

/// A cable that is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Whose: which gateway, from 0.
    pub gateway: usize,
    /// When, after the start.
    pub at: Duration,
    /// When it is put back; `None`: never.
    pub heal_at: Option<Duration>,
}

impl Options {
    /// Can it be run like that?
    ///
    /// # Errors
    /// What was given and what was expected.
    pub fn check(&self) -> anyhow::Result<()> {
        let Self { gateways, run_for, cut, .. } = self;
        ensure!(
            (1..=wiring::GATEWAYS_MAX).contains(gateways),
            "--gateways {gateways}: expected 1 to {}",
            wiring::GATEWAYS_MAX
        );
        let Some(Cut { gateway, at, heal_at }) = cut else { return Ok(()) };
        let number = gateway + 1;
        ensure!(
            *gateways > 1,
            "--cut {number}: a single gateway has no cable; expected --gateways 2 or more"
        );
        ensure!(gateway < gateways, "--cut {number}: expected one of the gateways, 1 to {gateways}");
        ensure!(at < run_for, "--cut-at {at:?}: expected less than --for, which is {run_for:?}");
        if let Some(heal_at) = heal_at {
            ensure!(
                at < heal_at && heal_at <= run_for,
                "--heal-at {heal_at:?}: expected more than --cut-at ({at:?}), and no more than --for ({run_for:?})"
            );
        }
        Ok(())
    }
}

/// Whoever watches.
pub trait Audience {
    /// A moment of the running gateways.
    fn frame(&mut self, frame: &Frame);
    /// Words, in one or more lines.
    fn say(&mut self, text: &str);
}

/// How it went, for programs.
#[derive(Debug, Clone, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a promise of its own and a key of the object")]
pub struct Report {
    /// Gateways that ran.
    pub gateways: usize,
    /// Readings in the data folders.
    pub readings: u64,
    /// Batches in transactions.
    pub batches: u64,
    /// Distinct transactions, all folders together.
    pub transactions: u64,
    /// Tips, in the folder of the first gateway.
    pub tips: u64,
    /// Does each transaction with a payload lie in the past cone of a transaction of every other gateway? False when
    /// nothing was compared.
    pub witnessed_all: bool,
    /// Are the sets of ids equal that were read back from the closed folders? False when nothing was compared.
    pub ledgers_equal: bool,
    /// Distinct ids that were compared; 0 with one gateway.
    pub transactions_compared: u64,
    /// Bytes of UDP payload that the gateways sent one another, all together.
    pub bytes_sent: u64,
    /// Was the proof of the last reading verified, at each gateway?
    pub proof_verified: bool,
    /// Was the same proof with one byte changed refused?
    pub tampered_proof_rejected: bool,
    /// Was a proof of a network with the same names refused?
    pub forged_network_rejected: bool,
    /// The network's id.
    pub network: String,
    /// How long the gateways polled, in seconds.
    pub seconds: f64,
    /// Where the data folders are, when they are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// Must the ledgers agree? Not with one gateway, nor with a cable that was still out at the end.
    #[serde(skip)]
    pub agreement_expected: bool,
}

impl Report {
    /// Did everything hold?
    pub const fn holds(&self) -> bool {
        let agrees = self.witnessed_all && self.ledgers_equal;
        (agrees || !self.agreement_expected)
            && self.proof_verified
            && self.tampered_proof_rejected
            && self.forged_network_rejected
    }
}

/// Runs it. `stop` ends the polling early; the rest comes all the same.
///
/// # Errors
/// When the options contradict each other, the folder to be kept is not empty, the broker does not answer, a gateway
/// cannot start or fails, or no reading came.
pub async fn run(
    options: &Options,
    audience: &mut dyn Audience,
    stop: &CancellationToken,
) -> anyhow::Result<Report> {
    options.check()?;
    let place = Place::new(options.keep.as_deref())?;
    let plant = RunningPlant::start(&options.seed, place.root(), place.kept().is_some()).await?;
    let messages = options.broker.as_deref().map(Messages::through).transpose()?;
    let publisher = match &messages {
        Some(messages) => Some(Publisher::start(messages, plant.turns()).await?),
        None => None,
    };
    let folders = found_network(place.root(), options.gateways)?;
    let places = plant.places();
    story::introduce(&folders, places, options, audience);
    let work = Work { plant: places, messages: messages.as_ref(), has_cables: options.cut.is_some() };
    let ran = course::run(Fleet::start(&folders, work).await?, options, audience, stop).await;
    let published = match publisher {
        Some(publisher) => Some(publisher.stop().await?),
        None => None,
    };
    if let Some(messages) = &messages {
        forget_sessions(messages, options.gateways, places).await;
    }
    let ran = ran?;
    let served = plant.served();
    let plant = plant.stop().await.context("the simulated plant stopped by itself")?;

    let reopened = folders.iter().map(Reopened::open).collect::<Result<Vec<_>, _>>()?;
    let found = Found::within(&folders, &reopened)?;
    if !reopened[0].has_reading(LEVEL)? {
        return Err(Failed(story::no_reading(ran.polled, served.requests)).into());
    }
    story::tell_counts(&found, &story::sources_words(served, published), &plant, audience);
    for line in story::agreement_words(&found, ran.bytes_sent, ran.cut) {
        audience.say(&line);
    }
    let proofs = Proofs::make(reopened, &folders)?;
    prove(&Told { place: &place, folders: &folders, found: &found, ran: &ran }, &proofs, audience).await
}

/// What came of the run before anything was proved.
struct Told<'a> {
    place: &'a Place,
    folders: &'a [Folder],
    found: &'a Found,
    ran: &'a Ran,
}

/// Writes and judges the proofs and the forgeries, and puts the report together.
async fn prove(told: &Told<'_>, proofs: &Proofs, audience: &mut dyn Audience) -> anyhow::Result<Report> {
    let Told { place, folders, found, ran } = told;
    let Proofs { last, readings, others } = proofs;
    let (names, trusted) = (names_of(0), folders[0].network().id());
    let tampered = evidence::tamper(&last.bytes)?;
    let forged = evidence::forge(&place.forger(), &names, LEVEL, readings).await?;
    let files = Files::within(&place.proofs());
    files.write(&last.bytes, &tampered.bytes, &forged.last.bytes)?;
    let mut judgement = Judgement::of(&files, trusted, forged.network)?;
    for (gateway, other) in others {
        let path = place.proofs().join(format!("{gateway}.proof"));
        evidence::write(&path, &other.bytes)?;
        judgement.add(&path, gateway.clone(), other.clone(), trusted)?;
    }

    let network = ids::to_text(&trusted);
    let story = Story { place, network: &network, names: &names, files: &files, judgement: &judgement };
    story.tell_proof(last, audience);
    story.tell_tampered(last, &tampered, audience);
    story.tell_forged(last, &forged, audience);
    let agreement = &found.agreement;
    let report = Report {
        gateways: folders.len(),
        readings: found.counts.readings,
        batches: found.counts.batches,
        transactions: agreement.transactions,
        tips: found.counts.tips,
        witnessed_all: agreement.witnessed_all(),
        ledgers_equal: agreement.ledgers_equal(),
        transactions_compared: if agreement.is_comparison() { agreement.transactions } else { 0 },
        bytes_sent: ran.bytes_sent,
        proof_verified: judgement.proof_verified(last),
        tampered_proof_rejected: judgement.tampered_proof_rejected(),
        forged_network_rejected: judgement.forged_network_rejected(&forged.last),
        network: network.clone(),
        seconds: (ran.polled.as_secs_f64() * 10.0).round() / 10.0,
        data: place.kept().map(Path::to_owned),
        agreement_expected: folders.len() > 1 && ran.cut.is_none(),
    };
    story.conclude(&report, audience);
    Ok(report)
}

/// What the closed folders hold.
#[derive(Debug)]
struct Found {
    /// The gateways' names.
    gateways: Vec<String>,
    /// All folders together; tips of the first.
    counts: Counts,
    agreement: Agreement,
}

impl Found {
    fn within(folders: &[Folder], reopened: &[Reopened]) -> anyhow::Result<Self> {
        let issuers: Vec<Issuer> = folders.iter().map(Folder::issuer).collect();
        let mut comparison = Comparison::new(issuers);
        let mut counts: Option<Counts> = None;
        for (place, (folder, reopened)) in folders.iter().zip(reopened).enumerate() {
            comparison.read_on(place, &reopened.answers.reader)?;
            let more = reopened.count().with_context(|| format!("gateway {:?}", folder.name()))?;
            match &mut counts {
                None => counts = Some(more),
                Some(counts) => counts.add(&more),
            }
        }
        Ok(Self {
            gateways: folders.iter().map(|folder| folder.name().to_owned()).collect(),
            counts: counts.unwrap_or_default(),
            agreement: comparison.agreement(),
        })
    }
}

/// The proofs, and the readings that a forger takes.
struct Proofs {
    last: Last,
    readings: Vec<crate::store::StreamReading>,
    /// Of the other gateways: name and proof.
    others: Vec<(String, Last)>,
}

impl Proofs {
    /// Makes them from the folders, and closes these.
    fn make(reopened: Vec<Reopened>, folders: &[Folder]) -> anyhow::Result<Self> {
        let first = reopened.first().context("there is no gateway")?;
        let (last, readings) = (first.prove_last(LEVEL)?, first.readings(LEVEL)?);
        let mut others = Vec::new();
        for (folder, reopened) in folders.iter().zip(&reopened).skip(1) {
            // One that was stopped before its first reading proves nothing.
            if let Some(stream) = reopened.some_stream()? {
                others.push((folder.name().to_owned(), reopened.prove_last(&stream)?));
            }
        }
        reopened.into_iter().try_for_each(Reopened::close)?;
        Ok(Self { last, readings, others })
    }
}

/// Where everything of this demo lies: a data folder for each gateway, the proofs, and the forger's data folder.
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
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
                std::fs::create_dir_all(keep)
                    .with_context(|| format!("--keep {}: cannot make the folder", keep.display()))?;
            }
            Err(why) => {
                return Err(why)
                    .with_context(|| format!("--keep {}: cannot use it as a folder", keep.display()));
            }
        }
        Ok(Self { root: keep.to_owned(), temporary: None })
    }

    fn root(&self) -> &Path {
        &self.root
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

/// The broker is not to keep messages for gateways that are gone. If it does, it is none of the demo's outcomes.
async fn forget_sessions(messages: &Messages, count: usize, plant: Places) {
    for gateway in 0..count {
        let task = Task { gateway, count, plant, messages: Some(messages), network: None };
        if task.subscribes()
            && let Err(why) = messages.forget(wiring::client_id(messages, gateway)).await
        {
            tracing::warn!(gateway, %why, "the broker may keep the session of a gateway of the demo");
        }
    }
}
