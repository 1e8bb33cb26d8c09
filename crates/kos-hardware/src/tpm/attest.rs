//! What this TPM says of itself: its endorsement key, an attestation key, answers to challenges, certificates of keys, quotes.
//!
//! Both keys are primary keys of the endorsement hierarchy, made anew for every errand from the seed that the maker put in
//! and a template, so they are always the same and nothing of them is kept. The endorsement key may be used by whoever may
//! use that hierarchy, which is without a password as it comes.
//!
//! Invariants: what a TPM signed is handed on byte for byte. A key that is not as its template says is refused.
//!
//! What it does not do: judge any of it. That is for whoever asked (`kos-attest`).
//!
//! Source: TCG EK Credential Profile 2.5, B.3.4 (template L-2), 2.2.1.4 (NV indices); TPM 2.0 Library, part 3, 12.5, 18.2,
//! 18.4; `docs/spec/attestation.md` ATT-2 to ATT-9.

use aws_lc_rs::digest::{SHA256, digest};
use kos_base::Secret;
use kos_net::entropy;
use tpm2_protocol::{
    TpmMarshal as _, TpmUnmarshal as _,
    basic::{TpmHandle, TpmUint16, TpmUint32},
    data::{
        Tpm2bData, Tpm2bDigest, Tpm2bEccParameter, Tpm2bEncryptedSecret, Tpm2bIdObject, Tpm2bNonce,
        Tpm2bPublic, TpmAlgId, TpmCc, TpmEccCurve, TpmRcBase, TpmRh, TpmSe, TpmaNv, TpmaObject, TpmaSession,
        TpmlPcrSelection, TpmsAuthCommand, TpmsEccParms, TpmsEccPoint, TpmtPublic, TpmtSigScheme,
        TpmtSymDefObject, TpmuPublicId, TpmuPublicParms, TpmuSymKeyBits, TpmuSymMode,
    },
    frame::{
        TpmActivateCredentialCommand, TpmCertifyCommand, TpmCreatePrimaryCommand, TpmCreatePrimaryResponse,
        TpmNvReadCommand, TpmNvReadPublicCommand, TpmNvReadPublicResponse, TpmNvReadResponse,
        TpmPcrReadCommand, TpmPcrReadResponse, TpmPolicySecretCommand, TpmPolicySecretResponse,
        TpmQuoteCommand, TpmResponse, TpmStartAuthSessionCommand, TpmStartAuthSessionResponse,
    },
};

use super::{
    Tpm,
    blob::{Blob, Kind},
    exchange::{Authority, Exchange, frame, malformed, marshalled, refusal},
    key::signing_object,
    pcr::Pcrs,
    primary::{COORDINATE_BYTES, aes_128_cfb},
    seal::{is_as_wanted, load},
};
use crate::HardwareError;

/// PolicySecret of the endorsement hierarchy: who may use that may use the endorsement key.
const EK_POLICY: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd,
    0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];
/// Where a maker puts the certificate of the P-256 endorsement key.
const EK_CERTIFICATE: u32 = 0x01c0_000a;
/// Longest certificate that is read from there, in bytes. Stops a TPM from filling a frame of the network.
const CERTIFICATE_BYTES_MAX: u16 = 4096;
/// Bytes of non-volatile memory that every TPM gives at once.
const NV_CHUNK_BYTES: u16 = 512;
/// Most PCRs that are read at once.
const PCRS_AT_ONCE: usize = 8;
/// How often PCRs are quoted again that changed while they were read.
const QUOTES_MAX: u32 = 3;

/// By what a TPM is asked to prove itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endorsement {
    /// TPMT_PUBLIC of the endorsement key.
    pub ek: Vec<u8>,
    /// TPMT_PUBLIC of the attestation key.
    pub ak: Vec<u8>,
    /// The certificate of the endorsement key, DER, if the TPM has one.
    pub certificate: Option<Vec<u8>>,
}

/// What the attestation key says of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyCertificate {
    /// TPMT_PUBLIC of the key.
    pub public: Vec<u8>,
    /// TPMS_ATTEST.
    pub attest: Vec<u8>,
    /// TPMT_SIGNATURE.
    pub signature: Vec<u8>,
}

