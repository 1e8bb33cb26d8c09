//! How the real TLS port presents itself to OpenSSL and GnuTLS, and with which alert it sends strangers away.

use kos_e2e::{fleet::Authority, judge::Desk, operator::Operator};

const OPENSSL: &str = "openssl s_client -ign_eof -verify_return_error -CAfile root.pem -connect";

#[test]
fn the_port_sends_old_tls_foreign_protocols_and_strangers_away_with_the_alert_that_fits() {
    let authority = Authority::start().unwrap();
    let anna = Operator::here(&authority, "anna", "admin").unwrap();
    let desk = Desk::new().unwrap();
    for name in ["root.pem", "operator.pem", "operator.key"] {
        desk.put(name, std::fs::read(anna.file(name)).unwrap()).unwrap();
    }
    // Of the same name, from somebody else's authority.
    let other = Authority::start().unwrap();
    let stranger = Operator::here(&other, "anna", "admin").unwrap();
    for name in ["operator.pem", "operator.key"] {
        desk.put(&format!("other-{name}"), std::fs::read(stranger.file(name)).unwrap()).unwrap();
    }
    let address = format!("127.0.0.1:{}", authority.ports().tls);
    let own = "-cert operator.pem -cert_chain operator.pem -key operator.key";
    let strange = "-cert other-operator.pem -cert_chain other-operator.pem -key other-operator.key";
    for (what, arguments, alert) in [
        ("tls 1.2", &format!("-tls1_2 -alpn http/1.1 {own}"), "tlsv1 alert protocol version"),
        ("tls 1.2 at enrolment", &"-tls1_2 -alpn kos-enrol/1".to_owned(), "tlsv1 alert protocol version"),
        ("no protocol", &own.to_owned(), "tlsv1 alert no application protocol"),
        ("a foreign protocol", &format!("-alpn spdy/3,klp/2 {own}"), "tlsv1 alert no application protocol"),
        ("the API without a certificate", &"-alpn http/1.1".to_owned(), "tlsv13 alert certificate required"),
        ("KLP without a certificate", &"-alpn klp/1".to_owned(), "tlsv13 alert certificate required"),
        ("a stranger's certificate", &format!("-alpn http/1.1 {strange}"), "tlsv1 alert unknown ca"),
        ("a weak group", &format!("-alpn http/1.1 -groups ffdhe2048 {own}"), "alert handshake failure"),
        (
            "a weak signature",
            &format!("-alpn http/1.1 -sigalgs RSA-PSS+SHA256 {own}"),
            "alert handshake failure",
        ),
    ] {
        let (yes, said) = desk.ask(&format!("{OPENSSL} {address} {arguments}")).unwrap();
        assert!(!yes && said.contains(alert), "{what}: {said}");
    }
    let gnutls = format!(
        "gnutls-cli --x509cafile root.pem --verify-hostname localhost --port {} 127.0.0.1 --priority",
        authority.ports().tls
    );
    let own = "--x509certfile operator.pem --x509keyfile operator.key";
    let (only_1_2, only_1_3) = ("NORMAL:-VERS-ALL:+VERS-TLS1.2", "NORMAL:-VERS-ALL:+VERS-TLS1.3");
    for (what, arguments, alert) in [
        ("tls 1.2", format!("{only_1_2} --alpn http/1.1 {own}"), "Received alert [70]"),
        ("a foreign protocol", format!("{only_1_3} --alpn imap {own}"), "Received alert [120]"),
        ("the API without a certificate", format!("{only_1_3} --alpn http/1.1"), "Received alert [116]"),
    ] {
        let (yes, said) = desk.ask(&format!("{gnutls} {arguments}")).unwrap();
        assert!(!yes && said.contains(alert), "{what}: {said}");
    }
}

#[test]
fn the_port_speaks_tls_1_3_with_both_and_offers_nothing_to_resume() {
    let authority = Authority::start().unwrap();
    let anna = Operator::here(&authority, "anna", "admin").unwrap();
    let desk = Desk::new().unwrap();
    for name in ["root.pem", "operator.pem", "operator.key"] {
        desk.put(name, std::fs::read(anna.file(name)).unwrap()).unwrap();
    }
    let address = format!("127.0.0.1:{}", authority.ports().tls);
    let own = "-cert operator.pem -cert_chain operator.pem -key operator.key";
    let line = format!(
        "openssl s_client -verify_return_error -verify_hostname localhost -CAfile root.pem -connect {address} \
         -alpn http/1.1 -sess_out session.pem {own}"
    );
    let said = desk.agrees(&line, "Verify return code: 0 (ok)").unwrap();
    for part in ["New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384", "ALPN protocol: http/1.1"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("New Session Ticket"), "{said}");
    assert!(desk.take("session.pem").is_err(), "nothing was given that could be resumed");
    let line = format!(
        "gnutls-cli --x509cafile root.pem --x509certfile operator.pem --x509keyfile operator.key --alpn \
         http/1.1 --verify-hostname localhost --port {} 127.0.0.1",
        authority.ports().tls
    );
    let said = desk.agrees(&line, "The certificate is trusted").unwrap();
    assert!(said.contains("(TLS1.3-X.509)"), "{said}");
}
