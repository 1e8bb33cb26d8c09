//! What programs of others say: OpenSSL, GnuTLS, BoringSSL, a WebSocket client, a QUIC client, an HPKE.
//!
//! A judge that is missing fails its test; `cargo xtask test deps` installs them.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod attic;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
};

use attic::{
    Authority, Holder,
    port::{Port, Serves},
};
use kos_base::{KeyAlgorithm, SecurityProfile, key::SignatureForm};
use kos_net::{
    keys::{AgreementSecret, SigningKey, seal},
    tls::{Accepted, Exporter, Facts, Group, HandshakeError, PeerError, Protocol, ServerTls, Suite},
};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The files that a client needs.
struct Files {
    dir: TempDir,
}

impl Files {
    fn new(attic: &Authority, holder: &Holder) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let chain: String = holder.certified.cert[..2].iter().map(|der| pem("CERTIFICATE", der)).collect();
        std::fs::write(dir.path().join("ca.pem"), attic.root.pem()).unwrap();
        std::fs::write(dir.path().join("cert.pem"), chain).unwrap();
        std::fs::write(dir.path().join("key.pem"), pem("PRIVATE KEY", &holder.key.to_pkcs8().unwrap()))
            .unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Runs a judge to its end, without blocking the server under judgement.
async fn run(mut command: Command) -> Output {
    let name = format!("{command:?}");
    command.stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    output.unwrap_or_else(|error| unreachable!("{name}: {error}; run `cargo xtask test deps`"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

fn python(script: &str) -> Command {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(crate_dir.join("../../target/judges/bin/python"));
    command.arg(crate_dir.join("tests/judges").join(script));
    command
}

/// A server for one handshake at a time.
struct Server {
    tls: Arc<ServerTls>,
    listener: TcpListener,
    address: String,
}

impl Server {
    async fn new(attic: &Authority) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Self { tls: attic.server_tls(), listener, address }
    }

    /// Serves `client` one handshake, an answer that fits every protocol, and an end.
    async fn meet(&self, client: Command) -> (Result<Facts, HandshakeError>, String) {
        let mut client = tokio::spawn(run(client));
        let stream = tokio::select! {
            met = self.listener.accept() => met.unwrap().0,
            left = &mut client => unreachable!("the judge did not come: {}", said(&left.unwrap())),
        };
        let accepted = self.tls.accept(stream).await;
        let facts = accepted.map(|accepted| match accepted {
            Accepted::Enrolment { stream, facts, .. }
            | Accepted::Klp { stream, facts, .. }
            | Accepted::Http { stream, facts, .. } => (stream, facts),
        });
        let facts = match facts {
            Ok((mut stream, facts)) => {
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
                let _ = stream.shutdown().await;
                Ok(facts)
            }
            Err(error) => Err(error),
        };
        (facts, said(&client.await.unwrap()))
    }
}

fn openssl(server: &Server, files: &Files, arguments: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &server.address, "-verify_return_error", "-verify", "4"]);
    command.arg("-CAfile").arg(files.path("ca.pem"));
    command.arg("-cert").arg(files.path("cert.pem")).arg("-cert_chain").arg(files.path("cert.pem"));
    command.arg("-key").arg(files.path("key.pem"));
    command.args(arguments);
    command
}

#[tokio::test]
async fn openssl_speaks_tls_1_3_with_us_and_exports_the_same_secret() {
    let attic = Authority::today("attic");
    let server = Server::new(&attic).await;
    let files = Files::new(&attic, &attic.operator("anna"));
    for (protocol, purpose) in [(Protocol::Klp, Exporter::Klp), (Protocol::Enrolment, Exporter::Enrolment)] {
        let alpn = str::from_utf8(protocol.alpn()).unwrap();
        let label = str::from_utf8(purpose.label()).unwrap();
        let sessions = files.path("sessions.pem");
        let arguments = ["-ign_eof", "-alpn", alpn, "-keymatexport", label, "-keymatexportlen", "32"];
        let mut client = openssl(&server, &files, &arguments);
        client.arg("-sess_out").arg(&sessions);
        let (facts, said) = server.meet(client).await;
        let facts = facts.unwrap();
        assert_eq!((facts.protocol, facts.suite), (protocol, Suite::Aes256Gcm));
        assert_eq!(facts.group, Group::X25519, "OpenSSL 3.0 has no hybrid");
        let keys = format!("Keying material: {}", hex(facts.exporter(purpose).expose()).to_uppercase());
        let alpn = format!("ALPN protocol: {alpn}");
        for part in
            ["Verify return code: 0 (ok)", "TLS_AES_256_GCM_SHA384", "Server Temp Key: X25519", &keys, &alpn]
        {
            assert!(said.contains(part), "{part}: {said}");
        }
        for part in ["New Session Ticket", "Reused", "Early data was accepted"] {
            assert!(!said.contains(part), "{part}: {said}");
        }
        assert!(!sessions.exists(), "nothing was given that could be resumed");
    }
}

#[tokio::test]
async fn openssl_is_refused_with_old_tls_with_foreign_alpn_and_without_a_certificate() {
    let attic = Authority::today("attic");
    let server = Server::new(&attic).await;
    let good = Files::new(&attic, &attic.operator("anna"));
    let stranger = Files::new(&attic, &Authority::today("attic").operator("anna"));
    for (what, files, arguments, alert) in [
        ("tls 1.2", &good, &["-tls1_2", "-alpn", "klp/1"][..], "alert protocol version"),
        ("no alpn", &good, &[], "no application protocol"),
        ("foreign alpn", &good, &["-alpn", "spdy/3,klp/2"], "no application protocol"),
        ("foreign chain", &stranger, &["-ign_eof", "-alpn", "klp/1"], "unknown ca"),
        (
            "enrolment key at the door of KLP",
            &stranger,
            &["-ign_eof", "-alpn", "kos-enrol/1,klp/1"],
            "unknown ca",
        ),
        ("weak group", &good, &["-alpn", "klp/1", "-groups", "ffdhe2048"], "handshake failure"),
        ("weak signature", &good, &["-alpn", "klp/1", "-sigalgs", "RSA-PSS+SHA256"], "handshake failure"),
    ] {
        let (refused, said) = server.meet(openssl(&server, files, arguments)).await;
        assert!(refused.is_err(), "{what}");
        assert!(said.contains(alert), "{what}: {said}");
    }
    let mut anonymous = Command::new("openssl");
    anonymous.args(["s_client", "-ign_eof", "-connect", &server.address, "-alpn", "http/1.1"]);
    let (refused, said) = server.meet(anonymous).await;
    assert!(refused.is_err() && said.contains("alert certificate required"), "{said}");
}

#[tokio::test]
async fn a_suite_that_is_too_weak_for_the_peers_profile_ends_the_connection() {
    let attic = Authority::today("attic");
    let server = Server::new(&attic).await;
    let suites = ["TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"];
    // Every cell of POLS-1: what each profile may negotiate.
    let table = [
        (SecurityProfile::Sec0, [true, true, true]),
        (SecurityProfile::Sec1, [true, true, true]),
        (SecurityProfile::Sec2, [true, true, false]),
        (SecurityProfile::Sec3, [true, true, false]),
        (SecurityProfile::Sec4, [true, false, false]),
    ];
    let devices =
        table.map(|(profile, row)| (profile.to_string(), Files::new(&attic, &attic.device(profile)), row));
    let operator = ("operator".to_owned(), Files::new(&attic, &attic.operator("anna")), [true, true, false]);
    let everybody = devices.iter().chain([&operator]);
    for (who, files, suite, allowed) in everybody.flat_map(|(who, files, row)| {
        suites.into_iter().zip(*row).map(move |(suite, allowed)| (who, files, suite, allowed))
    }) {
        let client = openssl(&server, files, &["-ign_eof", "-alpn", "klp/1", "-ciphersuites", suite]);
        let (outcome, said) = server.meet(client).await;
        match outcome {
            Ok(facts) => assert!(allowed && facts.suite.as_str() == suite, "{who} {suite}"),
            Err(HandshakeError::Policy(_)) => assert!(!allowed, "{who} {suite}"),
            Err(other) => unreachable!("{who} {suite} {other:?} {said}"),
        }
    }
}

#[tokio::test]
async fn openssl_is_told_that_its_certificate_was_revoked() {
    let attic = Authority::today("attic");
    let server = Server::new(&attic).await;
    let operator = attic.operator_with("anna", KeyAlgorithm::P256);
    server.tls.set_trust(attic.trust_without(&operator));
    let files = Files::new(&attic, &operator);
    let (refused, said) = server.meet(openssl(&server, &files, &["-ign_eof", "-alpn", "h2"])).await;
    assert!(matches!(refused, Err(HandshakeError::Peer(PeerError::Chain(_)))), "{refused:?}");
    assert!(said.contains("alert certificate revoked"), "{said}");
}

#[tokio::test]
async fn gnutls_speaks_tls_1_3_with_us_and_nothing_older() {
    let attic = Authority::today("attic");
    let server = Server::new(&attic).await;
    let files = Files::new(&attic, &attic.operator("anna"));
    let (host, port) = server.address.split_once(':').unwrap();
    let gnutls = |priority: &str, alpn: &str| {
        let mut command = Command::new("gnutls-cli");
        command.args([
            "--port",
            port,
            "--alpn",
            alpn,
            "--priority",
            priority,
            "--verify-hostname",
            "attic.local",
        ]);
        command.arg("--x509cafile").arg(files.path("ca.pem"));
        command.arg("--x509certfile").arg(files.path("cert.pem"));
        command.arg("--x509keyfile").arg(files.path("key.pem")).arg(host);
        command
    };
    let (facts, said) = server.meet(gnutls("NORMAL:-VERS-ALL:+VERS-TLS1.3", "klp/1")).await;
    assert_eq!(facts.unwrap().protocol, Protocol::Klp);
    assert!(said.contains("The certificate is trusted") && said.contains("(TLS1.3-X.509)"), "{said}");

    let suites = [("AES-256-GCM", Suite::Aes256Gcm), ("CHACHA20-POLY1305", Suite::ChaCha20Poly1305)];
    for (cipher, suite) in suites {
        let priority = format!("NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+{cipher}");
        let (facts, said) = server.meet(gnutls(&priority, "h2")).await;
        assert_eq!(facts.unwrap().suite, suite, "{said}");
    }
    for (what, priority, alpn) in [
        ("tls 1.2", "NORMAL:-VERS-ALL:+VERS-TLS1.2", "klp/1"),
        ("foreign alpn", "NORMAL:-VERS-ALL:+VERS-TLS1.3", "imap"),
    ] {
        let (refused, said) = server.meet(gnutls(priority, alpn)).await;
        assert!(refused.is_err() && said.contains("*** Fatal error"), "{what}: {said}");
    }
}

#[tokio::test]
async fn boringssl_agrees_on_the_hybrid_key_exchange_and_on_nothing_else() {
    let attic = Authority::today("attic");
    let server = Server::new(&attic).await;
    let files = Files::new(&attic, &attic.operator_with("anna", KeyAlgorithm::P256));
    let (_, port) = server.address.split_once(':').unwrap();
    let mut client = python("hybrid.py");
    client.arg(port).args(["ca.pem", "cert.pem", "key.pem"].map(|name| files.path(name)));
    let (facts, said) = server.meet(client).await;
    let facts = facts.unwrap();
    assert_eq!((facts.protocol, facts.group), (Protocol::Http1, Group::X25519MlKem768));
    assert_eq!(said.trim(), "204");
}

#[tokio::test]
async fn a_foreign_websocket_client_has_a_link() {
    let said = over_port("websocket.py").await;
    assert_eq!(said.trim(), "echoed\ntext refused\nempty refused\ntoo long refused");
}

#[tokio::test]
async fn a_foreign_quic_client_has_a_link() {
    let said = over_port("quic.py").await;
    assert_eq!(said.trim(), "echoed klp/1");
}

/// Runs a judge against the whole port and returns what it said.
async fn over_port(script: &str) -> String {
    let attic = Authority::today("attic");
    let port = Port::open(attic.server_tls(), Serves::Everything).await;
    let files = Files::new(&attic, &attic.operator_with("anna", KeyAlgorithm::P256));
    let mut client = python(script);
    client.arg(port.address.port().to_string());
    client.args(["ca.pem", "cert.pem", "key.pem"].map(|name| files.path(name)));
    let output = run(client).await;
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

#[tokio::test]
async fn a_foreign_hpke_opens_what_we_seal_and_seals_what_we_open() {
    let own = AgreementSecret::generate().unwrap();
    let sealed = seal(own.public(), b"kos test info", b"kos test aad", b"from kOS").unwrap();
    let mut judge = python("hpke.py");
    judge.args([hex(own.secret().expose()), hex(&own.public().0), hex(&sealed.enc), hex(&sealed.ciphertext)]);
    let output = run(judge).await;
    let said = said(&output);
    let (opened, theirs) = said.split_once('\n').unwrap_or_else(|| unreachable!("{said}"));
    assert_eq!(opened, "from kOS");
    let (enc, ciphertext) = theirs.trim().split_once(' ').unwrap();
    let bytes = |s: &str| data_encoding::HEXLOWER.decode(s.as_bytes()).unwrap();
    let enc: [u8; 32] = bytes(enc).try_into().unwrap();
    let opened = own.open(&enc, b"kos test info", b"kos test aad", &bytes(ciphertext)).unwrap();
    assert_eq!(opened.as_slice(), b"from the judge");
}

#[tokio::test]
async fn openssl_reads_our_keys_and_we_read_those_of_openssl() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.der");
    for (algorithm, made_by) in [
        (KeyAlgorithm::Ed25519, &["-algorithm", "ed25519"][..]),
        (KeyAlgorithm::P256, &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
        (KeyAlgorithm::P384, &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
    ] {
        let ours = SigningKey::generate(algorithm).unwrap();
        std::fs::write(&path, &*ours.to_pkcs8().unwrap()).unwrap();
        let mut read = Command::new("openssl");
        read.args(["pkey", "-inform", "DER", "-pubout", "-outform", "DER", "-in"]).arg(&path);
        assert_eq!(run(read).await.stdout, ours.public().spki_der(), "{algorithm}");

        let theirs = SigningKey::from_pkcs8(&openssl_key(&path, made_by).await).unwrap();
        assert_eq!(theirs.public().algorithm(), algorithm);
        let signature = theirs.sign(SignatureForm::Der, b"message").unwrap();
        assert!(theirs.public().verify(SignatureForm::Der, b"message", &signature).is_ok());
    }
    let rsa = openssl_key(&path, &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]).await;
    assert!(SigningKey::from_pkcs8(&rsa).is_err(), "RSA is not ours");
}

/// A key that OpenSSL made, as PKCS#8.
async fn openssl_key(path: &Path, made_by: &[&str]) -> Vec<u8> {
    let mut make = Command::new("openssl");
    make.arg("genpkey").args(made_by).arg("-out").arg(path);
    assert!(run(make).await.status.success());
    let mut convert = Command::new("openssl");
    convert.args(["pkcs8", "-topk8", "-nocrypt", "-outform", "DER", "-in"]).arg(path);
    run(convert).await.stdout
}
