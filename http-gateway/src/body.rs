//! Receiving a body within limits: its own, and one for all bodies that are being received.

use axum::{body::Body, http::StatusCode, http::header};
use bytes::Bytes;
use futures::StreamExt;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::problem::Problem;

/// Room set aside before the first byte has come, whatever the request announces.
const FIRST_BYTES: usize = 16 << 10;

/// Bytes of bodies in memory that have not yet arrived whole.
#[derive(Debug, Clone)]
pub struct Receiving {
    limit: usize,
    used: Arc<AtomicUsize>,
}

/// One body's share; given back when dropped.
struct Share<'receiving> {
    receiving: &'receiving Receiving,
    bytes: usize,
}

impl Receiving {
    pub fn new(limit: usize) -> Self {
        Self { limit, used: Arc::default() }
    }

    /// The whole body, at most `max_bytes`, within `timeout`.
    pub async fn read(
        &self,
        headers: &axum::http::HeaderMap,
        body: Body,
        max_bytes: usize,
        timeout: Duration,
    ) -> Result<Bytes, Problem> {
        let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: usize| length > max_bytes) {
            return Err(too_large(max_bytes));
        }
        let share = Share { receiving: self, bytes: 0 };
        match tokio::time::timeout(timeout, share.read(body, announced.unwrap_or(0), max_bytes)).await {
            Ok(read) => read,
            Err(_) => {
                let detail = format!("the body did not arrive within {} ms", timeout.as_millis());
                Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body-timeout", detail))
            }
        }
    }
}

impl Share<'_> {
    async fn read(mut self, body: Body, announced: usize, max_bytes: usize) -> Result<Bytes, Problem> {
        let mut received = Vec::with_capacity(announced.min(FIRST_BYTES));
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| {
                Problem::new(StatusCode::BAD_REQUEST, "body-broken", format!("the body broke off: {error}"))
            })?;
            if received.len() + chunk.len() > max_bytes {
                return Err(too_large(max_bytes));
            }
            self.grow(chunk.len())?;
            received.extend_from_slice(&chunk);
        }
        // Exactly as large as it is: many small events lie in the buffer for a while.
        Ok(Bytes::from(received.into_boxed_slice()))
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let before = self.receiving.used.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        if before + bytes > self.receiving.limit {
            let detail = "too many bodies are being received at once";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).retry_after(1));
        }
        Ok(())
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.receiving.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn too_large(max_bytes: usize) -> Problem {
    let detail = format!("the body is larger than {max_bytes} bytes; send fewer events per request");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail).with("max_body_bytes", max_bytes)
}
