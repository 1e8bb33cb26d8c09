//! Answers that others may keep: with an entity tag, and short when the asker has them already.

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use kos_base::digest::sha256;

/// `bytes` with an entity tag, or that the asker has them.
pub(super) fn answer(
    headers: &HeaderMap,
    kind: &'static str,
    caching: &'static str,
    bytes: Vec<u8>,
) -> Response {
    let tag = format!("\"{}\"", data_encoding::HEXLOWER.encode(&sha256(&bytes)));
    let held = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let is_tag = |one: &str| one.trim().trim_start_matches("W/") == tag || one.trim() == "*";
    let caching = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, caching.to_owned())];
    if held.is_some_and(|held| held.split(',').any(is_tag)) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(header::CONTENT_TYPE, kind)], bytes).into_response()
}
