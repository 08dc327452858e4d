//! `selvedge run`: the daemon.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use super::passphrase::PassphraseArgs;
use super::{Failed, Globals, start_log};
use crate::folder::Folder;
use crate::gateway::Gateway;
use crate::{config, engine};

const AFTER_HELP: &str = "\
Examples:
  selvedge run --data ./g1
  RUST_LOG=debug selvedge run --data ./g1
  selvedge run --alone --data ./g1

It logs to standard error (the journal under systemd). SIGTERM or Ctrl-C stops it: readings are kept, the open \
batch is signed, and the store is closed; a second signal ends it at once, which loses nothing acknowledged either.

With peers, a start first asks them how far they hold this gateway's chain (`start_wait` under [network]): a restored \
image would otherwise contradict what it signed before. Readings are kept meanwhile.

Exit codes: 0 stopped on request; 1 the store or the key failed while it ran; 2 it could not start.";

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Sign at once, without asking peers how far this gateway's chain goes. A store marked as restored asks all the
    /// same.
    #[arg(long)]
    alone: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Runs it.
pub fn run(args: &Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    start_log("info");
    engine::die_on_panic();
    let folder = Folder::open(&globals.data)?;
    let mut settings = config::load(&folder.config_path())?;
    if args.alone {
        settings.network.start_wait = Duration::ZERO;
    }
    let passphrase = args.passphrase.read()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the system refused threads")?;
    runtime.block_on(daemon(&folder, settings, passphrase.as_ref().map(|p| p.as_str())))
}

async fn daemon(
    folder: &Folder,
    settings: config::Settings,
    passphrase: Option<&str>,
) -> anyhow::Result<ExitCode> {
    // Before anything is started, so that a signal during the start is not missed.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let devices = settings.devices.len();
    let mut reload = Reload { path: folder.config_path(), rest: settings.rest.clone() };
    let mut gateway = Gateway::start(folder, settings, passphrase).await?;
    tracing::info!(
        network = %selvedge_crypto::ids::to_text(&folder.network().id()),
        gateway = %selvedge_crypto::ids::to_text(&folder.issuer()),
        devices,
        "running"
    );
    notify(&[sd_notify::NotifyState::Ready]);
    let watchdog = tokio::spawn(feed_watchdog(gateway.engine().clone()));
    let halted = loop {
        tokio::select! {
            _ = terminate.recv() => break false,
            _ = interrupt.recv() => break false,
            () = gateway.halted() => break true,
            _ = hangup.recv() => reload.take(&mut gateway).await,
        }
    };
    notify(&[sd_notify::NotifyState::Stopping]);
    tracing::info!("stopping; a second signal ends at once");
    let stopped = tokio::select! {
        stopped = gateway.stop() => stopped,
        _ = terminate.recv() => std::process::exit(1),
        _ = interrupt.recv() => std::process::exit(1),
    };
    watchdog.abort();
    match stopped {
        Ok(()) if !halted => {
            tracing::info!("stopped");
            Ok(ExitCode::SUCCESS)
        }
        Ok(()) => Err(Failed("the node stopped by itself".into()).into()),
        Err(why) => Err(Failed(format!("{why:#}")).into()),
    }
}

/// Another configuration while the gateway runs (SIGHUP).
struct Reload {
    path: PathBuf,
    /// What takes effect at a start only, as it was then.
    rest: String,
}

impl Reload {
    /// Reads the file and goes over to its devices. A file that is wrong changes nothing.
    async fn take(&mut self, gateway: &mut Gateway) {
        let settings = match config::load(&self.path) {
            Ok(settings) => settings,
            Err(why) => {
                for line in why.to_string().lines() {
                    tracing::error!("{line}");
                }
                tracing::error!(
                    "the configuration is wrong, so nothing was changed; mend it and send SIGHUP again"
                );
                return;
            }
        };
        if settings.rest != self.rest {
            let file = self.path.display().to_string();
            tracing::warn!(file, "what stands outside of [[device]] takes effect at the next start only");
        }
        match gateway.change_devices(settings.devices).await {
            Ok(changes) => {
                let count =
                    |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                tracing::info!(
                    restarted = count(&changes.restarted),
                    added = count(&changes.added),
                    removed = count(&changes.removed),
                    untouched = changes.kept.len(),
                    "the configuration was taken"
                );
            }
            Err(why) => tracing::error!("the configuration was taken in part: {why:#}"),
        }
    }
}

/// Under systemd; elsewhere nobody listens.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd could not be told");
    }
}

/// Feeds systemd's watchdog, each time only after the work loop itself has answered.
async fn feed_watchdog(engine: engine::Engine) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = tokio::time::interval((limit / 3).max(Duration::from_millis(100)));
    loop {
        ticks.tick().await;
        if engine.turn().await.is_err() {
            return;
        }
        notify(&[sd_notify::NotifyState::Watchdog]);
    }
}