/// What the attestation key says of PCRs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PcrQuote {
    /// TPMS_ATTEST.
    pub attest: Vec<u8>,
    /// TPMT_SIGNATURE.
    pub signature: Vec<u8>,
    /// The values, one after the other, from the lowest PCR.
    pub values: Vec<u8>,
}

impl Tpm {
    /// The keys by which it can be asked to prove itself.
    ///
    /// # Errors
    /// When the TPM is gone or refuses; [`HardwareError::Refused`] also when its endorsement hierarchy has a password.
    pub fn endorsement(&self) -> Result<Endorsement, HardwareError> {
        self.errand(|exchange| {
            let (_, ek) = primary(exchange, &endorsement_key()?)?;
            let (_, ak) = primary(exchange, &attestation_key())?;
            Ok(Endorsement { ek, ak, certificate: certificate(exchange)? })
        })
    }

    /// Opens a challenge that was made for both keys (TPM2_ActivateCredential).
    ///
    /// # Errors
    /// [`HardwareError::Damaged`] when it was made for others, or was changed.
    pub fn activate(&self, credential: &[u8], seed: &[u8]) -> Result<Secret<32>, HardwareError> {
        let damaged = |_| HardwareError::Damaged("the challenge is none");
        self.errand(|exchange| {
            let (ek, _) = primary(exchange, &endorsement_key()?)?;
            let (ak, _) = primary(exchange, &attestation_key())?;
            let session = endorsement_session(exchange)?;
            let command = TpmActivateCredentialCommand {
                handles: [ak, ek],
                credential_blob: Tpm2bIdObject::try_from(credential).map_err(damaged)?,
                secret: Tpm2bEncryptedSecret::try_from(seed).map_err(damaged)?,
            };
            let password = TpmsAuthCommand { session_handle: TpmRh::Pw.value().into(), ..Default::default() };
            let policy = TpmsAuthCommand {
                session_handle: session,
                session_attributes: TpmaSession::CONTINUE_SESSION,
                ..Default::default()
            };
            let frame = frame(&command, &[password, policy])?;
            let answer = exchange.transmit(&frame, TpmCc::ActivateCredential)?;
            let secret = parameters(&answer)?.strip_prefix(&32u16.to_be_bytes());
            let secret = secret.and_then(|secret| secret.try_into().ok());
            secret.map(Secret::new).ok_or(HardwareError::Answer("the length of the secret"))
        })
    }

    /// Lets the attestation key say of a key that [`Self::make_key`] made that it is in this TPM (TPM2_Certify).
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn certify(&self, key: &[u8], question: &[u8; 32]) -> Result<KeyCertificate, HardwareError> {
        let blob = Blob::from_bytes(key, Kind::Key)?;
        self.errand(|exchange| {
            let storage = self.storage_key(exchange)?;
            let (object, _, public) = load(exchange, &storage, &blob)?;
            let (ak, _) = primary(exchange, &attestation_key())?;
            let command = TpmCertifyCommand {
                handles: [object, ak],
                qualifying_data: Tpm2bData::try_from(question.as_slice()).map_err(malformed)?,
                in_scheme: TpmtSigScheme::default(),
            };
            let (attest, signature) = attested(exchange, &command, TpmCc::Certify, 2)?;
            let public = marshalled(|writer| public.marshal(writer))?.to_vec();
            Ok(KeyCertificate { public, attest, signature })
        })
    }

