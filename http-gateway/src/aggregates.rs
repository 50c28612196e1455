//! `/v1/aggregates`: what runs, what it has counted, and declaring one more or one less.
//!
//! The gateway knows nothing of windows: it passes texts on through [`Aggregates`], which the binary implements, and
//! answers in HTTP's words. Pages of other origins may look here like anywhere, but change nothing.

use async_trait::async_trait;
use axum::{
    Json,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use std::sync::Arc;

use crate::{gateway::Shared, problem::Problem};

/// A longer text is no definition.
const MAX_TEXT_BYTES: usize = 64 * 1024;

/// How a definition is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// The settings' table, as JSON.
    Json,
    Sql,
}

/// Why it was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    Invalid(String),
    /// Something that is there stands in the way.
    Conflict(String),
    Unknown(String),
    /// It may pass another time.
    Unavailable(String),
}

/// The aggregates of this process.
#[async_trait]
pub trait Aggregates: Send + Sync {
    /// One JSON object each, with `name`.
    fn all(&self) -> Vec<Value>;

    /// (what it is now, whether it is new).
    async fn declare(&self, text: &str, notation: Notation) -> Result<(Value, bool), Refusal>;

    async fn remove(&self, name: &str) -> Result<(), Refusal>;
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid(detail) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-aggregate", detail),
            Refusal::Conflict(detail) => Self::new(StatusCode::CONFLICT, "aggregate-conflict", detail),
            Refusal::Unknown(detail) => Self::new(StatusCode::NOT_FOUND, "unknown-aggregate", detail),
            Refusal::Unavailable(detail) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "log-unavailable", detail).retry_after(1)
            }
        }
    }
}

pub async fn list(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "aggregates": door(&shared)?.all() })))
}

pub async fn one(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Result<Json<Value>, Problem> {
    let found = door(&shared)?.all().into_iter().find(|aggregate| aggregate["name"] == *name);
    found.map(Json).ok_or_else(|| Refusal::Unknown(format!("there is no aggregate `{name}`")).into())
}

pub async fn declare(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    check_origin(&parts.headers)?;
    let notation = notation(&parts.headers)?;
    let timeout = shared.config.request_timeout();
    let body = shared.receiving.read(&parts.headers, body, MAX_TEXT_BYTES, timeout).await?;
    let not_text = |_| Problem::from(Refusal::Invalid("the definition is not UTF-8 text".to_owned()));
    let text = std::str::from_utf8(&body).map_err(not_text)?;
    let (aggregate, is_new) = door(&shared)?.declare(text, notation).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(aggregate)).into_response())
}

pub async fn remove(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    check_origin(&headers)?;
    door(&shared)?.remove(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn door(shared: &Shared) -> Result<&Arc<dyn Aggregates>, Problem> {
    let none = || Problem::new(StatusCode::NOT_FOUND, "no-aggregator", "no aggregator runs in this process");
    shared.hooks.aggregates.as_ref().ok_or_else(none)
}

fn notation(headers: &HeaderMap) -> Result<Notation, Problem> {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match text.split(';').next().unwrap_or_default().trim() {
        "application/json" => Ok(Notation::Json),
        "application/sql" => Ok(Notation::Sql),
        other => {
            let detail = format!("`{other}` is not read here: application/json or application/sql");
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "wrong-content-type", detail))
        }
    }
}

/// A browser says which page sends it; only pages of this gateway may change something.
fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = text(header::ORIGIN) else { return Ok(()) };
    let host = origin.split_once("://").map(|(_, host)| host);
    if host.is_some() && host == text(header::HOST) {
        return Ok(());
    }
    let detail = format!("a page of {origin} may not change aggregates");
    Err(Problem::new(StatusCode::FORBIDDEN, "foreign-origin", detail))
}
