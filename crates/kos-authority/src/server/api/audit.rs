//! The audit log over the API.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use kos_api::{
    audit::{AuditFilter, AuditVerdict, Checkpoint, LogFailure, LogFailureKind, VerifyLog},
    hex::Digest,
};
use kos_audit::{
    Demand, EventType, FailureKind, Given, LeafReading, LogCheck, Policy, SignedCheckpoint, Verdict,
    tree::{Bundle, Tile},
};
use kos_base::{code, text::printable};
use tokio::sync::Semaphore;

use super::{
    answer::{Refusal, document, limit, page},
    authority::assurance,
    call::{Asked, Call, Context},
    entry, witnesses,
};
use crate::{
    authority::Shared,
    clock,
    log::prove,
    store::{EntryQuery, StoreError},
    witness::{self, Standing},
};

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    context: Context,
    Asked(filter): Asked<AuditFilter>,
) -> Result<Response, Refusal> {
    entries(&shared, &context, &filter).await
}

/// A page of entries. People are found by the id under which the log speaks of them.
pub(super) async fn entries(
    shared: &Shared,
    context: &Context,
    filter: &AuditFilter,
) -> Result<Response, Refusal> {
    let wanted = limit(filter.limit)?;
    let event = filter.event_type.as_deref().map(str::parse::<EventType>).transpose();
    let from = filter.cursor.as_deref().map(str::parse).transpose();
    let query = EntryQuery {
        event: event.map_err(|error| context.bad(&error.to_string()))?,
        actor: column_value(shared, filter.actor.as_deref()).await?,
        target: column_value(shared, filter.target.as_deref()).await?,
        since: filter.since,
        until: filter.until,
        from: from.map_err(|_| context.bad("the cursor is not one of this list"))?.unwrap_or(0),
    };
    let rows = shared.store.entries(&query, wanted + 1).await?;
    let next = rows.get(usize::try_from(wanted).unwrap_or(usize::MAX)).map(|row| row.position.to_string());
    let mut items = Vec::with_capacity(rows.len());
    for row in rows.iter().take(usize::try_from(wanted).unwrap_or(usize::MAX)) {
        items.push(entry::shown(shared, row).await?);
    }
    Ok(page(items, next))
}

/// What the columns hold for what somebody asked for: a person's subject, or the id itself.
async fn column_value(shared: &Shared, asked: Option<&str>) -> Result<Option<String>, StoreError> {
    let Some(asked) = asked else { return Ok(None) };
    for kind in ["operator", "local-user", "address"] {
        if let Some(subject) = shared.store.subject_of(&format!("{kind} {asked}")).await? {
            return Ok(Some(subject.id));
        }
    }
    Ok(Some(asked.to_owned()))
}

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    context: Context,
    Path(index): Path<String>,
) -> Result<Response, Refusal> {
    let unknown = || {
        Refusal::new(code::audit::LOG_NO_SUCH_ENTRY).about("entry", &printable(&index, 40)).under(context.id)
    };
    let position = index.parse().map_err(|_| unknown())?;
    let row = shared.store.entry(position).await?.ok_or_else(unknown)?;
    let mut shown = entry::shown(&shared, &row).await?;
    shown.merkle_proof = prove(&shared.store, shared.log.key(), &row).await?;
    Ok(document(shown))
}

pub(super) async fn checkpoint(State(shared): State<Arc<Shared>>) -> Result<Response, Refusal> {
    let state = shared.store.log_state().await?;
    let text = state.map(|state| state.checkpoint).unwrap_or_default();
    let unsound = |why: String| Refusal::from(StoreError::LogDiffers(why));
    let signed = SignedCheckpoint::parse(&text).map_err(|e| unsound(e.to_string()))?;
    let verified = signed.verify(shared.log.key(), &[]).map_err(|e| unsound(e.to_string()))?;
    let stated = verified.checkpoint();
    let standing = Standing::of(&shared.store, &shared.log).await?;
    let cosigned = shared.store.cosigned_state().await?.map(|state| state.checkpoint);
    let witnessed = shared.store.witnessed_state().await?.map(|state| state.checkpoint);
    // The same checkpoint, with the lines of those who cosigned it.
    let shown = cosigned.filter(|cosigned| cosigned.starts_with(&text)).unwrap_or_else(|| text.clone());
    Ok(document(Checkpoint {
        origin: stated.origin.to_string(),
        size: stated.head.size,
        root_hash: Digest::from_bytes(*stated.head.root.as_bytes()),
        timestamp: stated.time,
        text: shown,
        verifier_key: shared.log.key().to_string(),
        assurance: assurance(&standing),
        witnessed_text: witnessed.filter(|_| standing.witnessed.is_some()),
        witnessed: witnesses::standing(&standing, stated.head.size, clock::now()),
    }))
}

