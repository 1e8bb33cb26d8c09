//! The end of a conversation that brought a certificate: lock the bootloader, confirm over a new connection with the new
//! key, and only then let the old keys go. And what follows from a refusal.
//!
//! Source: `docs/spec/enrolment.md` DEV-11 to DEV-14.

use kos_base::{Code, Timestamp, code};

use super::{
    BootloaderLock, Event, Installation, KeySlot, Machine, Output, Wish,
    conversation::{Conversation, Purpose, Step, chain_of},
    keys_in,
};
use crate::enrolment::message::{Bootloader, FromAuthority, FromDevice, Refused, Stored};

impl Machine {
    /// Locks the bootloader if that is still to be done, else connects with the new key and certificate.
    pub(super) fn confirm_step(&self) -> (Step, Output) {
        let lock = self.profile.bootloader == BootloaderLock::Command && self.journal.bootloader.is_none();
        if lock && self.journal.active.is_none() {
            return (Step::LockingBootloader, Output::LockBootloader);
        }
        let held = self.journal.candidate.as_ref().and_then(|c| c.held.as_ref());
        let output = Output::Connect {
            key: held.map(|h| KeySlot::Operational(h.slot)),
            chain: held.map(chain_of).unwrap_or_default(),
            anchor: self.journal.authority.clone().unwrap_or_else(|| super::Anchor {
                name: None,
                pins: Vec::new(),
                addresses: Vec::new(),
            }),
        };
        (Step::ConnectingToConfirm, output)
    }

    pub(super) fn bootloader_locked(&mut self, mut talk: Conversation, result: Result<(), ()>) {
        self.journal.bootloader = Some(result.map_or(Bootloader::Failed, |()| Bootloader::Locked));
        self.persist();
        let (step, output) = self.confirm_step();
        talk.step = step;
        self.go_on(talk, output);
    }

    pub(super) fn stored(&mut self, mut talk: Conversation) {
        let held = self.journal.candidate.as_ref().and_then(|c| c.held.as_ref());
        let first = self.journal.active.is_none();
        let bootloader = self.journal.bootloader.filter(|_| first);
        let stored = Stored { issue: held.map_or(0, |h| h.issue), bootloader };
        talk.step = Step::AwaitingRecorded;
        self.go_on(talk, Output::Send(FromDevice::Stored(stored).to_bytes()));
    }

    /// The authority has recorded the new certificate: it goes into service, and the old keys go.
    pub(super) fn recorded(&mut self, now: Timestamp, talk: &Conversation, frame: &[u8]) {
        match FromAuthority::from_bytes(frame) {
            Ok(FromAuthority::Recorded) => {}
            Ok(FromAuthority::Refused(refused)) => return self.refused(now, talk, &refused),
            _ => return self.fail(now, Event::Untrusted(code::enrolment::PROTOCOL)),
        }
        let Some(held) = self.journal.candidate.take().and_then(|c| c.held) else {
            return self.fail(now, Event::Untrusted(code::config::INTERNAL));
        };
        let (issue, chain) = (held.issue, chain_of(&held));
        let old = self.journal.active.replace(held);
        self.journal.profile_floor = self.journal.profile_floor();
        self.ticket = None;
        self.wish = None;
        self.failures = 0;
        self.persist();
        if let Some(old) = &old {
            self.outputs.push_back(Output::Erase(keys_in(old.slot)));
        }
        let event = match (&old, &self.journal.membership) {
            (None, Some(membership)) => Event::Enrolled(membership.device.clone()),
            _ => Event::Renewed(issue),
        };
        // Again, because power may have failed between the journal and the files.
        let installation = Installation { chain, crls: Vec::new() };
        self.outputs.extend([Output::Close, Output::Install(installation), Output::Event(event)]);
    }

    /// The authority said no. What it will never confirm is forgotten, so that the next request is a new one; whatever
    /// else is in the way of a device in service is asked about by its identity key.
    pub(super) fn refused(&mut self, now: Timestamp, talk: &Conversation, refused: &Refused) {
        let code = Code::find(&refused.code.to_string()).unwrap_or(code::enrolment::PROTOCOL);
        let unknown = code == code::enrolment::DEVICE_UNKNOWN;
        if talk.purpose == Purpose::Confirm && unknown && self.journal.candidate.take().is_some() {
            self.persist();
        }
        if talk.purpose == Purpose::Recover && unknown {
            self.begin_anew();
        }
        self.wish = match talk.purpose {
            Purpose::CheckIn | Purpose::Recover | Purpose::Enrol => None,
            // Somebody else may have renewed: show the number that we know.
            Purpose::Renew if unknown => Some(Wish::Recover),
            Purpose::Renew | Purpose::Confirm => self.journal.active.is_some().then_some(Wish::CheckIn),
        };
        self.fail(now, Event::Refused(code));
    }
}
