//! Certificates, requests, revocation lists and OCSP requests: whatever the bytes, reading ends and says yes or no, and
//! no chain stands on what nobody signed.

#![no_main]

use kos_identity::{
    certificate::{Certificate, DeviceFacts, presented_key},
    chain::{self, Anchors, Clock, Usage},
    crl::{RevocationView, VerifiedCrl},
    csr, ocsp,
};
use libfuzzer_sys::fuzz_target;

const ROOT: &[u8] = include_bytes!("../corpus/certificate/root.der");
const ISSUING: &[u8] = include_bytes!("../corpus/certificate/issuing-1.der");
const DEVICE: &[u8] = include_bytes!("../corpus/certificate/device.der");

fuzz_target!(|bytes: &[u8]| {
    let (Ok(root), Ok(issuing)) = (Certificate::parse(ROOT), Certificate::parse(ISSUING)) else {
        panic!("the corpus holds a golden authority");
    };
    let _ = presented_key(bytes);
    let _ = csr::Request::parse(bytes, csr::Request::BYTES_MAX);
    assert!(VerifiedCrl::parse(bytes, &issuing).is_err(), "nobody signed this list");
    if let Ok(request) = ocsp::Request::parse(bytes) {
        assert!((1..=ocsp::Request::QUESTIONS_MAX).contains(&request.questions().count()));
        let _ = request.issuer([&root, &issuing]);
    }
    if let Ok(facts) = DeviceFacts::from_der(bytes) {
        assert_eq!(facts.to_der().as_deref(), Ok(bytes));
    }
    let Ok(certificate) = Certificate::parse(bytes) else { return };
    assert_eq!(certificate.der(), bytes);
    let _ = (certificate.subject(), certificate.issuer(), certificate.authority(), certificate.issuer_class());
    let _ = VerifiedCrl::parse(bytes, &certificate);
    let view = RevocationView::default();
    for pins in [vec![root.key_id()], vec![certificate.key_id()]] {
        let presented = [bytes, ISSUING, ROOT, bytes];
        let peer = chain::verify(Clock::Untrusted, Usage::Client, &presented, &Anchors::pins(pins), &view);
        assert!(peer.is_err() || bytes == DEVICE, "nobody signed this certificate");
    }
});
