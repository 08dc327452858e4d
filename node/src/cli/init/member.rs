//! Joining a network that exists: with a line, or without a network by a file.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use selvedge_core::codec;
use selvedge_core::genesis::Genesis;
use selvedge_crypto::ids;

use super::{dial, say};
use crate::answers::shown::Time;
use crate::cli::{Failed, Globals};
use crate::config;
use crate::credential::{CredentialError, CredentialFile};
use crate::document;
use crate::folder::waiting::{Candidate, Waiting, WaitsFor};
use crate::folder::{Folder, FolderError};
use crate::invite::Line;
use crate::invite::exchange::JoinError;

/// Longest text that is read as an invitation, in bytes.
const TEXT_BYTES_MAX: u64 = 4_096;

fn waiting(name: Option<&str>) -> Waiting {
    Waiting { version: 0, waits_for: WaitsFor::Credential, organisation: None, name: name.map(str::to_owned) }
}

/// The name given now, or earlier.
fn name_of(name: Option<&str>, data: &Path) -> anyhow::Result<Option<String>> {
    let earlier = Waiting::read(data)?.and_then(|waiting| waiting.name);
    Ok(name.map(str::to_owned).or(earlier))
}

pub(super) fn join(
    text: &str,
    name: Option<&str>,
    passphrase: Option<&str>,
    globals: &Globals,
) -> anyhow::Result<ExitCode> {
    let line = Line::parse(&given(text)?)?;
    if let Ok(folder) = Folder::open(&globals.data)
        && folder.network().id() == line.network
    {
        return Ok(say(&folder, globals, &["It has joined that network already."]));
    }
    let (now, end) = (Time::now(), Time(i64::from(line.expires_s).saturating_mul(1_000_000_000)));
    if end.0 < now.0 {
        let why = format!("the invitation ended at {end} (this machine's clock says {now}); ask for another");
        return Err(Failed(why).into());
    }
    let name = name_of(name, &globals.data)?;
    let candidate = Candidate::begin(&globals.data, &waiting(name.as_deref()), passphrase)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("the system refused a runtime")?;
    let joined = runtime.block_on(dial::redeem(&line, &candidate.gateway, name)).map_err(|why| {
        // The keys stay: with them the same command goes on where this one ended.
        let kept = if matches!(why, dial::DialError::Join(JoinError::Refused(_))) { "" } else { KEPT };
        Failed(format!("{why}{kept}"))
    })?;
    let genesis: Genesis = codec::decode(&joined.genesis)?;
    let mut peers = vec![line.address.to_string()];
    peers.extend(joined.addresses.iter().filter(|a| **a != peers[0]).cloned().collect::<Vec<_>>());
    complete(&candidate, &joined.genesis, &joined.enrolment, &joined.name, &genesis, &peers, globals)
}

const KEPT: &str = "\nNothing is lost: the same command goes on with the same key.";

/// The line, or standard input for `-`.
fn given(text: &str) -> anyhow::Result<String> {
    if text != "-" {
        return Ok(text.to_owned());
    }
    let mut line = String::new();
    let read = std::io::stdin().take(TEXT_BYTES_MAX).read_to_string(&mut line);
    read.context("cannot read the invitation from standard input")?;
    Ok(line)
}

/// Writes the folder, and says how to go on.
fn complete(
    candidate: &Candidate,
    genesis_bytes: &[u8],
    enrolment: &[u8],
    name: &str,
    genesis: &Genesis,
    peers: &[String],
    globals: &Globals,
) -> anyhow::Result<ExitCode> {
    let own_config = candidate.config_path().exists();
    let config = config::template_with_peers(name, &genesis.network_name, peers);
    let folder = candidate.complete(genesis_bytes, Some(enrolment), &config)?;
    let peers = peers.iter().map(|peer| format!("{peer:?}")).collect::<Vec<_>>().join(", ");
    let config = folder.config_path().display().to_string();
    let words = if own_config {
        format!("{config} was there and is left alone: put `peers = [{peers}]` under [network] there.")
    } else if peers.is_empty() {
        format!("Where others are was not said: put the address of a member under [network] in {config}.")
    } else {
        format!("It will dial {peers}.")
    };
    Ok(say(&folder, globals, &[&words]))
}

pub(super) fn await_credential(
    name: Option<&str>,
    passphrase: Option<&str>,
    globals: &Globals,
) -> anyhow::Result<ExitCode> {
    let name = name_of(name, &globals.data)?;
    let candidate = Candidate::begin(&globals.data, &waiting(name.as_deref()), passphrase)?;
    let gateway = ids::to_text(&candidate.issuer);
    let path = globals.data.display();
    if globals.json {
        println!("{}", serde_json::json!({ "data": path.to_string(), "gateway": gateway, "name": name }));
        return Ok(ExitCode::SUCCESS);
    }
    let shown = name.as_deref().unwrap_or("NAME");
    println!("{gateway}");
    println!();
    println!("On a member: selvedge admit {gateway} --name {shown:?}");
    println!("and here, with the file that it writes: selvedge init --credential FILE --data {path}");
    Ok(ExitCode::SUCCESS)
}

pub(super) fn take_credential(
    file: &Path,
    name: Option<&str>,
    passphrase: Option<&str>,
    globals: &Globals,
) -> anyhow::Result<ExitCode> {
    let data = &globals.data;
    let read: CredentialFile = document::read(file)?;
    if let Ok(folder) = Folder::open(data) {
        // Given again after it was done.
        let (got, expected) = (read.network(), folder.network().id());
        if got != expected {
            return Err(CredentialError::OtherNetwork { got, expected })
                .with_context(|| format!("{} already holds a gateway", data.display()));
        }
        anyhow::ensure!(
            read.issuer == folder.issuer(),
            "{} is for {}, and {} holds {}",
            file.display(),
            ids::to_text(&read.issuer),
            data.display(),
            ids::to_text(&folder.issuer())
        );
        return Ok(say(&folder, globals, &["It was taken already."]));
    }
    let candidate = Candidate::open(data, passphrase)?;
    let Some(candidate) = candidate.filter(|c| c.waiting.waits_for == WaitsFor::Credential) else {
        return Err(match Folder::open(data) {
            Err(why @ FolderError::Waiting { .. }) => why.into(),
            _ => anyhow::anyhow!(
                "{} holds no keys that wait for a credential; `selvedge init --await-credential --data {}` comes first, \
                 and `selvedge admit` needs the id that it prints",
                data.display(),
                data.display()
            ),
        });
    };
    if let Some(expected) = name_of(name, data)?.filter(|name| *name != read.name) {
        let why = CredentialError::OtherName { got: read.name, expected };
        return Err(why).with_context(|| file.display().to_string());
    }
    let enrolment = read.enrolment_for(&candidate.gateway).with_context(|| file.display().to_string())?;
    let genesis: Genesis = codec::decode(&read.genesis)?;
    complete(&candidate, &read.genesis, &enrolment, &read.name, &genesis, &read.addresses, globals)
}