/// Verifications at a time: each reads the whole log, and asking costs nothing.
static VERIFYING: Semaphore = Semaphore::const_new(1);

/// Verifies every entry of the store, each against its signature, its place and the tree.
pub(super) async fn verify(
    State(shared): State<Arc<Shared>>,
    call: Call<VerifyLog>,
) -> Result<Response, Refusal> {
    // The semaphore is never closed.
    let _turn = VERIFYING.acquire().await;
    // Read first, so that it is not of a larger log than the newest.
    let cosigned = shared.store.witnessed_state().await?.map(|state| state.checkpoint);
    let policy = witness::policy(&shared.store).await?.unwrap_or(Policy::none());
    let state = shared.store.log_state().await?;
    let text = state.map(|state| state.checkpoint).unwrap_or_default();
    let key = shared.log.key();
    let given = Given {
        checkpoint: &text,
        held: call.body.against.as_deref(),
        cosigned: cosigned.as_deref(),
        demand: Demand::None,
    };
    let mut check = LogCheck::by(key, policy, given);
    let size = check.size();
    for bundle in Bundle::all(size) {
        let stored = tile(&shared, &mut check, bundle.tile()).await?;
        let query = EntryQuery { from: bundle.first_leaf(), ..EntryQuery::default() };
        let rows = shared.store.entries(&query, u32::from(bundle.tile().width())).await?;
        let key = key.clone();
        // Hundreds of signatures, which would keep others waiting.
        let checking = tokio::task::spawn_blocking(move || {
            for (row, hash) in rows.iter().zip(stored) {
                check.leaf(LeafReading::of(&row.leaf, &key), Some(hash));
            }
            check
        });
        check = checking.await.map_err(|e| StoreError::Failed(e.to_string()))?;
    }
    for upper in Tile::all(size).filter(|tile| tile.level() > 0) {
        tile(&shared, &mut check, upper).await?;
    }
    Ok(document(shown_verdict(&check.finish())))
}

/// A verdict as the API has it.
pub(super) fn shown_verdict(verdict: &Verdict) -> AuditVerdict {
    let failures = verdict.failures.iter().map(|failure| LogFailure {
        index: failure.index,
        kind: kind(failure.kind),
        detail: failure.detail.clone(),
    });
    AuditVerdict {
        ok: verdict.is_ok(),
        origin: Some(verdict.origin.to_string()),
        size: verdict.head.size,
        root_hash: Some(Digest::from_bytes(*verdict.head.root.as_bytes())),
        checkpoint_time: verdict.checkpoint_time,
        entries_checked: verdict.entries_checked,
        signatures_checked: verdict.signatures_checked,
        assurance: match verdict.assurance {
            kos_audit::Assurance::LocalIntegrity => kos_api::audit::Assurance::LocalIntegrity,
            kos_audit::Assurance::HeldCheckpoint => kos_api::audit::Assurance::HeldCheckpoint,
            kos_audit::Assurance::Witnessed => kos_api::audit::Assurance::Witnessed,
        },
        witnessed_size: verdict.witnessed_size,
        witnessed_by: verdict.witnessed_by.clone(),
        failures: failures.collect(),
        failures_found: verdict.failures_found,
        not_checked: verdict.not_checked.iter().map(ToString::to_string).collect(),
    }
}

async fn tile(
    shared: &Shared,
    check: &mut LogCheck,
    tile: Tile,
) -> Result<Vec<kos_audit::TreeHash>, StoreError> {
    let mut held = shared.store.tile(tile.level(), tile.index()).await?.map(|tile| tile.hashes);
    if let Some(hashes) = &mut held {
        // The log may have grown since the checkpoint was read.
        hashes.truncate(usize::from(tile.width()) * kos_audit::tree::HASH_BYTES);
    }
    Ok(check.tile(tile, held.as_deref()))
}

const fn kind(kind: FailureKind) -> LogFailureKind {
    match kind {
        FailureKind::Edited => LogFailureKind::Edited,
        FailureKind::Deleted => LogFailureKind::Deleted,
        FailureKind::Reordered => LogFailureKind::Reordered,
        FailureKind::Truncated => LogFailureKind::Truncated,
        FailureKind::Forked => LogFailureKind::Forked,
        FailureKind::Rewound => LogFailureKind::Rewound,
        FailureKind::Torn => LogFailureKind::Torn,
        FailureKind::BadSignature => LogFailureKind::BadSignature,
        FailureKind::Unwitnessed => LogFailureKind::Unwitnessed,
    }
}
