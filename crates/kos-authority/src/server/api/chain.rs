//! The identity of a device, from its certificate to the root, with every check that can be made here.
//!
//! The kID is a fresh one, as the device would get it with its next heartbeat; it is worth nothing without the key of
//! the device's certificate.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use data_encoding::BASE64URL_NOPAD;
use kos_api::chain::{
    ChainCheck, ChainCheckName, DeviceIdInputs, IdentityChain, Kid, Revocation, RevocationStatus,
};
use kos_base::{Timestamp, id, key::SignatureForm};
use kos_identity::{
    certificate::Certificate,
    chain::{Anchors, CheckName, Clock, Examination, KidUnderExamination, examine},
    crl::{RevocationView, Status},
    enrolment::authority::kid_grant,
    kid,
    registry::{Credential, Device},
};
use kos_net::entropy;

use super::{
    answer::{Refusal, document},
    authority::certificate,
    call::Context,
    devices::find,
};
use crate::{authority::Shared, clock, store::StoreError};

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    context: Context,
    Path(device): Path<String>,
) -> Result<Response, Refusal> {
    let record = find(&shared, &context, &device).await?;
    let shown = chain(&shared, &record, clock::now()).await.map_err(|refusal| refusal.under(context.id))?;
    Ok(document(shown))
}

async fn chain(shared: &Shared, record: &Device, now: Timestamp) -> Result<IdentityChain, Refusal> {
    let certificates = certificates(shared, record).await?;
    let presented: Vec<Vec<u8>> = certificates.iter().map(|one| one.der().to_vec()).collect();
    let token = match &record.credential {
        Some(credential) if record.is_admitted() => Some(sign(shared, record, credential, now)?),
        _ => None,
    };
    let anchors = Anchors::roots(vec![shared.keys.root_certificate.clone()]);
    let anchors = anchors.map_err(|e| Refusal::new(e.code()))?;
    let view = shared.board.view();
    let signer = shared.keys.kid.public();
    let checks = examine(&Examination {
        clock: Clock::Trusted(now),
        presented: &presented,
        anchors: &anchors,
        revocation: &view,
        device_id_inputs: Some(id::DeviceIdInputs {
            uuid: record.uuid.uuid(),
            macs: &record.macs,
            serials: &record.serials,
            identity_key: record.identity_key.id(),
        }),
        kid: token.as_ref().map(|bytes| KidUnderExamination { bytes, signer }),
    });
    let checks = checks.into_iter().map(|check| ChainCheck {
        name: check_name(check.name),
        ok: check.ok,
        detail: Some(check.detail),
    });
    let checks: Vec<_> = checks.collect();
    Ok(IdentityChain {
        device_id: Some(record.id.clone()),
        valid: checks.iter().all(|check| check.ok),
        certificates: certificates.iter().map(certificate).collect::<Result<_, _>>()?,
        kid: token.and_then(|bytes| shown(shared, &bytes)),
        device_id_inputs: Some(DeviceIdInputs {
            uuid: record.uuid,
            macs: record.macs.clone(),
            serials: record.serials.clone(),
            identity_key_id: record.identity_key.id(),
        }),
        revocation: revocation(&certificates, &view),
        checks,
    })
}

/// The certificate in service or else the one that waits for its confirmation, its issuer, and the root.
async fn certificates(shared: &Shared, record: &Device) -> Result<Vec<Certificate>, StoreError> {
    let Some(credential) = record.credentials().next() else { return Ok(Vec::new()) };
    let missing = || StoreError::Damaged { table: "certificates", row: record.id.to_string() };
    let stored =
        shared.store.certificate(credential.issuer, &credential.serial).await?.ok_or_else(missing)?;
    let own = Certificate::parse(&stored.der).map_err(|_| missing())?;
    let issuer = shared.keys.issuing_certificates.iter().find(|ca| ca.key_id() == credential.issuer);
    let issuer = issuer.ok_or_else(missing)?.clone();
    Ok(vec![own, issuer, shared.keys.root_certificate.clone()])
}

fn sign(
    shared: &Shared,
    record: &Device,
    credential: &Credential,
    now: Timestamp,
) -> Result<Vec<u8>, Refusal> {
    let context = crate::server::front::context(shared);
    let signer = &shared.keys.kid;
    let id = entropy::array().map_err(|e| Refusal::new(e.code()))?;
    let unsigned = kid::build(now, kid_grant(&context, record, credential), id, signer.public());
    let signature = signer.sign(SignatureForm::Fixed, &unsigned.to_be_signed());
    Ok(unsigned.finish(signature.map_err(|e| Refusal::new(e.code()))?))
}

fn shown(shared: &Shared, bytes: &[u8]) -> Option<Kid> {
    let signer = shared.keys.kid.public();
    let claims = kid::open(bytes, signer).ok()?;
    Some(Kid {
        subject: claims.subject,
        issuer: format!("k:{}", shared.name),
        key_id: signer.id(),
        issued_at: claims.issued_at,
        expires_at: claims.expires_at,
        cwt: BASE64URL_NOPAD.encode(bytes),
    })
}

fn revocation(chain: &[Certificate], view: &RevocationView) -> Revocation {
    let unknown =
        Revocation { status: RevocationStatus::Unknown, reason: None, crl_number: None, this_update: None };
    let [device, issuer, ..] = chain else { return unknown };
    let Some(list) = view.list(issuer.key_id()) else { return unknown };
    let (status, reason) = match view.status(device.serial(), issuer.key_id(), device.key_id()) {
        Status::Good => (RevocationStatus::Good, None),
        Status::Revoked { reason } => (RevocationStatus::Revoked, reason),
        Status::Suspended => (RevocationStatus::Suspended, None),
        Status::Unknown => (RevocationStatus::Unknown, None),
    };
    Revocation {
        status,
        reason: reason.map(|reason| reason.as_str().to_owned()),
        crl_number: Some(list.number()),
        this_update: Some(list.this_update()),
    }
}

const fn check_name(name: CheckName) -> ChainCheckName {
    match name {
        CheckName::Chain => ChainCheckName::Chain,
        CheckName::Validity => ChainCheckName::Validity,
        CheckName::Extension => ChainCheckName::Extension,
        CheckName::DeviceId => ChainCheckName::DeviceId,
        CheckName::KidSignature => ChainCheckName::KidSignature,
        CheckName::KidConfirmation => ChainCheckName::KidConfirmation,
        CheckName::Revocation => ChainCheckName::Revocation,
    }
}
