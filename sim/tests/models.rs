//! The models of the network: delays against the means and quantiles of their distributions, wires against what can be
//! computed by hand, topologies, workloads, and parameters that cannot be.

use std::collections::BTreeMap;

use selvedge_core::border::Lane;
use selvedge_sim::dice::Dice;
use selvedge_sim::network::delay::{DELAY_MAX, Delay};
use selvedge_sim::network::hardware::{Fleet, Hardware};
use selvedge_sim::network::params::{Params, Problem};
use selvedge_sim::network::topology::{Graph, Topology};
use selvedge_sim::network::units::{Rate, Share, Span};
use selvedge_sim::network::wires::{self, LinkId, Step, Traffic, Wires};
use selvedge_sim::network::workload::{Arrivals, Source, Workload};

const DRAWS: usize = 100_000;

fn delay(text: &str) -> Delay {
    text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
}

/// So many draws in milliseconds, ascending.
fn drawn(text: &str) -> Vec<f64> {
    let (delay, mut dice) = (delay(text), Dice::new(1, text));
    let mut all: Vec<f64> = (0..DRAWS).map(|_| delay.draw_us(0, 0, &mut dice) as f64 / 1e3).collect();
    all.sort_by(f64::total_cmp);
    all
}

/// Mean, and quantiles in thousandths.
fn check(text: &str, mean: Option<f64>, quantiles: &[(usize, f64)], within: f64) {
    let all = drawn(text);
    if let Some(mean) = mean {
        let got = all.iter().sum::<f64>() / all.len() as f64;
        assert!((got / mean - 1.0).abs() < within, "{text}: mean {got}, expected {mean}");
    }
    for (permille, expected) in quantiles {
        let got = all[DRAWS * permille / 1_000];
        assert!(
            (got / expected - 1.0).abs() < within,
            "{text}: {permille} permille {got}, expected {expected}"
        );
    }
}

#[test]
fn delays_have_the_means_and_quantiles_of_their_distributions() {
    check("constant:7ms", Some(7.0), &[(0, 7.0), (999, 7.0)], 1e-9);
    check("uniform:50ms..100ms", Some(75.0), &[(0, 50.0), (250, 62.5), (500, 75.0), (990, 99.5)], 0.01);
    // Quantiles of the standard normal: 1.2816 at 0.9, 2.3263 at 0.99.
    check("normal:80ms~10ms", Some(80.0), &[(500, 80.0), (900, 92.816), (990, 103.263), (10, 56.737)], 0.01);
    // (1 − q)^(−1 ÷ shape) × least; mean = least × shape ÷ (shape − 1), slow to settle with a shape of 3.
    check("pareto:20ms,3", Some(30.0), &[(0, 20.0), (500, 25.198), (900, 43.089), (990, 92.832)], 0.03);
    check("pareto:20ms,1.5", None, &[(0, 20.0), (500, 31.748), (900, 92.832), (990, 430.887)], 0.05);
    // median × e^(σ z); mean = median × e^(σ² ÷ 2).
    check("lognormal:60ms,0.5", Some(67.989), &[(500, 60.0), (900, 113.88), (990, 191.98)], 0.02);
}

#[test]
fn a_normal_delay_is_cut_off_and_not_piled_up_at_its_least() {
    let all = drawn("normal:80ms~40ms,min=60ms");
    assert!(all[0] >= 60.0);
    // Mean of a normal cut off at α = −0.5: μ + σ φ(α) ÷ (1 − Φ(α)) = 80 + 40 × 0.35207 ÷ 0.69146.
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    assert!((mean - 100.366).abs() < 0.5, "mean {mean}");
    assert!(all.iter().filter(|ms| **ms <= 60.0).count() < 10, "a cut is no clamp");
    assert!(drawn("normal:10ms~10ms")[0] >= 0.0);
}

#[test]
fn no_tail_is_longer_than_a_connection_lives() {
    let all = drawn("pareto:1s,0.2");
    assert!(all.iter().all(|ms| *ms <= DELAY_MAX.us as f64 / 1e3));
    assert!(all[DRAWS - 1] >= DELAY_MAX.us as f64 / 1e3, "the tail reaches the bound");
}

