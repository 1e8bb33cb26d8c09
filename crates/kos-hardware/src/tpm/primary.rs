//! The storage key under which everything of ours is: made anew for every errand, always the same.
//!
//! A TPM derives a primary key from its owner seed and the template, so nothing has to be kept, neither in the TPM nor on
//! the disk, and clearing the TPM changes it.
//!
//! Invariants: a key with other properties than those of the template, or whose name is not that of its public part, is
//! refused. Who keeps the name of it ([`Name`]) recognises its TPM.
//!
//! Source: TCG TPM v2.0 Provisioning Guidance, 7.5.1 (SRK of P-256); TPM 2.0 Library, part 1, 16 (names).

use aws_lc_rs::digest::{SHA256, digest};
use tpm2_protocol::{
    TpmMarshal as _,
    basic::{TpmHandle, TpmUint16},
    data::{
        Tpm2bEccParameter, Tpm2bPublic, TpmAlgId, TpmEccCurve, TpmRh, TpmaObject, TpmsEccParms, TpmsEccPoint,
        TpmtPublic, TpmtSymDefObject, TpmuPublicId, TpmuPublicParms, TpmuSymKeyBits, TpmuSymMode,
    },
    frame::{TpmCreatePrimaryCommand, TpmCreatePrimaryResponse},
};

use super::exchange::{Authority, Exchange, malformed, marshalled};
use crate::HardwareError;

/// Bytes of a coordinate of P-256.
pub(super) const COORDINATE_BYTES: usize = 32;
/// Bytes of a name: the number of its hash algorithm and SHA-256.
pub(super) const NAME_BYTES: usize = 34;

/// What a TPM calls an object: a digest of its public part.
pub(super) type Name = [u8; NAME_BYTES];

pub(super) struct Primary {
    pub(super) handle: TpmHandle,
    pub(super) name: Name,
    /// As the TPM writes them, which may be without leading zeros.
    pub(super) x: Vec<u8>,
    pub(super) y: Vec<u8>,
}

impl Primary {
    pub(super) fn make(exchange: &mut Exchange) -> Result<Self, HardwareError> {
        let zero = Tpm2bEccParameter::try_from([0; COORDINATE_BYTES].as_slice()).map_err(malformed)?;
        let in_public = Tpm2bPublic { inner: template(TpmsEccPoint { x: zero, y: zero }) };
        let create = TpmCreatePrimaryCommand {
            handles: [TpmRh::Owner.value().into()],
            in_public,
            ..Default::default()
        };
        let made: TpmCreatePrimaryResponse = exchange.run(&create, Authority::Empty)?;
        let public = made.out_public.inner;
        let TpmuPublicId::Ecc(point) = public.unique else {
            return Err(HardwareError::Answer("the kind of its storage key"));
        };
        if public != template(point) {
            return Err(HardwareError::Answer("the properties of its storage key"));
        }
        let name = name_of(&public)?;
        if *made.name != name {
            return Err(HardwareError::Answer("the name of its storage key"));
        }
        let [handle] = made.handles;
        Ok(Self { handle, name, x: point.x.to_vec(), y: point.y.to_vec() })
    }
}

fn template(unique: TpmsEccPoint) -> TpmtPublic {
    TpmtPublic {
        object_type: TpmAlgId::Ecc,
        name_alg: TpmAlgId::Sha256,
        object_attributes: TpmaObject::FIXED_TPM
            | TpmaObject::FIXED_PARENT
            | TpmaObject::SENSITIVE_DATA_ORIGIN
            | TpmaObject::USER_WITH_AUTH
            | TpmaObject::NO_DA
            | TpmaObject::RESTRICTED
            | TpmaObject::DECRYPT,
        parameters: TpmuPublicParms::Ecc(TpmsEccParms {
            symmetric: aes_128_cfb(),
            curve_id: TpmEccCurve::NistP256,
            ..Default::default()
        }),
        unique: TpmuPublicId::Ecc(unique),
        ..Default::default()
    }
}

pub(super) fn aes_128_cfb() -> TpmtSymDefObject {
    TpmtSymDefObject {
        algorithm: TpmAlgId::Aes,
        key_bits: TpmuSymKeyBits::Aes(TpmUint16::new(128)),
        mode: TpmuSymMode::Aes(TpmAlgId::Cfb),
    }
}

/// The name of an object with this public part.
pub(super) fn name_of(public: &TpmtPublic) -> Result<Name, HardwareError> {
    let bytes = marshalled(|writer| public.marshal(writer))?;
    Ok(name_of_bytes(&bytes))
}

/// The name of what has these bytes as its public part, with SHA-256.
pub(super) fn name_of_bytes(public: &[u8]) -> Name {
    let mut name = [0; NAME_BYTES];
    let (algorithm, hash) = name.split_at_mut(2);
    algorithm.copy_from_slice(&TpmAlgId::Sha256.value().to_be_bytes());
    hash.copy_from_slice(digest(&SHA256, public).as_ref());
    name
}
