//! An authority's keys and certificates, made for a test.

use aws_lc_rs::{
    rand::{self, SystemRandom},
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        KeyPair as _,
    },
};
use kos_api::hex;
use kos_base::{KeyAlgorithm, PublicKey, Timestamp};
use kos_identity::{
    certificate::{
        self, AuthorityGrant, Certificate, IssuerClass, IssuerContext, OperatorGrant, Serial, Warrant,
    },
    crl,
    csr::Request,
    registry::RevocationReason,
};

/// A private key and its public half.
pub(crate) struct Key {
    pair: EcdsaKeyPair,
    pub(crate) public: PublicKey,
    pub(crate) pkcs8: Vec<u8>,
}

/// An authority called `attic`.
pub(crate) struct Pki {
    root_key: Key,
    pub(crate) root: Certificate,
    issuing_key: Key,
    pub(crate) issuing: Certificate,
    pub(crate) now: Timestamp,
}

impl Key {
    pub(crate) fn p256() -> Self {
        Self::make(&ECDSA_P256_SHA256_ASN1_SIGNING, KeyAlgorithm::P256)
    }

    fn make(signing: &'static EcdsaSigningAlgorithm, algorithm: KeyAlgorithm) -> Self {
        let pair = EcdsaKeyPair::generate(signing).unwrap();
        let public = PublicKey::from_raw(algorithm, pair.public_key().as_ref()).unwrap();
        let pkcs8 = pair.to_pkcs8v1().unwrap().as_ref().to_vec();
        Self { pair, public, pkcs8 }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }
}

impl Pki {
    /// Made at `now`; what it issues is valid from then on.
    pub(crate) fn new(now: Timestamp) -> Self {
        let root_key = Key::make(&ECDSA_P384_SHA384_ASN1_SIGNING, KeyAlgorithm::P384);
        let root = certificate::root(&"attic".parse().unwrap(), &root_key.public, serial(), now).unwrap();
        let signature = root_key.sign(root.to_be_signed());
        let root = root.finish(&signature).unwrap();
        let issuing_key = Key::p256();
        let context = IssuerContext { issuer: &root, publication: None, now };
        let issuing =
            certificate::issuing_ca(IssuerClass::Two, &issuing_key.public, serial(), &context).unwrap();
        let signature = root_key.sign(issuing.to_be_signed());
        let issuing = issuing.finish(&signature).unwrap();
        Self { root_key, root, issuing_key, issuing, now }
    }

    pub(crate) fn authority(&self, key: &Key) -> Certificate {
        self.issue(Warrant::Authority(AuthorityGrant { key: key.public.clone(), names: vec![] }))
    }

    pub(crate) fn operator(&self, name: &str, key: PublicKey) -> Certificate {
        self.issue(Warrant::Operator(OperatorGrant { name: name.parse().unwrap(), key }))
    }

    /// What an admin does with a request: the certificates that go back.
    pub(crate) fn grant(&self, name: &str, csr_pem: &str) -> (Certificate, String) {
        let (label, der) = der::pem::decode_vec(csr_pem.as_bytes()).unwrap();
        assert_eq!(label, "CERTIFICATE REQUEST");
        let request = Request::parse(&der, Request::BYTES_MAX).unwrap();
        let own = self.operator(name, request.public_key().clone());
        let chain = format!("{}{}", own.pem(), self.issuing.pem());
        (own, chain)
    }

    fn issue(&self, warrant: Warrant) -> Certificate {
        let context = IssuerContext { issuer: &self.issuing, publication: None, now: self.now };
        let unsigned = certificate::issue(warrant, serial(), &context).unwrap();
        let signature = self.issuing_key.sign(unsigned.to_be_signed());
        unsigned.finish(&signature).unwrap()
    }

    /// The lists of root and issuing CA, which takes `revoked` back.
    pub(crate) fn lists(&self, revoked: &[&Certificate]) -> [Vec<u8>; 2] {
        let entries = revoked.iter().map(|certificate| crl::Entry {
            serial: certificate.serial(),
            at: self.now,
            reason: RevocationReason::KeyCompromise,
        });
        [(&self.root, &self.root_key, vec![]), (&self.issuing, &self.issuing_key, entries.collect())].map(
            |(issuer, key, entries)| {
                let unsigned = crl::build(issuer, 7, entries, self.now).unwrap();
                let signature = key.sign(unsigned.to_be_signed());
                unsigned.finish(&signature).unwrap()
            },
        )
    }
}

/// As the API writes it.
pub(crate) fn api_serial(certificate: &Certificate) -> hex::Serial {
    hex::Serial::from_bytes(&certificate.serial().to_bytes()).unwrap()
}

fn serial() -> Serial {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).unwrap();
    Serial::from_random(bytes)
}

/// The present moment, for certificates that the program judges by its own clock.
pub(crate) fn now() -> Timestamp {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    Timestamp::from_unix_ms(u64::try_from(since.as_millis()).unwrap())
}
