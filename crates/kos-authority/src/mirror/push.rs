//! Brings targets up to date: one worker each, so that one that is away keeps no other waiting, and no commit either.
//!
//! What the target has is judged by its own checkpoint: it must be the beginning of the log, shown by a proof. Then every piece
//! that is new is put, and last the checkpoint. A target that contradicts the log is recorded and left alone.
//!
//! Source: AUD-77, AUD-78.

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use kos_audit::{
    NoteError, SignedCheckpoint, VerifiedCheckpoint,
    mirror::{self, Conflict, Standing as Step},
    tree::Piece,
};
use kos_base::{Timestamp, text::printable};
use tokio::{
    task::{AbortHandle, JoinSet, spawn_blocking},
    time::{sleep, timeout},
};

use super::{Mirror, MirrorError, Target, folder::Folder, seal, web::Web};
use crate::{
    authority::Shared, clock, log::piece, record::SystemChange, store::StoreError, writer::Transaction,
};

/// Least time between two pushes to a target: entries that come together go together.
const PUSH_PAUSE: Duration = Duration::from_secs(1);
/// The first pause after a failure, and the longest. Each is twice the one before.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// How long it waits after the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// Longest reason that is kept, in characters.
const TROUBLE_CHARS_MAX: usize = 200;

/// Runs until the program ends.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut changes = shared.mirrors.changes();
    let mut workers = JoinSet::new();
    let mut at_work: HashMap<String, (Mirror, AbortHandle)> = HashMap::new();
    loop {
        changes.borrow_and_update();
        let mirrors = match shared.store.mirrors().await {
            Ok(mirrors) => mirrors,
            Err(error) => {
                tracing::error!(%error, "the targets of copies cannot be read");
                sleep(STORE_PAUSE).await;
                continue;
            }
        };
        at_work.retain(|name, (mirror, worker)| {
            let stays = mirrors.contains(mirror);
            if !stays {
                worker.abort();
                shared.mirrors.forget(name);
            }
            stays
        });
        for mirror in mirrors {
            at_work.entry(mirror.name.clone()).or_insert_with(|| {
                let worker = workers.spawn(serve(Arc::clone(&shared), mirror.clone()));
                (mirror, worker)
            });
        }
        while workers.try_join_next().is_some() {}
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Keeps one target up to date, for ever.
async fn serve(shared: Arc<Shared>, mirror: Mirror) {
    let (mut progress, mut changes) = (shared.writer.progress(), shared.mirrors.changes());
    let mut worker = Worker { shared: &shared, mirror: &mirror, failures: 0, told: false, refused: None };
    loop {
        progress.borrow_and_update();
        changes.borrow_and_update();
        let pause = worker.step().await;
        if worker.failures == 0 {
            sleep(PUSH_PAUSE).await;
            tokio::select! {
                grown = progress.changed() => if grown.is_err() { return },
                _ = changes.changed() => {}
            }
        } else {
            // Somebody who asks is not kept waiting.
            drop(timeout(pause, changes.changed()).await);
        }
    }
}

struct Worker<'a> {
    shared: &'a Arc<Shared>,
    mirror: &'a Mirror,
    failures: u32,
    /// Whether the log says already that it is behind.
    told: bool,
    /// What it contradicted the log with, if that is recorded.
    refused: Option<String>,
}

impl Worker<'_> {
    /// One push; how long to wait if it failed.
    async fn step(&mut self) -> Duration {
        let (shared, name) = (self.shared, self.mirror.name.as_str());
        let pushed = push(shared, self.mirror, self.failures > 0 || self.refused.is_some()).await;
        let now = clock::now();
        let error = match pushed {
            Ok(size) => {
                (self.failures, self.told, self.refused) = (0, false, None);
                shared.mirrors.note(name, |standing| {
                    *standing =
                        super::Standing { size: Some(size), pushed_at: Some(now), ..Default::default() };
                });
                return Duration::ZERO;
            }
            Err(error) => error,
        };
        self.failures = self.failures.saturating_add(1);
        let mut since = now;
        shared.mirrors.note(name, |standing| {
            since = *standing.failing_since.get_or_insert(now);
            standing.trouble = Some(printable(&error.to_string(), TROUBLE_CHARS_MAX));
            standing.refused = matches!(error, MirrorError::Refused { .. });
        });
        tracing::warn!(mirror = name, %error, "a copy of the log could not be brought up to date");
        let recorded = match &error {
            MirrorError::Refused { .. } => self.record_refusal(now, &error).await,
            _ => self.record_lag(now, since).await,
        };
        if let Err(error) = recorded {
            tracing::error!(%error, "how a copy of the log stands could not be recorded");
        }
        match error {
            MirrorError::Refused { .. } => PAUSE_MAX,
            _ => crate::pause::after(self.failures, PAUSE, PAUSE_MAX),
        }
    }

    async fn record_refusal(&mut self, now: Timestamp, error: &MirrorError) -> Result<(), StoreError> {
        let MirrorError::Refused { code, checkpoint, .. } = error else { return Ok(()) };
        if self.refused.as_ref() == Some(checkpoint) {
            return Ok(());
        }
        let change = SystemChange::MirrorRefused {
            name: self.mirror.name.clone(),
            code: *code,
            checkpoint: checkpoint.clone(),
        };
        self.record(now, change).await?;
        self.refused = Some(checkpoint.clone());
        Ok(())
    }

    async fn record_lag(&mut self, now: Timestamp, since: Timestamp) -> Result<(), StoreError> {
        if self.told || now.since(since) < self.shared.settings.mirror_behind() {
            return Ok(());
        }
        let size = self.shared.mirrors.standing(&self.mirror.name).size;
        let change = SystemChange::MirrorBehind { name: self.mirror.name.clone(), size, since };
        self.record(now, change).await?;
        self.told = true;
        Ok(())
    }

    async fn record(&self, now: Timestamp, change: SystemChange) -> Result<(), StoreError> {
        let transaction = Transaction::own(now, vec![change.into()], Vec::new());
        self.shared.writer.commit(transaction).await.map(drop)
    }
}

