//! Witnesses between real programs: two authorities, foreign witnesses and a foreign log on `golang.org/x/mod/sumdb`, and
//! what becomes of a log that was put back.
#![cfg(test)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use kos_e2e::{
    fleet::{self, Authority},
    judge,
    program::{self, Program},
    wait,
};
use serde_json::Value;

const JUDGE: &str = "tests/e2e/tests/judges/witness.go";

fn text(value: &Value, path: &str) -> Result<String> {
    Ok(value
        .pointer(path)
        .and_then(Value::as_str)
        .with_context(|| format!("no {path} in {value}"))?
        .to_owned())
}

fn item(authority: &Authority, arguments: &[&str]) -> Result<Value> {
    authority.json(arguments)?.get("item").cloned().context("a document without item")
}

fn log_key(authority: &Authority) -> Result<String> {
    text(&item(authority, &["audit", "checkpoint"])?, "/verifierKey")
}

fn url(witness: &Authority) -> String {
    format!("http://127.0.0.1:{}/witness", witness.ports().pki)
}

/// Has `witness` cosign the log of `authority`, and gives back the key of the witness.
fn introduce(authority: &Authority, witness: &Authority) -> Result<String> {
    let served = item(witness, &["audit", "witness", "serve", "add", &log_key(authority)?])?;
    let key = text(&served, "/witnessKey")?;
    authority.json(&["audit", "witness", "add", &url(witness), &key])?;
    Ok(key)
}

/// Writes an entry, and gives back how many there are then.
fn grow(authority: &Authority) -> Result<u64> {
    authority.ticket(&["--role", "sensor"])?;
    item(authority, &["status"])?.pointer("/log/size").and_then(Value::as_u64).context("a log without size")
}

fn witnessed(authority: &Authority, at_least: u64) -> Result<Value> {
    wait::until("the log to be witnessed", || {
        let status = item(authority, &["status"])?;
        let size = status.pointer("/log/witnessed/witnessedSize").and_then(Value::as_u64);
        Ok(size.is_some_and(|size| size >= at_least).then_some(status))
    })
}

fn witness_state(authority: &Authority, name: &str, state: &str) -> Result<()> {
    wait::until(&format!("{name} to be {state}"), || {
        let list = authority.json(&["audit", "witness", "list"])?;
        let items = list.get("items").and_then(Value::as_array).context("a list without items")?;
        let found = items.iter().find(|one| one["name"] == name);
        Ok(found.is_some_and(|one| one["state"] == state).then_some(()))
    })
}

fn verify(authority: &Authority, more: &[&str]) -> Result<(i32, Value)> {
    let done = authority.kosctl(&[&["audit", "verify", "-o", "json"], more].concat())?;
    let document: Value = serde_json::from_str(&done.stdout).with_context(|| done.stderr.clone())?;
    Ok((done.code(), document.get("item").cloned().unwrap_or_default()))
}

fn hash(origin: &str) -> Result<String> {
    let sum = judge::agrees("sha256sum", &[], origin)?;
    Ok(sum.split(' ').next().unwrap_or_default().to_owned())
}

/// What the witness holds of the log, as everybody can fetch it.
fn held(witness: &Authority, authority: &str) -> Result<String> {
    let address = format!("{}/{}/checkpoint", url(witness), hash(&format!("{authority}/klog"))?);
    judge::agrees("curl", &["--silent", "--show-error", "--fail", &address], "")
}

fn size_in(checkpoint: &str) -> Result<u64> {
    checkpoint.lines().nth(1).and_then(|size| size.parse().ok()).context("a checkpoint without size")
}

