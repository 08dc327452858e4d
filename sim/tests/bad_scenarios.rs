//! Bad scenarios by the dozen: what is said of each, word for word.

use std::path::Path;

use selvedge_sim::scenario::{self, Error};

/// What is said of a text, one line for each finding, without the name of the file.
fn said(text: &str) -> Vec<String> {
    match scenario::parse(text, Path::new("")) {
        Ok(_) => Vec::new(),
        Err(findings) => {
            let error = Error::Wrong { path: "f".into(), findings };
            error.to_string().lines().map(|line| line.strip_prefix("f:").unwrap_or(line).to_owned()).collect()
        }
    }
}

/// Below a sound head of three keys: the first line of `rest` is line 5.
fn below(kind: &str, rest: &str) -> Vec<String> {
    said(&format!("[scenario]\nname = \"a\"\nkind = \"{kind}\"\nshows = \"b\"\n{rest}"))
}

#[test]
fn each_bad_text_is_explained() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("whole", "", &["1:1: scenario: got no such table, expected [scenario] with name, kind and shows"]),
        (
            "whole",
            "[scenario]\nname = \"a\"\nkind = \"network\"\nshows = ",
            &["4:9: no TOML: string values must be quoted, expected literal string"],
        ),
        (
            "whole",
            "[scenario\nname = \"a\"\nx = = 1\n",
            &[
                "1:10: no TOML: unclosed table, expected `]`",
                "3:5: got `=`, no TOML: extra `=`, expected nothing",
                "3:7: no TOML: unexpected key or value, expected newline, `#`",
            ],
        ),
        (
            "whole",
            "[scenario]\n",
            &[
                "1:1: scenario.name: got nothing, expected a name, such as \"Ten gateways\"",
                "1:1: scenario.shows: got nothing, expected what a reader learns from it",
                "1:1: scenario.kind: got nothing, expected one of network, tangle, swarm",
            ],
        ),
        (
            "whole",
            "[scenario]\nname = 7\nkind = \"netwrk\"\nshows = \"b\"\n",
            &[
                "2:8: scenario.name: got 7, expected a text in quotes",
                "3:8: scenario.kind: got \"netwrk\", expected one of network, tangle, swarm; did you mean `network`?",
            ],
        ),
        (
            "whole",
            "[scenario]\nnam = \"a\"\nkind = \"network\"\nshows = \"b\"\n",
            &[
                "2:1: scenario.nam: got an unknown key, expected one of name, kind, shows; did you mean `name`?",
            ],
        ),
        ("whole", "scenario = 5\n", &["1:12: scenario: got 5, expected a table: [scenario]"]),
        (
            "whole",
            "[scenario]\nname = \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\nkind = \"tangle\"\nshows = \"b\"\n",
            &["2:8: scenario.name: got 81 characters, expected at most 80"],
        ),
        (
            "network",
            "[netwrok]\n",
            &[
                "5:2: netwrok: got an unknown table, expected one of scenario, network, expect, grid, plot; did you mean `network`?",
            ],
        ),
        (
            "network",
            "[tangle]\nlambda = 3\n",
            &["5:2: tangle: got parameters of another kind, expected [network], the kind of this scenario"],
        ),
        (
            "network",
            "[network]\ngatways = 10\n",
            &[
                "6:1: network.gatways: got an unknown key, expected one of seed, gateways, committee, for, drain, topology, hardware, tips, signatures, workload, link, batch, node; did you mean `gateways`?",
            ],
        ),
        (
            "network",
            "[network]\ngateways = \"ten\"\n",
            &["6:12: network.gateways: got \"ten\", expected a whole number from 0 up"],
        ),
        (
            "network",
            "[network]\ngateways = -1\n",
            &["6:12: network.gateways: got -1, expected a whole number from 0 up"],
        ),
        (
            "network",
            "[network]\ngateways = 10.5\n",
            &["6:12: network.gateways: got 10.5, expected a whole number from 0 up"],
        ),
        (
            "network",
            "[network]\ngateways = 0\n",
            &["6:12: network.gateways: got 0, expected 1 to 1024, the members that a genesis may name"],
        ),
        ("network", "[network]\nlink = 5\n", &["6:8: network.link: got 5, expected a table"]),
        (
            "network",
            "[network]\nlink.dealy = \"20ms\"\n",
            &[
                "6:6: network.link.dealy: got an unknown key, expected one of delay, bandwidth, uplink, downlink, loss, duplicate, lan_delay, lan_bandwidth; did you mean `delay`?",
            ],
        ),
        (
            "network",
            "[network.link]\ndelay = \"unifrom:20ms..40ms\"\n",
            &[
                "6:9: network.link.delay: got \"unifrom:20ms..40ms\", expected a time such as 50ms, uniform:50ms..100ms, normal:80ms~10ms (,min=20ms), pareto:20ms,1.5 (least, shape), lognormal:60ms,0.5 (median, sigma), or matrix:FILE; did you mean \"uniform\"?",
            ],
        ),
        (
            "network",
            "[network.link]\ndelay = \"uniform:40ms..20ms\"\n",
            &[
                "6:9: network.link.delay: got \"uniform:40ms..20ms\", expected the shorter time first: uniform:20ms..40ms",
            ],
        ),
        (
            "network",
            "[network.link]\ndelay = 20\nloss = \"5\"\nbandwidth = \"1MB\"\n",
            &[
                "6:9: network.link.delay: got 20, expected a text in quotes",
                "7:8: network.link.loss: got \"5\", expected a share from 0% to 100%, such as 0.1% (or 0.001)",
                "8:13: network.link.bandwidth: got \"1MB\", expected a number and bit/s, kbit/s, Mbit/s or Gbit/s, such as 1Mbit/s (bits, not bytes)",
            ],
        ),
        (
            "network",
            "[network]\nfor = \"20 parsecs\"\nhardware = \"pi6\"\n",
            &[
                "6:7: network.for: got \"20 parsecs\", expected a number and us, ms, s, m or h, such as 50ms",
                "7:12: network.hardware: got \"pi6\", expected pi3, pi4, pi5 or x86, or counts of them such as pi4:8,x86:2; did you mean \"pi3\"?",
            ],
        ),
        (
            "network",
            "[network]\ngateways = 10\ntopology = \"sites:3x4\"\n",
            &[
                "7:12: network.topology: got sites:3x4, expected sites times gateways of each to be the 10 gateways",
            ],
        ),
        (
            "network",
            "[network]\ncommittee = 11\nbatch.readings = 0\n",
            &[
                "6:13: network.committee: got 11, expected 1 to 10, the gateways there are",
                "7:18: network.batch.readings: got 0, expected 1 to 65536",
            ],
        ),
        (
            "network",
            "[network]\nlink.delay = \"matrix:no-such-file\"\n",
            &[
                "6:14: network.link.delay: got no-such-file, which cannot be read: No such file or directory (os error 2), expected a file of delays",
            ],
        ),
        (
            "network",
            "[network]\nbatch.age = \"1h\"\n",
            &["6:13: network.batch.age: got 60m, expected 1ms to 20s, the time for which readings come in"],
        ),
        (
            "network",
            "[network]\ngateways = 10\ngateways = 11\n",
            &["7:1: got `gateways`, no TOML: duplicate key"],
        ),
        (
            "network",
            "[grid]\n",
            &[
                "5:1: grid: got nothing to vary, expected a parameter with a list of values, such as gateways = [4, 7, 10], or seeds = 3",
            ],
        ),
        (
            "network",
            "[grid]\ngateways = 4\n",
            &["6:12: grid.gateways: got 4, expected a list of values, such as [4]"],
        ),
        (
            "network",
            "[grid]\ngateways = [4, 4]\n",
            &["6:16: grid.gateways: got 4 twice, expected each value once"],
        ),
        ("network", "[grid]\ngateways = []\n", &["6:12: grid.gateways: got 0 values, expected 1 to 1000"]),
        (
            "network",
            "[grid]\ngateways = [4, \"seven\"]\n",
            &["6:16: network.gateways: got \"seven\", expected a whole number from 0 up"],
        ),
        (
            "network",
            "[grid]\n\"link.dely\" = [\"20ms\"]\n",
            &[
                "6:1: network.link.dely: got an unknown key, expected one of delay, bandwidth, uplink, downlink, loss, duplicate, lan_delay, lan_bandwidth; did you mean `delay`?",
            ],
        ),
        (
            "network",
            "[grid]\n\"gateways.many\" = [1]\n[network]\ngateways = 4\n",
            &[
                "6:1: grid.gateways.many: got a key below a value that is no table, expected the path of a parameter, such as link.delay",
            ],
        ),
        (
            "network",
            "[network]\ncommittee = 7\n[grid]\ngateways = [4, 7, 10]\n",
            &["6:13: network.committee: got 7, expected 1 to 4, the gateways there are"],
        ),
        (
            "network",
            "[grid]\nseed = [1, 2]\nseeds = 3\n",
            &[
                "6:1: grid.seed: got a list beside seeds = 3, expected one of them: `seeds` counts up from `seed`",
            ],
        ),
        (
            "network",
            "[grid]\nseeds = 0\n",
            &["6:9: grid.seeds: got 0, expected a whole number from 1 to 10000, how often each point runs"],
        ),
        (
            "network",
            "[grid]\nseeds = 10_000\ngateways = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]\n",
            &["5:1: grid: got 110000 runs, expected at most 100000"],
        ),
        (
            "network",
            "[grid]\nlink = [[\"20ms\"]]\n",
            &["6:9: grid.link: got a list, expected a number, a text, true or false"],
        ),
        (
            "network",
            "[plot]\nx = \"gateways\"\ny = \"offered\"\n",
            &["5:1: plot: got a plot without [grid], expected a grid: it is for sweeps"],
        ),
        (
            "network",
            "[grid]\ngateways = [4, 7]\nseeds = 2\n[plot]\nx = \"gatways\"\ny = \"attached_latency\"\nlog = \"z\"\n",
            &["11:7: plot.log: got \"z\", expected one of none, x, y, xy; did you mean `x`?"],
        ),
        (
            "network",
            "[grid]\ngateways = [4, 7]\n\"link.delay\" = [\"5ms\", \"9ms\"]\n[plot]\nx = \"gateways\"\ny = \"offered\"\nseries = []\n",
            &[
                "11:10: plot.series: got no `link.delay`, expected all keys of the grid but x: a line cannot mix its values",
            ],
        ),
        (
            "network",
            "[grid]\ngateways = [4, 7]\n[plot]\n",
            &[
                "7:1: plot.y: got nothing, expected a result, such as \"attach_latency_ms.p50\"",
                "7:1: plot.x: got nothing, expected one of gateways",
            ],
        ),
        (
            "network",
            "[expect]\nledger_equal = true\n",
            &[
                "6:1: expect.ledger_equal: got no result `ledger_equal`, expected the name of one; did you mean `ledgers_equal`?",
            ],
        ),
        (
            "network",
            "[expect]\nattached = \"= ofered\"\n",
            &[
                "6:12: expect.attached: got no result `ofered`, expected the name of one; did you mean `offered`?",
            ],
        ),
        (
            "network",
            "[expect]\nattached = \"less than 5\"\nwitnessed = [1]\n",
            &[
                "6:12: expect.attached: got \"less than 5\", expected true, a number, or a text such as \"< 500\", \">= offered\", \"198..202\" or \"200 ± 2 %\"",
                "7:13: expect.witnessed: got a list, expected true, a number, or a text such as \"< 500\", \">= offered\", \"198..202\" or \"200 ± 2 %\"",
            ],
        ),
        (
            "network",
            "expect = 5\n",
            &["5:1: scenario.expect: got an unknown key, expected one of name, kind, shows"],
        ),
        (
            "tangle",
            "[tangle]\nk = 1\nlambda = \"many\"\n",
            &["7:10: tangle.lambda: got \"many\", expected a number"],
        ),
        (
            "tangle",
            "[tangle]\nk = 1\nlambda = 0\n",
            &[
                "6:5: tangle.k: got 1, expected 2 to 16 (with one approval each the tips never meet again)",
                "7:10: tangle.lambda: got 0, expected 1e-6 to 1e9 transactions in a unit of time",
            ],
        ),
        (
            "tangle",
            "[tangle]\ntips = \"shiped\"\n",
            &[
                "6:8: tangle.tips: got \"shiped\", expected urts, walk:ALPHA (such as walk:0.01) or shipped; did you mean \"shipped\"?",
            ],
        ),
        (
            "tangle",
            "[tangle]\ntips = \"walk:0.1\"\ntransactions = 2_000_000\n",
            &[
                "7:16: tangle.transactions: got 2000000, expected at most 1000000 with a walk, which keeps all of them in memory",
            ],
        ),
        (
            "swarm",
            "[swarm]\nplan = \"fauly\"\n",
            &[
                "6:8: swarm.plan: got \"fauly\", expected one of calm, faulty, restored; did you mean `faulty`?",
            ],
        ),
        (
            "swarm",
            "[swarm]\nplan = \"restored\"\nloss = \"5%\"\ncrash_effects = 7\n",
            &[
                "7:8: swarm.loss: got 5%, expected 0% (or nothing) with plan = \"restored\": its links keep their order and lose nothing",
                "8:17: swarm.crash_effects: got 7, expected 0 (or nothing) with plan = \"restored\": the one gateway that is started from an image is the crash",
            ],
        ),
        (
            "swarm",
            "[swarm]\nruns = 0\ngateways = 1\nloss = \"60%\"\nfor = \"1ms\"\n",
            &[
                "6:8: swarm.runs: got 0, expected 1 to 100000",
                "7:12: swarm.gateways: got 1, expected 2 to 63, the committee of a run",
                "8:8: swarm.loss: got 60%, expected 0% to 50%, in steps of 0.1%",
                "9:7: swarm.for: got 1ms, expected 1s to 60m",
            ],
        ),
    ];
    let mut wrong = Vec::new();
    for (kind, rest, expected) in cases {
        let got = if *kind == "whole" { said(rest) } else { below(kind, rest) };
        if got != *expected {
            wrong.push(format!("{kind}: {rest:?}\n  got      {got:#?}\n  expected {expected:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases.len() >= 36);
}

#[test]
fn generated_texts_never_make_it_panic_and_each_finding_stands_in_the_text() {
    let cases: u32 = std::env::var("SELVEDGE_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(5_000);
    println!("seed 0x5C, {cases} cases");
    let mut random = selvedge_core::random::Random::new(&[0x5C; 32]);
    let good = "[scenario]\nname = \"a\"\nkind = \"network\"\nshows = \"b\"\n[network]\ngateways = 4\nlink.delay = \"20ms\"\n\
                [grid]\ngateways = [4, 7]\n\"link.delay\" = [\"5ms\", \"1s\"]\nseeds = 2\n[plot]\nx = \"gateways\"\n\
                y = \"offered\"\n[expect]\nledgers_equal = true\nattached = \"= offered\"\n";
    assert_eq!(said(good), [""; 0]);
    let (mut right, mut bad) = (0, 0);
    for _ in 0..cases {
        let mut bytes = good.as_bytes().to_vec();
        for _ in 0..=random.below(2) {
            let at = random.below(bytes.len() as u64) as usize;
            let to = (at + random.below(12) as usize).min(bytes.len());
            match random.below(4) {
                0 => drop(bytes.drain(at..to)),
                1 => bytes[at] = b"\"[]=.{}\n 0a\xff"[random.below(12) as usize],
                2 => bytes.splice(at..to, b"99999999999999999999".iter().copied()).for_each(drop),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        match scenario::parse(&text, Path::new("")) {
            Ok(_) => right += 1,
            Err(findings) => {
                bad += 1;
                assert!(!findings.is_empty() && findings.len() <= 50, "{text}");
                for finding in findings {
                    let lines = text.lines().count() + 1;
                    assert!(
                        finding.place.is_none_or(|p| (1..=lines).contains(&p.line)),
                        "{finding:?} in {text}"
                    );
                    assert!(!finding.what.is_empty());
                }
            }
        }
    }
    assert!(right > 0 && bad > 0, "{right} right, {bad} bad");
}
