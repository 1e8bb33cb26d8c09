//! Factory certificates (IEEE 802.1AR): the maker's word on an identity key.
//!
//! The path is validated by webpki, to CAs that an operator named for this purpose and with which nothing else is checked. What
//! is peculiar to these certificates is looked at here: an end in the year 9999, and a serial in the subject or in
//! hardwareModuleName.
//!
//! Source: IEEE 802.1AR-2018, 8; RFC 4108, 5; RFC 5280; `docs/spec/voucher.md` VOU-20 to VOU-24.

use core::time::Duration;

use const_oid::ObjectIdentifier;
use data_encoding::HEXLOWER;
use der::{Decode as _, Encode as _, asn1::OctetStringRef};
use kos_base::{
    KeyId, Name, PublicKey, Timestamp,
    code::voucher as code,
    digest::sha256,
    text::{is_safe, printable},
};
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::KeyUsage;
use x509_cert::{
    Certificate,
    ext::pkix::{BasicConstraints, SubjectAltName, name::GeneralName},
};

use crate::{Maker, Withheld};

/// Longest certificate in bytes. Stops a stranger from making us read a book.
pub const CERTIFICATE_BYTES_MAX: usize = 4096;
/// Most certificates in a chain, that of the device and issuers. webpki bounds the search besides.
pub const CHAIN_MAX: usize = 4;
/// Longest serial in bytes.
const SERIAL_BYTES_MAX: usize = 64;

const SERIAL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.5");
const HARDWARE_MODULE_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.8.4");

/// What makers of devices sign with.
const ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    webpki::aws_lc_rs::ECDSA_P256_SHA256,
    webpki::aws_lc_rs::ECDSA_P256_SHA384,
    webpki::aws_lc_rs::ECDSA_P384_SHA256,
    webpki::aws_lc_rs::ECDSA_P384_SHA384,
    webpki::aws_lc_rs::ED25519,
    webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA256,
    webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA384,
    webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA512,
];

/// A factory certificate that holds. Only [`judge`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Factory {
    maker: Name,
    serial: String,
    issuer: KeyId,
}

impl Factory {
    /// Whose.
    pub const fn maker(&self) -> &Name {
        &self.maker
    }

    /// Which device of its maker.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// Key id of the CA that the operator named.
    pub const fn issuer(&self) -> KeyId {
        self.issuer
    }
}

/// Checks that a CA can be read.
///
/// # Errors
/// When it is no certificate.
pub fn check_root(der: &[u8]) -> Result<KeyId, Withheld> {
    let der = CertificateDer::from(der);
    let anchor = webpki::anchor_from_trusted_cert(&der).map_err(|error| invalid(&error))?;
    Ok(anchor_id(&anchor))
}

/// Checks the certificate of `key`, the first of `chain`, at `now`.
///
/// # Errors
/// When no maker stands behind it, and why.
///
/// # Cost
/// At most some dozens of signatures, which webpki bounds.
pub fn judge(
    chain: &[&[u8]],
    key: &PublicKey,
    makers: &[Maker],
    now: Timestamp,
) -> Result<Factory, Withheld> {
    let (first, issuers) = chain.split_first().ok_or_else(|| invalid(&"there is none"))?;
    if chain.len() > CHAIN_MAX || chain.iter().any(|der| der.len() > CERTIFICATE_BYTES_MAX) {
        return Err(invalid(&"the certificates are too many or too long"));
    }
    let certificate = Certificate::from_der(first).map_err(|_| invalid(&"it cannot be read"))?;
    let serial = serial_of(&certificate)?;
    let spki = certificate.tbs_certificate().subject_public_key_info().to_der();
    let certified = spki.ok().and_then(|spki| PublicKey::from_spki_der(&spki).ok());
    if certified.as_ref() != Some(key) {
        return Err(Withheld::new(code::IDEVID_OTHER_KEY));
    }
    let roots: Vec<_> =
        makers.iter().flat_map(|maker| maker.roots.iter().map(move |der| (maker, der))).collect();
    let ders: Vec<_> = roots.iter().map(|(_, der)| CertificateDer::from(der.as_slice())).collect();
    let anchors: Vec<TrustAnchor<'_>> =
        ders.iter().filter_map(|der| webpki::anchor_from_trusted_cert(der).ok()).collect();
    let der = CertificateDer::from(*first);
    let issuers: Vec<_> = issuers.iter().map(|der| CertificateDer::from(*der)).collect();
    let end_entity = webpki::EndEntityCert::try_from(&der).map_err(|error| invalid(&error))?;
    let now = UnixTime::since_unix_epoch(Duration::from_millis(now.unix_ms()));
    let usage = KeyUsage::client_auth();
    let path = end_entity.verify_for_usage(ALGORITHMS, &anchors, &issuers, now, usage, None, None);
    let issuer = anchor_id(path.map_err(|error| invalid(&error))?.anchor());
    let is_issuer = |der: &[u8]| check_root(der).is_ok_and(|id| id == issuer);
    let maker =
        roots.iter().find(|(_, der)| is_issuer(der)).ok_or_else(|| invalid(&"no maker is named for it"))?;
    Ok(Factory { maker: maker.0.name.clone(), serial, issuer })
}

