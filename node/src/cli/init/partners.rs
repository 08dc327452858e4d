//! Founding a network together: introductions, the genesis of all of them, and taking it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use selvedge_core::codec;
use selvedge_core::genesis::{Genesis, role};
use selvedge_crypto::ids;

use super::{Args, random, say};
use crate::cli::Globals;
use crate::config;
use crate::document;
use crate::folder::waiting::{Candidate, Waiting, WaitsFor};
use crate::folder::{self, Folder, FolderError};
use crate::introduction::{Introduction, found};

/// Where the folder keeps its own introduction.
const INTRODUCTION: &str = "introduction";

/// The candidate and its introduction, with the names given now or earlier.
fn introduced(
    args: &Args,
    passphrase: Option<&str>,
    data: &Path,
) -> anyhow::Result<(Candidate, Introduction)> {
    let earlier = Waiting::read(data)?;
    let earlier = earlier.unwrap_or(Waiting {
        version: 0,
        waits_for: WaitsFor::Genesis,
        organisation: None,
        name: None,
    });
    let organisation =
        args.organisation.clone().or(earlier.organisation).unwrap_or_else(|| "owner".to_owned());
    let name = args.name.clone().or(earlier.name).unwrap_or_else(|| "gateway-1".to_owned());
    let waiting = Waiting {
        version: 0,
        waits_for: WaitsFor::Genesis,
        organisation: Some(organisation.clone()),
        name: Some(name.clone()),
    };
    let candidate = Candidate::begin(data, &waiting, passphrase)?;
    let key = candidate.organisation.as_ref().context("the folder holds no organisation's key")?;
    let path = data.join(INTRODUCTION);
    let earlier: Option<Introduction> = if path.exists() { Some(document::read(&path)?) } else { None };
    let was_inviter = earlier.is_some_and(|earlier| earlier.roles.iter().any(|r| r == role::INVITER));
    let own = Introduction::new(&organisation, key, &name, &candidate.gateway, args.inviter || was_inviter)?;
    Ok((candidate, own))
}

pub(super) fn introduce(
    args: &Args,
    passphrase: Option<&str>,
    globals: &Globals,
) -> anyhow::Result<ExitCode> {
    let (candidate, own) = introduced(args, passphrase, &globals.data)?;
    let path = globals.data.join(INTRODUCTION);
    let bytes = document::encode(&own);
    folder::write(&path, &bytes)?;
    if let Some(out) = &args.out {
        folder::write(out, &bytes)?;
    }
    let shown = args.out.as_ref().unwrap_or(&path).display().to_string();
    let (gateway, organisation) =
        (ids::to_text(&candidate.issuer), ids::to_text(&own.organisation.key.issuer()));
    if globals.json {
        let answer = serde_json::json!({
            "data": globals.data.display().to_string(),
            "gateway": gateway,
            "organisation": organisation,
            "introduction": shown,
        });
        println!("{answer}");
        return Ok(ExitCode::SUCCESS);
    }
    println!("Gateway {:?}: {gateway}", own.name);
    println!("Organisation {:?}: {organisation}", own.organisation.name);
    println!();
    println!("Give {shown} to the partner who makes the network. It holds public keys and names, no secret.");
    println!("Read these two ids to each other: they say that the file on the other side is yours.");
    println!("When the genesis comes back: selvedge init --genesis FILE --data {}", globals.data.display());
    Ok(ExitCode::SUCCESS)
}

pub(super) fn found_with(
    args: &Args,
    passphrase: Option<&str>,
    globals: &Globals,
) -> anyhow::Result<ExitCode> {
    // All files first: nothing is made when one of them is wrong.
    let mut partners = Vec::with_capacity(args.with.len() + 1);
    for path in &args.with {
        let partner: Introduction = document::read(path)?;
        partner.check_signatures().with_context(|| path.display().to_string())?;
        partners.push(partner);
    }
    let (candidate, own) = introduced(args, passphrase, &globals.data)?;
    partners.insert(0, own);
    let network_name = args.network.as_deref().unwrap_or("works");
    let genesis = found(network_name, random()?, &partners, args.committee.as_deref())?;
    let config = config::template(&partners[0].name, network_name);
    let folder = candidate.complete(&genesis.to_bytes(), None, &config)?;
    if !globals.json {
        list(&genesis);
    }
    let file = globals.data.join("genesis.bin");
    let words = [
        format!("Give {} to the partners. Each runs: selvedge init --genesis FILE", file.display()),
        "Compare the network id with them: alike, you founded the same network.".to_owned(),
    ];
    Ok(say(&folder, globals, &words.each_ref().map(String::as_str)))
}

/// Who founds the network, to be compared.
fn list(genesis: &Genesis) {
    for (place, member) in (0..).zip(&genesis.members) {
        // `Genesis::check` has made sure that the organisation exists.
        let organisation = &genesis.organisations[usize::from(member.organisation)];
        let decides = if genesis.committee.contains(&place) { ", in the committee" } else { "" };
        println!(
            "  {:?} of {:?}: {}{decides}; organisation {}",
            member.name,
            organisation.name,
            ids::to_text(&member.key.issuer()),
            ids::to_text(&organisation.key.issuer())
        );
    }
}

pub(super) fn take_genesis(
    file: &Path,
    passphrase: Option<&str>,
    globals: &Globals,
) -> anyhow::Result<ExitCode> {
    let data = &globals.data;
    let bytes = read_genesis(file)?;
    let genesis: Genesis = codec::decode(&bytes).with_context(|| {
        format!(
            "{} is no genesis; expected the file genesis.bin of the partner who made the network",
            file.display()
        )
    })?;
    if let Ok(folder) = Folder::open(data) {
        // Given again after it was done.
        anyhow::ensure!(
            *folder.genesis_bytes() == *bytes,
            "{} already holds a gateway of network {}, and {} is the genesis of {}",
            data.display(),
            ids::to_text(&folder.network().id()),
            file.display(),
            ids::to_text(&Genesis::network_id_of(&bytes))
        );
        return Ok(say(&folder, globals, &["It was taken already."]));
    }
    let candidate = Candidate::open(data, passphrase)?;
    let Some(candidate) = candidate.filter(|c| c.waiting.waits_for == WaitsFor::Genesis) else {
        return Err(match Folder::open(data) {
            Err(why @ FolderError::Waiting { .. }) => why.into(),
            _ => anyhow::anyhow!(
                "{} holds no introduced keys; a genesis names keys that were introduced before: `selvedge init --introduce \
                 --data {}` comes first",
                data.display(),
                data.display()
            ),
        });
    };
    let own: Introduction = document::read(&data.join(INTRODUCTION))?;
    own.named_by(&genesis).map_err(|why| anyhow::anyhow!("{}: {why}", file.display()))?;
    let config = config::template(&own.name, &genesis.network_name);
    let folder = candidate.complete(&bytes, None, &config)?;
    if !globals.json {
        list(&genesis);
    }
    Ok(say(
        &folder,
        globals,
        &["Compare the network id with your partners: alike, you founded the same network."],
    ))
}

fn read_genesis(file: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes_max = selvedge_core::limits::GENESIS_BYTES_MAX as u64;
    let length = std::fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?.len();
    anyhow::ensure!(
        length <= bytes_max,
        "{} is longer than {bytes_max} bytes, so no genesis",
        file.display()
    );
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}
