//! `selvedge init`: makes a gateway; of a new network, of one that partners found together, or of one that it joins.

mod dial;
mod member;
mod partners;

use std::path::{Path, PathBuf};
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
  selvedge init --data ./g1 --network works --organisation Acme --name g1
  selvedge init --data /var/lib/selvedge --network works --organisation Acme --name g1 --passphrase-file pass

Join a network that exists: with a line that `selvedge invite` printed on a member, or without a network by a file \
that `selvedge admit` wrote there:
  selvedge init --join svinvite1... --name \"Press 7\" --data ./g2
  selvedge init --await-credential --name \"Press 7\" --data ./g2
  selvedge init --credential press-7.credential --data ./g2

Found a network together: each partner introduces its keys, one makes the genesis, the others take it:
  selvedge init --introduce --organisation \"Maker Inc\" --name \"Press 7\" --data ./press
  selvedge init --network \"Line 4\" --organisation \"Owner AG\" --name Edge --with press/introduction --data ./edge
  selvedge init --genesis edge/genesis.bin --data ./press

The folder then holds selvedge.toml (put your devices in), the keys (mode 0600: back them up with \
`selvedge key backup`), and the genesis. The network id that is printed is what an auditor pins, and what partners \
compare. A command that was interrupted can be given again; it goes on with the same keys.";

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[command(group(clap::ArgGroup::new("way").args(["introduce", "genesis", "join", "await_credential", "credential"])))]
pub struct Args {
    /// Name of a new network, for people ["works" if not given]. Two networks with one name still have different ids.
    #[arg(long, value_name = "NAME", conflicts_with = "way")]
    network: Option<String>,
    /// Name of the organisation that the gateway belongs to ["owner" if not given].
    #[arg(long, value_name = "NAME", conflicts_with_all = ["genesis", "join", "await_credential", "credential"])]
    organisation: Option<String>,
    /// Name of this gateway ["gateway-1" in a new network].
    #[arg(long, visible_alias = "gateway", value_name = "NAME", conflicts_with_all = ["genesis"])]
    name: Option<String>,
    /// The introduction of a partner, who is then part of the new network (may be given several times).
    #[arg(long, value_name = "FILE", conflicts_with = "way")]
    with: Vec<PathBuf>,
    /// Who decides the order, by gateway name or id, with commas [all gateways of the genesis].
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "with")]
    committee: Option<Vec<String>>,
    /// The genesis lets this gateway invite others with its own key (the organisation's key can always).
    #[arg(long, conflicts_with_all = ["genesis", "join", "await_credential", "credential"])]
    inviter: bool,
    /// Make keys, and a file that introduces them to the partner who makes the network.
    #[arg(long)]
    introduce: bool,
    /// Where the introduction is written as well [only DIR/introduction].
    #[arg(long, value_name = "FILE", requires = "introduce")]
    out: Option<PathBuf>,
    /// Take the genesis that a partner made with this gateway's introduction.
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// Join with an invitation; `-` reads the line from standard input.
    #[arg(long, value_name = "LINE")]
    join: Option<String>,
    /// Make keys and print the id, for `selvedge admit` on a member.
    #[arg(long)]
    await_credential: bool,
    /// Take the credential that `selvedge admit` wrote for this gateway.
    #[arg(long, value_name = "FILE")]
    credential: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Runs it.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let named = [
        ("--network", &args.network),
        ("--organisation", &args.organisation),
        ("--name (--gateway)", &args.name),
    ];
    for (option, name) in named {
        if let Some(name) = name {
            check_name(name).map_err(|why| anyhow::anyhow!("{option} {name:?}: {why}"))?;
        }
    }
    let passphrase = args.passphrase.read()?;
    let passphrase = passphrase.as_ref().map(|p| p.as_str());
    if let Some(line) = &args.join {
        return member::join(line, args.name.as_deref(), passphrase, globals);
    }
    if let Some(file) = &args.credential {
        return member::take_credential(file, args.name.as_deref(), passphrase, globals);
    }
    if args.await_credential {
        return member::await_credential(args.name.as_deref(), passphrase, globals);
    }
    if let Some(file) = &args.genesis {
        return partners::take_genesis(file, passphrase, globals);
    }
    if args.introduce {
        return partners::introduce(&args, passphrase, globals);
    }
    if !args.with.is_empty() {
        return partners::found_with(&args, passphrase, globals);
    }
    single(args, passphrase, globals)
}

/// A new network of one gateway.
fn single(args: Args, passphrase: Option<&str>, globals: &Globals) -> anyhow::Result<ExitCode> {
    let names = Names {
        network: args.network.unwrap_or_else(|| "works".into()),
        organisation: args.organisation.unwrap_or_else(|| "owner".into()),
        gateway: args.name.unwrap_or_else(|| "gateway-1".into()),
    };
    let folder = new_network(&globals.data, &names, passphrase)?;
    Ok(say(&folder, globals, &["Auditors verify proofs with that network id: write it down."]))
}

/// Says what was made and what comes next.
fn say(folder: &Folder, globals: &Globals, words: &[&str]) -> ExitCode {
    let (network, gateway) = (ids::to_text(&folder.network().id()), ids::to_text(&folder.issuer()));
    let path = globals.data.display();
    if globals.json {
        let answer = serde_json::json!({
            "data": path.to_string(),
            "network": network,
            "gateway": gateway,
            "name": folder.name(),
        });
        println!("{answer}");
        return ExitCode::SUCCESS;
    }
    let genesis = folder.genesis();
    println!("Network {:?}: {network}", genesis.network_name);
    println!("Gateway {:?} of {:?}: {gateway}", folder.name(), folder.organisation_name());
    println!();
    for word in words {
        println!("{word}");
    }
    println!("Next:");
    println!("  edit {path}/selvedge.toml                  put your devices in");
    println!("  selvedge adapter test --data {path}        see what they say");
    println!("  selvedge run --data {path}");
    println!("  selvedge key backup FILE --data {path}     keep the keys somewhere else");
    ExitCode::SUCCESS
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
pub fn new_network(path: &Path, names: &Names, passphrase: Option<&str>) -> anyhow::Result<Folder> {
    let organisation = SecretKey::generate(Scheme::MlDsa65)?;
    let gateway = SecretKey::generate(Scheme::MlDsa44)?;
    let mut salt_key = Zeroizing::new([0; SALT_KEY_BYTES]);
    getrandom::fill(salt_key.as_mut_slice()).context("the system gives no randomness")?;
    let genesis = Genesis {
        version: 0,
        network_name: names.network.clone(),
        random: random()?,
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
        enrolment: None,
        further: &[],
        restored: false,
    };
    Ok(Folder::create(path, &contents)?)
}

fn random() -> anyhow::Result<[u8; 32]> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).context("the system gives no randomness")?;
    Ok(random)
}

fn public_key(secret: &SecretKey) -> anyhow::Result<PublicKey> {
    Ok(selvedge_crypto::signer(secret)?.public_key().clone())
}
