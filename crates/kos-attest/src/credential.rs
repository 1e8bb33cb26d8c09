//! A challenge that only the TPM of an endorsement key answers, and what counts once it was answered.
//!
//! Invariants: [`ActivatedEk`] comes only from a right answer, and [`CertifiedKey`] and [`VerifiedQuote`] only from it.
//!
//! Source: TPM 2.0 Library, part 1, 24 (credential protection), C.6.3; `docs/spec/attestation.md` ATT-5, ATT-9 to ATT-12.

use aws_lc_rs::{
    agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree},
    cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey},
    hmac,
    iv::FixedLength,
};
use kos_base::{
    KeyId, PublicKey, Secret,
    approved::{Algorithm, Mode},
    digest::{Sha256, sha256_parts},
};
use subtle::ConstantTimeEq as _;

use crate::{
    AttestError, AttestationKey, Clock, EndorsementKey, Pcrs, Values,
    attest::{self, Attest},
    kdf::{kdfa, kdfe},
    public::{COORDINATE_BYTES, DeviceKey, qualified},
    signature,
};

/// The handle of the endorsement hierarchy.
const TPM_RH_ENDORSEMENT: u32 = 0x4000_000b;

/// What a statement is for: this connection, this device, this request, now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding(Sha256);

impl Binding {
    /// Of a conversation that asks for a certificate (ATT-5).
    pub fn of_request(exporter: &[u8; 32], nonce: &[u8; 32], identity: KeyId, request: &Sha256) -> Self {
        Self(sha256_parts(
            "kos attestation v1",
            [exporter.as_slice(), nonce, identity.as_bytes(), request.as_slice()],
        ))
    }

    /// Of a question to a device in service.
    pub fn of_question(nonce: &[u8; 32], device: &str, operational: KeyId) -> Self {
        let parts = [nonce.as_slice(), device.as_bytes(), operational.as_bytes()];
        Self(sha256_parts("kos attestation question v1", parts))
    }

    /// As a party to the conversation tells it to somebody who has no part in it (SECV-6).
    pub const fn as_told(bytes: Sha256) -> Self {
        Self(bytes)
    }

    /// The 32 bytes that a TPM is given to sign with what it says.
    pub const fn as_bytes(&self) -> &Sha256 {
        &self.0
    }

    /// What the secret of a challenge answers with.
    pub fn answer(&self, secret: &Secret<32>) -> Sha256 {
        let mut answer = [0; 32];
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.expose()), &self.0);
        answer.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        answer
    }
}

/// A challenge for one endorsement key and one attestation key.
#[derive(Debug)]
pub struct Challenge {
    ek: EndorsementKey,
    ak: AttestationKey,
    one_time: Secret<32>,
    secret: Secret<32>,
    credential: Vec<u8>,
    seed: Vec<u8>,
}

impl Challenge {
    /// Makes one (TPM2_MakeCredential) from two times 32 random bytes that serve nothing else.
    ///
    /// # Errors
    /// When the endorsement key is no point of its curve, or the build has the FIPS module. Once in 2^32 times the random bytes are no number of the curve,
    /// which looks the same; a new try has new ones.
    pub fn make(
        ek: EndorsementKey,
        ak: AttestationKey,
        one_time: &Secret<32>,
        secret: Secret<32>,
    ) -> Result<Self, AttestError> {
        Mode::BUILT.admit(Algorithm::AesCfb)?;
        let refused = AttestError::Key("the endorsement key is no point of its curve");
        let ours = PrivateKey::from_private_key(&ECDH_P256, one_time.expose()).map_err(|_| refused)?;
        let public = ours.compute_public_key().map_err(|_| refused)?;
        let (x, y) = coordinates(public.as_ref()).ok_or(refused)?;
        let (their_x, _) = coordinates(ek.key().raw()).ok_or(refused)?;
        let peer = UnparsedPublicKey::new(&ECDH_P256, ek.key().raw());
        let seed = agree(&ours, peer, refused, |shared| Ok(kdfe(shared, b"IDENTITY", x, their_x)))?;

        let name = ak.name();
        let mut hidden = sized(secret.expose());
        let key = kdfa::<16>(&seed[..], b"STORAGE", name);
        let cipher = UnboundCipherKey::new(&AES_128, key.as_slice()).and_then(EncryptingKey::cfb128);
        let zero = EncryptionContext::Iv128(FixedLength::from([0; 16]));
        let encrypted = cipher.and_then(|cipher| cipher.less_safe_encrypt(&mut hidden, zero));
        encrypted.map_err(|_| refused)?;
        let key = kdfa::<32>(&seed[..], b"INTEGRITY", &[]);
        let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()));
        mac.update(&hidden);
        mac.update(name);
        let mut credential = sized(mac.sign().as_ref());
        credential.extend_from_slice(&hidden);
        let seed = [sized(x), sized(y)].concat();
        let one_time = Secret::new(*one_time.expose());
        Ok(Self { ek, ak, one_time, secret, credential, seed })
    }

    /// The content of TPM2B_ID_OBJECT.
    pub fn credential(&self) -> &[u8] {
        &self.credential
    }

    /// The content of TPM2B_ENCRYPTED_SECRET.
    pub fn seed(&self) -> &[u8] {
        &self.seed
    }

    /// What it was made from: [`Challenge::make`] makes the same of it. To be told to nobody before the answer has come.
    pub const fn draws(&self) -> [&Secret<32>; 2] {
        [&self.one_time, &self.secret]
    }

    /// For whom it is.
    pub const fn ek(&self) -> &EndorsementKey {
        &self.ek
    }

    /// Takes the answer.
    ///
    /// # Errors
    /// When it is not that of the secret, for this binding.
    pub fn answered(&self, binding: Binding, answer: &[u8; 32]) -> Result<ActivatedEk, AttestError> {
        let is_right: bool = binding.answer(&self.secret).as_slice().ct_eq(answer.as_slice()).into();
        if is_right {
            Ok(ActivatedEk { ek: self.ek.clone(), ak: self.ak.clone(), binding })
        } else {
            Err(AttestError::Activation)
        }
    }
}

