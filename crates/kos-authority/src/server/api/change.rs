//! Carrying a change out: plan or deed, once per `Idempotency-Key`, again when somebody else was faster.

use std::{future::Future, sync::Arc};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use axum::{http::StatusCode, response::Response};
use kos_api::{Document, envelope::Kind};
use kos_base::{Timestamp, code};
use kos_net::entropy;

use super::{
    answer::{Refusal, json},
    call::{Call, Repeatable},
};
use crate::{
    authority::Shared,
    clock,
    store::{Answer, StoreError},
    writer::{KeptAnswer, Receipt, Transaction},
};

/// How often a change is decided again after somebody else changed the same record. Stops a device that keeps changing its
/// own record, as by spending a ticket, from putting off whoever stops it.
pub(super) const ATTEMPTS_MAX: u32 = 64;

/// The answer that was given to this request before, if it was.
///
/// # Errors
/// When the same key was used for another request.
pub(super) async fn given_before<T>(shared: &Shared, call: &Call<T>) -> Result<Option<Response>, Refusal> {
    let Some(repeatable) = &call.repeatable else { return Ok(None) };
    let Some(kept) = shared.store.answer(&repeatable.request).await? else { return Ok(None) };
    if kept.at.plus(Answer::KEPT) <= clock::now() {
        return Ok(None);
    }
    if kept.digest != repeatable.digest {
        let why = "this Idempotency-Key was used for another request";
        return Err(Refusal::new(code::config::BAD_REQUEST).saying(why).with_status(422).under(call.id));
    }
    let body = repeatable.open(&kept.body).ok_or_else(|| Refusal::new(code::config::INTERNAL))?;
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    Ok(Some(json(status, body)))
}

/// Carries a deed to its end, also when whoever asked goes away or is told that it took too long: what was committed is then
/// followed by what belongs to it.
pub(super) async fn to_the_end(
    deed: impl Future<Output = Result<Response, Refusal>> + Send + 'static,
) -> Result<Response, Refusal> {
    match tokio::spawn(deed).await.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_)) => Err(Refusal::new(code::config::INTERNAL)),
    }
}

/// What became of an attempt to commit.
pub(super) enum Attempt {
    Done(Receipt, Response),
    /// Somebody else changed a record meanwhile.
    Conflict,
}

/// Commits, and keeps the answer in the same transaction when the request may be repeated. `render` makes the item of
/// the answer from the receipt.
pub(super) async fn commit<T, K: Kind>(
    shared: &Shared,
    call: &Call<T>,
    mut transaction: Transaction,
    render: impl Fn(Receipt) -> K + Send + Sync + 'static,
) -> Result<Attempt, Refusal> {
    let render =
        Arc::new(move |receipt| serde_json::to_vec(&Document::new(render(receipt))).unwrap_or_default());
    if let Some(repeatable) = call.repeatable.clone() {
        let (render, at) = (Arc::clone(&render), transaction.at);
        transaction.answer = Some(KeptAnswer::new(move |receipt| {
            let nonce = entropy::array().map_err(|e| StoreError::Failed(e.to_string()))?;
            Ok(repeatable.keep(at, render(receipt), nonce))
        }));
    }
    match shared.writer.commit(transaction).await {
        Ok(receipt) => Ok(Attempt::Done(receipt, json(StatusCode::OK, render(receipt)))),
        Err(StoreError::Conflict { .. }) => Ok(Attempt::Conflict),
        Err(error) => Err(Refusal::from(error).under(call.id)),
    }
}

/// Keeps `item` as the answer in place of the one that was kept with the change, since it tells more.
pub(super) async fn keep_again<T, K: Kind>(
    shared: &Shared,
    call: &Call<T>,
    at: Timestamp,
    item: &Document<K>,
) -> Result<(), Refusal> {
    let Some(repeatable) = &call.repeatable else { return Ok(()) };
    let nonce = entropy::array().map_err(|e| Refusal::new(e.code()))?;
    let body = serde_json::to_vec(item).unwrap_or_default();
    let kept = shared.writer.replace_answer(repeatable.keep(at, body, nonce)).await;
    kept.map_err(|error| Refusal::from(error).under(call.id))
}

impl Repeatable {
    fn keep(&self, at: Timestamp, body: Vec<u8>, nonce: [u8; 12]) -> Answer {
        Answer {
            request: self.request,
            at,
            digest: self.digest,
            status: StatusCode::OK.as_u16(),
            body: self.seal(body, nonce),
        }
    }

    /// AES-256-GCM under a key that only who has the `Idempotency-Key` can make; the nonce comes first.
    fn seal(&self, mut body: Vec<u8>, nonce: [u8; 12]) -> Vec<u8> {
        let Ok(key) = UnboundKey::new(&AES_256_GCM, &self.seal) else { return Vec::new() };
        let unique = Nonce::assume_unique_for_key(nonce);
        let sealed =
            LessSafeKey::new(key).seal_in_place_append_tag(unique, Aad::from(self.request), &mut body);
        if sealed.is_err() {
            return Vec::new();
        }
        [nonce.as_slice(), body.as_slice()].concat()
    }

    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, body) = sealed.split_first_chunk::<12>()?;
        let key = UnboundKey::new(&AES_256_GCM, &self.seal).ok()?;
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = LessSafeKey::new(key).open_in_place(nonce, Aad::from(self.request), &mut body).ok()?;
        Some(opened.to_vec())
    }
}
