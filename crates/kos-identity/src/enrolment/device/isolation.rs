//! A quarantine as the device lives it: heard, cleared, reported, waited through.
//!
//! Once the order is durable there is no way back but a new certificate: every start goes on where the journal says. The
//! identity key stays, since it is the way back; so does the log.
//!
//! Source: `docs/spec/quarantine.md` QRN-7 to QRN-18, QRN-23.

use kos_base::{EntryId, Timestamp, code, cose::Unsigned, digest::sha256};
use minicbor::{
    Decode, Encode,
    bytes::{ByteArray, ByteVec},
};

use super::{
    Event, Input, Journal, KeySlot, Machine, Output, RETRY_MAX, SignWith, Slot,
    conversation::{Conversation, Step, WAIT_MIN, sign},
    keys_in,
};
use crate::{
    enrolment::message::{Bytes32, FromAuthority, FromDevice, Isolated},
    quarantine::{BUNDLE_BYTES_MAX, Known, Record, judge},
};

/// A quarantine in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Isolation {
    /// The order.
    #[n(0)]
    pub order: EntryId,
    /// When it was given.
    #[n(1)]
    pub at: Timestamp,
    /// The certificate that brings the device back has a higher number.
    #[n(2)]
    pub issue: u32,
    /// Goes back with the record.
    #[n(3)]
    pub receipt: Bytes32,
    /// To whom the bundle is sealed.
    #[n(4)]
    pub recipients: Vec<String>,
    /// How far it is.
    #[n(5)]
    pub stage: Stage,
}

/// How far a quarantine is on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Stage {
    /// Keys and credentials may still be there.
    #[n(0)]
    Ordered,
    /// They are gone; the authority does not know.
    #[n(1)]
    Cleared,
    /// The authority was told. From now on the device asks whether it may come back.
    #[n(2)]
    Reported,
}

/// What is on its way to the authority.
#[derive(Debug)]
pub(super) struct Report {
    unsigned: Unsigned,
    bundle: Option<Vec<u8>>,
}

impl Machine {
    /// The authority sent an order of quarantine.
    pub(super) fn isolated(&mut self, now: Timestamp, signed: &[u8]) {
        let name = self.journal.authority.as_ref().and_then(|anchor| anchor.name.as_ref());
        let (Some(membership), Some(authority)) = (&self.journal.membership, name) else {
            return self.fail(now, Event::Untrusted(code::enrolment::PROTOCOL));
        };
        let known = Known {
            device: &membership.device,
            authority,
            orders: &membership.keys.orders,
            issue: self.journal.newest_issue(),
            obeyed: self.journal.obeyed,
        };
        let order = match judge(signed, &known) {
            Ok(order) => order.order().clone(),
            Err(fault) => return self.fail(now, Event::Untrusted(fault.code())),
        };
        match &self.journal.isolation {
            Some(case) if case.order == order.id => return self.still_isolated(now),
            // An order that was overtaken by another.
            Some(case) if order.at <= case.at => {
                return self.fail(now, Event::Untrusted(code::quarantine::ORDER_STALE));
            }
            _ => {}
        }
        self.conversation = None;
        self.wish = None;
        (self.failures, self.held_back) = (0, 0);
        self.pause = None;
        // Told first: whoever reads the log of the device finds the order before what it did.
        self.outputs.extend([Output::Close, Output::Event(Event::Isolated(order.id))]);
        self.journal.isolation = Some(Isolation {
            order: order.id,
            at: order.at,
            issue: order.issue,
            receipt: order.receipt,
            recipients: order.recipients,
            stage: Stage::Ordered,
        });
        self.journal.active = None;
        self.journal.candidate = None;
        self.persist();
        self.proceed(now);
    }

    /// Nobody has let it back yet. The pause before it asks again doubles: its clock may be wrong, so it does not measure.
    pub(super) fn still_isolated(&mut self, now: Timestamp) {
        let pause = WAIT_MIN.saturating_mul(1 << self.held_back.min(9)).min(RETRY_MAX);
        self.held_back = self.held_back.saturating_add(1);
        self.conversation = None;
        self.wish = None;
        self.failures = 0;
        self.rest(now, pause);
        self.outputs.extend([Output::Close, Output::Event(Event::StillIsolated)]);
    }