/// What is written to.
enum Open {
    Folder(Folder),
    Web(Box<Web>),
}

/// Brings a target up to date; how many entries it has then. `carefully`: what is there from an earlier try is looked at.
async fn push(shared: &Arc<Shared>, mirror: &Mirror, carefully: bool) -> Result<u64, MirrorError> {
    let key = shared.log.key();
    let Some(state) = shared.store.log_state().await? else { return Ok(0) };
    let unsound = |why: String| MirrorError::Store(StoreError::LogDiffers(why));
    let signed = SignedCheckpoint::parse(&state.checkpoint).map_err(|e| unsound(e.to_string()))?;
    let own = signed.verify(key, &[]).map_err(|e| unsound(e.to_string()))?;
    let mut open = open(shared, mirror).await?;
    let text = open.checkpoint().await?;
    let held = text.as_deref().map(|text| held(shared, text)).transpose()?.flatten();
    let from = held.as_ref().map_or(0, |held| held.head().size);
    let refused = |conflict: Conflict| MirrorError::Refused {
        why: conflict.to_string(),
        code: conflict.code(),
        checkpoint: printable(text.as_deref().unwrap_or_default(), 1_000),
    };
    let mut walk = match mirror::judge(held.as_ref(), &own).map_err(refused)? {
        Step::Same => return Ok(own.head().size),
        Step::Ahead(walk) => walk,
    };
    let archived = shared.store.archived().await?;
    // The first push after a start cannot know what an earlier one has left.
    let carefully = carefully || shared.mirrors.standing(&mirror.name).size.is_none();
    while let Some(next) = walk.next() {
        let Some(bytes) = piece(&shared.store, next).await? else {
            // Archived entries are where they were archived; their hashes go on being copied.
            if matches!(next, Piece::Bundle(bundle) if bundle.first_leaf() < archived) && walk.skip() {
                continue;
            }
            return Err(unsound(format!("`{}` is not whole", next.path())));
        };
        let known = walk.take(bytes).map_err(|why| match mirror::conflict(&why) {
            Some(conflict) => refused(conflict),
            None => unsound(why.to_string()),
        })?;
        for (piece, bytes) in known {
            open.put(piece, bytes, carefully).await?;
        }
    }
    open.seal(&state.checkpoint, &format!("{key}\n"), from, own.head().size).await?;
    Ok(own.head().size)
}

/// What a target's checkpoint says; nothing when it is torn, which an interrupted push leaves.
fn held(shared: &Shared, text: &str) -> Result<Option<VerifiedCheckpoint>, MirrorError> {
    let why = "it holds something that this log's key did not sign";
    match SignedCheckpoint::parse(text) {
        Err(NoteError::Cut) => Ok(None),
        Err(_) => Err(MirrorError::foreign(text, why)),
        Ok(signed) => {
            signed.verify(shared.log.key(), &[]).map(Some).map_err(|_| MirrorError::foreign(text, why))
        }
    }
}

async fn open(shared: &Arc<Shared>, mirror: &Mirror) -> Result<Open, MirrorError> {
    match &mirror.target {
        Target::Folder { path } => {
            let (path, data) = (path.clone(), shared.home.folder().to_owned());
            let key = shared.log.key().clone();
            let opened = blocking(move || Folder::open(Path::new(&path), &data, &key)).await?;
            Ok(Open::Folder(opened))
        }
        Target::Web { url, ca, login } => {
            let login = match login {
                Some(login) => {
                    let password = seal::open(&shared.keys.store, &mirror.name, &login.sealed);
                    let lost =
                        || MirrorError::Away("its password cannot be opened: name it again".to_owned());
                    Some((login.user.as_str(), password.ok_or_else(lost)?))
                }
                None => None,
            };
            Ok(Open::Web(Box::new(Web::open(url, ca.as_deref(), login).await?)))
        }
    }
}

impl Open {
    async fn checkpoint(&mut self) -> Result<Option<String>, MirrorError> {
        match self {
            Self::Folder(folder) => {
                let folder = folder.clone();
                blocking(move || folder.checkpoint()).await
            }
            Self::Web(web) => web.checkpoint().await,
        }
    }

    async fn put(&mut self, piece: Piece, bytes: Vec<u8>, carefully: bool) -> Result<(), MirrorError> {
        match self {
            Self::Folder(folder) => {
                let folder = folder.clone();
                blocking(move || folder.put(piece, &bytes)).await
            }
            Self::Web(web) => web.put_piece(piece, bytes, carefully).await,
        }
    }

    async fn seal(&mut self, checkpoint: &str, key: &str, from: u64, to: u64) -> Result<(), MirrorError> {
        match self {
            Self::Folder(folder) => {
                let (folder, checkpoint) = (folder.clone(), checkpoint.to_owned());
                blocking(move || {
                    folder.seal(&checkpoint)?;
                    folder.drop_partial(from, to);
                    Ok(())
                })
                .await
            }
            Self::Web(web) => {
                if from == 0 {
                    web.put("vkey", key.as_bytes().to_vec()).await?;
                }
                web.put("checkpoint", checkpoint.as_bytes().to_vec()).await
            }
        }
    }
}

/// A file system may take its time, a network one for ever: nobody else waits for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MirrorError> + Send + 'static,
) -> Result<T, MirrorError> {
    spawn_blocking(work).await.map_err(|e| MirrorError::Away(e.to_string()))?
}
