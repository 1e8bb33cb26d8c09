//! Private keys of the model: from seeds, and the authority's certificates, made once and shared by all worlds.

use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result, anyhow};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
        EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
    },
};
use kos_base::{KeyAlgorithm, PublicKey, Timestamp, key::SignatureForm};
use kos_identity::{
    certificate::{self, Certificate, IssuerClass, IssuerContext, Serial},
    enrolment::{authority::Context, message::AuthorityKeys},
};

/// When the worlds begin: 2026-11-20T10:20:00Z.
pub const BEGIN: Timestamp = Timestamp::from_unix_s(1_795_170_000);

/// A key that signs: Ed25519, or P-256 as TPMs have it.
#[derive(Debug)]
pub struct ModelKey {
    pair: Pair,
    public: PublicKey,
}

#[derive(Debug)]
enum Pair {
    Ed25519(Ed25519KeyPair),
    /// One that writes numbers of fixed length, and one that writes DER.
    P256(Box<[EcdsaKeyPair; 2]>),
}

impl ModelKey {
    /// The Ed25519 key with this seed.
    ///
    /// # Errors
    /// When the provider refuses the seed, which it does for none.
    pub fn new(seed: &[u8; 32]) -> Result<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed)?;
        let public = PublicKey::from_raw(KeyAlgorithm::Ed25519, pair.public_key().as_ref())?;
        Ok(Self { pair: Pair::Ed25519(pair), public })
    }

    /// The P-256 key with this scalar.
    ///
    /// # Errors
    /// When it is none: one in 2^32 seeds.
    pub fn p256(scalar: &[u8; 32]) -> Result<Self> {
        let der = private_key(KeyAlgorithm::P256, scalar);
        let pair = |scheme| EcdsaKeyPair::from_private_key_der(scheme, &der).context("a P-256 key");
        let pairs = [pair(&ECDSA_P256_SHA256_FIXED_SIGNING)?, pair(&ECDSA_P256_SHA256_ASN1_SIGNING)?];
        let public = PublicKey::from_raw(KeyAlgorithm::P256, pairs[0].public_key().as_ref())?;
        Ok(Self { pair: Pair::P256(Box::new(pairs)), public })
    }

    /// The public half.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// A signature, with ECDSA's numbers in this form.
    ///
    /// # Errors
    /// When the provider has no randomness.
    pub fn sign_as(&self, form: SignatureForm, message: &[u8]) -> Result<Vec<u8>> {
        match &self.pair {
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::P256(pairs) => {
                let [fixed, der] = pairs.as_ref();
                ecdsa(if form == SignatureForm::Fixed { fixed } else { der }, message)
            }
        }
    }

    /// A signature of an Ed25519 key; one of P-256 has numbers of fixed length.
    ///
    /// # Errors
    /// When the provider has no randomness.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        self.sign_as(SignatureForm::Fixed, message)
    }
}

/// An authority's keys and certificates.
#[derive(Debug)]
pub struct AuthorityKit {
    /// What its sessions share.
    pub context: Arc<Context>,
    issuing: [EcdsaKeyPair; 2],
    /// Signs kIDs.
    pub kid: ModelKey,
    /// Signs orders.
    pub orders: ModelKey,
}

