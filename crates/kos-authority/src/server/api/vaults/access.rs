//! What opens a vault, and what it asks for, over the local socket.

use axum::{
    extract::{Path, State},
    response::Response,
};
use kos_api::vault::{AddAuthoriser, AddOfflineKey, AddPasskey, RemoveFromVault, VaultPasskey};
use kos_base::{AgreementKey, code};
use kos_vault::{Passkey, SlotName, Value, VaultError};
use zeroize::Zeroizing;

use super::{Shares, UNTRIED, apart, deed, known, passphrase, planned, prf_output, told, usable};
use crate::{
    server::api::{
        answer::{Refusal, document},
        call::{Call, Mode, RequestId},
        lifecycle::Demanded,
    },
    vault::VaultFault,
};

pub(in crate::server::api) async fn add_offline(
    State(shared): Shares,
    Path((typed, slot)): Path<(String, String)>,
    call: Call<Demanded<AddOfflineKey>>,
) -> Result<Response, Refusal> {
    let environment = known(&shared, &typed, call.id).await?;
    let (slot, wanted) = (slot_of(&slot, call.id)?, call.body.get()?);
    let held = passphrase(&wanted.passphrase).map_err(told(&environment, call.id))?;
    let recipient = recipient(&wanted.recipient, call.id)?;
    if call.mode == Mode::Plan {
        let vault = usable(&shared, &environment, call.id).await?;
        if vault.slots.iter().any(|held| held.name == slot.as_str()) {
            return Err(told(&environment, call.id)(VaultError::SlotExists));
        }
        return Ok(planned(&call, &environment, Vec::new(), &["log: vault_offline_key_added", UNTRIED]));
    }
    let adding = deed(&shared, &environment, &call).add_offline(slot, recipient, held, wanted.code.clone());
    Ok(document(apart(&environment, call.id, adding).await?))
}

pub(in crate::server::api) async fn remove_offline(
    State(shared): Shares,
    Path((typed, slot)): Path<(String, String)>,
    call: Call<Demanded<RemoveFromVault>>,
) -> Result<Response, Refusal> {
    let environment = known(&shared, &typed, call.id).await?;
    let (slot, wanted) = (slot_of(&slot, call.id)?, call.body.get()?);
    let held = passphrase(&wanted.passphrase).map_err(told(&environment, call.id))?;
    if call.mode == Mode::Plan {
        let vault = usable(&shared, &environment, call.id).await?;
        if !vault.slots.iter().any(|held| held.name == slot.as_str() && held.recipient.is_some()) {
            return Err(told(&environment, call.id)(VaultError::SlotUnknown));
        }
        return Ok(planned(&call, &environment, Vec::new(), &["log: vault_offline_key_removed", UNTRIED]));
    }
    let removing = deed(&shared, &environment, &call).remove_offline(slot, held, wanted.code.clone());
    Ok(document(apart(&environment, call.id, removing).await?))
}

pub(in crate::server::api) async fn add_passkey(
    State(shared): Shares,
    Path((typed, slot)): Path<(String, String)>,
    call: Call<Demanded<AddPasskey>>,
) -> Result<Response, Refusal> {
    let environment = known(&shared, &typed, call.id).await?;
    let (slot, wanted) = (slot_of(&slot, call.id)?, call.body.get()?);
    let held = passphrase(&wanted.passphrase).map_err(told(&environment, call.id))?;
    let (passkey, output) = (passkey(&wanted.passkey, call.id)?, prf_output(&wanted.output, call.id)?);
    if call.mode == Mode::Plan {
        let vault = usable(&shared, &environment, call.id).await?;
        if vault.slots.iter().any(|held| held.name == slot.as_str()) {
            return Err(told(&environment, call.id)(VaultError::SlotExists));
        }
        return Ok(planned(&call, &environment, Vec::new(), &["log: vault_passkey_added", UNTRIED]));
    }
    let code = wanted.code.clone();
    let adding = deed(&shared, &environment, &call).add_passkey(slot, (passkey, output), held, code);
    Ok(document(apart(&environment, call.id, adding).await?))
}

