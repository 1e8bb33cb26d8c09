//! A POST of JSON, signed as Standard Webhooks says, so that a receiver knows from whom it is.
//!
//! Shape: `webhook-id` is the id of the alert, the same for every try; `webhook-timestamp` the time of this try in seconds;
//! `webhook-signature` `v1,` and base64 of HMAC-SHA-256 over `id.timestamp.body`. The secret is shown as `whsec_` and base64.
//!
//! A status of 2xx is a delivery, anything else is none. Redirects are not followed: whoever answers one is not whom the
//! administrator named. The answer's body is not read.
//!
//! Source: ALR-35; <https://www.standardwebhooks.com>, version 1.

use aws_lc_rs::hmac;
use data_encoding::BASE64;
use http_body_util::Full;
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use kos_base::{Secret, Timestamp};
use serde::Serialize;
use tokio::task::JoinSet;

use super::{
    SinkError,
    reach::{Address, AddressError, Stream, WEB},
};
use crate::{
    alert::{GuardianName, Notice, seal},
    clock,
};

/// For what the secret is derived.
const PURPOSE: &str = "webhook";

/// The body.
#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: Timestamp,
    data: &'a Notice,
}

/// Reads the address of a webhook.
pub(crate) fn address(url: &str) -> Result<Address, AddressError> {
    Address::parse(url, &WEB)
}

/// The secret of a webhook.
pub(crate) fn secret(
    key: &Secret<32>,
    name: &GuardianName,
    salt: [u8; 16],
) -> Result<Secret<32>, aws_lc_rs::error::Unspecified> {
    seal::derive(key, PURPOSE, name, salt)
}

pub(super) async fn send(
    url: &str,
    ca: Option<&str>,
    secret: &Secret<32>,
    notice: &Notice,
) -> Result<(), SinkError> {
    let address = address(url).map_err(|error| SinkError::Reach(error.into()))?;
    let event = Event { kind: "kos.alert", timestamp: notice.at, data: notice };
    let body = serde_json::to_vec(&event).map_err(|e| SinkError::Internal(e.to_string()))?;
    let (id, at) = (notice.id.as_str(), clock::now().unix_s().to_string());
    let request = Request::post(address.path.as_str())
        .header(header::HOST, address.authority())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, concat!("kos-authority/", env!("CARGO_PKG_VERSION")))
        .header("webhook-id", id)
        .header("webhook-timestamp", &at)
        .header("webhook-signature", sign(secret, id, &at, &body))
        .body(Full::new(Bytes::from(body)))
        .map_err(|e| SinkError::Internal(e.to_string()))?;
    let status = post(address.connect(ca).await?, request).await?;
    let said = status.as_str().to_owned();
    // These three say: not now.
    let not_now =
        [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    match status {
        _ if status.is_success() => Ok(()),
        _ if status.is_client_error() && !not_now => Err(SinkError::Refused(said)),
        _ => Err(SinkError::Answered(said)),
    }
}

async fn post(stream: Stream, request: Request<Full<Bytes>>) -> Result<StatusCode, SinkError> {
    let failed = |e: hyper::Error| SinkError::Protocol(e.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // Ends with this function, whatever the peer does.
    let mut driving = JoinSet::new();
    driving.spawn(connection);
    Ok(sender.send_request(request).await.map_err(failed)?.status())
}

fn sign(secret: &Secret<32>, id: &str, at: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
    let mut context = hmac::Context::with_key(&key);
    for part in [id.as_bytes(), b".", at.as_bytes(), b".", body] {
        context.update(part);
    }
    format!("v1,{}", BASE64.encode(context.sign().as_ref()))
}
