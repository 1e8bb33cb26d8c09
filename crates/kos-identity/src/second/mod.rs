//! The second verifier of SEC-4: another device, which judges an attestation by lists of its own.
//!
//! The authority writes down what was said in a conversation, a [`Transcript`]. The node that operators named judges it
//! with [`judge`], by [`Lists`] that it has from its own operator and not from the authority, and signs a [`Verdict`].
//! [`check`] makes a [`SecondVerdict`] of that, which the issuance of a certificate with SEC-4 demands.
//!
//! Invariants: only [`check`] makes a [`SecondVerdict`]; it is for one device, one key and one conversation. What is not
//! a plain yes counts as no.
//!
//! Errors: [`Fault`]; no certificate with SEC-4 comes of it.
//!
//! What it does not do: find out whether the authority tells of a conversation that there was. Whoever knows the secret of
//! a challenge could have answered it.
//!
//! Source: `docs/spec/second-verifier.md` SECV-4 to SECV-16; fuzz target `enrolment_message`.

mod lists;

use core::time::Duration;

use kos_attest::{
    AttestError, AttestationKey, Binding, Challenge, EndorsementKey, Evidence, Pcrs, Quoted, Signed, Trust,
    vouch,
};
use kos_base::{
    AuthorityName, Code, DeviceId, EvidenceTier, KeyId, PublicKey, Secret, SecurityProfile, Timestamp, cbor,
    code::{self, second as codes},
    cose::{Purpose, Sealed, Unsigned},
    digest::{Sha256, sha256_parts},
};
use kos_policy::{Request, Way, decide};
use minicbor::{Decode, Encode};

pub use self::lists::{EKS_MAX, GOLDEN_MAX, Lists, ListsFault, Measured};
use crate::{
    enrolment::message::{Bytes32, Offer, Statement},
    registry::Device,
};

/// Longest transcript in bytes: an offer with all its certificates and a statement, and room to spare. Stops an authority
/// that turned hostile from filling the memory of a node.
pub const TRANSCRIPT_BYTES_MAX: usize = 49_152;
/// Longest signed verdict in bytes: it has to fit into the result of an ACK.
pub const VERDICT_BYTES_MAX: usize = 1024;
/// How far the time of a verdict may be from that of the authority, either way. Stops one from being kept for later.
pub const VERDICT_AGE_MAX: Duration = Duration::from_secs(60);
/// What a device has to hold to be a second verifier.
pub const LEAST: SecurityProfile = SecurityProfile::Sec3;

const VERDICT: Purpose =
    Purpose { domain: "kos second verdict v1", typ: "application/kos-second-verdict+cbor" };

/// Whether a certificate with this profile needs a second verdict (SECV-1).
pub fn is_needed(profile: SecurityProfile) -> bool {
    profile >= SecurityProfile::Sec4
}

/// What was said in a conversation, as the authority tells it. Nothing in it is of use on another connection: the secret
/// of the challenge was answered already.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Transcript {
    /// Whose device it is to be.
    #[n(0)]
    pub authority: AuthorityName,
    /// The device that asks for a certificate.
    #[n(1)]
    pub device: DeviceId,
    /// Its identity key.
    #[n(2)]
    pub identity: PublicKey,
    /// The key that is to be certified.
    #[n(3)]
    pub operational: PublicKey,
    /// What its TPM offered.
    #[n(4)]
    pub offer: Offer,
    /// What the challenge was made from: the one-time key.
    #[n(5)]
    pub one_time: Bytes32,
    /// And the secret.
    #[n(6)]
    pub secret: Bytes32,
    /// The PCRs that were asked for; bit n is PCR n.
    #[n(7)]
    pub pcrs: u32,
    /// The binding of the conversation (ATT-5).
    #[n(8)]
    pub binding: Bytes32,
    /// What the TPM stated.
    #[n(9)]
    pub statement: Statement,
}

/// What a node thinks of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Opinion {
    /// Its TPM is one that the node knows, and its start a good one.
    #[n(0)]
    Yes,
    /// It is not.
    #[n(1)]
    No,
    /// The node has no lists to judge by. Counts as no.
    #[n(2)]
    Unable,
}

/// What a node says of a transcript.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Verdict {
    /// Whose device was judged.
    #[n(0)]
    pub authority: AuthorityName,
    /// Which.
    #[n(1)]
    pub device: DeviceId,
    /// Who judged.
    #[n(2)]
    pub verifier: DeviceId,
    /// The digest of the transcript.
    #[n(3)]
    pub transcript: Bytes32,
    /// What came of it.
    #[n(4)]
    pub opinion: Opinion,
    /// When, by the node's clock.
    #[n(5)]
    pub at: Timestamp,
    /// Why not: the number of a code; 0 with a yes.
    #[n(6)]
    pub why: u16,
}

