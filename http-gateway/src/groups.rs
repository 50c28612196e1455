//! `GET /v1/groups` and `GET /v1/groups/{id}`: who reads what and how far, and waiting until a group is as a test needs it.

use axum::{
    Json,
    extract::{Path, RawQuery, State},
    http::StatusCode,
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tifo_broker::{
    ClientError,
    client::{Group, GroupCondition, WantedState},
};

use crate::{gateway::Shared, problem::Problem};

/// How long is waited for when nothing is said …
const DEFAULT_WAIT: Duration = Duration::from_secs(10);
/// … and at most.
const MAX_WAIT: Duration = Duration::from_secs(300);
/// Kafka's states of all kinds of groups, in small letters.
const STATES: [&str; 6] = ["stable", "empty", "preparingrebalance", "completingrebalance", "assigning", "reconciling"];
const GONE: &str = "gone";

/// What a request waits for.
#[derive(Debug, PartialEq, Eq)]
struct Wait {
    condition: GroupCondition,
    timeout: Duration,
}

pub async fn list(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, Problem> {
    let groups = shared.client.groups().await.map_err(|error| refused(&error))?;
    Ok(Json(json!({ "groups": groups })))
}

pub async fn one(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<Group>, Problem> {
    match wait_of(&query.unwrap_or_default())? {
        None => {
            let group = shared.client.group(&id).await.map_err(|error| refused(&error))?;
            group.map(Json).ok_or_else(|| unknown(&id))
        }
        Some(wait) => wait_for(&shared, &id, &wait).await,
    }
}

async fn wait_for(shared: &Shared, id: &str, wait: &Wait) -> Result<Json<Group>, Problem> {
    let waited = shared.client.wait_for_group(id, &wait.condition, wait.timeout);
    let Some(waited) = shared.stop.run_until_cancelled(waited).await else { return Err(stopping()) };
    let waited = waited.map_err(|error| refused(&error))?;
    match (waited.is_reached, waited.group) {
        (true, Some(group)) => Ok(Json(group)),
        // It was waited for that it goes.
        (true, None) => Err(unknown(id)),
        (false, group) => Err(too_long(id, wait, group)),
    }
}

/// `None`: the group is asked for as it is.
fn wait_of(query: &str) -> Result<Option<Wait>, Problem> {
    let mut wait = Wait { condition: GroupCondition::default(), timeout: DEFAULT_WAIT };
    let parts: Vec<&str> = query.split('&').filter(|part| !part.is_empty()).collect();
    for part in &parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match name {
            "wait" => wait.condition.state = Some(state(value)?),
            "members" => wait.condition.members = Some(number(name, value)?),
            "lag" => wait.condition.max_lag = Some(number(name, value)?),
            "timeout" => wait.timeout = timeout(value)?,
            _ => {
                return Err(bad_query(
                    name,
                    format!("{name} is not known here; there are wait, members, lag, timeout"),
                ));
            }
        }
    }
    Ok(Some(wait).filter(|_| !parts.is_empty()))
}

fn state(value: &str) -> Result<WantedState, Problem> {
    let wanted = value.to_ascii_lowercase();
    match wanted.as_str() {
        GONE => Ok(WantedState::Gone),
        name if STATES.contains(&name) => Ok(WantedState::Named(wanted)),
        _ => Err(bad_query("wait", format!("wait must be one of {}, {GONE}, not `{value}`", STATES.join(", ")))),
    }
}

fn number<T: TryFrom<u32>>(name: &str, value: &str) -> Result<T, Problem> {
    let number = value.parse::<u32>().ok().and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| bad_query(name, format!("{name} must be a whole number, not `{value}`")))
}

/// `500ms`, `5s`, `2m`; a bare number is seconds.
fn timeout(value: &str) -> Result<Duration, Problem> {
    let digits = value.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit_ms = match value.strip_prefix(digits) {
        Some("ms") => 1,
        Some("s" | "") => 1_000,
        Some("m") => 60_000,
        _ => 0,
    };
    let wanted = digits.parse::<u64>().ok().filter(|_| unit_ms > 0).and_then(|number| number.checked_mul(unit_ms));
    let wanted = wanted.map(Duration::from_millis).filter(|wanted| *wanted <= MAX_WAIT);
    wanted.ok_or_else(|| {
        let most = MAX_WAIT.as_secs();
        bad_query("timeout", format!("timeout must be like 500ms, 5s or 2m, at most {most}s, not `{value}`"))
    })
}

fn bad_query(field: &str, detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-query", detail).with("field", field)
}

fn unknown(id: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown-group", format!("there is no group `{id}`")).with("group", id)
}

/// With the group as it is, so that one sees what is missing.
fn too_long(id: &str, wait: &Wait, group: Option<Group>) -> Problem {
    let seconds = wait.timeout.as_secs_f64();
    let found = match &group {
        None => "it does not exist".to_owned(),
        Some(Group { state, members, lag, .. }) => {
            let lag = lag.map_or_else(|| "unknown".to_owned(), |lag| lag.to_string());
            format!("it is {state} with {} members, its lag is {lag}", members.len())
        }
    };
    let detail = format!("group `{id}` was not as wanted within {seconds} s: {found}");
    Problem::new(StatusCode::GATEWAY_TIMEOUT, "wait-timeout", detail).with("group", json!(group))
}

fn stopping() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the gateway is stopping").retry_after(1)
}

fn refused(error: &ClientError) -> Problem {
    match error {
        ClientError::Unavailable(reason) => {
            let detail = format!("the log does not answer: {reason}");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "log-unavailable", detail).retry_after(1)
        }
        refused => Problem::new(StatusCode::NOT_IMPLEMENTED, "no-groups", refused.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn conditions_are_read() {
        assert_eq!(wait_of("").unwrap(), None);
        let wait = wait_of("wait=Stable&members=2&timeout=5s").unwrap().unwrap();
        assert_eq!(wait.timeout, Duration::from_secs(5));
        let stable = Some(WantedState::Named("stable".into()));
        assert_eq!(wait.condition, GroupCondition { state: stable, members: Some(2), max_lag: None });
        let wait = wait_of("lag=0").unwrap().unwrap();
        assert_eq!((wait.condition.max_lag, wait.timeout), (Some(0), DEFAULT_WAIT));
        assert_eq!(wait_of("wait=gone").unwrap().unwrap().condition.state, Some(WantedState::Gone));
    }

    #[test]
    fn times_are_read_in_three_units() {
        let read = |text| timeout(text).ok();
        assert_eq!(read("250ms"), Some(Duration::from_millis(250)));
        assert_eq!((read("5s"), read("5")), (Some(Duration::from_secs(5)), Some(Duration::from_secs(5))));
        assert_eq!(read("2m"), Some(Duration::from_secs(120)));
        for wrong in ["", "s", "5h", "-1s", "1.5s", "6m", "99999999999999999999s"] {
            assert!(read(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_understood_is_a_problem() {
        for query in ["wait=", "wait=soon", "members=two", "members=-1", "lag=x", "timeout=long", "mebers=2"] {
            assert!(wait_of(query).is_err(), "{query}");
        }
    }
}
