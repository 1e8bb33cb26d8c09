//! The socket with a device behind it that answers from a table.

use std::{path::PathBuf, process::Command};

use kos_api::{lifecycle::Wipe, local::LocalPairings, routes};
use kos_base::{Channel, DeviceState, SecurityProfile, code};

use super::*;

fn status() -> DeviceStatus {
    DeviceStatus {
        device_id: None,
        name: Some("kitchen".parse().unwrap()),
        state: DeviceState::Unknown,
        state_reason: None,
        authority: None,
        server: None,
        role: None,
        profile: SecurityProfile::Sec2,
        channel: Channel::Stable,
        kid_subject: None,
        identity_key_id: None,
        cert_serial: None,
        cert_not_after: None,
        renew_at: None,
        carrier: None,
        last_heartbeat_at: None,
        health: None,
        image: None,
        keys: None,
        log_entries: None,
        log_delivered: None,
        comparison_code: None,
        witness: None,
        last_alert: None,
        modules: Vec::new(),
        warnings: Vec::new(),
        version: "0.1.0".to_owned(),
    }
}

fn respond(question: Question) {
    let not_enrolled = code::enrolment::NOT_ENROLLED;
    match question {
        Question::Status(reply) => drop(reply.send(status())),
        Question::Identity(reply) => drop(reply.send(Err(not_enrolled))),
        Question::Pairings(reply) => drop(reply.send(LocalPairings::default())),
        Question::AnswerPairing(_, reply) => drop(reply.send(Err(code::pairing::PAIR_UNKNOWN))),
        // Nobody waits for it in these tests.
        Question::Kill(_) | Question::Log(..) | Question::LogHead(_) | Question::LogFile(..) => {}
        Question::Vouch(_, reply) => drop(reply.send(Err(not_enrolled.into()))),
        Question::ConfirmCode(_, reply) => drop(reply.send(())),
        Question::PlanDecommission(reply) => drop(reply.send(Err(not_enrolled))),
        Question::Decommission(order, reply) => {
            assert_eq!(order, DecommissionOrder::default());
            let device_id = "kdev-7f4ac3ghijklmnop".parse().unwrap();
            let state = DeviceState::Decommissioned;
            let wipe = Wipe::Cleared;
            drop(reply.send(Ok(Decommission {
                device_id,
                state,
                revoked_at: None,
                crl_number: None,
                wipe,
                audit_index: None,
            })));
        }
    }
}

/// A socket in a folder of its own, `depth` folders deep.
fn serve(depth: usize) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let below: PathBuf = std::iter::repeat_n("a-folder-with-a-rather-long-name", depth).collect();
    let path = folder.path().join(below).join("kosd.sock");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let (device, mut questions) = mpsc::channel(4);
    tokio::spawn(Socket::listen(&path).unwrap().serve(device));
    tokio::spawn(async move {
        while let Some(question) = questions.recv().await {
            respond(question);
        }
    });
    (folder, path)
}

#[tokio::test]
async fn programs_are_answered_at_paths_of_any_length() {
    for depth in [0, 8] {
        let (_folder, path) = serve(depth);
        let asker = Asker::connect(&path).await.unwrap();
        let answer: DeviceStatus = asker.ask(&routes::LOCAL_STATUS, Vec::new()).await.unwrap();
        assert_eq!(answer, status());
        let asker = Asker::connect(&path).await.unwrap();
        let answer: Decommission = asker.ask(&routes::LOCAL_DECOMMISSION, b"{}".to_vec()).await.unwrap();
        assert_eq!(answer.state, DeviceState::Decommissioned);
    }
}

#[tokio::test]
async fn a_refusal_carries_its_code() {
    let (_folder, path) = serve(0);
    let asker = Asker::connect(&path).await.unwrap();
    let refused = asker.ask::<IdentityChain>(&routes::LOCAL_IDENTITY, Vec::new()).await.unwrap_err();
    assert_eq!(refused.code(), code::enrolment::NOT_ENROLLED);
}

#[tokio::test]
async fn bad_requests_are_refused_with_the_status_that_says_why() {
    let (_folder, path) = serve(0);
    let order = routes::LOCAL_DECOMMISSION.path;
    for (method, target, body, status) in [
        ("GET", "/", "", "404"),
        ("GET", order, "", "405"),
        ("POST", order, "{\"wipe\":true}", "400"),
        ("POST", order, "{", "400"),
        ("POST", &format!("{order}?dryRun=perhaps"), "{}", "400"),
        ("POST", &format!("{order}?dryRun=true"), "{}", "404"),
        ("POST", order, &"x".repeat(BODY_BYTES_MAX + 1), "413"),
        ("GET", routes::LOCAL_STATUS.path, "", "200"),
    ] {
        let socket = path.clone();
        let url = format!("http://localhost{target}");
        let (method, body) = (method.to_owned(), body.to_owned());
        let call = move || {
            let mut curl = Command::new("curl");
            curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "-X", &method, "--data", &body]);
            curl.args(["--max-time", "10", "--unix-socket"]).arg(socket).arg(url).output()
        };
        let output = tokio::task::spawn_blocking(call).await.unwrap().expect("curl is installed");
        assert_eq!(String::from_utf8_lossy(&output.stdout), status, "{target}: {output:?}");
    }
}

#[tokio::test]
async fn a_socket_that_an_earlier_daemon_left_is_replaced_and_nobody_there_is_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kosd.sock");
    assert!(matches!(Asker::connect(&path).await, Err(AskError::Absent)));
    drop(Socket::listen(&path).unwrap());
    assert!(path.exists());
    assert!(matches!(Asker::connect(&path).await, Err(AskError::Absent)));
    drop(Socket::listen(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
}
