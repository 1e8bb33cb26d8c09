//! The file of a vault on the disk, and how it stands to the anchor before anybody opened it.
//!
//! The root of a file is a hash of all that is in it, and the anchor's row has a MAC; so a file with the anchor's head is
//! the file of that head, secret or not. Whether one that is ahead follows from it, only its MAC can say (KVS-5).

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use kos_base::{
    Code, code,
    digest::{Sha256, sha256},
};
use kos_vault::{FILE_BYTES_MAX, Head, Sealed, Standing, VaultError};

use crate::{
    files::{self, Mode},
    store::StoreError,
};

/// What lies in the place of a vault's file.
pub(super) enum OnDisk {
    /// What the anchor tells of, or the one after it if its MAC says so; and the hash of its bytes.
    Sealed(Sealed, Sha256),
    /// Anything else.
    Refused(Code),
}

/// Reads the file and compares what it claims with what was kept.
///
/// # Errors
/// When the disk fails.
pub(super) fn look(path: &Path, kept: &Head) -> Result<OnDisk, StoreError> {
    let bytes = read(path)?;
    Ok(bytes.map_or(OnDisk::Refused(code::vault::VAULT_GONE), |bytes| judge(&bytes, kept)))
}

/// The same of bytes that were read.
pub(super) fn judge(bytes: &[u8], kept: &Head) -> OnDisk {
    let sealed = match Sealed::parse(bytes) {
        Ok(sealed) => sealed,
        // In this place there was a vault: what is none now was damaged, whatever a reader calls it.
        Err(VaultError::Malformed(_)) => return OnDisk::Refused(code::vault::VAULT_DAMAGED),
        Err(error) => return OnDisk::Refused(error.code()),
    };
    let claim = sealed.head();
    if claim == *kept || (claim.vault == kept.vault && claim.generation == kept.generation.saturating_add(1))
    {
        return OnDisk::Sealed(sealed, sha256(bytes));
    }
    let is_behind = claim.vault == kept.vault && claim.generation < kept.generation;
    let standing = if is_behind { Standing::Behind } else { Standing::Forked };
    OnDisk::Refused(refusal(standing))
}

/// That these bytes are the file of this head, and no other that would still have to be opened to be believed.
///
/// # Errors
/// Why they are not.
pub(super) fn vouch(bytes: &[u8], kept: &Head) -> Result<(), Code> {
    match judge(bytes, kept) {
        OnDisk::Sealed(sealed, _) if sealed.head() == *kept => Ok(()),
        OnDisk::Sealed(..) => Err(code::vault::VAULT_UNJUDGED),
        OnDisk::Refused(code) => Err(code),
    }
}

/// The code of a file that cannot be taken as it stands.
pub(super) const fn refusal(standing: Standing) -> Code {
    match standing {
        Standing::Behind => code::vault::VAULT_BEHIND,
        Standing::Same
        | Standing::OneAhead
        | Standing::Forked
        | Standing::FarAhead
        | Standing::OtherVault => code::vault::VAULT_FORKED,
    }
}

/// The bytes of a file of at most [`FILE_BYTES_MAX`]; nothing when there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let failed = |e: io::Error| StoreError::from_io(path, &e);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let mut bytes = Vec::new();
    // One byte more than a vault has, so that the reader refuses it.
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

/// Makes a file durable in its place.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    files::replace(path, bytes, Mode::Private).map_err(|e| StoreError::from_io(path, &e))
}

/// Moves a file away that no anchor tells of. It may be left from a vault whose making was cut short, or somebody put it
/// there; it is not lost.
pub(super) fn set_aside(path: &Path) -> Result<(), StoreError> {
    let names = (0_u32..).map(|n| match n {
        0 => path.with_extension("json.aside"),
        n => path.with_extension(format!("json.aside-{n}")),
    });
    for beside in names {
        // What was put aside before stays. Nobody else makes such names: the folder is ours.
        if beside.exists() {
            continue;
        }
        return match fs::rename(path, beside) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::from_io(path, &e)),
            _ => Ok(()),
        };
    }
    Ok(())
}

/// Whether an error says that the file is to be refused from now on, and not that the secret was wrong.
pub(super) const fn condemns(error: &VaultError) -> bool {
    matches!(error, VaultError::Forged | VaultError::Damaged(_))
}
