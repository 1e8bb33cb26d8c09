//! The authority itself over the API: how it is, who it is, what it has revoked.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use kos_api::{
    audit::Assurance,
    authority::{Authority, Crl, Listen, LogStatus, Reach, Status},
    chain,
    hex::{Digest, Serial},
    keys::KeyProtection,
};
use kos_audit::SignedCheckpoint;
use kos_base::{DeviceState, KeyId, code};
use kos_identity::{certificate::Certificate, crl::VerifiedCrl};

use super::{
    answer::{Refusal, document, json, page},
    call::Context,
    view, witnesses,
};
use crate::{authority::Shared, clock, store::StoreError, witness::Standing};

/// Tickets that are looked at to count the open ones; those that are older have expired or are in the list.
const TICKETS_MAX: u32 = 500;

pub(super) async fn status(State(shared): State<Arc<Shared>>) -> Result<Response, Refusal> {
    let now = clock::now();
    let mut devices: BTreeMap<DeviceState, u64> = DeviceState::ALL.iter().map(|state| (*state, 0)).collect();
    devices.extend(shared.store.count_devices().await?);
    let tickets = shared.store.tickets(None, TICKETS_MAX).await?;
    let open = tickets.iter().filter(|t| view::ticket_state(t, now) == kos_api::ticket::TicketState::Open);
    let state = shared.store.log_state().await?.map(|state| state.checkpoint).unwrap_or_default();
    let unsound = |why: String| Refusal::from(StoreError::LogDiffers(why));
    let signed = SignedCheckpoint::parse(&state).map_err(|e| unsound(e.to_string()))?;
    let verified = signed.verify(shared.log.key(), &[]).map_err(|e| unsound(e.to_string()))?;
    let checkpoint = verified.checkpoint();
    let standing = Standing::of(&shared.store, &shared.log).await?;
    let beyond = !shared.place.borrow().address.is_loopback();
    Ok(document(Status {
        authority: shared.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        now,
        started_at: shared.started_at,
        devices,
        online: shared.presence.count_online(now),
        open_tickets: u64::try_from(open.count()).unwrap_or(u64::MAX),
        log: LogStatus {
            size: checkpoint.head.size,
            root_hash: Digest::from_bytes(*checkpoint.head.root.as_bytes()),
            checkpoint_time: checkpoint.time,
            assurance: assurance(&standing),
            witnessed: Some(witnesses::standing(&standing, checkpoint.head.size, now)),
        },
        ports: shared.ports,
        reachable: if beyond { Reach::Network } else { Reach::Loopback },
        keys: Some(KeyProtection {
            signing_keys: shared.keys.homes(),
            opener: shared.kept.protection.opener.to_string(),
            protects_against: shared.kept.protection.against.to_owned(),
            not_against: shared.kept.protection.not_against.to_owned(),
            rollback: shared.kept.protection.rollback.to_owned(),
        }),
        alerts: Some(super::guardians::status(&shared).await?),
        mirrors: Some(super::mirrors::status(&shared).await?),
    }))
}

/// What the log is worth to whoever believes its witnesses.
pub(super) const fn assurance(standing: &Standing) -> Assurance {
    match standing.witnessed {
        Some(_) => Assurance::Witnessed,
        None => Assurance::LocalIntegrity,
    }
}

pub(super) async fn openapi() -> Response {
    json(StatusCode::OK, serde_json::to_vec_pretty(&kos_api::openapi::document()).unwrap_or_default())
}

pub(super) async fn show(State(shared): State<Arc<Shared>>) -> Result<Response, Refusal> {
    describe(&shared).map(document)
}

/// Who the authority is.
pub(super) fn describe(shared: &Shared) -> Result<Authority, Refusal> {
    let keys = &shared.keys;
    let place = shared.place.borrow().clone();
    Ok(Authority {
        authority: shared.name.clone(),
        created_at: shared.created_at,
        root: certificate(&keys.root_certificate)?,
        pins: vec![keys.root.public().id()],
        issuers: keys.issuing_certificates.iter().map(certificate).collect::<Result<_, _>>()?,
        kid_key_id: keys.kid.public().id(),
        kid_key: public_pem(keys.kid.public().spki_der()),
        log_origin: shared.log.key().origin().to_string(),
        log_verifier_key: shared.log.key().to_string(),
        listen: Listen { address: place.address.to_string(), advertise: place.advertise },
    })
}

/// A certificate as the API shows it.
pub(super) fn certificate(certificate: &Certificate) -> Result<chain::Certificate, Refusal> {
    let serial = Serial::from_bytes(&certificate.serial().to_bytes());
    Ok(chain::Certificate {
        subject: certificate.subject(),
        issuer: certificate.issuer(),
        serial: serial.ok_or_else(|| Refusal::new(code::certificate::CERT_MALFORMED))?,
        sha256: Digest::from_bytes(certificate.sha256()),
        key_id: certificate.key_id(),
        algorithm: certificate.public_key().algorithm().to_string(),
        not_before: certificate.not_before(),
        not_after: certificate.not_after(),
        pem: certificate.pem(),
    })
}

fn public_pem(spki: &[u8]) -> String {
    let body = data_encoding::BASE64.encode(spki);
    let lines: Vec<_> = body.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

pub(super) async fn crls(State(shared): State<Arc<Shared>>) -> Result<Response, Refusal> {
    let mut lists = Vec::new();
    for ca in authorities(&shared) {
        if let Some(stored) = shared.store.crl(ca.key_id()).await? {
            let unsound =
                |_| Refusal::from(StoreError::Damaged { table: "crls", row: ca.key_id().to_string() });
            let list = VerifiedCrl::parse(&stored.der, ca).map_err(unsound)?;
            lists.push(Crl {
                issuer: ca.subject(),
                issuer_key_id: ca.key_id(),
                number: list.number(),
                this_update: list.this_update(),
                next_update: list.next_update(),
                entries: u64::try_from(list.len()).unwrap_or(u64::MAX),
                sha256: Digest::from_bytes(kos_base::digest::sha256(&stored.der)),
                url: shared.publication().map(|at| at.crl_url(ca.key_id())),
            });
        }
    }
    Ok(page(lists, None))
}

pub(super) async fn crl(
    State(shared): State<Arc<Shared>>,
    context: Context,
    Path(issuer): Path<String>,
) -> Result<Response, Refusal> {
    let unknown = || {
        Refusal::new(code::config::NOT_FOUND)
            .about("issuer", &super::devices::short(&issuer))
            .under(context.id)
    };
    let key: KeyId = issuer.parse().map_err(|_| unknown())?;
    let list = shared.store.crl(key).await?.ok_or_else(unknown)?;
    Ok(([(header::CONTENT_TYPE, "application/pkix-crl")], list.der).into_response())
}

fn authorities(shared: &Shared) -> [&Certificate; 3] {
    let [one, two] = &shared.keys.issuing_certificates;
    [&shared.keys.root_certificate, one, two]
}
