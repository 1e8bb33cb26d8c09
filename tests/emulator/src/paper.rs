//! A TPM on paper: it has keys and writes what a TPM writes, true or not. What a real one would never say, this one does.

use aws_lc_rs::{
    agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree},
    cipher::{AES_128, DecryptingKey, DecryptionContext, UnboundCipherKey},
    digest::{SHA256, digest},
    hmac,
    iv::FixedLength,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};

/// The properties of an endorsement key.
pub const EK: u32 = 0x0003_00b2;
/// Those of an attestation key.
pub const AK: u32 = 0x0005_0072;
/// Those of a key that signs and stays.
pub const KEY: u32 = 0x0004_0472;

/// A TPM that says what it is told to say.
#[derive(Debug)]
pub struct PaperTpm {
    ek: PrivateKey,
    ak: EcdsaKeyPair,
    /// The properties that its attestation key shows.
    pub ak_attributes: u32,
    /// What stands before everything that a TPM made.
    pub magic: u32,
    /// How long it has run, in milliseconds; how often it was switched on, and woken up.
    pub clock: (u64, u32, u32),
    /// In which hierarchy its attestation key is.
    pub hierarchy: u32,
    /// The bank that it says it quotes.
    pub bank: u16,
    /// Its PCRs.
    pub pcrs: [[u8; 32]; 24],
}

/// What was said, and the signature over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// TPMS_ATTEST.
    pub attest: Vec<u8>,
    /// TPMT_SIGNATURE.
    pub signature: Vec<u8>,
}

impl Default for PaperTpm {
    fn default() -> Self {
        Self::new()
    }
}

impl PaperTpm {
    /// One that tells the truth as long as nobody changes it.
    pub fn new() -> Self {
        let ak = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self::with_keys(PrivateKey::generate(&ECDH_P256).unwrap(), ak)
    }

