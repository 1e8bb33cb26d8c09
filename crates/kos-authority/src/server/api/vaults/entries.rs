//! Secrets over the local socket.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use kos_api::{
    plan::Change,
    vault::{PutVaultEntry, ReadVaultEntry, UseVaultEntry, VaultEntry, VaultVersionQuery},
};
use kos_base::code;
use kos_vault::{EntryName, SecretType, VALUE_BYTES_MAX, Value};
use zeroize::Zeroizing;

use super::{Shares, apart, at_once, base64, deed, in_future, known, planned, told};
use crate::{
    authority::Shared,
    server::api::{
        answer::{Refusal, document, page},
        call::{Asked, Body, Call, Context, Mode, RequestId},
        lifecycle::Demanded,
        operators::Nothing,
    },
    vault::{Deed, is_reserved},
};

pub(in crate::server::api) async fn entries(
    State(shared): Shares,
    context: Context,
    Path(typed): Path<String>,
) -> Result<Response, Refusal> {
    let by = (&context.who, context.id);
    Ok(page(at_once(&shared, &typed, by, Deed::entries).await?, None))
}

pub(in crate::server::api) async fn history(
    State(shared): Shares,
    context: Context,
    Path((typed, name)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let (by, name) = ((&context.who, context.id), named(&name, context.id)?);
    Ok(page(at_once(&shared, &typed, by, |deed| deed.history(name)).await?, None))
}

pub(in crate::server::api) async fn read(
    State(shared): Shares,
    Path((typed, name)): Path<(String, String)>,
    Asked(VaultVersionQuery { version }): Asked<VaultVersionQuery>,
    body: Body<ReadVaultEntry>,
) -> Result<Response, Refusal> {
    let (by, name, code) = (body.by(), named(&name, body.id)?, body.body.code.clone());
    Ok(document(at_once(&shared, &typed, by, |deed| deed.read(name, version, code)).await?))
}

pub(in crate::server::api) async fn sign(
    State(shared): Shares,
    Path((typed, name)): Path<(String, String)>,
    body: Body<Demanded<UseVaultEntry>>,
) -> Result<Response, Refusal> {
    let (by, name, message) = (body.by(), named(&name, body.id)?, message(&body)?);
    Ok(document(at_once(&shared, &typed, by, |deed| deed.sign(name, message)).await?))
}

pub(in crate::server::api) async fn hmac(
    State(shared): Shares,
    Path((typed, name)): Path<(String, String)>,
    body: Body<Demanded<UseVaultEntry>>,
) -> Result<Response, Refusal> {
    let (by, name, message) = (body.by(), named(&name, body.id)?, message(&body)?);
    Ok(document(at_once(&shared, &typed, by, |deed| deed.hmac(name, message)).await?))
}

pub(in crate::server::api) async fn totp(
    State(shared): Shares,
    context: Context,
    Path((typed, name)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let (by, name) = ((&context.who, context.id), named(&name, context.id)?);
    Ok(document(at_once(&shared, &typed, by, |deed| deed.totp(name)).await?))
}

/// What is to be signed or authenticated.
fn message(body: &Body<Demanded<UseVaultEntry>>) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let message = base64(&body.body.get()?.message, body.id)?;
    if message.len() > VALUE_BYTES_MAX {
        let why = "a message has at most 65 536 bytes; sign the hash of a longer one";
        return Err(Refusal::new(code::config::TOO_LARGE).saying(why).under(body.id));
    }
    Ok(message)
}

pub(in crate::server::api) async fn put(
    State(shared): Shares,
    Path((typed, name)): Path<(String, String)>,
    call: Call<Demanded<PutVaultEntry>>,
) -> Result<Response, Refusal> {
    let environment = known(&shared, &typed, call.id).await?;
    let name = named(&name, call.id)?;
    let wanted = call.body.get()?;
    let kind = wanted.kind.as_deref().map(|kind| kind_of(kind, call.id)).transpose()?;
    in_future(wanted.expires_at, call.id)?;
    let value = Value::new(base64(&wanted.value, call.id)?).map_err(told(&environment, call.id))?;
    if call.mode == Mode::Plan {
        let held = held(&shared, &environment, &name, &call).await?;
        let from = held.map(|entry| entry.version.to_string());
        let to = from.as_ref().map_or(1, |from| from.parse().unwrap_or(0) + 1).to_string();
        let changes = vec![Change { field: "version".to_owned(), from, to: Some(to) }];
        return Ok(planned(&call, &environment, changes, &["log: vault_entry_put"]));
    }
    let deed = deed(&shared, &environment, &call);
    Ok(document(apart(&environment, call.id, deed.put(name, kind, value, wanted.expires_at)).await?))
}

pub(in crate::server::api) async fn remove(
    State(shared): Shares,
    Path((typed, name)): Path<(String, String)>,
    call: Call<Nothing>,
) -> Result<Response, Refusal> {
    let environment = known(&shared, &typed, call.id).await?;
    let name = named(&name, call.id)?;
    let entry = deed(&shared, &environment, &call).entry(name.clone());
    let entry = apart(&environment, call.id, entry).await?;
    if call.mode == Mode::Plan {
        let from = Some(entry.version.to_string());
        let changes = vec![Change { field: "version".to_owned(), from, to: None }];
        return Ok(planned(&call, &environment, changes, &["log: vault_entry_removed"]));
    }
    let deed = deed(&shared, &environment, &call);
    apart(&environment, call.id, deed.remove(name)).await?;
    Ok(document(entry))
}

/// What is there of this name.
async fn held<T>(
    shared: &Arc<Shared>,
    environment: &kos_vault::Environment,
    name: &EntryName,
    call: &Call<T>,
) -> Result<Option<VaultEntry>, Refusal> {
    let entries = apart(environment, call.id, deed(shared, environment, call).entries()).await?;
    Ok(entries.into_iter().find(|entry| entry.name == name.as_str()))
}

fn named(typed: &str, id: RequestId) -> Result<EntryName, Refusal> {
    let refused = |why: &str| Refusal::new(code::vault::VAULT_NAME).saying(why).under(id);
    let name: EntryName = typed.parse().map_err(|e: kos_vault::ParseNameError| refused(&e.to_string()))?;
    // What the authority keeps in a vault for itself nobody reads, replaces or takes away.
    if is_reserved(&name) { Err(refused("the authority uses this name itself")) } else { Ok(name) }
}

fn kind_of(typed: &str, id: RequestId) -> Result<SecretType, Refusal> {
    typed.parse().map_err(|_| {
        let why = format!("a secret is of type {}", SecretType::ALL.map(SecretType::as_str).join(", "));
        Refusal::new(code::config::BAD_REQUEST).saying(&why).under(id)
    })
}
