//! Every address that is answered, and what holds for all of them: metrics, CORS, worded 404 and 405.

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use metrics::{counter, histogram};
use std::{sync::Arc, time::Instant};

use crate::{aggregates, gateway::Shared, groups, ingest, observe, page, problem::Problem, producer, websocket};

pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/streams/{stream}/events", post(ingest::post_events))
        .route("/v1/streams", get(observe::streams))
        .route("/v1/producers", post(observe::new_producer))
        .route("/v1/groups", get(groups::list))
        .route("/v1/groups/{id}", get(groups::one))
        .route("/v1/aggregates", get(aggregates::list).post(aggregates::declare))
        .route("/v1/aggregates/{name}", get(aggregates::one).delete(aggregates::remove))
        .route("/v1/status", get(observe::status))
        .route("/v1/mqtt/cluster", get(observe::mqtt_cluster))
        .route("/healthz", get(observe::healthz))
        .route("/readyz", get(observe::readyz))
        .route("/metrics", get(observe::metrics))
        .route("/mqtt", get(websocket::open))
        .route("/", get(page::index))
        .method_not_allowed_fallback(wrong_method)
        .fallback(page_or_nothing)
        .layer(middleware::from_fn(cross_origin))
        .layer(middleware::from_fn(measure))
        .with_state(shared)
}

async fn wrong_method(method: Method, State(_): State<Arc<Shared>>) -> Problem {
    let detail = format!("{method} is not answered here; the header Allow says what is");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", detail)
}

/// Files of the page lie beside the interface's own addresses.
async fn page_or_nothing(method: Method, request: Request) -> Response {
    let path = request.uri().path();
    if matches!(method, Method::GET | Method::HEAD)
        && let Some(asset) = page::asset(path.trim_start_matches('/'), request.headers())
    {
        return asset;
    }
    Problem::new(StatusCode::NOT_FOUND, "not-found", format!("there is nothing at {path}")).into_response()
}

/// Pages of other origins may tap and look. There are no cookies to misuse.
async fn cross_origin(request: Request, next: Next) -> Response {
    let is_preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if is_preflight { preflight() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
    response
}

fn preflight() -> Response {
    let own = [producer::PRODUCER_ID_HEADER, producer::EPOCH_HEADER, producer::SEQUENCES_HEADER].join(", ");
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST"));
    if let Ok(allowed) = HeaderValue::try_from(format!("content-type, {own}")) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    (StatusCode::NO_CONTENT, headers).into_response()
}

async fn measure(request: Request, next: Next) -> Response {
    let route =
        request.extensions().get::<MatchedPath>().map_or_else(|| "other".to_owned(), |path| path.as_str().to_owned());
    let began = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_str().to_owned();
    histogram!("tifo_http_request_duration_seconds", "route" => route.clone()).record(began.elapsed());
    counter!("tifo_http_requests_total", "route" => route, "status" => status).increment(1);
    response
}
