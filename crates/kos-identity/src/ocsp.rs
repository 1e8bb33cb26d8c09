//! OCSP: the state of single certificates, asked over http and answered by the issuing CA itself.
//!
//! A responder has four steps: [`Request::parse`]; [`Request::issuer`], which finds the CA that was asked; a look into
//! the records for each of [`Request::questions`]; [`answer`], to be signed by that CA. What cannot be answered gets
//! [`OcspError::response`]. Not here: HTTP, caching, and the records.
//!
//! Shape: DER of OCSPRequest and OCSPResponse. Certificates are named by SHA-1 (which RFC 5019 clients send) or SHA-256
//! hashes of issuer name and key. A nonce comes back as it was sent.
//!
//! Limits: requests of [`Request::BYTES_MAX`] bytes with [`Request::QUESTIONS_MAX`] questions, all of one issuer.
//!
//! Errors: [`OcspError`]; the asker mends its request or asks the right responder.
//!
//! Source: RFC 6960 4.1, 4.2; RFC 9654; `docs/spec/identity.md` ID-49 to ID-53; fuzz target `certificate`.

use core::time::Duration;

use aws_lc_rs::digest;
use const_oid::{
    ObjectIdentifier,
    db::{rfc5912::ID_SHA_1, rfc5912::ID_SHA_256, rfc6960::ID_PKIX_OCSP_BASIC, rfc6960::ID_PKIX_OCSP_NONCE},
};
use der::{
    Choice, Decode as _, Encode as _, Enumerated, Sequence,
    asn1::{Any, GeneralizedTime, Null, OctetString, OctetStringRef},
};
use kos_base::{Code, Timestamp, code};
use spki::AlgorithmIdentifierOwned;
use x509_cert::{
    ext::{Extension, Extensions, pkix::CrlReason},
    name::Name,
    serial_number::SerialNumber,
};

use crate::{
    certificate::{Certificate, IssueError, Serial, SigningError, signed::ToBeSigned},
    crl::reason_code,
    registry::RevocationReason,
};

/// How long an answer may be kept, where it has no nonce.
pub const VALIDITY: Duration = Duration::from_secs(3600);

/// A well-formed request.
#[derive(Clone, Debug)]
pub struct Request {
    certificates: Vec<CertId>,
    nonce: Option<Extension>,
}

/// What the records say about one certificate of the issuer that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Issued and not taken back.
    Good,
    /// Taken back, or on hold.
    Revoked {
        /// Since when.
        at: Timestamp,
        /// Why.
        reason: RevocationReason,
    },
    /// Never issued.
    Unknown,
}

/// An answer before its signature.
#[derive(Clone, Debug)]
pub struct Unsigned(ToBeSigned);

/// The request cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OcspError {
    /// Not DER of an OCSP request, or beyond the limits.
    #[error("not an OCSP request that can be answered: {0}")]
    Malformed(String),
    /// About certificates that none of these CAs issued, or that several did.
    #[error("the OCSP request is not about certificates of one CA of this authority")]
    Unauthorized,
}

impl OcspError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Malformed(_) => code::config::BAD_REQUEST,
            Self::Unauthorized => code::config::NOT_FOUND,
        }
    }

    /// The DER of the unsigned answer that says so.
    pub fn response(&self) -> Vec<u8> {
        let status = match self {
            Self::Malformed(_) => ResponseStatus::MalformedRequest,
            Self::Unauthorized => ResponseStatus::Unauthorized,
        };
        Response { status, bytes: None }.to_der().unwrap_or_default()
    }
}

impl Request {
    /// Longest request in bytes.
    pub const BYTES_MAX: usize = 4096;
    /// Most certificates that one request may ask about; bounds the look-ups that one packet causes.
    pub const QUESTIONS_MAX: usize = 16;
    /// Longest nonce in bytes (RFC 9654).
    pub const NONCE_BYTES_MAX: usize = 128;

    /// Reads a request. A signature of the asker is not looked at.
    ///
    /// # Errors
    /// When it is malformed, beyond the limits, or has a critical extension other than a nonce.
    pub fn parse(der: &[u8]) -> Result<Self, OcspError> {
        let malformed = |why: &str| OcspError::Malformed(why.to_owned());
        if der.len() > Self::BYTES_MAX {
            return Err(malformed("too long"));
        }
        let content = WrittenRequest::from_der(der).map_err(|e| OcspError::Malformed(e.to_string()))?.content;
        if content.version != 0 {
            return Err(malformed("another version"));
        }
        if content.questions.is_empty() || content.questions.len() > Self::QUESTIONS_MAX {
            return Err(malformed("no question or too many"));
        }
        let mut nonce = None;
        for extension in content.extensions.unwrap_or_default() {
            if extension.extn_id == ID_PKIX_OCSP_NONCE {
                let inner = <&OctetStringRef>::from_der(extension.extn_value.as_bytes());
                let bytes = inner.map(|inner| inner.as_bytes().len()).unwrap_or_default();
                if !(1..=Self::NONCE_BYTES_MAX).contains(&bytes) || nonce.is_some() {
                    return Err(malformed("a nonce of another shape"));
                }
                nonce = Some(Extension { critical: false, ..extension });
            } else if extension.critical {
                return Err(malformed("an unknown critical extension"));
            }
        }
        let mut questions = content.questions.iter();
        if questions.any(|question| question.extensions.iter().flatten().any(|e| e.critical)) {
            return Err(malformed("an unknown critical extension"));
        }
        Ok(Self { certificates: content.questions.into_iter().map(|q| q.certificate).collect(), nonce })
    }