/// The serial that a certificate names, before anybody has checked it, only to find out what to look for.
pub fn unverified_serial(der: &[u8]) -> Option<String> {
    if der.len() > CERTIFICATE_BYTES_MAX {
        return None;
    }
    serial_of(&Certificate::from_der(der).ok()?).ok()
}

/// From the subject, else from hardwareModuleName.
fn serial_of(certificate: &Certificate) -> Result<String, Withheld> {
    let tbs = certificate.tbs_certificate();
    let unread = |_| invalid(&"an extension cannot be read");
    let constraints = tbs.get_extension::<BasicConstraints>().map_err(unread)?;
    if constraints.is_some_and(|(_, constraints)| constraints.ca) {
        return Err(invalid(&"it is one of a CA"));
    }
    let mut found = None;
    for attribute in tbs.subject().iter().filter(|attribute| attribute.oid == SERIAL_NUMBER) {
        let text =
            core::str::from_utf8(attribute.value.value()).map_err(|_| invalid(&"its serial is no text"))?;
        if found.replace(text.to_owned()).is_some() {
            return Err(invalid(&"it has two serials"));
        }
    }
    let names = tbs.get_extension::<SubjectAltName>().map_err(unread)?;
    let names = names.map(|(_, names)| names.0).unwrap_or_default();
    for name in &names {
        let GeneralName::OtherName(other) = name else { continue };
        if found.is_none() && other.type_id == HARDWARE_MODULE_NAME {
            found = Some(module_serial(&other.value.to_der().unwrap_or_default())?);
        }
    }
    let serial = found.ok_or_else(|| invalid(&"it has no serial"))?;
    let is_serial = (1..=SERIAL_BYTES_MAX).contains(&serial.len()) && serial.chars().all(is_safe);
    if is_serial { Ok(serial) } else { Err(invalid(&"its serial is none")) }
}

/// `hwSerialNum` of a HardwareModuleName: as text where it is some, else in hex.
fn module_serial(der: &[u8]) -> Result<String, Withheld> {
    #[derive(der::Sequence)]
    struct HardwareModuleName<'a> {
        /// Read over: the serial is what names the device of this maker.
        kind: ObjectIdentifier,
        serial: &'a OctetStringRef,
    }
    let module =
        HardwareModuleName::from_der(der).map_err(|_| invalid(&"its hardwareModuleName cannot be read"))?;
    let bytes = module.serial.as_bytes();
    match core::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && text.chars().all(is_safe) => Ok(text.to_owned()),
        _ => Ok(HEXLOWER.encode(bytes)),
    }
}

/// SHA-256 of the SubjectPublicKeyInfo, of which an anchor has the content alone.
fn anchor_id(anchor: &TrustAnchor<'_>) -> KeyId {
    let content = anchor.subject_public_key_info.as_ref();
    let spki = der::Any::new(der::Tag::Sequence, content).and_then(|any| any.to_der());
    KeyId::from_bytes(sha256(&spki.unwrap_or_default()))
}

fn invalid(why: &impl core::fmt::Display) -> Withheld {
    Withheld::saying(code::IDEVID_INVALID, &printable(&why.to_string(), 160))
}
