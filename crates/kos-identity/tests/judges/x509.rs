//! OpenSSL and GnuTLS judge every certificate, request, revocation list and OCSP answer that this crate makes.
//!
//! They judge the golden certificates; a test beside the writer shows that it still builds exactly these.

use kos_base::{KeyAlgorithm, Timestamp};
use kos_identity::{
    certificate::{Certificate, Serial, oid},
    crl::{self, Entry, VerifiedCrl},
    csr::{CsrError, Request},
    ocsp::{self, Standing},
    registry::RevocationReason,
};

use crate::{desk::Desk, test_keys::TestKey};

/// 2026-11-20T10:20:00Z, as [`crate::desk::NOW`].
const NOW: Timestamp = Timestamp::from_unix_s(1_795_170_000);

/// The golden authority with its CA keys, all its certificates on a desk as PEM.
struct Golden {
    desk: Desk,
    file: serde_json::Value,
}

impl Golden {
    fn new() -> Self {
        let file: serde_json::Value =
            serde_json::from_str(include_str!("../../../../tests/vectors/identity/chain.json")).unwrap();
        let golden = Self { desk: Desk::new(), file };
        for name in ["root", "issuing-1", "issuing-2", "device", "operator", "authority", "identity"] {
            golden.desk.put(&format!("{name}.pem"), golden.certificate(name).pem());
        }
        golden
    }

    fn certificate(&self, name: &str) -> Certificate {
        let hex = self.file["certificates"][name].as_str().unwrap();
        Certificate::parse(&data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap()).unwrap()
    }

    /// The private key of a CA; the seeds are those of `tests/vectors/identity/README.md`.
    fn ca_key(name: &str) -> TestKey {
        match name {
            "root" => TestKey::new(KeyAlgorithm::P384, 1),
            "issuing-1" => TestKey::new(KeyAlgorithm::P256, 2),
            _ => TestKey::new(KeyAlgorithm::P256, 3),
        }
    }

    fn crl(&self, ca: &str, revoked: &[(&str, RevocationReason)]) -> Vec<u8> {
        let entries = revoked.iter().map(|(name, reason)| Entry {
            serial: self.certificate(name).serial(),
            at: NOW,
            reason: *reason,
        });
        let unsigned = crl::build(&self.certificate(ca), crl::next_number(None, NOW), entries, NOW).unwrap();
        let signature = Self::ca_key(ca).sign(unsigned.to_be_signed());
        unsigned.finish(&signature).unwrap()
    }

    /// Puts the three lists on the desk, in one file and each by itself.
    fn put_crls(&self, revoked_by_root: &[(&str, RevocationReason)], revoked: &[(&str, RevocationReason)]) {
        let lists = [
            ("root", self.crl("root", revoked_by_root)),
            ("issuing-1", self.crl("issuing-1", revoked)),
            ("issuing-2", self.crl("issuing-2", &[])),
        ];
        for (ca, der) in &lists {
            self.desk.put(&format!("{ca}.crl"), der);
            self.desk.put(&format!("{ca}.crl.pem"), crl::pem(der));
        }
        let all: String = lists.iter().map(|(_, der)| crl::pem(der)).collect();
        self.desk.put("all.crl.pem", all);
    }
}

