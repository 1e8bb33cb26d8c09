//! Certificates of endorsement keys, as makers write them and as nobody should.

use kos_attest::{ChainFault, EkRoots, EndorsementKey, Evidence, Trust, vouch};
use kos_base::{EvidenceTier, KeyAlgorithm, PublicKey, Timestamp};
use kos_emulator::paper::{self, KEY, PaperTpm};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, IsCa, KeyPair,
    PKCS_ECDSA_P384_SHA384, PublicKeyData, SignatureAlgorithm, date_time_ymd,
};

use super::{activated, binding, device_key, quoted, signed};

/// 2026-11-27.
const NOW: Timestamp = Timestamp::from_unix_s(1_795_737_600);

struct Point(Vec<u8>);

impl PublicKeyData for Point {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    assert!(content.len() < 128);
    [&[tag, u8::try_from(content.len()).unwrap()][..], content].concat()
}

/// A subjectAltName that describes a TPM by these parts, each with its own arc under 2.23.133.2.
fn description(parts: &[(u8, &str)]) -> CustomExtension {
    let attributes: Vec<u8> = parts
        .iter()
        .flat_map(|(arc, text)| {
            let oid = tlv(0x06, &[0x67, 0x81, 0x05, 0x02, *arc]);
            tlv(0x31, &tlv(0x30, &[oid, tlv(0x0c, text.as_bytes())].concat()))
        })
        .collect();
    let names = tlv(0x30, &tlv(0xa4, &tlv(0x30, &attributes)));
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], names);
    extension.set_criticality(true);
    extension
}

const TPM: &[(u8, &str)] = &[(1, "id:00001014"), (2, "swtpm"), (3, "id:20191023")];

fn purposes(oids: &[&[u8]]) -> CustomExtension {
    let oids: Vec<u8> = oids.iter().flat_map(|oid| tlv(0x06, oid)).collect();
    CustomExtension::from_oid_content(&[2, 5, 29, 37], tlv(0x30, &oids))
}

const EK_PURPOSE: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x01];

fn certificate() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31);
    params.custom_extensions = vec![description(TPM), purposes(&[EK_PURPOSE])];
    params
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    CertifiedIssuer::self_signed(params, KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap()).unwrap()
}

fn issue(tpm: &PaperTpm, params: &CertificateParams, by: &CertifiedIssuer<'static, KeyPair>) -> Vec<u8> {
    params.signed_by(&Point(tpm.ek_point()), by).unwrap().der().to_vec()
}

fn ek(tpm: &PaperTpm) -> EndorsementKey {
    EndorsementKey::parse(&tpm.ek_public()).unwrap()
}

#[test]
fn a_critical_name_and_the_year_9999_are_as_makers_write_them() {
    let (tpm, root) = (PaperTpm::new(), authority("maker"));
    let der = issue(&tpm, &certificate(), &root);
    let roots = EkRoots::new([root.der().as_ref()]).unwrap();
    let vouched = vouch(&ek(&tpm), &[&der], &roots, NOW).unwrap();
    assert_eq!(vouched.ek(), ek(&tpm).id());
    assert_eq!(vouched.maker().model, "swtpm");

    // It vouches for this TPM, and for no other that shows it.
    let other = PaperTpm::new();
    assert_eq!(vouch(&ek(&other), &[&der], &roots, NOW), Err(ChainFault::OtherKey));
    for (tpm, tier) in [(&tpm, EvidenceTier::EkChainVerified), (&other, EvidenceTier::KeyInTpm)] {
        let (key, point) = device_key();
        let public = paper::signing(KEY, &point);
        let certificate = tpm.certify(&public, binding().as_bytes());
        let certified =
            activated(tpm).certified(&public, &signed(&certificate), &key, "operational").unwrap();
        let quote = tpm.quote(0b1001_0101, binding().as_bytes());
        let quote = quoted(tpm, &quote, &tpm.values(0b1001_0101)).unwrap();
        let trust = Trust::Vouched(vouched.clone());
        assert_eq!(Evidence::new(activated(tpm), certified, quote, trust, &[]).tier(), tier);
    }
}

