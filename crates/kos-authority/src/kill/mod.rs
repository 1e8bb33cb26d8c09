//! The kill switch of an authority: armed and fired on the local socket, recorded, then nothing left but the proof.
//!
//! Shape: [`Switch`] is the machine and its journal; [`live`] drives it while the authority serves, up to the entry and
//! the notice; then the server ends, the store is closed, and [`Switch::finish`] destroys. [`check`] is what every start
//! does first: it goes on with a firing, or refuses.
//!
//! Invariants: those of [`kos_vault::kill`]. `kill_fired` is the last entry of the log, and the checkpoint in the notice
//! covers it.
//!
//! What it does not do: tell devices, since the link to them has no word for it; reach backups.
//!
//! Source: `docs/spec/kill.md` KILL-1 to KILL-33.

mod erase;
pub(crate) mod live;
mod papers;
mod scope;

use std::{fs, io, path::Path};

use kos_api::{
    Document,
    kill::{KillProgram, KillReport, KillTarget},
};
use kos_base::{AuthorityName, Code, code};
use kos_net::entropy::NoEntropy;
use kos_vault::kill::{
    Assurance, Firing, Input, KillError, Machine, Notified, Output, ProgramFate, Recorded, Stage, Standing,
    Subject, SubjectKind, TELL_TIME_MAX, Target,
};
use tokio::time::{Instant, timeout_at};

use crate::{
    authority::{Home, StartError},
    files::{self, Mode},
    store::{StoreError, StoreLock},
};

/// Why nothing was armed, disarmed or fired.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KillFault {
    #[error(transparent)]
    Refused(#[from] KillError),
    #[error("the journal of the kill switch: {}", kos_base::text::reason(.0))]
    File(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// The process ends before the report.
    #[error("the report is in the folder of the authority")]
    Ended,
}

impl KillFault {
    pub(crate) const fn code(&self) -> Code {
        match self {
            Self::Refused(error) => error.code(),
            Self::File(_) => code::config::FILE_UNWRITABLE,
            Self::Store(error) => error.code(),
            Self::Entropy(error) => error.code(),
            Self::Ended => code::kill::KILL_FIRED,
        }
    }
}

/// The machine and its file.
#[derive(Debug)]
pub(crate) struct Switch {
    home: Home,
    machine: Machine,
}

impl Switch {
    /// As its journal says.
    pub(crate) fn load(home: &Home) -> Result<Self, KillFault> {
        let journal = match fs::read(home.kill_journal()) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Self { home: home.clone(), machine: Machine::load(journal.as_deref())? })
    }

    fn persist(&self, journal: &[u8]) -> io::Result<()> {
        files::replace(&self.home.kill_journal(), journal, Mode::Private)
    }

    /// What cannot be written down after the firing is done all the same, and perhaps twice (KILL-13).
    fn persist_or_say(&self, journal: &[u8]) {
        if let Err(error) = self.persist(journal) {
            tracing::error!(%error, "the journal of the kill switch cannot be written");
        }
    }

    fn forget(&self) -> io::Result<()> {
        match fs::remove_file(self.home.kill_journal()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => files::sync_folder(self.home.folder()),
        }
    }

    fn firing(&self) -> Option<&Firing> {
        match self.machine.standing() {
            Standing::Fired(firing) => Some(firing),
            Standing::Safe | Standing::Armed(_) => None,
        }
    }

    /// Destroys what is left to destroy, and reports. Nothing has the store open.
    pub(crate) fn finish(&mut self) -> Option<KillReport> {
        let mut report = None;
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Persist(journal) => self.persist_or_say(&journal),
                Output::Destroy(path) => {
                    let outcome = self.destroy(&path);
                    tracing::warn!(path, %outcome, "destroyed by the kill switch");
                    self.machine.handle_input(Input::Destroyed(outcome));
                }
                Output::Report(firing) => report = Some(self.write_report(&firing)),
                // Everything before was done, or given up, by whoever drives it up to here.
                Output::Record(_) => self.machine.handle_input(Input::Recorded(Recorded::Failed)),
                Output::Sign => self.machine.handle_input(Input::Signed(false)),
                Output::Notify => self.machine.handle_input(Input::Notified(Notified::Nobody)),
                Output::Forget | Output::End => {}
            }
        }
        report
    }

    fn destroy(&self, path: &str) -> Assurance {
        let last = self.firing().and_then(|firing| firing.targets.last());
        let deletes = self.firing().is_some_and(|firing| firing.program == ProgramFate::Delete);
        let at = Path::new(path);
        if deletes && last.is_some_and(|last| last.path == path) {
            return erase::delete_program(at);
        }
        if path.ends_with('/') {
            let stays = scope::kept(&self.home).map(|(path, _)| path);
            return erase::sweep(at, &stays);
        }
        erase::destroy(at)
    }

    fn write_report(&self, firing: &Firing) -> KillReport {
        let report = report(firing, &self.home);
        let json = serde_json::to_vec_pretty(&Document::new(report.clone())).unwrap_or_default();
        if let Err(error) = files::replace(&self.home.kill_report(), &json, Mode::Private) {
            tracing::error!(%error, "the report of the kill switch cannot be written");
        }
        report
    }
}

