//! Networks of whole gateways: deterministic, complete, and slower where they should be.

use selvedge_sim::network::delay::Delay;
use selvedge_sim::network::hardware::Hardware;
use selvedge_sim::network::measure::Measured;
use selvedge_sim::network::params::{Batch, Params};
use selvedge_sim::network::topology::Topology;
use selvedge_sim::network::units::{Rate, Share, Size, Span};
use selvedge_sim::network::{self, workload::Workload};

/// Five gateways, four seconds, constant delay.
fn small(seed: u64) -> Params {
    let mut params = Params { seed, gateways: 5, load: Span::from_s(4), ..Params::default() };
    params.workload = Workload { rate: Rate::per_s(30), together: 3, ..Workload::default() };
    params.batch = Batch { age: Span::from_ms(500), ..Batch::default() };
    params.link.delay = Delay::Constant(Span::from_ms(40));
    params
}

fn run(params: &Params) -> Measured {
    let seed = params.seed;
    network::measure(params, &mut |_| {}).unwrap_or_else(|problem| panic!("seed {seed}: {problem}"))
}

fn median(histogram: &network::measure::Histogram) -> u64 {
    histogram.quantile(500).expect("something was counted")
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let (one, again, other) = (run(&small(1)), run(&small(1)), run(&small(2)));
    assert_eq!(one.trace_hash, again.trace_hash);
    assert_eq!((one.attach, one.witness, one.frames), (again.attach, again.witness, again.frames));
    assert_ne!(one.trace_hash, other.trace_hash);
}

#[test]
fn all_that_was_offered_is_attached_everywhere_and_witnessed() {
    for seed in 1..=3 {
        let measured = run(&small(seed));
        assert!(measured.ledgers_equal && measured.drained, "seed {seed}");
        assert!(
            measured.offered_readings > 500 && measured.offered > 25,
            "seed {seed}: {}",
            measured.offered
        );
        assert_eq!(measured.refused_readings, 0, "seed {seed}");
        assert_eq!(measured.durable_readings, measured.offered_readings, "seed {seed}");
        assert_eq!(measured.reading_attach.count(), measured.offered_readings, "seed {seed}");
        assert_eq!(measured.reading_witness.count(), measured.offered_readings, "seed {seed}");
        assert_eq!(measured.attached, 5 * (measured.offered + measured.notes), "seed {seed}");
        assert_eq!(measured.attach.count(), 4 * measured.offered, "seed {seed}");
        assert_eq!(measured.witnessed, measured.offered, "seed {seed}");
        let foreign = 4 * (measured.offered + measured.notes);
        assert_eq!(measured.duplicates, measured.bodies_received - foreign, "seed {seed}");
        assert_eq!((measured.faults, measured.disconnected), (0, 0), "seed {seed}: all are honest");
    }
}

#[test]
fn nothing_is_faster_than_its_way() {
    let measured = run(&small(4));
    let least = |histogram: &network::measure::Histogram| histogram.least().expect("something was counted");
    assert!(least(&measured.attach) >= 40_000, "{}", least(&measured.attach));
    // There and back: another one must have it, and say so.
    assert!(least(&measured.witness) >= 80_000, "{}", least(&measured.witness));
    assert!(least(&measured.reading_attach) >= least(&measured.attach));
    // A journal that waits up to 200 ms for others, and a sync.
    let durable = measured.durable.most().expect("something was counted");
    assert!(durable >= 200_000, "{durable}");
}

#[test]
fn loss_and_a_thin_wire_make_it_slower() {
    let plain = run(&small(5));
    let mut params = small(5);
    params.link.loss = "5%".parse::<Share>().expect("a share");
    let lossy = run(&params);
    assert!(lossy.traffic.resent_packets > 0);
    let p90 = |m: &Measured| m.attach.quantile(900).expect("something was counted");
    assert!(p90(&lossy) > p90(&plain) + 10_000, "{} and {}", p90(&lossy), p90(&plain));
    assert!(lossy.ledgers_equal, "what is lost is sent again");
    let mut params = small(5);
    params.link.bandwidth = Some("200kbit/s".parse().expect("a bandwidth"));
    let thin = run(&params);
    // 2.7 kB take 108 ms there.
    assert!(median(&thin.attach) > median(&plain.attach) + 80_000);
    assert!(thin.traffic_load.link_most_us > 0 && plain.traffic_load.link_most_us == 0);
}

#[test]
fn slow_hardware_makes_it_slower() {
    let fast = run(&small(6));
    let mut params = small(6);
    params.hardware = Hardware::Pi3.into();
    let slow = run(&params);
    assert!(median(&slow.attach) > median(&fast.attach), "checking a signature takes longer");
    assert!(slow.busy_verify.sum_us > 2 * fast.busy_verify.sum_us);
    assert_eq!(slow.attached, 5 * (slow.offered + slow.notes));
}

/// A wire that carries a tenth of what is said on it: the queue to a peer overflows, and the core is told.
#[test]
fn a_queue_that_overflows_is_counted_and_the_ledgers_become_equal_all_the_same() {
    let mut params = small(7);
    (params.gateways, params.load, params.drain) = (2, Span::from_s(20), Span::from_s(600));
    params.workload = Workload { rate: Rate::per_s(200), together: 2, ..Workload::default() };
    params.batch = Batch { readings: 2, bytes: Size::of(4_096), age: Span::from_ms(100) };
    params.link.bandwidth = Some("300kbit/s".parse().expect("a bandwidth"));
    let measured = run(&params);
    assert!(measured.dropped_frames > 0 && measured.congested > 0, "{:?}", measured.peaks);
    assert!(measured.congested < measured.dropped_frames, "it is said once until the queue is half empty");
    assert!(measured.peaks.send_bytes > 900_000, "{:?}", measured.peaks);
    assert!(measured.ledgers_equal, "what was dropped is fetched");
    assert_eq!(measured.reading_attach.count(), measured.offered_readings);
}

