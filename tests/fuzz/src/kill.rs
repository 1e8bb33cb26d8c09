//! The papers of a kill switch: reading ends, what was read is written alike, an arming destroys nothing, a firing that a
//! start finds goes on to its end, and a notice is not taken with a bit changed.

use data_encoding::HEXLOWER;
use kos_base::digest::sha256;
use kos_vault::kill::{
    Assurance, Input, Journal, Machine, NOTICE_BYTES_MAX, Notified, Output, Recorded, Stage, Standing,
    verify_notice,
};

use crate::Verdict;

/// Most targets of a journal that is carried out: each step writes all of it.
const TARGETS_MAX: usize = 32;
/// Most outputs of a firing besides two for each target: entry, notice, notification, report and end, with their journals.
const OUTPUTS_MAX: usize = 12;

/// Reads the bytes as a journal, as the JSON inside of one, and as a notice.
pub fn run(bytes: &[u8]) -> Verdict {
    let summed = [HEXLOWER.encode(&sha256(bytes)).as_bytes(), b"\n", bytes].concat();
    check_journal(bytes).or(check_journal(&summed)).or(check_notice(bytes))
}

fn check_journal(bytes: &[u8]) -> Verdict {
    let read = Journal::from_bytes(bytes);
    if let Ok(journal) = &read {
        assert_eq!(Journal::from_bytes(&journal.to_bytes()).as_ref(), Ok(journal));
        let targets = match journal {
            Journal::Armed(_) => 0,
            Journal::Fired(firing) => firing.targets.len(),
        };
        if targets <= TARGETS_MAX {
            carry_out(bytes, targets);
        }
    }
    Verdict::of(&read)
}

/// What a start does with it.
fn carry_out(journal: &[u8], targets: usize) {
    let mut machine = Machine::load(Some(journal)).expect("it was read already");
    machine.resume();
    let fired = matches!(machine.standing(), Standing::Fired(_));
    let mut left = OUTPUTS_MAX + 2 * targets;
    while let Some(output) = machine.poll_output() {
        assert!(fired, "an arming asks for nothing by itself");
        assert_ne!(output, Output::Forget, "a firing is not forgotten");
        left = left.checked_sub(1).expect("a firing ends");
        match output {
            Output::Record(_) => machine.handle_input(Input::Recorded(Recorded::Failed)),
            Output::Sign => machine.handle_input(Input::Signed(false)),
            Output::Notify => machine.handle_input(Input::Notified(Notified::Nobody)),
            Output::Destroy(_) => machine.handle_input(Input::Destroyed(Assurance::Cleared)),
            Output::Persist(next) => assert!(Journal::from_bytes(&next).is_ok()),
            Output::Report(report) => assert!(report.targets.iter().all(|target| target.outcome.is_some())),
            Output::Forget | Output::End => {}
        }
    }
    if let Standing::Fired(firing) = machine.standing() {
        assert_eq!(firing.stage, Stage::Done);
    }
}

fn check_notice(bytes: &[u8]) -> Verdict {
    let verified = verify_notice(bytes);
    if verified.is_ok() {
        assert!(bytes.len() <= NOTICE_BYTES_MAX);
        let mut changed = bytes.to_vec();
        if let Some(last) = changed.last_mut() {
            *last ^= 1;
        }
        assert!(verify_notice(&changed).is_err());
    }
    Verdict::of(&verified)
}
