//! Switching from HTTP to KLP over WebSocket, for networks that let nothing else through: `GET /klp/v1` on the TLS port.
//!
//! Shape: the handler checks the request (RFC 6455, 4.2.1) and answers 101; the task of the connection then takes the
//! bytes over and speaks KLP, so that the link counts as the connection that it is and ends with it.
//!
//! Invariants: devices only, by the certificate of the handshake; whether the device is in service is asked where every
//! link is. Nothing of the request but its key is used.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Extension,
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use kos_base::code;
use kos_identity::certificate::PeerIdentity;
use kos_net::carrier::accept_key;

use super::api::{Origin, Refusal};

/// The version of RFC 6455.
const VERSION: &str = "13";
/// Characters of a key: 16 bytes in base64.
const KEY_CHARS: usize = 24;

/// Where the handler leaves the connection for the task that serves it.
#[derive(Clone, Debug, Default)]
pub(super) struct Switch(Arc<Mutex<Option<OnUpgrade>>>);

impl Switch {
    /// The bytes of the connection after HTTP, if a request has switched it. Ask when HTTP is over.
    pub(super) async fn taken(self) -> Option<Upgraded> {
        let upgrade = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        upgrade?.await.ok()
    }
}

/// Answers a request to switch.
pub(super) async fn switch(
    Extension(origin): Extension<Origin>,
    Extension(switch): Extension<Switch>,
    mut request: Request,
) -> Response {
    let Origin::Peer(peer) = origin else { return refused(code::config::NOT_SIGNED_IN, 401, "devices only") };
    if !matches!(peer.identity(), PeerIdentity::Device { .. }) {
        return refused(code::config::NOT_SIGNED_IN, 403, "devices only");
    }
    let key = websocket_key(request.headers()).map(accept_key);
    match (key, request.extensions_mut().remove::<OnUpgrade>()) {
        (Some(accept), Some(upgrade)) => {
            *switch.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(upgrade);
            let headers = [(header::CONNECTION, "Upgrade"), (header::UPGRADE, "websocket")];
            (StatusCode::SWITCHING_PROTOCOLS, headers, [(header::SEC_WEBSOCKET_ACCEPT, accept)])
                .into_response()
        }
        _ => {
            let mut response =
                refused(code::config::BAD_REQUEST, 426, "this path is for WebSocket, version 13");
            response.headers_mut().insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
            response
        }
    }
}

fn refused(code: kos_base::Code, status: u16, why: &str) -> Response {
    Refusal::new(code).with_status(status).saying(why).into_response()
}

/// The key of a request that asks for WebSocket in due form.
fn websocket_key(headers: &HeaderMap) -> Option<&[u8]> {
    let names = |name, wanted: &str| {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(wanted))
    };
    let asks = names(header::CONNECTION, "upgrade")
        && names(header::UPGRADE, "websocket")
        && names(header::SEC_WEBSOCKET_VERSION, VERSION);
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(|key| key.as_bytes());
    key.filter(|key| asks && key.len() == KEY_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_request_in_due_form_has_a_key() {
        let good = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let with = |headers: &[(&'static str, &'static str)]| -> HeaderMap {
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
        };
        assert_eq!(websocket_key(&with(&good)), Some(b"dGhlIHNhbXBsZSBub25jZQ==".as_slice()));
        for missing in 0..good.len() {
            let mut bad = good.to_vec();
            bad.remove(missing);
            assert_eq!(websocket_key(&with(&bad)), None, "{missing}");
        }
        for (at, value) in [(0, "close"), (1, "h2c"), (2, "8"), (3, "short")] {
            let mut bad = good;
            bad[at].1 = value;
            assert_eq!(websocket_key(&with(&bad)), None, "{value}");
        }
    }
}
