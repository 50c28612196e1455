//! The page, embedded from `web/dist` at build time; a notice in its place if it was not built.

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use rust_embed::{EmbeddedFile, RustEmbed};
use std::fmt::Write;

/// Vite names files in here after their content, so they may be kept for ever.
const HASHED_FOLDER: &str = "assets/";
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const ASK_AGAIN: &str = "no-cache";
const NOTICE: &str = include_str!("notice.html");

#[derive(RustEmbed)]
#[folder = "../web/dist"]
#[allow_missing = true]
struct Web;

pub async fn index(headers: HeaderMap) -> Response {
    asset("index.html", &headers).unwrap_or_else(|| Html(NOTICE).into_response())
}

/// None: the page has no such file.
pub fn asset(path: &str, headers: &HeaderMap) -> Option<Response> {
    let file = Web::get(path)?;
    Some(serve(path, &file, headers))
}

fn serve(path: &str, file: &EmbeddedFile, headers: &HeaderMap) -> Response {
    let etag = etag(file);
    let caching = if path.starts_with(HASHED_FOLDER) { FOR_EVER } else { ASK_AGAIN };
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let fixed = [(header::CACHE_CONTROL, caching.to_owned()), (header::ETAG, etag.clone())];
    if known.is_some_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == etag)) {
        return (StatusCode::NOT_MODIFIED, fixed).into_response();
    }
    let content_type = [
        (header::CONTENT_TYPE, file.metadata.mimetype().to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    (fixed, content_type, file.data.to_vec()).into_response()
}

fn etag(file: &EmbeddedFile) -> String {
    let hash = file.metadata.sha256_hash();
    let mut etag = String::from("\"");
    for byte in hash.iter().take(16) {
        let _ = write!(etag, "{byte:02x}");
    }
    etag.push('"');
    etag
}