#[test]
fn openssl_reads_in_a_device_certificate_what_was_meant() {
    let golden = Golden::new();
    let device = golden.certificate("device");
    let extension = format!("{}: ", oid::IDENTITY_EXTENSION);
    let uri = format!("URI:spiffe://attic/device/{}", device.facts().unwrap().subject.device);
    let text = golden.desk.agree(
        "openssl x509 -in device.pem -noout -text -nameopt RFC2253 -ext subjectAltName",
        &[&uri, "othername: Permanent Identifier:", "othername: 1.3.6.1.5.5.7.8.4:"],
    );
    assert!(!text.contains("DNS:"), "{text}");
    golden.desk.agree(
        "openssl x509 -in device.pem -noout -text",
        &[
            "Version: 3 (0x2)",
            "81:81:81:81:81:81:81:81:81:81:81:81:81:81:81:81",
            "Signature Algorithm: ecdsa-with-SHA256",
            "Not Before: Nov 20 10:15:00 2026 GMT",
            "Not After : Dec  4 10:20:00 2026 GMT",
            &format!("Subject: CN = {}", device.facts().unwrap().subject.device),
            "Public Key Algorithm: ED25519",
            "X509v3 Key Usage: critical\n                Digital Signature\n",
            "X509v3 Extended Key Usage: \n                TLS Web Client Authentication, TLS Web Server Authentication\n",
            "X509v3 CRL Distribution Points",
            "URI:http://pki.attic.example:8642/pki/5a07a723c7956830.crl",
            "CA Issuers - URI:http://pki.attic.example:8642/pki/5a07a723c7956830.crt",
            "OCSP - URI:http://pki.attic.example:8642/pki/ocsp",
            &extension,
        ],
    );
    golden.desk.agree(
        "openssl x509 -in authority.pem -noout -ext subjectAltName",
        &[
            "URI:spiffe://attic/authority",
            "DNS:localhost",
            "IP Address:127.0.0.1",
            "DNS:attic.example",
            "IP Address:192.0.2.7",
        ],
    );
    golden.desk.agree("openssl x509 -in operator.pem -noout -text", &["URI:spiffe://attic/operator/anna"]);
}

#[test]
fn openssl_verifies_every_chain_strictly_with_all_lists() {
    let golden = Golden::new();
    golden.put_crls(&[], &[]);
    for (name, ca, purposes) in [
        ("device", "issuing-1", &["sslclient", "sslserver"][..]),
        ("operator", "issuing-2", &["sslclient"]),
        ("authority", "issuing-2", &["sslclient", "sslserver"]),
    ] {
        for purpose in purposes {
            let line = format!(
                "openssl verify -x509_strict -check_ss_sig -crl_check_all -purpose {purpose} -CAfile root.pem \
                 -CRLfile all.crl.pem -untrusted {ca}.pem {name}.pem"
            );
            golden.desk.agree(&line, &[&format!("{name}.pem: OK")]);
        }
    }
    golden.desk.disagree(
        "openssl verify -purpose sslserver -CAfile root.pem -untrusted issuing-2.pem operator.pem",
        "unsuitable certificate purpose",
    );
    golden.desk.disagree(
        "openssl verify -CAfile root.pem -untrusted issuing-2.pem device.pem",
        "unable to get local issuer",
    );
    golden.desk.agree(
        "openssl verify -verify_hostname attic.example -verify_ip 192.0.2.7 -CAfile root.pem -untrusted issuing-2.pem authority.pem",
        &["OK"],
    );
}

#[test]
fn openssl_refuses_what_a_list_takes_back() {
    let golden = Golden::new();
    let line = "openssl verify -x509_strict -crl_check_all -CAfile root.pem -CRLfile all.crl.pem -untrusted issuing-1.pem device.pem";
    for reason in [RevocationReason::KeyCompromise, RevocationReason::Hold] {
        golden.put_crls(&[], &[("device", reason)]);
        golden.desk.disagree(line, "error 23 at 0 depth lookup: certificate revoked");
    }
    golden.put_crls(&[("issuing-1", RevocationReason::KeyCompromise)], &[]);
    golden.desk.disagree(line, "error 23 at 1 depth lookup: certificate revoked");
}

#[test]
fn openssl_reads_our_lists() {
    let golden = Golden::new();
    golden.put_crls(&[], &[("device", RevocationReason::Superseded)]);
    let wanted = [
        "verify OK",
        "Version 2 (0x1)",
        "Last Update: Nov 20 10:20:00 2026 GMT",
        "Next Update: Nov 27 10:20:00 2026 GMT",
        "X509v3 Authority Key Identifier",
        "X509v3 CRL Number",
        "Serial Number: 81818181818181818181818181818181",
        "Superseded",
    ];
    golden
        .desk
        .agree("openssl crl -inform DER -in issuing-1.crl -noout -text -CAfile issuing-1.pem", &wanted);
    golden.desk.agree("openssl crl -in issuing-1.crl.pem -noout -text -CAfile issuing-1.pem", &wanted);
    golden.desk.agree(
        "openssl crl -in root.crl.pem -noout -text -CAfile root.pem",
        &["verify OK", "No Revoked Certificates"],
    );
}

