//! What survives a restart: the journal among the secrets, and the record of the end.

use std::path::Path;

use kos_base::DeviceId;
use kos_identity::{
    decommission::{self, Record},
    enrolment::device::{ClockTrust, Journal, Machine, Profile},
};

use super::{JOURNAL, LifeError, RECORD};
use crate::{
    clock::Clock,
    config::Config,
    root::{self, Kind, Root, RootError, file},
};

/// Whether the device in `folder` has a certificate, is in quarantine, or has ended: it wants no ticket.
///
/// # Errors
/// When its configuration is refused, or its journal cannot be read or is damaged.
pub fn is_enrolled(folder: &Path) -> Result<bool, LifeError> {
    let config = Config::load(&Root::config_file(folder))?.config;
    let root = Root::new(folder, &config);
    let active = remembered(&root)?.is_some_and(|journal| journal.is_member());
    Ok(active || read_record(&root)?.is_some())
}

/// The device that has ended in `folder`, if one has.
///
/// # Errors
/// When its configuration is refused, or the record of the end cannot be read or is damaged.
pub fn ended(folder: &Path) -> Result<Option<DeviceId>, LifeError> {
    let config = Config::load(&Root::config_file(folder))?.config;
    let record = read_record(&Root::new(folder, &config))?;
    Ok(record.and_then(|signed| Record::peek(&signed).ok()).map(|record| record.device))
}

/// What the device at `root` remembers of its identity. Takes no lock: what a running daemon replaces is replaced whole.
///
/// # Errors
/// When the journal cannot be read or is damaged.
pub fn remembered(root: &Root) -> Result<Option<Journal>, RootError> {
    Ok(read_journal(root)?.map(|(journal, _)| journal))
}

pub(super) type JournalFile = (Journal, Vec<u8>);

pub(super) fn read_journal(root: &Root) -> Result<Option<JournalFile>, RootError> {
    let path = root.secrets().join(JOURNAL);
    let Some(bytes) = file::read(&path)? else { return Ok(None) };
    let content = root::open(Kind::Journal, &path, &bytes)?;
    let journal = Journal::from_bytes(content);
    let journal = journal.map_err(|_| RootError::Damaged { path: path.clone() })?;
    Ok(Some((journal, content.to_vec())))
}

pub(super) fn read_record(root: &Root) -> Result<Option<Vec<u8>>, RootError> {
    let path = root.state().join(RECORD);
    let Some(bytes) = file::read(&path)? else { return Ok(None) };
    let whole = bytes.len() <= decommission::SIGNED_BYTES_MAX && Record::peek(&bytes).is_ok();
    if whole { Ok(Some(bytes.to_vec())) } else { Err(RootError::Damaged { path }) }
}

/// The machine as it was left. A clock that says that the certificate is due may be wrong by months, so the authority is
/// asked for the time before anything else.
pub(super) fn load(
    root: &Root,
    profile: Profile,
    journal: Option<&JournalFile>,
    record: Option<Vec<u8>>,
    clock: &Clock,
) -> Result<Machine, RootError> {
    let active = journal.and_then(|(journal, _)| journal.active.as_ref());
    let due = active.is_some_and(|held| clock.now() >= held.renew_at);
    let trust = if due { ClockTrust::Untrusted } else { clock.trust() };
    Machine::load(profile, journal.map(|(_, bytes)| bytes.as_slice()), record, trust)
        .map_err(|_| RootError::Damaged { path: root.secrets().join(JOURNAL) })
}
