//! Retention: the oldest entries go into an archive, and their hashes stay.
//!
//! Invariants: an entry leaves the store only after the archive holds it durably and an entry of the log says so. A kill at any
//! point leaves it in one of the two, or in both.
//!
//! Source: `docs/spec/audit.md`, AUD-85 to AUD-87.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{extract::State, response::Response};
use kos_api::{
    audit::{ArchiveLog, Archived},
    hex::Digest,
    plan::Plan,
};
use kos_audit::tree::TILE_WIDTH;
use kos_base::{
    code,
    text::{printable, reason},
};
use tokio::sync::Semaphore;

use super::{
    answer::{Refusal, document},
    call::{Call, Mode, RequestId},
    lifecycle::Demanded,
};
use crate::{
    authority::Shared,
    clock,
    log::{ArchiveError, archive},
    mirror::Target,
    outside,
    record::SystemChange,
    store::Archive,
    writer::{SystemWrite, Transaction},
};

/// Entries that are never archived: a start compares that many with the tree.
const KEPT: u64 = 256;
/// Longest path of an archive, in bytes: it goes into the log.
const FOLDER_BYTES_MAX: usize = 1_024;
/// One at a time: it reads much of the store.
static ARCHIVING: Semaphore = Semaphore::const_new(1);

pub(super) async fn archive_log(
    State(shared): State<Arc<Shared>>,
    call: Call<Demanded<ArchiveLog>>,
) -> Result<Response, Refusal> {
    let id = call.id;
    // Carried to its end even when the caller goes away.
    let archiving = tokio::spawn(carry_out(shared, call));
    archiving.await.map_err(|_| Refusal::new(code::config::INTERNAL).under(id))?.map_err(|r| r.under(id))
}

async fn carry_out(shared: Arc<Shared>, call: Call<Demanded<ArchiveLog>>) -> Result<Response, Refusal> {
    let Ok(_turn) = ARCHIVING.try_acquire() else {
        return Err(Refusal::new(code::config::OVERLOADED).saying("another archive is being written"));
    };
    let wanted = call.body.get()?;
    let folder = folder(&shared, &wanted.folder).await?;
    let first = shared.store.archived().await?;
    let size = limit(&shared, wanted, first).await?;
    if size <= first {
        let why = format!("{first} entries are archived, and no whole row of 256 more is old enough");
        return Err(Refusal::new(code::audit::NOTHING_TO_ARCHIVE).saying(&why));
    }
    if call.mode == Mode::Plan {
        let effects = vec![
            format!("the entries of index {first} to {} go into {folder}", size - 1),
            "log: log_archived".to_owned(),
            "their hashes stay, so that every proof still holds".to_owned(),
        ];
        let action = call.route.name.to_owned();
        return Ok(document(Plan { action, object: None, changes: Vec::new(), effects }));
    }
    let places = (Path::new(&folder), shared.log_files.folder());
    let written = archive::write(&shared.store, places, first, size).await;
    let written = written.map_err(|error| refusal(&error, call.id))?;
    // What was not there before is now, and is to be elsewhere as well.
    self::folder(&shared, &folder).await?;
    let at = clock::now();
    let archive = Archive {
        first,
        size,
        folder: folder.clone(),
        root: *written.root.as_bytes(),
        digest: written.digest,
        at,
    };
    let change = SystemChange::LogArchived {
        first,
        size,
        folder: folder.clone(),
        root: written.root.to_string(),
        digest: data_encoding::HEXLOWER.encode(&written.digest),
    };
    let system = vec![SystemWrite::Archive(Box::new(archive))];
    let transaction =
        Transaction { actor: call.who.actor(), ..Transaction::own(at, vec![change.into()], system) };
    let receipt = shared.writer.commit(transaction).await?;
    // From here on a kill leaves what the next start clears away.
    while shared.writer.sweep().await? {}
    shared.log_files.drop_archived(&shared.store).await?;
    Ok(document(Archived {
        first,
        size,
        folder,
        root_hash: Digest::from_bytes(*written.root.as_bytes()),
        sha256: Digest::from_bytes(written.digest),
        archived_at: at,
        audit_index: receipt.first,
    }))
}

/// Where the archive really is: apart from the authority's own folder and from the copies that it writes, by whatever links and
/// mounts each is reached. What is taken out of the log afterwards must not be what was looked at here.
async fn folder(shared: &Shared, wanted: &str) -> Result<String, Refusal> {
    let bad = |why: &str| Refusal::new(code::config::BAD_REQUEST).saying(why);
    let path = Path::new(wanted);
    if !path.is_absolute() || wanted.len() > FOLDER_BYTES_MAX || printable(wanted, wanted.len()) != wanted {
        return Err(bad("the folder is an absolute path of at most 1024 visible characters"));
    }
    if path.components().any(|part| part == std::path::Component::ParentDir) {
        return Err(bad("the folder has no `..` in it"));
    }
    let mirrors = shared.store.mirrors().await?.into_iter().filter_map(|mirror| match mirror.target {
        Target::Folder { path } => Some(PathBuf::from(path)),
        Target::Web { .. } => None,
    });
    let (path, home, mirrors) = (path.to_owned(), shared.home.folder().to_owned(), mirrors.collect());
    let looked = tokio::task::spawn_blocking(move || elsewhere(&path, &home, mirrors)).await;
    let whole = looked.map_err(|_| Refusal::new(code::config::INTERNAL))?.map_err(|why| bad(&why))?;
    let shown = whole.to_str().filter(|shown| printable(shown, FOLDER_BYTES_MAX) == **shown);
    shown.map(str::to_owned).ok_or_else(|| bad("the folder really is at a path that cannot be shown"))
}

fn elsewhere(path: &Path, home: &Path, mirrors: Vec<PathBuf>) -> Result<PathBuf, String> {
    let seen = |path: &Path| outside::resolved(path).map_err(|error| reason(&error).to_owned());
    let (whole, home) = (seen(path)?, seen(home)?);
    if outside::touches(&whole, &home) {
        return Err("the archive is not put into the folder of the authority, nor around it".to_owned());
    }
    for mirror in mirrors {
        // One whose disk is away is judged by its name.
        let mirror = outside::resolved(&mirror).unwrap_or(mirror);
        if outside::touches(&whole, &mirror) {
            return Err("a copy of the log is written there, see `kosctl audit mirror list`".to_owned());
        }
    }
    Ok(whole)
}

/// Up to where entries go: whole rows of 256, all older than the limit, and never the last ones.
async fn limit(shared: &Shared, wanted: &ArchiveLog, first: u64) -> Result<u64, Refusal> {
    let size = shared.store.log_state().await?.map_or(0, |state| state.size);
    let asked = match (wanted.before_index, wanted.before_time) {
        (Some(index), None) => index,
        (None, Some(time)) => shared.store.first_at(first, time).await?.unwrap_or(size),
        _ => return Err(Refusal::new(code::config::BAD_REQUEST).saying("either an index or a time")),
    };
    let width = u64::from(TILE_WIDTH);
    Ok(asked.min(size.saturating_sub(KEPT)) / width * width)
}

fn refusal(error: &ArchiveError, id: RequestId) -> Refusal {
    match error {
        ArchiveError::Store(error) => Refusal::from(error.clone()).under(id),
        ArchiveError::Io { .. } | ArchiveError::Other(_) | ArchiveError::Own(_) => {
            Refusal::new(code::audit::ARCHIVE_UNWRITABLE).saying(&error.to_string()).under(id)
        }
    }
}
