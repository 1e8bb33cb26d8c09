//! Shares over the local socket.

use axum::{
    extract::{Path, State},
    response::Response,
};
use kos_api::{
    text::SecretText,
    vault::{RecoverVault, SharePurpose, ShareVault, SubmitShare},
};
use kos_base::{Secret, code, text::is_safe};
use kos_shares::Plan;
use kos_vault::Agreed;
use tokio::sync::oneshot;

use super::{
    Shares, UNTRIED, apart, at_once, base64, deed, dropped_passkeys, known, new_passphrase, passphrase,
    planned, prf_output, told, usable,
};
use crate::{
    server::api::{
        answer::{Refusal, document},
        call::{Call, Context, Mode, RequestId},
        lifecycle::Demanded,
        operators::Nothing,
    },
    vault::Deed,
};

/// Longest name of a holder, in characters; also what a sheet has room for.
const HOLDER_CHARS_MAX: usize = kos_shares::TEXT_CHARS_MAX;

pub(in crate::server::api) async fn share(
    State(shared): Shares,
    Path(typed): Path<String>,
    call: Call<Demanded<ShareVault>>,
) -> Result<Response, Refusal> {
    let environment = known(&shared, &typed, call.id).await?;
    let wanted = call.body.get()?;
    let held = passphrase(&wanted.passphrase).map_err(told(&environment, call.id))?;
    let fits = |name: &String| {
        (1..=HOLDER_CHARS_MAX).contains(&name.chars().count())
            && name.chars().all(is_safe)
            && name.trim() == name
    };
    if !wanted.holders.iter().all(fits) {
        let why = "a holder has a name of 1 to 64 visible characters";
        return Err(Refusal::new(code::config::BAD_REQUEST).saying(why).under(call.id));
    }
    // Somebody with two shares is one hand less than the plan says.
    if (1..)
        .zip(&wanted.holders)
        .any(|(next, holder)| wanted.holders.iter().skip(next).any(|other| other == holder))
    {
        let why = "a holder stands there twice";
        return Err(Refusal::new(code::config::BAD_REQUEST).saying(why).under(call.id));
    }
    let total = u8::try_from(wanted.holders.len()).unwrap_or(u8::MAX);
    let plan = Plan::new(wanted.threshold, total).map_err(told(&environment, call.id))?;
    if call.mode == Mode::Plan {
        let vault = usable(&shared, &environment, call.id).await?;
        let mut effects = vec!["log: vault_shared", UNTRIED];
        if vault.sharing.is_some() {
            effects.push("the shares before open nothing any more");
        }
        effects.extend(dropped_passkeys(&vault));
        return Ok(planned(&call, &environment, Vec::new(), &effects));
    }
    let deed = deed(&shared, &environment, &call);
    let (_here, asker) = oneshot::channel();
    let sharing = deed.share((held, wanted.code.clone()), plan, wanted.holders.clone(), asker);
    Ok(document(apart(&environment, call.id, sharing).await?))
}

pub(in crate::server::api) async fn submit(
    State(shared): Shares,
    Path(typed): Path<String>,
    call: Call<Demanded<SubmitShare>>,
) -> Result<Response, Refusal> {
    let environment = known(&shared, &typed, call.id).await?;
    let SubmitShare { words, purpose } = call.body.get()?.clone();
    let deed = deed(&shared, &environment, &call);
    if call.mode == Mode::Plan {
        deed.admit_share().await.map_err(told(&environment, call.id))?;
        return Ok(planned(&call, &environment, Vec::new(), &["log: vault_share_submitted"]));
    }
    Ok(document(
        apart(&environment, call.id, async move { deed.submit(words.expose(), purpose).await }).await?,
    ))
}

