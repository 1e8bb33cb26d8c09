//! A kill switch in the worst hands: the power is cut between any two of its outputs, entries fail, signers hang, nobody
//! answers. The machine of `kos_vault::kill` runs as it is; the disk around it loses what was not synced.
//!
//! Laws: nothing is destroyed unless it was fired, and not before entry and notice were made or given up (`kill-order`);
//! what has begun ends after restarts (`kill-ends`); there is no way back (`kill-forgotten`); no secret can be read when it
//! says that it is done, and the report names each (`kill-readable`).

use std::collections::BTreeSet;

use anyhow::{Result, anyhow};
use kos_base::{Secret, Timestamp};
use kos_vault::kill::{
    Assurance, Firing, Input, Machine, Moment, Notified, Output, ProgramFate, Recorded, Stage, Standing,
    Subject, SubjectKind, Target,
};

use crate::{chance::Chance, laws::Breach, plant::Plant};

/// Most power cuts of one life; after them it runs to its end.
const CUTS_MAX: u64 = 8;
/// Most outputs between two cuts; more than a whole firing has.
const OUTPUTS_MAX: u64 = 30;

/// What survives a power cut.
#[derive(Default)]
struct Disk {
    journal: Option<Vec<u8>>,
    entry: bool,
    notice: bool,
    secrets: BTreeSet<String>,
    report: Option<Firing>,
}

struct Life {
    chance: Chance,
    plant: Option<Plant>,
    disk: Disk,
    /// What was written and would be lost now.
    unsynced: Option<Option<Vec<u8>>>,
    /// Whether they were tried and could not be made.
    gave_up: (bool, bool),
    destroyed: usize,
    starts: u32,
    skipped: bool,
    /// How many secrets there were.
    total: usize,
}

/// How a start went on.
enum Went {
    On,
    PowerCut,
    Ended,
}

/// Lives one switch from its arming to its end.
///
/// # Errors
/// When the model fails.
pub fn live(seed: u64, plant: Option<Plant>) -> Result<Option<Breach>> {
    let mut chance = Chance::new(seed ^ 0x6b69_6c6c);
    let count = chance.between(1, 6);
    let secrets: BTreeSet<_> = (0..count).map(|n| format!("secret-{n}")).collect();
    let total = secrets.len();
    let disk = Disk { secrets, ..Disk::default() };
    let mut life = Life {
        chance,
        plant,
        disk,
        unsynced: None,
        gave_up: (false, false),
        destroyed: 0,
        starts: 0,
        skipped: false,
        total,
    };
    match life.run() {
        Ok(()) => Ok(None),
        Err(Trouble::Law(breach)) => Ok(Some(breach)),
        Err(Trouble::Model(error)) => Err(error),
    }
}

fn targets(paths: Vec<String>) -> Vec<Target> {
    paths.into_iter().map(Target::new).collect()
}

enum Trouble {
    Law(Breach),
    Model(anyhow::Error),
}

fn breach<T>(law: &'static str, detail: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Law(Breach { law, detail: detail.into() }))
}

impl Life {
    fn run(&mut self) -> Result<(), Trouble> {
        let model = |e: &dyn core::fmt::Display| Trouble::Model(anyhow!("{e}"));
        let now = Timestamp::from_unix_ms(1_795_170_000_000);
        let subject = Subject { kind: SubjectKind::Authority, name: "attic".to_owned() };
        let mut machine = Machine::load(None).map_err(|e| model(&e))?;
        let random = Secret::new(self.chance.bytes::<21>());
        let code = machine.arm(now, subject, ProgramFate::Keep, &random).map_err(|e| model(&e))?;
        self.carry_out(&mut machine, u64::MAX)?;
        self.sync();
        if self.chance.one_in(8) {
            // Nobody fires: whatever time passes, nothing happens.
            machine = self.start()?;
            machine.handle_timeout();
            self.carry_out(&mut machine, u64::MAX)?;
            let whole = self.destroyed == 0 && self.disk.report.is_none();
            return if whole { Ok(()) } else { breach("kill-order", "it was armed and not fired") };
        }
        let secrets: Vec<_> = self.disk.secrets.iter().cloned().collect();
        machine.fire(now, &code, targets(secrets), vec!["log".to_owned()]).map_err(|e| model(&e))?;
        let cuts = self.chance.below(CUTS_MAX);
        for cut in 0..=cuts {
            let outputs = if cut == cuts { u64::MAX } else { self.chance.below(OUTPUTS_MAX) };
            match self.carry_out(&mut machine, outputs)? {
                Went::PowerCut => {
                    self.unsynced = None;
                    machine = self.start()?;
                    if matches!(machine.standing(), Standing::Armed(_)) {
                        // It was cut before it was durable: whoever fired hears nothing, and fires again.
                        let secrets: Vec<_> = self.disk.secrets.iter().cloned().collect();
                        machine.fire(now, &code, targets(secrets), Vec::new()).map_err(|e| model(&e))?;
                    }
                }
                Went::Ended => break,
                Went::On => return breach("kill-ends", "it was fired, and stopped in the middle"),
            }
        }
        self.judge_end()
    }

