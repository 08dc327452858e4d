use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

/// The same cases in each run.
fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 64,
        rng_seed: RngSeed::Fixed(3),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn scans() -> impl Strategy<Value = Vec<u64>> {
    // Steps from nothing to some seconds, in milliseconds: a few minutes altogether at most.
    prop::collection::vec(prop_oneof![0..5_u64, 5..50_u64, 1_000..8_000_u64], 0..40)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn not_a_microlitre_is_lost_or_made(seed: [u8; 32], steps_ms in scans()) {
        let mut plant = Plant::new(&seed);
        for ms in steps_ms {
            plant.step(Duration::from_millis(ms));
            let accounts = plant.accounts();
            prop_assert!(accounts.is_balanced(), "{accounts:?}");
            prop_assert!(accounts.tank <= TANK_CAPACITY_UL);
        }
    }

    #[test]
    fn only_the_sum_of_time_counts(seed: [u8; 32], steps_ms in scans()) {
        let (mut cut, mut whole) = (Plant::new(&seed), Plant::new(&seed));
        for ms in &steps_ms {
            cut.step(Duration::from_millis(*ms));
        }
        whole.step(Duration::from_millis(steps_ms.iter().sum()));
        prop_assert_eq!(cut.accounts(), whole.accounts());
        prop_assert_eq!(cut.instruments(), whole.instruments());
    }

    #[test]
    fn instruments_are_nearly_right(seed: [u8; 32], ms in 0..60_000_u64) {
        let mut plant = Plant::new(&seed);
        plant.step(Duration::from_millis(ms));
        let (shown, accounts) = (plant.instruments(), plant.accounts());
        prop_assert!((f64::from(shown.level_l) - accounts.tank as f64 / UL_PER_L).abs() < 0.1);
        prop_assert!((shown.bottle_ml - accounts.bottle as f64 / UL_PER_ML).abs() < 2.0);
        prop_assert!((5.0..12.0).contains(&shown.temperature_cel), "{shown:?}");
        prop_assert!((0.0..40.0).contains(&shown.flow_l_min), "{shown:?}");
    }

    #[test]
    fn every_bottle_is_filled_and_none_moves_under_an_open_valve(seed: [u8; 32]) {
        let mut plant = Plant::new(&seed);
        let (mut before, mut shipped) = (plant.instruments(), 0);
        for _ in 0..6_000 {
            plant.step(SCAN);
            let (shown, accounts) = (plant.instruments(), plant.accounts());
            prop_assert!(shown.conveyor_mm_s <= 0.0 || plant.valve <= 0.0, "{plant:?}");
            if shown.bottles > before.bottles {
                let ml = (accounts.shipped - shipped) as f64 / UL_PER_ML;
                prop_assert!((ml - f64::from(FILL_ML)).abs() < 6.0, "bottle {} holds {ml} mL", shown.bottles);
                shipped = accounts.shipped;
            }
            before = shown;
        }
        // In a minute: about one bottle in two and a half seconds.
        prop_assert!((20..=30).contains(&before.bottles), "{} bottles", before.bottles);
    }

    #[test]
    fn the_pump_keeps_the_level_between_its_set_points(seed: [u8; 32]) {
        let mut plant = Plant::new(&seed);
        let (mut starts, mut before) = (0, false);
        for _ in 0..12_000 {
            plant.step(SCAN);
            let level_dl = plant.accounts().tank / 100_000;
            prop_assert!((388..=412).contains(&level_dl), "{level_dl}");
            let on = plant.instruments().pump_on;
            starts += u32::from(on && !before);
            before = on;
        }
        prop_assert!(starts >= 3, "the pump started {starts} times in two minutes");
    }
}

#[test]
fn another_seed_is_another_plant_and_the_same_is_the_same() {
    let run = |seed: u8| {
        let mut plant = Plant::new(&[seed; 32]);
        plant.step(Duration::from_secs(5));
        plant.instruments()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

/// An empty tank gives nothing, and the plant waits for the pump instead of stopping.
#[test]
fn an_empty_tank_is_waited_for() {
    let mut plant = Plant::new(&[7; 32]);
    let drained = std::mem::take(&mut plant.accounts.tank);
    plant.accounts.at_start -= drained;
    plant.step(Duration::from_secs(90));
    assert!(plant.accounts().is_balanced());
    assert!(plant.instruments().pump_on || plant.accounts().tank > 38_000_000, "{plant:?}");
    assert!(plant.instruments().bottles > 0);
}
