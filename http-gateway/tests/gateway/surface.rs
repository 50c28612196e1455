//! The other addresses, and what holds for all.

use crate::{JSON, Rig, config, event, log::TestLog, problem, rig, rig_with};
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tifo_http_gateway::{Answer, Hooks, HttpConfig, HttpError, HttpGateway, Poll, Rounds, StreamIngest};

#[tokio::test]
async fn health_readiness_metrics_and_status() {
    let answers = Arc::new(AtomicBool::new(false));
    let mqtt = answers.clone();
    let hooks = Hooks {
        not_ready: Arc::new(move || if mqtt.load(Ordering::Relaxed) { vec![] } else { vec!["mqtt".to_owned()] }),
        metrics: Arc::new(|| "up 1\n".to_owned()),
        status: Arc::new(|| json!({"aggregator": {"lag": 3}})),
        mqtt_cluster: Some(Arc::new(|| json!({"node": "main", "nodes": []}))),
        ..Hooks::default()
    };
    let rig = rig_with(config(), None, hooks).await;
    assert_eq!(rig.get("/healthz").await.status(), 200);
    let found = problem(rig.get("/readyz").await, 503).await;
    assert!(found["not_ready"].as_array().unwrap().contains(&json!("mqtt")));
    answers.store(true, Ordering::Relaxed);
    rig.ready().await;
    let metrics = rig.get("/metrics").await;
    assert!(metrics.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    assert_eq!(metrics.text().await.unwrap(), "up 1\n");
    assert_eq!(rig.post("?ack=committed", JSON, event("u")).await.status(), 200);
    let status: Value = rig.get("/v1/status").await.json().await.unwrap();
    assert_eq!(status["aggregator"]["lag"], 3);
    assert_eq!(status["http"]["accepted_total"], 1);
    assert!(status["now_ms"].as_i64().unwrap() > 1_600_000_000_000);
    assert!(status["events_per_second"].is_number() && status["http"]["events_per_second"].is_number());
    assert_eq!(status["http"]["streams"]["emoji"]["buffer"]["max_events"], 200_000);
    let tree: Value = rig.get("/v1/mqtt/cluster").await.json().await.unwrap();
    assert_eq!(tree, json!({"node": "main", "nodes": []}));
}

#[tokio::test]
async fn streams_are_listed() {
    let rig = rig().await;
    let streams: Value = rig.get("/v1/streams").await.json().await.unwrap();
    let expected = json!([{
        "name": "emoji", "topic": "emoji", "partitions": 6, "timestamp": "timestamp",
        "required": ["user_id", "channel_id", "metadata.reaction"], "key": ["channel_id", "user_id"],
    }]);
    assert_eq!(streams["streams"], expected);
}

#[tokio::test]
async fn a_poll_tells_its_question_and_when_one_may_vote() {
    let answer = |id: &str| Answer { id: id.to_owned(), label: id.to_uppercase() };
    let rounds = Rounds { round_ms: 60_000, closes_ms: Some(9), may_change: true, ..Rounds::default() };
    let poll = Poll { question: "Who?".to_owned(), answers: vec![answer("a"), answer("b")], rounds };
    let asking = |poll| {
        let stream = StreamIngest { poll: Some(poll), ..StreamIngest::emoji() };
        HttpConfig { streams: vec![stream], ..config() }
    };
    let wrong = asking(Poll { answers: vec![answer("a")], ..poll.clone() });
    assert!(wrong.check().unwrap_err().to_string().contains("2 to 12"));

    let rig = rig_with(asking(poll), None, Hooks::default()).await;
    let streams: Value = rig.get("/v1/streams").await.json().await.unwrap();
    let expected = json!({
        "question": "Who?", "answers": [{"id": "a", "label": "A"}, {"id": "b", "label": "B"}],
        "round_ms": 60_000, "opens_ms": null, "closes_ms": 9, "may_change": true,
    });
    assert_eq!(streams["streams"][0]["poll"], expected);
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_problems() {
    let rig = rig().await;
    for path in ["/nothing", "/v1", "/v1/streams/emoji", "/assets/none.js", "/../Cargo.toml", "/%00"] {
        problem(rig.get(path).await, 404).await;
    }
    let call = async |method: Method, path: &str| {
        rig.client.request(method, format!("{}{path}", rig.base)).send().await.unwrap()
    };
    problem(call(Method::POST, "/nothing").await, 404).await;
    let wrong = call(Method::DELETE, "/v1/streams/emoji/events").await;
    assert_eq!(wrong.headers()["allow"], "POST");
    problem(wrong, 405).await;
    let wrong = call(Method::POST, "/healthz").await;
    assert_eq!(wrong.headers()["allow"], "GET,HEAD");
    problem(wrong, 405).await;
    assert_eq!(call(Method::HEAD, "/healthz").await.status(), 200);
}

#[tokio::test]
async fn pages_of_other_origins_may_tap() {
    let rig = rig().await;
    let url = format!("{}/v1/streams/emoji/events", rig.base);
    let preflight = rig.client.request(Method::OPTIONS, &url).header("origin", "http://elsewhere");
    let answer = preflight.header("access-control-request-method", "POST").send().await.unwrap();
    assert_eq!(answer.status(), 204);
    assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    assert!(answer.headers()["access-control-allow-headers"].to_str().unwrap().contains("content-type"));
    for answer in [rig.post("", JSON, event("u")).await, rig.post("", JSON, "{").await, rig.get("/none").await] {
        assert_eq!(answer.headers()["access-control-allow-origin"], "*");
    }
}

#[tokio::test]
async fn the_page_or_how_to_build_it() {
    let rig = rig().await;
    let page = rig.get("/").await;
    assert_eq!(page.status(), 200);
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    let etag = page.headers().get("etag").cloned();
    let text = page.text().await.unwrap();
    match etag {
        None => assert!(text.contains("npm ci") && text.contains("npm run build") && text.contains("cargo build")),
        Some(etag) => the_built_page(&rig, &text, etag).await,
    }
}

async fn the_built_page(rig: &Rig, text: &str, etag: reqwest::header::HeaderValue) {
    let again = rig.client.get(format!("{}/", rig.base)).header("if-none-match", etag).send().await.unwrap();
    assert_eq!(again.status(), 304);
    let script = text.split('"').find(|part| part.contains("assets/") && part.ends_with(".js")).unwrap();
    let script = rig.get(&format!("/{}", script.trim_start_matches(['.', '/']))).await;
    assert_eq!(script.status(), 200);
    assert!(script.headers()["content-type"].to_str().unwrap().contains("javascript"));
    assert!(script.headers()["cache-control"].to_str().unwrap().contains("immutable"));
}

#[tokio::test]
async fn starts_that_cannot_work_say_why_in_one_line() {
    let start = async |config: HttpConfig| {
        let started = HttpGateway::start(config, Arc::new(TestLog::default()), None, Hooks::default()).await;
        started.map(|gateway| gateway.addr()).unwrap_err()
    };
    let taken = rig().await.gateway;
    let error = start(HttpConfig { listen: taken.addr(), ..config() }).await;
    let said = error.to_string();
    assert!(matches!(error, HttpError::Listen { .. }));
    assert!(said.contains(&taken.addr().port().to_string()) && said.contains("--http") && !said.contains('\n'));
    let twice = HttpConfig { streams: vec![StreamIngest::emoji(), StreamIngest::emoji()], ..config() };
    assert!(start(twice).await.to_string().contains("`emoji` is declared twice"));
}
