//! The end of a device: record, notice, wipe, receipt.
//!
//! Once the record is durable there is no way back: every start goes on with the wipe until it is done, and every start
//! after that tells the authority until it has recorded it.
//!
//! Source: `docs/spec/enrolment.md` END-3 to END-7.

use core::time::Duration;

use kos_base::{Code, EntryId, PublicKey, Secret, Timestamp, code};
use minicbor::bytes::{ByteArray, ByteVec};

use super::{
    Anchor, Delivery, Event, Held, Input, Journal, KeySlot, Machine, Membership, Output, RANDOM_BYTES,
    SignWith,
    conversation::{chain_of, sign},
};
use crate::{
    decommission::{Assurance, Record, verify_order},
    enrolment::message::{FromAuthority, FromDevice, Notice, Receipt},
};

/// Pause after the authority has refused to record a wipe.
const REFUSED_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// How far the end has come.
#[derive(Debug)]
pub(super) enum Ending {
    /// A person asked for it.
    Asked,
    /// Draws a receipt of its own.
    Drawing,
    /// The record waits for its signature.
    Signing(Box<(Record, kos_base::cose::Unsigned)>),
    /// Tells the authority before the wipe, once; the record is durable.
    Announcing(Vec<u8>),
    Announced(Vec<u8>),
    /// The shell destroys everything but the record.
    Wiping(Vec<u8>),
    /// Everything is gone; the authority is still to be told.
    Wiped(Vec<u8>),
    Telling(Vec<u8>),
    Told(Vec<u8>),
}

impl Ending {
    /// A record was found at the start: the wipe may not have been finished.
    pub(super) const fn written(record: Vec<u8>) -> Self {
        Self::Wiping(record)
    }
}

impl Machine {
    /// Whether the device is at its end.
    pub const fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// The authority sent an order.
    pub(super) fn ordered(&mut self, now: Timestamp, signed: &[u8]) {
        let Some(membership) = &self.journal.membership else {
            return self.fail(now, Event::Untrusted(code::enrolment::PROTOCOL));
        };
        match verify_order(signed, &membership.keys.orders, &membership.device) {
            Ok(order) => {
                self.conversation = None;
                self.outputs.push_back(Output::Close);
                let order = order.order().clone();
                self.write_record(now, Some(order.id), *order.receipt);
            }
            Err(_) => self.fail(now, Event::Untrusted(code::enrolment::PROTOCOL)),
        }
    }

    /// The newest certificate: what the authority has recorded last may be one that it could not tell us.
    fn newest(&self) -> Option<&Held> {
        let candidate = self.journal.candidate.as_ref().and_then(|candidate| candidate.held.as_ref());
        candidate.or(self.journal.active.as_ref())
    }

    /// Who signs the record: the newest certificate's key, or the identity key of a device whose certificate nobody knows
    /// any more. A device that was never let in has nobody to tell.
    fn signer(&self) -> Option<(KeySlot, &PublicKey)> {
        let operational = self.newest().map(|held| (KeySlot::Operational(held.slot), &held.operational));
        operational.or_else(|| Some((KeySlot::Identity, self.journal.identity.as_ref()?)))
    }

    /// Prepares the record and asks for its signature. Where there is none to write, none leads on through the wipe either,
    /// so the journal goes first, lest it name keys that are gone.
    fn write_record(&mut self, now: Timestamp, order: Option<EntryId>, receipt: [u8; 32]) {
        let (Some((slot, key)), Some(membership), Some(anchor)) =
            (self.signer(), &self.journal.membership, &self.journal.authority)
        else {
            self.journal = Journal::default();
            self.persist();
            return self.wipe(Vec::new());
        };
        let record = record(now, membership, anchor, order, receipt);
        let Some(record) = record else {
            return self.fail(now, Event::Untrusted(code::config::INTERNAL));
        };
        let unsigned = record.unsigned(key);
        let output = sign(SignWith::Slot(slot), unsigned.to_be_signed());
        self.ending = Some(Ending::Signing(Box::new((record, unsigned))));
        self.outputs.push_back(output);
    }

