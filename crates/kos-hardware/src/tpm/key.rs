//! Signing keys: P-256, made in the TPM, and never anywhere else.
//!
//! A loaded key is kept as a context, which the TPM encrypts for itself: signing then costs no storage key. A context is
//! of no use after a restart of the TPM; then the key is loaded again.
//!
//! Source: TPM 2.0 Library, part 3, 20.2 (Sign), 28 (contexts); `docs/spec/hardware.md` HW-10.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use kos_base::{KeyAlgorithm, PublicKey};
use kos_net::keys::{HardwareKey, KeyError, SigningKey};
use tpm2_protocol::{
    basic::TpmHandle,
    data::{
        Tpm2bDigest, Tpm2bSensitiveData, TpmAlgId, TpmEccCurve, TpmRh, TpmSt, TpmaObject, TpmsContext,
        TpmsEccParms, TpmsEccPoint, TpmsSchemeHash, TpmtEccScheme, TpmtPublic, TpmtSigScheme,
        TpmtSymDefObject, TpmtTkHashcheck, TpmuAsymScheme, TpmuPublicId, TpmuPublicParms, TpmuSignature,
        TpmuSymKeyBits, TpmuSymMode,
    },
    frame::{
        TpmContextLoadCommand, TpmContextLoadResponse, TpmContextSaveCommand, TpmContextSaveResponse,
        TpmSignCommand, TpmSignResponse,
    },
};

use super::{
    Tpm,
    blob::{Blob, Kind},
    exchange::{Authority, Exchange, malformed},
    pcr::Pcrs,
    primary::COORDINATE_BYTES,
    seal::{create, is_as_wanted, load},
    session::uncompressed,
};
use crate::{HardwareError, refusal::passed_on};

impl Tpm {
    /// Makes a P-256 key in the TPM. The bytes are of no use without the TPM; [`Self::load`] takes them.
    ///
    /// # Errors
    /// When the TPM is gone or refuses.
    pub fn make_key(&self) -> Result<(Vec<u8>, PublicKey), HardwareError> {
        self.errand(|exchange| {
            let primary = self.storage_key(exchange)?;
            let wanted = signing_object(TpmsEccPoint::default());
            let nothing = Tpm2bSensitiveData::default();
            let (blob, made) =
                create(exchange, &primary, Kind::Key, Pcrs::NONE, wanted.clone(), nothing, None)?;
            if !is_as_wanted(&wanted, &made) {
                return Err(HardwareError::Answer("the properties of the key"));
            }
            let public = public_key(&made).ok_or(HardwareError::Answer("the public key"))?;
            Ok((blob.to_bytes(), public))
        })
    }

    /// The key of what [`Self::make_key`] made, after it was loaded once to see that it can be.
    ///
    /// # Errors
    /// As [`Self::unseal`].
    pub fn load(&self, blob: &[u8]) -> Result<SigningKey, HardwareError> {
        let blob = Blob::from_bytes(blob, Kind::Key)?;
        let (context, public) = self.errand(|exchange| {
            let (handle, made) = load_key(self, exchange, &blob)?;
            let public = public_key(&made).ok_or(HardwareError::Damaged("its parts"))?;
            Ok((save(exchange, handle)?, public))
        })?;
        let key = TpmKey { tpm: self.clone(), blob, context: Mutex::new(context) };
        Ok(SigningKey::elsewhere(public, Arc::new(key)))
    }
}

struct TpmKey {
    tpm: Tpm,
    blob: Blob,
    context: Mutex<TpmsContext>,
}

impl HardwareKey for TpmKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let hash = digest(&SHA256, message);
        let signed = self.tpm.errand(|exchange| {
            let mut context = self.context.lock().unwrap_or_else(PoisonError::into_inner);
            let handle = match restore(exchange, &context) {
                Ok(handle) => handle,
                Err(error @ (HardwareError::Absent(_) | HardwareError::Answer(_))) => return Err(error),
                Err(_) => {
                    let (handle, _) = load_key(&self.tpm, exchange, &self.blob)?;
                    *context = save(exchange, handle)?;
                    handle
                }
            };
            sign(exchange, handle, hash.as_ref())
        });
        signed.map_err(|error| passed_on("tpm", &error))
    }
}