impl AuthorityKit {
    /// The authority that all worlds share: making one costs as much as a small world.
    ///
    /// # Errors
    /// When the certificates cannot be made.
    pub fn real() -> Result<&'static Self> {
        static KIT: OnceLock<Result<AuthorityKit, String>> = OnceLock::new();
        shared(&KIT, "attic", 1)
    }

    /// Somebody who pretends to be an authority.
    ///
    /// # Errors
    /// When the certificates cannot be made.
    pub fn rogue() -> Result<&'static Self> {
        static KIT: OnceLock<Result<AuthorityKit, String>> = OnceLock::new();
        shared(&KIT, "attic", 101)
    }

    /// Signs as an issuing CA.
    ///
    /// # Errors
    /// When the provider fails.
    pub fn sign(&self, class: IssuerClass, message: &[u8]) -> Result<Vec<u8>> {
        let [one, two] = &self.issuing;
        let pair = match class {
            IssuerClass::One => one,
            IssuerClass::Two => two,
        };
        ecdsa(pair, message)
    }

    fn new(name: &str, seed: u8) -> Result<Self> {
        let made = BEGIN.minus(core::time::Duration::from_secs(24 * 3600));
        let root = Signer::new(&ECDSA_P384_SHA384_ASN1_SIGNING, KeyAlgorithm::P384, seed)?;
        let serial = |n: u8| Serial::from_random([seed.wrapping_add(n); 16]);
        let name = name.parse()?;
        let unsigned = certificate::root(&name, &root.public, serial(0), made)?;
        let signature = ecdsa(&root.pair, unsigned.to_be_signed())?;
        let root_certificate = unsigned.finish(&signature)?;
        let issuing = |class: IssuerClass| -> Result<(EcdsaKeyPair, Certificate)> {
            let n = class.number();
            let signer =
                Signer::new(&ECDSA_P256_SHA256_ASN1_SIGNING, KeyAlgorithm::P256, seed.wrapping_add(n))?;
            let issuer = IssuerContext { issuer: &root_certificate, publication: None, now: made };
            let unsigned = certificate::issuing_ca(class, &signer.public, serial(n), &issuer)?;
            let signature = ecdsa(&root.pair, unsigned.to_be_signed())?;
            Ok((signer.pair, unsigned.finish(&signature)?))
        };
        let (one, one_certificate) = issuing(IssuerClass::One)?;
        let (two, two_certificate) = issuing(IssuerClass::Two)?;
        let key = |n: u8| ModelKey::new(&[seed.wrapping_add(n); 32]);
        let (kid, orders, log) = (key(10)?, key(11)?, key(12)?);
        let keys = AuthorityKeys { kid: kid.public.clone(), orders: orders.public.clone(), log: log.public };
        let context = Context {
            name,
            root: root_certificate,
            issuers: [one_certificate, two_certificate],
            keys,
            publication: None,
            heartbeat_s: 60,
            rules: Vec::new(),
            attestation: kos_identity::enrolment::authority::AttestationTerms::default(),
        };
        Ok(Self { context: Arc::new(context), issuing: [one, two], kid, orders })
    }
}

fn shared(
    kit: &'static OnceLock<Result<AuthorityKit, String>>,
    name: &str,
    seed: u8,
) -> Result<&'static AuthorityKit> {
    let made = kit.get_or_init(|| AuthorityKit::new(name, seed).map_err(|e| format!("{e:#}")));
    made.as_ref().map_err(|why| anyhow!("the authority's keys: {why}"))
}

struct Signer {
    pair: EcdsaKeyPair,
    public: PublicKey,
}

impl Signer {
    fn new(scheme: &'static EcdsaSigningAlgorithm, algorithm: KeyAlgorithm, seed: u8) -> Result<Self> {
        let length = if algorithm == KeyAlgorithm::P384 { 48 } else { 32 };
        let der = private_key(algorithm, &vec![seed; length]);
        let pair = EcdsaKeyPair::from_private_key_der(scheme, &der).context("an ECDSA key")?;
        let public = PublicKey::from_raw(algorithm, pair.public_key().as_ref())?;
        Ok(Self { pair, public })
    }
}

/// RFC 5915: ECPrivateKey with the scalar and the curve; the public point follows from them.
fn private_key(algorithm: KeyAlgorithm, scalar: &[u8]) -> Vec<u8> {
    match algorithm {
        KeyAlgorithm::P384 => {
            let curve = b"\xa0\x07\x06\x05\x2b\x81\x04\x00\x22";
            [&[0x30, 0x3e, 2, 1, 1, 4, 48][..], scalar, curve].concat()
        }
        _ => {
            let curve = b"\xa0\x0a\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
            [&[0x30, 0x31, 2, 1, 1, 4, 32][..], scalar, curve].concat()
        }
    }
}

/// The nonce of ECDSA is the provider's own; nothing in a world depends on it.
fn ecdsa(pair: &EcdsaKeyPair, message: &[u8]) -> Result<Vec<u8>> {
    Ok(pair.sign(&SystemRandom::new(), message)?.as_ref().to_vec())
}
