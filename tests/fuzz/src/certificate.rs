//! Certificates, requests, revocation lists and OCSP requests: whatever the bytes, reading ends and says yes or no, and
//! no chain stands on what nobody signed.

use kos_identity::{
    certificate::{Certificate, DeviceFacts, presented_key},
    chain::{self, Anchors, Clock, Usage},
    crl::{RevocationView, VerifiedCrl},
    csr, ocsp,
};

use crate::{
    Verdict,
    cast::{DEVICE, ISSUING_1, ROOT, certificate},
};

/// The one list that the golden issuing CA has signed.
const LIST: &[u8] = include_bytes!("../../../fuzz/corpus/certificate/list.crl");

/// Reads the bytes as everything that is DER.
pub fn run(bytes: &[u8]) -> Verdict {
    let (root, issuing) = (certificate(ROOT), certificate(ISSUING_1));
    let list = VerifiedCrl::parse(bytes, &issuing);
    assert!(list.is_err() || bytes == LIST, "nobody signed this list");

    let key = presented_key(bytes);
    let request = csr::Request::parse(bytes, csr::Request::BYTES_MAX);
    let question = ocsp::Request::parse(bytes);
    if let Ok(question) = &question {
        assert!((1..=ocsp::Request::QUESTIONS_MAX).contains(&question.questions().count()));
        let _ = question.issuer([&root, &issuing]);
    }
    let facts = DeviceFacts::from_der(bytes);
    if let Ok(facts) = &facts {
        assert_eq!(facts.to_der().as_deref(), Ok(bytes));
    }
    let presented = Certificate::parse(bytes);
    if let Ok(presented) = &presented {
        check(bytes, presented, &root);
    }
    let readings = [
        Verdict::of(&list),
        Verdict::of(&key),
        Verdict::of(&request),
        Verdict::of(&question),
        Verdict::of(&facts),
    ];
    readings.into_iter().fold(Verdict::of(&presented), Verdict::or)
}

fn check(bytes: &[u8], presented: &Certificate, root: &Certificate) {
    assert_eq!(presented.der(), bytes);
    let _ = (presented.subject(), presented.issuer(), presented.authority(), presented.issuer_class());
    let _ = VerifiedCrl::parse(bytes, presented);
    let view = RevocationView::default();
    for pin in [root.key_id(), presented.key_id()] {
        let chain = [bytes, ISSUING_1, ROOT, bytes];
        let peer = chain::verify(Clock::Untrusted, Usage::Client, &chain, &Anchors::pins(vec![pin]), &view);
        assert!(peer.is_err() || bytes == DEVICE, "nobody signed this certificate");
    }
}