    pub(super) fn end(&mut self, now: Timestamp, ending: Ending, input: Input) {
        match (ending, input) {
            (Ending::Drawing, Input::Drawn(random)) => self.write_record(now, None, receipt_from(&random)),
            (Ending::Signing(prepared), Input::Signed(signature)) => {
                let (record, unsigned) = *prepared;
                let signed = unsigned.finish(signature);
                self.outputs.push_back(Output::WriteRecord(signed.clone()));
                match (record.order, self.newest(), self.journal.authority.clone()) {
                    (None, Some(held), Some(anchor)) => {
                        let (key, chain) = (Some(KeySlot::Operational(held.slot)), chain_of(held));
                        self.outputs.push_back(Output::Connect { key, chain, anchor });
                        self.ending = Some(Ending::Announcing(signed));
                    }
                    _ => self.wipe(signed),
                }
            }
            (Ending::Announcing(signed), Input::Connected { .. }) => {
                let record = ByteVec::from(signed.clone());
                self.outputs.push_back(Output::Send(FromDevice::Notice(Notice { record }).to_bytes()));
                self.ending = Some(Ending::Announced(signed));
            }
            // Whether it was heard or not: the wipe does not wait.
            (Ending::Announcing(signed) | Ending::Announced(signed), _) => {
                self.outputs.push_back(Output::Close);
                self.wipe(signed);
            }
            (Ending::Wiping(signed), Input::Wiped) => {
                self.journal = Journal::default();
                self.ending = Some(Ending::Wiped(signed));
                self.resume_ending();
            }
            (Ending::Telling(signed), Input::Connected { .. }) => match Record::peek(&signed) {
                Ok(record) => {
                    let receipt = Receipt {
                        device: record.device,
                        receipt: record.receipt,
                        record: ByteVec::from(signed.clone()),
                    };
                    self.outputs.push_back(Output::Send(FromDevice::Receipt(receipt).to_bytes()));
                    self.ending = Some(Ending::Told(signed));
                }
                Err(_) => self.owe(now, signed),
            },
            (Ending::Told(signed), Input::Received(frame)) => match FromAuthority::from_bytes(&frame) {
                Ok(FromAuthority::Recorded) => {
                    self.ending = Some(Ending::Wiped(signed));
                    self.pause = None;
                    self.outputs.extend([Output::Close, Output::Event(Event::Ended(Delivery::Recorded))]);
                }
                Ok(FromAuthority::Refused(refused)) => {
                    let code = Code::find(&refused.code.to_string());
                    self.outputs
                        .push_back(Output::Event(Event::Refused(code.unwrap_or(code::enrolment::PROTOCOL))));
                    self.owe(now, signed);
                    // It was heard, and an operator may still change the answer.
                    self.rest(now, REFUSED_PAUSE);
                }
                _ => self.owe(now, signed),
            },
            (Ending::Telling(signed) | Ending::Told(signed), _) => self.owe(now, signed),
            (ending, _) => self.ending = Some(ending),
        }
    }

    /// Goes on with the end: first the wipe, then the receipt.
    pub(super) fn resume_ending(&mut self) {
        match self.ending.take() {
            Some(Ending::Asked) => {
                self.ending = Some(Ending::Drawing);
                self.outputs.push_back(Output::Draw);
            }
            Some(Ending::Wiping(signed)) => self.wipe(signed),
            Some(Ending::Wiped(signed)) => match Record::peek(&signed) {
                Ok(record) => {
                    let anchor = Anchor {
                        name: Some(record.authority),
                        pins: vec![record.pin],
                        addresses: record.addresses,
                    };
                    self.outputs.push_back(Output::Connect { key: None, chain: Vec::new(), anchor });
                    self.ending = Some(Ending::Telling(signed));
                }
                // It was never let in: nobody is to be told.
                Err(_) => {
                    self.ending = Some(Ending::Wiped(signed));
                    self.outputs.push_back(Output::Event(Event::Ended(Delivery::Recorded)));
                }
            },
            other => self.ending = other,
        }
    }

    fn wipe(&mut self, signed: Vec<u8>) {
        self.ending = Some(Ending::Wiping(signed));
        self.outputs.push_back(Output::Wipe);
    }

    fn owe(&mut self, now: Timestamp, signed: Vec<u8>) {
        self.fail(now, Event::Ended(Delivery::Owed));
        self.ending = Some(Ending::Wiped(signed));
    }
}

fn record(
    now: Timestamp,
    membership: &Membership,
    anchor: &Anchor,
    order: Option<EntryId>,
    receipt: [u8; 32],
) -> Option<Record> {
    let name = anchor.name.clone()?;
    let pin = anchor.pins.first().copied()?;
    Some(Record {
        device: membership.device.clone(),
        authority: name,
        at: now,
        order,
        receipt: ByteArray::from(receipt),
        assurance: Assurance::Cleared,
        pin,
        addresses: anchor.addresses.clone(),
    })
}

fn receipt_from(random: &Secret<RANDOM_BYTES>) -> [u8; 32] {
    let mut receipt = [0; 32];
    for (to, from) in receipt.iter_mut().zip(random.expose()) {
        *to = *from;
    }
    receipt
}
