//! `selvedge init`: a new network with this gateway as its first member.

use std::process::ExitCode;

use anyhow::Context as _;
use selvedge_core::Scheme;
use selvedge_core::codec::{Canonical, check_name};
use selvedge_core::genesis::{Genesis, Member, Organisation, PublicKey, role};
use selvedge_crypto::{SecretKey, ids};
use zeroize::Zeroizing;

use super::Globals;
use super::passphrase::PassphraseArgs;
use crate::config;
use crate::folder::{Contents, Folder, SALT_KEY_BYTES};

const AFTER_HELP: &str = "\
Examples:
  selvedge init --data ./g1 --network works --organisation Acme --gateway g1
  selvedge init --data /var/lib/selvedge --network works --organisation Acme --gateway g1 --passphrase-file pass

The folder then holds selvedge.toml (put your devices in), the keys (mode 0600: back them up with
`selvedge key backup`), and the genesis. The network id that is printed is what an auditor pins.";

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Name of the network, for people. Two networks with one name still have different ids.
    #[arg(long, default_value = "works")]
    network: String,
    /// Name of the organisation that the gateway belongs to.
    #[arg(long, default_value = "owner")]
    organisation: String,
    /// Name of this gateway.
    #[arg(long, default_value = "gateway-1")]
    gateway: String,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Runs it.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    for (option, name) in
        [("--network", &args.network), ("--organisation", &args.organisation), ("--gateway", &args.gateway)]
    {
        check_name(name).map_err(|why| anyhow::anyhow!("{option} {name:?}: {why}"))?;
    }
    let passphrase = args.passphrase.read()?;
    let names = Names { network: args.network, organisation: args.organisation, gateway: args.gateway };
    let folder = new_network(&globals.data, &names, passphrase.as_ref().map(|p| p.as_str()))?;
    let (network, gateway) = (ids::to_text(&folder.network().id()), ids::to_text(&folder.issuer()));
    let path = globals.data.display();
    if globals.json {
        println!(
            "{}",
            serde_json::json!({ "data": path.to_string(), "network": network, "gateway": gateway })
        );
        return Ok(ExitCode::SUCCESS);
    }
    println!("Network {:?}: {network}", names.network);
    println!("Gateway {:?} of {:?}: {gateway}", names.gateway, names.organisation);
    println!();
    println!("Auditors verify proofs with that network id: write it down.");
    println!("Next:");
    println!("  edit {path}/selvedge.toml                  put your devices in");
    println!("  selvedge adapter test --data {path}        see what they say");
    println!("  selvedge run --data {path}");
    println!("  selvedge key backup FILE --data {path}     keep the keys somewhere else");
    Ok(ExitCode::SUCCESS)
}

/// What a new network and its first gateway are called.
#[derive(Debug, Clone)]
pub struct Names {
    /// The network.
    pub network: String,
    /// The organisation.
    pub organisation: String,
    /// The gateway.
    pub gateway: String,
}

/// Makes keys, genesis and data folder of a new network with one gateway.
///
/// # Errors
/// When the system gives no randomness, or the folder is taken or cannot be written.
pub fn new_network(
    path: &std::path::Path,
    names: &Names,
    passphrase: Option<&str>,
) -> anyhow::Result<Folder> {
    let organisation = SecretKey::generate(Scheme::MlDsa65)?;
    let gateway = SecretKey::generate(Scheme::MlDsa44)?;
    let mut salt_key = Zeroizing::new([0; SALT_KEY_BYTES]);
    getrandom::fill(salt_key.as_mut_slice()).context("the system gives no randomness")?;
    let mut random = [0; 32];
    getrandom::fill(&mut random).context("the system gives no randomness")?;
    let genesis = Genesis {
        version: 0,
        network_name: names.network.clone(),
        random,
        organisations: vec![Organisation {
            name: names.organisation.clone(),
            key: public_key(&organisation)?,
        }],
        members: vec![Member {
            organisation: 0,
            key: public_key(&gateway)?,
            name: names.gateway.clone(),
            roles: vec![role::GATEWAY.into(), role::INVITER.into()],
        }],
        committee: vec![0],
    };
    genesis.check().map_err(|why| anyhow::anyhow!("the genesis would be wrong: {why}"))?;
    let config = config::template(&names.gateway, &names.network);
    let contents = Contents {
        genesis: &genesis.to_bytes(),
        gateway: &gateway,
        organisation: Some(&organisation),
        salt_key: &salt_key,
        config: &config,
        passphrase,
        restored: false,
    };
    Ok(Folder::create(path, &contents)?)
}

fn public_key(secret: &SecretKey) -> anyhow::Result<PublicKey> {
    Ok(selvedge_crypto::signer(secret)?.public_key().clone())
}
