//! Members that join, leave, pause, die and come back at random, over a server whose appends may fail and that may restart.
//!
//! Holds at every step: one owner per partition and generation; a committed offset never goes back once it was acknowledged;
//! replay equals live. Holds at the end, when faults stop: nobody waits forever, and every live member has its share.
//! `TIFO_SEED=n cargo test --test driver` plays one seed again.
#![allow(clippy::unwrap_used)]

mod simulation;

const SEEDS: u64 = 60;
const STEPS: usize = 400;

#[test]
fn random_members_keep_the_invariants() {
    if let Ok(seed) = std::env::var("TIFO_SEED") {
        return simulation::run(seed.parse().unwrap(), STEPS * 10);
    }
    for seed in 1..=SEEDS {
        println!("seed {seed}");
        simulation::run(seed, STEPS);
    }
}

#[test]
fn random_members_of_consumer_groups_keep_the_invariants() {
    if let Ok(seed) = std::env::var("TIFO_SEED") {
        return simulation::consumer::run(seed.parse().unwrap(), STEPS * 10);
    }
    for seed in 1..=SEEDS {
        println!("seed {seed}");
        simulation::consumer::run(seed, STEPS);
    }
}
