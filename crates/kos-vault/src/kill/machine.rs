//! What happens in which order (KILL-3 to KILL-15).

use std::collections::VecDeque;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use kos_base::{Secret, Timestamp};

use super::{
    ARMED_FOR, ConfirmCode, KillError, WRONG_CODES_MAX,
    journal::{Arming, Assurance, Firing, Journal, Notified, ProgramFate, Stage, Subject, Target},
};

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Puts this into the place of the journal. Durable before the next output.
    Persist(Vec<u8>),
    /// Removes the journal, durably.
    Forget,
    /// Records that it happened. After [`Moment::Fired`] with an [`Input::Recorded`].
    Record(Moment),
    /// Makes and signs the notice, durably. An [`Input::Signed`] follows.
    Sign,
    /// Tells whoever is to know. An [`Input::Notified`] follows.
    Notify,
    /// Destroys this target. An [`Input::Destroyed`] follows.
    Destroy(String),
    /// Writes the report.
    Report(Box<Firing>),
    /// Ends the program.
    End,
}

/// What is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Somebody armed it.
    Armed(ProgramFate),
    /// Somebody disarmed it, or typed too many wrong codes.
    Disarmed {
        /// Whether it was for wrong codes.
        codes: bool,
    },
    /// Somebody fired it.
    Fired(ProgramFate),
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The entry is on the disk, or cannot be.
    Recorded(Recorded),
    /// There is a durable notice, or there cannot be one.
    Signed(bool),
    /// They know, or cannot be reached.
    Notified(Notified),
    /// What may be said of the target that was to be destroyed.
    Destroyed(Assurance),
}

/// What came of recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is in a log, at this place.
    Entry(u64),
    /// It is written down, where there is no log.
    Noted,
    /// It could not be.
    Failed,
}

