//! `selvedge key`: show, list, rotate, back up and restore the keys.

mod backup;
mod list;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use selvedge_core::codec::{self, Canonical};
use selvedge_core::genesis::Genesis;
use selvedge_core::payload::Enrol;
use selvedge_crypto::{ids, secret_file};
use serde_bytes::ByteBuf;
use zeroize::Zeroizing;

use super::Globals;
use super::passphrase::{PassphraseArgs, first_line};
use crate::chain;
use crate::config;
use crate::folder::{Contents, Folder};
use crate::store::RealDisk;
use backup::{Backup, Seed};

const AFTER_HELP: &str = "\
Examples:
  selvedge key show --data ./g1
  selvedge key list --data ./g1
  selvedge key rotate --data ./g1
  selvedge key backup g1.backup --backup-passphrase-file pass --data ./g1
  selvedge key restore g1.backup --backup-passphrase-file pass --data ./g1

A backup holds the genesis, the credential and all keys, sealed with its own passphrase: make a new one after each \
rotation. Restored into the folder that holds the \
chain, the gateway goes on. Restored into an empty folder, it journals readings and issues nothing: without its \
chain it could contradict what it signed before.";

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Who this gateway is, and which network it belongs to.
    Show,
    /// The gateway's keys by number, and which is in force.
    List,
    /// Give the running gateway its next key. Who it is stays the same.
    Rotate,
    /// Write genesis and keys into one sealed file.
    Backup(FileArgs),
    /// Take genesis and keys back from such a file.
    Restore(FileArgs),
}

#[derive(Debug, clap::Args)]
struct FileArgs {
    /// The backup.
    file: PathBuf,
    /// File with the passphrase of the backup (mode 0600; its first line counts).
    #[arg(long, value_name = "FILE")]
    backup_passphrase_file: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Runs it.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Show => show(globals),
        Action::List => list::list(globals),
        Action::Rotate => list::rotate(globals),
        Action::Backup(file) => backup(&file, globals),
        Action::Restore(file) => restore(&file, globals),
    }
}

fn show(globals: &Globals) -> anyhow::Result<ExitCode> {
    let folder = Folder::open(&globals.data)?;
    let (network, gateway) = (ids::to_text(&folder.network().id()), ids::to_text(&folder.issuer()));
    let genesis = folder.genesis();
    let keys = folder.keys_count()?;
    if globals.json {
        let answer = serde_json::json!({
            "network": network,
            "gateway": gateway,
            "name": folder.name(),
            "organisation": folder.organisation_name(),
            "in_genesis": folder.enrolment().is_none(),
            "key_files": keys,
        });
        println!("{answer}");
        return Ok(ExitCode::SUCCESS);
    }
    println!("Network {:?}: {network}", genesis.network_name);
    println!("Gateway {:?} of {:?}: {gateway}", folder.name(), folder.organisation_name());
    let named = if folder.enrolment().is_some() { "its credential" } else { "the genesis" };
    println!("Key 0: ML-DSA-44, named in {named}");
    if keys > 1 {
        println!("{keys} key files; `selvedge key list` says which is in force");
    }
    Ok(ExitCode::SUCCESS)
}

fn backup(args: &FileArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let folder = Folder::open(&globals.data)?;
    let passphrase = args.passphrase.read()?;
    let passphrase = passphrase.as_ref().map(|p| p.as_str());
    let backup = Backup {
        version: 1,
        genesis: folder.genesis_bytes().to_vec(),
        enrolment: folder.enrolment().map(|bytes| ByteBuf::from(bytes.to_vec())),
        gateway: folder.signing_keys(passphrase)?.iter().map(Seed::from).collect(),
        organisation: folder.organisation_key(passphrase)?.as_ref().map(Seed::from),
        salt_key: *folder.salt_key()?,
    };
    let content = Zeroizing::new(codec::encode(&backup));
    let sealed = selvedge_crypto::seal_with_passphrase(&content, &first_line(&args.backup_passphrase_file)?)?;
    secret_file::create(&args.file, &sealed)?;
    if globals.json {
        let (gateway, file) = (ids::to_text(&folder.issuer()), args.file.display().to_string());
        println!("{}", serde_json::json!({ "gateway": gateway, "backup": file }));
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{} holds the genesis and the keys of {}, sealed.",
        args.file.display(),
        ids::to_text(&folder.issuer())
    );
    println!("Keep it away from this machine, and its passphrase away from it.");
    Ok(ExitCode::SUCCESS)
}

