//! Certificates of endorsement keys: who vouches for a TPM.
//!
//! The path is validated by webpki, as for every other certificate of kOS, to roots that were named for this purpose. What
//! is peculiar to these certificates is looked at here: an empty subject with a critical subjectAltName that describes the
//! TPM, a purpose of their own, an end in the year 9999.
//!
//! Errors: [`ChainFault`]. The device cannot mend what its maker wrote, so it is no refusal: nobody vouches then (ATT-19).
//!
//! Source: TCG EK Credential Profile 2.5, 3; RFC 5280; `docs/spec/attestation.md` ATT-13 to ATT-16.

use core::time::Duration;

use const_oid::ObjectIdentifier;
use der::{Decode as _, Encode as _};
use kos_base::{KeyId, PublicKey, Timestamp, text::printable};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::KeyUsage;
use x509_cert::{
    Certificate,
    ext::pkix::{BasicConstraints, SubjectAltName, name::GeneralName},
};

use crate::EndorsementKey;

/// Longest certificate in bytes. Stops a stranger from making us read a book.
pub(crate) const CERTIFICATE_BYTES_MAX: usize = 4096;
/// Most certificates in a chain, that of the key and issuers. webpki bounds the search besides.
pub(crate) const CHAIN_MAX: usize = 5;
/// Longest description of a TPM that is kept, in characters.
const WORDS_MAX: usize = 64;

/// tcg-kp-EKCertificate, 2.23.133.8.1, as DER writes it.
const EK_PURPOSE: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x01];
const MANUFACTURER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.2.1");
const MODEL: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.2.2");
const VERSION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.2.3");

/// What makers of TPMs sign with: smaller RSA keys and SHA-1 stay out.
const ALGORITHMS: &[&dyn rustls_pki_types::SignatureVerificationAlgorithm] = &[
    webpki::aws_lc_rs::ECDSA_P256_SHA256,
    webpki::aws_lc_rs::ECDSA_P256_SHA384,
    webpki::aws_lc_rs::ECDSA_P384_SHA256,
    webpki::aws_lc_rs::ECDSA_P384_SHA384,
    webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA256,
    webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA384,
    webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA512,
    webpki::aws_lc_rs::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    webpki::aws_lc_rs::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    webpki::aws_lc_rs::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

/// Roots of makers of TPMs that an operator named. They count for nothing else.
#[derive(Clone, Debug, Default)]
pub struct EkRoots(Vec<TrustAnchor<'static>>);

/// What a certificate says of a TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maker {
    /// Who made it: `id:` and the number that the TCG gave.
    pub manufacturer: String,
    /// Which model.
    pub model: String,
    /// Which version of its firmware, when it was made.
    pub version: String,
}

/// An endorsement key whose chain holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VouchedEk {
    ek: KeyId,
    maker: Maker,
}

/// Why nobody vouches for an endorsement key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainFault {
    /// The TPM holds none.
    #[error("the TPM has no certificate for its P-256 endorsement key")]
    Absent,
    /// More or longer certificates than any chain of a maker has.
    #[error("the certificates are too many or too long")]
    Limit,
    /// No certificate, or one of a form that these do not have.
    #[error("the certificate is none of an endorsement key: {0}")]
    Form(&'static str),
    /// It is of another key.
    #[error("the certificate is of another key")]
    OtherKey,
    /// It leads to no root that was named, or does not hold now.
    #[error("the chain of the certificate does not hold: {0}")]
    Chain(String),
}

impl EkRoots {
    /// Takes roots over.
    ///
    /// # Errors
    /// [`ChainFault::Form`] when one of them is no certificate.
    pub fn new<'a>(ders: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, ChainFault> {
        let anchor = |der: &[u8]| {
            let der = CertificateDer::from(der);
            let anchor = webpki::anchor_from_trusted_cert(&der).map(|anchor| anchor.to_owned());
            anchor.map_err(|_| ChainFault::Form("a root cannot be read"))
        };
        ders.into_iter().map(anchor).collect::<Result<_, _>>().map(Self)
    }

    /// How many.
    pub const fn count(&self) -> usize {
        self.0.len()
    }
}

