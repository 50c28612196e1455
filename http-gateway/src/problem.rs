//! Errors as clients see them: RFC 9457 problem details.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

/// Prefix of every `type`; docs/http.md lists what follows it.
const TYPE_PREFIX: &str = "urn:tifo:problem:";

/// One problem, with members beyond the standard ones such as `field` and `index`.
#[derive(Debug)]
pub struct Problem {
    kind: &'static str,
    status: StatusCode,
    detail: String,
    more: Map<String, Value>,
    retry_after_s: Option<u32>,
}

impl Problem {
    pub fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self { kind, status, detail: detail.into(), more: Map::new(), retry_after_s: None }
    }

    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.more.insert(member.to_owned(), value.into());
        self
    }

    /// The same request may pass in so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// What follows the prefix of `type`: also the `reason` in metrics.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    fn body(self) -> String {
        let mut members = self.more;
        members.insert("type".to_owned(), json!(format!("{TYPE_PREFIX}{}", self.kind)));
        members.insert("title".to_owned(), json!(self.kind.replace('-', " ")));
        members.insert("status".to_owned(), json!(self.status.as_u16()));
        members.insert("detail".to_owned(), json!(self.detail));
        Value::Object(members).to_string()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, retry_after_s) = (self.status, self.retry_after_s);
        let json = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(header::CONTENT_TYPE, json)], self.body()).into_response();
        if let Some(seconds) = retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
