//! The tokens of requests that come over TLS: one key and one row of counters for each connection.
//!
//! A token is looked at after the rights of the caller and before the handler, and the body is read for it. One that comes
//! where none is needed is looked at as well. What comes over the local socket has none.
//!
//! Source: `docs/spec/token.md` TOK-7 to TOK-10; the table of routes says which need one.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{body::Body, extract::Request, http::HeaderValue};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kos_api::routes::Token;
use kos_base::{
    Secret, code,
    token::{self, COVERED, Counters, HEADER, TokenError, TokenKey},
};
use kos_net::tls::{Exporter, Facts};

use super::{
    answer::Refusal,
    call::{Origin, Who},
    gate::Gate,
};
use crate::{authority::Shared, clock, fleet::own_key};

/// What a connection knows for the tokens of its requests.
#[derive(Clone)]
pub(crate) struct Tokens(Arc<Line>);

struct Line {
    exporter: Secret<32>,
    counters: Mutex<Counters>,
}

impl Tokens {
    /// Those of a connection that has just begun.
    pub(crate) fn of(facts: &Facts) -> Self {
        Self::over(Secret::new(*facts.exporter(Exporter::Request).expose()))
    }

    /// Those of a connection that exports `exporter`.
    pub(super) fn over(exporter: Secret<32>) -> Self {
        Self(Arc::new(Line { exporter, counters: Mutex::default() }))
    }

    /// `own`: what the caller may show as a key of its own.
    fn judge(
        &self,
        own: &[Option<Secret<32>>],
        request: token::Request<'_>,
        token: &token::Token,
    ) -> Result<(), TokenError> {
        let derive = |own: &Option<Secret<32>>| TokenKey::derive(&self.0.exporter, own.as_ref());
        let keys = own.iter().map(derive).collect::<Result<Vec<_>, _>>()?;
        let mut counters = self.0.counters.lock().unwrap_or_else(PoisonError::into_inner);
        counters.judge(clock::now(), &keys, request, token).map(drop)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(..)")
    }
}

/// What the caller may show as a key of its own: a device of SEC-1 has one (OWN-6).
async fn own_keys(shared: &Shared, who: Option<Who>) -> Result<Vec<Option<Secret<32>>>, Refusal> {
    let Some(Who::Device(device)) = who else { return Ok(vec![None]) };
    let device = shared.store.device(&device).await?;
    let device = device.filter(|device| own_key::certificate_of(device).is_some());
    Ok(device.map_or_else(|| vec![None], |device| own_key::accepted(shared, &device)))
}

/// Why a body was not read to its end.
fn unread(error: Box<dyn std::error::Error + Send + Sync>) -> Refusal {
    if error.is::<LengthLimitError>() {
        return Refusal::new(code::config::TOO_LARGE).with_status(413);
    }
    Refusal::new(code::config::BAD_REQUEST).saying("the body did not come to its end")
}

/// Passes a request whose token holds, or that needs none. Its body is as it was.
pub(super) async fn check(gate: &Gate, request: Request) -> Result<Request, Refusal> {
    if !matches!(request.extensions().get::<Origin>(), Some(Origin::Peer(_))) {
        return Ok(request);
    }
    let mut shown = request.headers().get_all(HEADER).into_iter();
    let outcome = match (shown.next(), shown.next()) {
        (None, _) if gate.route.token == Token::Needed => Err(TokenError::Missing),
        (None, _) => return Ok(request),
        (Some(_), Some(_)) => Err(TokenError::Malformed),
        (Some(text), None) => text.to_str().map(str::to_owned).map_err(|_| TokenError::Malformed),
    };
    let refused = |request: &Request, error: TokenError| {
        gate.count(request, error.code());
        // The title has said the rest.
        let refusal = Refusal::new(error.code()).with_status(401);
        if matches!(error, TokenError::Time { .. }) { refusal.saying(&error.to_string()) } else { refusal }
    };
    let shown = outcome.and_then(|text| text.parse::<token::Token>());
    let shown = shown.map_err(|error| refused(&request, error))?;
    let Some(tokens) = request.extensions().get::<Tokens>().cloned() else {
        return Err(Refusal::new(code::config::INTERNAL));
    };
    let own = own_keys(&gate.shared, request.extensions().get().cloned()).await?;
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, gate.bytes_max).collect().await.map_err(unread)?.to_bytes();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut headers = [&[][..]; COVERED.len()];
    let mut is_clear = true;
    for (said, name) in headers.iter_mut().zip(COVERED) {
        let mut values = parts.headers.get_all(name).into_iter();
        *said = values.next().map_or(&[], HeaderValue::as_bytes);
        is_clear &= values.next().is_none();
    }
    let about = token::Request { method: parts.method.as_str(), target, body: &body, headers };
    // Of two headers the handler takes one, and nobody says which.
    let verdict = if is_clear { tokens.judge(&own, about, &shown) } else { Err(TokenError::Wrong) };
    let request = Request::from_parts(parts, Body::from(body));
    verdict.map_err(|error| refused(&request, error))?;
    Ok(request)
}
