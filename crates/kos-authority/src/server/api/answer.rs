//! What goes back: documents, pages, and problems.

use axum::{
    body::Bytes,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use kos_api::{
    Document, List, Problem,
    envelope::Kind,
    problem::{PROBLEM_JSON, Party},
};
use kos_base::{Code, code};

use super::call::RequestId;
use crate::store::StoreError;

/// A request that is refused, with everything that its problem document says.
#[derive(Debug)]
pub(crate) struct Refusal(Box<Problem>);

impl Refusal {
    pub(crate) fn new(code: Code) -> Self {
        Self(Box::new(Problem::new(code)))
    }

    pub(crate) fn saying(self, detail: &str) -> Self {
        Self(Box::new(self.0.with_detail(detail)))
    }

    /// What to try first, where that is more than the code's own.
    pub(super) fn fixed_by(self, fix: &str) -> Self {
        Self(Box::new(self.0.with_fix(fix)))
    }

    pub(super) fn about(self, kind: &str, id: &impl std::fmt::Display) -> Self {
        Self(Box::new(self.0.about(Party::new(kind, id))))
    }

    pub(crate) fn with_status(self, status: u16) -> Self {
        Self(Box::new(self.0.with_status(status)))
    }

    pub(crate) fn under(self, id: RequestId) -> Self {
        if self.0.request_id.is_some() {
            return self;
        }
        Self(Box::new(self.0.with_request_id(id.0.to_string())))
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        // What a row or a path is called is for the server's log; a caller gets the code and its sentence.
        match &error {
            StoreError::Conflict { .. } => {}
            _ => tracing::error!(%error, "the store gave no answer"),
        }
        Self::new(error.code())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&*self.0).unwrap_or_default();
        (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response()
    }
}

/// One item in its envelope.
///
/// Some hold a secret, so its bytes are wiped once they were sent.
pub(crate) fn document<T: Kind>(item: T) -> Response {
    let body = kos_api::text::secret_json(&Document::new(item)).unwrap_or_default();
    json(StatusCode::OK, Bytes::from_owner(body))
}

/// One item in its envelope, with the tag by which a change can name what it saw.
pub(super) fn tagged<T: Kind>(item: T, tag: &str) -> Response {
    let mut response = document(item);
    if let Ok(value) = tag.parse() {
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}

/// A page of items.
pub(super) fn page<T: Kind>(items: Vec<T>, next: Option<String>) -> Response {
    list(&List { items, next, archived: None })
}

/// A page with everything that belongs to it.
pub(super) fn list<T: Kind>(list: &List<T>) -> Response {
    json(StatusCode::OK, serde_json::to_vec(list).unwrap_or_default())
}

/// Bytes that are JSON already.
pub(super) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, body.into()).into_response()
}

pub(super) async fn no_such_path() -> Refusal {
    Refusal::new(code::config::NOT_FOUND).saying("there is no such path")
}

pub(super) async fn no_such_method() -> Refusal {
    Refusal::new(code::config::BAD_REQUEST).saying("this path does not take this method").with_status(405)
}

/// How many items a page has.
pub(super) fn limit(asked: Option<u32>) -> Result<u32, Refusal> {
    match asked.unwrap_or(100) {
        limit @ 1..=500 => Ok(limit),
        _ => Err(Refusal::new(code::config::BAD_REQUEST)
            .saying("limit is 1 to 500")
            .fixed_by("ask for 1 to 500, and go on with `next`")),
    }
}