fn restore(args: &FileArgs, globals: &Globals) -> anyhow::Result<ExitCode> {
    let backup = open_backup(&args.file, &first_line(&args.backup_passphrase_file)?)?;
    let passphrase = args.passphrase.read()?;
    let passphrase = passphrase.as_ref().map(|p| p.as_str());
    let network = Genesis::network_id_of(&backup.genesis);
    let issuer = backup.issuer()?;
    if let Some(enrolment) = &backup.enrolment {
        Folder::put_back_enrolment(&globals.data, &backup.genesis, enrolment)?;
    }
    if let Ok(folder) = Folder::open(&globals.data) {
        // It may have lost its keys and kept its chain.
        anyhow::ensure!(
            folder.network().id() == network && folder.issuer() == issuer,
            "{} belongs to gateway {} of network {}; the backup is of gateway {} of network {}. Restore it into its \
             own folder or into an empty one",
            globals.data.display(),
            ids::to_text(&folder.issuer()),
            ids::to_text(&folder.network().id()),
            ids::to_text(&issuer),
            ids::to_text(&network)
        );
        return restore_beside_chain(&folder, &backup, passphrase, globals.json);
    }
    let organisation = backup.organisation_key();
    let keys = backup.gateway_keys();
    let (gateway, further) = keys.split_first().context("the backup holds no key of the gateway")?;
    let genesis: Genesis = codec::decode(&backup.genesis)?;
    let enrol = backup.enrolment.as_ref().map(|bytes| codec::decode::<Enrol>(bytes)).transpose()?;
    let member = genesis.member(issuer).map(|m| m.name.as_str());
    let name = member.or(enrol.as_ref().map(|e| e.name.as_str())).unwrap_or("restored");
    let contents = Contents {
        genesis: &backup.genesis,
        gateway,
        further,
        enrolment: backup.enrolment.as_ref().map(|bytes| bytes.as_slice()),
        organisation: organisation.as_ref(),
        salt_key: &backup.salt_key,
        config: &config::template(name, &genesis.network_name),
        passphrase,
        restored: true,
    };
    Folder::create(&globals.data, &contents)?;
    if globals.json {
        let gateway = ids::to_text(&issuer);
        println!("{}", serde_json::json!({ "gateway": gateway, "restored": "keys", "issues": false }));
        return Ok(ExitCode::SUCCESS);
    }
    println!("Restored gateway {} into the empty folder {}.", ids::to_text(&issuer), globals.data.display());
    println!("Its chain is not here: `run` journals readings and issues nothing until the chain is back.");
    Ok(ExitCode::SUCCESS)
}

/// Puts back those key files that are missing; one that is there must hold the same key.
fn restore_beside_chain(
    folder: &Folder,
    backup: &Backup,
    passphrase: Option<&str>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let (gateway, organisation) = (backup.gateway_keys(), backup.organisation_key());
    // Looked for first: with the keys back and no mark, a crash here would let it issue without its chain.
    let newest = own_newest(folder)?;
    if newest.is_none() {
        folder.mark_without_chain()?;
    }
    let restored = folder.put_back_keys(&gateway, organisation.as_ref(), &backup.salt_key, passphrase)?;
    if newest.is_some() && folder.restored_mark()? {
        folder.clear_restored_mark()?;
    }
    let issues = newest.is_some();
    if json {
        let gateway = ids::to_text(&folder.issuer());
        println!("{}", serde_json::json!({ "gateway": gateway, "restored": restored, "issues": issues }));
        return Ok(ExitCode::SUCCESS);
    }
    if restored.is_empty() {
        println!("{} has all its keys: nothing to restore.", folder.path().display());
    } else {
        println!("Restored into {}: {}.", folder.path().display(), restored.join(", "));
    }
    match newest {
        Some(sequence) => println!(
            "The chain goes on after sequence {sequence}. If this gateway signed more than that, this is not its newest \
             store: do not run it."
        ),
        None => println!(
            "Its chain is not here: `run` journals readings and issues nothing until the chain is back."
        ),
    }
    Ok(ExitCode::SUCCESS)
}

/// Sequence of the newest transaction of this gateway that its store holds.
fn own_newest(folder: &Folder) -> anyhow::Result<Option<u64>> {
    let opened = chain::open(folder, Arc::new(RealDisk::open(folder.store_path())?))?;
    let newest = opened.own_newest(folder);
    opened.store.close()?;
    Ok(newest)
}

fn open_backup(path: &Path, passphrase: &str) -> anyhow::Result<Backup> {
    let sealed = secret_file::read(path, Backup::BYTES_MAX + 4_096)?;
    let content = selvedge_crypto::open_with_passphrase(&sealed, passphrase)
        .with_context(|| format!("cannot open the backup {}", path.display()))?;
    let decoded = Backup::decode(&content);
    decoded.with_context(|| format!("{} was opened and is no backup of keys", path.display()))
}