#[test]
fn thirty_gateways_that_know_four_each() {
    let mut params = small(8);
    params.gateways = 30;
    params.topology = Topology::Regular { degree: 4 };
    params.load = Span::from_s(2);
    params.workload = Workload { rate: Rate::per_s(5), silent: 20, ..Workload::default() };
    let measured = run(&params);
    assert!(measured.ledgers_equal && measured.drained);
    assert_eq!(measured.witnessed, measured.offered, "twenty of them say something only to approve");
    // Not all are neighbours of its maker.
    assert!(measured.attach.most() >= Some(80_000));
}

/// Below its window a core asks the store: the model store gives the same answers as memory would.
#[test]
fn a_small_window_changes_nothing_for_those_who_use_it() {
    let mut params = small(9);
    params.node.window_records = 24;
    let measured = run(&params);
    assert!(measured.ledgers_equal && measured.drained);
    assert_eq!(measured.reading_attach.count(), measured.offered_readings);
}

#[test]
fn what_cannot_be_is_refused_before_anything_runs() {
    let params = Params { gateways: 0, ..small(1) };
    let problem = network::measure(&params, &mut |_| {}).expect_err("no gateway is no network");
    assert_eq!(problem.key, "gateways");
}

/// The share of all cores was a mean over the gateways, divided by the smallest machine's cores: one slow board among fast
/// ones could drown without being seen.
#[test]
fn the_fullest_machine_of_a_mixed_fleet_is_measured_by_its_own_hardware() {
    let of = |fleet: &str| {
        let params = Params { hardware: fleet.parse().expect("valid"), ..small(1) };
        let report = network::run(&params, &mut |_| {}).unwrap_or_else(|problem| panic!("{problem}"));
        (report.utilisation, report.core_bytes)
    };
    let ((slow, _), (fast, _), (mixed, core_bytes)) = (of("pi3"), of("x86"), of("x86:4,pi3:1"));
    assert!(slow.cpu > 3.0 * fast.cpu, "{slow:?} {fast:?}");
    assert!(mixed.cpu > 0.8 * slow.cpu && mixed.workers > 0.8 * slow.workers, "{mixed:?} {slow:?}");
    let [pi3, x86] =
        [Hardware::Pi3, Hardware::X86].map(|h| core_bytes as f64 / h.profile().memory_bytes as f64);
    assert!((x86..=pi3).contains(&mixed.memory) && mixed.memory > 0.8 * pi3, "{mixed:?}");
}

/// Nothing happens after the load has begun: nobody has anything to say, or the one reading that might have come did not. The
/// end lay before the beginning then, and the report broke with "attempt to subtract with overflow".
#[test]
fn a_run_in_which_nothing_happens_has_a_report() {
    let report = |set: fn(&mut Params)| {
        let mut params = Params { gateways: 3, load: Span::from_s(2), ..Params::default() };
        set(&mut params);
        network::run(&params, &mut |_| {}).unwrap_or_else(|problem| panic!("{problem}"))
    };
    for idle in [
        report(|params| params.workload.silent = 3),
        report(|params| params.workload.rate = "1/h".parse().expect("a rate")),
    ] {
        assert_eq!((idle.offered, idle.attached, idle.refused), (0, 0, 0));
        assert!(idle.virtual_s >= 2.0 && idle.drained, "{idle}");
        assert_eq!((idle.steady_attached_per_s, idle.way_by_third_ms), (0.0, [None; 3]));
        assert!(idle.to_string().contains("offered") && idle.to_json().starts_with('{'));
    }
}

/// What is attached in the steady part is what was offered, and ways do not grow where nothing is full. Where the wires are
/// full they do, and readings that never get through count too.
#[test]
fn a_queue_that_grows_is_seen_in_the_ways_of_the_readings() {
    let with = |bandwidth: Option<&str>, drain: Span| {
        let mut params = Params { load: Span::from_s(12), drain, ..small(10) };
        params.workload = Workload { rate: Rate::per_s(10), ..Workload::default() };
        params.batch.readings = 1;
        params.link.bandwidth = bandwidth.map(|text| text.parse().expect("a bandwidth"));
        params
    };
    let report =
        |params: &Params| network::run(params, &mut |_| {}).unwrap_or_else(|problem| panic!("{problem}"));
    let (wide, thin) =
        (report(&with(None, Span::from_s(60))), report(&with(Some("100kbit/s"), Span::from_s(60))));
    let per_s = wide.offered as f64 / 12.0;
    assert!(
        (wide.steady_attached_per_s / per_s - 1.0).abs() < 0.1,
        "{} of {per_s}",
        wide.steady_attached_per_s
    );
    let grows = |report: &network::Report| match report.way_by_third_ms {
        [Some(_), Some(middle), Some(last)] => last - middle,
        other => panic!("{other:?}"),
    };
    assert!(grows(&wide).abs() < 50.0, "{:?}", wide.way_by_third_ms);
    assert!(grows(&thin) > 1_000.0, "{:?}", thin.way_by_third_ms);
    assert!(thin.steady_attached_per_s < 0.8 * per_s, "{}", thin.steady_attached_per_s);
    // With a drain too short most readings are attached nowhere else: they count all the same.
    let cut_short = run(&with(Some("100kbit/s"), Span::from_s(2)));
    assert!(cut_short.reading_attach.count() < cut_short.offered_readings);
    let counted: u64 = cut_short.ways.iter().map(|ways| ways.count).sum();
    assert_eq!(counted, cut_short.offered_readings);
}