#[test]
fn every_machine_draws_the_same() {
    let sum = |text: &str| {
        let (delay, mut dice) = (delay(text), Dice::new(7, "golden"));
        (0..1_000).map(|_| delay.draw_us(0, 0, &mut dice)).sum::<u64>()
    };
    let sums: Vec<u64> =
        ["uniform:50ms..100ms", "normal:80ms~10ms", "pareto:20ms,1.5", "lognormal:60ms,0.5"].map(sum).into();
    assert_eq!(sums, [GOLDEN[0], GOLDEN[1], GOLDEN[2], GOLDEN[3]], "a draw changed: traces change with it");
}

const GOLDEN: [u64; 4] = [74_971_748, 80_195_739, 81_849_292, 68_869_515];

/// A matrix from a file of this text.
fn matrix(name: &str, text: &str) -> Result<Delay, Problem> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join(name), text).expect("a temporary file");
    let mut delay = delay(&format!("matrix:{name}"));
    delay.load_file("link.delay", folder.path()).map(|()| delay)
}

#[test]
fn a_matrix_gives_each_direction_its_delay() {
    let text = "# three sites\n       a    b      c\na      0.5  10     19ms\n\nb      12   0.5    uniform:24ms..24ms # here\nc  19 27.25 0.5\n";
    let matrix = matrix("good", text).unwrap_or_else(|problem| panic!("{problem}"));
    let mut dice = Dice::new(1, "matrix");
    let mut us = |from, to| matrix.draw_us(from, to, &mut dice);
    assert_eq!(
        [us(0, 1), us(1, 0), us(1, 2), us(2, 1), us(0, 2), us(2, 2)],
        [10_000, 12_000, 24_000, 27_250, 19_000, 500]
    );
    assert_eq!(us(3, 4), 10_000, "gateway 3 stands where gateway 0 does");
    assert_eq!(matrix.sites(), Some(3));
}

#[test]
fn a_matrix_that_is_wrong_names_line_and_column() {
    for (name, text, place, what) in [
        ("cell", "a b\na 1 2\nb 3 x7\n", ":3:5:", "\"x7\""),
        ("short", "a b\na 1\n", ":2:4:", "1 delays"),
        ("long", "a b\na 1 2 3\n", ":2:7:", "3 delays"),
        ("row", "a b\nb 1 2\n", ":2:1:", "the row of \"a\""),
        ("rows", "a b\na 1 2\n", ":2:1:", "1 rows"),
        ("more", "a\na 1\nb 2\n", ":3:1:", "row \"b\""),
        ("twice", "a a\n", ":1:3:", "second time"),
        ("empty", "# nothing\n", ":1:1:", "no line with the names"),
        ("nested", "a\na matrix:f\n", ":2:3:", "not another matrix"),
    ] {
        let problem = matrix(name, text).expect_err(name).to_string();
        assert!(problem.contains(place) && problem.contains(what), "{name}: {problem}");
    }
    let missing =
        delay("matrix:no-such-file").load_file("link.delay", std::path::Path::new("")).expect_err("no file");
    assert!(missing.to_string().contains("no-such-file"), "{missing}");
}

/// A frame to be sent: when, on which link and lane, and its bytes.
type Sent = (u64, LinkId, Lane, usize);

/// Sends frames and gives for each its arrival, in the order of arrival: number of the frame, microseconds.
fn drive(wires: &mut Wires<usize>, frames: &[Sent]) -> Vec<(usize, u64)> {
    let mut queue: BTreeMap<(u64, u64), Option<Step<usize>>> = BTreeMap::new();
    let mut sends: BTreeMap<(u64, u64), usize> = BTreeMap::new();
    for (number, (at_us, ..)) in frames.iter().enumerate() {
        queue.insert((*at_us, number as u64), None);
        sends.insert((*at_us, number as u64), number);
    }
    let (mut order, mut arrived, mut out) = (frames.len() as u64, Vec::new(), Vec::new());
    while let Some((key, step)) = queue.pop_first() {
        match step {
            None => {
                let number = sends[&key];
                let (at_us, link, lane, bytes) = frames[number];
                wires.send(at_us, link, lane, number, bytes, &mut out);
            }
            Some(step) => {
                arrived.extend(wires.step(key.0, step, &mut out).map(|flight| (flight.frame, key.0)));
            }
        }
        for (at_us, step) in out.drain(..) {
            assert!(at_us >= key.0, "nothing happens before its cause");
            order += 1;
            queue.insert((at_us, order), Some(step));
        }
    }
    arrived
}

