//! The kill switch of a running device: armed and fired over the local socket, its authority told before anything goes.
//!
//! Source: `docs/spec/kill.md` KILL-1 to KILL-13, KILL-30.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use kos_api::{
    kill::{ArmKill, FireKill, KillArmed, KillProgram, KillReport, KillState, KillStatus},
    plan::Plan,
    problem::Party,
    routes::{LOCAL_KILL_ARM, LOCAL_KILL_DISARM, LOCAL_KILL_FIRE},
    text::SecretText,
};
use kos_audit::EventType;
use kos_base::Code;
use kos_identity::enrolment::{
    device::Input as Heard,
    message::{FromAuthority, FromDevice, Notice},
};
use kos_net::{entropy, keys::SigningKey};
use kos_vault::kill::{
    ARMED_FOR, ConfirmCode, Input, KillError, Moment, Notified, Output, ProgramFate, Recorded, Stage,
    Standing, Subject, SubjectKind, TELL_TIME_MAX, Target,
};
use minicbor::bytes::ByteVec;
use serde_json::json;
use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
    time::Instant,
};

use super::{Device, Happening, Outcome};
use crate::{
    kill::{self, KillFault, Papers},
    life::memory::read_record,
    root::Root,
    socket::KillQuestion,
};

/// Why it is refused, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The stable code.
    pub code: Code,
    /// What happened.
    pub detail: String,
}

impl<E: Into<KillFault>> From<E> for Refused {
    fn from(error: E) -> Self {
        let fault = error.into();
        Self { code: fault.code(), detail: fault.to_string() }
    }
}

/// A firing that waits for its authority to be told.
pub(super) struct Killing {
    /// When it waits no longer.
    pub(super) deadline: Instant,
    reply: Option<oneshot::Sender<Result<KillReport, Refused>>>,
    /// Somebody says stop: the papers are made, and nobody is told.
    hurried: bool,
    /// Where the authority is told.
    apart: Option<Apart>,
}

/// A runtime of its own in a thread of its own: a signature in a handshake may hang in hardware, and the loop must not. Its
/// thread ends after it is dropped, if it can.
struct Apart {
    runtime: Handle,
    _end: oneshot::Sender<()>,
}

impl Apart {
    fn begin() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        let handle = runtime.handle().clone();
        thread::Builder::new().spawn(move || {
            // It ends by being dropped.
            let _ = runtime.block_on(ended);
        })?;
        Ok(Self { runtime: handle, _end: end })
    }
}

impl Device {
    pub(super) fn answer_kill(&mut self, question: KillQuestion) {
        // Whoever asked may be gone by now; that is their business.
        match question {
            KillQuestion::Status(reply) => drop(reply.send(self.kill_status())),
            KillQuestion::PlanArm(body, reply) => drop(reply.send(self.plan_arm(&body))),
            KillQuestion::Arm(body, reply) => drop(reply.send(self.arm(&body))),
            KillQuestion::PlanDisarm(reply) => drop(reply.send(Ok(self.plan_disarm()))),
            KillQuestion::Disarm(reply) => drop(reply.send(self.disarm())),
            KillQuestion::PlanFire(reply) => drop(reply.send(self.plan_fire())),
            KillQuestion::Fire(body, reply) => match self.fire(&body) {
                Ok(()) => {
                    let deadline = Instant::now() + TELL_TIME_MAX;
                    self.killing =
                        Some(Killing { deadline, reply: Some(reply), hurried: false, apart: None });
                    self.begin_killing();
                }
                Err(refused) => drop(reply.send(Err(refused))),
            },
        }
    }

    fn subject(&self) -> Subject {
        let member = self.machine.journal().membership.as_ref();
        let name = member.map_or_else(|| "this device".to_owned(), |member| member.device.to_string());
        Subject { kind: SubjectKind::Device, name }
    }

