//! Judging another device before it gets SEC-4, for an authority that asks.
//!
//! Invariants: the lists are those of this device's own operator. What was said is in the log before it leaves.
//!
//! Source: `docs/spec/second-verifier.md` SECV-6 to SECV-10, SECV-19.

use data_encoding::HEXLOWER;
use kos_audit::EventType;
use kos_base::{
    Code,
    code::{self, second as codes},
    key::SignatureForm,
};
use kos_identity::{
    enrolment::device::KeySlot,
    second::{self, Judge, Opinion},
};
use serde_json::json;

use super::{Device, about, service::standing_of};
use crate::{link::JudgeCall, verifier};

impl Device {
    /// What is to be told if this device is to judge others and cannot.
    pub(super) fn verifier_warning(&self) -> Option<String> {
        let read = verifier::read(self.root.folder(), &self.config);
        read.err().map(|error| format!("this device cannot judge others ({}): {error}", error.code()))
    }

    /// Answers the authority.
    pub(super) fn second(&mut self, call: JudgeCall) {
        let outcome = self.verdict(&call.transcript);
        if let Err(code) = &outcome {
            tracing::error!(%code, reason = code.title(), "another device is not judged");
            self.errors.count();
        }
        // The link may have ended meanwhile.
        let _ = call.done.send(outcome);
    }

    fn verdict(&self, transcript: &[u8]) -> Result<Vec<u8>, Code> {
        let (member, held) = self.serving().ok_or(code::enrolment::STATE_FORBIDS)?;
        if standing_of(held).map_err(|setback| setback.code())?.profile < second::LEAST {
            return Err(codes::SECOND_UNFIT);
        }
        let authority = self.machine.journal().authority.as_ref().and_then(|anchor| anchor.name.clone());
        let authority = authority.ok_or(code::config::INTERNAL)?;
        let lists = verifier::read(self.root.folder(), &self.config).unwrap_or_else(|error| {
            tracing::error!(code = %error.code(), %error, "the lists of this device are not used");
            None
        });
        let now = self.clock.now();
        let by = Judge { authority: &authority, device: &member.device, lists: lists.as_ref() };
        let said = second::judge(transcript, &by, now).map_err(second::Fault::code)?;
        let opinion = match said.opinion {
            Opinion::Yes => "yes",
            Opinion::No => "no",
            Opinion::Unable => "unable",
        };
        let why = Code::all().find(|code| code.number() == said.why).map(|code| code.to_string());
        let transcript = HEXLOWER.encode(said.transcript.as_slice());
        let details =
            json!({"device": said.device, "transcript": transcript, "opinion": opinion, "code": why});
        if !self.log.write(now, EventType::SecondVerdict, about(details)) {
            // A verdict that no log has could not be found afterwards (SECV-19).
            return Err(codes::SECOND_UNABLE);
        }
        let key = self.keys.signing(KeySlot::Operational(held.slot), now).map_err(|error| error.code())?;
        let unsigned = said.unsigned(key.public());
        let signature = key.sign(SignatureForm::Fixed, &unsigned.to_be_signed());
        Ok(unsigned.finish(signature.map_err(|error| error.code())?))
    }
}
