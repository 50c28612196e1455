//! Groups over HTTP: as they are, and waited for.

use crate::{problem, rig};
use serde_json::{Value, json};
use tifo_broker::client::{AssignedTopic, Group, GroupMember, GroupOffset};

fn group(members: usize) -> Group {
    let member = |number: usize| GroupMember {
        member_id: format!("m-{number}"),
        instance_id: None,
        client_id: "c".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        assignment: Some(vec![AssignedTopic { topic: "t".to_owned(), partitions: vec![0, 1] }]),
    };
    let offset = GroupOffset {
        topic: "t".to_owned(),
        partition: 0,
        committed: Some(3),
        metadata: Some(String::new()),
        pending: false,
        log_start: Some(0),
        log_end: Some(10),
        lag: Some(7),
    };
    Group {
        group: "g/1".to_owned(),
        group_type: "classic".to_owned(),
        state: "Stable".to_owned(),
        protocol_type: "consumer".to_owned(),
        protocol: "range".to_owned(),
        generation: 2,
        members: (0..members).map(member).collect(),
        offsets: vec![offset],
        lag: Some(7),
    }
}

#[tokio::test]
async fn groups_are_listed_and_shown() {
    let rig = rig().await;
    let listed: Value = rig.get("/v1/groups").await.json().await.unwrap();
    assert_eq!(listed, json!({"groups": []}));
    let missing = problem(rig.get("/v1/groups/g%2F1").await, 404).await;
    assert_eq!((&missing["type"], &missing["group"]), (&json!("urn:tifo:problem:unknown-group"), &json!("g/1")));
    rig.log.set_group(Some(group(1)));
    let listed: Value = rig.get("/v1/groups").await.json().await.unwrap();
    let expected = json!([{"group": "g/1", "type": "classic", "state": "Stable", "protocol_type": "consumer"}]);
    assert_eq!(listed["groups"], expected);
    let shown: Value = rig.get("/v1/groups/g%2F1").await.json().await.unwrap();
    assert_eq!(shown["members"][0]["assignment"], json!([{"topic": "t", "partitions": [0, 1]}]));
    assert_eq!((&shown["offsets"][0]["committed"], &shown["lag"]), (&json!(3), &json!(7)));
}

#[tokio::test]
async fn a_wait_ends_with_the_change() {
    let rig = rig().await;
    let (found, ()) = tokio::join!(rig.get("/v1/groups/g%2F1?wait=stable&members=2&timeout=30s"), async {
        rig.log.is_watched().await;
        rig.log.set_group(Some(group(1)));
        rig.log.set_group(Some(group(2)));
    });
    assert_eq!(found.status(), 200);
    let found: Value = found.json().await.unwrap();
    assert_eq!(found["members"].as_array().unwrap().len(), 2);
    let (gone, ()) = tokio::join!(rig.get("/v1/groups/g%2F1?wait=gone&timeout=30s"), async {
        rig.log.is_watched().await;
        rig.log.set_group(None);
    });
    problem(gone, 404).await;
}

#[tokio::test]
async fn a_wait_in_vain_says_how_the_group_is() {
    let rig = rig().await;
    let nobody = problem(rig.get("/v1/groups/g%2F1?wait=stable&timeout=5ms").await, 504).await;
    assert_eq!((&nobody["type"], &nobody["group"]), (&json!("urn:tifo:problem:wait-timeout"), &json!(null)));
    rig.log.set_group(Some(group(1)));
    let alone = problem(rig.get("/v1/groups/g%2F1?members=2&timeout=5ms").await, 504).await;
    assert_eq!(alone["group"]["members"].as_array().unwrap().len(), 1);
    let behind = problem(rig.get("/v1/groups/g%2F1?lag=6&timeout=5ms").await, 504).await;
    assert!(behind["detail"].as_str().unwrap().contains("lag is 7"), "{behind}");
    assert_eq!(rig.get("/v1/groups/g%2F1?lag=7").await.status(), 200);
}

#[tokio::test]
async fn what_is_not_understood_is_said_by_field() {
    let rig = rig().await;
    for (query, field) in [
        ("wait=soon", "wait"),
        ("members=x", "members"),
        ("lag=-1", "lag"),
        ("timeout=1h", "timeout"),
        ("mebers=2", "mebers"),
    ] {
        let wrong = problem(rig.get(&format!("/v1/groups/g?{query}")).await, 400).await;
        assert_eq!((&wrong["type"], &wrong["field"]), (&json!("urn:tifo:problem:bad-query"), &json!(field)));
    }
}

#[tokio::test]
async fn a_log_that_is_away_or_shows_no_groups_is_said_so() {
    let rig = rig().await;
    rig.log.set(crate::log::Mode::Unavailable);
    let away = problem(rig.get("/v1/groups").await, 503).await;
    assert_eq!(away["type"], "urn:tifo:problem:log-unavailable");
    rig.log.set(crate::log::Mode::Refuse);
    let refused = problem(rig.get("/v1/groups/g").await, 501).await;
    assert_eq!(refused["type"], "urn:tifo:problem:no-groups");
}

#[tokio::test]
async fn stopping_ends_a_wait() {
    let rig = rig().await;
    let (client, log) = (rig.client.clone(), rig.log.clone());
    let url = format!("{}/v1/groups/g?wait=stable&timeout=60s", rig.base);
    let waits = tokio::spawn(async move { client.get(url).send().await.unwrap() });
    log.is_watched().await;
    rig.gateway.shutdown().await.unwrap();
    problem(waits.await.unwrap(), 503).await;
}