    fn kill_status(&self) -> KillStatus {
        let until = self.switch.machine.armed_until(self.clock.now());
        let (state, arming) = match self.switch.machine.standing() {
            Standing::Fired(_) => (KillState::Fired, None),
            Standing::Armed(arming) if until.is_some() => (KillState::Armed, Some(arming)),
            Standing::Armed(_) | Standing::Safe => (KillState::Safe, None),
        };
        KillStatus {
            subject: "device".to_owned(),
            name: self.subject().name,
            state,
            expires_at: until,
            program: arming.map(|arming| kill::program(arming.program)),
            wrong_codes: arming.map_or(0, |arming| arming.wrong),
        }
    }

    fn kill_plan(&self, action: &str, effects: Vec<String>) -> Plan {
        Plan {
            action: action.to_owned(),
            object: Some(Party::new("device", &self.subject().name)),
            changes: Vec::new(),
            effects,
        }
    }

    fn plan_arm(&self, body: &ArmKill) -> Result<Plan, Refused> {
        self.switch.machine.admit_arming(self.clock.now())?;
        let mut effects = vec!["a code is shown once, which fires for 10 minutes".to_owned()];
        effects.extend(self.would_go(fate(body.program)));
        Ok(self.kill_plan(LOCAL_KILL_ARM.name, effects))
    }

    fn plan_disarm(&self) -> Plan {
        let armed = matches!(self.switch.machine.standing(), Standing::Armed(_));
        let effects = armed.then(|| "the code that was shown fires nothing any more".to_owned());
        self.kill_plan(LOCAL_KILL_DISARM.name, effects.into_iter().collect())
    }

    /// Does not look at the code: a plan that did would be a way to try codes without being counted.
    fn plan_fire(&self) -> Result<Plan, Refused> {
        let Standing::Armed(arming) = self.switch.machine.standing() else {
            return Err(KillError::NotArmed.into());
        };
        let mut effects = vec!["the authority is told, for 5 seconds at most".to_owned()];
        effects.extend(self.would_go(arming.program));
        Ok(self.kill_plan(LOCAL_KILL_FIRE.name, effects))
    }

    fn would_go(&self, program: ProgramFate) -> Vec<String> {
        let targets = self.targets_of_kill(program);
        let last = targets.len();
        let word = |at: usize| {
            let is_program = program == ProgramFate::Delete && at + 1 == last;
            if is_program { "deleted" } else { "cleared" }
        };
        let line = |(at, target): (usize, &Target)| {
            let erased = if target.key.is_some() { "crypto-erased" } else { word(at) };
            format!("{erased}: {}", target.path)
        };
        targets.iter().enumerate().map(line).collect()
    }

    fn targets_of_kill(&self, program: ProgramFate) -> Vec<Target> {
        kill::targets(&self.root, self.keys.place(), program)
    }

    fn arm(&mut self, body: &ArmKill) -> Result<KillArmed, Refused> {
        let (now, subject, program) = (self.clock.now(), self.subject(), fate(body.program));
        let random = entropy::secret::<21>()?;
        let code = self.switch.machine.arm(now, subject.clone(), program, &random)?;
        self.carry_out_kill()?;
        Ok(KillArmed {
            subject: "device".to_owned(),
            name: subject.name,
            code: SecretText::new(code.shown().to_string()),
            expires_at: now.plus(ARMED_FOR),
            program: body.program,
            targets: self.targets_of_kill(program).into_iter().map(|target| target.path).collect(),
        })
    }

    fn disarm(&mut self) -> Result<KillStatus, Refused> {
        self.switch.machine.disarm()?;
        self.carry_out_kill()?;
        Ok(self.kill_status())
    }

    /// Up to the moment from which there is no way back.
    fn fire(&mut self, body: &FireKill) -> Result<(), Refused> {
        let Standing::Armed(arming) = self.switch.machine.standing() else {
            let fired = matches!(self.switch.machine.standing(), Standing::Fired(_));
            return Err(if fired { KillError::Fired } else { KillError::NotArmed }.into());
        };
        let targets = self.targets_of_kill(arming.program);
        let mut remaining = kill::remaining(&self.root, self.keys.place());
        remaining.extend(self.keys.left_in_token(self.clock.now()));
        let code = ConfirmCode::typed(body.code.expose());
        let judged = self.switch.machine.fire(self.clock.now(), &code, targets, remaining);
        match judged {
            // The journal only; the rest begins with the answer that is owed.
            Ok(()) => self.carry_out_one_kill(),
            Err(error) => {
                self.carry_out_kill()?;
                Err(error.into())
            }
        }
    }

