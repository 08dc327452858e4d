//! `network`: whole gateways, without faults but those of the links.

use std::path::Path;
use std::process::ExitCode;

use selvedge_sim::network::hardware::Fleet;
use selvedge_sim::network::params::{Params, Problem, Signatures, Tips};
use selvedge_sim::network::topology::Topology;
use selvedge_sim::network::units::{Bandwidth, Rate, Share, Size, Span};
use selvedge_sim::network::workload::Arrivals;
use selvedge_sim::network::{self, Progress, delay::Delay};

use super::progress::{self, Teller};

const EXAMPLES: &str = "Examples:
  selvedge-sim network --gateways 10 --delay uniform:50ms..100ms --rate 10/s --for 20s --seed 1 --json
  selvedge-sim network --gateways 10 --hardware pi4 --uplink 1Mbit/s --rate 100/s --for 60s
  selvedge-sim network --topology sites:3x4 --uplink 2Mbit/s --delay normal:30ms~5ms
  selvedge-sim network --gateways 100 --topology regular:8 --committee 20 --arrivals burst:10s,1s
  selvedge-sim network --delay matrix:sites.txt --loss 0.5% --tips walk:0.01

Exit code 0: it ran and all gateways ended with the same ledger; 1: they did not; 2: the command line or a file is wrong.";

/// Whole gateways on the shipped core: what they carry, how long it takes, what it costs.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Network {
    #[command(flatten)]
    options: Options,
    /// End with one JSON object on a line.
    #[arg(long)]
    json: bool,
}

/// Parameters of a network; what is left out is as in `Params::default`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Decides every choice [default: 1].
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// How many gateways [default: 10; with sites as many as they have].
    #[arg(long)]
    pub(crate) gateways: Option<usize>,
    /// How many of the first gateways are the committee [default: all, up to 63].
    #[arg(long)]
    committee: Option<usize>,
    /// For how long readings come in, virtual time [default: 20s].
    #[arg(long = "for", value_name = "TIME")]
    pub(crate) load: Option<Span>,
    /// How long the run goes on after that at most, until all is attached everywhere [default: 60s].
    #[arg(long, value_name = "TIME")]
    drain: Option<Span>,
    /// Who is linked with whom: full, regular:DEGREE, sites:SITESxGATEWAYS [default: full].
    #[arg(long)]
    topology: Option<Topology>,
    /// What they are built of: pi3, pi4, pi5, x86, or counts such as pi4:8,x86:2 [default: x86].
    #[arg(long)]
    pub(crate) hardware: Option<Fleet>,
    /// How tips are selected: uniform or walk:ALPHA [default: uniform].
    #[arg(long)]
    tips: Option<Tips>,
    /// modelled or real [default: modelled].
    #[arg(long)]
    signatures: Option<Signatures>,
    /// Readings per second and gateway [default: 10/s].
    #[arg(long)]
    pub(crate) rate: Option<Rate>,
    /// When they come: poisson, fixed, or burst:EVERY,FOR such as burst:10s,1s [default: poisson].
    #[arg(long)]
    arrivals: Option<Arrivals>,
    /// Bytes of a reading: 48B for a number, more for a text [default: 48B].
    #[arg(long, value_name = "SIZE")]
    reading: Option<Size>,
    /// Readings that come together, as an adapter that polls hands them over [default: 1].
    #[arg(long, value_name = "READINGS")]
    pub(crate) together: Option<u32>,
    /// Streams of each gateway [default: 1].
    #[arg(long)]
    streams: Option<u32>,
    /// So many of the last gateways have nothing to say [default: 0].
    #[arg(long, value_name = "GATEWAYS")]
    silent: Option<usize>,
    /// Delay of the links: 50ms, uniform:50ms..100ms, normal:80ms~10ms, pareto:20ms,1.5, lognormal:60ms,0.5, matrix:FILE
    /// [default: uniform:50ms..100ms].
    #[arg(long)]
    delay: Option<Delay>,
    /// What each direction of each link carries, such as 10Mbit/s [default: no limit].
    #[arg(long)]
    bandwidth: Option<Bandwidth>,
    /// What a gateway (with sites: a site) sends over all its links together [default: no limit].
    #[arg(long, value_name = "BANDWIDTH")]
    uplink: Option<Bandwidth>,
    /// The same for what it receives [default: no limit].
    #[arg(long, value_name = "BANDWIDTH")]
    downlink: Option<Bandwidth>,
    /// Packets that get lost and are sent again [default: 0%].
    #[arg(long, value_name = "SHARE")]
    loss: Option<Share>,
    /// Packets that come twice [default: 0%].
    #[arg(long, value_name = "SHARE")]
    duplicate: Option<Share>,
    /// With sites: the delay inside a site [default: uniform:200us..1ms].
    #[arg(long, value_name = "DELAY")]
    lan_delay: Option<Delay>,
    /// With sites: what a gateway sends inside its site [default: no limit].
    #[arg(long, value_name = "BANDWIDTH")]
    lan_bandwidth: Option<Bandwidth>,
    /// Readings that close a batch [default: 1000].
    #[arg(long, value_name = "READINGS")]
    batch_readings: Option<u32>,
    /// Bytes that close a batch [default: 1MiB].
    #[arg(long, value_name = "SIZE")]
    batch_bytes: Option<Size>,
    /// Age that closes a batch [default: 1s; a gateway as shipped: 10s].
    #[arg(long, value_name = "TIME")]
    batch_age: Option<Span>,
    /// How long a reading may wait for others before the journal is synced [default: 1s].
    #[arg(long, value_name = "TIME")]
    journal_within: Option<Span>,
    /// The same for others' transactions [default: 1s].
    #[arg(long, value_name = "TIME")]
    foreign_within: Option<Span>,
    /// A note that only approves comes after up to this long [default: 2s].
    #[arg(long, value_name = "TIME")]
    approve_within: Option<Span>,
    /// Records that a core keeps in memory [default: 65536].
    #[arg(long, value_name = "RECORDS")]
    window_records: Option<usize>,
    /// Older tips are left while a younger one exists [default: 1m].
    #[arg(long, value_name = "TIME")]
    tip_age: Option<Span>,
}