#[test]
fn two_authorities_witness_each_other_and_foreign_tools_agree() {
    let (attic, cellar) = (Authority::start().unwrap(), Authority::start_with("name: cellar\n").unwrap());
    let status = item(&attic, &["status"]).unwrap();
    assert_eq!(status["log"]["assurance"], "local-integrity");
    assert_eq!(status["log"]["witnessed"]["summary"], "no witness: local integrity only");
    let nobody = judge::run(
        "curl",
        &["--silent", "--fail", "-d", "x", &format!("{}/add-checkpoint", url(&cellar))],
        "",
    );
    assert_eq!(nobody.unwrap().code(), 22);

    let cellar_key = introduce(&attic, &cellar).unwrap();
    let attic_key = introduce(&cellar, &attic).unwrap();
    for authority in [&attic, &cellar] {
        let size = grow(authority).unwrap();
        let status = witnessed(authority, size).unwrap();
        assert_eq!(status["log"]["assurance"], "witnessed");
        let doctor = item(authority, &["doctor"]).unwrap();
        let checks = doctor["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == "witnesses").unwrap();
        assert_eq!(check["ok"], true, "{check}");
    }

    let key = attic.data().join("key");
    let newest = attic.data().join("authority/log/checkpoint.witnessed");
    attic.json(&["audit", "checkpoint", "--key-out", &key.display().to_string()]).unwrap();
    let judge = judge::go(JUDGE).unwrap();
    let vkey = fs::read_to_string(&key).unwrap();
    let run = |arguments: &[&str]| program::finish(command(&judge, arguments), "").unwrap();
    let agreed = run(&["check", vkey.trim(), &cellar_key, &newest.display().to_string()]);
    assert!(agreed.stdout.starts_with("cosigned "), "{}", agreed.stderr);
    assert_ne!(run(&["check", vkey.trim(), &attic_key, &newest.display().to_string()]).code(), 0);

    let known = ["--witness", &cellar_key, "--threshold", "1"];
    let (code, verdict) = verify(&attic, &known).unwrap();
    assert_eq!((code, &verdict["assurance"]), (0, &Value::from("witnessed")), "{verdict}");
    let (code, verdict) = verify(&attic, &["--witness", &attic_key, "--threshold", "1"]).unwrap();
    assert_eq!((code, &verdict["failures"][0]["kind"]), (10, &Value::from("unwitnessed")), "{verdict}");
    let (code, verdict) = verify(&attic, &[]).unwrap();
    assert_eq!((code, &verdict["assurance"]), (0, &Value::from("local-integrity")));
    let (code, verdict) = verify(&attic, &["--on-server"]).unwrap();
    assert_eq!((code, &verdict["assurance"]), (0, &Value::from("witnessed")));

    let refused = attic.kosctl(&["audit", "witness", "policy", "2"]).unwrap();
    assert_eq!(refused.code(), 2, "{}", refused.stderr);
    attic.json(&["audit", "witness", "policy", "1"]).unwrap();
    attic.json(&["audit", "witness", "remove", "cellar/witness", "--yes"]).unwrap();
    assert_eq!(item(&attic, &["status"]).unwrap()["log"]["assurance"], "local-integrity");
    let events = attic.events().unwrap();
    for event in ["log_witnessed_for", "witness_added", "witness_policy_changed", "witness_removed"] {
        assert!(events.iter().any(|one| one == event), "{event}");
    }
}

fn command(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// A foreign witness of this log, with its name.
fn foreign(judge: &Path, authority: &Authority, mode: &str) -> Result<(Program, String)> {
    let started = command(judge, &["serve", &log_key(authority)?, mode]);
    let mut program = Program::holding("foreign witness", started)?;
    let line = program.line(|line| line.starts_with("http://"))?;
    let (url, key) = line.split_once(' ').context("a line without key")?;
    authority.json(&["audit", "witness", "add", url, key])?;
    Ok((program, format!("foreign.example/{mode}")))
}

#[test]
fn foreign_witnesses_cosign_and_those_that_are_down_slow_or_lie_hold_nobody_up() {
    let attic = Authority::start().unwrap();
    let judge = judge::go(JUDGE).unwrap();
    let modes = ["honest", "slow", "forger", "denier", "boaster", "future"];
    let witnesses: Vec<_> = modes.iter().map(|mode| foreign(&judge, &attic, mode).unwrap()).collect();
    for _ in 0..3 {
        let size = grow(&attic).unwrap();
        witnessed(&attic, size).unwrap();
    }
    for name in ["foreign.example/denier", "foreign.example/boaster"] {
        witness_state(&attic, name, "disagrees").unwrap();
    }
    for name in ["foreign.example/slow", "foreign.example/forger", "foreign.example/future"] {
        let list = attic.json(&["audit", "witness", "list"]).unwrap();
        let one = list["items"].as_array().unwrap().iter().find(|one| one["name"] == name).cloned().unwrap();
        assert!(["waiting", "lost"].contains(&one["state"].as_str().unwrap()), "{one}");
        assert_eq!(one["size"], Value::Null, "{one}");
        // What is wrong with it is said where it is looked for.
        wait::until("what is wrong", || {
            let list = attic.json(&["audit", "witness", "list"])?;
            let one = list["items"].as_array().and_then(|all| all.iter().find(|one| one["name"] == name));
            Ok(one.and_then(|one| one["trouble"].as_str()).map(|why| assert!(why.contains("KOS-E0526"))))
        })
        .unwrap();
    }
    let doctor = attic.kosctl(&["doctor"]).unwrap();
    assert_eq!(doctor.code(), 10, "{}", doctor.stdout);
    let status = attic.kosctl(&["status"]).unwrap();
    assert!(status.stdout.contains("ANOTHER TREE"), "{}", status.stdout);
    assert_eq!(attic.events().unwrap().iter().filter(|event| *event == "witness_disagreed").count(), 2);

    // Of those that answer with something, one suffices; two are not there.
    attic.json(&["audit", "witness", "policy", "2"]).unwrap();
    assert_eq!(item(&attic, &["status"]).unwrap()["log"]["assurance"], "local-integrity");
    for (witness, _) in witnesses {
        witness.kill().unwrap();
    }
    grow(&attic).unwrap();
    attic.json(&["audit", "list"]).unwrap();
}

/// A log in another program, that asks a witness.
struct ForeignLog {
    program: Program,
    key: String,
}

impl ForeignLog {
    fn start(judge: &Path, url: &str, witness_key: &str) -> Result<Self> {
        let mut program = Program::holding("foreign log", command(judge, &["ask", url, witness_key]))?;
        let key = program.line(|line| line.starts_with("foreign.example/log+"))?;
        Ok(Self { program, key })
    }

    fn step(&mut self, step: &str) -> Result<String> {
        self.program.say(step)?;
        self.program.line(|_| true)
    }
}

#[test]
fn a_foreign_log_gets_the_answers_that_the_protocol_has() {
    let attic = Authority::start().unwrap();
    let judge = judge::go(JUDGE).unwrap();
    let first =
        item(&attic, &["audit", "witness", "serve", "add", &log_key(&Authority::start().unwrap()).unwrap()]);
    let witness_key = text(&first.unwrap(), "/witnessKey").unwrap();
    let mut log = ForeignLog::start(&judge, &url(&attic), &witness_key).unwrap();
    assert_eq!(log.step("grow 5").unwrap(), "grown 5");
    assert_eq!(log.step("add 0").unwrap(), "404 ");
    let key = log.key.clone();
    attic.json(&["audit", "witness", "serve", "add", &key]).unwrap();
    for (step, said) in [
        ("bad signature", "403"),
        ("bad origin", "404"),
        ("bad proof", "422"),
        ("bad form", "400"),
        ("add 9", "400 "),
        ("add 0", "200 5"),
        ("add 5", "200 5"),
        ("add 5 extension", "200 5"),
        ("add 0", "409 5 text/x.tlog.size"),
        ("grow 300", "grown 300"),
        ("add 3", "409 5 text/x.tlog.size"),
        ("add 5", "200 300"),
        ("fork 40", "forked 40"),
        ("add 300", "400 "),
        ("add 40", "409 300 text/x.tlog.size"),
        ("grow 300 other", "grown 300"),
        ("add 300", "422 "),
        ("grow 305 other", "grown 305"),
        ("add 300", "422 "),
    ] {
        assert_eq!(log.step(step).unwrap(), said, "{step}");
    }
    wait::until("the equivocation to be recorded", || {
        Ok(attic.events()?.contains(&"equivocation_found".to_owned()).then_some(()))
    })
    .unwrap();
    let folder = attic.data().join("authority/witness");
    let evidence = |kind: &str| -> PathBuf {
        let mut entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        entries.find(|path| path.file_name().unwrap().to_string_lossy().starts_with(kind)).unwrap()
    };
    for (kind, code) in [("conflict", 0), ("suspicion", 10)] {
        let judged =
            attic.kosctl(&["audit", "witness", "judge", &evidence(kind).display().to_string()]).unwrap();
        assert_eq!(judged.code(), code, "{}{}", judged.stdout, judged.stderr);
    }
    assert_eq!(attic.kosctl(&["doctor"]).unwrap().code(), 10);
}

#[test]
fn a_witness_that_is_killed_again_and_again_never_goes_back() {
    let mut attic = Authority::start().unwrap();
    let judge = judge::go(JUDGE).unwrap();
    let first =
        item(&attic, &["audit", "witness", "serve", "add", &log_key(&Authority::start().unwrap()).unwrap()]);
    let witness_key = text(&first.unwrap(), "/witnessKey").unwrap();
    let mut log = ForeignLog::start(&judge, &url(&attic), &witness_key).unwrap();
    let key = log.key.clone();
    attic.json(&["audit", "witness", "serve", "add", &key]).unwrap();
    let (mut size, mut cosigned) = (0_u64, 0_u64);
    for round in 0..12_u32 {
        for _ in 0..=round {
            size += 3;
            log.step(&format!("grow {size}")).unwrap();
            let said = log.step(&format!("add {cosigned}")).unwrap();
            assert_eq!(said, format!("200 {size}"));
            cosigned = size;
        }
        // One more is under way when it dies.
        size += 3;
        log.step(&format!("grow {size}")).unwrap();
        log.program.say(&format!("add {cosigned}")).unwrap();
        attic.kill().unwrap();
        let said = log.program.line(|_| true).unwrap();
        attic.serve().unwrap();
        let newest = log.step("add 0").unwrap();
        let named: u64 = newest.strip_prefix("409 ").unwrap().split(' ').next().unwrap().parse().unwrap();
        let known = if said == "none" { [cosigned, size] } else { [size, size] };
        assert!(known.contains(&named), "{named} where {cosigned} was cosigned and {said} answered");
        cosigned = named;
    }
}

#[test]
fn a_log_that_was_put_back_is_refused_by_its_witness_and_found_by_whoever_verifies() {
    let (mut attic, cellar) =
        (Authority::start_with("name: attic\n").unwrap(), Authority::start_with("name: cellar\n").unwrap());
    let cellar_key = introduce(&attic, &cellar).unwrap();
    let size = grow(&attic).unwrap();
    witnessed(&attic, size).unwrap();
    attic.stop().unwrap();
    let (home, before) = (attic.data().join("authority"), attic.data().join("before"));
    program::copy(&home, &before).unwrap();
    attic.serve().unwrap();
    let size = (0..5).fold(0, |_, _| grow(&attic).unwrap());
    witnessed(&attic, size).unwrap();
    let newest = held(&cellar, "attic").unwrap();
    assert!(size_in(&newest).unwrap() >= size);
    attic.kill().unwrap();

    // Everything as it was, and on from there with the log's own key.
    fs::rename(&home, attic.data().join("after")).unwrap();
    program::copy(&before, &home).unwrap();
    attic.serve().unwrap();
    witness_state(&attic, "cellar/witness", "disagrees").unwrap();
    assert_eq!(held(&cellar, "attic").unwrap(), newest, "the witness went on with another log");
    let status = attic.kosctl(&["status"]).unwrap();
    assert!(status.stdout.contains("ANOTHER TREE"), "{}", status.stdout);
    let kept = attic.data().join("held");
    fs::write(&kept, &newest).unwrap();
    let kept = kept.display().to_string();
    let (code, verdict) = verify(&attic, &["--against", &kept]).unwrap();
    assert_eq!((code, &verdict["failures"][0]["kind"]), (10, &Value::from("rewound")), "{verdict}");

    // Beyond what the witness holds, it is a fork.
    while grow(&attic).unwrap() <= size_in(&newest).unwrap() {}
    let evidence = attic.data().join("evidence").display().to_string();
    // The files of the log follow the store.
    wait::until("the fork to be found", || {
        let (code, verdict) = verify(&attic, &["--against", &kept, "--evidence", &evidence])?;
        ensure!(code == 10, "{verdict}");
        Ok((verdict["failures"][0]["kind"] == "forked").then_some(()))
    })
    .unwrap();
    let (code, _) = verify(&attic, &["--witness", &cellar_key, "--threshold", "1"]).unwrap();
    assert!([0, 10].contains(&code));
    let log = home.join("log").display().to_string();
    let judged = attic.kosctl(&["audit", "witness", "judge", &evidence, "--log", &log]).unwrap();
    assert_eq!(judged.code(), 0, "{}{}", judged.stdout, judged.stderr);
    ensure_names(&judged.stdout, "neither is the beginning").unwrap();
    assert_eq!(held(&cellar, "attic").unwrap(), newest);
    // The witness answers as before to everybody else.
    let size = grow(&cellar).unwrap();
    assert!(size > 0);
}

#[test]
fn devices_cosign_and_tell_when_the_log_is_not_the_one_that_they_cosigned() {
    let mut attic = Authority::start_with("name: attic\nheartbeat_seconds: 5\n").unwrap();
    let mut devices: Vec<_> =
        (0..3).map(|n| fleet::device_in_service(&attic, &format!("witness-{n}")).unwrap()).collect();
    for (_, id) in &devices {
        attic.json(&["audit", "witness", "add", "--device", id]).unwrap();
    }
    attic.json(&["audit", "witness", "policy", "3"]).unwrap();
    let size = grow(&attic).unwrap();
    let status = witnessed(&attic, size).unwrap();
    assert_eq!(
        (&status["log"]["assurance"], &status["log"]["witnessed"]["threshold"]),
        (&"witnessed".into(), &3.into())
    );
    let own: Vec<_> = devices.iter().map(|(device, _)| device.status().unwrap()["witness"].clone()).collect();
    let keys: Vec<_> = own.iter().map(|witness| text(witness, "/verifierKey").unwrap()).collect();
    let known: Vec<&str> = keys.iter().flat_map(|key| ["--witness", key.as_str()]).collect();
    let (code, verdict) = verify(&attic, &[known.as_slice(), &["--threshold", "3"]].concat()).unwrap();
    assert_eq!((code, verdict["witnessedBy"].as_array().map(Vec::len)), (0, Some(3)), "{verdict}");

    // As after a power cut, the device knows how far it was.
    let (device, id) = &mut devices[0];
    device.kill().unwrap();
    let record = fs::read_to_string(device.root().join("var/lib/kos/device/witness.log")).unwrap();
    device.run().unwrap();
    let size = grow(&attic).unwrap();
    witnessed(&attic, size).unwrap();
    let newest = fs::read_to_string(device.root().join("var/lib/kos/device/witness.log")).unwrap();
    assert_ne!(record, newest);
    assert_eq!(text(&device.status().unwrap(), "/witness/verifierKey").unwrap(), keys[0], "{id}");

    attic.stop().unwrap();
    let (home, before) = (attic.data().join("authority"), attic.data().join("before"));
    program::copy(&home, &before).unwrap();
    attic.serve().unwrap();
    let size = (0..4).fold(0, |_, _| grow(&attic).unwrap());
    witnessed(&attic, size).unwrap();
    // In order, so that the devices hear that their links end.
    attic.stop().unwrap();
    fs::rename(&home, attic.data().join("after")).unwrap();
    program::copy(&before, &home).unwrap();
    attic.serve().unwrap();
    for (_, id) in &devices {
        witness_state(&attic, &format!("attic/{id}"), "disagrees").unwrap();
    }
    let held = devices[0].0.status().unwrap()["witness"]["size"].as_u64().unwrap();
    while grow(&attic).unwrap() <= held + 1 {}
    for (device, id) in &devices {
        wait::until("the device to tell", || {
            let status = device.status()?;
            Ok((status["witness"]["conflicts"].as_u64() > Some(0)).then_some(status))
        })
        .map(|status| {
            assert_eq!(status["witness"]["size"], held, "{id} went on with another log");
            let warnings = status["warnings"].to_string();
            assert!(warnings.contains("contradicts"), "{warnings}");
        })
        .unwrap();
        let own = fleet::json(&device.root().join("run/kos/kosd.sock"), &["audit", "list"]).unwrap();
        assert!(own.to_string().contains("equivocation_found"), "{own}");
    }
    let folder = devices[0].0.root().join("var/lib/kos/device");
    let mut kept = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let proof =
        kept.find(|path| path.to_string_lossy().contains("witness.conflict-")).unwrap().display().to_string();
    let log = home.join("log").display().to_string();
    let judged = attic.kosctl(&["audit", "witness", "judge", &proof, "--log", &log]).unwrap();
    assert_eq!(judged.code(), 0, "{}{}", judged.stdout, judged.stderr);
}

fn ensure_names(said: &str, what: &str) -> Result<()> {
    ensure!(said.contains(what), "{what} is not in {said}");
    Ok(())
}
