//! The audit log over the API.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use kos_api::{
    List,
    audit::{
        AuditFilter, AuditOrder, AuditVerdict, Checkpoint, LeftOut, LogFailure, LogFailureKind, VerifyLog,
    },
    hex::Digest,
};
use kos_audit::{
    Demand, FailureKind, Given, LeafReading, LogCheck, Policy, SignedCheckpoint, Verdict,
    tree::{Bundle, Tile},
};
use kos_base::{code, text::printable};
use tokio::sync::Semaphore;

use super::{
    answer::{Refusal, document, limit, list as listed},
    authority::assurance,
    call::{Asked, Call, Context},
    entry, search, witnesses,
};
use crate::{
    authority::Shared,
    clock,
    log::prove,
    store::{Archive, EntryQuery, StoreError},
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
    let after = filter.cursor.as_deref().map(str::parse::<u64>).transpose();
    let after = after.map_err(|_| context.bad("the cursor is not one of this list"))?;
    let query = search::query(shared, context, filter).await?;
    let order = search::order(filter);
    let rows = shared.search.find(&shared.store, &query, order, after, wanted + 1).await;
    let mut rows = rows.map_err(|error| Refusal::from(error).under(context.id))?;
    let more = rows.len() > usize::try_from(wanted).unwrap_or(usize::MAX);
    rows.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
    let next = rows.last().filter(|_| more).map(|row| row.position.to_string());
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        items.push(entry::shown_to(&context.who, shared, row).await?);
    }
    let archived = left_out(shared, filter, next.is_some()).await?;
    Ok(listed(&List { items, next, archived }))
}

/// The entries that a list or an export with this filter does not look at; `more` says that it ends before the oldest ones.
pub(super) async fn left_out(
    shared: &Shared,
    filter: &AuditFilter,
    more: bool,
) -> Result<Option<LeftOut>, StoreError> {
    let newest_first = filter.order == Some(AuditOrder::Newest);
    let archive = shared.store.newest_archive().await?.filter(|archive| {
        // Nothing in an archive is younger than the archive.
        filter.since.is_none_or(|since| since <= archive.at) && !(newest_first && more)
    });
    Ok(archive.map(|archive| LeftOut { size: archive.size, folder: archive.folder }))
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
    if let Some(archive) = shared.store.archive_of(position).await? {
        return Err(archived(position, &archive).under(context.id));
    }
    let row = shared.store.entry(position).await?.ok_or_else(unknown)?;
    let mut shown = entry::shown_to(&context.who, &shared, &row).await?;
    shown.merkle_proof = prove(&shared.store, shared.log.key(), &row).await?;
    Ok(document(shown))
}

/// Where an entry is that is not here any more.
pub(super) fn archived(position: u64, archive: &Archive) -> Refusal {
    let why = format!(
        "it is in the archive {folder}, with all up to index {}; a copy of the log that has it: \
         kosctl audit mirror pull --archive {folder} --to COPY",
        archive.size - 1,
        folder = archive.folder,
    );
    Refusal::new(code::audit::ENTRY_ARCHIVED).about("entry", &position).saying(&why)
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
        assurance: Some(assurance(&standing)),
        witnessed_text: witnessed.filter(|_| standing.witnessed.is_some()),
        witnessed: Some(witnesses::standing(&standing, stated.head.size, clock::now())),
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
    let archived = shared.store.archived().await?;
    for bundle in Bundle::all(size) {
        let stored = tile(&shared, &mut check, bundle.tile()).await?;
        if bundle.first_leaf() < archived {
            check.archived(&stored);
            continue;
        }
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
