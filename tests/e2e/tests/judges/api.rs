//! curl with the certificate of an operator calls what the API exempts from tokens, and nothing else.

use kos_e2e::{
    fleet::Authority,
    judge::{self, Desk},
    operator::Operator,
    wait,
};
use serde_json::Value;

/// What curl got: the HTTP status and the document, or nothing and what curl says instead.
fn call(authority: &Authority, operator: &Operator, path: &str, more: &[&str]) -> (u16, Value, String) {
    let (own, url) = (operator.curl(), format!("https://localhost:{}/api/v1/{path}", authority.ports().tls));
    let mut arguments: Vec<&str> = own.iter().map(String::as_str).collect();
    arguments.extend(["-w", "\n%{http_code}", &url]);
    arguments.extend(more);
    let done = judge::run("curl", &arguments, "").unwrap();
    let (document, status) = done.stdout.rsplit_once('\n').unwrap_or(("", "0"));
    (status.parse().unwrap(), serde_json::from_str(document).unwrap_or(Value::Null), done.stderr)
}

const TICKET: [&str; 2] = ["--json", r#"{"role": "sensor"}"#];

#[test]
fn curl_with_a_certificate_reads_what_needs_no_token_and_nothing_once_its_operator_is_removed() {
    let authority = Authority::start().unwrap();
    let vera = Operator::here(&authority, "vera", "viewer").unwrap();
    let otto = Operator::elsewhere(&authority, "otto", "operator").unwrap();
    for operator in [&vera, &otto] {
        let (status, shown, said) = call(&authority, operator, "status", &[]);
        assert_eq!((status, &shown["kind"]), (200, &"Status".into()), "{shown} {said}");
        let (status, problem, _) = call(&authority, operator, "devices", &[]);
        assert_eq!((status, &problem["code"]), (401, &"KOS-E0820".into()), "{problem}");
        let listed = operator.kosctl(&["--context", "home", "list"]).unwrap();
        assert_eq!(listed.code(), 0, "{}", listed.stderr);
    }
    let before = authority.events().unwrap();
    let (status, problem, _) = call(&authority, &vera, "tickets", &TICKET);
    assert_eq!((status, &problem["code"]), (403, &"KOS-E0870".into()), "{problem}");
    let (status, problem, _) = call(&authority, &otto, "tickets", &TICKET);
    assert_eq!((status, &problem["code"]), (401, &"KOS-E0820".into()), "{problem}");
    assert_eq!(authority.events().unwrap(), before, "a refusal changes nothing");
    let (status, _, _) = call(&authority, &otto, "operators", &[]);
    assert_eq!(status, 403, "operators are for admins");

    authority.json(&["operator", "remove", "otto", "--yes"]).unwrap();
    wait::until("the door to close", || {
        let (status, ..) = call(&authority, &otto, "status", &[]);
        Ok((status == 0).then_some(()))
    })
    .unwrap();
    let file = |name: &str| otto.file(name).to_string_lossy().into_owned();
    let line = format!(
        "openssl s_client -ign_eof -connect 127.0.0.1:{} -alpn http/1.1 -cert {cert} -cert_chain {cert} -key {}",
        authority.ports().tls,
        file("operator.key"),
        cert = file("operator.pem"),
    );
    Desk::new().unwrap().disagrees(&line, "alert certificate revoked").unwrap();
    let refused = otto.kosctl(&["--context", "home", "list"]).unwrap();
    assert_eq!(refused.code(), 4, "{}", refused.stderr);
    assert_eq!(call(&authority, &vera, "status", &[]).0, 200, "vera stays");
}
