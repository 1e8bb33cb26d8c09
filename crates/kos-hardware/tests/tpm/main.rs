//! A real TPM in software, judged by the tools of others, cleared, locked, killed, and lied about.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop at the first surprise")]

mod attest;
mod between;
mod bus;
mod counter;
mod emulator;
mod faults;

use std::{
    fs,
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::Arc,
    thread,
};

use kos_base::{Secret, code, key::SignatureForm};
use kos_emulator::wait;
use kos_hardware::tpm::{Pcrs, Tpm, TpmAddress};
use kos_net::keys::{certified, self_signed};
use rustls::{ServerConfig, ServerConnection, sign::SingleCertAndKey, version::TLS13};

use emulator::{Emulator, openssl_verifies};

const SECRET: [u8; 32] = *b"what the TPM gives back to us on";

fn secret() -> Secret<32> {
    Secret::new(SECRET)
}

#[test]
fn a_sealed_secret_comes_back_after_a_restart_and_nothing_stays_loaded() {
    let mut emulator = Emulator::new();
    let tpm = emulator.open();
    let sealed = tpm.seal(&secret(), Pcrs::NONE).unwrap();
    assert_eq!(tpm.unseal(&sealed).unwrap(), secret());
    assert_eq!(emulator.left_over(), "");

    emulator.kill();
    emulator.start();
    // The same handle, and one of another process.
    assert_eq!(tpm.unseal(&sealed).unwrap(), secret());
    assert_eq!(emulator.open().unseal(&sealed).unwrap(), secret());
    assert_eq!(emulator.left_over(), "");
}

#[test]
fn a_key_signs_what_openssl_verifies_also_after_a_restart() {
    let mut emulator = Emulator::new();
    let tpm = emulator.open();
    let (blob, public) = tpm.make_key().unwrap();
    let key = tpm.load(&blob).unwrap();
    assert_eq!(key.public(), &public);
    for _ in 0..2 {
        let signature = key.sign(SignatureForm::Der, b"message").unwrap();
        assert!(openssl_verifies(&emulator.path("."), public.spki_der(), b"message", &signature));
        assert!(!openssl_verifies(&emulator.path("."), public.spki_der(), b"messagf", &signature));
        assert_eq!(emulator.left_over(), "");
        emulator.kill();
        emulator.start();
    }
}

#[test]
fn the_tools_of_others_open_what_we_sealed_and_find_the_key_fixed_to_the_tpm() {
    let emulator = Emulator::new();
    let tpm = emulator.open();
    emulator.judge_loads(&tpm.seal(&secret(), Pcrs::NONE).unwrap());
    emulator.judge(&["tpm2_unseal", "-c", "object.ctx", "-o", "unsealed"]);
    assert_eq!(fs::read(emulator.path("unsealed")).unwrap(), SECRET);

    let (blob, public) = tpm.make_key().unwrap();
    emulator.judge_loads(&blob);
    let said = emulator.judge(&["tpm2_readpublic", "-c", "object.ctx", "-f", "der", "-o", "public.der"]);
    assert!(
        said.contains("value: fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign\n"),
        "{said}"
    );
    assert_eq!(fs::read(emulator.path("public.der")).unwrap(), public.spki_der());
    // What it signs we take, and what is signed with another scheme it refuses.
    fs::write(emulator.path("message"), "message").unwrap();
    let sign = ["tpm2_sign", "-c", "object.ctx", "-g", "sha256", "-f", "plain", "-o", "signature", "message"];
    emulator.judge(&sign);
    let signature = fs::read(emulator.path("signature")).unwrap();
    assert_eq!(public.verify(SignatureForm::Der, b"message", &signature), Ok(()));
    let (is_success, _) = emulator.tool(&["tpm2_evictcontrol", "-C", "p", "-c", "object.ctx"]);
    assert!(!is_success);
}

