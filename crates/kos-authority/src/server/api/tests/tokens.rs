//! Tokens of requests, at the gate of every route.

use std::time::Duration;

use axum::http::request::Builder;
use kos_api::routes::Token;
use kos_base::{
    Secret, Timestamp,
    token::{self, TokenKey},
};

use super::*;
use crate::clock;

/// What TLS would export.
pub(super) fn exporter() -> Secret<32> {
    Secret::new([7; 32])
}

/// The request with its token, where it comes over TLS; each as on a connection of its own.
pub(super) fn with_token(
    request: Builder,
    origin: &Origin,
    method: &str,
    target: &str,
    body: &str,
) -> Builder {
    match origin {
        Origin::Peer(_) => request.header(token::HEADER, token(method, target, body, clock::now(), 0)),
        _ => request,
    }
}

/// Requests of one connection.
struct Connection<'a> {
    bench: &'a Bench,
    origin: Origin,
    tokens: Tokens,
}

impl Connection<'_> {
    async fn send(&self, method: &str, path: &str, body: &str, shown: &[String]) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        for token in shown {
            request = request.header(token::HEADER, token);
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        request.extensions_mut().insert(self.origin.clone());
        request.extensions_mut().insert(self.tokens.clone());
        let response = self.bench.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap_or_default();
        Reply { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }
}

fn token(method: &str, target: &str, body: &str, made: Timestamp, counter: u64) -> String {
    let about = token::Request { method, target, body: body.as_bytes(), headers: [b"", b""] };
    TokenKey::derive(&exporter(), None).unwrap().token(about, made, counter).to_string()
}

const PATH: &str = "/api/v1/tickets";
const BODY: &str = r#"{"role":"sensor"}"#;

#[tokio::test]
async fn every_route_that_needs_a_token_refuses_whoever_has_every_right_and_no_token() {
    let bench = Bench::new().await;
    let admin = bench.operator("anna", OperatorRole::Admin).await;
    let device = bench.device(1).await;
    for (origin, caller) in
        [(&admin, Caller::Operator(OperatorRole::Admin)), (&device, Caller::Device(Object::Own))]
    {
        let connection =
            Connection { bench: &bench, origin: origin.clone(), tokens: Tokens::over(exporter()) };
        for route in ALL.iter().filter(|route| route.admits(caller) && route.token == Token::Needed) {
            let reply = connection.send(route.method.as_str(), &path_of(route), "{}", &[]).await;
            assert_eq!(
                (reply.status, code(&reply)),
                (StatusCode::UNAUTHORIZED, "KOS-E0820"),
                "{}",
                route.name
            );
        }
    }
    // The refusals were counted, and will be recorded by the minute.
    let counted = format!("{:?}", bench.shared().refusals.close());
    assert!(counted.contains("this machine") && counted.contains("820"), "{counted}");
}

#[tokio::test]
async fn a_token_is_refused_when_anything_of_it_is_not_right_and_nothing_happens() {
    let bench = Bench::new().await;
    let origin = bench.operator("anna", OperatorRole::Admin).await;
    let connection = Connection { bench: &bench, origin, tokens: Tokens::over(exporter()) };
    let now = clock::now();
    let before = bench.entries().await.len();
    let late = now.minus(token::AGE_MAX + Duration::from_secs(5));
    let early = now.plus(token::AGE_MAX + Duration::from_secs(5));
    let good = |counter| token("POST", PATH, BODY, now, counter);
    let elsewhere = TokenKey::derive(&Secret::new([8; 32]), None).unwrap();
    let about = token::Request { method: "POST", target: PATH, body: BODY.as_bytes(), headers: [b"", b""] };
    let elsewhere = elsewhere.token(about, now, 1);
    for (shown, body, wanted) in [
        (vec![], BODY, "KOS-E0820"),
        (vec![String::new()], BODY, "KOS-E0821"),
        (vec![good(1), good(2)], BODY, "KOS-E0821"),
        (vec!["kt1.1.1.x".to_owned()], BODY, "KOS-E0821"),
        (vec![elsewhere.to_string()], BODY, "KOS-E0822"),
        (vec![good(1)], r#"{"role":"compute"}"#, "KOS-E0822"),
        (vec![token("PUT", PATH, BODY, now, 1)], BODY, "KOS-E0822"),
        (vec![token("POST", "/api/v1/tickets?dryRun=true", BODY, now, 1)], BODY, "KOS-E0822"),
        (vec![token("POST", PATH, BODY, late, 1)], BODY, "KOS-E0824"),
        (vec![token("POST", PATH, BODY, early, 1)], BODY, "KOS-E0824"),
    ] {
        let reply = connection.send("POST", PATH, body, &shown).await;
        assert_eq!((reply.status, code(&reply)), (StatusCode::UNAUTHORIZED, wanted), "{shown:?}");
    }
    assert_eq!(bench.entries().await.len(), before);
    let reply = connection.send("POST", PATH, BODY, &[good(1)]).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
    let replayed = connection.send("POST", PATH, BODY, &[good(1)]).await;
    assert_eq!((replayed.status, code(&replayed)), (StatusCode::UNAUTHORIZED, "KOS-E0823"));
    // Where none is needed, a wrong one is refused all the same.
    let status = connection.send("GET", "/api/v1/status", "", &[good(3)]).await;
    assert_eq!(code(&status), "KOS-E0822");
    assert_eq!(connection.send("GET", "/api/v1/status", "", &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_body_that_is_too_long_is_not_read_for_its_token() {
    let bench = Bench::new().await;
    let origin = bench.operator("anna", OperatorRole::Admin).await;
    let connection = Connection { bench: &bench, origin, tokens: Tokens::over(exporter()) };
    let body = "x".repeat(BODY_BYTES_MAX + 1);
    let reply = connection.send("POST", PATH, &body, &[token("POST", PATH, &body, clock::now(), 1)]).await;
    assert_eq!((reply.status, code(&reply)), (StatusCode::PAYLOAD_TOO_LARGE, "KOS-E0017"));
}
