//! A session whose key only the TPM and we know: what a command says arrives unchanged, its first parameter unread.
//!
//! The salt is agreed with the storage key by one-time ECDH. Whoever only listens on the bus learns nothing; whoever
//! changes something is found by the HMAC; whoever stands between from the beginning and plays the TPM is found if the
//! name of the storage key is known from earlier.
//!
//! Shape: nonces and keys have 32 bytes, parameters are encrypted with AES-128-CFB.
//!
//! Invariants: an answer is decrypted, and anything of it believed, only after its HMAC held. The secrets that travel are
//! never in a structure that does not wipe itself.
//!
//! Source: TPM 2.0 Library, part 1, 11.4.10 (KDFa, KDFe), 19.6 (sessions), 21 (encryption of parameters), C.6.

use aws_lc_rs::{
    agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral},
    cipher::{
        AES_128, AES_128_KEY_LEN, AES_CBC_IV_LEN, DecryptingKey, DecryptionContext, EncryptingKey,
        EncryptionContext, UnboundCipherKey,
    },
    digest::{Context, SHA256},
    hmac,
    iv::FixedLength,
    rand::SystemRandom,
};
use kos_net::entropy;
use tpm2_protocol::{
    TpmMarshal as _, TpmUnmarshal as _,
    basic::{TpmHandle, TpmUint32},
    data::{
        Tpm2bAuth, Tpm2bEccParameter, Tpm2bEncryptedSecret, Tpm2bNonce, TpmAlgId, TpmRh, TpmSe, TpmaSession,
        TpmsAuthCommand, TpmsAuthResponse, TpmsEccPoint,
    },
    frame::{
        TpmFrame, TpmHeader, TpmResponse, TpmStartAuthSessionCommand, TpmStartAuthSessionResponse,
        TpmUnmarshalBody,
    },
};
use zeroize::Zeroizing;

use super::{
    exchange::{Authority, Exchange, frame, malformed, marshalled},
    primary::{COORDINATE_BYTES, Primary, aes_128_cfb},
};
use crate::HardwareError;

const NONCE_BYTES: usize = 32;

/// Which first parameter is secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hidden {
    Nothing,
    /// That of the command.
    Command,
    /// That of the answer.
    Answer,
}

pub(super) struct Session {
    pub(super) handle: TpmHandle,
    key: Zeroizing<[u8; 32]>,
    nonce_tpm: Tpm2bNonce,
}

/// What one command adds to the session: whom it names, and what travels unseen.
pub(super) struct Terms<'a> {
    /// The names of the handles, in their order.
    pub(super) names: &'a [&'a [u8]],
    pub(super) hidden: Hidden,
    /// Bytes that take the place of a stretch of the parameters: they begin at this one.
    pub(super) secret: Option<(usize, &'a [u8])>,
}

impl Session {
    /// Agrees on a key with the TPM that has `primary`.
    pub(super) fn start(
        exchange: &mut Exchange,
        primary: &Primary,
        kind: TpmSe,
    ) -> Result<Self, HardwareError> {
        let (salt, encrypted_salt) = salt_for(primary)?;
        let nonce: [u8; NONCE_BYTES] = entropy::array()?;
        let start = TpmStartAuthSessionCommand {
            handles: [primary.handle, TpmRh::Null.value().into()],
            nonce_caller: nonce_of(&nonce)?,
            encrypted_salt,
            session_type: kind,
            symmetric: aes_128_cfb(),
            auth_hash: TpmAlgId::Sha256,
        };
        let started: TpmStartAuthSessionResponse = exchange.run(&start, Authority::None)?;
        if started.nonce_tpm.len() < 16 {
            return Err(HardwareError::Answer("its nonce"));
        }
        let key = kdfa(&salt[..], b"ATH", &started.nonce_tpm, &nonce);
        let [handle] = started.handles;
        Ok(Self { handle, key, nonce_tpm: started.nonce_tpm })
    }

    /// Runs a command under the session and hands out the body of its answer.
    pub(super) fn run<C, R>(
        &mut self,
        exchange: &mut Exchange,
        command: &C,
        terms: &Terms<'_>,
    ) -> Result<R, HardwareError>
    where
        C: TpmFrame,
        R: TpmUnmarshalBody,
    {
        let parameters = self.transact::<C, R>(exchange, command, terms)?;
        R::unmarshal_body(&[], &parameters).map_err(malformed)
    }