/// Wires of so many gateways that all know each other, with a delay of 10 ms.
fn wires(gateways: usize, set: impl FnOnce(&mut Params)) -> Wires<usize> {
    let mut params = Params { gateways, ..Params::default() };
    params.link.delay = delay("10ms");
    set(&mut params);
    assert_eq!(params.check(), Ok(()));
    Wires::new(&params, &Graph::new(&params))
}

/// Bytes on the wire of one frame sent alone.
fn on_wire(bytes: u64) -> u64 {
    let stream = bytes + wires::FRAME_PREFIX_BYTES;
    stream + stream.div_ceil(wires::PACKET_BYTES) * wires::OVERHEAD_BYTES
}

#[test]
fn without_limits_only_the_delay_counts() {
    let mut wires = wires(2, |_| {});
    let link = wires.link(0, 1).expect("they are linked");
    assert_eq!(drive(&mut wires, &[(5, link, Lane::Fresh, 2_900)]), [(0, 10_005)]);
    let traffic = wires.traffic();
    // 2,904 bytes are three packets; of these two acknowledgements.
    assert_eq!((traffic.packets, traffic.ack_bytes), (3, 2 * wires::ACK_BYTES));
    assert_eq!(traffic.wire_bytes, on_wire(2_900) + 2 * wires::ACK_BYTES);
    assert_eq!((traffic.exit_most_us, traffic.link_most_us), (0, 0));
}

#[test]
fn an_uplink_is_shared_and_a_link_is_not() {
    let bytes = 8_000;
    let frames = |wires: &Wires<usize>| -> Vec<Sent> {
        (1..=4).map(|to| (0, wires.link(0, to).expect("linked"), Lane::Fresh, bytes)).collect()
    };
    // 1 Mbit/s is 8 µs a byte.
    let one_us = on_wire(bytes as u64) * 8;
    let mut shared = wires(5, |params| params.link.uplink = Some("1Mbit/s".parse().expect("valid")));
    let sent = frames(&shared);
    let arrived: Vec<u64> = drive(&mut shared, &sent).into_iter().map(|(_, us)| us).collect();
    assert_eq!(arrived, [1, 2, 3, 4].map(|n| n * one_us + 10_000));
    assert_eq!(shared.traffic().exit_most_us, 4 * one_us);
    let mut own = wires(5, |params| params.link.bandwidth = Some("1Mbit/s".parse().expect("valid")));
    let sent = frames(&own);
    assert!(drive(&mut own, &sent).into_iter().all(|(_, us)| us == one_us + 10_000));
    assert_eq!(own.traffic().link_most_us, one_us);
}

#[test]
fn a_downlink_is_shared_by_all_that_send_there() {
    let mut wires = wires(5, |params| params.link.downlink = Some("1Mbit/s".parse().expect("valid")));
    let sent: Vec<Sent> =
        (1..=4).map(|from| (0, wires.link(from, 0).expect("linked"), Lane::Fresh, 8_000)).collect();
    let arrived: Vec<u64> = drive(&mut wires, &sent).into_iter().map(|(_, us)| us).collect();
    assert_eq!(arrived, [1, 2, 3, 4].map(|n| n * on_wire(8_000) * 8 + 10_000));
}

#[test]
fn what_is_fresh_overtakes_a_long_answer_and_links_take_turns() {
    let mut wires = wires(3, |params| params.link.uplink = Some("1Mbit/s".parse().expect("valid")));
    let (one, other) = (wires.link(0, 1).expect("linked"), wires.link(0, 2).expect("linked"));
    let sent = [(0, one, Lane::Bulk, 200_000), (1, one, Lane::Fresh, 1_000), (2, other, Lane::Fresh, 1_000)];
    let arrived = drive(&mut wires, &sent);
    assert_eq!(arrived.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, 0]);
    // One slice of the long one goes first, then what is fresh on its link, then the other link.
    let slice_us = (wires::SLICE_BYTES + 6 * wires::OVERHEAD_BYTES) * 8;
    assert!(arrived[1].1 < slice_us + 2 * on_wire(1_000) * 8 + 10_000 + 10, "{arrived:?}");
}