/// With a scheme of its own, so that it signs nothing but digests with ECDSA and SHA-256.
pub(super) fn signing_object(point: TpmsEccPoint) -> TpmtPublic {
    TpmtPublic {
        object_type: TpmAlgId::Ecc,
        name_alg: TpmAlgId::Sha256,
        object_attributes: TpmaObject::FIXED_TPM
            | TpmaObject::FIXED_PARENT
            | TpmaObject::SENSITIVE_DATA_ORIGIN
            | TpmaObject::USER_WITH_AUTH
            | TpmaObject::NO_DA
            | TpmaObject::SIGN_ENCRYPT,
        parameters: TpmuPublicParms::Ecc(TpmsEccParms {
            symmetric: TpmtSymDefObject {
                algorithm: TpmAlgId::Null,
                key_bits: TpmuSymKeyBits::Null,
                mode: TpmuSymMode::Null,
            },
            scheme: TpmtEccScheme {
                scheme: TpmAlgId::Ecdsa,
                details: TpmuAsymScheme::Hash(TpmsSchemeHash { hash_alg: TpmAlgId::Sha256 }),
            },
            curve_id: TpmEccCurve::NistP256,
            ..Default::default()
        }),
        unique: TpmuPublicId::Ecc(point),
        ..Default::default()
    }
}

fn public_key(public: &TpmtPublic) -> Option<PublicKey> {
    let TpmuPublicId::Ecc(point) = &public.unique else { return None };
    if *public != signing_object(*point) {
        return None;
    }
    PublicKey::from_raw(KeyAlgorithm::P256, &uncompressed(&point.x, &point.y)?).ok()
}

fn load_key(
    tpm: &Tpm,
    exchange: &mut Exchange,
    blob: &Blob,
) -> Result<(TpmHandle, TpmtPublic), HardwareError> {
    let primary = tpm.storage_key(exchange)?;
    let (handle, _, public) = load(exchange, &primary, blob)?;
    Ok((handle, public))
}

fn save(exchange: &mut Exchange, handle: TpmHandle) -> Result<TpmsContext, HardwareError> {
    let saved: TpmContextSaveResponse =
        exchange.run(&TpmContextSaveCommand { handles: [handle] }, Authority::None)?;
    Ok(saved.context)
}

fn restore(exchange: &mut Exchange, context: &TpmsContext) -> Result<TpmHandle, HardwareError> {
    let restored: TpmContextLoadResponse =
        exchange.run(&TpmContextLoadCommand { handles: [], context: context.clone() }, Authority::None)?;
    let [handle] = restored.handles;
    Ok(handle)
}

fn sign(exchange: &mut Exchange, handle: TpmHandle, digest: &[u8]) -> Result<Vec<u8>, HardwareError> {
    let command = TpmSignCommand {
        handles: [handle],
        digest: Tpm2bDigest::try_from(digest).map_err(malformed)?,
        in_scheme: TpmtSigScheme::default(),
        validation: TpmtTkHashcheck {
            tag: TpmSt::HashCheck,
            hierarchy: TpmRh::Null,
            digest: Tpm2bDigest::default(),
        },
    };
    let signed: TpmSignResponse = exchange.run(&command, Authority::Empty)?;
    let TpmuSignature::Ecdsa(numbers) = signed.signature.signature else {
        return Err(HardwareError::Answer("the kind of the signature"));
    };
    let mut signature = vec![0; 2 * COORDINATE_BYTES];
    let (r, s) = signature.split_at_mut(COORDINATE_BYTES);
    for (place, number) in [(r, &numbers.signature_r), (s, &numbers.signature_s)] {
        // A TPM may leave leading zeros out.
        let at = place.len().checked_sub(number.len()).ok_or(HardwareError::Answer("the signature"))?;
        place.get_mut(at..).unwrap_or_default().copy_from_slice(number);
    }
    Ok(signature)
}