/// Keys of a scenario file that have another name on the command line.
const NAMES: [(&str, &str); 8] = [
    ("batch.readings", "--batch-readings"),
    ("batch.bytes", "--batch-bytes"),
    ("batch.age", "--batch-age"),
    ("node.journal_within", "--journal-within"),
    ("node.foreign_within", "--foreign-within"),
    ("node.approve_within", "--approve-within"),
    ("node.window_records", "--window-records"),
    ("node.tip_age", "--tip-age"),
];

/// A problem, with the option that it is about.
pub(crate) fn named(problem: &Problem) -> String {
    let known = NAMES.iter().find(|(key, _)| *key == problem.key);
    let option = known.map_or_else(
        || format!("--{}", problem.key.rsplit('.').next().unwrap_or(&problem.key).replace('_', "-")),
        |(_, option)| (*option).to_owned(),
    );
    format!("error: {option}: got {}, expected {}", problem.got, problem.expected)
}

fn put<T: Clone>(place: &mut T, given: Option<&T>) {
    if let Some(value) = given {
        place.clone_from(value);
    }
}

impl Options {
    /// The parameters, checked; on an error everything that is wrong has been printed.
    pub(crate) fn params(&self) -> Result<Params, ExitCode> {
        self.unchecked_params(Params::default()).and_then(checked)
    }

    /// The same, not checked, over other defaults.
    pub(crate) fn unchecked_params(&self, mut params: Params) -> Result<Params, ExitCode> {
        put(&mut params.topology, self.topology.as_ref());
        if let Topology::Sites { sites, each } = params.topology {
            params.gateways = sites.saturating_mul(each);
        }
        put(&mut params.seed, self.seed.as_ref());
        put(&mut params.gateways, self.gateways.as_ref());
        params.committee = self.committee.or(params.committee);
        put(&mut params.load, self.load.as_ref());
        put(&mut params.drain, self.drain.as_ref());
        put(&mut params.hardware, self.hardware.as_ref());
        put(&mut params.tips, self.tips.as_ref());
        put(&mut params.signatures, self.signatures.as_ref());
        let workload = &mut params.workload;
        put(&mut workload.rate, self.rate.as_ref());
        put(&mut workload.arrivals, self.arrivals.as_ref());
        put(&mut workload.reading, self.reading.as_ref());
        put(&mut workload.together, self.together.as_ref());
        put(&mut workload.streams, self.streams.as_ref());
        put(&mut workload.silent, self.silent.as_ref());
        let link = &mut params.link;
        put(&mut link.delay, self.delay.as_ref());
        link.bandwidth = self.bandwidth.or(link.bandwidth);
        link.uplink = self.uplink.or(link.uplink);
        link.downlink = self.downlink.or(link.downlink);
        put(&mut link.loss, self.loss.as_ref());
        put(&mut link.duplicate, self.duplicate.as_ref());
        put(&mut link.lan_delay, self.lan_delay.as_ref());
        link.lan_bandwidth = self.lan_bandwidth.or(link.lan_bandwidth);
        let batch = &mut params.batch;
        put(&mut batch.readings, self.batch_readings.as_ref());
        put(&mut batch.bytes, self.batch_bytes.as_ref());
        put(&mut batch.age, self.batch_age.as_ref());
        let node = &mut params.node;
        put(&mut node.journal_within, self.journal_within.as_ref());
        put(&mut node.foreign_within, self.foreign_within.as_ref());
        put(&mut node.approve_within, self.approve_within.as_ref());
        put(&mut node.window_records, self.window_records.as_ref());
        put(&mut node.tip_age, self.tip_age.as_ref());
        params.load_files(Path::new("")).map_err(|problem| {
            eprintln!("{}", named(&problem));
            ExitCode::from(2)
        })?;
        Ok(params)
    }
}

/// Prints everything that is wrong with them.
pub(crate) fn checked(params: Params) -> Result<Params, ExitCode> {
    match params.check() {
        Ok(()) => Ok(params),
        Err(problems) => {
            for problem in &problems {
                eprintln!("{}", named(problem));
            }
            Err(ExitCode::from(2))
        }
    }
}

/// How far a run is, in words.
pub(crate) fn how_far(what: &str, progress: Progress) -> String {
    let percent = progress.time_us * 100 / progress.end_us.max(1);
    format!("{what}: {percent} % of its time at most, {} attachments", progress.attached)
}

impl Network {
    pub(crate) fn run(&self) -> ExitCode {
        let params = match self.options.params() {
            Ok(params) => params,
            Err(code) => return code,
        };
        let mut teller = Teller::new();
        let result = network::run(&params, &mut |so_far| teller.tell(|| how_far("network", so_far)));
        progress::end();
        match result {
            Ok(report) => {
                println!("{report}");
                if self.json {
                    println!("{}", report.to_json());
                }
                if report.ledgers_equal { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            Err(problem) => {
                eprintln!("{}", named(&problem));
                ExitCode::FAILURE
            }
        }
    }
}
