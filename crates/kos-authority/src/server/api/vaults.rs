//! Vaults: what is asked for is checked here, and done by [`crate::vault`].
//!
//! Whatever carries a passphrase or a secret keeps no answer for an `Idempotency-Key`: with the answer the store would
//! keep a fast hash of the request, by which a passphrase could be guessed. Repeated, such a request is done again, or
//! refused because it was done.

mod access;
mod entries;
mod recovery;

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::header,
    response::{IntoResponse as _, Response},
};
use kos_api::{
    plan::{Change, Plan},
    problem::Party,
    text::SecretText,
    vault::{CreateVault, ImportVault, RotateVault, UnlockVault, Vault, VaultState},
};
use kos_base::{Secret, Timestamp, code};
use kos_identity::registry::Actor;
use kos_vault::{Environment, Passphrase, PrfOutput, VaultError};
use zeroize::Zeroizing;

pub(super) use self::{
    access::{add_authoriser, add_offline, add_passkey, remove_authoriser, remove_offline, remove_passkey},
    entries::{entries, history, hmac, put, read, remove, sign, totp},
    recovery::{abandon, recover, rehearse, share, show as recovery, submit},
};
use super::{
    answer::{Refusal, document, page},
    call::{Call, Context, Mode, RequestId, Who},
    lifecycle::Demanded,
    operators::Nothing,
};
use crate::{
    authority::Shared,
    clock,
    record::LockReason,
    vault::{Deed, ImportedFrom, Opener, VAULTS_MAX, VaultFault},
};

type Shares = State<Arc<Shared>>;

pub(super) async fn list(State(shared): Shares, context: Context) -> Result<Response, Refusal> {
    let now = clock::now();
    let mut shown = Vec::new();
    for anchor in shared.store.anchors(VAULTS_MAX).await? {
        let deed = Deed::own(&shared, anchor.environment.clone(), now);
        shown.push(apart(&anchor.environment, context.id, deed.show()).await?);
    }
    Ok(page(shown, None))
}

pub(super) async fn show(
    State(shared): Shares,
    context: Context,
    Path(typed): Path<String>,
) -> Result<Response, Refusal> {
    let environment = known(&shared, &typed, context.id).await?;
    let deed = Deed::own(&shared, environment.clone(), clock::now());
    Ok(document(apart(&environment, context.id, deed.show()).await?))
}

pub(super) async fn create(
    State(shared): Shares,
    Path(typed): Path<String>,
    call: Call<Demanded<CreateVault>>,
) -> Result<Response, Refusal> {
    let environment = parse(&typed, call.id)?;
    let passphrase = new_passphrase(&call.body.get()?.passphrase).map_err(told(&environment, call.id))?;
    let deed = deed(&shared, &environment, &call);
    if call.mode == Mode::Plan {
        deed.admit_new().await.map_err(told(&environment, call.id))?;
        return Ok(planned(&call, &environment, Vec::new(), &["log: vault_created"]));
    }
    Ok(document(apart(&environment, call.id, deed.create(passphrase)).await?))
}

pub(super) async fn unlock(
    State(shared): Shares,
    Path(typed): Path<String>,
    call: Call<Demanded<UnlockVault>>,
) -> Result<Response, Refusal> {
    let environment = known(&shared, &typed, call.id).await?;
    let wanted = call.body.get()?;
    let opener = match (&wanted.passphrase, &wanted.passkey) {
        (Some(typed), None) => {
            let held = passphrase(typed).map_err(told(&environment, call.id))?;
            Opener::Passphrase(held, wanted.code.clone())
        }
        (None, Some(output)) => Opener::Passkey(prf_output(output, call.id)?, wanted.code.clone()),
        _ => {
            let why = "a vault is opened by a passphrase or by a passkey";
            return Err(Refusal::new(code::config::BAD_REQUEST).saying(why).under(call.id));
        }
    };
    if call.mode == Mode::Plan {
        let change = to_state(&usable(&shared, &environment, call.id).await?, "unlocked");
        return Ok(planned(&call, &environment, change, &["log: vault_unlocked", UNTRIED]));
    }
    let deed = deed(&shared, &environment, &call);
    Ok(document(apart(&environment, call.id, deed.unlock(opener)).await?))
}

