//! `selvedge demo`: a simulated plant, gateways, one tangle, a proof, and forgeries that are refused.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{Failed, Globals, start_log};
use crate::answers::print::print_json;
use crate::demo::screen::Screen;
use crate::demo::{self, Cut, Options, Report};
use crate::engine;

const AFTER_HELP: &str = "\
Examples:
  selvedge demo
  selvedge demo --for 1min --keep ./demo
  selvedge demo --cut 3 --cut-at 5s --heal-at 12s       pulls a cable out, and puts it back
  selvedge demo --mqtt mqtt://127.0.0.1:1883            sensors by way of a broker
  selvedge demo --json | tail -n 1

It needs nothing: the plant is simulated and answers on free ports of this machine, its filler over Modbus TCP and its \
conveyor over OPC-UA; with --mqtt its thermometer and flow meter publish through a broker of yours. The gateways speak over \
QUIC on the loopback, and the data folders are temporary ones unless --keep names a folder (--data is not used). Ctrl-C \
ends the polling early; the proof still comes.

With --keep, plant.jsonl beside the data folders holds what the plant's instruments showed, fifty times a second, for a \
comparison with what the gateways recorded.

Then the gateways come to rest, for which they get 30 s, and stop; their folders are opened again and compared. With \
--json the last line of standard output is one object; what is said for people goes to standard error. In it
  witnessed_all           each transaction with a payload, of the whole run, lies in the past cone of a transaction of
                          every other gateway
  ledgers_equal           the same ids were read back from all closed data folders
Both are false where nothing was compared, as with one gateway, and with a cable that was out at the end.

Exit codes: 0 all of it held: the proof was verified, both forgeries were refused, and both of the above are true, unless \
there is one gateway or a cable was out at the end; 1 something of it did not hold, or a gateway failed, or no reading \
came; 2 wrong use, or it could not start.";

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// How many gateways divide the plant's streams among themselves, 1 to 7.
    #[arg(long, value_name = "N", default_value_t = demo::GATEWAYS)]
    gateways: usize,
    /// How long they poll the plant: 20s, 1min.
    #[arg(long = "for", value_name = "DURATION", default_value = "20s", value_parser = duration)]
    run_for: Duration,
    /// Keep data folders and proofs here; the folder must be empty, or not be there.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// The plant's sensors publish through this MQTT broker: mqtt://HOST[:PORT].
    #[arg(long, value_name = "URL", value_parser = demo::messages::broker)]
    mqtt: Option<String>,
    /// Pull out the cable of this gateway, from 1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    cut: Option<u8>,
    /// When, after the start.
    #[arg(long, value_name = "DURATION", default_value = "5s", requires = "cut", value_parser = duration)]
    cut_at: Duration,
    /// When the cable is put back, after the start; never unless given.
    #[arg(long, value_name = "DURATION", requires = "cut", value_parser = duration)]
    heal_at: Option<Duration>,
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
    let cut = args.cut.map(|number| Cut {
        gateway: usize::from(number) - 1,
        at: args.cut_at,
        heal_at: args.heal_at,
    });
    let options = Options {
        gateways: args.gateways,
        run_for: args.run_for,
        keep: args.keep,
        broker: args.mqtt,
        cut,
        seed,
    };
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