/// Who judges.
#[derive(Clone, Copy, Debug)]
pub struct Judge<'a> {
    /// Whose device it is.
    pub authority: &'a AuthorityName,
    /// Which.
    pub device: &'a DeviceId,
    /// What it goes by; nothing if its operator gave it nothing.
    pub lists: Option<&'a Lists>,
}

/// What the authority asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The authority.
    pub authority: &'a AuthorityName,
    /// The device that is to get the certificate.
    pub device: &'a DeviceId,
    /// The key that is to be certified.
    pub operational: KeyId,
    /// The digest of the transcript that was sent.
    pub transcript: &'a Sha256,
    /// The present moment.
    pub now: Timestamp,
}

/// What a node answered, and who it is by now.
#[derive(Clone, Debug)]
pub struct Testimony {
    /// The record of the node, read after its answer came.
    pub node: Device,
    /// Whether it is a second verifier, read at the same time.
    pub is_named: bool,
    /// The signed verdict.
    pub signed: Vec<u8>,
}

/// Why there is no second verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Nobody has judged in time.
    #[error("no second verifier has judged the device in time")]
    Absent,
    /// The node may not be a second verifier here.
    #[error("the second verifier {0}")]
    Unfit(&'static str),
    /// What it said was not signed by it, or is about something else.
    #[error("the second verdict {0}")]
    Invalid(&'static str),
    /// It does not believe the device; the number of its code.
    #[error("the second verifier does not believe the device (KOS-E{0:04})")]
    Refused(u16),
    /// It cannot judge.
    #[error("the second verifier has no lists to judge by")]
    Unable,
    /// The transcript is none, or not of a device of this authority.
    #[error("the transcript cannot be read")]
    Transcript,
}

impl Fault {
    /// The stable code.
    pub const fn code(self) -> Code {
        match self {
            Self::Absent => codes::SECOND_ABSENT,
            Self::Unfit(_) => codes::SECOND_UNFIT,
            Self::Invalid(_) => codes::SECOND_INVALID,
            Self::Refused(_) => codes::SECOND_REFUSED,
            Self::Unable => codes::SECOND_UNABLE,
            Self::Transcript => codes::SECOND_TRANSCRIPT,
        }
    }
}

/// That a second verifier believes a device, for one key and one conversation. Only [`check`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecondVerdict {
    device: DeviceId,
    operational: KeyId,
    verifier: DeviceId,
    transcript: Sha256,
    at: Timestamp,
}

impl SecondVerdict {
    /// Whether it is about this device and this key.
    pub fn is_for(&self, device: &DeviceId, operational: KeyId) -> bool {
        self.device == *device && self.operational == operational
    }

    /// Who judged.
    pub const fn verifier(&self) -> &DeviceId {
        &self.verifier
    }

    /// The digest of what was judged.
    pub const fn transcript(&self) -> &Sha256 {
        &self.transcript
    }

    /// When.
    pub const fn at(&self) -> Timestamp {
        self.at
    }
}

impl Transcript {
    /// As it is sent.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(self)
    }
}

/// What a verdict names a transcript by (SECV-7).
pub fn digest(transcript: &[u8]) -> Sha256 {
    sha256_parts("kos second transcript v1", [transcript])
}

impl Verdict {
    /// Prepares the verdict for the node's operational key.
    pub fn unsigned(&self, key: &PublicKey) -> Unsigned {
        Unsigned::new(VERDICT, key, cbor::encode(self))
    }
}

/// Judges a transcript, on the node.
///
/// # Errors
/// When it cannot be read, or is not of another device of the same authority. A device that is not believed is no error: the
/// verdict says so.
pub fn judge(transcript: &[u8], by: &Judge<'_>, now: Timestamp) -> Result<Verdict, Fault> {
    let told: Transcript = cbor::decode(transcript, TRANSCRIPT_BYTES_MAX).map_err(|_| Fault::Transcript)?;
    if told.authority != *by.authority || told.device == *by.device || !told.offer.is_within_limits() {
        return Err(Fault::Transcript);
    }
    let (opinion, why) = match by.lists.map(|lists| believed(&told, lists, now)) {
        None => (Opinion::Unable, codes::SECOND_UNABLE.number()),
        Some(Ok(tier)) if tier >= EvidenceTier::QuoteVerified => (Opinion::Yes, 0),
        Some(Ok(_)) => (Opinion::No, code::policy::POLICY_EVIDENCE.number()),
        // A node with the FIPS module has nothing to make the challenge with.
        Some(Err(error @ AttestError::NotApproved(_))) => (Opinion::Unable, error.code().number()),
        Some(Err(error)) => (Opinion::No, error.code().number()),
    };
    Ok(Verdict {
        authority: told.authority,
        device: told.device,
        verifier: by.device.clone(),
        transcript: digest(transcript).into(),
        opinion,
        at: now,
        why,
    })
}

