//! The kill switch of a device: its files, its papers, and the destruction itself.
//!
//! Shape: `kill.journal`, `death-notice.cose` and `kill-report.json` in the state folder; [`resume`] is what every start
//! does first, and it needs no configuration, since the journal names what goes.
//!
//! Invariants: those of [`kos_vault::kill`]; nothing is destroyed but what its outputs name.
//!
//! What it does not do: destroy the key of a vault that systemd keeps; claim that a key file which was overwritten is purged.
//!
//! Source: `docs/spec/kill.md` KILL-8 to KILL-25, KILL-30.

use std::{
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
};

use kos_api::{
    Document,
    kill::{KillProgram, KillReport, KillTarget},
};
use kos_base::{Code, code, key::SignatureForm, text::reason};
use kos_identity::{
    decommission::{Assurance as Wiped, Record},
    enrolment::device::{Held, Journal, KeySlot},
};
use kos_keyring::{Opener, Place, file::sync_folder};
use kos_net::{entropy, keys::SigningKey};
use kos_vault::kill::{
    Assurance, Firing, Input, KillError, Machine, Notice, NoticeSubject, Notified, Output, ProgramFate,
    Recorded, Stage, Standing, TELL_TIME_MAX, Target,
};
use minicbor::bytes::ByteArray;

use crate::{
    config::{Config, ConfigError},
    keystore::Keystore,
    life::{RECORD, remembered},
    root::{Root, RootError, file},
};

/// Name of the journal.
const JOURNAL: &str = "kill.journal";
/// Name of the signed notice.
const NOTICE: &str = "death-notice.cose";
/// Name of the report.
const REPORT: &str = "kill-report.json";
/// What a firing leaves in the state folder.
pub(crate) const KEPT: [&str; 4] = [RECORD, JOURNAL, NOTICE, REPORT];

/// Why the switch cannot be used, or a start ends.
#[derive(Debug, thiserror::Error)]
pub enum KillFault {
    /// It is refused.
    #[error(transparent)]
    Refused(#[from] KillError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] RootError),
    /// Not even a configuration without content can be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There are no random numbers.
    #[error(transparent)]
    Entropy(#[from] entropy::NoEntropy),
    /// It was fired, and everything is done.
    #[error("this device was destroyed by its kill switch; what is left to prove it is in {}", state.display())]
    Killed {
        /// The state folder.
        state: PathBuf,
    },
}

impl KillFault {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::Refused(error) => error.code(),
            Self::File(error) => error.code(),
            Self::Config(error) => error.code(),
            Self::Entropy(error) => error.code(),
            Self::Killed { .. } => code::kill::KILLED,
        }
    }
}

/// What a start found.
#[derive(Debug)]
pub enum Found {
    /// Nothing was fired.
    Safe,
    /// A firing that was not finished is finished now.
    Finished(Box<KillReport>),
    /// It was fired before, and nothing is left to do.
    Killed {
        /// The state folder.
        state: PathBuf,
    },
}

/// The machine and its file.
#[derive(Debug)]
pub(crate) struct Switch {
    state: PathBuf,
    pub(crate) machine: Machine,
}

impl Switch {
    /// As its journal says.
    pub(crate) fn load(state: &Path) -> Result<Self, KillFault> {
        let journal = file::read(&state.join(JOURNAL))?;
        let machine = Machine::load(journal.as_ref().map(|bytes| bytes.as_slice()))?;
        Ok(Self { state: state.to_owned(), machine })
    }

    pub(crate) fn persist(&self, journal: &[u8]) -> Result<(), RootError> {
        file::replace(&self.state.join(JOURNAL), journal, file::PRIVATE)
    }

    pub(crate) fn forget(&self) -> Result<(), RootError> {
        file::remove(&self.state.join(JOURNAL))
    }

    /// After a change of the journal: one that failed has not happened (KILL-13), unless the file says that it was fired. An
    /// error may come after the new file is in its place, and then there is no way back (KILL-8).
    pub(crate) fn settle(&mut self, written: Result<(), RootError>) -> Result<(), KillFault> {
        let Err(error) = written else { return Ok(()) };
        match Self::load(&self.state) {
            Ok(mut found) => {
                found.machine.resume();
                *self = found;
            }
            // It may say `fired` (KILL-14), and memory does if that was what was written.
            Err(error) => tracing::error!(%error, "the journal of the kill switch cannot be read again"),
        }
        if self.firing().is_none() {
            return Err(error.into());
        }
        tracing::error!(%error, "the journal of the kill switch says that it was fired: going on");
        Ok(())
    }