/// Refuses an authority that was destroyed. A firing that a power cut has interrupted is gone on with first.
///
/// # Errors
/// [`StartError::Killed`], also after going on with it; or when the journal cannot be read, which may say so.
pub(crate) async fn check(home: &Home, credentials: Option<&Path>) -> Result<(), StartError> {
    resume(home, credentials).await.map(drop)?;
    refuse(home)
}

/// The same for whoever can only refuse.
pub(crate) fn refuse(home: &Home) -> Result<(), StartError> {
    match load(home)?.firing() {
        None => Ok(()),
        Some(_) => Err(StartError::Killed { notice: home.death_notice().display().to_string() }),
    }
}

fn load(home: &Home) -> Result<Switch, StartError> {
    Switch::load(home).map_err(|error| match error {
        KillFault::File(error) => StartError::file(&home.kill_journal(), &error),
        error => StartError::Kill { why: error.to_string(), code: error.code() },
    })
}

/// Goes on with a firing in the authority's folder, if there is one that is not done.
///
/// # Errors
/// When the journal cannot be read, or another process has the folder.
pub(crate) async fn resume(
    home: &Home,
    credentials: Option<&Path>,
) -> Result<Option<KillReport>, StartError> {
    let mut switch = load(home)?;
    let Some(firing) = switch.firing() else { return Ok(None) };
    if firing.stage == Stage::Done && !firing.has_failures() {
        return Ok(None);
    }
    let _lock = StoreLock::take(home.folder())?;
    tracing::warn!("the kill switch was fired: going on");
    switch.machine.resume();
    let deadline = Instant::now() + TELL_TIME_MAX;
    let keys = match switch.firing() {
        Some(firing) if firing.stage < Stage::Notifying => papers::keys(home, credentials, deadline).await,
        _ => None,
    };
    let mut report = None;
    while let Some(output) = switch.machine.poll_output() {
        let input = match output {
            Output::Persist(journal) => {
                switch.persist_or_say(&journal);
                continue;
            }
            Output::Record(_) => {
                let fate = switch.firing().map_or(ProgramFate::Keep, |firing| firing.program);
                let recorded = match &keys {
                    Some(keys) => timeout_at(deadline, papers::record_again(home, keys, fate)).await.ok(),
                    None => None,
                };
                Input::Recorded(recorded.unwrap_or(Recorded::Failed))
            }
            Output::Sign => Input::Signed(match (&keys, switch.firing()) {
                (Some(keys), Some(firing)) => papers::sign_again(home, keys, firing, deadline).await,
                _ => false,
            }),
            Output::Notify => Input::Notified(Notified::Nobody),
            Output::Destroy(path) => Input::Destroyed(switch.destroy(&path)),
            Output::Report(firing) => {
                report = Some(switch.write_report(&firing));
                continue;
            }
            Output::Forget | Output::End => continue,
        };
        switch.machine.handle_input(input);
    }
    Ok(report)
}

fn subject(name: &AuthorityName) -> Subject {
    Subject { kind: SubjectKind::Authority, name: name.to_string() }
}

/// As it is told.
fn report(firing: &Firing, home: &Home) -> KillReport {
    let told = |target: &Target| KillTarget {
        path: target.path.clone(),
        assurance: target.outcome.as_ref().map_or_else(|| "pending".to_owned(), ToString::to_string),
    };
    KillReport {
        subject: "authority".to_owned(),
        name: firing.subject.name.clone(),
        fired_at: firing.at,
        recorded: firing.recorded,
        audit_index: firing.entry,
        notice: firing.noticed.then(|| home.death_notice().display().to_string()),
        notified: firing.notified.as_str().to_owned(),
        targets: firing.targets.iter().map(told).collect(),
        program: program(firing.program),
        complete: !firing.has_failures() && firing.targets.iter().all(|target| target.outcome.is_some()),
        remaining: firing.remaining.clone(),
    }
}

const fn program(fate: ProgramFate) -> KillProgram {
    match fate {
        ProgramFate::Delete => KillProgram::Delete,
        ProgramFate::Keep => KillProgram::Keep,
    }
}

const fn fate(program: KillProgram) -> ProgramFate {
    match program {
        KillProgram::Delete => ProgramFate::Delete,
        KillProgram::Keep => ProgramFate::Keep,
    }
}
