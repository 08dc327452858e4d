//! `selvedge demo`: a simulated plant, a gateway, a proof, and forgeries that are refused.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Failed, Globals, start_log};
use crate::answers::print::print_json;
use crate::demo::screen::Screen;
use crate::demo::{self, Options, Report};
use crate::engine;

const AFTER_HELP: &str = "\
Examples:
  selvedge demo
  selvedge demo --for 1min --keep ./demo
  selvedge demo --json | tail -n 1

It needs nothing: the plant is simulated and answers on a free port of this machine, and the data folder is a
temporary one unless --keep names one (--data is not used). Ctrl-C ends the polling early; the proof still comes.

With --json the last line of standard output is one object; what is said for people goes to standard error.

Exit codes: 0 the proof was verified and both forgeries were refused; 1 one of them was not, or the gateway failed,
or no reading came; 2 wrong use, or it could not start.";

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// How long the gateway polls the plant: 20s, 1min.
    #[arg(long = "for", value_name = "DURATION", default_value = "20s", value_parser = duration)]
    run_for: Duration,
    /// Keep data folder and proofs here; the folder must be empty, or not be there.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

fn duration(text: &str) -> Result<Duration, String> {
    edge_adapters::config::duration(text).map_err(|expected| format!("expected {expected}"))
}

/// Runs it.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<ExitCode> {
    let mut screen = Screen::new(globals.json);
    // Lines of the log would tear the picture; what matters stands in it.
    start_log(if screen.is_live() { "off" } else { "warn" });
    engine::die_on_panic();
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("the system gives no randomness")?;
    let options = Options { run_for: args.run_for, keep: args.keep, seed };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the system refused threads")?;
    let report = runtime.block_on(until_interrupted(&options, &mut screen))?;
    if globals.json {
        print_json(&report)?;
    }
    Ok(ExitCode::from(u8::from(!report.holds())))
}

/// Signals this close together are one.
const TOGETHER: Duration = Duration::from_millis(500);

/// The first signal ends the polling, the second one everything.
async fn until_interrupted(
    options: &Options,
    screen: &mut Screen<Box<dyn std::io::Write>>,
) -> anyhow::Result<Report> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let mut signals = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    let demo = demo::run(options, screen, &stop);
    tokio::pin!(demo);
    let mut first: Option<Instant> = None;
    loop {
        tokio::select! {
            outcome = &mut demo => return outcome,
            () = either(&mut signals) => {
                // One press can come as two signals: from the terminal, and from whoever passes it on.
                if first.is_some_and(|at| at.elapsed() < TOGETHER) {
                    continue;
                }
                if first.is_some() {
                    return Err(Failed("interrupted twice: ended before anything was proved".into()).into());
                }
                first = Some(Instant::now());
                stop.cancel();
            }
        }
    }
}

async fn either(signals: &mut (Signal, Signal)) {
    tokio::select! {
        _ = signals.0.recv() => {}
        _ = signals.1.recv() => {}
    }
}