    pub(crate) fn firing(&self) -> Option<&Firing> {
        match self.machine.standing() {
            Standing::Fired(firing) => Some(firing),
            Standing::Safe | Standing::Armed(_) => None,
        }
    }

    /// Does everything that is left, up to the end. `sign` makes the papers if they are not made yet.
    pub(crate) fn finish(&mut self, sign: impl Fn(&Firing) -> bool) -> Option<KillReport> {
        let mut report = None;
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Persist(journal) => {
                    // KILL-13: what cannot be written down is done all the same, and perhaps twice.
                    if let Err(error) = self.persist(&journal) {
                        tracing::error!(%error, "the journal of the kill switch cannot be written");
                    }
                }
                Output::Record(_) => self.machine.handle_input(Input::Recorded(Recorded::Noted)),
                Output::Sign => {
                    let signed = self.firing().is_some_and(&sign);
                    self.machine.handle_input(Input::Signed(signed));
                }
                // A later start tells it by the record (END-7).
                Output::Notify => self.machine.handle_input(Input::Notified(Notified::Untried)),
                Output::Destroy(path) => {
                    let is_program = self.firing().is_some_and(|firing| {
                        firing.program == ProgramFate::Delete
                            && firing.targets.last().is_some_and(|last| last.path == path)
                    });
                    let outcome = destroy(&path, is_program, &self.state);
                    tracing::warn!(path, %outcome, "destroyed by the kill switch");
                    self.machine.handle_input(Input::Destroyed(outcome));
                }
                Output::Report(firing) => {
                    let written = self.write_report(&firing);
                    report = Some(written);
                }
                Output::Forget | Output::End => {}
            }
        }
        report
    }

    fn write_report(&self, firing: &Firing) -> KillReport {
        let report = report(firing, &self.state);
        let json = serde_json::to_vec_pretty(&Document::new(report.clone())).unwrap_or_default();
        if let Err(error) = file::replace(&self.state.join(REPORT), &json, file::PRIVATE) {
            tracing::error!(%error, "the report of the kill switch cannot be written");
        }
        report
    }
}

/// Goes on with a firing that a power cut has interrupted. The first thing that any start does.
///
/// # Errors
/// When its journal cannot be read, or another kosd is at it.
pub fn resume(folder: &Path, credentials: Option<PathBuf>) -> Result<Found, KillFault> {
    let state = Root::state_of(folder);
    if !state.join(JOURNAL).exists() {
        return Ok(Found::Safe);
    }
    let mut switch = Switch::load(&state)?;
    let Some(firing) = switch.firing() else { return Ok(Found::Safe) };
    if firing.stage == Stage::Done && !firing.has_failures() {
        return Ok(Found::Killed { state });
    }
    let config = config_of(folder)?;
    let root = Root::new(folder, &config);
    let _lock = root.lock()?;
    switch.machine.resume();
    let place = root.keyring(&config, credentials);
    let report = switch.finish(|firing| {
        let (place, signers) = (place.clone(), root.signers(&config));
        let (its_root, firing) = (root.clone(), firing.clone());
        let papers = in_time(move || match Keystore::open(place, signers, firing.at) {
            Ok(keys) => Papers::sign(&its_root, &keys, &firing),
            Err(error) => {
                tracing::error!(%error, "nothing can be signed");
                Papers::default()
            }
        });
        papers.is_some_and(|papers| papers.write(&root))
    });
    Ok(report.map_or(Found::Killed { state }, |report| Found::Finished(Box::new(report))))
}

/// The configuration; where it cannot be read, the one without content.
fn config_of(folder: &Path) -> Result<Config, KillFault> {
    let loaded = Config::load(&Root::config_file(folder)).or_else(|_| Config::parse("config.yaml", b""))?;
    Ok(loaded.config)
}