pub(super) async fn lock(
    State(shared): Shares,
    Path(typed): Path<String>,
    call: Call<Nothing>,
) -> Result<Response, Refusal> {
    let environment = known(&shared, &typed, call.id).await?;
    if call.mode == Mode::Plan {
        let vault = apart(&environment, call.id, deed(&shared, &environment, &call).show()).await?;
        let change = to_state(&vault, "locked");
        let effects: &[&str] = if change.is_empty() { &[] } else { &["log: vault_locked"] };
        return Ok(planned(&call, &environment, change, effects));
    }
    let deed = deed(&shared, &environment, &call);
    Ok(document(apart(&environment, call.id, deed.lock(LockReason::Asked)).await?))
}

pub(super) async fn rotate(
    State(shared): Shares,
    Path(typed): Path<String>,
    call: Call<Demanded<RotateVault>>,
) -> Result<Response, Refusal> {
    let environment = known(&shared, &typed, call.id).await?;
    let wanted = call.body.get()?;
    let held = passphrase(&wanted.passphrase).map_err(told(&environment, call.id))?;
    let new = wanted.new_passphrase.as_ref().map(new_passphrase).transpose();
    let new = new.map_err(told(&environment, call.id))?;
    if call.mode == Mode::Plan {
        let vault = usable(&shared, &environment, call.id).await?;
        let mut effects = vec!["log: vault_rotated", UNTRIED];
        if vault.sharing.is_some() {
            effects.push("the shares open nothing any more: share it again");
        }
        effects.extend(dropped_passkeys(&vault));
        return Ok(planned(&call, &environment, Vec::new(), &effects));
    }
    let deed = deed(&shared, &environment, &call);
    Ok(document(apart(&environment, call.id, deed.rotate(held, new, wanted.code.clone())).await?))
}

pub(super) async fn export(
    State(shared): Shares,
    context: Context,
    Path(typed): Path<String>,
) -> Result<Response, Refusal> {
    let bytes = at_once(&shared, &typed, (&context.who, context.id), Deed::export).await?;
    let headers = [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, bytes).into_response())
}

pub(super) async fn import(
    State(shared): Shares,
    Path(typed): Path<String>,
    call: Call<Demanded<ImportVault>>,
) -> Result<Response, Refusal> {
    let environment = parse(&typed, call.id)?;
    let wanted = call.body.get()?;
    let held = passphrase(&wanted.passphrase).map_err(told(&environment, call.id))?;
    let bytes = base64(&wanted.file, call.id)?;
    let from = ImportedFrom::parse(&bytes).map_err(told(&environment, call.id))?;
    let deed = deed(&shared, &environment, &call);
    if call.mode == Mode::Plan {
        deed.admit_new().await.map_err(told(&environment, call.id))?;
        deed.admit_import(&from).map_err(told(&environment, call.id))?;
        return Ok(planned(&call, &environment, Vec::new(), &["log: vault_imported", UNTRIED]));
    }
    Ok(document(apart(&environment, call.id, deed.import(from, held)).await?))
}

/// What a plan says where a passphrase would be asked: trying it costs a guess, which a plan does not take.
const UNTRIED: &str = "the passphrase is not tried before it is done";

/// What a plan says of passkeys where the vault gets new keys.
fn dropped_passkeys(vault: &Vault) -> Option<&'static str> {
    let has_some = vault.slots.iter().any(|slot| slot.passkey.is_some());
    has_some.then_some("the passkeys open nothing any more: add them again")
}

/// What is read or used at once, without a plan.
async fn at_once<T: Send + 'static, F>(
    shared: &Arc<Shared>,
    typed: &str,
    (who, id): (&Who, RequestId),
    work: impl FnOnce(Deed) -> F,
) -> Result<T, Refusal>
where
    F: Future<Output = Result<T, VaultFault>> + Send + 'static,
{
    let environment = known(shared, typed, id).await?;
    let deed = Deed::new(shared, environment.clone(), who.actor(), clock::now());
    apart(&environment, id, work(deed)).await
}

/// Does it to its end, even if whoever asked goes away: a file that is half-way to its place must not be overtaken.
async fn apart<T: Send + 'static>(
    environment: &Environment,
    id: RequestId,
    work: impl Future<Output = Result<T, VaultFault>> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::spawn(work).await.unwrap_or_else(|e| Err(VaultFault::Internal(e.to_string())));
    done.map_err(told(environment, id))
}