pub(in crate::server::api) async fn recover(
    State(shared): Shares,
    Path(typed): Path<String>,
    call: Call<Demanded<RecoverVault>>,
) -> Result<Response, Refusal> {
    let environment = known(&shared, &typed, call.id).await?;
    let wanted = call.body.get()?;
    let new = new_passphrase(&wanted.new_passphrase).map_err(told(&environment, call.id))?;
    let deed = deed(&shared, &environment, &call);
    if let (Some(output), None) = (&wanted.passkey, &wanted.agreed) {
        let output = prf_output(output, call.id)?;
        if call.mode == Mode::Plan {
            usable(&shared, &environment, call.id).await?;
            let effects = ["log: vault_recovered", "the passkey is not tried before it is done"];
            return Ok(planned(&call, &environment, Vec::new(), &effects));
        }
        let recovering = deed.recover_by_passkey(output, wanted.code.clone(), new);
        return Ok(document(apart(&environment, call.id, recovering).await?));
    }
    if let (Some(_), Some(_)) = (&wanted.passkey, &wanted.agreed) {
        let why = "a vault is recovered by one thing at a time";
        return Err(Refusal::new(code::config::BAD_REQUEST).saying(why).under(call.id));
    }
    if let Some(agreed) = &wanted.agreed {
        let agreed = agreed_secret(agreed, call.id)?;
        if call.mode == Mode::Plan {
            usable(&shared, &environment, call.id).await?;
            let effects = ["log: vault_recovered", "the key is not tried before it is done"];
            return Ok(planned(&call, &environment, Vec::new(), &effects));
        }
        let recovering = deed.recover_offline(agreed, wanted.code.clone(), new);
        return Ok(document(apart(&environment, call.id, recovering).await?));
    }
    if call.mode == Mode::Plan {
        deed.admit_recovery(SharePurpose::Recovery).await.map_err(told(&environment, call.id))?;
        let effects = ["log: vault_recovered", "the shares open nothing any more: share it again"];
        return Ok(planned(&call, &environment, Vec::new(), &effects));
    }
    Ok(document(apart(&environment, call.id, deed.recover(new)).await?))
}

fn agreed_secret(text: &SecretText, id: RequestId) -> Result<Agreed, Refusal> {
    let bytes = base64(text, id)?;
    let secret = bytes.as_slice().try_into().ok().map(Secret::new).and_then(Agreed::new);
    secret.ok_or_else(|| {
        Refusal::new(code::config::BAD_REQUEST).saying("what was agreed on has 32 bytes").under(id)
    })
}

pub(in crate::server::api) async fn show(
    State(shared): Shares,
    context: Context,
    Path(typed): Path<String>,
) -> Result<Response, Refusal> {
    let by = (&context.who, context.id);
    Ok(document(at_once(&shared, &typed, by, Deed::recovery).await?))
}

pub(in crate::server::api) async fn rehearse(
    State(shared): Shares,
    Path(typed): Path<String>,
    call: Call<Nothing>,
) -> Result<Response, Refusal> {
    let environment = known(&shared, &typed, call.id).await?;
    let deed = deed(&shared, &environment, &call);
    if call.mode == Mode::Plan {
        deed.admit_recovery(SharePurpose::Rehearsal).await.map_err(told(&environment, call.id))?;
        return Ok(planned(&call, &environment, Vec::new(), &["log: vault_rehearsed"]));
    }
    Ok(document(apart(&environment, call.id, deed.rehearse()).await?))
}

pub(in crate::server::api) async fn abandon(
    State(shared): Shares,
    Path(typed): Path<String>,
    call: Call<Nothing>,
) -> Result<Response, Refusal> {
    let environment = known(&shared, &typed, call.id).await?;
    let deed = deed(&shared, &environment, &call);
    if call.mode == Mode::Plan {
        let begun = deed.has_recovery().await;
        let effects: &[&str] = if begun { &["log: vault_recovery_abandoned"] } else { &[] };
        return Ok(planned(&call, &environment, Vec::new(), effects));
    }
    Ok(document(apart(&environment, call.id, deed.abandon()).await?))
}
