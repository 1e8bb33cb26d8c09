//! Backups of a running authority: its settings, keys, store and log at one moment, sealed as they leave.
//!
//! Shape: the store is copied in one read transaction into a folder beside it, looked at as at a start, and its log is
//! written from the copy; so all parts are of the same moment, and what is not sound is not backed up. No vault is
//! written meanwhile, so their sealed files, which are copied too, are those of the anchors in the store (KVS-13). Then everything
//! goes into [`kos_backup`]'s file, piece by piece, to whoever asked. The folder goes whatever happens. The keys are sealed
//! in memory into a vault of the backup's own, whose key file goes with it (BAK-15): the way in on this machine stays here.
//!
//! Invariants: a backup is recorded in the log, and in itself, before its first byte leaves. Nothing unsealed leaves.
//!
//! What it does not do: keep backups, or say which is the newest.

mod stream;

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use kos_audit::LogKey;
use kos_backup::{BackupError, Manifest, Member, Packer, Sealing};
use kos_base::{AuthorityName, Timestamp};
use kos_keyring::Packed;
use kos_vault::Environment;

pub(crate) use self::stream::{Chunks, Pipe};
use crate::{
    authority::Home,
    keys::{Keep, Keys},
    log::{LogFiles, Tail},
    store::{self, Store, StoreError},
    vault::{CopyFault, Vaults},
};

/// The state of one moment, in a folder of its own, and the keys in memory.
pub(crate) struct Snapshot {
    folder: PathBuf,
    settings: PathBuf,
    keys: PathBuf,
    packed: Packed,
    log_size: u64,
    at: Timestamp,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next one.
        drop(fs::remove_dir_all(&self.folder));
    }
}

impl Snapshot {
    /// Copies the store, checks the copy, and writes its log.
    ///
    /// # Errors
    /// When the disk fails or is full, there is no randomness, the store is not sound, or a vault but those of `without` does
    /// not have the file that it should have. Nothing is left behind.
    ///
    /// *Cost*: the size of the store and of its log, written once more.
    pub(crate) async fn take(
        home: &Home,
        (store, vaults, without): (&Store, &Vaults, &[Environment]),
        keys: &Keys,
        log: &LogKey,
        at: Timestamp,
    ) -> Result<Self, CopyFault> {
        let folder = home.backup();
        let failed = |e: &io::Error| StoreError::from_io(&folder, e);
        match fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(&e).into()),
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(&folder).map_err(|e| failed(&e))?;
        let mut snapshot = Self {
            folder: folder.clone(),
            settings: home.settings(),
            keys: Keep::in_folder(home.folder()).folder().to_owned(),
            packed: keys.pack(at).map_err(|e| StoreError::Failed(e.to_string()))?,
            log_size: 0,
            at,
        };
        let path = folder.join(STORE);
        let still = vaults.keep_still().await;
        store.copy_to(&path).await?;
        vaults.copy(store, without, &folder.join(VAULTS)).await?;
        drop(still);
        let (copy, half) = store::open(&path, &keys.store).await?;
        let tail = Tail::load(&copy, log, None).await?;
        snapshot.log_size = tail.size();
        let files = LogFiles::new(folder.join(LOG)).map_err(|e| failed(&e))?;
        let published = files.publish(&copy, 0).await;
        copy.close().await;
        half.close().await?;
        published?;
        Ok(snapshot)
    }

    /// Packs everything into `sink`.
    ///
    /// # Errors
    /// When the disk or the sink fails; whoever reads the sink must not take it for whole.
    ///
    /// *Cost*: blocks; about a second more for a passphrase.
    pub(crate) fn pack<W: io::Write>(
        &self,
        sink: W,
        sealing: Sealing,
        authority: &AuthorityName,
        log: &LogKey,
    ) -> Result<W, BackupError> {
        let mut packer = Packer::begin(sink, sealing, self.at)?;
        if self.settings.exists() {
            add(&mut packer, "authority.yaml", &self.settings)?;
        }
        for name in Keep::PUBLIC {
            add(&mut packer, &format!("keys/{name}"), &self.keys.join(name))?;
        }
        for (name, content) in
            Keep::PRIVATE.into_iter().zip([&*self.packed.vault, self.packed.key.as_bytes()])
        {
            let bytes = u64::try_from(content.len()).unwrap_or(u64::MAX);
            packer.add(member(&format!("keys/{name}"))?, bytes, content)?;
        }
        add(&mut packer, STORE, &self.folder.join(STORE))?;
        for (name, path) in files_below(&self.folder.join(VAULTS), VAULTS).map_err(BackupError::Io)? {
            add(&mut packer, &name, &path)?;
        }
        for (name, path) in files_below(&self.folder.join(LOG), LOG).map_err(BackupError::Io)? {
            add(&mut packer, &name, &path)?;
        }
        let manifest = Manifest {
            version: Manifest::VERSION,
            authority: authority.clone(),
            created_at: self.at,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            log_size: self.log_size,
            log_key: log.to_string(),
            files: Vec::new(),
        };
        packer.finish(manifest).map(|(sink, _)| sink)
    }
}

const STORE: &str = "store.db";
const LOG: &str = "log";
const VAULTS: &str = "vaults";

fn add<W: io::Write>(packer: &mut Packer<W>, name: &str, path: &Path) -> Result<(), BackupError> {
    let name = member(name)?;
    let file = File::open(path).map_err(BackupError::Io)?;
    let bytes = file.metadata().map_err(BackupError::Io)?.len();
    packer.add(name, bytes, file)
}

fn member(name: &str) -> Result<Member, BackupError> {
    name.parse().map_err(|e: kos_backup::ParseMemberError| BackupError::Io(io::Error::other(e)))
}

/// Every file below a folder with its name in the backup, in the order of the names.
fn files_below(folder: &Path, name: &str) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let below = format!("{name}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            found.extend(files_below(&entry.path(), &below)?);
        } else {
            found.push((below, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}
