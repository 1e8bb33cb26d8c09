//! What goes into a request: JSON, queries, headers, files.

use core::{
    pin::Pin,
    task::{Context, Poll},
};
use std::io::{self, Read as _};

use http_body_util::{BodyExt as _, Empty, Full, combinators::UnsyncBoxBody};
use hyper::{
    body::{Body as HttpBody, Bytes, Frame, SizeHint},
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use kos_api::routes::{Media, encode};
use serde::Serialize;
use serde_json::Value;

use crate::Fault;

/// What a request carries: nothing, bytes, or a file as it is read.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// How much of a file is sent at once, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;

pub(super) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub(super) fn json<B: Serialize>(body: &B) -> Result<(HeaderMap, Body), Fault> {
    let bytes = serde_json::to_vec(body).map_err(|_| impossible("body"))?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(Media::Json.as_str()));
    Ok((headers, Full::from(bytes).map_err(|never| match never {}).boxed_unsync()))
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

/// A file, which is sent as it is read.
pub(super) fn file(file: std::fs::File) -> Body {
    FileBody::of(file).boxed_unsync()
}

/// A file as a body, a chunk at a time.
struct FileBody {
    file: std::fs::File,
    left: u64,
}

impl FileBody {
    fn of(file: std::fs::File) -> Self {
        let left = file.metadata().map(|m| m.len()).unwrap_or_default();
        Self { file, left }
    }
}

impl HttpBody for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let wanted = usize::try_from(self.left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        if wanted == 0 {
            return Poll::Ready(None);
        }
        let mut chunk = vec![0; wanted];
        let read = self.file.read_exact(&mut chunk);
        self.left -= u64::try_from(wanted).unwrap_or(self.left);
        Poll::Ready(Some(read.map(|()| Frame::data(chunk.into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
