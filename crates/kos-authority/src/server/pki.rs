//! Certificates of the CAs, revocation lists and OCSP, over plain http for everybody: whoever checks a certificate
//! cannot check another one first. Everything here is signed.
//!
//! Paths: `/pki/root.crt`, `/pki/KEYID16.crt` (DER), `/pki/KEYID16.crl` (DER), `/pki/KEYID16.crl.pem`, `/pki/ocsp` (RFC 6960,
//! GET and POST). KEYID16 is the first 16 hex characters of the CA's key id. Beside them are the paths of the witness.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::{Extensions, HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use kos_base::{Timestamp, key::SignatureForm};
use kos_identity::{
    certificate::{Certificate, Serial},
    crl,
    ocsp::{self, OcspError, Request, Standing},
};
use kos_net::accept::{Gate, Limits, serve as accept};
use tokio::net::TcpListener;

use super::{
    Stopping, caching,
    http::{Version, serve_connection},
    stopped,
};
use crate::{
    authority::Shared,
    clock,
    keys::Keys,
    store::StoreError,
    witness::{self, Source},
};

/// Everybody may ask, briefly.
const LIMITS: Limits = Limits { waiting_max: 1_024, waiting_per_source_max: 128, established_max: 1_024 };

/// How long caches may keep a certificate or list without asking again.
const CACHE: &str = "public, max-age=60";

/// Accepts until the program stops.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stopping: Stopping) {
    let router = router(Arc::clone(&shared)).merge(witness::router(shared));
    let stop = stopping.clone();
    let handle = move |stream, remote: SocketAddr, permit| {
        let (router, stopping) = (router.clone(), stop.clone());
        async move {
            let mut known = Extensions::new();
            known.insert(Source(remote.ip()));
            serve_connection(stream, Version::Http1, router, known, stopping).await;
            drop(permit);
        }
    };
    tokio::select! {
        () = accept(listener, Gate::new(LIMITS), handle) => {}
        () = stopped(&mut stopping) => {}
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/pki/{file}", get(file))
        .route("/pki/ocsp", post(ocsp_post))
        .route("/pki/ocsp/{request}", get(ocsp_get))
        .layer(DefaultBodyLimit::max(Request::BYTES_MAX))
        .with_state(shared)
}

async fn file(State(shared): State<Arc<Shared>>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some((stem, kind)) = name.split_once('.') else { return StatusCode::NOT_FOUND.into_response() };
    let root = &shared.keys.root_certificate;
    let wanted = |ca: &&Certificate| ca.key_id().short() == stem || (stem == "root" && ca.is_root());
    let Some(ca) = authorities(&shared.keys).into_iter().find(wanted) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let found = match kind {
        "crt" => Ok(Some(("application/pkix-cert", ca.der().to_vec()))),
        "crl" | "crl.pem" if ca != root || stem != "root" => list(&shared, ca, kind).await,
        _ => Ok(None),
    };
    match found {
        Ok(Some((kind, bytes))) => caching::answer(&headers, kind, CACHE, bytes),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => unavailable(&error),
    }
}

async fn list(
    shared: &Shared,
    ca: &Certificate,
    kind: &str,
) -> Result<Option<(&'static str, Vec<u8>)>, StoreError> {
    let stored = shared.store.crl(ca.key_id()).await?;
    Ok(stored.map(|list| match kind {
        "crl" => ("application/pkix-crl", list.der),
        _ => ("application/x-pem-file", crl::pem(&list.der).into_bytes()),
    }))
}

async fn ocsp_post(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    ocsp_answer(&shared, &body, clock::now()).await
}

async fn ocsp_get(State(shared): State<Arc<Shared>>, Path(request): Path<String>) -> Response {
    match data_encoding::BASE64.decode(request.as_bytes()) {
        Ok(request) => ocsp_answer(&shared, &request, clock::now()).await,
        Err(_) => ocsp_response(OcspError::Malformed("not base64".to_owned()).response()),
    }
}

async fn ocsp_answer(shared: &Shared, request: &[u8], now: Timestamp) -> Response {
    let own = authorities(&shared.keys);
    let parsed = Request::parse(request);
    let asked = parsed.and_then(|parsed| Ok((parsed.issuer(own)?, parsed)));
    let (issuer, request) = match asked {
        Ok((issuer, request)) => (issuer, request),
        Err(error) => return ocsp_response(error.response()),
    };
    let mut standings = Vec::new();
    for serial in request.questions() {
        match standing(shared, issuer, serial).await {
            Ok(standing) => standings.push(standing),
            Err(error) => return unavailable(&error),
        }
    }
    let signed =
        ocsp::answer(&request, issuer, &standings, now).map_err(|e| e.to_string()).and_then(|unsigned| {
            let signer = shared.keys.signer_of(issuer).ok_or("no key for this CA")?;
            let signature =
                signer.sign(SignatureForm::Der, unsigned.to_be_signed()).map_err(|e| e.to_string())?;
            unsigned.finish(&signature).map_err(|e| e.to_string())
        });
    match signed {
        Ok(der) => ocsp_response(der),
        Err(why) => unavailable(&StoreError::Failed(why)),
    }
}

async fn standing(
    shared: &Shared,
    issuer: &Certificate,
    serial: Option<Serial>,
) -> Result<Standing, StoreError> {
    let Some(serial) = serial else { return Ok(Standing::Unknown) };
    if let Some(record) = shared.board.record(issuer.key_id(), serial) {
        return Ok(Standing::Revoked { at: record.at, reason: record.reason });
    }
    let own = authorities(&shared.keys)
        .into_iter()
        .any(|ca| ca.serial() == serial && ca.issuer_key_id() == Some(issuer.key_id()));
    let issued = own
        || shared.store.certificate(issuer.key_id(), &serial.to_bytes()).await?.is_some()
        || shared.store.operator_by_serial(issuer.key_id(), &serial.to_bytes()).await?.is_some();
    Ok(if issued { Standing::Good } else { Standing::Unknown })
}

fn ocsp_response(der: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/ocsp-response")], der).into_response()
}

fn unavailable(error: &StoreError) -> Response {
    tracing::error!(%error, "a question about certificates could not be answered");
    (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", error.code())).into_response()
}

fn authorities(keys: &Keys) -> [&Certificate; 3] {
    let [one, two] = &keys.issuing_certificates;
    [&keys.root_certificate, one, two]
}