#[test]
fn what_no_maker_should_write_vouches_for_nothing() {
    let (tpm, root) = (PaperTpm::new(), authority("maker"));
    let roots = EkRoots::new([root.der().as_ref()]).unwrap();
    let check = |change: &dyn Fn(&mut CertificateParams), is_form: bool| {
        let mut params = certificate();
        change(&mut params);
        let der = issue(&tpm, &params, &root);
        let found = vouch(&ek(&tpm), &[&der], &roots, NOW).unwrap_err();
        assert_eq!(matches!(found, ChainFault::Form(_)), is_form, "{found}");
        assert_eq!(matches!(found, ChainFault::Chain(_)), !is_form, "{found}");
    };
    let extensions = |list: Vec<CustomExtension>| {
        move |params: &mut CertificateParams| params.custom_extensions.clone_from(&list)
    };
    let purpose = || purposes(&[EK_PURPOSE]);
    check(&extensions(vec![description(TPM), purposes(&[])]), false);
    check(&extensions(vec![description(TPM), purposes(&[&[0x2b, 6, 1, 5, 5, 7, 3, 2]])]), false);
    check(&extensions(vec![purpose()]), true);
    check(&extensions(vec![description(&TPM[..2]), purpose()]), true);
    check(&extensions(vec![description(&[TPM[0], TPM[0], TPM[1], TPM[2]]), purpose()]), true);
    let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
    unknown.set_criticality(true);
    check(&extensions(vec![description(TPM), purpose(), unknown]), false);
    check(&|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), true);
    check(&|params| params.not_before = date_time_ymd(2027, 1, 1), false);
    check(&|params| params.not_after = date_time_ymd(2025, 1, 1), false);

    // Without a purpose it is for every purpose.
    let mut params = certificate();
    params.custom_extensions = vec![description(TPM)];
    assert!(vouch(&ek(&tpm), &[&issue(&tpm, &params, &root)], &roots, NOW).is_ok());
}

#[test]
fn only_roots_that_were_named_count() {
    let (tpm, root, stranger) = (PaperTpm::new(), authority("maker"), authority("maker"));
    let der = issue(&tpm, &certificate(), &root);
    let foreign = EkRoots::new([stranger.der().as_ref()]).unwrap();
    for (chain, roots) in [
        (vec![&der[..]], &foreign),
        (vec![&der[..], root.der().as_ref()], &foreign),
        (vec![&der[..]], &EkRoots::default()),
    ] {
        assert!(matches!(vouch(&ek(&tpm), &chain, roots, NOW), Err(ChainFault::Chain(_))));
    }
    let roots = EkRoots::new([root.der().as_ref()]).unwrap();
    assert_eq!(vouch(&ek(&tpm), &[], &roots, NOW), Err(ChainFault::Absent));
    assert_eq!(vouch(&ek(&tpm), &[&der[..]; 6], &roots, NOW), Err(ChainFault::Limit));
    let long = vec![0x30; 4097];
    assert_eq!(vouch(&ek(&tpm), &[&der[..], &long], &roots, NOW), Err(ChainFault::Limit));
}

#[test]
fn no_byte_of_a_certificate_can_be_another() {
    let (tpm, root) = (PaperTpm::new(), authority("maker"));
    let der = issue(&tpm, &certificate(), &root);
    let roots = EkRoots::new([root.der().as_ref()]).unwrap();
    for at in 0..der.len() {
        let mut changed = der.clone();
        changed[at] ^= 1;
        assert!(vouch(&ek(&tpm), &[&changed], &roots, NOW).is_err(), "byte {at}");
    }
    for cut in 0..der.len() {
        assert!(vouch(&ek(&tpm), &[&der[..cut]], &roots, NOW).is_err(), "cut at {cut}");
    }
    let key = PublicKey::from_raw(KeyAlgorithm::P256, &tpm.ek_point()).unwrap();
    assert_eq!(ek(&tpm).key(), &key);
}