    /// Lets the attestation key say what the PCRs are (TPM2_Quote).
    ///
    /// # Errors
    /// When the TPM is gone or refuses, or the PCRs change all the time.
    pub fn quote(&self, pcrs: Pcrs, question: &[u8; 32]) -> Result<PcrQuote, HardwareError> {
        self.errand(|exchange| {
            let (ak, _) = primary(exchange, &attestation_key())?;
            for _ in 0..QUOTES_MAX {
                let values = values(exchange, pcrs)?;
                let command = TpmQuoteCommand {
                    handles: [ak],
                    qualifying_data: Tpm2bData::try_from(question.as_slice()).map_err(malformed)?,
                    in_scheme: TpmtSigScheme::default(),
                    pcr_select: pcrs.selection()?,
                };
                let (attest, signature) = attested(exchange, &command, TpmCc::Quote, 1)?;
                // Nothing follows the digest.
                if attest.ends_with(digest(&SHA256, &values).as_ref()) {
                    return Ok(PcrQuote { attest, signature, values });
                }
            }
            Err(HardwareError::Refused("its PCRs change while they are read".to_owned()))
        })
    }
}

/// Makes a primary key of the endorsement hierarchy. Its public part is as the template wants it.
fn primary(exchange: &mut Exchange, template: &TpmtPublic) -> Result<(TpmHandle, Vec<u8>), HardwareError> {
    let create = TpmCreatePrimaryCommand {
        handles: [TpmRh::Endorsement.value().into()],
        in_public: Tpm2bPublic { inner: template.clone() },
        ..Default::default()
    };
    let made: TpmCreatePrimaryResponse = exchange.run(&create, Authority::Empty)?;
    let public = made.out_public.inner;
    if !is_as_wanted(template, &public) {
        return Err(HardwareError::Answer("the properties of its endorsement or attestation key"));
    }
    let [handle] = made.handles;
    Ok((handle, marshalled(|writer| public.marshal(writer))?.to_vec()))
}

fn endorsement_key() -> Result<TpmtPublic, HardwareError> {
    let zero = Tpm2bEccParameter::try_from([0; COORDINATE_BYTES].as_slice()).map_err(malformed)?;
    Ok(TpmtPublic {
        object_type: TpmAlgId::Ecc,
        name_alg: TpmAlgId::Sha256,
        object_attributes: TpmaObject::FIXED_TPM
            | TpmaObject::FIXED_PARENT
            | TpmaObject::SENSITIVE_DATA_ORIGIN
            | TpmaObject::ADMIN_WITH_POLICY
            | TpmaObject::RESTRICTED
            | TpmaObject::DECRYPT,
        auth_policy: Tpm2bDigest::try_from(EK_POLICY.as_slice()).map_err(malformed)?,
        parameters: TpmuPublicParms::Ecc(TpmsEccParms {
            symmetric: aes_128_cfb(),
            curve_id: TpmEccCurve::NistP256,
            ..Default::default()
        }),
        unique: TpmuPublicId::Ecc(TpmsEccPoint { x: zero, y: zero }),
    })
}

/// Restricted: it signs digests of what this TPM itself made, and nothing else.
fn attestation_key() -> TpmtPublic {
    let mut key = signing_object(TpmsEccPoint::default());
    key.object_attributes |= TpmaObject::RESTRICTED;
    key
}

/// A session that fulfils the policy of the endorsement key.
fn endorsement_session(exchange: &mut Exchange) -> Result<TpmHandle, HardwareError> {
    let nonce: [u8; 32] = entropy::array()?;
    let null = || TpmRh::Null.value().into();
    let start = TpmStartAuthSessionCommand {
        handles: [null(), null()],
        nonce_caller: Tpm2bNonce::try_from(nonce.as_slice()).map_err(malformed)?,
        encrypted_salt: Tpm2bEncryptedSecret::default(),
        session_type: TpmSe::Policy,
        symmetric: TpmtSymDefObject {
            algorithm: TpmAlgId::Null,
            key_bits: TpmuSymKeyBits::Null,
            mode: TpmuSymMode::Null,
        },
        auth_hash: TpmAlgId::Sha256,
    };
    let started: TpmStartAuthSessionResponse = exchange.run(&start, Authority::None)?;
    let [session] = started.handles;
    let policy = TpmPolicySecretCommand {
        handles: [TpmRh::Endorsement.value().into(), session],
        ..Default::default()
    };
    exchange.run::<_, TpmPolicySecretResponse>(&policy, Authority::Empty)?;
    Ok(session)
}

