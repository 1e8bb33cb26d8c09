//! Seals: 32 bytes that only this TPM gives back, if wanted only in the state in which the machine is now.
//!
//! Source: TPM 2.0 Library, part 3, 12.1 (Create), 12.7 (Unseal); `docs/spec/hardware.md` HW-5 to HW-9.

use kos_base::Secret;
use tpm2_protocol::{
    TpmMarshal as _, TpmUnmarshal as _,
    basic::TpmHandle,
    data::{
        Tpm2bData, Tpm2bDigest, Tpm2bPrivate, Tpm2bPublic, Tpm2bSensitiveCreate, Tpm2bSensitiveData,
        TpmAlgId, TpmRc, TpmRcFmt1, TpmRcIndex, TpmSe, TpmaObject, TpmlPcrSelection, TpmsKeyedhashParms,
        TpmsSensitiveCreate, TpmtKeyedhashScheme, TpmtPublic, TpmuKeyedhashScheme, TpmuPublicId,
        TpmuPublicParms,
    },
    frame::{
        TpmCreateCommand, TpmCreateResponse, TpmLoadCommand, TpmLoadResponse, TpmUnsealCommand,
        TpmUnsealResponse,
    },
};
use zeroize::Zeroizing;

use super::{
    Tpm,
    blob::{Blob, Kind},
    exchange::{Authority, Exchange, malformed, marshalled, refusal},
    pcr::{Pcrs, policy_digest},
    primary::{Name, Primary, name_of},
    session::{Hidden, Session, Terms},
};
use crate::HardwareError;

/// Bytes of a sealed secret.
const SECRET_BYTES: usize = 32;

/// Where the secret begins in the parameters of Create: behind the lengths of the sensitive part, of its empty
/// authorisation value and of the secret.
const SECRET_AT: usize = 6;

impl Tpm {
    /// Seals `secret` to this TPM and to the values that `pcrs` have now. The bytes are of no use without the TPM.
    ///
    /// # Errors
    /// When the TPM is gone or refuses. Nothing is left in it either way.
    pub fn seal(&self, secret: &Secret<SECRET_BYTES>, pcrs: Pcrs) -> Result<Vec<u8>, HardwareError> {
        self.errand(|exchange| {
            let primary = self.storage_key(exchange)?;
            let auth_policy = if pcrs == Pcrs::NONE {
                Tpm2bDigest::default()
            } else {
                let trial = Session::start(exchange, &primary, TpmSe::Trial)?;
                pcrs.bind(exchange, trial.handle)?;
                policy_digest(exchange, trial.handle)?
            };
            let zeros = Tpm2bSensitiveData::try_from([0; SECRET_BYTES].as_slice()).map_err(malformed)?;
            let place = Some((SECRET_AT, secret.expose().as_slice()));
            let wanted = sealed_object(pcrs, auth_policy);
            let (blob, made) = create(exchange, &primary, Kind::Sealed, pcrs, wanted.clone(), zeros, place)?;
            if !is_as_wanted(&wanted, &made) {
                return Err(HardwareError::Answer("what it sealed"));
            }
            Ok(blob.to_bytes())
        })
    }

    /// The secret of what [`Self::seal`] made.
    ///
    /// # Errors
    /// [`HardwareError::Damaged`], [`HardwareError::Cleared`] and [`HardwareError::State`] tell why it will not open;
    /// all else is the TPM's trouble of the moment.
    pub fn unseal(&self, sealed: &[u8]) -> Result<Secret<SECRET_BYTES>, HardwareError> {
        let blob = Blob::from_bytes(sealed, Kind::Sealed)?;
        let pcrs = Pcrs::of_sealed(sealed)?;
        self.errand(|exchange| {
            let primary = self.storage_key(exchange)?;
            let (object, name, _) = load(exchange, &primary, &blob)?;
            let mut session = if pcrs == Pcrs::NONE {
                Session::start(exchange, &primary, TpmSe::Hmac)?
            } else {
                let policy = Session::start(exchange, &primary, TpmSe::Policy)?;
                pcrs.bind(exchange, policy.handle)?;
                policy
            };
            let unseal = TpmUnsealCommand { handles: [object] };
            let terms = Terms { names: &[&name], hidden: Hidden::Answer, secret: None };
            let given = session.transact::<_, TpmUnsealResponse>(exchange, &unseal, &terms)?;
            let secret = given.strip_prefix(&32u16.to_be_bytes());
            let secret =
                secret.and_then(|secret| <[u8; SECRET_BYTES]>::try_from(secret).ok().map(Zeroizing::new));
            secret.map(|secret| Secret::new(*secret)).ok_or(HardwareError::Answer("the length of the secret"))
        })
    }
}

