//! Tokens of requests: foreign tools make the same, and what only a token stops is stopped.
#![cfg(test)]

use kos_e2e::{fleet::Authority, judge::Desk, operator::Operator};
use serde_json::{Value, json};

#[test]
fn foreign_libraries_make_the_same_tokens() {
    let desk = Desk::new().unwrap();
    let folder = desk.at("");
    let (agrees, said) = desk.python("tests/e2e/judge/token_vectors.py", &[&folder]).unwrap();
    assert!(agrees && said.trim() == "6", "{said}");
}

#[test]
fn whoever_only_writes_into_a_connection_of_an_operator_changes_nothing() {
    let mut authority = Authority::start().unwrap();
    let otto = Operator::here(&authority, "otto", "operator").unwrap();
    let before = authority.events().unwrap();
    let port = authority.ports().tls.to_string();
    let [root, certificate, key] = ["root.pem", "operator.pem", "operator.key"]
        .map(|name| otto.file(name).to_string_lossy().into_owned());
    let arguments = [port.as_str(), &root, &certificate, &key];
    let (done, said) = Desk::new().unwrap().python("tests/e2e/judge/token_client.py", &arguments).unwrap();
    assert!(done, "{said}");
    let answers: Value = serde_json::from_str(&said).unwrap();
    let made = json!([200, null]);
    let refused = |code: &str| json!([401, code]);
    for (what, wanted) in [
        ("exempt without a token", made.clone()),
        ("read without a token", refused("KOS-E0820")),
        ("change without a token", refused("KOS-E0820")),
        ("change with its token", made.clone()),
        ("the same bytes again", refused("KOS-E0823")),
        ("on the other connection", refused("KOS-E0822")),
        ("another body", refused("KOS-E0822")),
        ("another path", refused("KOS-E0822")),
        ("long ago", refused("KOS-E0824")),
        ("too early", refused("KOS-E0824")),
        ("two tokens", refused("KOS-E0821")),
        ("nonsense", refused("KOS-E0821")),
        ("too long", refused("KOS-E0821")),
        ("inserted behind a good one", json!([made, refused("KOS-E0820")])),
        ("a replay behind a good one", json!([made, refused("KOS-E0823")])),
        ("the other one's own token", made.clone()),
        ("another header", refused("KOS-E0822")),
        ("a header taken away", refused("KOS-E0822")),
        ("a header twice", refused("KOS-E0822")),
        ("a header of its own", made.clone()),
        ("overtaken", made),
    ] {
        assert_eq!(answers[what], wanted, "{what}");
    }
    let events = authority.events().unwrap();
    let after: Vec<_> = events.iter().skip(before.len()).collect();
    assert_eq!(after.iter().filter(|event| **event == "ticket_created").count(), 6, "{after:?}");

    // kosctl makes its own, also for several requests on one connection.
    for arguments in [&["list"][..], &["ticket", "create", "--role", "sensor"], &["audit", "verify"]] {
        let done = otto.kosctl(&[&["--context", "home"], arguments].concat()).unwrap();
        assert_eq!(done.code(), 0, "{arguments:?}: {}", done.stderr);
    }

    // What was refused is in the log, by the minute or at the end.
    authority.stop().unwrap();
    authority.serve().unwrap();
    let listed = authority.json(&["audit", "list", "--limit", "500"]).unwrap().to_string();
    for code in ["KOS-E0820", "KOS-E0821", "KOS-E0822", "KOS-E0823", "KOS-E0824"] {
        assert!(listed.contains(code), "{code} is not recorded");
    }
}
