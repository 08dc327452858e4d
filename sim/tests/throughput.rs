//! The search for what a network carries, on networks small enough to compute it by hand.

use selvedge_sim::network::params::Params;
use selvedge_sim::network::units::{Rate, Span};
use selvedge_sim::throughput::{self, Search};

fn search(set: impl FnOnce(&mut Params)) -> throughput::Outcome {
    let mut params =
        Params { gateways: 4, load: Span::from_s(10), drain: Span::from_s(5), ..Params::default() };
    set(&mut params);
    let search = Search { params, precision_percent: 50, steps_max: 16 };
    throughput::run(&search, &mut |_, _, _| {}).unwrap_or_else(|problem| panic!("{problem}"))
}

#[test]
fn a_thin_uplink_is_named_and_a_wider_one_carries_more() {
    let with = |uplink: &str| {
        search(|params| {
            params.link.uplink = Some(uplink.parse().expect("valid"));
            // One transaction for each reading: bytes grow with the load.
            params.batch.readings = 1;
            params.workload.rate = Rate::per_s(1);
        })
    };
    let (thin, wide) = (with("200kbit/s"), with("800kbit/s"));
    for outcome in [&thin, &wide] {
        assert!(outcome.bottleneck.starts_with("uplink"), "{outcome}");
        assert!(outcome.steps.is_sorted_by_key(|step| step.rate));
        let carried = outcome.carried.expect("one reading a second is carried");
        assert!(outcome.too_much.is_some_and(|rate| rate > carried));
    }
    let carried = |outcome: &throughput::Outcome| outcome.carried.map_or(0.0, Rate::as_per_s);
    // An own transaction goes to three peers: 9 kB. 25 kB/s cannot carry three of them a second.
    assert!((0.2..2.9).contains(&carried(&thin)), "{thin}");
    assert!(carried(&wide) > 2.0 * carried(&thin), "{thin}\n{wide}");
}

#[test]
fn the_curve_is_written_as_table_csv_and_plots() {
    let outcome = search(|params| {
        params.link.uplink = Some("200kbit/s".parse().expect("valid"));
        params.batch.readings = 1;
        params.workload.rate = Rate::per_s(4);
    });
    let csv = outcome.csv();
    let fields = csv.lines().next().expect("a head").split(',').count();
    assert_eq!(csv.lines().count(), outcome.steps.len() + 1);
    assert!(csv.lines().all(|line| line.split(',').count() == fields), "{csv}");
    let folder = tempfile::tempdir().expect("a temporary folder");
    outcome.write(folder.path(), "test").unwrap_or_else(|why| panic!("{why}"));
    for name in ["throughput.csv", "throughput.svg", "latency.svg"] {
        let text =
            std::fs::read_to_string(folder.path().join(name)).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert!(text.len() > 100, "{name}");
    }
    assert!(outcome.to_string().contains("limited by"));
}
