//! The sealed files of all vaults, for a backup: each is the one that its anchor tells of, or it is left out by name.
//!
//! A file that is damaged, older, another or gone would put a good copy out of every backup that is kept, without a word. So
//! it is written again from memory where the vault is open, and otherwise no backup is made, unless whoever asked gave
//! that vault up by name. One that is ahead of its anchor waits for somebody to open it.
//!
//! What it does not do: copy what lies in the folder and is no vault (KVS-6).
//!
//! Source: KVS-13.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use kos_base::{Code, Timestamp};
use kos_vault::Environment;

use super::{Deed, VAULTS_MAX, VaultFault, Vaults, deed::blocking, file};
use crate::{
    authority::Shared,
    store::{Anchor, Store, StoreError},
};

/// A vault whose file cannot be copied, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file of `{environment}` is not backed up: {}", .code.title())]
pub(crate) struct Spoilt {
    pub(crate) environment: Environment,
    pub(crate) code: Code,
}

/// Why the files were not copied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyFault {
    #[error(transparent)]
    Spoilt(#[from] Spoilt),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Mends what open vaults can mend, unless it `only_looks`, and looks at every file but those of `without`.
///
/// # Errors
/// [`VaultFault::Spoilt`] for the first that cannot be copied.
pub(crate) async fn admit_copies(
    shared: &Arc<Shared>,
    without: &[Environment],
    only_looks: bool,
    at: Timestamp,
) -> Result<(), VaultFault> {
    for anchor in shared.store.anchors(VAULTS_MAX).await? {
        if without.contains(&anchor.environment) {
            continue;
        }
        let deed = Deed::own(shared, anchor.environment.clone(), at);
        let mut ring = deed.ring().await;
        match only_looks {
            false => deed.mend(&mut ring).await?,
            // What is open can be mended.
            true if ring.open.is_some() => continue,
            true => {}
        }
        let Some(anchor) = shared.store.anchor(&anchor.environment).await? else { continue };
        let path = shared.vaults.path(&anchor.environment);
        blocking(move || read(&path, &anchor)).await??;
    }
    Ok(())
}

impl Vaults {
    /// Copies the files of the vaults in `store` into a new folder `to`, but those of `without`. The caller holds everything
    /// still.
    ///
    /// # Errors
    /// When one is not what its anchor says, or the disk fails.
    ///
    /// *Cost*: reads and writes every file; blocks.
    pub(crate) async fn copy(
        &self,
        store: &Store,
        without: &[Environment],
        to: &Path,
    ) -> Result<(), CopyFault> {
        DirBuilder::new().mode(0o700).create(to).map_err(|e| StoreError::from_io(to, &e))?;
        for anchor in store.anchors(VAULTS_MAX).await? {
            if !without.contains(&anchor.environment) {
                // These very bytes, and not those that were looked at before.
                let bytes = read(&self.path(&anchor.environment), &anchor)?;
                file::write(&to.join(name(&anchor.environment)), &bytes)?;
            }
        }
        Ok(())
    }
}

fn read(path: &Path, anchor: &Anchor) -> Result<Vec<u8>, CopyFault> {
    let spoilt = |code| Spoilt { environment: anchor.environment.clone(), code };
    let bytes = file::read(path)?.ok_or_else(|| spoilt(kos_base::code::vault::VAULT_GONE))?;
    file::vouch(&bytes, &anchor.head).map_err(spoilt)?;
    Ok(bytes)
}

/// What the file of a vault is called.
pub(super) fn name(environment: &Environment) -> PathBuf {
    PathBuf::from(format!("{environment}.json"))
}
