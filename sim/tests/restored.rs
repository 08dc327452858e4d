//! A gateway that starts from an old image of its card takes its chain back from its peers: it never signs twice at one
//! sequence, and every counter and every reading is there once.

use selvedge_sim::{Plan, run};

#[test]
fn an_old_image_takes_its_chain_back_and_never_forks() {
    let (mut restored, mut adopted, mut failures) = (0, 0, Vec::new());
    for seed in 3_000..3_012 {
        match run(&Plan::restored(seed)) {
            Ok(report) => (restored, adopted) = (restored + report.restored, adopted + report.adopted),
            Err(failure) => failures.push(failure.to_string()),
        }
    }
    assert!(
        failures.is_empty(),
        "{failures:#?}\nagain: selvedge-sim three --faults --restored --seed N --trace"
    );
    println!("seeds 3000 to 3011: {restored} restored, {adopted} own transactions came back");
    assert!(
        restored >= 10 && adopted > 50,
        "{restored} restored, {adopted} came back: too few to show anything"
    );
}