#[test]
fn gnutls_agrees_about_chains_and_lists() {
    let golden = Golden::new();
    let chain = |names: &[&str]| names.iter().map(|name| golden.certificate(name).pem()).collect::<String>();
    for (name, ca) in [("device", "issuing-1"), ("operator", "issuing-2"), ("authority", "issuing-2")] {
        golden.desk.put("chain.pem", chain(&[name, ca, "root"]));
        golden.desk.agree(
            "certtool --verify-chain --infile chain.pem",
            &["Chain verification output: Verified. The certificate is trusted."],
        );
    }
    golden.desk.put("chain.pem", chain(&["device", "issuing-1"]));
    let line =
        "certtool --verify --load-ca-certificate root.pem --load-crl issuing-1.crl.pem --infile chain.pem";
    golden.put_crls(&[], &[]);
    golden.desk.agree(line, &["Verified. The certificate is trusted."]);
    golden.put_crls(&[], &[("device", RevocationReason::KeyCompromise)]);
    golden.desk.disagree(line, "The certificate chain is revoked");
    golden.desk.agree(
        "certtool --crl-info --infile issuing-1.crl.pem",
        &[
            "Revoked certificates (1)",
            "Serial Number (hex): 0081818181818181818181818181818181",
            "CRL Number",
            "Authority Key Identifier",
        ],
    );
    golden.desk.agree(
        "certtool --verify-crl --load-ca-certificate issuing-1.pem --infile issuing-1.crl.pem",
        &["Verification output: Verified."],
    );
    golden.desk.agree(
        "certtool --certificate-info --infile device.pem",
        &[
            "URI: spiffe://attic/device/",
            "TLS WWW Client",
            "TLS WWW Server",
            &oid::IDENTITY_EXTENSION.to_string(),
        ],
    );
}

#[test]
fn openssl_accepts_our_requests_and_we_accept_its() {
    let desk = Desk::new();
    for key in TestKey::one_of_each() {
        let request = Request::new(key.public()).unwrap();
        let signature = key.sign(request.to_be_signed());
        desk.put("ours.csr", request.finish(&signature).unwrap());
        desk.agree(
            "openssl req -inform DER -in ours.csr -noout -verify -text",
            &["verify OK", "Subject: \n"],
        );
    }
    let p384 = "ec -pkeyopt ec_paramgen_curve:P-384";
    for key in ["ed25519", "ec -pkeyopt ec_paramgen_curve:P-256", &format!("{p384} -sha384")] {
        desk.agree(&format!("openssl req -new -newkey {key} -nodes -keyout key.pem -subj /CN=whoever -outform DER -out its.csr"), &[]);
        let request = Request::parse(&desk.take("its.csr"), Request::BYTES_MAX).unwrap();
        desk.agree("openssl pkey -in key.pem -pubout -outform DER -out key.der", &[]);
        assert_eq!(request.public_key().spki_der(), desk.take("key.der"));
    }
    let weaker_hash = format!(
        "openssl req -new -newkey {p384} -sha256 -nodes -keyout key.pem -subj /CN=whoever -outform DER -out its.csr"
    );
    desk.agree(&weaker_hash, &[]);
    assert_eq!(Request::parse(&desk.take("its.csr"), Request::BYTES_MAX), Err(CsrError::Algorithm));
    desk.agree(
        "openssl req -new -newkey ed25519 -nodes -keyout key.pem -subj /CN=whoever -addext subjectAltName=DNS:a -outform DER -out its.csr",
        &[],
    );
    assert_eq!(Request::parse(&desk.take("its.csr"), Request::BYTES_MAX), Err(CsrError::Attributes));
    desk.agree("openssl req -new -newkey rsa:2048 -nodes -keyout key.pem -subj /CN=whoever -outform DER -out its.csr", &[]);
    assert!(matches!(Request::parse(&desk.take("its.csr"), Request::BYTES_MAX), Err(CsrError::Key(_))));
}

