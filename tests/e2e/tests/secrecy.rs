//! What must not be seen: secrets in logs, outputs and listings; ports beyond loopback.
#![cfg(test)]

use std::fs;

use kos_e2e::{
    fleet::{self, Authority},
    judge,
    program::{self, files},
};

#[test]
fn no_secret_is_in_a_log_a_listing_or_a_process_title() {
    let authority = Authority::start().unwrap();
    let ticket = authority.ticket(&["--role", "sensor"]).unwrap();
    let (mut device, id) = fleet::device_in_service(&authority, "canary").unwrap();
    let mut heard = authority.errors();
    heard += &device.program().unwrap().errors();
    for arguments in [
        vec!["ticket", "list", "-o", "json"],
        vec!["audit", "list", "-o", "json"],
        vec!["device", "show", &id, "-o", "json"],
        vec!["status", "-o", "json"],
        vec!["doctor"],
    ] {
        let done = authority.kosctl(&arguments).unwrap();
        heard += &done.stdout;
        heard += &done.stderr;
    }
    heard +=
        &judge::agrees("curl", &["-s", &format!("http://127.0.0.1:{}/metrics", authority.ports().web)], "")
            .unwrap();
    let secret = &ticket["kos1.".len() + 80..ticket.len() - 20];
    assert!(!heard.contains(secret), "the ticket's text was heard");
    for (path, bytes) in files(&authority.data().join("authority/keys")).unwrap() {
        if path.extension().is_some_and(|e| e == "key") {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let line = text.lines().find(|l| l.len() > 30 && !l.starts_with("-----")).unwrap_or(&text);
            assert!(!heard.contains(line.trim()), "{} was heard", path.display());
        }
    }
    // Neither is a ticket kept where it was made.
    for (path, bytes) in files(authority.data()).unwrap() {
        assert!(!String::from_utf8_lossy(&bytes).contains(secret), "{}", path.display());
    }
    device.stop().unwrap();
}

#[test]
fn secret_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let authority = Authority::start().unwrap();
    let (mut device, _) = fleet::device_in_service(&authority, "modes").unwrap();
    for folder in [authority.data().join("authority/keys"), device.root().join("etc/kos/secrets")] {
        let mode = fs::metadata(&folder).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700, "{}", folder.display());
        for (path, _) in files(&folder).unwrap() {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", path.display());
        }
    }
    device.stop().unwrap();
}

#[test]
fn nothing_listens_beyond_loopback_before_anybody_says_so() {
    let authority = Authority::start().unwrap();
    let listening = judge::agrees("ss", &["-Hlntup"], "").unwrap();
    let ports = authority.ports();
    let ours: Vec<&str> = listening
        .lines()
        .filter(|l| [ports.web, ports.tls, ports.pki].iter().any(|p| l.contains(&format!(":{p} "))))
        .collect();
    assert_eq!(ours.len(), 4, "three TCP ports and one UDP port: {ours:?}");
    for line in ours {
        assert!(line.contains("127.0.0.1:"), "{line}");
    }
}

#[test]
fn the_tls_port_speaks_nothing_below_tls_1_3() {
    let authority = Authority::start().unwrap();
    let address = format!("127.0.0.1:{}", authority.ports().tls);
    let old =
        judge::run("openssl", &["s_client", "-connect", &address, "-tls1_2", "-alpn", "kos-enrol/1"], "")
            .unwrap();
    assert_ne!(old.code(), 0, "{}", old.stdout);
    let new = judge::run(
        "openssl",
        &["s_client", "-connect", &address, "-tls1_3", "-alpn", "kos-enrol/1", "-showcerts"],
        "",
    )
    .unwrap();
    assert!(new.stdout.contains("TLSv1.3"), "{}{}", new.stdout, new.stderr);
    let api =
        judge::run("curl", &["-sk", "-m", "5", &format!("https://{address}/api/v1/status")], "").unwrap();
    assert_ne!(api.code(), 0, "the API wants a client certificate");
    let missing = program::run("kosctl", &["--server", &format!("https://{address}"), "list"], "").unwrap();
    assert!([2, 4].contains(&missing.code()), "{}", missing.stderr);
}