/// What goes, in its order (KILL-17). Folders end in a slash; the program, if it goes, is last.
pub(crate) fn targets(root: &Root, keys: &Place, program: ProgramFate) -> Vec<Target> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let folder = |path: &Path| Target::new(format!("{}/", path.display()));
    let vault = text(&keys.vault);
    let mut targets = match keys.opener {
        Opener::KeyFile => {
            let key = text(&keys.key_file);
            let vault = match key_out_of_reach(keys) {
                None => Target::sealed(vault, key.clone()),
                Some(_) => Target::new(vault),
            };
            vec![Target::new(key), vault]
        }
        // The TPM would open a copy of what it sealed.
        Opener::Tpm => vec![Target::new(text(&keys.tpm.sealed)), Target::new(vault)],
        // Its key is not ours to destroy.
        Opener::Credential => vec![Target::new(vault)],
    };
    let mut unfinished = root.certificate().as_os_str().to_owned();
    unfinished.push(".new");
    targets.push(folder(root.secrets()));
    targets.extend([root.certificate(), Path::new(&unfinished)].map(|path| Target::new(text(path))));
    targets.push(folder(&root.state()));
    targets.push(Target::new(text(&root.socket())));
    if program == ProgramFate::Delete {
        targets.push(Target::new(own_program()));
    }
    targets
}

/// What stays (KILL-19).
pub(crate) fn remaining(root: &Root, keys: &Place) -> Vec<String> {
    let config = Root::config_file(root.folder());
    let mut left = vec![format!("{}: the configuration, which holds no secret", config.display())];
    left.extend(KEPT.map(|name| format!("{}: proof of the end", root.state().join(name).display())));
    match keys.opener {
        Opener::KeyFile => left.extend(key_out_of_reach(keys).filter(|_| keys.vault.exists())),
        Opener::Credential => {
            left.push("the systemd credential of the keys: destroy it where it comes from".to_owned());
        }
        Opener::Tpm => {}
    }
    left
}

/// In words, why the key file is not destroyed with the rest.
fn key_out_of_reach(keys: &Place) -> Option<String> {
    let shown = keys.key_file.display();
    match fs::symlink_metadata(&keys.key_file) {
        Ok(meta) if meta.is_file() => None,
        Ok(_) => Some(format!("what the key file {shown} leads to: it is no file itself; destroy it there")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some(format!("the key file {shown}, which was not there: destroy it wherever it is"))
        }
        Err(error) => Some(format!("the key file {shown}: {}", reason(&error))),
    }
}

/// The file that runs.
fn own_program() -> String {
    fs::read_link("/proc/self/exe")
        .map_or_else(|_| "/proc/self/exe".to_owned(), |path| path.display().to_string())
}

/// What `work` makes in a thread of its own, unless that takes too long: hardware may never answer, and the thread is left to
/// itself then.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (tell, told) = mpsc::channel();
    // Nobody may listen any more.
    thread::Builder::new().spawn(move || drop(tell.send(work()))).ok()?;
    told.recv_timeout(TELL_TIME_MAX).ok()
}

/// What the device signs for its end. Writing is apart from signing: a signer that was given up writes nothing later.
#[derive(Debug, Default)]
pub(crate) struct Papers {
    record: Option<Vec<u8>>,
    notice: Option<Vec<u8>>,
    /// The key of the newest certificate, by which the authority is told.
    pub(crate) shown: Option<Arc<SigningKey>>,
}

impl Papers {
    /// Signs the notice, and the record by which the authority is told. Takes as long as the hardware that has the keys.
    pub(crate) fn sign(root: &Root, keys: &Keystore, firing: &Firing) -> Self {
        let journal = remembered(root).ok().flatten().unwrap_or_default();
        let slot = newest(&journal).map(|held| KeySlot::Operational(held.slot));
        Self {
            record: make_record(keys, &journal, firing),
            notice: make_notice(keys, &journal, firing),
            shown: slot.and_then(|slot| keys.signing(slot, firing.at).ok()),
        }
    }

    /// Puts them in their places. False when there is no notice.
    pub(crate) fn write(&self, root: &Root) -> bool {
        let put = |name, bytes: &Option<Vec<u8>>, mode| {
            let bytes = bytes.as_deref()?;
            let written = file::replace(&root.state().join(name), bytes, mode);
            written.inspect_err(|error| tracing::error!(%error, name, "it cannot be written")).ok()
        };
        put(RECORD, &self.record, file::PRIVATE);
        put(NOTICE, &self.notice, file::PUBLIC).is_some()
    }
}

