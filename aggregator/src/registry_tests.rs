//! Declared aggregates: started, refused, kept over a restart, removed.

#![allow(clippy::unwrap_used)]

use crate::{
    DeclareError, Definition, Registry,
    task_tests::{LONG_AGO_MS, definition, produce},
    test_events::event,
    test_log::{Fuse, TestLog},
};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

async fn registry(log: &Arc<TestLog>) -> (Registry, CancellationToken) {
    let shutdown = CancellationToken::new();
    let registry =
        Registry::start(vec![definition(1)], log.clone(), log.clock.clone(), shutdown.clone()).await.unwrap();
    (registry, shutdown)
}

fn poll() -> Definition {
    Definition::from_sql("CREATE AGGREGATE poll INTO results AS SELECT channel_id, COUNT(*) FROM emoji WINDOW TUMBLING (SIZE 2 SECONDS) GROUP BY channel_id").unwrap()
}

fn names(registry: &Registry) -> Vec<String> {
    registry.all().into_iter().map(|shown| shown.definition.name).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_declared_runs_and_is_there_after_a_restart() {
    let log = TestLog::new();
    let (running, shutdown) = registry(&log).await;
    assert!(log.spec("__tifo_aggregates").is_none(), "nothing is made that nobody asked for");
    assert!(running.declare(poll()).await.unwrap());
    assert!(!running.declare(poll()).await.unwrap(), "it is there already");
    produce(&log, 0, &[event(LONG_AGO_MS, "c", "r")]);
    running.all()[1].status.wait_for(|status| status.counted == 1 && status.open_window_count == 0).await;
    assert_eq!(log.records("results", 0).len(), 1);
    shutdown.cancel();
    running.join().await;
    let (running, _) = registry(&log).await;
    assert_eq!(names(&running), ["emoji", "poll"]);
    assert_eq!(running.all()[1].definition, poll());
    running.remove("poll").await.unwrap();
    assert_eq!(names(&running), ["emoji"]);
    let (running, _) = registry(&log).await;
    assert_eq!(names(&running), ["emoji"]);
}

#[tokio::test(start_paused = true)]
async fn what_stands_in_the_way_is_said() {
    type Change = fn(&mut Definition);
    let log = TestLog::new();
    let (running, _) = registry(&log).await;
    running.declare(poll()).await.unwrap();
    let refusal = async |change: Change| {
        let mut definition = poll();
        change(&mut definition);
        running.declare(definition).await.unwrap_err()
    };
    let cases: [(Change, &str); 4] = [
        (|d| d.max_groups = 7, "another aggregate is named `poll`"),
        (|d| (d.name, d.late) = ("two".into(), None), "another aggregate writes to topic `results`"),
        (|d| (d.name, d.into) = ("two".into(), "emoji-late".into()), "another aggregate writes to topic `emoji-late`"),
        (|d| d.group_by.clear(), "group_by"),
    ];
    for (change, expected) in cases {
        let error = refusal(change).await.to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(matches!(running.remove("none").await, Err(DeclareError::Unknown(_))));
    assert!(matches!(running.remove("emoji").await, Err(DeclareError::Conflict(_))));
    assert_eq!(names(&running), ["emoji", "poll"]);
}

#[tokio::test(start_paused = true)]
async fn output_of_another_definition_is_a_conflict() {
    let log = TestLog::new();
    let (running, _) = registry(&log).await;
    running.declare(poll()).await.unwrap();
    produce(&log, 0, &[event(LONG_AGO_MS, "c", "r")]);
    running.all()[1].status.wait_for(|status| status.counted == 1 && status.open_window_count == 0).await;
    running.remove("poll").await.unwrap();
    let changed = Definition { max_groups: 7, ..poll() };
    assert!(matches!(running.declare(changed).await, Err(DeclareError::Conflict(_))));
    assert!(running.declare(poll()).await.unwrap(), "the same again goes on");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_kept_does_not_run() {
    let log = TestLog::new();
    let (running, _) = registry(&log).await;
    log.set_fuse(Some(Fuse { at: 1, applied: false, fatal: false }));
    assert!(matches!(running.declare(poll()).await, Err(DeclareError::Failed(_))));
    assert_eq!(names(&running), ["emoji"]);
    assert!(running.declare(poll()).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_field_that_is_in_no_event_is_refused_once_enough_are_known() {
    let log = TestLog::new();
    let (running, _) = registry(&log).await;
    let misspelt = Definition { group_by: vec!["chanel_id".into()], ..poll() };
    produce(&log, 0, &vec![event(LONG_AGO_MS, "c", "r"); 999]);
    assert!(running.declare(misspelt.clone()).await.unwrap(), "so few events say little");
    let status = running.all()[1].status.wait_for(|status| status.bad == 999).await;
    assert!(status.warning.unwrap().contains("did you mean `channel_id`?"));
    running.remove("poll").await.unwrap();
    produce(&log, 0, &[event(LONG_AGO_MS, "c", "r")]);
    let refusal = running.declare(misspelt).await.unwrap_err();
    assert!(matches!(refusal, DeclareError::Invalid(_)), "{refusal}");
    assert!(refusal.to_string().contains("`chanel_id` is in none of the first 1000 events"), "{refusal}");
    assert!(running.declare(poll()).await.unwrap());
}