    /// The one with these scalars as keys: the same each time.
    pub fn from_scalars(ek: &[u8; 32], ak: &[u8; 32]) -> Self {
        let ek = PrivateKey::from_private_key(&ECDH_P256, ek).unwrap();
        // RFC 5915: ECPrivateKey with the scalar and the curve.
        let curve = b"\xa0\x0a\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
        let ak = [&[0x30, 0x31, 2, 1, 1, 4, 32][..], ak, curve].concat();
        let ak = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, &ak).unwrap();
        Self::with_keys(ek, ak)
    }

    fn with_keys(ek: PrivateKey, ak: EcdsaKeyPair) -> Self {
        Self {
            ek,
            ak,
            ak_attributes: AK,
            magic: 0xff54_4347,
            clock: (60_000, 3, 0),
            hierarchy: 0x4000_000b,
            bank: 0x000b,
            pcrs: std::array::from_fn(|at| [u8::try_from(at).unwrap(); 32]),
        }
    }

    /// The same endorsement key with another attestation key, as a TPM has after it was made anew.
    #[must_use]
    pub fn with_other_ak(self) -> Self {
        Self { ak: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(), ..self }
    }

    /// TPMT_PUBLIC of its endorsement key.
    pub fn ek_public(&self) -> Vec<u8> {
        let point = self.ek.compute_public_key().unwrap();
        public(EK, &[0x83; 32], &[0x00, 0x06, 0x00, 0x80, 0x00, 0x43, 0x00, 0x10], point.as_ref())
    }

    /// The same key, uncompressed.
    pub fn ek_point(&self) -> Vec<u8> {
        self.ek.compute_public_key().unwrap().as_ref().to_vec()
    }

    /// TPMT_PUBLIC of its attestation key.
    pub fn ak_public(&self) -> Vec<u8> {
        signing(self.ak_attributes, self.ak.public_key().as_ref())
    }

    /// The qualified name of its attestation key, a primary key of the endorsement hierarchy.
    fn ak_qualified_name(&self) -> Vec<u8> {
        name(&[&self.hierarchy.to_be_bytes()[..], &name(&self.ak_public())].concat())
    }

    /// TPM2_ActivateCredential.
    pub fn activate(&self, credential: &[u8], seed: &[u8]) -> Option<[u8; 32]> {
        let (x, y) = (seed.get(2..34)?, seed.get(36..68)?);
        let point = [&[4][..], x, y].concat();
        let own = self.ek_point();
        let peer = UnparsedPublicKey::new(&ECDH_P256, point);
        let seed = agree(&self.ek, peer, (), |shared| {
            let parts = [&1u32.to_be_bytes()[..], shared, b"IDENTITY\0", x, &own[1..33]];
            Ok(digest(&SHA256, &parts.concat()))
        });
        let seed = seed.ok()?;
        let name = name(&self.ak_public());
        let (tag, hidden) = credential.get(2..)?.split_at_checked(32)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &kdfa(seed.as_ref(), b"INTEGRITY\0", &[], 256));
        hmac::verify(&key, &[hidden, &name].concat(), tag).ok()?;
        let key = kdfa(seed.as_ref(), b"STORAGE\0", &name, 128);
        let mut hidden = hidden.to_vec();
        let cipher = DecryptingKey::cfb128(UnboundCipherKey::new(&AES_128, &key[..16]).ok()?).ok()?;
        cipher.decrypt(&mut hidden, DecryptionContext::Iv128(FixedLength::from([0; 16]))).ok()?;
        hidden.get(2..)?.try_into().ok()
    }

    /// TPM2_Certify, of whatever is shown.
    pub fn certify(&self, public: &[u8], extra: &[u8]) -> Said {
        self.said(0x8017, extra, &[sized(&name(public)), sized(&[0; 34])].concat())
    }

    /// TPM2_Quote of the PCRs whose bits are set.
    pub fn quote(&self, pcrs: u32, extra: &[u8]) -> Said {
        let [a, b, c, _] = pcrs.to_le_bytes();
        let bank = self.bank.to_be_bytes();
        let selection = [&1u32.to_be_bytes()[..], &bank, &[3, a, b, c]].concat();
        let values = digest(&SHA256, &self.values(pcrs));
        self.said(0x8018, extra, &[selection, sized(values.as_ref())].concat())
    }

    /// The values of these PCRs, one after the other.
    pub fn values(&self, pcrs: u32) -> Vec<u8> {
        (0..24).filter(|at| pcrs >> at & 1 == 1).flat_map(|at| self.pcrs[at]).collect()
    }

    fn said(&self, kind: u16, extra: &[u8], body: &[u8]) -> Said {
        let (clock, resets, restarts) = self.clock;
        let parts = [
            &self.magic.to_be_bytes()[..],
            &kind.to_be_bytes(),
            &sized(&self.ak_qualified_name()),
            &sized(extra),
            &clock.to_be_bytes(),
            &resets.to_be_bytes(),
            &restarts.to_be_bytes(),
            &[1],
            &7u64.to_be_bytes(),
            body,
        ];
        let attest = parts.concat();
        let signature = self.sign(&attest);
        Said { attest, signature }
    }

    /// TPMT_SIGNATURE of the attestation key over anything.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.ak.sign(&SystemRandom::new(), message).unwrap();
        let (r, s) = signature.as_ref().split_at(32);
        [&[0x00, 0x18, 0x00, 0x0b][..], &sized(r), &sized(s)].concat()
    }
}

/// TPMT_PUBLIC of a key that signs with ECDSA and SHA-256, from its uncompressed point.
pub fn signing(attributes: u32, point: &[u8]) -> Vec<u8> {
    public(attributes, &[], &[0x00, 0x10, 0x00, 0x18, 0x00, 0x0b], point)
}

fn public(attributes: u32, policy: &[u8], kind: &[u8], point: &[u8]) -> Vec<u8> {
    let parts = [
        &[0x00, 0x23, 0x00, 0x0b][..],
        &attributes.to_be_bytes(),
        &sized(policy),
        kind,
        &[0x00, 0x03, 0x00, 0x10],
        &sized(&point[1..33]),
        &sized(&point[33..]),
    ];
    parts.concat()
}

fn name(public: &[u8]) -> Vec<u8> {
    [&[0x00, 0x0b][..], digest(&SHA256, public).as_ref()].concat()
}

fn kdfa(key: &[u8], label: &[u8], context: &[u8], bits: u32) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let parts = [&1u32.to_be_bytes()[..], label, context, &bits.to_be_bytes()];
    hmac::sign(&key, &parts.concat()).as_ref().to_vec()
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}