    /// Everything that arming, disarming and wrong codes ask for.
    fn carry_out_kill(&mut self) -> Result<(), Refused> {
        while let Some(output) = self.switch.machine.poll_output() {
            self.carry_out_kill_output(output)?;
        }
        Ok(())
    }

    fn carry_out_one_kill(&mut self) -> Result<(), Refused> {
        self.switch.machine.poll_output().map_or(Ok(()), |output| self.carry_out_kill_output(output))
    }

    fn carry_out_kill_output(&mut self, output: Output) -> Result<(), Refused> {
        let done = match output {
            Output::Persist(journal) => self.switch.persist(&journal),
            Output::Forget => self.switch.forget(),
            Output::Record(moment) => {
                self.note_kill(moment);
                Ok(())
            }
            _ => Ok(()),
        };
        Ok(self.switch.settle(done)?)
    }

    fn note_kill(&self, moment: Moment) {
        let fate = |program| json!({"deleteProgram": program == ProgramFate::Delete});
        match moment {
            Moment::Armed(program) => self.note(EventType::KillArmed, fate(program)),
            Moment::Disarmed { codes } => self.note(EventType::KillDisarmed, json!({"wrongCodes": codes})),
            Moment::Fired(program) => self.note(EventType::KillFired, fate(program)),
        }
    }

    /// Entry and notice; then the authority is told, if there is one.
    fn begin_killing(&mut self) {
        self.connection = None;
        self.service.stop();
        self.ticket = None;
        self.go_on_killing(None);
    }

    /// Up to what takes its time. The key is the one that is shown to the authority.
    fn go_on_killing(&mut self, shown: Option<&Arc<SigningKey>>) {
        while let Some(output) = self.switch.machine.poll_output() {
            match output {
                Output::Record(moment) => {
                    self.note_kill(moment);
                    self.switch.machine.handle_input(Input::Recorded(Recorded::Noted));
                }
                Output::Sign => {
                    if let Err(error) = self.begin_papers() {
                        tracing::error!(%error, "nothing can be signed");
                        self.switch.machine.handle_input(Input::Signed(false));
                        continue;
                    }
                    return;
                }
                Output::Notify if self.is_hurried() => return self.stop_telling_of_kill(),
                Output::Notify => {
                    if !self.tell_of_kill(shown) {
                        self.told_of_kill(Notified::Nobody);
                    }
                    return;
                }
                Output::Persist(journal) => {
                    if let Err(error) = self.switch.persist(&journal) {
                        tracing::error!(%error, "the journal of the kill switch cannot be written");
                    }
                }
                _ => {}
            }
        }
    }

    /// Has the papers signed in a thread that nobody waits for longer than the five seconds: hardware may never answer.
    fn begin_papers(&self) -> io::Result<()> {
        let Some(firing) = self.switch.firing().cloned() else { return Err(io::ErrorKind::NotFound.into()) };
        let (root, keys, happenings) = (self.root.clone(), Arc::clone(&self.keys), self.happenings.0.clone());
        let work = move || {
            let papers = Papers::sign(&root, &keys, &firing);
            // The loop does not wait for it for ever.
            drop(happenings.blocking_send(Happening::Papers(papers)));
        };
        thread::Builder::new().spawn(work).map(drop)
    }

    pub(super) fn got_papers(&mut self, papers: &Papers) {
        let signed = papers.write(&self.root);
        self.switch.machine.handle_input(Input::Signed(signed));
        self.go_on_killing(papers.shown.as_ref());
    }

