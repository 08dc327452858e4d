//! `selvedge admit`: lets a gateway in by its id, without a network between the two.

use std::path::PathBuf;
use std::process::ExitCode;

use selvedge_core::Issuer;
use selvedge_core::codec::check_name;
use selvedge_crypto::ids;

use super::Globals;
use super::invite::now_s;
use super::passphrase::PassphraseArgs;
use crate::config;
use crate::credential::{self, Authority, CredentialFile};
use crate::document;
use crate::folder::{self, Admitted, Folder};
use crate::invite::Address;

const AFTER_HELP: &str = "\
Examples:
  selvedge init --await-credential --name \"Press 7\" --data ./g2       on the gateway that wants in: prints its id
  selvedge admit svid1... --name \"Press 7\" -o press-7.credential --data ./g1
  selvedge init --credential press-7.credential --data ./g2           there again

The file holds the genesis and this organisation's word on that id, no secret. Compare the id with the people there:
whoever has its key becomes a member. To give the word again, name another file with -o.

Exit codes: 0 done; 2 wrong use, or this gateway may not let others in.";

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The id that `selvedge init --await-credential` printed (svid1…).
    id: String,
    /// What the gateway is called.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// The file to write [the beginning of the id, with .credential].
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Where the new gateway reaches a member [`advertise` of the configuration; may be given several times].
    #[arg(long, value_name = "HOST:PORT")]
    address: Vec<Address>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Runs it.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let issuer: Issuer = ids::parse(&args.id)?;
    let name = args.name;
    check_name(&name).map_err(|why| anyhow::anyhow!("--name {name:?}: {why}"))?;
    let folder = Folder::open(&globals.data)?;
    let genesis = folder.genesis();
    if let Some(member) = genesis.member(issuer) {
        anyhow::bail!("the genesis names that gateway already, as {:?}; it needs no credential", member.name);
    }
    anyhow::ensure!(
        issuer != folder.issuer(),
        "that is this gateway itself; give the id of the one that wants in"
    );
    let out = args.out.unwrap_or_else(|| {
        let id = ids::to_text(&issuer);
        PathBuf::from(format!("{}.credential", id.get(..16).unwrap_or(&id)))
    });
    anyhow::ensure!(
        !out.exists(),
        "{} exists already and is not overwritten; name another file with -o",
        out.display()
    );
    let record = record(&folder, issuer, &name, args.passphrase.read()?.as_ref().map(|p| p.as_str()))?;
    let file = CredentialFile {
        version: 0,
        genesis: folder.genesis_bytes().to_vec(),
        issuer,
        name: record.name.clone(),
        roles: record.roles.clone(),
        credential: record.credential.clone(),
        addresses: addresses(&folder, &args.address)?,
    };
    // Noted before the word is out.
    folder.admit(&record)?;
    folder::write(&out, &document::encode(&file))?;
    let id = ids::to_text(&issuer);
    if globals.json {
        let answer = serde_json::json!({
            "gateway": id,
            "name": name,
            "credential": out.display().to_string(),
            "network": ids::to_text(&folder.network().id()),
            "addresses": file.addresses,
        });
        println!("{answer}");
        return Ok(ExitCode::SUCCESS);
    }
    println!("{id} is let in as {name:?}.");
    println!("Take {} there, and run: selvedge init --credential FILE", out.display());
    if file.addresses.is_empty() {
        println!(
            "It names no address (neither `advertise` in the configuration nor --address): tell them where to dial."
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// The word on this id: the one given earlier, or a new one.
fn record(folder: &Folder, issuer: Issuer, name: &str, passphrase: Option<&str>) -> anyhow::Result<Admitted> {
    if let Some(earlier) = folder.admitted(&issuer)? {
        anyhow::ensure!(
            earlier.name == name,
            "that gateway was let in as {:?} already, and that word stays good; use --name {:?}",
            earlier.name,
            earlier.name
        );
        return Ok(earlier);
    }
    let authority = Authority::of(folder, passphrase)?;
    let roles = credential::roles();
    let credential = authority.sign(issuer, name, &roles)?;
    let (version, key, admitted_s) = (0, None, now_s());
    Ok(Admitted { version, issuer, key, name: name.to_owned(), roles, credential, admitted_s })
}

/// Those given; else that of the configuration. None is allowed: the new gateway can be told otherwise.
fn addresses(folder: &Folder, given: &[Address]) -> anyhow::Result<Vec<String>> {
    anyhow::ensure!(
        given.len() <= credential::ADDRESSES_MAX,
        "--address is given {} times; expected at most {}",
        given.len(),
        credential::ADDRESSES_MAX
    );
    if !given.is_empty() {
        return Ok(given.iter().map(ToString::to_string).collect());
    }
    let settings = config::load(&folder.config_path())?;
    Ok(settings.network.advertise.iter().map(ToString::to_string).collect())
}
