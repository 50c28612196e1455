//! `/v1/aggregates`, on aggregates that are only names.

use crate::{JSON, Rig, config, problem, rig_with};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tifo_http_gateway::{Aggregates, Hooks, Notation, Refusal};

#[derive(Default)]
struct Names(Mutex<Vec<String>>);

#[async_trait]
impl Aggregates for Names {
    fn all(&self) -> Vec<Value> {
        self.0.lock().unwrap().iter().map(|name| json!({"name": name, "counted": 3})).collect()
    }

    async fn declare(&self, text: &str, notation: Notation) -> Result<(Value, bool), Refusal> {
        match text {
            "bad" => return Err(Refusal::Invalid("no definition".to_owned())),
            "taken" => return Err(Refusal::Conflict("there is one".to_owned())),
            "later" => return Err(Refusal::Unavailable("no log".to_owned())),
            _ => {}
        }
        let name = format!("{text}-{notation:?}");
        let mut names = self.0.lock().unwrap();
        let is_new = !names.contains(&name);
        if is_new {
            names.push(name.clone());
        }
        Ok((json!({"name": name}), is_new))
    }

    async fn remove(&self, name: &str) -> Result<(), Refusal> {
        let mut names = self.0.lock().unwrap();
        let place = names.iter().position(|known| known == name);
        let place = place.ok_or_else(|| Refusal::Unknown(format!("there is no `{name}`")))?;
        names.remove(place);
        Ok(())
    }
}

async fn with_aggregates() -> Rig {
    let hooks = Hooks { aggregates: Some(Arc::new(Names::default())), ..Hooks::default() };
    rig_with(config(), None, hooks).await
}

async fn declare(rig: &Rig, content_type: &str, body: &'static str) -> reqwest::Response {
    let request = rig.client.post(format!("{}/v1/aggregates", rig.base)).header("content-type", content_type);
    request.body(body).send().await.unwrap()
}

#[tokio::test]
async fn aggregates_are_declared_seen_and_removed() {
    let rig = with_aggregates().await;
    let made = declare(&rig, "application/sql; charset=utf-8", "poll").await;
    assert_eq!(made.status(), 201);
    assert_eq!(made.json::<Value>().await.unwrap()["name"], "poll-Sql");
    assert_eq!(declare(&rig, "application/sql", "poll").await.status(), 200, "it is there already");
    assert_eq!(declare(&rig, JSON, "quiz").await.status(), 201);
    let all: Value = rig.get("/v1/aggregates").await.json().await.unwrap();
    assert_eq!(all["aggregates"].as_array().unwrap().len(), 2);
    let one: Value = rig.get("/v1/aggregates/quiz-Json").await.json().await.unwrap();
    assert_eq!(one, json!({"name": "quiz-Json", "counted": 3}));
    let remove =
        async |name: &str| rig.client.delete(format!("{}/v1/aggregates/{name}", rig.base)).send().await.unwrap();
    assert_eq!(remove("quiz-Json").await.status(), 204);
    problem(remove("quiz-Json").await, 404).await;
    problem(rig.get("/v1/aggregates/quiz-Json").await, 404).await;
}

#[tokio::test]
async fn refusals_are_problems() {
    let rig = with_aggregates().await;
    for (content_type, body, status) in [
        (JSON, "bad", 422),
        (JSON, "taken", 409),
        (JSON, "later", 503),
        ("text/plain", "poll", 415),
        (JSON, "\u{0}", 201),
    ] {
        let answer = declare(&rig, content_type, body).await;
        assert_eq!(answer.status(), status, "{body}");
    }
    let long: &'static str = Box::leak("x".repeat(64 * 1024 + 1).into_boxed_str());
    problem(declare(&rig, JSON, long).await, 413).await;
    let none = crate::rig().await;
    problem(none.get("/v1/aggregates").await, 404).await;
}

/// A page somewhere else cannot declare anything on its reader's own machine.
#[tokio::test]
async fn pages_of_other_origins_change_nothing() {
    let rig = with_aggregates().await;
    let own = rig.base.clone();
    for (origin, status) in [("http://evil.example", 403), ("null", 403), (own.as_str(), 201)] {
        let request = rig.client.post(format!("{}/v1/aggregates", rig.base)).header("origin", origin);
        let answer = request.header("content-type", JSON).body("poll").send().await.unwrap();
        assert_eq!(answer.status(), status, "{origin}");
    }
    let request =
        rig.client.delete(format!("{}/v1/aggregates/poll-Json", rig.base)).header("origin", "http://evil.example");
    problem(request.send().await.unwrap(), 403).await;
}
