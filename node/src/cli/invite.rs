//! `selvedge invite`: one line that lets one gateway in.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use selvedge_core::codec::check_name;
use selvedge_crypto::ids;
use zeroize::Zeroizing;

use super::Globals;
use crate::answers::shown::Time;
use crate::config;
use crate::credential::{Authority, CredentialError};
use crate::folder::Folder;
use crate::invite::{Address, Invitation, LASTS_MAX, LASTS_MIN, Line, SECRET_BYTES};

const AFTER_HELP: &str = "\
Examples:
  selvedge invite --data ./g1
  selvedge invite --name \"Press 7\" --for 2h --address 192.0.2.7:7440 --data ./g1

The line lets one gateway join, once: whoever has it can be that gateway, so send it where only the right people \
read. It works while this gateway runs, also when it is started later:
  selvedge init --join svinvite1... --data ./g2

Exit codes: 0 done; 2 wrong use, or this gateway may not let others in.";

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The name that the joiner gets [as it asks].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// How long the line is good: 1min to 720h.
    #[arg(long = "for", value_name = "DURATION", default_value = "24h")]
    lasts: String,
    /// Where the joiner reaches this gateway [`advertise` of the configuration].
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<Address>,
}

/// Runs it.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let folder = Folder::open(&globals.data)?;
    if let Some(name) = &args.name {
        check_name(name).map_err(|why| anyhow::anyhow!("--name {name:?}: {why}"))?;
    }
    if !Authority::is_likely(&folder)? {
        return Err(CredentialError::NotAllowed.into());
    }
    let lasts = lasts(&args.lasts)?;
    let address = match args.address {
        Some(address) => address,
        None => advertised(&folder)?,
    };
    let mut secret = Zeroizing::new([0; SECRET_BYTES]);
    getrandom::fill(secret.as_mut_slice()).context("the system gives no randomness")?;
    let now_s = now_s();
    let expires_s = now_s.saturating_add(lasts.as_secs());
    let line = Line {
        network: folder.network().id(),
        address,
        secret: secret.clone(),
        expires_s: u32::try_from(expires_s).map_err(|_| crate::invite::LineError::Expiry)?,
    };
    // Made first: a line that cannot be written leaves no invitation behind.
    let text = line.to_text()?;
    Invitation::new(folder.network().id(), &secret, args.name.clone(), now_s, expires_s).keep(&folder)?;
    let end = Time(i64::from(line.expires_s).saturating_mul(1_000_000_000));
    if globals.json {
        let answer = serde_json::json!({
            "line": text.as_str(),
            "network": ids::to_text(&line.network),
            "address": line.address.to_string(),
            "expires": end.to_string(),
            "name": args.name,
        });
        println!("{answer}");
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}", text.as_str());
    eprintln!("Good for one gateway until {end}, at {}. There: selvedge init --join LINE", line.address);
    Ok(ExitCode::SUCCESS)
}

fn lasts(text: &str) -> anyhow::Result<Duration> {
    let lasts = edge_adapters::config::duration(text)
        .map_err(|expected| anyhow::anyhow!("--for {text:?}: expected {expected}"))?;
    anyhow::ensure!(
        (LASTS_MIN..=LASTS_MAX).contains(&lasts),
        "--for {text:?}: expected 1min to 720h (30 days)"
    );
    Ok(lasts)
}

/// Where the configuration says that this gateway is reached.
pub(super) fn advertised(folder: &Folder) -> anyhow::Result<Address> {
    let settings = config::load(&folder.config_path())?;
    settings.network.advertise.into_iter().next().with_context(|| {
        format!(
            "where would a joiner reach this gateway? Set `advertise` under [network] in {}, or use --address HOST:PORT",
            folder.config_path().display()
        )
    })
}

/// Seconds since 1970 UTC, by the wall clock.
pub(super) fn now_s() -> u64 {
    u64::try_from(Time::now().0 / 1_000_000_000).unwrap_or(0)
}
