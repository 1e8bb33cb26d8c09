//! What goes into a request: JSON, queries, headers.

use http_body_util::Full;
use hyper::{
    body::Bytes,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use kos_api::{
    routes::{Media, encode},
    text::secret_json,
};
use serde::Serialize;
use serde_json::Value;

use crate::Fault;

/// What a request carries: bytes, or nothing.
pub(super) type Body = Full<Bytes>;

pub(super) fn empty() -> Body {
    Full::default()
}

pub(super) fn json<B: Serialize>(body: &B) -> Result<(HeaderMap, Bytes), Fault> {
    // It may hold a secret, and is wiped once it was sent.
    let bytes = Bytes::from_owner(secret_json(body).map_err(|_| impossible("body"))?);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(Media::Json.as_str()));
    Ok((headers, bytes))
}

pub(super) fn header(text: &str) -> Result<HeaderValue, Fault> {
    HeaderValue::from_str(text).map_err(|_| impossible("header"))
}

pub(super) fn impossible(part: &str) -> Fault {
    Fault::Internal(format!("a {part} that HTTP cannot carry"))
}

/// `?a=b&c=d` of the fields that are set.
pub(super) fn query<Q: Serialize>(query: &Q) -> Result<String, Fault> {
    let Ok(Value::Object(fields)) = serde_json::to_value(query) else {
        return Err(impossible("query"));
    };
    let mut text = String::new();
    for (name, value) in fields {
        let value = match value {
            Value::Null => continue,
            Value::String(text) => text,
            other => other.to_string(),
        };
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(&format!("{name}={}", encode(&value, "-._~")));
    }
    Ok(text)
}