/// What the node makes of it: all that ATT-7 to ATT-17 ask for, by its own lists.
fn believed(told: &Transcript, lists: &Lists, now: Timestamp) -> Result<EvidenceTier, AttestError> {
    let ek = EndorsementKey::parse(&told.offer.ek)?;
    let ak = AttestationKey::parse(&told.offer.ak)?;
    let challenge = Challenge::make(ek, ak, &Secret::new(*told.one_time), Secret::new(*told.secret))?;
    let Statement { answer, identity, operational, quote } = &told.statement;
    let activated = challenge.answered(Binding::as_told(*told.binding), answer)?;
    let signed = Signed { attest: &identity.attest, signature: &identity.signature };
    activated.certified(&identity.public, &signed, &told.identity, "identity")?;
    let signed = Signed { attest: &operational.attest, signature: &operational.signature };
    let certified = activated.certified(&operational.public, &signed, &told.operational, "operational")?;
    let pcrs = Pcrs::from_bits(told.pcrs).ok_or(AttestError::OtherPcrs)?;
    let signed = Signed { attest: &quote.attest, signature: &quote.signature };
    let quoted = activated.quoted(&Quoted { signed, values: &quote.values }, pcrs)?;
    let certificates: Vec<&[u8]> = told.offer.certificates.iter().map(|der| der.as_slice()).collect();
    let trust = match vouch(activated.ek(), &certificates, lists.roots(), now) {
        Ok(vouched) => Trust::Vouched(vouched),
        Err(_) if lists.names(activated.ek().id()) => Trust::Listed,
        Err(_) => Trust::Unknown,
    };
    Ok(Evidence::new(activated, certified, quoted, trust, lists.golden()).tier())
}

/// Whether a device may be a second verifier, now (SECV-3).
///
/// # Errors
/// [`Fault::Unfit`], with the reason.
pub fn fit(node: &Device, now: Timestamp) -> Result<(), Fault> {
    let Some(held) = node.credential.as_ref().filter(|_| node.is_admitted()) else {
        return Err(Fault::Unfit("is not in service"));
    };
    if now >= held.not_after {
        return Err(Fault::Unfit("has no certificate that is valid now"));
    }
    let profile = node.certified_profile(held);
    if profile < LEAST {
        return Err(Fault::Unfit("has less than SEC-3"));
    }
    let proven = decide(node.standing(), Request::Certify(Way::Renewal, profile));
    proven.check().map_err(|_| Fault::Unfit("has not proven what its profile needs"))
}

/// Judges what a node answered.
///
/// # Errors
/// When it is no yes, of a node that counts, to what was asked, now.
pub fn check(asked: &Asked<'_>, testimony: &Testimony) -> Result<SecondVerdict, Fault> {
    let node = &testimony.node;
    if node.id == *asked.device {
        return Err(Fault::Unfit("is the device itself"));
    }
    if !testimony.is_named {
        return Err(Fault::Unfit("was named by nobody"));
    }
    fit(node, asked.now)?;
    let key = node.credential.as_ref().map(|held| &held.key).ok_or(Fault::Unfit("is not in service"))?;
    let payload = Sealed::parse(&testimony.signed, VERDICT_BYTES_MAX).and_then(|it| it.verify(VERDICT, key));
    let payload = payload.map_err(|_| Fault::Invalid("was not signed by its key"))?;
    let said: Verdict =
        cbor::decode(&payload, VERDICT_BYTES_MAX).map_err(|_| Fault::Invalid("cannot be read"))?;
    if said.verifier != node.id || said.authority != *asked.authority || said.device != *asked.device {
        return Err(Fault::Invalid("is of others"));
    }
    if *said.transcript != *asked.transcript {
        return Err(Fault::Invalid("is about another conversation"));
    }
    let is_old = asked.now.since(said.at) > VERDICT_AGE_MAX || said.at.since(asked.now) > VERDICT_AGE_MAX;
    if is_old {
        return Err(Fault::Invalid("is of another time"));
    }
    match said.opinion {
        Opinion::Yes => Ok(SecondVerdict {
            device: said.device,
            operational: asked.operational,
            verifier: said.verifier,
            transcript: *asked.transcript,
            at: said.at,
        }),
        Opinion::No => Err(Fault::Refused(said.why)),
        Opinion::Unable => Err(Fault::Unable),
    }
}