/// An endorsement key that answered, and the attestation key that is in its TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivatedEk {
    ek: EndorsementKey,
    ak: AttestationKey,
    binding: Binding,
}

/// Something that an attestation key signed.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// TPMS_ATTEST.
    pub attest: &'a [u8],
    /// TPMT_SIGNATURE.
    pub signature: &'a [u8],
}

/// A quote and the values that it is of.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a> {
    /// What was signed.
    pub signed: Signed<'a>,
    /// The values, one after the other, from the lowest PCR.
    pub values: &'a [u8],
}

/// A key of which a TPM says that it was made inside and stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifiedKey {
    key: PublicKey,
}

impl CertifiedKey {
    /// Which.
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }
}

/// PCRs of a TPM, as they were for this question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedQuote {
    values: Values,
    clock: Clock,
    firmware: u64,
}

impl VerifiedQuote {
    /// The values.
    pub const fn values(&self) -> &Values {
        &self.values
    }

    /// The counters of the TPM.
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    /// The version of its firmware, as its maker counts.
    pub const fn firmware(&self) -> u64 {
        self.firmware
    }

    /// Finds a TPM that was wound back, or a copy of it.
    ///
    /// # Errors
    /// When it showed later counters before (ATT-23).
    pub fn follows(&self, known: &Clock) -> Result<(), AttestError> {
        if self.clock.is_before(known) { Err(AttestError::WoundBack) } else { Ok(()) }
    }
}

impl ActivatedEk {
    /// The endorsement key.
    pub const fn ek(&self) -> &EndorsementKey {
        &self.ek
    }

    /// The attestation key.
    pub const fn ak(&self) -> &AttestationKey {
        &self.ak
    }

    /// Checks what the attestation key says of a key: `public` is its public area, `expected` the key that it has to be.
    ///
    /// # Errors
    /// When any of it is not so; `which` says in the refusal which key it was about.
    pub fn certified(
        &self,
        public: &[u8],
        signed: &Signed<'_>,
        expected: &PublicKey,
        which: &'static str,
    ) -> Result<CertifiedKey, AttestError> {
        let certified = self.opened(attest::certify(signed.attest)?, signed, "the certificate of a key")?;
        let DeviceKey { name, key } = DeviceKey::parse(public)?;
        if name != certified.body || key != *expected {
            return Err(AttestError::OtherKey(which));
        }
        Ok(CertifiedKey { key })
    }

    /// Checks a quote of exactly the PCRs `asked`.
    ///
    /// # Errors
    /// When any of it is not so.
    pub fn quoted(&self, quoted: &Quoted<'_>, asked: Pcrs) -> Result<VerifiedQuote, AttestError> {
        let quote = self.opened(attest::quote(quoted.signed.attest)?, &quoted.signed, "the quote")?;
        if quote.body.pcrs != asked {
            return Err(AttestError::OtherPcrs);
        }
        let values = Values::new(asked, quoted.values.to_vec())?;
        if values.digest() != quote.body.digest {
            return Err(AttestError::Values);
        }
        Ok(VerifiedQuote { values, clock: quote.clock, firmware: quote.firmware })
    }

    /// Whether this is the qualified name of the attestation key in the endorsement hierarchy, itself or below the
    /// endorsement key. For a key of another hierarchy a TPM hides its counters behind a number of that key's own.
    fn is_signer(&self, qualified_name: &[u8]) -> bool {
        let endorsement = TPM_RH_ENDORSEMENT.to_be_bytes();
        let ek = qualified(&endorsement, self.ek.name());
        [qualified(&endorsement, self.ak.name()), qualified(&ek, self.ak.name())]
            .iter()
            .any(|name| name.as_slice() == qualified_name)
    }

    fn opened<T>(
        &self,
        attest: Attest<T>,
        signed: &Signed<'_>,
        what: &'static str,
    ) -> Result<Attest<T>, AttestError> {
        signature::verify(self.ak.key(), signed.attest, signed.signature, what)?;
        if !self.is_signer(&attest.signer) {
            return Err(AttestError::Key("the attestation key is not of the endorsement hierarchy"));
        }
        if attest.extra == self.binding.0 { Ok(attest) } else { Err(AttestError::Stale(what)) }
    }
}

/// A buffer with its length before it.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [length.to_be_bytes().as_slice(), bytes].concat()
}

fn coordinates(uncompressed: &[u8]) -> Option<(&[u8], &[u8])> {
    uncompressed.get(1..)?.split_at_checked(COORDINATE_BYTES)
}