#[test]
fn lost_packets_are_sent_again_and_the_order_of_a_lane_stays() {
    // Slower than the window of a connection that loses so much.
    const EVERY_US: u64 = 40_000;
    let run = |loss: &str| -> (Vec<(usize, u64)>, Traffic) {
        let mut wires = wires(2, |params| params.link.loss = loss.parse().expect("valid"));
        let link = wires.link(0, 1).expect("linked");
        let sent: Vec<Sent> = (0..2_000).map(|n| (n * EVERY_US, link, Lane::Fresh, 2_900)).collect();
        (drive(&mut wires, &sent), wires.traffic())
    };
    let (calm, (lossy, traffic)) = (run("0%"), run("10%"));
    assert!(lossy.iter().map(|(number, _)| *number).eq(0..2_000), "all of them, in order");
    assert!(lossy.iter().zip(&calm.0).all(|(with, without)| with.1 >= without.1));
    // Each packet is sent 1 ÷ (1 − p) times: 6,000 and 667 more, standard deviation 27.
    let resent = traffic.resent_packets;
    assert!((560..=770).contains(&resent), "{resent} sent again");
    assert!(traffic.wire_bytes > calm.1.wire_bytes + resent * 1_000);
    let mean =
        |all: &[(usize, u64)]| all.iter().map(|(n, us)| us - *n as u64 * EVERY_US).sum::<u64>() / 2_000;
    assert_eq!(mean(&calm.0), 10_000);
    assert!(mean(&lossy) > 15_000, "a loss costs a round trip: {}", mean(&lossy));
}

#[test]
fn packets_that_come_twice_cost_the_receiver() {
    let mut twice = wires(2, |params| {
        params.link.duplicate = Share { ppm: 500_000 };
        params.link.downlink = Some("1Mbit/s".parse().expect("valid"));
    });
    let link = twice.link(0, 1).expect("linked");
    let sent: Vec<Sent> = (0..200).map(|n| (n * 100_000, link, Lane::Fresh, 1_000)).collect();
    let arrived = drive(&mut twice, &sent);
    assert_eq!(arrived.len(), 200, "each frame comes once");
    let traffic = twice.traffic();
    assert!((70..=130).contains(&traffic.doubled_packets), "{} of 200", traffic.doubled_packets);
    assert_eq!(traffic.entry_most_us, (200 + traffic.doubled_packets) * on_wire(1_000) * 8);
    assert_eq!(traffic.packets, 200, "the sender sends each once");
}

#[test]
fn sites_share_a_wire_to_the_others_and_not_their_own() {
    let mut wires = wires(4, |params| {
        params.topology = Topology::Sites { sites: 2, each: 2 };
        params.link.uplink = Some("1Mbit/s".parse().expect("valid"));
        params.link.lan_delay = delay("1ms");
    });
    let link = |wires: &Wires<usize>, from, to| wires.link(from, to).expect("linked");
    let sent = [
        (0, link(&wires, 0, 2), Lane::Fresh, 8_000),
        (0, link(&wires, 1, 3), Lane::Fresh, 8_000),
        (0, link(&wires, 0, 1), Lane::Fresh, 8_000),
    ];
    let one_us = on_wire(8_000) * 8;
    assert_eq!(drive(&mut wires, &sent), [(2, 1_000), (0, one_us + 10_000), (1, 2 * one_us + 10_000)]);
}