    /// Connects as END-5 has it; false when there is nobody to tell.
    fn tell_of_kill(&mut self, key: Option<&Arc<SigningKey>>) -> bool {
        let journal = self.machine.journal();
        let (Some(held), Some(anchor), Some(key)) = (kill::newest(journal), journal.authority.clone(), key)
        else {
            return false;
        };
        let (key, chain) = (Arc::clone(key), held.chain.iter().map(|der| der.to_vec()).collect());
        let apart = match Apart::begin() {
            Ok(apart) => apart,
            Err(error) => {
                tracing::warn!(%error, "the authority cannot be told");
                return false;
            }
        };
        let connected = {
            let _there = apart.runtime.enter();
            self.connect_with(Some(key), chain, anchor, None)
        };
        if let Some(killing) = &mut self.killing {
            killing.apart = Some(apart);
        }
        match connected {
            Ok(()) => true,
            Err(setback) => {
                tracing::warn!(%setback, "the authority cannot be told");
                false
            }
        }
    }

    /// Something came of it.
    pub(super) fn heard_of_kill(&mut self, heard: &Heard) {
        match heard {
            Heard::Connected { .. } => match (read_record(&self.root), &self.connection) {
                (Ok(Some(record)), Some(connection)) => {
                    let record = ByteVec::from(record);
                    connection.send(FromDevice::Notice(Notice { record }).to_bytes());
                }
                _ => self.told_of_kill(Notified::Unreached),
            },
            Heard::Received(frame) => {
                let recorded = matches!(FromAuthority::from_bytes(frame), Ok(FromAuthority::Recorded));
                self.told_of_kill(if recorded { Notified::Told } else { Notified::Unreached });
            }
            Heard::Disconnected(_) => self.told_of_kill(Notified::Unreached),
            _ => {}
        }
    }

    pub(super) fn told_of_kill(&mut self, notified: Notified) {
        self.connection = None;
        self.switch.machine.handle_input(Input::Notified(notified));
        self.outcome = Some(Outcome::Killed);
    }

    pub(super) fn is_hurried(&self) -> bool {
        self.killing.as_ref().is_some_and(|killing| killing.hurried)
    }

    /// Somebody says stop. The papers are made all the same, or whoever stops it at once could keep them from being made.
    pub(super) fn hurry_with_kill(&mut self) {
        match &mut self.killing {
            Some(killing) if self.switch.firing().is_some_and(|firing| firing.stage < Stage::Notifying) => {
                killing.hurried = true;
            }
            _ => self.stop_telling_of_kill(),
        }
    }

    /// The five seconds are over, or somebody says stop: neither is waited for.
    pub(super) fn stop_telling_of_kill(&mut self) {
        self.connection = None;
        self.switch.machine.handle_timeout();
        self.outcome = Some(Outcome::Killed);
    }

    /// Destroys, reports, and answers whoever fired.
    pub(super) fn destroy_everything(&mut self) {
        self.service.end();
        self.log.close();
        self.keys.close();
        // The papers are made, or given up.
        let report = self.switch.finish(|_| false);
        let reply = self.killing.as_mut().and_then(|killing| killing.reply.take());
        if let (Some(reply), Some(report)) = (reply, report) {
            drop(reply.send(Ok(report)));
        }
    }
}

const fn fate(program: KillProgram) -> ProgramFate {
    match program {
        KillProgram::Delete => ProgramFate::Delete,
        KillProgram::Keep => ProgramFate::Keep,
    }
}

/// What a start does before anything else: goes on with a firing, and ends if the device is none any more.
pub(super) fn check(folder: &Path, credentials: Option<PathBuf>) -> Result<(), KillFault> {
    let state = match kill::resume(folder, credentials)? {
        kill::Found::Safe => return Ok(()),
        kill::Found::Killed { state } if state.join(super::RECORD).exists() => return Ok(()),
        kill::Found::Killed { state } => state,
        kill::Found::Finished(_) => Root::state_of(folder),
    };
    Err(KillFault::Killed { state })
}