#[test]
fn what_is_sealed_to_a_state_opens_in_that_state_only() {
    let emulator = Emulator::new();
    let tpm = emulator.open();
    let bound = tpm.seal(&secret(), "7,16".parse().unwrap()).unwrap();
    let free = tpm.seal(&secret(), Pcrs::NONE).unwrap();
    assert_eq!(tpm.unseal(&bound).unwrap(), secret());

    let extend =
        |pcr: &str| emulator.judge(&["tpm2_pcrextend", &format!("{pcr}:sha256={}", "11".repeat(32))]);
    extend("8");
    assert_eq!(tpm.unseal(&bound).unwrap(), secret());
    extend("16");
    assert_eq!(tpm.unseal(&bound).unwrap_err().code(), code::hardware::HARDWARE_STATE);
    assert_eq!(tpm.unseal(&free).unwrap(), secret());
    emulator.judge(&["tpm2_pcrreset", "16"]);
    assert_eq!(tpm.unseal(&bound).unwrap(), secret());
    assert_eq!(emulator.left_over(), "");

    // Without the policy nobody gets it, whatever he uses.
    emulator.judge_loads(&bound);
    let (is_success, said) = emulator.tool(&["tpm2_unseal", "-c", "object.ctx"]);
    assert!(!is_success, "{said}");
}

#[test]
fn threads_use_one_tpm_at_once_through_one_handle_and_through_two() {
    let emulator = Emulator::new();
    let (tpm, other) = (emulator.open(), emulator.open());
    let (blob, _) = tpm.make_key().unwrap();
    let sealed = tpm.seal(&secret(), Pcrs::NONE).unwrap();
    let keys = [tpm.load(&blob).unwrap(), tpm.load(&blob).unwrap(), other.load(&blob).unwrap()];
    thread::scope(|scope| {
        for key in &keys {
            scope.spawn(|| {
                for round in 0..20u8 {
                    key.sign(SignatureForm::Fixed, &[round]).unwrap();
                    assert_eq!(tpm.unseal(&sealed).unwrap(), secret());
                }
            });
        }
    });
    assert_eq!(emulator.left_over(), "");
}

#[test]
fn a_tpm_behind_a_port_is_a_tpm() {
    let folder = tempfile::tempdir().unwrap();
    // A port that was free a moment ago may be taken now; another is tried.
    let (mut process, address) = wait::until("swtpm listens on a port", || {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut process = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init", "--tpmstate"])
            .arg(format!("dir={}", folder.path().display()))
            .args(["--server", &format!("type=tcp,port={port}")])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let is_up = wait::until("swtpm starts or ends", || {
            let is_listening = TcpStream::connect(("127.0.0.1", port)).is_ok();
            (is_listening || process.try_wait().unwrap().is_some()).then_some(is_listening)
        });
        is_up.then_some((process, format!("swtpm:localhost:{port}")))
    });
    let tpm = Tpm::open(&address.parse::<TpmAddress>().unwrap()).unwrap();
    let sealed = tpm.seal(&secret(), Pcrs::NONE).unwrap();
    assert_eq!(tpm.unseal(&sealed).unwrap(), secret());
    process.kill().unwrap();
    process.wait().unwrap();
}

/// A key in the TPM is a key of TLS like any other; `openssl` is at the other end.
#[test]
fn a_key_in_the_tpm_answers_for_a_tls_server() {
    let emulator = Emulator::new();
    let tpm = emulator.open();
    let key = tpm.load(&tpm.make_key().unwrap().0).unwrap();
    let certificate = self_signed(&key).unwrap();
    let shown = certified(vec![certificate], Arc::new(key));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]).unwrap();
    let config = config.with_no_client_auth().with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let mut socket = listener.accept().unwrap().0;
        let mut connection = ServerConnection::new(Arc::new(config)).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).unwrap();
        }
    });
    let client = Command::new("openssl")
        .args(["s_client", "-tls1_3", "-brief", "-connect", &address])
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed");
    server.join().unwrap();
    let said = String::from_utf8_lossy(&[client.stdout, client.stderr].concat()).into_owned();
    assert!(said.contains("CONNECTION ESTABLISHED"), "{said}");
    assert!(said.contains("Signature type: ECDSA"), "{said}");
}