/// Runs a command whose answer is a structure that the TPM signed; each of its handles has an empty password.
fn attested<C: tpm2_protocol::frame::TpmFrame>(
    exchange: &mut Exchange,
    command: &C,
    cc: TpmCc,
    handles: usize,
) -> Result<(Vec<u8>, Vec<u8>), HardwareError> {
    let password = || TpmsAuthCommand { session_handle: TpmRh::Pw.value().into(), ..Default::default() };
    let sessions: Vec<_> = core::iter::repeat_with(password).take(handles).collect();
    let answer = exchange.transmit(&frame(command, &sessions)?, cc)?;
    let parts = parameters(&answer)?.split_first_chunk();
    let parts = parts.and_then(|(size, rest)| rest.split_at_checked(usize::from(u16::from_be_bytes(*size))));
    let (attest, signature) = parts.ok_or(HardwareError::Answer("its form"))?;
    Ok((attest.to_vec(), signature.to_vec()))
}

/// The parameters of an answer to a command with sessions.
fn parameters(answer: &[u8]) -> Result<&[u8], HardwareError> {
    let body = TpmResponse::cast(answer).map_err(malformed)?.body();
    let (size, rest) = TpmUint32::unmarshal(body).map_err(malformed)?;
    let size = usize::try_from(size.value()).ok();
    size.and_then(|size| rest.get(..size)).ok_or(HardwareError::Answer("its form"))
}

/// The values of PCRs, from the lowest.
fn values(exchange: &mut Exchange, pcrs: Pcrs) -> Result<Vec<u8>, HardwareError> {
    let numbers: Vec<u32> = pcrs.numbers().collect();
    let mut values = Vec::new();
    for some in numbers.chunks(PCRS_AT_ONCE) {
        let pcr_selection_in: TpmlPcrSelection = Pcrs::of(some).selection()?;
        let read: TpmPcrReadResponse =
            exchange.run(&TpmPcrReadCommand { pcr_selection_in, handles: [] }, Authority::None)?;
        let before = values.len();
        values.extend(read.pcr_values.iter().flat_map(|value| value.to_vec()));
        if values.len() - before != some.len() * 32 {
            return Err(HardwareError::Refused("it has no SHA-256 bank of PCRs".to_owned()));
        }
    }
    Ok(values)
}

/// What the maker left in the memory of the TPM, without what stands behind it there.
fn certificate(exchange: &mut Exchange) -> Result<Option<Vec<u8>>, HardwareError> {
    let index: TpmHandle = EK_CERTIFICATE.into();
    let look = TpmNvReadPublicCommand { handles: [index] };
    let public = match exchange.ask::<_, TpmNvReadPublicResponse>(&look, Authority::None)? {
        Ok(answer) => answer.nv_public.inner,
        Err(code) if code.base() == TpmRcBase::Handle => return Ok(None),
        Err(code) => return Err(refusal(code)),
    };
    let size = public.data_size.value();
    if !public.attributes.contains(TpmaNv::WRITTEN) || size > CERTIFICATE_BYTES_MAX {
        return Ok(None);
    }
    // The index itself, where its attributes let it be read so; else the owner.
    let by = if public.attributes.contains(TpmaNv::AUTHREAD) { index } else { TpmRh::Owner.value().into() };
    let mut bytes = Vec::new();
    let mut offset = 0;
    while offset < size {
        let read = TpmNvReadCommand {
            handles: [by, index],
            size: TpmUint16::new(NV_CHUNK_BYTES.min(size - offset)),
            offset: TpmUint16::new(offset),
        };
        let read: TpmNvReadResponse = exchange.run(&read, Authority::Empty)?;
        bytes.extend_from_slice(&read.data);
        offset = offset.saturating_add(NV_CHUNK_BYTES);
    }
    Ok(der(&bytes).map(<[u8]>::to_vec))
}

/// The structure at the beginning, if it has a length of two bytes, as every certificate has.
fn der(bytes: &[u8]) -> Option<&[u8]> {
    match bytes {
        [0x30, 0x82, high, low, ..] => bytes.get(..4 + usize::from(u16::from_be_bytes([*high, *low]))),
        _ => None,
    }
}
