//! Secrets over the local socket.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use kos_api::{
    plan::Change,
    vault::{PutVaultEntry, VaultEntry, VaultVersionQuery},
};
use kos_vault::{EntryName, Value};

use super::{Shares, apart, base64, deed, in_future, known, planned, told};
use crate::{
    authority::Shared,
    clock,
    server::api::{
        answer::{Refusal, document, page},
        call::{Asked, Call, Context, Mode, RequestId},
        lifecycle::Demanded,
        operators::Nothing,
    },
    vault::Deed,
};

pub(in crate::server::api) async fn entries(
    State(shared): Shares,
    context: Context,
    Path(typed): Path<String>,
) -> Result<Response, Refusal> {
    let environment = known(&shared, &typed, context.id).await?;
    let deed = Deed::new(&shared, environment.clone(), context.who.actor(), clock::now());
    Ok(page(apart(&environment, context.id, deed.entries()).await?, None))
}

pub(in crate::server::api) async fn history(
    State(shared): Shares,
    context: Context,
    Path((typed, name)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let environment = known(&shared, &typed, context.id).await?;
    let name = named(&name, context.id)?;
    let deed = Deed::new(&shared, environment.clone(), context.who.actor(), clock::now());
    Ok(page(apart(&environment, context.id, deed.history(name)).await?, None))
}

pub(in crate::server::api) async fn read(
    State(shared): Shares,
    context: Context,
    Path((typed, name)): Path<(String, String)>,
    Asked(VaultVersionQuery { version }): Asked<VaultVersionQuery>,
) -> Result<Response, Refusal> {
    let environment = known(&shared, &typed, context.id).await?;
    let name = named(&name, context.id)?;
    let deed = Deed::new(&shared, environment.clone(), context.who.actor(), clock::now());
    Ok(document(apart(&environment, context.id, deed.read(name, version)).await?))
}

pub(in crate::server::api) async fn put(
    State(shared): Shares,
    Path((typed, name)): Path<(String, String)>,
    call: Call<Demanded<PutVaultEntry>>,
) -> Result<Response, Refusal> {
    let environment = known(&shared, &typed, call.id).await?;
    let name = named(&name, call.id)?;
    let wanted = call.body.get()?;
    let kind = wanted.kind.as_deref().map(str::parse).transpose();
    let kind = kind.map_err(told(&environment, call.id))?;
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
    typed.parse().map_err(|e: kos_vault::ParseNameError| {
        Refusal::new(kos_base::code::vault::VAULT_NAME).saying(&e.to_string()).under(id)
    })
}
