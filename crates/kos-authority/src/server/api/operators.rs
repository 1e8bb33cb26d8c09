//! People and programs that may use the API over the network: let in, listed, taken back.
//!
//! A request contributes its public key and the proof that somebody holds it. Everything else is decided here.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use kos_api::{
    hex::Serial as SerialText,
    operator::{CreateOperator, Operator, OperatorState},
    plan::Plan,
    problem::Party,
};
use kos_base::{EntryId, Timestamp, code, key::SignatureForm};
use kos_identity::{
    certificate::{self, Certificate, IssuerClass, IssuerContext, OperatorGrant, Serial, Unsigned, Warrant},
    csr::{Request, VerifiedRequest},
};
use kos_net::entropy;
use kos_policy::pairing::Partner;
use rustls_pki_types::{CertificateSigningRequestDer, pem::PemObject as _};

use super::{
    answer::{Refusal, document, page},
    call::{Call, Mode},
    change::{ATTEMPTS_MAX, Attempt, commit, given_before},
    devices::short,
    lifecycle::Demanded,
};
use crate::{
    authority::Shared,
    bonds, clock,
    erasure::{guardians_of, removal},
    record::SystemChange,
    store::{Operator as Record, StoreError},
    writer::{SystemWrite, Transaction},
};

/// Operators that a list holds; an authority has a few.
const LISTED_MAX: u32 = 1_000;

pub(super) async fn create(
    State(shared): State<Arc<Shared>>,
    call: Call<Demanded<CreateOperator>>,
) -> Result<Response, Refusal> {
    let wanted = call.body.get()?;
    let request = read_request(&wanted.csr).map_err(|refusal| refusal.under(call.id))?;
    let key = request.public_key().id();
    let conflict = |why| {
        let refusal = Refusal::new(code::lists::OPERATOR_EXISTS).saying(why);
        Err(refusal.about("operator", &wanted.name).under(call.id))
    };
    for _ in 0..ATTEMPTS_MAX {
        if let Some(response) = given_before(&shared, &call).await? {
            return Ok(response);
        }
        if shared.store.active_operator(wanted.name.as_ref()).await?.is_some() {
            return conflict("there is an operator of this name");
        }
        if shared.store.operator_by_key(key).await?.is_some() {
            return conflict("this key belongs to an operator already");
        }
        let now = clock::now();
        let unsigned = unsigned(&shared, wanted, &request, now).map_err(|refusal| refusal.under(call.id))?;
        if call.mode == Mode::Plan {
            let object = Some(Party::new("operator", &wanted.name));
            return Ok(document(plan(&call, object, "log: operator_added")));
        }
        let issued = sign(&shared, unsigned).map_err(|refusal| refusal.under(call.id))?;
        let record = Record {
            id: EntryId::from_parts(now, entropy::array().map_err(|e| Refusal::new(e.code()))?),
            version: 1,
            name: wanted.name.as_ref().parse().map_err(|_| Refusal::new(code::config::BAD_REQUEST))?,
            role: wanted.role,
            key,
            issuer: shared.keys.issuing_certificate(IssuerClass::Two).key_id(),
            serial: issued.serial().to_bytes().to_vec(),
            not_after: issued.not_after(),
            created_at: now,
            removed: false,
        };
        let mut shown = view(&record, now)?;
        let issuer = shared.keys.issuing_certificate(IssuerClass::Two);
        shown.certificates = Some(format!("{}{}", issued.pem(), issuer.pem()));
        shown.root = Some(shared.keys.root_certificate.pem());
        let change = SystemChange::OperatorAdded {
            operator: record.id,
            name: record.name.clone(),
            role: record.role,
            key: record.key,
        };
        let transaction = Transaction {
            at: now,
            actor: call.who.actor(),
            changes: vec![change.into()],
            writes: Vec::new(),
            system: vec![SystemWrite::Operator(Box::new(record))],
            answer: None,
        };
        match commit(&shared, &call, transaction, move |_| shown.clone()).await? {
            Attempt::Done(_, response) => return Ok(response),
            Attempt::Conflict => {}
        }
    }
    conflict("this key belongs to an operator already")
}

pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Result<Response, Refusal> {
    let now = clock::now();
    let records = shared.store.operators(None, LISTED_MAX).await?;
    Ok(page(records.iter().map(|record| view(record, now)).collect::<Result<_, _>>()?, None))
}