#[test]
fn a_lossy_connection_has_a_window() {
    // CUBIC at 1 % and 100 ms: 12.2 packets by Reno's formula, 5.9 by its own: 18 kB a round trip, 180 kB/s.
    let mut wires = wires(2, |params| {
        params.link.delay = delay("50ms");
        params.link.loss = "1%".parse().expect("valid");
    });
    let link = wires.link(0, 1).expect("linked");
    let sent: Vec<Sent> = (0..200).map(|_| (0, link, Lane::Bulk, 10_000)).collect();
    let last_us = drive(&mut wires, &sent).last().expect("all arrive").1;
    let per_s = 2_000_000.0 / (last_us as f64 / 1e6);
    assert!((140_000.0..220_000.0).contains(&per_s), "{per_s} B/s");
}

#[test]
fn random_regular_graphs_are_regular_connected_and_alike_for_a_seed() {
    for (gateways, degree) in [(2, 1), (6, 3), (10, 4), (100, 8), (101, 4), (1_000, 6), (9, 8)] {
        let make = |seed| {
            let params =
                Params { seed, gateways, topology: Topology::Regular { degree }, ..Params::default() };
            assert_eq!(params.check(), Ok(()), "{gateways} × {degree}");
            Graph::new(&params)
        };
        let graph = make(1);
        assert!(graph.is_connected());
        for (at, others) in graph.neighbours.iter().enumerate() {
            assert_eq!(others.len(), degree);
            assert!(others.is_sorted_by(|a, b| a < b), "each once");
            assert!(others.iter().all(|other| *other != at && graph.neighbours[*other].contains(&at)));
        }
        assert_eq!(graph, make(1));
        assert!(gateways < 50 || graph != make(2), "another seed, another graph");
    }
}

#[test]
fn readings_come_as_the_workload_says() {
    let source = |arrivals: &str, gateway| {
        let workload = Workload {
            rate: Rate::per_s(50),
            arrivals: arrivals.parse::<Arrivals>().expect("valid"),
            silent: 1,
            ..Workload::default()
        };
        let params = Params { gateways: 3, load: Span::from_s(400), workload, ..Params::default() };
        Source::new(&params, gateway).collect::<Vec<_>>()
    };
    assert_eq!(source("poisson", 2), [], "the last one is silent");
    let poisson = source("poisson", 0);
    // 20,000 on average, standard deviation 141.
    assert!((19_300..20_700).contains(&poisson.len()), "{}", poisson.len());
    assert!(poisson.is_sorted() && poisson != source("poisson", 1));
    let pauses: Vec<f64> = poisson.windows(2).map(|pair| (pair[1].0 - pair[0].0) as f64).collect();
    let mean = pauses.iter().sum::<f64>() / pauses.len() as f64;
    let variance =
        pauses.iter().map(|pause| (pause - mean) * (pause - mean)).sum::<f64>() / pauses.len() as f64;
    assert!((variance.sqrt() / mean - 1.0).abs() < 0.05, "exponential pauses vary as much as they last");
    let fixed = source("fixed", 0);
    assert_eq!(fixed.len(), 20_000);
    assert!(fixed.windows(2).all(|pair| pair[1].0 - pair[0].0 == 20_000));
    assert_ne!(fixed[0], source("fixed", 1)[0], "not all at the same moment");
    let burst = source("burst:10s,1s", 0);
    assert!((19_300..20_700).contains(&burst.len()), "the mean rate stays");
    assert!(burst.iter().all(|(us, _)| us % 10_000_000 < 1_000_000));
}

/// Keys of everything that is wrong.
fn wrong(set: impl FnOnce(&mut Params)) -> Vec<String> {
    let mut params = Params::default();
    set(&mut params);
    let problems = params.check().expect_err("it cannot be");
    problems.into_iter().map(|problem| problem.key).collect()
}