impl Pcrs {
    /// The PCRs that a sealed secret is bound to.
    ///
    /// # Errors
    /// [`HardwareError::Damaged`] when it is none.
    pub fn of_sealed(sealed: &[u8]) -> Result<Self, HardwareError> {
        let blob = Blob::from_bytes(sealed, Kind::Sealed)?;
        Self::from_mask(blob.pcrs).ok_or(HardwareError::Damaged("its PCRs"))
    }
}

fn sealed_object(pcrs: Pcrs, auth_policy: Tpm2bDigest) -> TpmtPublic {
    let by_whom = if pcrs == Pcrs::NONE { TpmaObject::USER_WITH_AUTH } else { TpmaObject::ADMIN_WITH_POLICY };
    TpmtPublic {
        object_type: TpmAlgId::KeyedHash,
        name_alg: TpmAlgId::Sha256,
        object_attributes: TpmaObject::FIXED_TPM | TpmaObject::FIXED_PARENT | TpmaObject::NO_DA | by_whom,
        auth_policy,
        parameters: TpmuPublicParms::KeyedHash(TpmsKeyedhashParms {
            scheme: TpmtKeyedhashScheme { scheme: TpmAlgId::Null, details: TpmuKeyedhashScheme::Null },
        }),
        unique: TpmuPublicId::KeyedHash(Tpm2bDigest::default()),
    }
}

/// True when the TPM made what was wanted, but for what only it could fill in.
pub(super) fn is_as_wanted(wanted: &TpmtPublic, made: &TpmtPublic) -> bool {
    TpmtPublic { unique: made.unique.clone(), ..wanted.clone() } == *made
}

/// Makes an object under the storage key. Its answer is authenticated, so that nobody on the bus puts a public part of
/// his own in its place.
pub(super) fn create(
    exchange: &mut Exchange,
    primary: &Primary,
    kind: Kind,
    pcrs: Pcrs,
    wanted: TpmtPublic,
    data: Tpm2bSensitiveData,
    secret: Option<(usize, &[u8])>,
) -> Result<(Blob, TpmtPublic), HardwareError> {
    let mut session = Session::start(exchange, primary, TpmSe::Hmac)?;
    let command = TpmCreateCommand {
        handles: [primary.handle],
        in_sensitive: Tpm2bSensitiveCreate { inner: TpmsSensitiveCreate { data, ..Default::default() } },
        in_public: Tpm2bPublic { inner: wanted },
        outside_info: Tpm2bData::default(),
        creation_pcr: TpmlPcrSelection::default(),
    };
    let terms = Terms { names: &[&primary.name], hidden: Hidden::Command, secret };
    let created: TpmCreateResponse = session.run(exchange, &command, &terms)?;
    let made = created.out_public.inner;
    let public = marshalled(|writer| made.marshal(writer))?.to_vec();
    let private = created.out_private.to_vec();
    Ok((Blob { kind, pcrs: pcrs.mask(), parent: primary.name, public, private }, made))
}

/// Loads what a blob holds, unless it is of another storage key.
pub(super) fn load(
    exchange: &mut Exchange,
    primary: &Primary,
    blob: &Blob,
) -> Result<(TpmHandle, Name, TpmtPublic), HardwareError> {
    if blob.parent != primary.name {
        return Err(HardwareError::Cleared);
    }
    let damaged = |_| HardwareError::Damaged("its parts");
    let (public, rest) = TpmtPublic::unmarshal(&blob.public).map_err(damaged)?;
    if !rest.is_empty() {
        return Err(HardwareError::Damaged("its parts"));
    }
    let name = name_of(&public)?;
    let load = TpmLoadCommand {
        handles: [primary.handle],
        in_private: Tpm2bPrivate::try_from(blob.private.as_slice()).map_err(damaged)?,
        in_public: Tpm2bPublic { inner: public.clone() },
    };
    let loaded: TpmLoadResponse = exchange.ask(&load, Authority::Empty)?.map_err(|code| match code {
        // It is the blob that the TPM finds fault with.
        TpmRc::Fmt1(TpmRcFmt1 { index: Some(TpmRcIndex::Parameter(_)), .. }) => {
            HardwareError::Damaged("the TPM does not know it")
        }
        other => refusal(other),
    })?;
    if *loaded.name != name {
        return Err(HardwareError::Answer("the name of what it loaded"));
    }
    let [handle] = loaded.handles;
    Ok((handle, name, public))
}
