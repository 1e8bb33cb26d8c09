//! The rules that every authority has from the start.
//!
//! Source: ALR-9.

use super::{
    pattern::Pattern,
    rule::{Condition, Per, Rule, Severity},
};
use crate::EventType as E;

/// Whether a built-in rule may simply be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Without it an attacker works unseen: it goes only by an explicit word.
    Essential,
    /// It may be left out.
    Usual,
}

/// A rule that is built in.
#[derive(Clone, Debug)]
pub struct BuiltIn {
    /// The rule, before anybody tuned it.
    pub rule: Rule,
    /// Whether it may simply be left out.
    pub standing: Standing,
}

impl BuiltIn {
    /// All of them, in the order of their names.
    #[expect(clippy::expect_used, reason = "constants of ours, parsed by every test")]
    pub fn all() -> Vec<Self> {
        let named = |(name, standing, severity, per, matches, when, summary): Row| Self {
            rule: Rule {
                matches,
                name: name.parse().expect("the name of a rule"),
                per,
                quiet_seconds: 900,
                severity,
                summary: summary.to_owned(),
                when,
            },
            standing,
        };
        rows().into_iter().map(named).collect()
    }
}

type Row = (&'static str, Standing, Severity, Per, Vec<Pattern>, Condition, &'static str);

const fn times(times: u32, window_seconds: u32) -> Condition {
    Condition::Count { times, window_seconds }
}

fn of(events: &[E]) -> Vec<Pattern> {
    vec![Pattern::of(events)]
}

/// Refusals of an enrolment with one of these codes.
fn refused(codes: &[&str]) -> Vec<Pattern> {
    let events = [E::EnrolmentRefused, E::PolicyRefused];
    codes.iter().map(|code| Pattern::of(&events).with("code", *code)).collect()
}

fn rows() -> Vec<Row> {
    use Condition::Each;
    use Severity::{Critical, High, Medium};
    use Standing::{Essential, Usual};
    let one = |pattern: Vec<Pattern>, more: Vec<Pattern>| [pattern, more].concat();
    vec![
        (
            "access-probing",
            Usual,
            Medium,
            Per::Actor,
            of(&[E::AccessRefused]),
            times(20, 600),
            "Many requests without rights came from one address",
        ),
        (
            "alerting-changed",
            Essential,
            High,
            Per::None,
            of(&[E::AlertRulesChanged, E::GuardianRemoved]),
            Each,
            "The rules of alerts changed, or a guardian is told no more",
        ),
        (
            "clock-step",
            Essential,
            Medium,
            Per::None,
            of(&[E::TimeStepped]),
            Each,
            "The clock of the authority jumped",
        ),
        (
            "clone",
            Essential,
            Critical,
            Per::Target,
            of(&[E::CloneAlert]),
            Each,
            "Two devices claim the same hardware or identity",
        ),
        (
            "downgrade-attempt",
            Essential,
            High,
            Per::Target,
            one(
                of(&[E::ImageAltered, E::BootloaderLockFailed]),
                // A higher profile than the ticket allows, one that goes down, an image that is not verified, more than
                // was proven, another profile than the one that was certified.
                refused(&["KOS-E0208", "KOS-E0218", "KOS-E0229", "KOS-E0701", "KOS-E0703"]),
            ),
            Each,
            "A device tried to come in, or to stay, with less protection than it had or needs",
        ),
        (
            "failed-unlocks",
            Essential,
            High,
            Per::Target,
            of(&[E::VaultUnlockFailed]),
            times(5, 900),
            "A vault was tried with wrong passphrases, keys or codes",
        ),
        (
            "kill-armed",
            Essential,
            Critical,
            Per::None,
            one(of(&[E::KillArmed]), vec![Pattern::of(&[E::KillDisarmed]).with("reason", "codes")]),
            Each,
            "The kill switch of the authority can be fired, or somebody guessed its code",
        ),
        (
            "loss",
            Essential,
            Critical,
            Per::None,
            of(&[E::LossesRecorded, E::LogUnreadable]),
            Each,
            "Entries of the log could not be written, or cannot be read any more",
        ),
        (
            "rollback",
            Essential,
            Critical,
            Per::Target,
            of(&[E::VaultRefused, E::AuthorityRestored]),
            Each,
            "Something older than what is known was put in its place: a vault, or the whole authority",
        ),
        (
            "ticket-guessing",
            Essential,
            High,
            Per::None,
            one(of(&[E::TicketProofFailed]), refused(&["KOS-E0204"])),
            times(5, 600),
            "Somebody tries tickets without knowing one",
        ),
        (
            "witness-disagreement",
            Essential,
            Critical,
            Per::None,
            of(&[E::WitnessDisagreed, E::EquivocationFound]),
            Each,
            "A witness holds another tree of the log, or a log that is witnessed here signed two",
        ),
    ]
}
