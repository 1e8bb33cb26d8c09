//! Between a decision and a certificate with SEC-4: the question to a second verifier, and its answer.
//!
//! Invariants: a certificate that needs a second verdict is prepared only with one; whoever is refused keeps what it has.
//!
//! Source: `docs/spec/second-verifier.md` SECV-1, SECV-2, SECV-11 to SECV-18.

use kos_attest::Binding;
use kos_base::{Code, DeviceId, KeyId, Timestamp, code, digest::Sha256};

use super::{
    Output, Phase, Request, Session, attested,
    issue::{Issuing, Plan, covers},
};
use crate::{
    enrolment::message::{FromAuthority, Refused},
    registry::Change,
    second::{self, Asked, Fault, Testimony, Transcript},
};

/// An issuance that waits for a second verdict.
#[derive(Debug)]
pub(super) struct Seconding {
    request: Box<Request>,
    plan: Plan,
    crls: Vec<Vec<u8>>,
    digest: Sha256,
    /// Whether the store has the device already.
    is_known: bool,
}

/// A question to a second verifier.
#[derive(Clone, Debug)]
pub struct Question {
    /// The device that asks for a certificate; nobody judges itself.
    pub device: DeviceId,
    /// The key that the certificate is to be for.
    pub operational: KeyId,
    /// The transcript, at most [`second::TRANSCRIPT_BYTES_MAX`].
    pub transcript: Vec<u8>,
}

impl Session {
    /// Prepares a certificate, or asks a second verifier first.
    pub(super) fn issue(
        &mut self,
        now: Timestamp,
        request: Box<Request>,
        plan: Plan,
        crls: Vec<Vec<u8>>,
        is_known: bool,
    ) {
        let needs = second::is_needed(plan.device.profile()) && covers(&plan.device).is_ok();
        match self.transcript(&request, &plan).filter(|_| needs) {
            Some(transcript) => {
                let (digest, device) = (second::digest(&transcript), plan.device.id.clone());
                let operational = request.csr.public_key().id();
                let waiting = Seconding { request, plan, crls, digest, is_known };
                self.ask(
                    Phase::Seconding(Box::new(waiting)),
                    Output::Second(Question { device, operational, transcript }),
                );
            }
            // What needs a verdict and cannot be asked for one is refused there.
            None => {
                let step = Issuing::start(&self.context, now, request, plan, crls, None, &self.random);
                self.issuing(step);
            }
        }
    }

    fn transcript(&self, request: &Request, plan: &Plan) -> Option<Vec<u8>> {
        let challenge = self.challenge.as_ref()?;
        let (offer, statement) = (request.hello.attestation.clone()?, request.prove.attestation.clone()?);
        let identity = plan.device.identity_key.clone();
        let [exporter, _] = &self.exporters;
        let binding = Binding::of_request(exporter, &self.random.nonce, identity.id(), &request.csr.digest());
        let [one_time, secret] = challenge.draws().map(|draw| (*draw.expose()).into());
        let transcript = Transcript {
            authority: self.context.name.clone(),
            device: plan.device.id.clone(),
            identity,
            operational: request.csr.public_key().clone(),
            offer,
            one_time,
            secret,
            pcrs: self.context.attestation.pcrs.bits(),
            binding: (*binding.as_bytes()).into(),
            statement,
        };
        Some(transcript.to_bytes()).filter(|bytes| bytes.len() <= second::TRANSCRIPT_BYTES_MAX)
    }

    /// Takes the answer of a second verifier, or that there is none.
    pub(super) fn seconded(&mut self, now: Timestamp, waiting: Seconding, said: Option<&Testimony>) {
        let Seconding { request, mut plan, crls, digest, is_known } = waiting;
        let asked = Asked {
            authority: &self.context.name,
            device: &plan.device.id,
            operational: request.csr.public_key().id(),
            transcript: &digest,
            now,
        };
        match said.ok_or(Fault::Absent).and_then(|said| second::check(&asked, said)) {
            Ok(verdict) => {
                plan.changes.push(Change::SecondVerdict {
                    device: plan.device.id.clone(),
                    verifier: verdict.verifier().clone(),
                    transcript: verdict.transcript().to_vec(),
                    at: verdict.at(),
                });
                let step =
                    Issuing::start(&self.context, now, request, plan, crls, Some(verdict), &self.random);
                self.issuing(step);
            }
            Err(fault) if is_known => {
                let code = fault.code();
                if matches!(fault, Fault::Refused(_)) {
                    self.outputs.push_back(Output::Misuse(code));
                }
                let answer =
                    FromAuthority::Refused(Refused { code: code.number(), retry_after_s: retry(code) });
                let commit = attested::failed(&plan.device, code);
                self.ask(Phase::Committing(request, answer.to_bytes()), Output::Commit(commit));
            }
            Err(fault @ Fault::Refused(_)) => self.refuse_misuse(fault.code()),
            // What is wrong with a node is no fault of a newcomer.
            Err(fault) => self.refuse(fault.code()),
        }
    }
}

/// Seconds after which whoever was refused may try again, where time may mend it.
pub(super) fn retry(code: Code) -> Option<u32> {
    (code.exit() == code::Exit::Unreachable).then_some(60)
}
