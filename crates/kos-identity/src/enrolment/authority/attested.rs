//! The attestation in a conversation: the challenge to what a device offers, and the judgement of what it states.
//!
//! Invariants: evidence of a device comes from here and from nowhere else. A statement that does not hold ends the
//! conversation; it never counts as none.
//!
//! Source: `docs/spec/attestation.md` ATT-1 to ATT-6, ATT-17 to ATT-23.

use kos_attest::{
    AttestError, AttestationKey, Binding, Challenge, Clock, EkRoots, EndorsementKey, Evidence, Pcrs, Quoted,
    Signed, Trust, Values, vouch,
};
use kos_base::{Code, EvidenceTier, KeyId, PublicKey, Secret, Timestamp, code};

use super::{Context, Decision, Found, Request, Waiting, entry};
use crate::{
    enrolment::{
        message::{KeyCertificate, Means, Offer, PcrQuote, Statement, TpmChallenge},
        proof::Exporter,
    },
    registry::{Actor, Attested, Change, Commit, Device, Write},
};

/// What an authority asks of TPMs, and whom it believes about them.
#[derive(Clone, Debug)]
pub struct AttestationTerms {
    /// Which PCRs are quoted.
    pub pcrs: Pcrs,
    /// Roots of makers.
    pub roots: EkRoots,
}

impl Default for AttestationTerms {
    fn default() -> Self {
        Self { pcrs: Pcrs::DEFAULT, roots: EkRoots::default() }
    }
}

/// What a challenge is drawn from: one-time key, secret.
pub(super) type Draws = (Secret<32>, Secret<32>);

/// Makes the challenge to an offer.
pub(super) fn challenge(offer: &Offer, (one_time, secret): Draws) -> Result<Challenge, AttestError> {
    let ek = EndorsementKey::parse(&offer.ek)?;
    let ak = AttestationKey::parse(&offer.ak)?;
    Challenge::make(ek, ak, &one_time, secret)
}

/// As it is sent.
pub(super) fn sent(challenge: &Challenge, context: &Context) -> TpmChallenge {
    TpmChallenge {
        credential: challenge.credential().to_vec().into(),
        seed: challenge.seed().to_vec().into(),
        pcrs: context.attestation.pcrs.bits(),
    }
}

/// Judges the statement of a request, if there is one.
pub(super) fn judge(
    context: &Context,
    now: Timestamp,
    challenge: Option<&Challenge>,
    request: &Request,
    found: &Found,
    (exporter, nonce): (&Exporter, &[u8; 32]),
) -> Result<Option<Attested>, AttestError> {
    let (Some(challenge), Some(statement), Some(offer)) =
        (challenge, &request.prove.attestation, &request.hello.attestation)
    else {
        return Ok(None);
    };
    if found.device.is_none() && matches!(request.prove.means, Means::Renewal { .. }) {
        // By a key that is of nobody any more. Whose statement it would be cannot be known, and nothing is issued for it;
        // the device hears that, and shows its identity key, by which a copy of it is noticed.
        return Ok(None);
    }
    let identity = found.device.as_ref().map_or(&request.peer, |device| &device.identity_key);
    let binding = Binding::of_request(exporter, nonce, identity.id(), &request.csr.digest());
    let asked =
        Asked { context, request, now, challenge, binding, identity, operational: request.csr.public_key() };
    let known = found.device.as_ref().and_then(|device| device.attested.as_ref());
    asked.judge(offer, statement, known, found).map(Some)
}

/// What a statement has to answer.
struct Asked<'a> {
    context: &'a Context,
    request: &'a Request,
    now: Timestamp,
    challenge: &'a Challenge,
    binding: Binding,
    identity: &'a PublicKey,
    operational: &'a PublicKey,
}

