//! The switch while the authority serves.
//!
//! Firing takes three hands: the request makes entry and notice and says that it is so; the server lets go of everything
//! but the socket on which somebody waits, and destroys; the request answers with the report.

use std::{io, sync::Arc};

use kos_api::{
    kill::{KillArmed, KillProgram, KillReport, KillState, KillStatus},
    text::SecretText,
};
use kos_base::{AuthorityName, Timestamp};
use kos_identity::registry::Actor;
use kos_net::entropy;
use kos_vault::kill::{
    ARMED_FOR, ConfirmCode, Input, KillError, Moment, Notified, Output, ProgramFate, Recorded, Standing,
    TELL_TIME_MAX, Target,
};
use tokio::{
    sync::{Mutex, oneshot, watch},
    time::{Instant, timeout_at},
};

use super::{KillFault, Switch, fate, papers, program, scope::Scope, subject};

use crate::{
    authority::{Home, Shared},
    clock,
    record::SystemChange,
    writer::Transaction,
};

/// The switch of a running authority.
#[derive(Debug)]
pub(crate) struct Kill {
    /// One command at a time.
    switch: Mutex<Switch>,
    fired: watch::Sender<bool>,
    /// Who waits for the report.
    waiting: Mutex<Option<oneshot::Sender<KillReport>>>,
}

impl Kill {
    pub(crate) fn load(home: &Home) -> Result<Self, KillFault> {
        let switch = Mutex::new(Switch::load(home)?);
        Ok(Self { switch, fired: watch::Sender::new(false), waiting: Mutex::default() })
    }

    /// Ends when everything is recorded that will be, and the server is to let go.
    pub(crate) async fn fired(&self) {
        // The sender is ours: it is not gone before us.
        drop(self.fired.subscribe().wait_for(|fired| *fired).await);
    }

    /// Destroys everything, and answers whoever waits. Nothing has the store open any more.
    pub(crate) async fn destroy(&self) {
        let mut switch = self.switch.lock().await;
        // On this thread: nothing else is to be done now.
        let report = switch.finish();
        let waiting = self.waiting.lock().await.take();
        if let (Some(report), Some(waiting)) = (report, waiting) {
            // Whoever went away finds it in the folder.
            drop(waiting.send(report));
        }
    }

    pub(crate) async fn status(&self, name: &AuthorityName, now: Timestamp) -> KillStatus {
        let switch = self.switch.lock().await;
        let until = switch.machine.armed_until(now);
        let (state, arming) = match switch.machine.standing() {
            Standing::Fired(_) => (KillState::Fired, None),
            Standing::Armed(arming) if until.is_some() => (KillState::Armed, Some(arming)),
            Standing::Armed(_) | Standing::Safe => (KillState::Safe, None),
        };
        KillStatus {
            subject: "authority".to_owned(),
            name: name.to_string(),
            state,
            expires_at: until,
            program: arming.map(|arming| program(arming.program)),
            wrong_codes: arming.map_or(0, |arming| arming.wrong),
        }
    }

    /// What would go, if it can be armed.
    pub(crate) async fn admit_arming(
        &self,
        shared: &Shared,
        wanted: KillProgram,
    ) -> Result<Vec<String>, KillFault> {
        let switch = self.switch.lock().await;
        switch.machine.admit_arming(clock::now())?;
        Ok(would_go(shared, fate(wanted)))
    }

    /// What would go, if it is armed. Does not look at the code: it would be a way to try codes without being counted.
    pub(crate) async fn admit_firing(&self, shared: &Shared) -> Result<Vec<String>, KillFault> {
        let switch = self.switch.lock().await;
        let arming = match switch.machine.standing() {
            Standing::Armed(arming) if arming.is_good(clock::now()) => arming,
            Standing::Armed(_) => return Err(KillError::Expired.into()),
            Standing::Fired(_) => return Err(KillError::Fired.into()),
            Standing::Safe => return Err(KillError::NotArmed.into()),
        };
        Ok(would_go(shared, arming.program))
    }

    pub(crate) async fn arm(
        &self,
        shared: &Shared,
        actor: Actor,
        wanted: KillProgram,
    ) -> Result<KillArmed, KillFault> {
        let mut switch = self.switch.lock().await;
        let (now, chosen) = (clock::now(), fate(wanted));
        let random = entropy::secret::<21>()?;
        let code = switch.machine.arm(now, subject(&shared.name), chosen, &random)?;
        switch.carry_out(shared, &actor).await?;
        Ok(KillArmed {
            subject: "authority".to_owned(),
            name: shared.name.to_string(),
            code: SecretText::new(code.shown().to_string()),
            expires_at: now.plus(ARMED_FOR),
            program: wanted,
            targets: Scope::of(shared).targets(chosen).into_iter().map(|target| target.path).collect(),
        })
    }

