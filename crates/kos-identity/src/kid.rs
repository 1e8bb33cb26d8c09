//! The kID: a short signed statement of who a device is and what it may do, which it shows wherever it goes.
//!
//! A CWT in a COSE_Sign1, signed by the authority's kID signer. It is worth nothing to a thief: it is accepted only
//! from the holder of the operational key that it confirms, and it ends within a day and never after the certificate.
//! [`build`] prepares it, [`verify`] judges it. Not here: the JWT form, and the proof that the peer holds the key.
//!
//! ```text
//! COSE_Sign1( protected { alg, kid: key id of the signer, typ: "application/kos-kid+cwt" }, external_aad "kos kid v1" )
//! claims = { 1 iss: "k:<authority>", 2 sub: "k:<authority>/<device id>/<n>", 3 aud: "k:<authority>", 4 exp, 5 nbf,
//!            6 iat: Unix seconds, 7 cti: 16 bytes, 8 cnf: { 3: key id of the operational key, 32 bytes },
//!            -65537: { 1 role, 2 profile, ? 3 group, ? 4 user, 5 capabilities: [* tstr], 6 evidence, 7 channel,
//!                      8 agreement key: 32 bytes } }
//! ```
//!
//! Invariants: deterministic CBOR; issuer and subject name the same authority; `exp - iat` at most [`LIFETIME_MAX`].
//!
//! Errors: [`KidError`]; the device gets a fresh one with its next heartbeat.
//!
//! Source: RFC 8392, RFC 8747, RFC 9596; `docs/spec/identity.md` ID-41 to ID-48; vectors `tests/vectors/identity/kid`;
//! fuzz target `kid`.

use core::time::Duration;

use kos_base::{
    AgreementKey, AuthorityName, Capability, Channel, Code, EvidenceTier, GroupPath, KeyId, KidSubject, Name,
    PublicKey, Role, SecurityProfile, Timestamp,
    cbor::{self, CborError},
    code,
    cose::{self, CoseError, Purpose, Sealed},
};
use minicbor::{Decode, Decoder, Encode, Encoder, data::Int, decode, encode};

/// What the signature is for.
pub const PURPOSE: Purpose = Purpose { domain: "kos kid v1", typ: "application/kos-kid+cwt" };

/// Longest life of a kID.
pub const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// Longest kID in bytes: all capabilities that a device may have, at their longest. Still fits a QR code.
pub const BYTES_MAX: usize = 2560;

/// How far a kID is back-dated, and how much a verifier's clock may differ.
pub const SKEW: Duration = crate::certificate::BACK_DATING;

/// What a kID says about the device beside who it is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Traits {
    /// What it is for.
    #[n(1)]
    pub role: Role,
    /// What it must keep to.
    #[n(2)]
    pub profile: SecurityProfile,
    /// Where it stands in the fleet.
    #[n(3)]
    pub group: Option<GroupPath>,
    /// Whose it is.
    #[n(4)]
    pub user: Option<Name>,
    /// What it offers, sorted.
    #[n(5)]
    pub capabilities: Vec<Capability>,
    /// What it has proven.
    #[n(6)]
    pub evidence: EvidenceTier,
    /// Its firmware channel.
    #[n(7)]
    pub channel: Channel,
    /// With which key to encrypt to it.
    #[n(8)]
    pub agreement_key: AgreementKey,
}

/// What goes into a kID, from the record of the device.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Of whom it speaks: that of the certificate in service.
    pub subject: KidSubject,
    /// To whom it speaks: the authority whose fleet is to accept it.
    pub audience: AuthorityName,
    /// Id of the certified operational key.
    pub holder: KeyId,
    /// End of the certificate.
    pub certificate_not_after: Timestamp,
    /// The rest.
    pub traits: Traits,
}

/// The claims of a kID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Who it is; also names the issuer.
    pub subject: KidSubject,
    /// Whose fleet is to accept it.
    pub audience: AuthorityName,
    /// When it ends, to the second.
    pub expires_at: Timestamp,
    /// When it begins.
    pub not_before: Timestamp,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// Random; tells one kID from the next.
    pub id: [u8; 16],
    /// Id of the key whose holder may show it.
    pub holder: KeyId,
    /// What else it says.
    pub traits: Traits,
}