pub(in crate::server::api) async fn remove_passkey(
    State(shared): Shares,
    Path((typed, slot)): Path<(String, String)>,
    call: Call<Demanded<RemoveFromVault>>,
) -> Result<Response, Refusal> {
    let environment = known(&shared, &typed, call.id).await?;
    let (slot, wanted) = (slot_of(&slot, call.id)?, call.body.get()?);
    let held = passphrase(&wanted.passphrase).map_err(told(&environment, call.id))?;
    if call.mode == Mode::Plan {
        let vault = usable(&shared, &environment, call.id).await?;
        if !vault.slots.iter().any(|held| held.name == slot.as_str() && held.passkey.is_some()) {
            return Err(told(&environment, call.id)(VaultError::SlotUnknown));
        }
        return Ok(planned(&call, &environment, Vec::new(), &["log: vault_passkey_removed", UNTRIED]));
    }
    let removing = deed(&shared, &environment, &call).remove_passkey(slot, held, wanted.code.clone());
    Ok(document(apart(&environment, call.id, removing).await?))
}

pub(in crate::server::api) async fn add_authoriser(
    State(shared): Shares,
    Path(typed): Path<String>,
    call: Call<Demanded<AddAuthoriser>>,
) -> Result<Response, Refusal> {
    let environment = known(&shared, &typed, call.id).await?;
    let wanted = call.body.get()?;
    let held = passphrase(&wanted.passphrase).map_err(told(&environment, call.id))?;
    let seed = Zeroizing::new(wanted.seed.expose().as_bytes().to_vec());
    let seed = Value::new(seed).map_err(told(&environment, call.id))?;
    let deed = deed(&shared, &environment, &call);
    if call.mode == Mode::Plan {
        deed.admit_authoriser().await.map_err(told(&environment, call.id))?;
        usable(&shared, &environment, call.id).await?;
        return Ok(planned(&call, &environment, Vec::new(), &["log: vault_authoriser_added", UNTRIED]));
    }
    Ok(document(apart(&environment, call.id, deed.add_authoriser(held, seed, wanted.code.clone())).await?))
}

pub(in crate::server::api) async fn remove_authoriser(
    State(shared): Shares,
    Path(typed): Path<String>,
    call: Call<Demanded<RemoveFromVault>>,
) -> Result<Response, Refusal> {
    let environment = known(&shared, &typed, call.id).await?;
    let wanted = call.body.get()?;
    let held = passphrase(&wanted.passphrase).map_err(told(&environment, call.id))?;
    if call.mode == Mode::Plan {
        if usable(&shared, &environment, call.id).await?.authoriser.is_none() {
            return Err(told(&environment, call.id)(VaultFault::AsksNothing));
        }
        return Ok(planned(&call, &environment, Vec::new(), &["log: vault_authoriser_removed", UNTRIED]));
    }
    let removing = deed(&shared, &environment, &call).remove_authoriser(held, wanted.code.clone());
    Ok(document(apart(&environment, call.id, removing).await?))
}

fn slot_of(typed: &str, id: RequestId) -> Result<SlotName, Refusal> {
    typed.parse().map_err(|e: kos_vault::ParseNameError| {
        Refusal::new(code::vault::VAULT_NAME).saying(&e.to_string()).under(id)
    })
}

fn passkey(told: &VaultPasskey, id: RequestId) -> Result<Passkey, Refusal> {
    let base64url = |text: &str| data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).ok();
    let read = || {
        let salt = base64url(&told.prf_salt)?.try_into().ok()?;
        Passkey::new(base64url(&told.credential_id)?, told.relying_party.parse().ok()?, salt)
    };
    read().ok_or_else(|| {
        let why = "a passkey has an id of 16 to 1 023 bytes, a domain and a salt of 32 bytes";
        Refusal::new(code::config::BAD_REQUEST).saying(why).under(id)
    })
}

fn recipient(typed: &str, id: RequestId) -> Result<AgreementKey, Refusal> {
    let bytes = data_encoding::HEXLOWER.decode(typed.as_bytes()).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).map(AgreementKey).ok_or_else(|| {
        Refusal::new(code::config::BAD_REQUEST).saying("a recipient has 64 hex digits").under(id)
    })
}