    /// Destroys what the order takes away, if that is still to be done, and gathers the bundle.
    pub(super) fn isolate_step(&mut self) -> (Step, Output) {
        let recipients = self.journal.isolation.as_mut().map(|case| {
            let before = core::mem::replace(&mut case.stage, Stage::Cleared);
            (before, case.order, case.recipients.clone())
        });
        let (before, order, recipients) = recipients.unwrap_or((
            Stage::Cleared,
            EntryId::from_parts(Timestamp::default(), [0; 10]),
            Vec::new(),
        ));
        if before == Stage::Ordered {
            let all = [keys_in(Slot::A), keys_in(Slot::B)].concat();
            self.outputs.extend([Output::Erase(all), Output::Forget]);
            self.persist();
        }
        (Step::Gathering, Output::Gather { order, recipients })
    }

    pub(super) fn gathered(&mut self, now: Timestamp, mut talk: Conversation, bundle: Option<Vec<u8>>) {
        let name = self.journal.authority.as_ref().and_then(|anchor| anchor.name.clone());
        let Journal { isolation: Some(case), membership: Some(member), identity: Some(identity), .. } =
            &self.journal
        else {
            return self.fail(now, Event::Untrusted(code::config::INTERNAL));
        };
        let Some(authority) = name else {
            return self.fail(now, Event::Untrusted(code::config::INTERNAL));
        };
        // What does not fit does not go.
        let bundle = bundle.filter(|bundle| bundle.len() <= BUNDLE_BYTES_MAX);
        let record = Record {
            device: member.device.clone(),
            authority,
            order: case.order,
            receipt: case.receipt,
            at: now,
            bundle: bundle.as_ref().map(|bundle| ByteArray::from(sha256(bundle))),
        };
        let unsigned = record.unsigned(identity);
        let output = sign(SignWith::Slot(KeySlot::Identity), unsigned.to_be_signed());
        talk.step = Step::SigningReport(Box::new(Report { unsigned, bundle }));
        self.go_on(talk, output);
    }

    pub(super) fn report_signed(&mut self, mut talk: Conversation, report: Report, signature: Vec<u8>) {
        let Report { unsigned, bundle } = report;
        let record = ByteVec::from(unsigned.finish(signature));
        let message = FromDevice::Isolated(Isolated { record, bundle: bundle.map(ByteVec::from) });
        let Some(anchor) = self.journal.authority.clone() else { return };
        talk.step = Step::ConnectingToReport(message.to_bytes());
        self.go_on(talk, Output::Connect { key: Some(KeySlot::Identity), chain: Vec::new(), anchor });
    }

    pub(super) fn reported(&mut self, now: Timestamp, talk: &Conversation, frame: &[u8]) {
        let told = match FromAuthority::from_bytes(frame) {
            Ok(FromAuthority::Recorded) => None,
            // It was heard. An authority that was restored since knows nothing of the order, and never will.
            Ok(FromAuthority::Refused(refused)) if refused.retry_after_s.is_none() => Some(refused),
            Ok(FromAuthority::Refused(refused)) => return self.refused(now, talk, &refused),
            _ => return self.fail(now, Event::Untrusted(code::enrolment::PROTOCOL)),
        };
        if let Some(case) = &mut self.journal.isolation {
            case.stage = Stage::Reported;
        }
        self.persist();
        match told {
            None => {
                self.failures = 0;
                self.rest(now, WAIT_MIN);
                self.outputs.extend([Output::Close, Output::Event(Event::StillIsolated)]);
            }
            Some(refused) => self.refused(now, talk, &refused),
        }
    }

    /// The device is in service again under a newer certificate.
    pub(super) fn came_back(&mut self) -> bool {
        let Some(case) = self.journal.isolation.take() else { return false };
        self.journal.obeyed = self.journal.obeyed.max(Some(case.at));
        true
    }

    /// What happens while the device obeys and reports.
    pub(super) fn report(&mut self, now: Timestamp, mut talk: Conversation, step: Step, input: Input) {
        match (step, input) {
            (Step::Gathering, Input::Gathered(bundle)) => self.gathered(now, talk, bundle),
            (Step::SigningReport(report), Input::Signed(signature)) => {
                self.report_signed(talk, *report, signature);
            }
            (Step::ConnectingToReport(frame), Input::Connected { .. }) => {
                talk.step = Step::AwaitingReported;
                self.go_on(talk, Output::Send(frame));
            }
            (Step::AwaitingReported, Input::Received(frame)) => self.reported(now, &talk, &frame),
            (_, Input::Disconnected(Some(code))) => self.fail(now, Event::Untrusted(code)),
            (_, Input::Disconnected(None)) => self.fail(now, Event::Unreachable),
            _ => self.fail(now, Event::Untrusted(code::enrolment::PROTOCOL)),
        }
    }
}
