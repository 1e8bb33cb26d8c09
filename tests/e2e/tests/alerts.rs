//! Alerts with the real programs: raised once, seen by receivers that are not ours, whoever is killed in between.
#![cfg(test)]

use std::{fs, process::Command};

use kos_base::EntryId;
use kos_e2e::{
    fleet::{Authority, Device, Ports},
    judge::{self, Desk},
    operator::Operator,
    program::{self, Finished, Program},
    ticket::Ticket,
    wait,
};
use serde_json::Value;

const PASSPHRASE: &str = "correct horse battery staple";

/// Raises an alert for every ticket that is made.
const EACH_TICKET: &str = "\
rules:
- name: each-ticket
  severity: low
  summary: A ticket was made
  matches: [{events: [ticket_created]}]
  when: each
  per: target
";

fn vault(authority: &Authority, words: &[&str], input: &str) -> Finished {
    let server = format!("unix:{}", authority.socket().display());
    program::run("kosctl", &[&["--server", &server, "--no-input", "vault"], words].concat(), input).unwrap()
}

/// Five passphrases that do not open a vault.
fn guess(authority: &Authority) {
    assert_eq!(vault(authority, &["unlock", "--create"], PASSPHRASE).code(), 0);
    assert_eq!(vault(authority, &["lock"], "").code(), 0);
    for n in 0..5 {
        assert_eq!(vault(authority, &["unlock"], &format!("wrong passphrase number {n}")).code(), 5);
    }
}

fn alerts(authority: &Authority) -> Vec<Value> {
    authority.json(&["audit", "alerts", "list"]).unwrap()["items"].as_array().unwrap().clone()
}

/// The alerts of a rule, once there are any.
fn raised(authority: &Authority, rule: &str) -> Vec<Value> {
    wait::until(rule, || {
        let found: Vec<_> = alerts(authority).into_iter().filter(|alert| alert["rule"] == rule).collect();
        Ok((!found.is_empty()).then_some(found))
    })
    .unwrap()
}

fn entries_of(authority: &Authority, event: &str) -> Vec<Value> {
    let list = authority.json(&["audit", "list", "--event", event]).unwrap();
    list["items"].as_array().unwrap().clone()
}

/// The path of a file with this content.
fn write(desk: &Desk, name: &str, content: &str) -> String {
    desk.put(name, content).unwrap();
    desk.at(name)
}

fn apply(authority: &Authority, desk: &Desk, rules: &str) -> Finished {
    let file = write(desk, "rules.yaml", rules);
    authority.kosctl(&["audit", "alerts", "rules", "apply", &file, "--yes"]).unwrap()
}

/// A receiver that is not ours.
struct Receiver {
    program: Program,
}

impl Receiver {
    fn start(port: u16, secret: &str, tls: &[&str]) -> Self {
        let mut python = Command::new("python3");
        let script = judge::workspace("tests/e2e/receivers/webhook.py");
        python.arg(script).arg(port.to_string()).arg(secret).args(tls);
        let mut program = Program::of("python3", python, "").unwrap();
        program.line(|line| line.starts_with("ready")).unwrap();
        Self { program }
    }