fn make_notice(keys: &Keystore, journal: &Journal, firing: &Firing) -> Option<Vec<u8>> {
    let key = keys.signing(KeySlot::Identity, firing.at).ok()?;
    let authority = journal.authority.as_ref().and_then(|anchor| anchor.name.as_ref());
    let notice = Notice {
        subject: NoticeSubject::Device,
        name: firing.subject.name.clone(),
        authority: authority.map(ToString::to_string),
        at: firing.at,
        key: key.public().clone(),
        program_deleted: firing.program == ProgramFate::Delete,
        entry: None,
        checkpoint: None,
    };
    let unsigned = notice.unsigned();
    let signature = key.sign(SignatureForm::Fixed, &unsigned.to_be_signed()).ok()?;
    Some(unsigned.finish(signature))
}

/// As END-3 has it: signed by the newest certificate's key, or by the identity key.
fn make_record(keys: &Keystore, journal: &Journal, firing: &Firing) -> Option<Vec<u8>> {
    let (member, anchor) = journal.membership.as_ref().zip(journal.authority.as_ref())?;
    let slot = newest(journal).map_or(KeySlot::Identity, |held| KeySlot::Operational(held.slot));
    let key = keys.signing(slot, firing.at).ok()?;
    let record = Record {
        device: member.device.clone(),
        authority: anchor.name.clone()?,
        at: firing.at,
        order: None,
        receipt: ByteArray::from(entropy::array().ok()?),
        assurance: Wiped::Cleared,
        pin: anchor.pins.first().copied()?,
        addresses: anchor.addresses.clone(),
    };
    let unsigned = record.unsigned(key.public());
    let signature = key.sign(SignatureForm::Fixed, &unsigned.to_be_signed()).ok()?;
    Some(unsigned.finish(signature))
}

/// The newest certificate: the authority may have recorded one that it could not tell of.
pub(crate) fn newest(journal: &Journal) -> Option<&Held> {
    let candidate = journal.candidate.as_ref().and_then(|candidate| candidate.held.as_ref());
    candidate.or(journal.active.as_ref())
}

/// Destroys one target, and says what may be said of it (KILL-20 to KILL-25).
fn destroy(path: &str, is_program: bool, state: &Path) -> Assurance {
    let failed = |error: RootError| Assurance::Failed(error.to_string());
    let at = Path::new(path);
    let meta = match fs::symlink_metadata(at) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Assurance::Absent,
        // It may be there (KILL-24).
        Err(error) => return Assurance::Failed(reason(&error).to_owned()),
    };
    if is_program {
        return delete_program(at, &meta);
    }
    if path.as_bytes().ends_with(b"/") {
        let kept: &[&str] =
            if at.as_os_str().as_bytes().starts_with(state.as_os_str().as_bytes()) { &KEPT } else { &[] };
        return file::empty_except(at, kept).map_or_else(failed, |()| Assurance::Cleared);
    }
    if !meta.is_file() {
        // A socket, or a link: where it leads is not ours.
        return unlink(at);
    }
    file::remove(at).map_or_else(failed, |()| Assurance::Cleared)
}

/// Only what is a plain file of our own user (KILL-18): a link or a file of the distribution is somebody else's.
fn delete_program(path: &Path, meta: &fs::Metadata) -> Assurance {
    if !meta.is_file() || meta.uid() != rustix::process::geteuid().as_raw() {
        return Assurance::Failed("not a regular file of the user that kosd runs as".to_owned());
    }
    unlink(path)
}

fn unlink(path: &Path) -> Assurance {
    let removed = fs::remove_file(path).and_then(|()| path.parent().map_or(Ok(()), sync_folder));
    removed.map_or_else(|error| Assurance::Failed(reason(&error).to_owned()), |()| Assurance::Deleted)
}