    /// The CA, among `own`, that all questions are about.
    ///
    /// # Errors
    /// When there is none.
    pub fn issuer<'a>(
        &self,
        own: impl IntoIterator<Item = &'a Certificate>,
    ) -> Result<&'a Certificate, OcspError> {
        own.into_iter()
            .find(|ca| ca.is_ca() && self.certificates.iter().all(|certificate| certificate.is_of(ca)))
            .ok_or(OcspError::Unauthorized)
    }

    /// The serial numbers that are asked about, in order; none for one that no certificate of ours can have.
    pub fn questions(&self) -> impl Iterator<Item = Option<Serial>> {
        self.certificates.iter().map(|certificate| Serial::from_der_content(certificate.serial.as_bytes()))
    }
}

/// Prepares the answer: for each question, in order, what the records say. Missing ones are answered as unknown.
///
/// # Errors
/// When `issuer` is not a CA, or the answer cannot be written.
pub fn answer(
    request: &Request,
    issuer: &Certificate,
    standings: &[Standing],
    now: Timestamp,
) -> Result<Unsigned, IssueError> {
    if !issuer.is_ca() {
        return Err(IssueError::Issuer);
    }
    let standings = standings.iter().copied().chain(core::iter::repeat(Standing::Unknown));
    let answers: Result<Vec<_>, der::Error> = request
        .certificates
        .iter()
        .zip(standings)
        .map(|(certificate, standing)| {
            Ok(SingleAnswer {
                certificate: certificate.clone(),
                status: CertStatus::try_from(standing)?,
                this_update: time(now)?,
                next_update: Some(time(now.plus(VALIDITY))?),
            })
        })
        .collect();
    let content = ResponseContent {
        responder: ResponderId::ByName(issuer.subject_name().clone()),
        produced_at: time(now)?,
        answers: answers?,
        extensions: request.nonce.clone().map(|nonce| vec![nonce]),
    };
    Ok(Unsigned(ToBeSigned::new(&content, issuer.public_key())?))
}

impl Unsigned {
    /// What the CA's key signs; ECDSA answers with a DER signature.
    pub fn to_be_signed(&self) -> &[u8] {
        self.0.bytes()
    }

    /// The DER of the whole response with its signature.
    ///
    /// # Errors
    /// When the signature does not verify under the CA's key; the key store is faulty.
    pub fn finish(self, signature: &[u8]) -> Result<Vec<u8>, SigningError> {
        let basic = self.0.finish(signature)?;
        let written = || {
            let bytes = ResponseBytes { kind: ID_PKIX_OCSP_BASIC, response: OctetString::new(basic)? };
            Response { status: ResponseStatus::Successful, bytes: Some(bytes) }.to_der()
        };
        written().map_err(|e: der::Error| SigningError::Encoding(e.to_string()))
    }
}

impl CertId {
    /// Whether it names a certificate that `ca` issued.
    fn is_of(&self, ca: &Certificate) -> bool {
        let hash = match self.hash.oid {
            ID_SHA_1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            ID_SHA_256 => &digest::SHA256,
            _ => return false,
        };
        let is_hash =
            |expected: &OctetString, of: &[u8]| digest::digest(hash, of).as_ref() == expected.as_bytes();
        let name = ca.subject_name().to_der().unwrap_or_default();
        is_hash(&self.issuer_name, &name) && is_hash(&self.issuer_key, ca.public_key().raw())
    }
}

impl TryFrom<Standing> for CertStatus {
    type Error = der::Error;

    fn try_from(standing: Standing) -> der::Result<Self> {
        Ok(match standing {
            Standing::Good => Self::Good(Null),
            Standing::Revoked { at, reason } => {
                Self::Revoked(RevokedInfo { at: time(at)?, reason: Some(reason_code(reason)) })
            }
            Standing::Unknown => Self::Unknown(Null),
        })
    }
}

fn time(at: Timestamp) -> der::Result<GeneralizedTime> {
    GeneralizedTime::from_unix_duration(Duration::from_secs(at.unix_s()))
}

#[derive(Sequence)]
struct WrittenRequest {
    content: RequestContent,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    signature: Option<Any>,
}

#[derive(Sequence)]
struct RequestContent {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", default = "Default::default")]
    version: u8,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    asker: Option<Any>,
    questions: Vec<Question>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Extensions>,
}

#[derive(Sequence)]
struct Question {
    certificate: CertId,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Extensions>,
}

#[derive(Clone, Debug, Sequence)]
struct CertId {
    hash: AlgorithmIdentifierOwned,
    issuer_name: OctetString,
    issuer_key: OctetString,
    serial: SerialNumber,
}

#[derive(Clone, Copy, Enumerated)]
#[repr(u8)]
enum ResponseStatus {
    Successful = 0,
    MalformedRequest = 1,
    Unauthorized = 6,
}

#[derive(Sequence)]
struct Response {
    status: ResponseStatus,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    bytes: Option<ResponseBytes>,
}

#[derive(Sequence)]
struct ResponseBytes {
    kind: ObjectIdentifier,
    response: OctetString,
}

#[derive(Sequence)]
struct ResponseContent {
    responder: ResponderId,
    produced_at: GeneralizedTime,
    answers: Vec<SingleAnswer>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Extensions>,
}

#[derive(Choice)]
enum ResponderId {
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", constructed = "true")]
    ByName(Name),
}

#[derive(Sequence)]
struct SingleAnswer {
    certificate: CertId,
    status: CertStatus,
    this_update: GeneralizedTime,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    next_update: Option<GeneralizedTime>,
}

#[derive(Choice)]
enum CertStatus {
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    Good(Null),
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", constructed = "true")]
    Revoked(RevokedInfo),
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT")]
    Unknown(Null),
}

#[derive(Sequence)]
struct RevokedInfo {
    at: GeneralizedTime,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    reason: Option<CrlReason>,
}

#[cfg(test)]
mod tests;