    /// Runs a command under the session and hands out the parameters of its answer, which has no handles.
    pub(super) fn transact<C, R>(
        &mut self,
        exchange: &mut Exchange,
        command: &C,
        terms: &Terms<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, HardwareError>
    where
        C: TpmFrame,
        R: TpmHeader,
    {
        let mut parameters = marshalled(|writer| command.marshal_parameters(writer))?;
        if let Some((at, secret)) = terms.secret {
            let place = parameters.get_mut(at..at + secret.len()).ok_or(HardwareError::Fault)?;
            place.copy_from_slice(secret);
        }
        let nonce: [u8; NONCE_BYTES] = entropy::array()?;
        let mut attributes = TpmaSession::CONTINUE_SESSION;
        match terms.hidden {
            Hidden::Nothing => {}
            Hidden::Answer => attributes |= TpmaSession::ENCRYPT,
            Hidden::Command => {
                attributes |= TpmaSession::DECRYPT;
                let (key, iv) = self.cipher(&nonce, &self.nonce_tpm)?;
                let first = first_of(&mut parameters).ok_or(HardwareError::Fault)?;
                EncryptingKey::cfb128(key)?.less_safe_encrypt(first, EncryptionContext::Iv128(iv))?;
            }
        }

        let mut hash = Context::new(&SHA256);
        hash.update(&R::CC.value().to_be_bytes());
        for name in terms.names {
            hash.update(name);
        }
        hash.update(&parameters);
        let tag = self.hmac(hash, &nonce, &self.nonce_tpm, attributes);
        let auth = TpmsAuthCommand {
            session_handle: self.handle,
            nonce: nonce_of(&nonce)?,
            session_attributes: attributes,
            hmac: Tpm2bAuth::try_from(hmac::sign(&self.mac_key(), &tag).as_ref()).map_err(malformed)?,
        };
        let mut frame = frame(command, &[auth])?;
        let at = frame.len().checked_sub(parameters.len()).ok_or(HardwareError::Fault)?;
        frame.get_mut(at..).ok_or(HardwareError::Fault)?.copy_from_slice(&parameters);

        let answer = exchange.transmit(&frame, R::CC)?;
        self.accept::<R>(&answer, &nonce, terms.hidden)
    }

    /// Checks an answer and hands out its parameters, decrypted.
    fn accept<R: TpmHeader>(
        &mut self,
        answer: &[u8],
        nonce: &[u8],
        hidden: Hidden,
    ) -> Result<Zeroizing<Vec<u8>>, HardwareError> {
        let body = TpmResponse::cast(answer).map_err(malformed)?.body();
        let (size, rest) = TpmUint32::unmarshal(body).map_err(malformed)?;
        let size = usize::try_from(size.value()).map_err(|_| HardwareError::Answer("its form"))?;
        let (parameters, auth) = rest.split_at_checked(size).ok_or(HardwareError::Answer("its form"))?;
        let (auth, rest) = TpmsAuthResponse::unmarshal(auth).map_err(malformed)?;
        if !rest.is_empty() {
            return Err(HardwareError::Answer("its form"));
        }

        let mut hash = Context::new(&SHA256);
        hash.update(&0u32.to_be_bytes());
        hash.update(&R::CC.value().to_be_bytes());
        hash.update(parameters);
        let tag = self.hmac(hash, &auth.nonce, nonce, auth.session_attributes);
        hmac::verify(&self.mac_key(), &tag, &auth.hmac)
            .map_err(|_| HardwareError::Answer("its authentication"))?;

        self.nonce_tpm = auth.nonce;
        let mut parameters = Zeroizing::new(parameters.to_vec());
        if hidden == Hidden::Answer {
            let (key, iv) = self.cipher(&self.nonce_tpm, nonce)?;
            let first = first_of(&mut parameters).ok_or(HardwareError::Answer("its form"))?;
            DecryptingKey::cfb128(key)?.decrypt(first, DecryptionContext::Iv128(iv))?;
        }
        Ok(parameters)
    }

    fn mac_key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.key.as_slice())
    }

    /// What the HMAC is over. Nothing of ours has an authorisation value, so the key is the session's alone.
    fn hmac(&self, hash: Context, newer: &[u8], older: &[u8], attributes: TpmaSession) -> Vec<u8> {
        let mut over = hash.finish().as_ref().to_vec();
        over.extend_from_slice(newer);
        over.extend_from_slice(older);
        over.push(attributes.bits());
        over
    }

    fn cipher(
        &self,
        newer: &[u8],
        older: &[u8],
    ) -> Result<(UnboundCipherKey, FixedLength<AES_CBC_IV_LEN>), HardwareError> {
        let material = kdfa(self.key.as_slice(), b"CFB", newer, older);
        let (key, iv) = material.split_at(AES_128_KEY_LEN);
        let iv = <[u8; AES_CBC_IV_LEN]>::try_from(iv).map_err(|_| HardwareError::Fault)?;
        Ok((UnboundCipherKey::new(&AES_128, key)?, FixedLength::from(iv)))
    }
}

