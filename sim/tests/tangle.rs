//! The abstract tangle against its theory, at sizes that take a moment. Seeds are fixed; what is allowed around a
//! theoretical value is several deviations of a run of that size, and less than any other formula would be off.

use std::process::{Command, Output};

use selvedge_sim::tangle::{self, Arrivals, Outcome, Params, Selection, theory};
use serde_json::Value;

fn run(params: &Params) -> Outcome {
    tangle::run(params, &mut |_| {}).unwrap_or_else(|problems| panic!("{params:?}: {problems:?}"))
}

fn command(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_selvedge-sim"));
    command.arg("tangle").args(arguments).output().expect("the program starts")
}

fn json(arguments: &[&str]) -> Value {
    let output = command(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let out = String::from_utf8(output.stdout).expect("text");
    serde_json::from_str(out.lines().last().expect("a last line")).expect("JSON")
}

#[test]
fn tips_settle_at_popovs_equilibrium() {
    for (k, lambda, seed) in [(2, 100.0, 1), (2, 400.0, 2), (3, 100.0, 3), (4, 100.0, 4), (8, 200.0, 5)] {
        let outcome = run(&Params { seed, lambda, k, transactions: 120_000, ..Params::default() });
        let expected = theory::tips(k, lambda, 1.0);
        for mean in [outcome.mean_tips, outcome.visible_tips_mean] {
            assert!(
                (mean / expected - 1.0).abs() < 0.02,
                "k {k}, λ {lambda}, seed {seed}: {mean}, not {expected}"
            );
        }
        let revealed = outcome.revealed_tips_mean / theory::revealed(k, lambda, 1.0);
        assert!((revealed - 1.0).abs() < 0.02, "k {k}: revealed {revealed} of what is expected");
        let first = outcome.first_approval.mean() * (k as f64 - 1.0) / k as f64;
        assert!((first - 1.0).abs() < 0.02, "k {k}: first approval after {first} of what is expected");
        let weight =
            outcome.theory.iter().find(|relation| relation.name.starts_with("growth of weight afterwards"));
        assert!(weight.is_some_and(|relation| relation.deviation.abs() < 0.05), "{weight:?}");
    }
}

#[test]
fn the_unit_of_time_does_not_matter() {
    let one = run(&Params { transactions: 30_000, ..Params::default() });
    // Powers of two scale without rounding.
    let other = run(&Params { transactions: 30_000, lambda: 25.0, h: 4.0, ..Params::default() });
    assert_eq!(one.mean_tips.to_bits(), other.mean_tips.to_bits());
    assert_eq!((one.first_approval.mean() * 4.0).to_bits(), other.first_approval.mean().to_bits());
    assert_eq!(one.direct_approvers, other.direct_approvers);
}

#[test]
fn every_judged_transaction_is_in_the_histogram_once() {
    for (tips, transactions) in
        [(Selection::Uniform, 40_000), (Selection::Walk { alpha: 0.1 }, 5_000), (Selection::Shipped, 20_000)]
    {
        let params = Params { tips, transactions, ..Params::default() };
        let outcome = run(&params);
        assert_eq!(outcome.judged(), params.judged_until() - params.warmup(), "{tips}");
        let approved: u64 = outcome.direct_approvers[1..].iter().sum();
        assert_eq!(approved, outcome.first_approval.count(), "{tips}");
        assert_eq!(
            outcome.first_approval.histogram(7).map(|(_, count)| count).sum::<u64>(),
            approved,
            "{tips}"
        );
        assert!(outcome.direct_approvers.last() > Some(&0), "{tips}");
    }
}

#[test]
fn direct_approvers_are_one_and_a_poisson_number() {
    let outcome = run(&Params { transactions: 200_000, ..Params::default() });
    assert_eq!(outcome.direct_approvers[0], 0);
    for n in 1..=5 {
        let share = outcome.direct_approvers[n] as f64 / outcome.judged() as f64;
        let expected = theory::approvers(2, n);
        assert!((share - expected).abs() < 0.006, "{n}: {share}, not {expected}");
    }
}

#[test]
fn bursts_leave_more_tips_and_even_arrivals_fewer_swings() {
    let of = |arrivals| run(&Params { arrivals, transactions: 60_000, ..Params::default() });
    let (even, poisson, bursty) = (of(Arrivals::Fixed), of(Arrivals::Poisson), of(Arrivals::Bursty(50)));
    assert!(even.tips_sd < poisson.tips_sd && poisson.tips_sd < bursty.tips_sd);
    // All of a burst see the same tips, and each of them adds one.
    assert!(bursty.mean_tips > poisson.mean_tips * 1.02, "{} {}", bursty.mean_tips, poisson.mean_tips);
}

#[test]
fn heavy_walks_leave_transactions_behind_and_unweighted_ones_do_not() {
    let of =
        |alpha| run(&Params { tips: Selection::Walk { alpha }, transactions: 8_000, ..Params::default() });
    let (none, heavy) = (of(0.0), of(1.0));
    assert_eq!(none.direct_approvers[0], 0);
    // About 5 % more than uniform selection.
    assert!((1.0..1.12).contains(&(none.mean_tips / 200.0)), "{}", none.mean_tips);
    assert!(heavy.never_approved_share() > 0.4, "{}", heavy.never_approved_share());
    assert!(heavy.mean_tips > 5.0 * none.mean_tips, "{}", heavy.mean_tips);
}

#[test]
fn the_shipped_selection_is_uniform_while_issuers_have_few_tips_each_and_not_beyond() {
    let of = |issuers| {
        run(&Params { tips: Selection::Shipped, issuers, transactions: 20_000, ..Params::default() })
    };
    let (many, few) = (of(10_000), of(10));
    assert!((many.mean_tips / 200.0 - 1.0).abs() < 0.03, "{}", many.mean_tips);
    assert_eq!(many.direct_approvers[0], 0);
    // 200 tips of 10 issuers are more than the four that are offered of each.
    assert!(few.never_approved_share() > 0.1, "{}", few.never_approved_share());
}

/// The same on every machine. Whoever changes what is drawn, or in which order, changes these on purpose.
#[test]
fn the_traces_of_fixed_seeds_are_kept() {
    let small = |tips| Params { seed: 7, tips, transactions: 2_000, lambda: 20.0, ..Params::default() };
    let kept = [
        (small(Selection::Uniform), "8087b907e2f370a8"),
        (Params { k: 5, arrivals: Arrivals::Bursty(3), ..small(Selection::Uniform) }, "470572d00747eeb8"),
        (small(Selection::Walk { alpha: 0.05 }), "122751b7c1b45461"),
        (small(Selection::Shipped), "b6b5416dfca131ae"),
    ];
    let found: Vec<String> = kept.iter().map(|(params, _)| run(params).trace_hash[..16].to_owned()).collect();
    let expected: Vec<&str> = kept.iter().map(|(_, hash)| *hash).collect();
    assert_eq!(found, expected);
}

#[test]
fn the_command_ends_with_one_object_twice_the_same() {
    let arguments = [
        "--lambda",
        "100",
        "--h",
        "1",
        "--k",
        "2",
        "--tips",
        "urts",
        "--transactions",
        "60000",
        "--seed",
        "1",
        "--json",
    ];
    let (one, other) = (json(&arguments), json(&arguments));
    assert_eq!(one["trace_hash"], other["trace_hash"]);
    assert_eq!(one["transactions"], 60_000);
    for key in ["mean_tips", "tips_sd", "first_approval_mean", "never_approved_share", "cpu_s"] {
        assert!(one[key].is_f64(), "{key}: {}", one[key]);
        assert!(key == "cpu_s" || one[key] == other[key], "{key}");
    }
    let approvers = one["direct_approvers"].as_array().expect("an array");
    assert!(approvers.iter().all(Value::is_u64) && approvers.len() > 4);
    let weights = one["cumulative_weight"].as_array().expect("an array");
    assert_eq!(weights[0], serde_json::json!([0.0, 1.0]));
    assert!(
        weights.iter().all(|point| point.as_array().is_some_and(|pair| pair.len() == 2))
            && weights.len() > 50
    );
    let another = json(&["--seed", "2", "--transactions", "60000", "--json"]);
    assert_ne!(one["trace_hash"], another["trace_hash"]);
    let several =
        json(&["--tips", "walk", "--alpha", "0,0.5", "--transactions", "500", "--lambda", "10", "--json"]);
    assert_eq!(several["runs"].as_array().map(Vec::len), Some(2));
}

#[test]
fn series_and_plots_are_written() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_str().expect("text");
    let output = command(&["--transactions", "20000", "--csv", path, "--plots", path]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (name, head) in [
        ("tips.csv", "run,time,tips,visible_tips\nurts,"),
        ("first_approval.csv", "run,span,transactions\nurts,"),
        ("direct_approvers.csv", "run,approvers,transactions,share_by_theory\nurts,0,0,0\n"),
        ("cumulative_weight.csv", "run,age,weight,weight_by_theory\nurts,0,1,1\n"),
        ("tips.svg", "<svg"),
        ("first_approval.svg", "<svg"),
        ("direct_approvers.svg", "<svg"),
        ("cumulative_weight.svg", "<svg"),
    ] {
        let text =
            std::fs::read_to_string(folder.path().join(name)).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert!(text.starts_with(head), "{name}: {}", &text[..60.min(text.len())]);
    }
}

#[test]
fn bad_options_are_named_with_value_and_range() {
    for (arguments, expected) in [
        (&["--k", "1"][..], "--k: got 1, expected 2 to 16"),
        (&["--lambda", "-5"], "--lambda: got -5, expected 1e-6 to 1e9"),
        (&["--lambda", "NaN"], "--lambda: got NaN, expected 1e-6 to 1e9"),
        (&["--h", "0"], "--h: got 0, expected 1e-6 to 1e9"),
        (&["--lambda", "1e6", "--h", "1e6"], "at most 1e7"),
        (&["--transactions", "9"], "--transactions: got 9, expected 10 to 2000000000"),
        (&["--transactions", "399"], "--transactions: got 399, expected at least 4 × lambda × h (here 400)"),
        (&["--csv", "Cargo.toml/below"], "--csv: Cargo.toml/below cannot be made"),
        (&["--warmup", "100000"], "--warmup: got 100000, expected less than 98000"),
        (&["--tips", "walk"], "--alpha: not given, expected a number from 0 up"),
        (&["--tips", "walk", "--alpha", "-1"], "--alpha: got -1, expected a number from 0 up"),
        (
            &["--tips", "walk", "--alpha", "0", "--transactions", "2000000"],
            "expected at most 1000000 with a walk",
        ),
        (&["--alpha", "0.1"], "--alpha: got 0.1, expected nothing unless --tips is walk"),
        (&["--tips", "shipped", "--k", "3"], "--k: got 3, expected 2 with the shipped selection"),
        (&["--tips", "shipped", "--issuers", "0"], "--issuers: got 0, expected 1 to 1000000"),
        (&["--arrivals", "bursty:0"], "bursty:N with N from 1 to 1000000"),
        (&["--arrivals", "poison"], "did you mean \"poisson\"?"),
        (&["--tips", "mcmc"], "[possible values: urts, walk, shipped]"),
        (&["--seed", "x"], "invalid value 'x' for '--seed"),
    ] {
        let output = command(arguments);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {err}");
        assert!(err.contains(expected), "{arguments:?}: {err}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}