    pub(crate) async fn disarm(&self, shared: &Shared, actor: Actor) -> Result<bool, KillFault> {
        let mut switch = self.switch.lock().await;
        let was_armed = switch.machine.disarm()?;
        switch.carry_out(shared, &actor).await?;
        Ok(was_armed)
    }

    /// Fires. The report comes when the server has let go of everything and all is destroyed.
    pub(crate) async fn fire(
        &self,
        shared: &Arc<Shared>,
        actor: Actor,
        code: &str,
    ) -> Result<KillReport, KillFault> {
        let mut switch = self.switch.lock().await;
        let chosen = match switch.machine.standing() {
            Standing::Armed(arming) => arming.program,
            Standing::Fired(_) => return Err(KillError::Fired.into()),
            Standing::Safe => return Err(KillError::NotArmed.into()),
        };
        let scope = Scope::of(shared);
        let (goes, stays) = (scope.targets(chosen), scope.remaining());
        let code = ConfirmCode::typed(code);
        if let Err(refused) = switch.machine.fire(clock::now(), &code, goes, stays) {
            // A wrong code is counted before it is answered.
            switch.carry_out(shared, &actor).await?;
            return Err(refused.into());
        }
        switch.pass_the_point_of_no_return()?;
        tracing::warn!(authority = %shared.name, "the kill switch was fired");
        switch.tell(shared, &actor).await;
        drop(switch);
        let (reply, report) = oneshot::channel();
        *self.waiting.lock().await = Some(reply);
        self.fired.send_replace(true);
        report.await.map_err(|_| KillFault::Ended)
    }
}

impl Switch {
    /// What arming, disarming and wrong codes ask for.
    async fn carry_out(&mut self, shared: &Shared, actor: &Actor) -> Result<(), KillFault> {
        while let Some(output) = self.machine.poll_output() {
            let done = match output {
                Output::Persist(journal) => self.persist(&journal).map_err(KillFault::from),
                Output::Forget => self.forget().map_err(KillFault::from),
                Output::Record(moment) => record(shared, actor, moment).await.map_err(KillFault::from),
                _ => Ok(()),
            };
            if let Err(error) = done {
                // KILL-13: what is not durable has not happened.
                *self = Self::load(&self.home.clone())?;
                return Err(error);
            }
        }
        Ok(())
    }

    /// The journal says `fired`; or nothing has happened.
    fn pass_the_point_of_no_return(&mut self) -> Result<(), KillFault> {
        match self.machine.poll_output() {
            Some(Output::Persist(journal)) => {
                let written = self.persist(&journal);
                self.settle(written)
            }
            _ => Ok(()),
        }
    }

    /// An error may come after the new journal is in its place: when that says `fired`, there is no way back (KILL-8).
    fn settle(&mut self, written: io::Result<()>) -> Result<(), KillFault> {
        let Err(error) = written else { return Ok(()) };
        match Self::load(&self.home.clone()) {
            Ok(mut found) => {
                found.machine.resume();
                *self = found;
            }
            // It may say `fired` (KILL-14), as memory does.
            Err(error) => tracing::error!(%error, "the journal of the kill switch cannot be read again"),
        }
        if self.firing().is_none() {
            return Err(error.into());
        }
        tracing::error!(%error, "the journal of the kill switch says that it was fired: going on");
        Ok(())
    }

    /// Entry, notice, notification: five seconds together.
    async fn tell(&mut self, shared: &Arc<Shared>, actor: &Actor) {
        let deadline = Instant::now() + TELL_TIME_MAX;
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Persist(journal) => self.persist_or_say(&journal),
                Output::Record(_) => {
                    let chosen = self.firing().map_or(ProgramFate::Keep, |firing| firing.program);
                    let recorded = timeout_at(deadline, record_last(shared, actor, chosen)).await;
                    self.machine.handle_input(Input::Recorded(recorded.unwrap_or(Recorded::Failed)));
                }
                Output::Sign => {
                    let orders = &shared.keys.orders;
                    let signed = match self.firing() {
                        Some(firing) => {
                            papers::sign(&self.home, orders, &shared.log_files, firing, deadline).await
                        }
                        None => false,
                    };
                    self.machine.handle_input(Input::Signed(signed));
                }
                // KILL-31. The rest waits until the server has let go.
                Output::Notify => return self.machine.handle_input(Input::Notified(Notified::Nobody)),
                _ => {}
            }
        }
    }
}