impl VouchedEk {
    /// For which key.
    pub const fn ek(&self) -> KeyId {
        self.ek
    }

    /// What the maker says of the TPM.
    pub const fn maker(&self) -> &Maker {
        &self.maker
    }
}

/// Checks the certificate of an endorsement key, the first of `chain`, at `now`.
///
/// # Errors
/// When nobody vouches for it, and why.
///
/// # Cost
/// At most some dozens of signatures, which webpki bounds.
pub fn vouch(
    ek: &EndorsementKey,
    chain: &[&[u8]],
    roots: &EkRoots,
    now: Timestamp,
) -> Result<VouchedEk, ChainFault> {
    let (first, issuers) = chain.split_first().ok_or(ChainFault::Absent)?;
    if chain.len() > CHAIN_MAX || chain.iter().any(|der| der.len() > CERTIFICATE_BYTES_MAX) {
        return Err(ChainFault::Limit);
    }
    let certificate = Certificate::from_der(first).map_err(|_| ChainFault::Form("it cannot be read"))?;
    let maker = described(&certificate)?;
    let spki = certificate.tbs_certificate().subject_public_key_info().to_der();
    let key = spki.ok().and_then(|spki| PublicKey::from_spki_der(&spki).ok());
    if key.as_ref() != Some(ek.key()) {
        return Err(ChainFault::OtherKey);
    }

    let refused = |error: webpki::Error| ChainFault::Chain(printable(&error.to_string(), 200));
    let der = CertificateDer::from(*first);
    let issuers: Vec<_> = issuers.iter().map(|der| CertificateDer::from(*der)).collect();
    let end_entity = webpki::EndEntityCert::try_from(&der).map_err(refused)?;
    let now = UnixTime::since_unix_epoch(Duration::from_millis(now.unix_ms()));
    let purpose = KeyUsage::required_if_present(EK_PURPOSE);
    let path = end_entity.verify_for_usage(ALGORITHMS, &roots.0, &issuers, now, purpose, None, None);
    path.map_err(refused)?;
    Ok(VouchedEk { ek: ek.id(), maker })
}

/// What the subjectAltName says of the TPM.
fn described(certificate: &Certificate) -> Result<Maker, ChainFault> {
    let tbs = certificate.tbs_certificate();
    let unread = |_| ChainFault::Form("an extension cannot be read");
    let constraints = tbs.get_extension::<BasicConstraints>().map_err(unread)?;
    if constraints.is_some_and(|(_, constraints)| constraints.ca) {
        return Err(ChainFault::Form("it is one of a CA"));
    }
    let names = tbs.get_extension::<SubjectAltName>().map_err(unread)?;
    let (_, names) = names.ok_or(ChainFault::Form("it does not describe a TPM"))?;
    let mut found: [Option<String>; 3] = [const { None }; 3];
    for name in &names.0 {
        let GeneralName::DirectoryName(name) = name else { continue };
        for attribute in name.iter() {
            let place = match attribute.oid {
                MANUFACTURER => 0,
                MODEL => 1,
                VERSION => 2,
                _ => continue,
            };
            let text = core::str::from_utf8(attribute.value.value());
            let text = text.map_err(|_| ChainFault::Form("its description is no text"))?;
            let before = found.get_mut(place).and_then(|slot| slot.replace(printable(text, WORDS_MAX)));
            if before.is_some() {
                return Err(ChainFault::Form("it describes two TPMs"));
            }
        }
    }
    match found {
        [Some(manufacturer), Some(model), Some(version)] => Ok(Maker { manufacturer, model, version }),
        _ => Err(ChainFault::Form("it does not describe a TPM")),
    }
}