pub(super) async fn remove(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    call: Call<Nothing>,
) -> Result<Response, Refusal> {
    for _ in 0..ATTEMPTS_MAX {
        if let Some(response) = given_before(&shared, &call).await? {
            return Ok(response);
        }
        let unknown =
            || Refusal::new(code::config::NOT_FOUND).about("operator", &short(&name)).under(call.id);
        let held = shared.store.active_operator(&name).await?.ok_or_else(unknown)?;
        // Who has no rights any more looks at no alerts either.
        let guardians = guardians_of(&shared.store, &held.name).await?;
        if call.mode == Mode::Plan {
            let object = Some(Party::new("operator", &held.name));
            let mut plan = plan(&call, object, "log: operator_removed");
            plan.effects
                .extend(guardians.iter().map(|guardian| format!("log: guardian_removed, {}", guardian.name)));
            return Ok(document(plan));
        }
        let now = clock::now();
        let partner = Partner::User(held.id);
        let (record, mut changes, mut system) = removal(held, guardians, now);
        let (ended, gone) = bonds::end_of_partner(&shared.store, &partner, now).await?;
        changes.extend(ended);
        system.extend(gone);
        let shown = view(&record, now)?;
        let transaction = Transaction {
            at: now,
            actor: call.who.actor(),
            changes,
            writes: Vec::new(),
            system,
            answer: None,
        };
        match commit(&shared, &call, transaction, move |_| shown.clone()).await? {
            Attempt::Done(_, response) => {
                shared.alerts.tell();
                return Ok(response);
            }
            Attempt::Conflict => {}
        }
    }
    Err(Refusal::new(code::store::STORE_CONFLICT).about("operator", &short(&name)).under(call.id))
}

/// A body that has nothing in it.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

fn plan<T>(call: &Call<T>, object: Option<Party>, effect: &str) -> Plan {
    let effects = vec![effect.to_owned()];
    Plan { action: call.route.name.to_owned(), object, changes: Vec::new(), effects }
}

fn read_request(pem: &str) -> Result<VerifiedRequest, Refusal> {
    let bad = |why: &str| Refusal::new(code::enrolment::CSR_INVALID).saying(why);
    let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes());
    let der = der.map_err(|_| bad("not the PEM of a certificate request"))?;
    Request::parse(&der, Request::BYTES_MAX).map_err(|e| bad(&e.to_string()))
}

/// What the certificate is to say.
fn unsigned(
    shared: &Shared,
    wanted: &CreateOperator,
    request: &VerifiedRequest,
    now: Timestamp,
) -> Result<Unsigned, Refusal> {
    let issuer = shared.keys.issuing_certificate(IssuerClass::Two);
    let publication = shared.publication();
    let context = IssuerContext { issuer, publication: publication.as_ref(), now };
    let bad = |e: &dyn std::fmt::Display| Refusal::new(code::config::BAD_REQUEST).saying(&e.to_string());
    let name = wanted.name.as_ref().parse().map_err(|e| bad(&e))?;
    let grant = OperatorGrant { name, key: request.public_key().clone() };
    let serial = Serial::from_random(entropy::array().map_err(|e| Refusal::new(e.code()))?);
    let unsigned = certificate::issue(Warrant::Operator(grant), serial, &context);
    unsigned.map_err(|e| Refusal::new(e.code()).saying(&e.to_string()))
}

fn sign(shared: &Shared, unsigned: Unsigned) -> Result<Certificate, Refusal> {
    let signer = shared.keys.issuing(IssuerClass::Two);
    let signature = signer.sign(SignatureForm::Der, unsigned.to_be_signed());
    let signature = signature.map_err(|e| Refusal::new(e.code()))?;
    unsigned.finish(&signature).map_err(|e| Refusal::new(e.code()))
}

pub(super) fn view(record: &Record, now: Timestamp) -> Result<Operator, StoreError> {
    let unsound = || StoreError::Damaged { table: "operators", row: record.id.to_string() };
    Ok(Operator {
        name: record.name.as_ref().parse().map_err(|_| unsound())?,
        role: record.role,
        key_id: record.key,
        cert_serial: SerialText::from_bytes(&record.serial).ok_or_else(unsound)?,
        cert_not_after: record.not_after,
        created_at: record.created_at,
        state: if record.removed {
            OperatorState::Removed
        } else if record.not_after <= now {
            OperatorState::Expired
        } else {
            OperatorState::Active
        },
        certificates: None,
        root: None,
    })
}
