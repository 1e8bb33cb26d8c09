//! Checkpoints that contradict each other, kept as files for people and judges: `kosctl audit witness judge`.
//!
//! Shape: `conflict-<16 hex>.txt` is a proof, `suspicion-<16 hex>.txt` becomes one with the tiles of the larger tree. The
//! name is from the content, so the same evidence is kept once. Nothing of it is ever removed by the program.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

use kos_audit::{Conflict, witness::Judgement};
use kos_base::digest::sha256;

use crate::files::{self, Mode};

/// Most files of each kind. Whoever has the log's key could have us keep any number; the first ones say enough.
const KEPT_MAX: usize = 32;

/// What became of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is in this file now.
    New(String),
    /// It was there already, or there is enough of it.
    Known,
}

/// Keeps a conflict in `folder`, durably.
pub(super) fn keep(folder: &Path, conflict: &Conflict) -> io::Result<Kept> {
    let kind = match conflict.judge() {
        Judgement::Equivocation => "conflict",
        Judgement::NeedsTree | Judgement::Consistent | Judgement::OtherTree => "suspicion",
    };
    let text = conflict.to_string();
    let mut digest = data_encoding::HEXLOWER.encode(&sha256(text.as_bytes()));
    digest.truncate(16);
    let name = format!("{kind}-{digest}.txt");
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let entries = fs::read_dir(folder)?.flatten();
    let held = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(kind)).count();
    if held >= KEPT_MAX || folder.join(&name).exists() {
        return Ok(Kept::Known);
    }
    files::replace(&folder.join(&name), text.as_bytes(), Mode::Private)?;
    Ok(Kept::New(name))
}

/// How many proofs are kept.
pub(super) fn count(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("conflict-")).count()
}