/// A kID before its signature.
#[derive(Debug)]
pub struct Unsigned(cose::Unsigned);

/// A kID that was judged and found right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedKid(Claims);

/// Against what a kID is judged.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The kID signer of the authority.
    pub signer: &'a PublicKey,
    /// The authority that it must speak to.
    pub audience: &'a AuthorityName,
    /// The operational key that whoever shows it has proven to hold.
    pub holder: KeyId,
}

/// Why a kID is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KidError {
    /// Not a kID, or not signed by the signer.
    #[error(transparent)]
    Signature(#[from] CoseError),
    /// Signed, with claims that are not those of a kID.
    #[error("kID with other claims: {0}")]
    Claims(#[from] CborError),
    /// Over.
    #[error("the kID expired at {0}")]
    Expired(Timestamp),
    /// Yet to begin.
    #[error("the kID is not valid before {0}")]
    NotYetValid(Timestamp),
    /// Lives longer than a kID may.
    #[error("the kID lives longer than a day")]
    Lifetime,
    /// Speaks to another fleet.
    #[error("the kID is for the fleet of `{0}`")]
    Audience(AuthorityName),
    /// Shown by somebody who does not hold its key.
    #[error("the kID belongs to the holder of another key")]
    Holder,
}

impl KidError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Expired(_) => code::certificate::KID_EXPIRED,
            _ => code::certificate::KID_INVALID,
        }
    }
}

/// Prepares a kID with the 16 random bytes `id`, to be signed by `signer`.
pub fn build(now: Timestamp, grant: Grant, id: [u8; 16], signer: &PublicKey) -> Unsigned {
    let issued_at = now.floor_s();
    let mut traits = grant.traits;
    traits.capabilities.sort_unstable();
    traits.capabilities.dedup();
    let claims = Claims {
        subject: grant.subject,
        audience: grant.audience,
        expires_at: issued_at.plus(LIFETIME_MAX).min(grant.certificate_not_after.floor_s()),
        not_before: issued_at.minus(SKEW),
        issued_at,
        id,
        holder: grant.holder,
        traits,
    };
    Unsigned(cose::Unsigned::new(PURPOSE, signer, cbor::encode(&claims)))
}

impl Unsigned {
    /// The bytes that the kID signer signs.
    pub fn to_be_signed(&self) -> Vec<u8> {
        self.0.to_be_signed()
    }

    /// The kID with its signature.
    pub fn finish(self, signature: Vec<u8>) -> Vec<u8> {
        self.0.finish(signature)
    }
}

/// Judges a kID that was shown by the holder of `expected.holder`.
///
/// # Errors
/// With the first check that fails. Treat the peer as one without kID.
pub fn verify(now: Timestamp, bytes: &[u8], expected: &Expected<'_>) -> Result<VerifiedKid, KidError> {
    let claims = open(bytes, expected.signer)?;
    claims.check_dates(now)?;
    if claims.audience != *expected.audience {
        return Err(KidError::Audience(claims.audience));
    }
    if claims.holder != expected.holder {
        return Err(KidError::Holder);
    }
    Ok(VerifiedKid(claims))
}

/// Checks the signature and reads the claims; neither time nor holder nor audience is judged. For showing a kID to
/// people; decisions need [`verify`].
///
/// # Errors
/// When it is not a kID that `signer` signed.
pub fn open(bytes: &[u8], signer: &PublicKey) -> Result<Claims, KidError> {
    let payload = Sealed::parse(bytes, BYTES_MAX)?.verify(PURPOSE, signer)?;
    Ok(cbor::decode(&payload, BYTES_MAX)?)
}

/// Which key claims to have signed a kID, so that it can be looked up.
///
/// # Errors
/// When it is not a kID by its form.
pub fn signer_key_id(bytes: &[u8]) -> Result<KeyId, KidError> {
    Ok(Sealed::parse(bytes, BYTES_MAX)?.key_id())
}

