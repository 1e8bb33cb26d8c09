//! OCSP as openssl asks and judges it: good, revoked, unknown, by POST and by GET, also of the authority itself.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use kos_authority::{Authority, Options, PortChoice};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    sync::oneshot,
};

/// An authority that serves, and a folder for the files of openssl.
struct Bench {
    folder: TempDir,
    socket: PathBuf,
    pki: u16,
}

impl Bench {
    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn openssl(&self, words: &[&str]) -> String {
        let output = Command::new("openssl").args(words).current_dir(self.folder.path()).output();
        let output = output.expect("openssl is needed: apt-get install openssl");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(output.status.success(), "openssl {words:?}: {said}");
        said
    }

    /// Asks the API; the item of the answer.
    async fn api(&self, method: &str, path: &str, body: &Value) -> Value {
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        let answer = http(stream, method, path, &body.to_string()).await;
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["apiVersion"], "kos.v1", "{answer}");
        answer["item"].clone()
    }

    /// Asks the API for a list; the items of the answer.
    async fn items(&self, path: &str) -> Vec<Value> {
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        let answer: Value = serde_json::from_slice(&http(stream, "GET", path, "").await).unwrap();
        answer["items"].as_array().unwrap().clone()
    }

    async fn fetch(&self, path: &str) -> Vec<u8> {
        let stream = TcpStream::connect(("127.0.0.1", self.pki)).await.unwrap();
        http(stream, "GET", path, "").await
    }

    /// Has the authority certify an operator; the files hold its certificate, the CA that signed it and the root.
    async fn operator(&self, name: &str) {
        let (key, csr) = (self.at("op.key"), self.at("op.csr"));
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"];
        self.openssl(&[&["req", "-new", "-keyout", &key, "-out", &csr], &curve[..]].concat());
        let csr = fs::read_to_string(csr).unwrap();
        let wanted = json!({"name": name, "role": "viewer", "csr": csr});
        let made = self.api("POST", "/api/v1/operators", &wanted).await;
        let chain = made["certificates"].as_str().unwrap();
        let (own, issuer) = chain.split_at(chain.rfind("-----BEGIN").unwrap());
        fs::write(self.at("own.pem"), own).unwrap();
        fs::write(self.at("issuer.pem"), issuer).unwrap();
        fs::write(self.at("root.pem"), made["root"].as_str().unwrap()).unwrap();
    }

    /// What openssl says about the certificate, once it has verified the answer.
    fn judge(&self, about: &[&str], source: &[&str]) -> String {
        let files = ["-issuer", "issuer.pem", "-CAfile", "root.pem", "-VAfile", "issuer.pem"];
        let said = self.openssl(&[&["ocsp"], &files[..], about, source].concat());
        assert!(said.contains("Response verify OK"), "{said}");
        said
    }
}

async fn http<IO: AsyncRead + AsyncWrite + Unpin>(
    mut io: IO,
    method: &str,
    path: &str,
    body: &str,
) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: attic\r\nConnection: close\r\nContent-Length: {length}");
    io.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    io.read_to_end(&mut answer).await.unwrap();
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    answer.split_off(at + 4)
}

/// Percent-encodes what base64 has and a path segment does not.
fn in_path(base64: &str) -> String {
    base64.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D")
}

async fn open(data: &Path) -> Authority {
    Authority::init(data, Some("attic".parse().unwrap()), None).unwrap();
    let (data, port_choice) = (data.to_owned(), PortChoice::Exact);
    Authority::open(Options { data, port_base: Some(0), port_choice, credentials: None }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_is_told_good_revoked_and_unknown_by_post_and_get() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path()).await;
    let tls = authority.ports().tls;
    let bench = Bench { folder, socket: authority.socket(), pki: authority.ports().pki };
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(authority.serve(async { drop(stopped.await) }));
    bench.operator("anna").await;

    let url = format!("http://127.0.0.1:{}/pki/ocsp", bench.pki);
    let own = ["-cert", "own.pem"];
    let said = bench.judge(&own, &["-url", &url]);
    assert!(said.contains("own.pem: good"), "{said}");

    // The same by GET, judged from the file.
    bench.openssl(&["ocsp", "-issuer", "issuer.pem", "-cert", "own.pem", "-no_nonce", "-reqout", "ask.der"]);
    let asked = data_encoding::BASE64.encode(&fs::read(bench.at("ask.der")).unwrap());
    let answer = bench.fetch(&format!("/pki/ocsp/{}", in_path(&asked))).await;
    fs::write(bench.at("answer.der"), answer).unwrap();
    let said = bench.judge(&own, &["-no_nonce", "-respin", "answer.der"]);
    assert!(said.contains("own.pem: good"), "{said}");

    let said = bench.judge(&["-serial", "0x7e57"], &["-url", &url]);
    assert!(said.contains("0x7e57: unknown"), "{said}");

    bench.api("DELETE", "/api/v1/operators/anna", &json!({})).await;
    let said = bench.judge(&own, &["-url", &url]);
    assert!(said.contains("own.pem: revoked"), "{said}");
    assert!(said.contains("Revocation Time"), "{said}");

    // The certificate that the authority itself shows on its TLS port is recorded like any other.
    let shown = bench.openssl(&["s_client", "-connect", &format!("127.0.0.1:{tls}"), "-alpn", "kos-enrol/1"]);
    let (from, end) = (shown.find("-----BEGIN").unwrap(), "-----END CERTIFICATE-----\n");
    let to = shown.find(end).unwrap() + end.len();
    fs::write(bench.at("port.pem"), &shown[from..to]).unwrap();
    let said = bench.judge(&["-cert", "port.pem"], &["-url", &url]);
    assert!(said.contains("port.pem: good"), "{said}");
    let serial = bench.openssl(&["x509", "-in", "port.pem", "-noout", "-serial"]);
    let serial = serial.trim().trim_start_matches("serial=").to_lowercase();
    let recorded = bench.items("/api/v1/audit/entries?eventType=authority_certified").await;
    assert_eq!(recorded.len(), 1);
    assert_eq!(
        recorded[0]["details"]["serial"].as_str().unwrap().trim_start_matches('0'),
        serial.trim_start_matches('0')
    );
    assert_eq!(recorded[0]["target"], json!({"type": "authority", "id": "attic"}));

    // The certificates of the CAs themselves are answered for by the root.
    let ca = ["-issuer", "root.pem", "-cert", "issuer.pem", "-CAfile", "root.pem", "-url", &url];
    let said = bench.openssl(&[&["ocsp"], &ca[..]].concat());
    assert!(said.contains("Response verify OK") && said.contains("issuer.pem: good"), "{said}");

    stop.send(()).unwrap();
    served.await.unwrap().unwrap();
}