impl Asked<'_> {
    fn judge(
        &self,
        offer: &Offer,
        statement: &Statement,
        known: Option<&Attested>,
        found: &Found,
    ) -> Result<Attested, AttestError> {
        let activated = self.challenge.answered(self.binding, &statement.answer)?;
        let KeyCertificate { public, attest, signature } = &statement.identity;
        activated.certified(public, &Signed { attest, signature }, self.identity, "identity")?;
        let KeyCertificate { public, attest, signature } = &statement.operational;
        let operational =
            activated.certified(public, &Signed { attest, signature }, self.operational, "operational")?;
        let PcrQuote { attest, signature, values } = &statement.quote;
        let quoted = Quoted { signed: Signed { attest, signature }, values };
        let quote = activated.quoted(&quoted, self.context.attestation.pcrs)?;
        if let Some(known) = known {
            if known.ek != activated.ek().id() {
                return Err(AttestError::OtherTpm);
            }
            quote.follows(&known.clock())?;
        }
        let certificates: Vec<&[u8]> = offer.certificates.iter().map(|der| der.as_slice()).collect();
        let vouched = vouch(activated.ek(), &certificates, &self.context.attestation.roots, self.now);
        let (trust, by) = match vouched {
            Ok(vouched) => {
                let maker = vouched.maker();
                let by = format!("{} {} {}", maker.manufacturer, maker.model, maker.version);
                (Trust::Vouched(vouched), by)
            }
            Err(_) if entry::names(found, self.request, activated.ek().id(), self.now) => {
                (Trust::Listed, "named by a voucher of its maker".to_owned())
            }
            Err(_) if found.ek_listed || self.is_named(activated.ek().id()) => {
                (Trust::Listed, "listed by an operator".to_owned())
            }
            Err(fault) => (Trust::Unknown, fault.to_string()),
        };
        let evidence = Evidence::new(activated, operational, quote, trust, &found.golden);
        Ok(record(&evidence, by, self.now))
    }
}

impl Asked<'_> {
    /// Whether a rule that an operator wrote names the endorsement key.
    fn is_named(&self, ek: KeyId) -> bool {
        self.context.rules.iter().any(|rule| rule.asks().eks.contains(&ek))
    }
}

fn record(evidence: &Evidence, vouched_by: String, at: Timestamp) -> Attested {
    let quote = evidence.quote();
    let Clock { clock_ms, reset_count, restart_count, .. } = quote.clock();
    Attested {
        ek: evidence.activated().ek().id(),
        ak: evidence.activated().ak().name().to_vec(),
        pcrs: quote.values().pcrs().bits(),
        values: quote.values().bytes().to_vec(),
        clock_ms,
        reset_count,
        restart_count,
        tier: evidence.tier(),
        at,
        vouched_by,
        golden: evidence.golden().map(str::to_owned),
    }
}

/// Puts the evidence of a request into what was decided on it.
pub(super) fn stamp(mut decision: Decision, attested: Option<&Attested>) -> Decision {
    match &mut decision {
        Decision::Issue(plan) => {
            let changes = take(&mut plan.device, attested);
            plan.changes.splice(0..0, changes);
        }
        Decision::Wait(Waiting::New(commit, _)) => {
            for write in &mut commit.writes {
                if let Write::Device(device) = write {
                    commit.changes.extend(take(device, attested));
                }
            }
        }
        Decision::Again(_)
        | Decision::Wait(Waiting::Known(..))
        | Decision::RefuseAfter(..)
        | Decision::Refuse(_) => {}
    }
    decision
}

/// Writes it into the record, and tells what happened. Evidence is of the key that is certified now: what the device had
/// before is gone when it shows nothing.
pub(super) fn take(device: &mut Device, attested: Option<&Attested>) -> Vec<Change> {
    let id = device.id.clone();
    let Some(attested) = attested else {
        let had = device.attested.is_some() && device.evidence > EvidenceTier::KeyOnDevice;
        if had {
            device.evidence = EvidenceTier::KeyOnDevice;
        }
        let code = code::attest::ATTEST_ABSENT;
        return had.then_some(Change::AttestationFailed { device: id, code }).into_iter().collect();
    };
    let mut changes = vec![Change::AttestationVerified {
        device: id.clone(),
        ek: attested.ek,
        tier: attested.tier,
        vouched_by: attested.vouched_by.clone(),
        golden: attested.golden.clone(),
        pcr_digest: attested.digest(),
    }];
    if let Some(pcrs) = device.attested.as_ref().and_then(|before| differing(before, attested)) {
        changes.push(Change::AttestationChanged { device: id, pcrs, pcr_digest: attested.digest() });
    }
    device.evidence = attested.tier;
    device.attested = Some(attested.clone());
    changes
}

/// The numbers of PCRs that have another value now.
fn differing(before: &Attested, now: &Attested) -> Option<Vec<u32>> {
    let values = |attested: &Attested| {
        let pcrs = Pcrs::from_bits(attested.pcrs)?;
        Values::new(pcrs, attested.values.clone()).ok()
    };
    let differing = values(now)?.differing(&values(before)?);
    (!differing.is_empty()).then_some(differing)
}

/// What is recorded, and answered, when a device that is known shows what does not hold, or too little.
///
/// The record stays as it is: a device that repeats this must not get in the way of who stops it.
pub(super) fn failed(device: &Device, code: Code) -> Commit {
    let changes = vec![Change::AttestationFailed { device: device.id.clone(), code }];
    Commit { actor: Actor::Device(device.id.clone()), changes, writes: Vec::new() }
}
