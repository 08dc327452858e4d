//! A gateway that starts from an old image of its card takes its chain back from its peers: it never signs twice at one
//! sequence, and every counter and every reading is there once.

use selvedge_sim::{Plan, run};

#[test]
fn an_old_image_takes_its_chain_back_and_never_forks() {
    let (mut restored, mut adopted, mut failures) = (0_u64, 0_u64, Vec::new());
    // A quarter of the faulty runs that are asked for: under emulation, where few are, these take minutes each.
    let asked = std::env::var("SELVEDGE_SEEDS").ok().and_then(|n| n.parse::<u64>().ok());
    let seeds = asked.map_or(12, |n| (n / 4).clamp(2, 12));
    for seed in 3_000..3_000 + seeds {
        match run(&Plan::restored(seed)) {
            Ok(report) => (restored, adopted) = (restored + report.restored, adopted + report.adopted),
            Err(failure) => failures.push(failure.to_string()),
        }
    }
    assert!(failures.is_empty(), "{failures:#?}\nagain: selvedge-sim replay N --plan restored --trace");
    println!("{seeds} seeds from 3000: {restored} restored, {adopted} own transactions came back");
    assert!(
        restored + 2 >= seeds && adopted > 4 * seeds,
        "{restored} restored, {adopted} came back: too few to show anything"
    );
}