/// How the switch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing<'a> {
    /// Nothing is armed.
    Safe,
    /// Somebody armed it, and the arming may have expired.
    Armed(&'a Arming),
    /// It was fired.
    Fired(&'a Firing),
}

/// The kill switch of one authority or device.
#[derive(Debug)]
pub struct Machine {
    journal: Option<Journal>,
    outputs: VecDeque<Output>,
    /// A step was asked for and not answered.
    waiting: bool,
    /// Entry, notice and notification have had their time.
    late: bool,
}

impl Machine {
    /// The switch as its journal says; without one it is safe. Call [`Machine::resume`] where it was fired.
    ///
    /// # Errors
    /// When the journal is damaged. It may have said `fired`: start nothing.
    pub fn load(journal: Option<&[u8]>) -> Result<Self, KillError> {
        let journal = journal.map(Journal::from_bytes).transpose()?;
        Ok(Self { journal, outputs: VecDeque::new(), waiting: false, late: false })
    }

    /// How it stands.
    pub const fn standing(&self) -> Standing<'_> {
        match &self.journal {
            None => Standing::Safe,
            Some(Journal::Armed(arming)) => Standing::Armed(arming),
            Some(Journal::Fired(firing)) => Standing::Fired(firing),
        }
    }

    /// Until when a firing is possible; nothing when there is no good arming.
    pub fn armed_until(&self, now: Timestamp) -> Option<Timestamp> {
        match &self.journal {
            Some(Journal::Armed(arming)) if arming.is_good(now) => Some(arming.at.plus(ARMED_FOR)),
            _ => None,
        }
    }

    /// Arms. The code is shown once, after the outputs were carried out.
    ///
    /// # Errors
    /// When an arming is good, or it was fired.
    pub fn arm(
        &mut self,
        now: Timestamp,
        subject: Subject,
        program: ProgramFate,
        random: &Secret<21>,
    ) -> Result<ConfirmCode, KillError> {
        self.admit_arming(now)?;
        let (code, salt) = random.expose().split_first_chunk::<5>().ok_or(KillError::Journal)?;
        let salt = *salt.first_chunk::<16>().ok_or(KillError::Journal)?;
        let code = ConfirmCode::of(*code);
        let hash = code.hash(&salt);
        // The entry first: an entry without an arming harms nobody, an arming that nobody can read of might.
        self.outputs.push_back(Output::Record(Moment::Armed(program)));
        self.keep(Journal::Armed(Arming { subject, at: now, program, salt, hash, wrong: 0 }));
        Ok(code)
    }

    /// Whether it can be armed now.
    ///
    /// # Errors
    /// As [`Machine::arm`].
    pub fn admit_arming(&self, now: Timestamp) -> Result<(), KillError> {
        match &self.journal {
            Some(Journal::Fired(_)) => Err(KillError::Fired),
            Some(Journal::Armed(arming)) if arming.is_good(now) => Err(KillError::Armed),
            _ => Ok(()),
        }
    }

    /// Disarms, and says whether there was anything to disarm.
    ///
    /// # Errors
    /// When it was fired.
    pub fn disarm(&mut self) -> Result<bool, KillError> {
        match &self.journal {
            Some(Journal::Fired(_)) => Err(KillError::Fired),
            None => Ok(false),
            Some(Journal::Armed(_)) => {
                self.forget(false);
                Ok(true)
            }
        }
    }

    /// Fires, if the code is the one that arming has shown. What is to be destroyed is named by the shell.
    ///
    /// # Errors
    /// When nothing is armed, the code is wrong, or it was fired. Tell it after the outputs were carried out.
    pub fn fire(
        &mut self,
        now: Timestamp,
        code: &ConfirmCode,
        targets: Vec<Target>,
        remaining: Vec<String>,
    ) -> Result<(), KillError> {
        let arming = match &self.journal {
            None => return Err(KillError::NotArmed),
            Some(Journal::Fired(_)) => return Err(KillError::Fired),
            Some(Journal::Armed(arming)) if !arming.is_good(now) => return Err(KillError::Expired),
            Some(Journal::Armed(arming)) => arming.clone(),
        };
        if verify_slices_are_equal(&code.hash(&arming.salt), &arming.hash).is_err() {
            let wrong = arming.wrong.saturating_add(1);
            if wrong >= WRONG_CODES_MAX {
                self.forget(true);
                return Err(KillError::Disarmed);
            }
            self.keep(Journal::Armed(Arming { wrong, ..arming }));
            return Err(KillError::Code { left: WRONG_CODES_MAX - wrong });
        }
        let Arming { subject, program, .. } = arming;
        self.keep(Journal::Fired(Firing {
            subject,
            at: now,
            program,
            stage: Stage::Recording,
            entry: None,
            recorded: false,
            noticed: false,
            notified: Notified::Untried,
            targets,
            remaining,
        }));
        self.ask();
        Ok(())
    }

    /// Goes on with a firing that was found in the journal. Without one there is nothing to do.
    pub fn resume(&mut self) {
        let Some(Journal::Fired(firing)) = &mut self.journal else { return };
        match firing.stage {
            // The notice is durable, and whoever is to know can be told later.
            Stage::Notifying => firing.stage = Stage::Destroying,
            Stage::Done if firing.has_failures() => {
                firing.stage = Stage::Destroying;
                for target in &mut firing.targets {
                    target.outcome.take_if(|outcome| matches!(outcome, Assurance::Failed(_)));
                }
            }
            Stage::Done => return,
            Stage::Recording | Stage::Signing | Stage::Destroying => {}
        }
        self.ask();
    }

    /// What came of the step that was asked for last. Anything else is not heard.
    pub fn handle_input(&mut self, input: Input) {
        let Some(Journal::Fired(firing)) = &mut self.journal else { return };
        if !self.waiting {
            return;
        }
        match (firing.stage, input) {
            (Stage::Recording, Input::Recorded(recorded)) => {
                firing.recorded = recorded != Recorded::Failed;
                firing.entry = if let Recorded::Entry(index) = recorded { Some(index) } else { None };
                firing.stage = Stage::Signing;
            }
            (Stage::Signing, Input::Signed(noticed)) => {
                firing.noticed = noticed;
                firing.stage = Stage::Notifying;
            }
            (Stage::Notifying, Input::Notified(notified)) => {
                firing.notified = notified;
                firing.stage = Stage::Destroying;
            }
            (Stage::Destroying, Input::Destroyed(outcome)) => {
                let Some(at) = firing.next() else { return };
                let outcome = firing.targets.get(at).map(|target| firing.assured(target, outcome));
                if let Some(target) = firing.targets.get_mut(at) {
                    target.outcome = outcome;
                }
            }
            _ => return,
        }
        let next = Journal::Fired(firing.clone());
        self.keep(next);
        self.ask();
    }

    /// Entry, notice and notification have had their five seconds: what is not done of them is given up.
    pub fn handle_timeout(&mut self) {
        self.late = true;
        if let Some(Journal::Fired(firing)) = &self.journal
            && self.waiting
        {
            match firing.stage {
                Stage::Recording => self.handle_input(Input::Recorded(Recorded::Failed)),
                Stage::Signing => self.handle_input(Input::Signed(false)),
                Stage::Notifying => self.handle_input(Input::Notified(Notified::Unreached)),
                Stage::Destroying | Stage::Done => {}
            }
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Asks for what the stage is about.
    fn ask(&mut self) {
        self.waiting = true;
        let Some(Journal::Fired(firing)) = &self.journal else { return };
        let output = match firing.stage {
            Stage::Recording if self.late => return self.handle_input(Input::Recorded(Recorded::Failed)),
            Stage::Notifying if self.late => return self.handle_input(Input::Notified(Notified::Unreached)),
            Stage::Recording => Output::Record(Moment::Fired(firing.program)),
            // A signature is made here and now; a signer that hangs is given up by the timeout.
            Stage::Signing => Output::Sign,
            Stage::Notifying => Output::Notify,
            Stage::Destroying => match firing.next().and_then(|at| firing.targets.get(at)) {
                Some(target) => Output::Destroy(target.path.clone()),
                None => return self.finish(),
            },
            Stage::Done => return,
        };
        self.outputs.push_back(output);
    }

    fn finish(&mut self) {
        self.waiting = false;
        let Some(Journal::Fired(firing)) = &self.journal else { return };
        let done = Firing { stage: Stage::Done, ..firing.clone() };
        self.outputs.push_back(Output::Report(Box::new(done.clone())));
        self.keep(Journal::Fired(done));
        self.outputs.push_back(Output::End);
    }

    fn keep(&mut self, journal: Journal) {
        self.outputs.push_back(Output::Persist(journal.to_bytes()));
        self.journal = Some(journal);
    }

    fn forget(&mut self, codes: bool) {
        self.journal = None;
        // The other way round a power cut would leave an entry and an arming that still fires.
        self.outputs.push_back(Output::Forget);
        self.outputs.push_back(Output::Record(Moment::Disarmed { codes }));
    }
}

impl Arming {
    /// Whether it can be fired now.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.at <= now && now < self.at.plus(ARMED_FOR)
    }
}