/// A salt, and what tells it to the TPM that has `primary`.
fn salt_for(primary: &Primary) -> Result<(Zeroizing<[u8; 32]>, Tpm2bEncryptedSecret), HardwareError> {
    let ours = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new())?;
    let public = ours.compute_public_key()?;
    let point = public.as_ref().get(1..).ok_or(HardwareError::Fault)?;
    let (x, y) = point.split_at_checked(COORDINATE_BYTES).ok_or(HardwareError::Fault)?;

    let peer = uncompressed(&primary.x, &primary.y).ok_or(HardwareError::Answer("its storage key"))?;
    let peer = UnparsedPublicKey::new(&ECDH_P256, peer);
    let salt = agree_ephemeral(ours, peer, HardwareError::Answer("its storage key"), |shared| {
        Ok(kdfe(shared, b"SECRET", x, &primary.x))
    })?;

    let coordinate = |bytes: &[u8]| Tpm2bEccParameter::try_from(bytes).map_err(malformed);
    let point = TpmsEccPoint { x: coordinate(x)?, y: coordinate(y)? };
    let point = marshalled(|writer| point.marshal(writer))?;
    Ok((salt, Tpm2bEncryptedSecret::try_from(point.as_slice()).map_err(malformed)?))
}

/// The uncompressed point of two coordinates that may lack leading zeros.
pub(super) fn uncompressed(x: &[u8], y: &[u8]) -> Option<Vec<u8>> {
    let mut point = vec![4];
    for coordinate in [x, y] {
        point.extend(std::iter::repeat_n(0, COORDINATE_BYTES.checked_sub(coordinate.len())?));
        point.extend_from_slice(coordinate);
    }
    Some(point)
}

/// The payload of the first parameter, which begins with its length in 2 bytes.
fn first_of(parameters: &mut [u8]) -> Option<&mut [u8]> {
    let (size, rest) = parameters.split_first_chunk_mut::<2>()?;
    rest.get_mut(..usize::from(u16::from_be_bytes(*size)))
}

fn nonce_of(bytes: &[u8]) -> Result<Tpm2bNonce, HardwareError> {
    Tpm2bNonce::try_from(bytes).map_err(malformed)
}

/// 256 bits of KDFa with HMAC-SHA-256: one round.
fn kdfa(key: &[u8], label: &[u8], u: &[u8], v: &[u8]) -> Zeroizing<[u8; 32]> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut context = hmac::Context::with_key(&key);
    for part in [&1u32.to_be_bytes()[..], label, &[0], u, v, &256u32.to_be_bytes()[..]] {
        context.update(part);
    }
    bytes_of(context.sign().as_ref())
}

/// 256 bits of KDFe with SHA-256: one round.
fn kdfe(shared: &[u8], label: &[u8], u: &[u8], v: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut context = Context::new(&SHA256);
    for part in [&1u32.to_be_bytes()[..], shared, label, &[0], u, v] {
        context.update(part);
    }
    bytes_of(context.finish().as_ref())
}

fn bytes_of(digest: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    bytes.iter_mut().zip(digest).for_each(|(to, from)| *to = *from);
    bytes
}
