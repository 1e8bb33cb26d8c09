//! Certificates with which nobody gets past the TLS port: each is refused with its code, and leaves no trace of presence.

use kos_base::{Code, code::certificate as codes};
use kos_identity::certificate::IssuerClass;
use kos_net::tls::HandshakeError;
use rcgen::ExtendedKeyUsagePurpose;
use tokio::io::duplex;

use super::*;
use crate::{fixtures::Terms, reception::MisuseBook, server::front::Front};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How the port judges whoever shows this certificate.
async fn judged(front: &Front, client: &ClientTls) -> Option<Code> {
    let (near, far) = duplex(16 * 1_024);
    let host = HERE.parse().unwrap();
    // The client has said all that it has to when the server judges: its own handshake may well succeed.
    let (accepted, _connected) =
        tokio::join!(front.tls().accept(far), client.connect(near, &host, Protocol::Klp));
    match accepted {
        Ok(_) => None,
        Err(refused @ HandshakeError::Peer(_)) => Some(refused.code()),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_certificate_that_does_not_count_is_refused_with_its_code_and_gets_no_link() {
    let (attic, cellar) = (Running::new().await, Running::new().await);
    let front = Front::new(&attic.shared, Arc::new(MisuseBook::default())).await.unwrap();
    let (device, record) = Enrolled::device(&attic.shared, 1).await;
    let (foreign, _) = Enrolled::device(&cellar.shared, 1).await;
    assert_eq!(judged(&front, &device.client(&attic.shared)).await, None);

    let now = clock::now();
    let good = || Terms::in_service(now);
    // Not from before its CA, which would be another fault.
    let from = attic.shared.keys.issuing_certificate(IssuerClass::One).not_before();
    let expired = Terms { from, until: from.plus(Duration::from_secs(1)), ..good() };
    let early = Terms { from: now.plus(DAY), until: now.plus(2 * DAY), ..good() };
    let purpose = Terms { purposes: vec![ExtendedKeyUsagePurpose::CodeSigning], ..good() };
    let serving = Terms { purposes: vec![ExtendedKeyUsagePurpose::ServerAuth], ..good() };
    // It trusts the server, and has its own certificate from elsewhere.
    let foreign =
        ClientTls { certified: foreign.client(&cellar.shared).certified, ..device.client(&attic.shared) };
    let of = |terms: &Terms| device.on(&attic.shared, &record, terms).client(&attic.shared);
    for (client, code) in [
        (of(&expired), codes::CERT_EXPIRED),
        (of(&early), codes::CERT_NOT_YET_VALID),
        (of(&purpose), codes::CERT_PURPOSE),
        (of(&serving), codes::CERT_PURPOSE),
        (foreign, codes::CERT_CHAIN),
    ] {
        assert_eq!(judged(&front, &client).await, Some(code));
        for carrier in Carrier::LADDER {
            let target = Target::from(Endpoint::from(attic.at(HERE)));
            let dialled = Connector::default().dial(&[carrier], &target, &client).await;
            // TLS 1.3 lets a client believe that it is in until it listens.
            if let Ok(mut link) = dialled {
                let heard = timeout(SOON, link.receiver.recv()).await.unwrap();
                assert!(!matches!(heard, Ok(Some(_))), "{code} over {carrier}");
            }
        }
        assert!(attic.shared.links.is_empty(), "{code}");
    }

    let admin = fixtures::operator(&attic.shared, "anna", OperatorRole::Admin).await;
    let body = json!({"reason": "stolen"});
    let path = format!("/api/v1/devices/{}/quarantine", record.id);
    let ask = put(&path, &body).replacen("PUT", "POST", 1);
    let (status, answer, _) = attic.ask(HERE, &admin, &ask).await;
    assert_eq!(status, 200, "{answer}");
    let revoked = Front::new(&attic.shared, Arc::new(MisuseBook::default())).await.unwrap();
    assert_eq!(judged(&revoked, &device.client(&attic.shared)).await, Some(codes::CERT_REVOKED));
    drop((front, revoked));
    attic.end().await;
    cellar.end().await;
}
