//! What the way in which a vault opens is worth, in plain words.

use std::{os::unix::fs::MetadataExt as _, path::Path};

use kos_hardware::tpm::Pcrs;

use crate::{Opener, Place};

/// What keeps the machine's keys, and from whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// Where the key that opens them comes from.
    pub opener: Opener,
    /// Against whom it helps.
    pub against: &'static str,
    /// Against whom it does not.
    pub not_against: &'static str,
    /// Whether an old file that somebody puts back is found.
    pub rollback: &'static str,
}

impl Protection {
    pub(crate) fn of(opener: Opener, place: &Place) -> Self {
        let (against, not_against) = match opener {
            Opener::KeyFile if is_elsewhere(&place.key_file, &place.vault) => (
                "copies of the disk that the vault is on",
                "copies that have the disk of the key file as well; root on this machine",
            ),
            Opener::KeyFile => (
                "copies of the vault file alone",
                "copies of the disk, since the key file is on it; root on this machine",
            ),
            Opener::Credential => (
                "copies of the disk, if systemd keeps the credential encrypted to the TPM or brings it from elsewhere",
                "root on this machine",
            ),
            Opener::Tpm if place.tpm.bound().is_none_or(|pcrs| pcrs == Pcrs::NONE) => (
                "copies of the disk, and the disk in another machine",
                "whoever has the whole machine and starts it; root on this machine",
            ),
            Opener::Tpm => (
                "copies of the disk, the disk in another machine, and this machine started in another way than PCRs tell",
                "whoever starts the whole machine as it is; root on this machine",
            ),
        };
        let rollback = match opener {
            Opener::Tpm if place.tpm.counter.is_some() => {
                "an old vault put back is refused, by a counter of the TPM that nobody can set back"
            }
            Opener::Tpm | Opener::KeyFile | Opener::Credential => {
                "an old vault put back is refused, unless its anchor is put back with it"
            }
        };
        Self { opener, against, not_against, rollback }
    }
}

/// Whether two files lie on two file systems. Where that cannot be seen, they do not.
fn is_elsewhere(one: &Path, other: &Path) -> bool {
    let device = |path: &Path| path.metadata().map(|meta| meta.dev()).ok();
    matches!((device(one), device(other)), (Some(one), Some(other)) if one != other)
}
