//! How long groups take to settle, in simulated time; and what a thousand of them cost, in real time.
#![allow(clippy::unwrap_used)]

mod crowd;

use crowd::Crowd;
use std::time::Instant;

/// What a test rig sets, so that members hear of each other soon (Kafka's default is 3 s).
const QUICK_HEARTBEAT_MS: i64 = 50;

#[test]
fn two_members_are_stable_soon_after_a_join_and_a_leave() {
    let mut crowd = Crowd::new(QUICK_HEARTBEAT_MS);
    crowd.join("g");
    crowd.pass(1_000);
    assert!(crowd.is_settled("g", 1));
    let second = crowd.join("g");
    let joined = crowd.settles_within("g", 2, 150);
    assert!(joined.is_some(), "not stable 150 ms after the second join");
    crowd.pass(crowd.now_ms + 1_000);
    crowd.leave(second);
    let left = crowd.settles_within("g", 1, 150);
    assert!(left.is_some(), "not stable 150 ms after the leave");
}

/// 100 joins and 100 leaves a second in one group, for ten seconds.
#[test]
fn a_group_settles_after_much_coming_and_going() {
    const TICK_MS: i64 = 10;
    let mut crowd = Crowd::new(500);
    let mut inside: Vec<usize> = (0..20).map(|_| crowd.join("g")).collect();
    for tick in 1..=1_000 {
        crowd.pass(tick * TICK_MS);
        inside.push(crowd.join("g"));
        let leaving = inside.remove(0);
        crowd.leave(leaving);
    }
    assert!(crowd.settles_within("g", inside.len(), 2_000).is_some(), "{:?}", crowd.coordinator.describe("g"));
}

/// One core keeps up with 1,000 groups of 10 members: what happens to them in ten seconds takes less than those.
#[test]
fn a_thousand_groups_of_ten_keep_one_core_idle() {
    const GROUPS: usize = 1_000;
    const SIMULATED_MS: i64 = 10_000;
    let began = Instant::now();
    let mut crowd = Crowd::new(3_000);
    let names: Vec<String> = (0..GROUPS).map(|number| format!("g{number}")).collect();
    for name in &names {
        (0..10).for_each(|_| {
            crowd.join(name);
        });
    }
    crowd.pass(SIMULATED_MS);
    let took = began.elapsed();
    assert!(names.iter().all(|name| crowd.is_stable(name, 10)));
    assert!(took.as_millis() < u128::try_from(SIMULATED_MS).unwrap(), "{took:?} for {SIMULATED_MS} ms");
    println!("1,000 groups of 10: {SIMULATED_MS} simulated ms, joins included, took {took:?}");
}