/// As it is told.
pub(crate) fn report(firing: &Firing, state: &Path) -> KillReport {
    let told = |target: &Target| KillTarget {
        path: target.path.clone(),
        assurance: target.outcome.as_ref().map_or_else(|| "pending".to_owned(), ToString::to_string),
    };
    KillReport {
        subject: "device".to_owned(),
        name: firing.subject.name.clone(),
        fired_at: firing.at,
        recorded: firing.recorded,
        audit_index: firing.entry,
        notice: firing.noticed.then(|| state.join(NOTICE).display().to_string()),
        notified: firing.notified.as_str().to_owned(),
        targets: firing.targets.iter().map(told).collect(),
        program: program(firing.program),
        complete: !firing.has_failures() && firing.targets.iter().all(|target| target.outcome.is_some()),
        remaining: firing.remaining.clone(),
    }
}

pub(crate) const fn program(fate: ProgramFate) -> KillProgram {
    match fate {
        ProgramFate::Delete => KillProgram::Delete,
        ProgramFate::Keep => KillProgram::Keep,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use kos_base::{Secret, Timestamp};
    use kos_vault::kill::{ConfirmCode, Moment, Subject, SubjectKind};

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_s(1_795_170_000);

    fn failed() -> Result<(), RootError> {
        Err(RootError::unwritable(Path::new("kill.journal"), io::Error::from_raw_os_error(5)))
    }

    /// A switch that is armed on the disk and fired in memory, and the journal that is to say so.
    fn fired(state: &Path) -> (Switch, Vec<u8>) {
        let mut switch = Switch::load(state).unwrap();
        let subject = Subject { kind: SubjectKind::Device, name: "kitchen".to_owned() };
        let code = switch.machine.arm(NOW, subject, ProgramFate::Keep, &Secret::new([7; 21])).unwrap();
        while let Some(output) = switch.machine.poll_output() {
            if let Output::Persist(journal) = output {
                switch.persist(&journal).unwrap();
            }
        }
        let code = ConfirmCode::typed(&code.shown());
        switch.machine.fire(NOW, &code, vec![Target::new("/nowhere".to_owned())], Vec::new()).unwrap();
        let Some(Output::Persist(journal)) = switch.machine.poll_output() else { panic!("no journal") };
        (switch, journal)
    }

    #[test]
    fn an_error_after_the_journal_says_fired_does_not_stop_the_firing() {
        let state = tempfile::tempdir().unwrap();
        let (mut switch, journal) = fired(state.path());
        switch.persist(&journal).unwrap();
        switch.settle(failed()).unwrap();
        assert!(switch.firing().is_some());
        let next = switch.machine.poll_output();
        assert_eq!(next, Some(Output::Record(Moment::Fired(ProgramFate::Keep))));
        assert_eq!(switch.machine.poll_output(), None);
    }

    #[test]
    fn a_firing_that_the_journal_does_not_say_has_not_happened() {
        let state = tempfile::tempdir().unwrap();
        let (mut switch, _) = fired(state.path());
        assert!(switch.settle(failed()).is_err());
        assert!(matches!(switch.machine.standing(), Standing::Armed(_)));
        assert_eq!(switch.machine.poll_output(), None);
    }

    #[test]
    fn what_cannot_be_looked_at_is_not_absent() {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("file");
        fs::write(&file, "").unwrap();
        let say = |path: &Path, is_program| destroy(&path.to_string_lossy(), is_program, state.path());
        for is_program in [false, true] {
            assert_eq!(say(&state.path().join("nothing"), is_program), Assurance::Absent);
            assert!(matches!(say(&file.join("below"), is_program), Assurance::Failed(_)));
        }
    }

    #[test]
    fn a_key_file_that_cannot_be_destroyed_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::parse("config.yaml", b"").unwrap().config;
        let root = Root::new(folder.path(), &config);
        root.prepare().unwrap();
        let place = root.keyring(&config, None);
        fs::write(&place.vault, "sealed").unwrap();
        let told = || {
            let line = place.key_file.display().to_string();
            let is_sealed =
                targets(&root, &place, ProgramFate::Keep).iter().any(|target| target.key.is_some());
            (remaining(&root, &place).iter().any(|left| left.contains(&line)), is_sealed)
        };
        assert_eq!(told(), (true, false));
        symlink("/dev/null", &place.key_file).unwrap();
        assert_eq!(told(), (true, false));
        fs::remove_file(&place.key_file).unwrap();
        fs::write(&place.key_file, "key").unwrap();
        assert_eq!(told(), (false, true));
    }
}
