//! An authority that was put back from a backup: taken apart and checked, then closed until it knows what it missed.
//!
//! A backup does not know what was revoked after it. So what [`put_back`] leaves is closed: `closed` serves nothing but the
//! local socket until an administrator shows the newest copy of the log that there is, or says that there is none; and
//! nothing is written before, since an entry of its own would part it from that copy for ever.
//!
//! - `merge` checks a copy, takes over its entries, and `effects` applies what they say.
//! - Without one, every device waits before a person, and every operator and ticket is void.
//!
//! Invariants: nothing is in place before all of the backup was read and agreed with its manifest, its keys are of one
//! authority, and its log leads to its checkpoint. An authority that is there is not touched. A power cut leaves either
//! nothing, or a closed authority.
//!
//! Source: `docs/spec/enrolment.md` RST-1 to RST-6, `docs/spec/backup.md` BAK-10 to BAK-14.

mod closed;
mod effects;
mod fault;
mod merge;
mod open;

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use kos_audit::LogKey;
use kos_backup::{BackupError, Manifest, Opening, unpack};
use kos_base::{AuthorityName, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::{
    closed::{Ended, wait},
    fault::RestoreError,
};
use crate::{
    authority::{Home, StartError},
    clock,
    files::{self, Mode},
    keys::Keys,
    log::{LogFiles, Tail},
    store::{self, Setting, StoreLock},
};

/// What a closed authority remembers of its backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Restoration {
    /// Whose it is.
    pub authority: AuthorityName,
    /// When the state of the backup was taken.
    pub backup_at: Timestamp,
    /// Entries that its log has.
    pub backup_size: u64,
    /// The signed head over them.
    pub checkpoint: String,
    /// When it was put back.
    pub restored_at: Timestamp,
}

/// Longest file that says so, in bytes.
const MARK_BYTES_MAX: u64 = 64 * 1024;

impl Restoration {
    /// What the folder of an authority says: nothing, if it is not closed.
    ///
    /// # Errors
    /// When there is a mark that cannot be read. It counts as closed.
    pub(crate) fn of(home: &Home) -> Result<Option<Self>, StartError> {
        let path = home.restored();
        let text = files::read_text(&path, MARK_BYTES_MAX).map_err(|e| StartError::file(&path, &e))?;
        let read = |text: String| {
            serde_json::from_str(&text).map_err(|e| StartError::file(&path, &io::Error::other(e)))
        };
        text.map(read).transpose()
    }

    /// Whether `DATA` holds an authority that is closed.
    ///
    /// # Errors
    /// As `Self::of`.
    pub fn in_data(data: &Path) -> Result<Option<Self>, StartError> {
        Self::of(&Home::below(data))
    }
}

/// Puts a backup in place, closed.
///
/// # Errors
/// [`RestoreError`]; nothing is in place then.
///
/// *Cost*: the size of the backup, written once; reads its store and log.
pub async fn put_back(data: &Path, backup: &Path, opening: Opening) -> Result<Restoration, RestoreError> {
    let home = Home::below(data);
    crate::kill::check(&home).await?;
    crate::authority::make_folders(&home)?;
    let lock = StoreLock::take(home.folder()).map_err(StartError::from)?;
    // A mark without keys is a restore that was cut short: it begins again.
    let resumes = home.restored().exists() && !home.keys().exists();
    if !resumes && (home.keys().exists() || home.store().exists() || home.log().exists()) {
        return Err(StartError::AlreadyInitialised(home.folder().display().to_string()).into());
    }
    let partial = home.restore();
    clear(&partial)?;
    let _keys = Leftover(&partial);
    let unreadable = |source| RestoreError::Unreadable { file: backup.display().to_string(), source };
    let file = File::open(backup).map_err(unreadable)?;
    let into = partial.clone();
    let unpacking = tokio::task::spawn_blocking(move || take_apart(file, &opening, &into));
    let manifest = unpacking.await.map_err(|e| StartError::Internal(e.to_string()))??;
    let restoration = judge(&partial, &manifest).await?;
    move_in(&home, &partial, &restoration).map_err(|e| StartError::file(home.folder(), &e))?;
    drop(lock);
    Ok(restoration)
}