impl VerifiedKid {
    /// What it says.
    pub const fn claims(&self) -> &Claims {
        &self.0
    }
}

impl Claims {
    pub(crate) fn check_dates(&self, now: Timestamp) -> Result<(), KidError> {
        if self.expires_at.since(self.issued_at) > LIFETIME_MAX {
            return Err(KidError::Lifetime);
        }
        if now >= self.expires_at {
            return Err(KidError::Expired(self.expires_at));
        }
        if now < self.not_before {
            return Err(KidError::NotYetValid(self.not_before));
        }
        Ok(())
    }
}

const ISSUER_PREFIX: &str = "k:";
const CONFIRMATION_KEY_ID: u8 = 3;
/// Labels below -65536 are for private use (RFC 8392 9.1).
const TRAITS: i64 = -65_537;
const CLAIM_COUNT: u64 = 9;

/// The claims in the order that deterministic CBOR demands: 1 to 8, then the private one.
impl<C> Encode<C> for Claims {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.map(CLAIM_COUNT)?;
        e.u8(1)?.str(&format!("{ISSUER_PREFIX}{}", self.subject.authority))?;
        e.u8(2)?.str(&self.subject.to_string())?;
        e.u8(3)?.str(&format!("{ISSUER_PREFIX}{}", self.audience))?;
        e.u8(4)?.u64(self.expires_at.unix_s())?;
        e.u8(5)?.u64(self.not_before.unix_s())?;
        e.u8(6)?.u64(self.issued_at.unix_s())?;
        e.u8(7)?.bytes(&self.id)?;
        e.u8(8)?.map(1)?.u8(CONFIRMATION_KEY_ID)?.bytes(self.holder.as_bytes())?;
        e.i64(TRAITS)?;
        self.traits.encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for Claims {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let wrong = decode::Error::message;
        if d.map()? != Some(CLAIM_COUNT) {
            return Err(wrong("a kID has nine claims"));
        }
        let label = |d: &mut Decoder<'b>, wanted: i64| match d.int()? {
            label if label == Int::from(wanted) => Ok(()),
            _ => Err(wrong("a claim that a kID does not have")),
        };
        let authority = |d: &mut Decoder<'b>| {
            let name = d.str()?.strip_prefix(ISSUER_PREFIX).ok_or(wrong("an authority begins with `k:`"))?;
            name.parse::<AuthorityName>().map_err(decode::Error::custom)
        };
        let seconds = |d: &mut Decoder<'b>| match d.u64()? {
            s if s <= Timestamp::MAX.unix_s() => Ok(Timestamp::from_unix_s(s)),
            _ => Err(wrong("time after the year 9999")),
        };
        label(d, 1)?;
        let issuer = authority(d)?;
        label(d, 2)?;
        let subject: KidSubject = d.str()?.parse().map_err(decode::Error::custom)?;
        if issuer != subject.authority {
            return Err(wrong("issuer and subject name different authorities"));
        }
        label(d, 3)?;
        let audience = authority(d)?;
        label(d, 4)?;
        let expires_at = seconds(d)?;
        label(d, 5)?;
        let not_before = seconds(d)?;
        label(d, 6)?;
        let issued_at = seconds(d)?;
        label(d, 7)?;
        let id = d.bytes()?.try_into().map_err(|_| wrong("a kID's id has 16 bytes"))?;
        label(d, 8)?;
        if d.map()? != Some(1) || d.u8()? != CONFIRMATION_KEY_ID {
            return Err(wrong("a kID confirms exactly one key by its id"));
        }
        let holder = KeyId::decode(d, ctx)?;
        label(d, TRAITS)?;
        let traits = Traits::decode(d, ctx)?;
        if traits.capabilities.len() > Capability::COUNT_MAX
            || !traits.capabilities.is_sorted_by(|a, b| a < b)
        {
            return Err(wrong("capabilities that are too many, unsorted or repeated"));
        }
        Ok(Self { subject, audience, expires_at, not_before, issued_at, id, holder, traits })
    }
}

#[cfg(test)]
pub(crate) mod tests;