#[test]
fn openssl_accepts_our_ocsp_answers() {
    let golden = Golden::new();
    let desk = &golden.desk;
    let [root, one, two] = ["root", "issuing-1", "issuing-2"].map(|name| golden.certificate(name));
    let judge = |asked: &str, standings: &[Standing], signer: &TestKey| {
        desk.agree(&format!("openssl ocsp -issuer issuing-1.pem {asked} -reqout request.der"), &[]);
        let request = ocsp::Request::parse(&desk.take("request.der")).unwrap();
        assert_eq!(request.issuer([&root, &two, &one]), Ok(&one));
        let unsigned = ocsp::answer(&request, &one, standings, NOW).unwrap();
        let signature = signer.sign(unsigned.to_be_signed());
        desk.put("response.der", unsigned.finish(&signature).unwrap());
        // With `-no_nonce`, openssl keeps the nonce that it has already sent.
        format!(
            "openssl ocsp -issuer issuing-1.pem {asked} -no_nonce -reqin request.der -respin response.der -CAfile root.pem -resp_text"
        )
    };
    let signer = Golden::ca_key("issuing-1");
    let revoked = Standing::Revoked { at: NOW, reason: RevocationReason::KeyCompromise };
    for (standing, word) in [(Standing::Good, "good"), (revoked, "revoked"), (Standing::Unknown, "unknown")] {
        for hash in ["", "-sha256 "] {
            for nonce in ["", "-no_nonce "] {
                let line = judge(&format!("{hash}{nonce}-cert device.pem"), &[standing], &signer);
                let said = desk.agree(&line, &["Response verify OK", &format!("device.pem: {word}")]);
                assert_eq!(said.contains("OCSP Nonce"), nonce.is_empty(), "{said}");
                assert!(!said.contains("WARNING"), "{line}\n{said}");
            }
        }
    }
    let both = judge("-cert device.pem -serial 5", &[revoked, Standing::Unknown], &signer);
    desk.agree(&both, &["Response verify OK", "device.pem: revoked", "Reason: keyCompromise", "5: unknown"]);

    desk.agree("openssl ocsp -issuer issuing-2.pem -cert authority.pem -reqout request.der", &[]);
    let elsewhere =
        ocsp::Request::parse(&desk.take("request.der")).unwrap().issuer([&root, &one]).unwrap_err();
    desk.put("response.der", elsewhere.response());
    let said = desk.ask("openssl ocsp -respin response.der -CAfile root.pem").1;
    assert!(said.contains("Responder Error: unauthorized (6)"), "{said}");
}

#[test]
fn a_list_of_100_000_entries_is_read_by_us_and_by_openssl_and_far_below_the_limit() {
    let golden = Golden::new();
    let issuer = golden.certificate("issuing-1");
    // An odd factor gives each number another product.
    let serial = |n: u128| {
        Serial::from_random(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes())
    };
    let reason = RevocationReason::Superseded;
    let entries = (1..=100_000).map(|n| Entry { serial: serial(n), at: NOW, reason });
    let unsigned = crl::build(&issuer, 1, entries, NOW).unwrap();
    let signature = Golden::ca_key("issuing-1").sign(unsigned.to_be_signed());
    let der = unsigned.finish(&signature).unwrap();
    let list = VerifiedCrl::parse(&der, &issuer).unwrap();
    assert!(der.len() < VerifiedCrl::BYTES_MAX / 3, "{} bytes", der.len());
    assert_eq!(list.len(), 100_000);
    assert_eq!(list.find(serial(77)), Some(Some(reason)));
    golden.desk.put("large.crl", &der);
    golden.desk.agree("openssl crl -inform DER -in large.crl -noout -CAfile issuing-1.pem", &["verify OK"]);
}
