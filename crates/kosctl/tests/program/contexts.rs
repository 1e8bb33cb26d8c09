//! Saved servers, and operators who get their certificates.

use std::os::unix::fs::PermissionsExt as _;

use kos_api::{
    operator::{CreateOperator, Operator, OperatorRole, OperatorState},
    plan::Plan,
    text::OperatorName,
};

use crate::{
    pki::{Pki, api_serial, now},
    program::User,
    stand_in::{Asked, StandIn, Told},
};

/// An authority that makes operators.
fn authority(pki: Pki) -> StandIn {
    StandIn::start(move |asked: &Asked| {
        if asked.method == "DELETE" {
            return Told::nothing_there();
        }
        let request: CreateOperator = serde_json::from_slice(&asked.body).unwrap();
        let (own, chain) = pki.grant(request.name.as_ref(), &request.csr);
        Told::item(Operator {
            name: request.name,
            role: request.role,
            key_id: own.key_id(),
            cert_serial: api_serial(&own),
            cert_not_after: own.not_after(),
            created_at: pki.now,
            state: OperatorState::Active,
            certificates: Some(chain),
            root: Some(pki.root.pem()),
        })
    })
}

#[test]
fn a_context_for_an_operator_is_made_in_one_command_on_the_authority() {
    let server = authority(Pki::new(now()));
    let user = User::new().with("KOS_SERVER", &server.server());
    let words = [
        "context",
        "add",
        "attic",
        "--server",
        "https://attic.local:8641",
        "--operator",
        "anna",
        "--role",
        "admin",
    ];
    let run = user.run(&[&words[..], &["-o", "json"]].concat());
    assert_eq!(run.code, 0, "{run:?}");
    let item = run.json()["item"].clone();
    assert_eq!((&item["operator"], &item["server"]), (&"anna".into(), &"https://attic.local:8641".into()));
    assert_eq!(item["current"], false, "a context is used when somebody says so");
    let asked: CreateOperator = serde_json::from_slice(&server.asked()[0].body).unwrap();
    assert_eq!((asked.name, asked.role), ("anna".parse::<OperatorName>().unwrap(), OperatorRole::Admin));

    let folder = user.home.path().join(".config/kos/contexts/attic");
    for (name, mode) in
        [("", 0o700), ("operator.key", 0o600), ("operator.pem", 0o600), ("context.yaml", 0o600)]
    {
        let found = std::fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name}");
    }
    assert_eq!(user.run(&words).code, 2, "a context is not overwritten");
}

#[test]
fn an_operator_of_a_context_can_be_planned_and_nothing_is_saved() {
    let server = StandIn::start(|asked: &Asked| {
        assert!(asked.path.ends_with("/operators?dryRun=true"), "{}", asked.path);
        let effects = vec!["log: operator_added".to_owned()];
        Told::item(Plan { action: "operator-create".into(), object: None, changes: vec![], effects })
    });
    let user = User::new().with("KOS_SERVER", &server.server());
    let words = ["context", "add", "attic", "--server", "https://attic.local:8641", "--dry-run"];
    let run = user.run(&[&words[..], &["--operator", "anna", "-o", "json"]].concat());
    assert_eq!((run.code, run.json()["kind"].as_str()), (10, Some("Plan")), "{run:?}");
    assert!(!user.home.path().join(".config/kos/contexts/attic").exists());
    assert_eq!(user.run(&words).code, 2, "without an operator no server would be asked");
}

#[test]
fn contexts_are_listed_used_shown_and_forgotten() {
    let server = StandIn::start(|_| Told::nothing_there());
    let user = User::new();
    for name in ["one", "two"] {
        assert_eq!(user.run(&["context", "add", name, "--server", &server.server()]).code, 0);
    }
    assert_eq!(user.run(&["context", "list", "-o", "name"]).out, "one\ntwo\n");
    assert_eq!(user.run(&["status"]).code, 7, "no context is used by itself");
    assert_eq!(user.run(&["context", "use", "one"]).code, 0);
    assert_eq!(user.run(&["status"]).code, 3, "the current context leads to the server");
    assert_eq!(user.run(&["context", "use", "two", "-o", "json"]).json()["item"]["current"], true);
    assert_eq!(user.run(&["context", "show", "one", "-o", "json"]).json()["item"]["current"], false);
    assert_eq!(user.run(&["context", "rm", "two"]).code, 2, "nobody is there to say yes");
    assert_eq!(user.run(&["context", "rm", "two", "-y"]).code, 0);
    assert_eq!(user.run(&["context", "list", "-o", "name"]).out, "one\n");
    let missing = user.run(&["context", "show", "two", "-o", "json"]);
    assert_eq!((missing.code, missing.failure()["code"].as_str()), (3, Some("KOS-E0013")));
    assert_eq!(user.run(&["context", "use", "../one"]).code, 2);
    assert_eq!(user.run(&["list", "--context", "nope"]).code, 3);
}

#[test]
fn a_certificate_for_another_key_does_not_complete_a_context() {
    let pki = Pki::new(now());
    let user = User::new();
    let add = |name: &str, csr: &str| {
        let run = user.run(&["context", "add", name, "--server", "https://a.local:8641", "--csr", csr]);
        assert_eq!(run.code, 0, "{run:?}");
        std::fs::read_to_string(user.path(csr)).unwrap()
    };
    let (_, other) = (add("one", "one.csr"), add("two", "two.csr"));
    let (_, chain) = pki.grant("anna", &other);
    let bundle = user.write("two.pem", format!("{chain}{}", pki.root.pem()));
    let run = user.run(&["context", "add", "one", "--bundle", &bundle]);
    assert!(run.code == 2 && run.err.contains("another key"), "{run:?}");
    let rootless = user.write("rootless.pem", chain);
    assert_eq!(user.run(&["context", "add", "two", "--bundle", &rootless]).code, 2);
    let waiting = user.run(&["list", "--context", "one", "-o", "json"]);
    assert_eq!((waiting.code, waiting.failure()["code"].as_str()), (3, Some("KOS-E0013")));
}

#[test]
fn an_admin_turns_a_request_into_a_bundle() {
    let server = authority(Pki::new(now()));
    let user = User::new();
    let add = ["context", "add", "attic", "--server", "https://a.local:8641", "--csr", "anna.csr"];
    assert_eq!(user.run(&add).code, 0);
    let words =
        ["operator", "add", "anna", "--csr", "anna.csr", "--out", "anna.pem", "--server", &server.server()];
    let made = user.run(&words);
    assert!(made.code == 0 && made.out.contains("anna"), "{made:?}");
    assert_eq!(user.run(&["context", "add", "attic", "--bundle", "anna.pem"]).code, 0);
    let removed = user.run(&["operator", "remove", "anna", "-y", "--server", &server.server()]);
    assert_eq!(removed.code, 3);
    assert_eq!(server.lines().last().unwrap(), "DELETE /api/v1/operators/anna");
    assert_eq!(server.asked().last().unwrap().json(), serde_json::json!({}), "a body without anything in it");
}
