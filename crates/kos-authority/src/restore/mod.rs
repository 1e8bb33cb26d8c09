//! An authority that was put back from a backup: taken apart and checked, then closed until it knows what it missed.
//!
//! A backup does not know what was revoked after it. So what [`put_back`] leaves is closed: `closed` serves nothing but the
//! local socket until an administrator shows the newest copy of the log that there is, or says that there is none; and
//! nothing is written before, since an entry of its own would part it from that copy for ever.
//!
//! - `merge` checks a copy, takes over its entries, and `effects` applies what they say.
//! - Without one, every device waits before a person, and every operator, ticket and voucher is void.
//!
//! Invariants: nothing is in place before all of the backup was read and agreed with its manifest, its keys are of one
//! authority, and its log leads to its checkpoint. An authority that is there is not touched. A power cut leaves either
//! nothing, or a closed authority.
//!
//! Source: `docs/spec/backup.md` RST-1 to RST-10, BAK-10 to BAK-14.

mod closed;
mod effects;
mod fault;
mod merge;
mod open;
mod papers;

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use kos_audit::LogKey;
use kos_backup::{BackupError, Manifest, Opening, unpack};
use kos_base::{AuthorityName, Timestamp};
use kos_keyring::{CREDENTIAL, Opener};
use serde::{Deserialize, Serialize};

pub use self::{
    closed::{Ended, wait},
    fault::RestoreError,
};
use crate::{
    authority::{Home, StartError},
    clock,
    files::{self, Mode},
    keys::Keep,
    log::{LogFiles, Tail},
    settings::Settings,
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

/// What was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutBack {
    /// Of what.
    pub restoration: Restoration,
    /// What its settings want of this machine before the keys open, in a sentence.
    pub wants: Option<String>,
}

/// Puts a backup in place, closed.
///
/// # Errors
/// [`RestoreError`]; nothing is in place then.
///
/// *Cost*: the size of the backup, written once; reads its store and log.
pub async fn put_back(data: &Path, backup: &Path, opening: Opening) -> Result<PutBack, RestoreError> {
    let home = Home::below(data);
    crate::kill::check(&home, None).await?;
    crate::authority::make_folders(&home)?;
    let lock = StoreLock::take(home.folder()).map_err(StartError::from)?;
    // A mark without keys is a restore that was cut short: it begins again.
    let resumes = home.restored().exists() && !home.has_keys();
    if !resumes && (home.has_keys() || home.store().exists() || home.log().exists()) {
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
    // A key that is in a token is looked for where the settings say that the token is.
    let own = partial.join("authority.yaml");
    let settings = if own.exists() { own } else { home.settings() };
    let settings = Settings::read(&settings).map_err(StartError::from)?;
    let restoration = judge(&partial, &manifest, &settings).await?;
    move_in(&home, &partial, &restoration).map_err(|e| StartError::file(home.folder(), &e))?;
    drop(lock);
    Ok(PutBack { restoration, wants: wants(&home) })
}

/// The keys open by the key file of the backup until the first start, which seals them as the settings say (KR-6).
fn wants(home: &Home) -> Option<String> {
    // What is wrong with the settings is told by the first start.
    let settings = Settings::read(&home.settings()).ok()?;
    let before = |what: &str, line: &str| {
        let file = home.settings();
        format!("before the first start: {what}, or take `{line}` out of {}", file.display())
    };
    match (settings.keys_opener, settings.keys_file) {
        (Opener::Credential, _) => {
            let what = format!("give the service the credential `{CREDENTIAL}`");
            Some(before(&what, "keys_opener"))
        }
        (Opener::KeyFile, Some(path)) => {
            let folder = path.parent().unwrap_or(&path).display();
            Some(before(&format!("have {folder} in place, where the key file goes"), "keys_file"))
        }
        (Opener::Tpm, _) => {
            let what = format!("have the TPM at {} in place", settings.keys_tpm);
            Some(before(&what, "keys_opener"))
        }
        (Opener::KeyFile, None) => None,
    }
}

/// Keys lie there with what opens them: they go, however it ends.
struct Leftover<'a>(&'a Path);

impl Drop for Leftover<'_> {
    fn drop(&mut self) {
        // What cannot be removed now is removed at the next start.
        drop(Keep::in_folder(self.0).wipe());
        drop(fs::remove_dir_all(self.0));
    }
}

fn clear(folder: &Path) -> Result<(), StartError> {
    let failed = |e: io::Error| StartError::file(folder, &e);
    // What cannot be overwritten is removed all the same.
    drop(Keep::in_folder(folder).wipe());
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

/// Checks that what was taken apart is one authority, and sound. Keys of a backup of an earlier version are sealed.
async fn judge(
    partial: &Path,
    manifest: &Manifest,
    settings: &Settings,
) -> Result<Restoration, RestoreError> {
    let keep = Keep::in_folder(partial).with_hardware(settings);
    let (keys, _) = keep.open(clock::now()).map_err(StartError::from)?;
    let other = |store: String| StartError::Mixed { store, keys: manifest.authority.to_string() };
    if keys.root_certificate.authority().as_ref() != Some(&manifest.authority) {
        return Err(other("another authority".to_owned()).into());
    }
    let log = LogKey::new(&manifest.authority, keys.log.public().clone());
    let log = log.map_err(|e| StartError::Internal(e.to_string()))?;
    let path = partial.join("log");
    let files = LogFiles::new(path.clone()).map_err(|e| StartError::file(&path, &e))?;
    let published = files.published().map_err(|e| StartError::file(&path, &e))?;
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

/// The mark first, the keys and their anchor last: without the one it is not closed, without the others it is not there.
fn move_in(home: &Home, partial: &Path, restoration: &Restoration) -> io::Result<()> {
    let mark = serde_json::to_vec(restoration).map_err(io::Error::other)?;
    files::replace(&home.restored(), &mark, Mode::Private)?;
    let [ours, theirs] = [partial, home.folder()].map(Keep::in_folder);
    for (from, place) in [
        (partial.join("authority.yaml"), home.settings()),
        (partial.join("store.db"), home.store()),
        (partial.join("log"), home.log()),
        (partial.join("vaults"), home.vaults()),
        (ours.folder().to_owned(), theirs.folder().to_owned()),
        // A vault that has just been made is believed without it (KR-10).
        (ours.anchor().to_owned(), theirs.anchor().to_owned()),
    ] {
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