/// Keys lie there in the clear: they go, however it ends.
struct Leftover<'a>(&'a Path);

impl Drop for Leftover<'_> {
    fn drop(&mut self) {
        // What cannot be removed now is removed at the next start.
        drop(fs::remove_dir_all(self.0));
    }
}

fn clear(folder: &Path) -> Result<(), StartError> {
    let failed = |e: io::Error| StartError::file(folder, &e);
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    DirBuilder::new().mode(0o700).create(folder).map_err(failed)
}

/// Writes every file of the backup below `into`.
fn take_apart(backup: File, opening: &Opening, into: &Path) -> Result<Manifest, BackupError> {
    unpack(io::BufReader::new(backup), opening, |name, content: &mut dyn Read| {
        let path = into.join(name.as_str());
        let (folder_mode, file_mode) = if name.is_private() { (0o700, 0o600) } else { (0o755, 0o644) };
        let folder = path.parent().unwrap_or(into);
        DirBuilder::new().recursive(true).mode(folder_mode).create(folder)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(file_mode).open(&path)?;
        io::copy(content, &mut file)?;
        file.sync_all()
    })
}

/// Checks that what was taken apart is one authority, and sound.
async fn judge(partial: &Path, manifest: &Manifest) -> Result<Restoration, RestoreError> {
    let keys = Keys::load(&partial.join("keys")).map_err(StartError::from)?;
    let other = |store: String| StartError::Mixed { store, keys: manifest.authority.to_string() };
    if keys.root_certificate.authority().as_ref() != Some(&manifest.authority) {
        return Err(other("another authority".to_owned()).into());
    }
    let log = LogKey::new(&manifest.authority, keys.log.public().clone());
    let log = log.map_err(|e| StartError::Internal(e.to_string()))?;
    let path = partial.join("log");
    let files = LogFiles::new(path.clone()).map_err(|e| StartError::file(&path, &e))?;
    let published = files.checkpoint().map_err(|e| StartError::file(&path, &e))?;
    let (store, half) =
        store::open(&partial.join("store.db"), &keys.store).await.map_err(StartError::from)?;
    let looked = async {
        let held = store.setting(Setting::Authority).await?;
        let tail = Tail::load(&store, &log, published.as_deref()).await?;
        let checkpoint = store.log_state().await?.map(|state| state.checkpoint).unwrap_or_default();
        Ok::<_, store::StoreError>((held, tail.size(), checkpoint))
    };
    let looked = looked.await;
    store.close().await;
    half.close().await.map_err(StartError::from)?;
    let (held, size, checkpoint) = looked.map_err(StartError::from)?;
    if held.as_deref() != Some(manifest.authority.as_ref()) {
        return Err(other(held.unwrap_or_default()).into());
    }
    if size != manifest.log_size {
        return Err(BackupError::Damaged("its log has another size than its manifest says".to_owned()).into());
    }
    Ok(Restoration {
        authority: manifest.authority.clone(),
        backup_at: manifest.created_at,
        backup_size: size,
        checkpoint,
        restored_at: clock::now(),
    })
}

/// The mark first and the keys last: without the one it is not closed, without the others it is not there.
fn move_in(home: &Home, partial: &Path, restoration: &Restoration) -> io::Result<()> {
    let mark = serde_json::to_vec(restoration).map_err(io::Error::other)?;
    files::replace(&home.restored(), &mark, Mode::Private)?;
    for (name, place) in [
        ("authority.yaml", home.settings()),
        ("store.db", home.store()),
        ("log", home.log()),
        ("vaults", home.vaults()),
        ("keys", home.keys()),
    ] {
        let from = partial.join(name);
        if !from.exists() {
            continue;
        }
        if place.is_dir() {
            fs::remove_dir_all(&place)?;
        }
        fs::rename(from, place)?;
        files::sync_folder(home.folder())?;
    }
    Ok(())
}