async fn record(shared: &Shared, actor: &Actor, moment: Moment) -> Result<(), crate::store::StoreError> {
    let deletes = |chosen| chosen == ProgramFate::Delete;
    let change = match moment {
        Moment::Armed(chosen) => SystemChange::KillArmed { delete_program: deletes(chosen) },
        Moment::Disarmed { codes } => SystemChange::KillDisarmed { codes },
        Moment::Fired(chosen) => SystemChange::KillFired { delete_program: deletes(chosen) },
    };
    let own = Transaction::own(clock::now(), vec![change.into()], Vec::new());
    shared.writer.commit(Transaction { actor: actor.clone(), ..own }).await.map(drop)
}

/// The last entry of the log, and its checkpoint where everybody can read it.
async fn record_last(shared: &Shared, actor: &Actor, chosen: ProgramFate) -> Recorded {
    let committed = shared.writer.commit_last(papers::last(actor.clone(), chosen)).await;
    let published = shared.log_files.publish_rest(&shared.store).await;
    if let Err(error) = published {
        tracing::error!(%error, "the last checkpoint is not in the log's files");
    }
    match committed {
        Ok(receipt) => Recorded::Entry(receipt.first),
        Err(error) => {
            tracing::error!(%error, "the log does not take the end");
            Recorded::Failed
        }
    }
}

fn would_go(shared: &Shared, chosen: ProgramFate) -> Vec<String> {
    let targets = Scope::of(shared).targets(chosen);
    let last = targets.len();
    let line = |(at, target): (usize, &Target)| {
        let path = &target.path;
        let is_program = chosen == ProgramFate::Delete && at + 1 == last;
        let looked = std::fs::symlink_metadata(path);
        let there = !matches!(looked, Err(error) if error.kind() == io::ErrorKind::NotFound);
        match (is_program, there) {
            (true, _) => Some(format!("deleted: {path}")),
            // The folder itself is looked through once more, for what was written meanwhile.
            (false, _) if path.ends_with('/') => None,
            (false, true) if target.key.is_some() => Some(format!("crypto-erased: {path}")),
            (false, true) => Some(format!("cleared: {path}")),
            (false, false) => None,
        }
    };
    targets.iter().enumerate().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kos_base::Secret;

    use super::*;

    /// A switch that is armed on the disk and fired in memory, and the journal that is to say so.
    fn fired(data: &Path) -> (Switch, Vec<u8>) {
        let home = Home::below(data);
        std::fs::create_dir_all(home.folder()).unwrap();
        let mut switch = Switch::load(&home).unwrap();
        let (now, name) = (clock::now(), "attic".parse().unwrap());
        let code = switch.machine.arm(now, subject(&name), ProgramFate::Keep, &Secret::new([7; 21])).unwrap();
        while let Some(output) = switch.machine.poll_output() {
            if let Output::Persist(journal) = output {
                switch.persist(&journal).unwrap();
            }
        }
        let code = ConfirmCode::typed(&code.shown());
        switch.machine.fire(now, &code, vec![Target::new("/nowhere".to_owned())], Vec::new()).unwrap();
        let Some(Output::Persist(journal)) = switch.machine.poll_output() else { panic!("no journal") };
        (switch, journal)
    }

    fn failed() -> io::Result<()> {
        Err(io::Error::from_raw_os_error(5))
    }

    #[test]
    fn an_error_after_the_journal_says_fired_does_not_stop_the_firing() {
        let data = tempfile::tempdir().unwrap();
        let (mut switch, journal) = fired(data.path());
        switch.persist(&journal).unwrap();
        switch.settle(failed()).unwrap();
        assert!(switch.firing().is_some());
        let next = switch.machine.poll_output();
        assert_eq!(next, Some(Output::Record(Moment::Fired(ProgramFate::Keep))));
        assert_eq!(switch.machine.poll_output(), None);
    }

    #[test]
    fn a_firing_that_the_journal_does_not_say_has_not_happened() {
        let data = tempfile::tempdir().unwrap();
        let (mut switch, _) = fired(data.path());
        assert!(switch.settle(failed()).is_err());
        assert!(matches!(switch.machine.standing(), Standing::Armed(_)));
        assert_eq!(switch.machine.poll_output(), None);
    }
}