    /// What it got next.
    fn got(&mut self) -> Value {
        let line = self.program.line(|line| line.starts_with('{')).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

/// Names a webhook and keeps its secret in a file.
fn add_webhook(authority: &Authority, desk: &Desk, url: &str, more: &[&str]) -> String {
    let words = [&["guardian", "add", "pager", "--webhook", url], more].concat();
    let added = authority.json(&words).unwrap();
    write(desk, "secret", added["item"]["secret"].as_str().unwrap())
}

#[test]
fn five_wrong_passphrases_raise_one_alert_that_a_foreign_receiver_believes() {
    let authority = Authority::start().unwrap();
    let desk = Desk::new().unwrap();
    let port = Ports::free().unwrap().web;
    let secret = add_webhook(&authority, &desk, &format!("http://127.0.0.1:{port}/hook?a=b"), &[]);
    let mut receiver = Receiver::start(port, &secret, &[]);

    let tested = authority.kosctl(&["audit", "alerts", "test", "pager"]).unwrap();
    assert_eq!(tested.code(), 0, "{}{}", tested.stdout, tested.stderr);
    let got = receiver.got();
    assert_eq!((&got["ok"], &got["body"]["data"]["test"]), (&true.into(), &true.into()), "{got}");

    guess(&authority);
    let [alert] = raised(&authority, "failed-unlocks").try_into().unwrap();
    assert_eq!(
        (&alert["count"], &alert["severity"], &alert["state"]),
        (&5.into(), &"high".into(), &"raised".into())
    );
    assert_eq!(alert["about"]["type"], "vault");
    let got = receiver.got();
    assert_eq!(got["ok"], true, "{got}");
    assert_eq!((&got["id"], &got["path"]), (&alert["alertId"], &"/hook?a=b".into()));
    let data = &got["body"]["data"];
    assert_eq!((&data["rule"], &data["index"]), (&alert["rule"], &alert["index"]));

    // The entry is there once, names the five, and is proven like any other.
    let [entry] = entries_of(&authority, "alert_raised").try_into().unwrap();
    assert_eq!((&entry["index"], &entry["target"]["id"]), (&alert["index"], &alert["alertId"]));
    assert_eq!(entry["details"]["entries"].as_array().unwrap().len(), 5);
    for index in entry["details"]["entries"].as_array().unwrap() {
        let named = authority.json(&["audit", "show", &index.to_string()]).unwrap();
        assert_eq!(named["item"]["eventType"], "vault_unlock_failed");
    }
    let verdict = authority.json(&["audit", "verify"]).unwrap();
    assert_eq!(verdict["item"]["ok"], true, "{verdict}");

    // A receiver that is told with another secret believes nothing.
    fs::write(&secret, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
    let tested = authority.kosctl(&["audit", "alerts", "test", "pager"]).unwrap();
    assert_eq!(tested.code(), 10, "{}", tested.stdout);
    assert!(tested.stdout.contains("it answered 401"), "{}", tested.stdout);
}

#[test]
fn a_receiver_that_is_away_gets_every_alert_when_it_is_back_though_the_authority_was_killed() {
    let mut authority = Authority::start_with("alert_undelivered_seconds: 10\n").unwrap();
    let desk = Desk::new().unwrap();
    let port = Ports::free().unwrap().web;
    let secret = add_webhook(&authority, &desk, &format!("http://127.0.0.1:{port}/"), &[]);
    assert_eq!(apply(&authority, &desk, EACH_TICKET).code(), 0);
    for _ in 0..3 {
        authority.ticket(&["--role", "sensor"]).unwrap();
    }
    wait::until("three alerts", || Ok((raised(&authority, "each-ticket").len() == 3).then_some(()))).unwrap();
    wait::until("the trouble", || {
        let list = authority.json(&["guardian", "list"])?;
        Ok((list["items"][0]["trouble"].is_string()).then_some(()))
    })
    .unwrap();
    wait::until("the entry about it", || {
        Ok((!entries_of(&authority, "alert_undelivered").is_empty()).then_some(()))
    })
    .unwrap();
    let doctor = authority.kosctl(&["doctor"]).unwrap();
    assert!(doctor.code() == 10 && doctor.stdout.contains("`pager` is not told"), "{}", doctor.stdout);

    authority.kill().unwrap();
    authority.serve().unwrap();
    let mut receiver = Receiver::start(port, &secret, &[]);
    let wanted: Vec<_> = alerts(&authority).iter().rev().map(|alert| alert["alertId"].clone()).collect();
    let mut got: Vec<Value> = Vec::new();
    while got.len() < wanted.len() {
        let said = receiver.got();
        assert_eq!(said["ok"], true, "{said}");
        // A repetition has the same id.
        if !got.contains(&said["id"]) {
            got.push(said["id"].clone());
        }
    }
    assert_eq!(got, wanted);
    wait::until("nothing to wait", || {
        let list = authority.json(&["guardian", "list"])?;
        Ok((list["items"][0]["waiting"] == 0 && list["items"][0]["trouble"].is_null()).then_some(()))
    })
    .unwrap();
    assert_eq!(entries_of(&authority, "alert_undelivered").len(), 1);
}

#[test]
fn an_authority_that_is_killed_again_and_again_raises_every_alert_once() {
    let mut authority = Authority::start().unwrap();
    let desk = Desk::new().unwrap();
    assert_eq!(apply(&authority, &desk, EACH_TICKET).code(), 0);
    for _ in 0..8 {
        for _ in 0..3 {
            authority.ticket(&["--role", "sensor"]).unwrap();
        }
        // Before, while and after the alerts of these are written.
        authority.kill().unwrap();
        authority.serve().unwrap();
    }
    let made: Vec<_> = entries_of(&authority, "ticket_created").iter().map(|e| e["index"].clone()).collect();
    assert_eq!(made.len(), 24);
    let about_tickets = || -> Vec<Value> {
        let all = entries_of(&authority, "alert_raised");
        let of_rule = all.iter().filter(|entry| entry["details"]["rule"] == "each-ticket");
        of_rule.map(|entry| entry["details"]["last"].clone()).collect()
    };
    wait::until("every alert", || Ok((about_tickets().len() >= made.len()).then_some(()))).unwrap();
    // One more is raised after all of the others: whatever was to come twice has come.
    authority.ticket(&["--role", "sensor"]).unwrap();
    wait::until("the last alert", || Ok((about_tickets().len() > made.len()).then_some(()))).unwrap();
    let mut found = about_tickets();
    found.pop();
    assert_eq!(found, made);
    assert_eq!(authority.json(&["audit", "verify"]).unwrap()["item"]["ok"], true);
}

#[test]
fn tickets_that_are_guessed_at_the_real_port_raise_one_alert() {
    let mut authority = Authority::start().unwrap();
    let text = authority.ticket(&["--role", "sensor"]).unwrap();
    let good = || Ticket::read(&text).unwrap();
    for n in 0..6 {
        let id = EntryId::from_parts(good().expires_at, [n; 10]);
        let guessed = Ticket { id, ..good() }.write().unwrap();
        let done = Device::new(&format!("guess-{n}"), "").unwrap().enrol(&guessed).unwrap();
        assert_eq!(done.code(), 5, "{}", done.stderr);
    }
    // Refusals are recorded by the minute, and what is not recorded yet when it stops.
    authority.stop().unwrap();
    authority.serve().unwrap();
    let [alert] = raised(&authority, "ticket-guessing").try_into().unwrap();
    assert_eq!(alert["severity"], "high");
    assert!(alert["count"].as_u64().unwrap() >= 5, "{alert}");
}

#[test]
fn rules_that_are_damaged_or_put_back_are_refused_and_the_built_in_ones_raise_the_alarm() {
    let mut authority = Authority::start().unwrap();
    let desk = Desk::new().unwrap();
    let store = authority.data().join("authority/store.db").to_string_lossy().into_owned();
    let sql = |program: &str| {
        let mut python = Command::new("python3");
        python.args(["-c", program, &store, &desk.at("row")]);
        let done = program::finish(python, "").unwrap();
        assert!(done.status.success(), "{}", done.stderr);
    };
    let connect = "import sqlite3,sys,pickle; c=sqlite3.connect(sys.argv[1], isolation_level=None);";

    assert_eq!(apply(&authority, &desk, "remove: [failed-unlocks]\n").code(), 5);
    let tuned = apply(&authority, &desk, "tune: [{rule: failed-unlocks, times: 3}]\n");
    assert_eq!(tuned.code(), 0, "{}", tuned.stderr);
    authority.stop().unwrap();
    sql(&format!(
        "{connect} pickle.dump(c.execute(\"select value, mac from settings where name='alert_rules'\").fetchone(), open(sys.argv[2],'wb'))"
    ));
    authority.serve().unwrap();
    let off = "removeEssential: [failed-unlocks]\n";
    let unasked = write(&desk, "off.yaml", off);
    let withheld = authority.kosctl(&["audit", "alerts", "rules", "apply", &unasked]).unwrap();
    assert_ne!(withheld.code(), 0, "nobody said yes: {}", withheld.stdout);
    assert_eq!(apply(&authority, &desk, off).code(), 0);
    let rules = authority.json(&["audit", "alerts", "rules", "show"]).unwrap();
    assert_eq!(
        (&rules["item"]["counter"], &rules["item"]["removed"]),
        (&2.into(), &serde_json::json!(["failed-unlocks"]))
    );
    let [first, second] = entries_of(&authority, "alert_rules_changed").try_into().unwrap();
    assert_eq!((&first["details"]["counter"], &second["details"]["counter"]), (&1.into(), &2.into()));
    assert_eq!(second["details"]["removed"], serde_json::json!(["failed-unlocks"]));
    raised(&authority, "alerting-changed");

    for (bend, code) in [
        (
            "v,m=pickle.load(open(sys.argv[2],'rb')); c.execute(\"update settings set value=?, mac=? where name='alert_rules'\", (v,m))",
            "KOS-E0533",
        ),
        ("c.execute(\"update settings set value='AAAA' where name='alert_rules'\")", "KOS-E0532"),
        ("c.execute(\"delete from settings where name='alert_rules'\")", "KOS-E0532"),
    ] {
        let before = entries_of(&authority, "alert_rules_changed").len();
        authority.stop().unwrap();
        sql(&format!("{connect} {bend}"));
        authority.serve().unwrap();
        let rules = authority.json(&["audit", "alerts", "rules", "show"]).unwrap();
        assert_eq!(rules["item"]["refused"], code, "{rules}");
        assert_eq!(rules["item"]["removed"], serde_json::json!([]), "the built-in ones are in force");
        let said = wait::until("the entry", || {
            Ok(entries_of(&authority, "alert_rules_changed").get(before).cloned())
        })
        .unwrap();
        assert_eq!(said["details"]["refused"], code, "{said}");
        let doctor = authority.kosctl(&["doctor"]).unwrap();
        assert_eq!(doctor.code(), 10, "{}", doctor.stdout);
    }
    guess(&authority);
    raised(&authority, "failed-unlocks");
    // An administrator puts rules in force again, with the next number.
    let reset = authority.json(&["audit", "alerts", "rules", "reset"]).unwrap();
    assert_eq!((&reset["item"]["counter"], &reset["item"]["refused"]), (&3.into(), &Value::Null));
}

#[test]
fn only_a_guardian_or_an_administrator_acknowledges_and_the_log_says_who() {
    let authority = Authority::start().unwrap();
    let [anna, otto, vera] = [("anna", "operator"), ("otto", "operator"), ("vera", "viewer")]
        .map(|(name, role)| Operator::here(&authority, name, role).unwrap());
    authority.json(&["guardian", "add", "anna", "--operator", "anna"]).unwrap();
    guess(&authority);
    let [alert] = raised(&authority, "failed-unlocks").try_into().unwrap();
    let id = alert["alertId"].as_str().unwrap();
    let ack = ["--context", "home", "audit", "alerts", "ack", id];
    let refused = otto.kosctl(&ack).unwrap();
    assert!(refused.code() == 5 && refused.stderr.contains("KOS-E0535"), "{}", refused.stderr);
    assert_eq!(vera.kosctl(&ack).unwrap().code(), 5);
    for viewer in [&otto, &vera] {
        assert_eq!(viewer.kosctl(&["--context", "home", "audit", "alerts", "show", id]).unwrap().code(), 0);
    }
    let done = anna.kosctl(&ack).unwrap();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    // Again is no error, and no second entry.
    assert_eq!(anna.kosctl(&ack).unwrap().code(), 0);
    let [entry] = entries_of(&authority, "alert_acknowledged").try_into().unwrap();
    assert_eq!((&entry["actor"]["id"], &entry["target"]["id"]), (&"anna".into(), &id.into()));
    // Its beginning does.
    let shown = authority.json(&["audit", "alerts", "show", id.get(..12).unwrap()]).unwrap();
    assert_eq!(shown["item"]["alertId"], id);
    assert_eq!(
        (&shown["item"]["state"], &shown["item"]["acknowledgedBy"]["id"]),
        (&"acknowledged".into(), &"anna".into())
    );
    let open = authority.json(&["audit", "alerts", "list", "--open"]).unwrap();
    assert_eq!(open["items"].as_array().unwrap().len(), 0, "{open}");
    let unknown = authority.kosctl(&["audit", "alerts", "ack", "00000000000000000000000000000000"]).unwrap();
    assert!(unknown.code() == 3 && unknown.stderr.contains("KOS-E0534"), "{}", unknown.stderr);
}

#[test]
fn a_webhook_over_tls_is_judged_by_its_ca_and_where_nobody_should_be_sent_nobody_is() {
    let authority = Authority::start().unwrap();
    let desk = Desk::new().unwrap();
    let openssl = |words: &[&str]| {
        let mut openssl = Command::new("openssl");
        openssl.args(words);
        let done = program::finish(openssl, "").unwrap();
        assert!(done.status.success(), "{}", done.stderr);
    };
    let [ca, ca_key, key, request, certificate, extensions, other, other_key] =
        ["ca", "ca.key", "key", "csr", "crt", "ext", "other", "other.key"].map(|name| desk.at(name));
    let ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    for (file, key) in [(&ca, &ca_key), (&other, &other_key)] {
        let words = ["req", "-x509", "-subj", "/CN=test ca", "-keyout", key, "-out", file];
        openssl(&[&words[..], &ec].concat());
    }
    let words = ["req", "-subj", "/CN=receiver", "-keyout", &key, "-out", &request];
    openssl(&[&words[..], &ec].concat());
    fs::write(&extensions, "subjectAltName=DNS:localhost\n").unwrap();
    openssl(&[
        "x509",
        "-req",
        "-in",
        &request,
        "-CA",
        &ca,
        "-CAkey",
        &ca_key,
        "-CAcreateserial",
        "-extfile",
        &extensions,
        "-out",
        &certificate,
    ]);

    let port = Ports::free().unwrap().web;
    let url = format!("https://localhost:{port}/");
    let secret = add_webhook(&authority, &desk, &url, &["--ca", &ca]);
    let mut receiver = Receiver::start(port, &secret, &[&certificate, &key]);
    let test = |name: &str| authority.kosctl(&["audit", "alerts", "test", name]).unwrap();
    let tested = test("pager");
    assert_eq!(tested.code(), 0, "{}{}", tested.stdout, tested.stderr);
    assert_eq!(receiver.got()["ok"], true);
    for (name, url, more, says) in [
        ("stranger", url.as_str(), &["--ca", other.as_str()][..], "TLS with"),
        ("system", url.as_str(), &[], "TLS with"),
        ("name", &format!("https://127.0.0.1:{port}/"), &["--ca", ca.as_str()], "TLS with"),
        ("nobody", "https://nobody.invalid/", &[], "cannot be looked up"),
    ] {
        let words = [&["guardian", "add", name, "--webhook", url], more].concat();
        authority.json(&words).unwrap();
        let tested = test(name);
        assert!(tested.code() == 10 && tested.stdout.contains(says), "{name}: {}", tested.stdout);
    }
    for (url, says) in [
        ("ftp://a/", "begins with"),
        ("https://user@a/", "a user"),
        ("https://a/#b", "a fragment"),
        ("a", "begins with"),
        // What can never be told is refused at once, and not when the first alert waits for it.
        ("https://169.254.169.254/latest", "is not dialled"),
        ("https://[::ffff:169.254.169.254]/", "is not dialled"),
        ("https://[64:ff9b::a9fe:a9fe]/", "is not dialled"),
        ("https://100.100.100.200/", "is not dialled"),
        ("http://192.0.2.7/", "without TLS"),
    ] {
        let refused = authority.kosctl(&["guardian", "add", "bad", "--webhook", url]).unwrap();
        let is_right = refused.stderr.contains("KOS-E0536") && refused.stderr.contains(says);
        assert!(refused.code() == 2 && is_right, "{url}: {}", refused.stderr);
    }
    let again = authority.kosctl(&["guardian", "add", "pager", "--webhook", &url]).unwrap();
    assert!(again.code() == 6 && again.stderr.contains("KOS-E0594"), "{}", again.stderr);
}