/// A fault as the caller is told of it.
fn told<E: Into<VaultFault>>(environment: &Environment, id: RequestId) -> impl Fn(E) -> Refusal {
    move |fault| {
        let fault = fault.into();
        let mut refusal = Refusal::new(fault.code()).about("vault", environment).under(id);
        match &fault {
            VaultFault::Attempts => refusal = refusal.with_status(429),
            VaultFault::Store(_) | VaultFault::Entropy(_) | VaultFault::Internal(_) => {
                tracing::error!(%environment, error = %fault, "nothing was done with a vault");
            }
            _ => {}
        }
        if fault.is_for_the_caller() { refusal.saying(&fault.to_string()) } else { refusal }
    }
}

fn deed<T>(shared: &Arc<Shared>, environment: &Environment, call: &Call<T>) -> Deed {
    Deed::new(shared, environment.clone(), actor(call), clock::now())
}

fn actor<T>(call: &Call<T>) -> Actor {
    call.who.actor()
}

/// An environment that may have a vault.
fn parse(typed: &str, id: RequestId) -> Result<Environment, Refusal> {
    typed.parse().map_err(|e: kos_vault::ParseNameError| {
        Refusal::new(code::config::BAD_REQUEST).saying(&e.to_string()).under(id)
    })
}

/// An environment that has one. Asked before anything is made for it in memory.
async fn known(shared: &Shared, typed: &str, id: RequestId) -> Result<Environment, Refusal> {
    let short = kos_base::text::printable(typed, 64);
    let unknown = || Refusal::new(code::vault::VAULT_UNKNOWN).about("vault", &short).under(id);
    let environment: Environment = typed.parse().map_err(|_| unknown())?;
    let anchor = shared.store.anchor(&environment).await.map_err(|e| Refusal::from(e).under(id))?;
    anchor.map(|_| environment).ok_or_else(unknown)
}

/// For a plan: the vault, unless it is refused.
async fn usable(shared: &Arc<Shared>, environment: &Environment, id: RequestId) -> Result<Vault, Refusal> {
    let deed = Deed::own(shared, environment.clone(), clock::now());
    apart(environment, id, deed.show_usable()).await
}

fn to_state(vault: &Vault, to: &str) -> Vec<Change> {
    let from = match vault.state {
        VaultState::Locked => "locked",
        VaultState::Unlocked => "unlocked",
        VaultState::Refused => "refused",
    };
    let change =
        || Change { field: "state".to_owned(), from: Some(from.to_owned()), to: Some(to.to_owned()) };
    if from == to { Vec::new() } else { vec![change()] }
}

fn planned<T>(call: &Call<T>, environment: &Environment, changes: Vec<Change>, effects: &[&str]) -> Response {
    document(Plan {
        action: call.route.name.to_owned(),
        object: Some(Party::new("vault", environment)),
        changes,
        effects: effects.iter().map(|effect| (*effect).to_owned()).collect(),
    })
}

fn passphrase(text: &SecretText) -> Result<Passphrase, VaultError> {
    Passphrase::new(Zeroizing::new(text.expose().to_owned()))
}

/// One that a slot may be written for. Asked here, so that a plan refuses it too.
fn new_passphrase(text: &SecretText) -> Result<Passphrase, VaultError> {
    if text.expose().chars().count() < Passphrase::CHARS_MIN {
        return Err(VaultError::Passphrase);
    }
    passphrase(text)
}

fn base64(text: &SecretText, id: RequestId) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let bytes = kos_base::text::base64(text.expose()).map(Zeroizing::new);
    bytes.ok_or_else(|| Refusal::new(code::config::BAD_REQUEST).saying("this is not base64").under(id))
}

/// What a passkey gave.
fn prf_output(text: &SecretText, id: RequestId) -> Result<PrfOutput, Refusal> {
    let bytes = base64(text, id)?;
    let output = bytes.as_slice().try_into().ok().map(Secret::new).and_then(PrfOutput::new);
    output.ok_or_else(|| {
        Refusal::new(code::config::BAD_REQUEST).saying("what a passkey gives has 32 bytes").under(id)
    })
}

/// When it is, in a plan or an answer.
fn in_future(expires: Option<Timestamp>, id: RequestId) -> Result<(), Refusal> {
    match expires {
        Some(at) if at <= clock::now() => Err(Refusal::new(code::config::BAD_REQUEST)
            .saying("the secret would have expired already")
            .under(id)),
        _ => Ok(()),
    }
}