#[test]
fn what_cannot_be_is_refused_before_the_run() {
    assert_eq!(Params::default().check(), Ok(()));
    assert_eq!(wrong(|p| p.committee = Some(11)), ["committee"]);
    assert_eq!(wrong(|p| p.committee = Some(0)), ["committee"]);
    assert_eq!(wrong(|p| p.gateways = 0), ["gateways"]);
    assert_eq!(wrong(|p| p.gateways = 100), ["topology"], "a core has 64 peers");
    assert_eq!(wrong(|p| p.topology = Topology::Regular { degree: 10 }), ["topology"]);
    assert_eq!(wrong(|p| (p.gateways, p.topology) = (9, Topology::Regular { degree: 3 })), ["topology"]);
    assert_eq!(wrong(|p| p.topology = Topology::Regular { degree: 1 }), ["topology"]);
    assert_eq!(wrong(|p| p.topology = Topology::Sites { sites: 3, each: 4 }), ["topology"]);
    assert_eq!(wrong(|p| p.workload.reading.bytes = 47), ["workload.reading"]);
    assert_eq!(wrong(|p| p.workload.reading.bytes = 5_000), ["workload.reading"]);
    assert_eq!(wrong(|p| p.workload.rate = Rate::per_s(2_000_000)), ["workload.rate"]);
    assert_eq!(
        wrong(|p| (p.workload.rate, p.load) = (Rate::per_s(100_000), Span::from_s(3_600))),
        ["workload.rate"]
    );
    assert_eq!(wrong(|p| p.workload.silent = 11), ["workload.silent"]);
    assert_eq!(wrong(|p| p.batch.age = Span::from_s(21)), ["batch.age"]);
    assert_eq!(wrong(|p| p.batch.bytes.bytes = 47), ["batch.bytes"]);
    assert_eq!(wrong(|p| p.link.loss = Share { ppm: 600_000 }), ["link.loss"]);
    assert_eq!(wrong(|p| p.link.delay = delay("matrix:f")), ["link.delay"], "it was not read");
    assert_eq!(wrong(|p| p.hardware = "pi4:8,x86:3".parse::<Fleet>().expect("valid")), ["hardware"]);
    assert_eq!(
        wrong(|p| (p.committee, p.workload.together) = (Some(0), 0)),
        ["committee", "workload.together"]
    );
}

#[test]
fn hardware_is_named_once_or_counted() {
    let fleet: Fleet = "pi4:8,x86:2".parse().expect("valid");
    assert_eq!(
        [fleet.of(0), fleet.of(7), fleet.of(8), fleet.of(9)],
        [Hardware::Pi4, Hardware::Pi4, Hardware::X86, Hardware::X86]
    );
    assert_eq!("pi5".parse::<Fleet>().map(|fleet| fleet.of(99)), Ok(Hardware::Pi5));
    for text in ["pi4:8,", "pi4:0", "pi4:x", "pi4,x86", "Pi4", ""] {
        assert!(text.parse::<Fleet>().is_err(), "{text}");
    }
    assert!("pi6".parse::<Fleet>().is_err_and(|why| why.nearest.is_some()));
    // What every part of a gateway costs grows from the server down to the smallest board.
    let order = [Hardware::X86, Hardware::Pi5, Hardware::Pi4, Hardware::Pi3].map(Hardware::profile);
    for pair in order.windows(2) {
        let costs = |of: usize| [pair[of].sign_ns, pair[of].verify_ns, pair[of].attach_ns, pair[of].sync_us];
        assert!(costs(0).iter().zip(costs(1)).all(|(fast, slow)| *fast < slow));
    }
}

#[test]
fn parameters_read_back_as_they_were_written() {
    let mut params = Params::default();
    params.link.uplink = Some("1Mbit/s".parse().expect("valid"));
    params.committee = Some(4);
    params.tips = "walk:0.01".parse().expect("valid");
    let text = toml::to_string(&params).expect("it has a form in TOML");
    assert_eq!(toml::from_str::<Params>(&text).as_ref(), Ok(&params), "{text}");
    let short = "gateways = 4\nfor = \"5s\"\n[link]\ndelay = \"uniform:50ms..100ms\"\n";
    let read: Params = toml::from_str(short).expect("the rest has defaults");
    assert_eq!((read.gateways, read.load), (4, Span::from_s(5)));
    let unknown = toml::from_str::<Params>("[link]\ndealy = \"5ms\"\n").expect_err("no such key").to_string();
    assert!(
        unknown.contains("dealy") && unknown.contains("delay") && unknown.contains("line 2"),
        "{unknown}"
    );
    let bad =
        toml::from_str::<Params>("[link]\ndelay = \"unifrom:5ms\"\n").expect_err("no such word").to_string();
    assert!(bad.contains("did you mean \"uniform\"") && bad.contains("line 2"), "{bad}");
}