    fn start(&mut self) -> Result<Machine, Trouble> {
        self.starts += 1;
        self.skipped = false;
        let mut machine = Machine::load(self.disk.journal.as_deref())
            .map_err(|e| Trouble::Model(anyhow!("the journal of the disk: {e}")))?;
        let fired = matches!(machine.standing(), Standing::Fired(_));
        if self.destroyed > 0 && !fired {
            return breach("kill-forgotten", "something was destroyed, and the journal does not know why");
        }
        machine.resume();
        Ok(machine)
    }

    fn carry_out(&mut self, machine: &mut Machine, outputs: u64) -> Result<Went, Trouble> {
        for _ in 0..outputs.min(10_000) {
            let Some(output) = machine.poll_output() else {
                let done =
                    matches!(machine.standing(), Standing::Fired(firing) if firing.stage == Stage::Done);
                return Ok(if done { Went::Ended } else { Went::On });
            };
            self.carry_out_one(machine, output)?;
        }
        Ok(Went::PowerCut)
    }

    fn carry_out_one(&mut self, machine: &mut Machine, output: Output) -> Result<(), Trouble> {
        match output {
            Output::Persist(journal) => {
                self.unsynced = Some(Some(journal));
                if self.plant != Some(Plant::KillJournalNotSynced) {
                    self.sync();
                }
            }
            Output::Forget => self.unsynced = Some(None),
            Output::Record(Moment::Fired(_)) => match self.chance.below(4) {
                0 => {
                    self.gave_up.0 = true;
                    machine.handle_timeout();
                }
                1 => {
                    self.gave_up.0 = true;
                    machine.handle_input(Input::Recorded(Recorded::Failed));
                }
                _ => {
                    self.disk.entry = true;
                    machine.handle_input(Input::Recorded(Recorded::Entry(7)));
                }
            },
            Output::Record(_) => {}
            Output::Sign => {
                let made = !self.chance.one_in(5);
                self.gave_up.1 |= !made;
                self.disk.notice |= made && self.plant != Some(Plant::KillBeforeNotice);
                machine.handle_input(Input::Signed(made));
            }
            Output::Notify => match self.chance.below(3) {
                0 => machine.handle_timeout(),
                1 => machine.handle_input(Input::Notified(Notified::Told)),
                _ => machine.handle_input(Input::Notified(Notified::Unreached)),
            },
            Output::Destroy(path) => self.destroy(machine, &path)?,
            Output::Report(firing) => self.disk.report = Some(*firing),
            Output::End => self.sync(),
        }
        Ok(())
    }

    fn destroy(&mut self, machine: &mut Machine, path: &str) -> Result<(), Trouble> {
        if !(self.disk.entry || self.gave_up.0) {
            return breach("kill-order", format!("{path} goes before there is an entry"));
        }
        if !(self.disk.notice || self.gave_up.1) {
            return breach("kill-order", format!("{path} goes before there is a notice"));
        }
        self.destroyed += 1;
        let skip = self.plant == Some(Plant::KillStepSkipped) && self.starts > 0 && !self.skipped;
        if skip {
            self.skipped = true;
        } else if self.disk.secrets.contains(path) && self.chance.one_in(9) {
            // It is busy; the next start tries it again.
            machine.handle_input(Input::Destroyed(Assurance::Failed("busy".to_owned())));
            return Ok(());
        } else {
            self.disk.secrets.remove(path);
        }
        machine.handle_input(Input::Destroyed(Assurance::Cleared));
        Ok(())
    }

    fn judge_end(&mut self) -> Result<(), Trouble> {
        // What was busy is not for ever: starts follow until it is gone.
        for _ in 0..200 {
            let Some(report) = self.disk.report.clone() else {
                return breach("kill-ends", "it ended, and there is no report");
            };
            if report.has_failures() {
                let mut machine = self.start()?;
                self.carry_out(&mut machine, u64::MAX)?;
                continue;
            }
            if !self.disk.secrets.is_empty() {
                return breach(
                    "kill-readable",
                    format!("{:?} can be read when all is done", self.disk.secrets),
                );
            }
            let named: BTreeSet<_> = report.targets.iter().map(|target| &target.path).collect();
            let told = report.targets.iter().all(|target| target.outcome.is_some());
            let told = told && named.len() == self.total;
            return if told { Ok(()) } else { breach("kill-readable", "the report does not know a target") };
        }
        breach("kill-ends", "it goes on for ever")
    }

    fn sync(&mut self) {
        if let Some(journal) = self.unsynced.take() {
            self.disk.journal = journal;
        }
    }
}
