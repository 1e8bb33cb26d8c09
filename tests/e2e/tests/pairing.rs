//! Pairings, grants and calls with the real programs. The agent is a program that knows the specification alone; what it
//! signs is brought by somebody who may only look.
//!
//! Source: `docs/spec/pairing.md`, `docs/spec/grant.md`.
#![cfg(test)]

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use kos_e2e::{
    fleet::{self, Authority, Device},
    judge,
    operator::Operator,
    program::{self, Finished},
    wait,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const SETTINGS: &str = "heartbeat_seconds: 5\n";
const AGENT: &str = "kai:home/kitchen";

struct Scene {
    folder: TempDir,
    authority: Authority,
    name: String,
    /// Somebody who may only look, and brings what the agent signed.
    looker: Operator,
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn agent_says(asked: &Value) -> String {
    judge::python("tests/e2e/judge/agent.py", &asked.to_string()).unwrap().trim_end().to_owned()
}

impl Scene {
    fn new() -> Self {
        let authority = Authority::start_with(SETTINGS).unwrap();
        let shown = authority.json(&["authority", "show"]).unwrap();
        let name = shown["item"]["authority"].as_str().unwrap().to_owned();
        let looker = Operator::here(&authority, "looker", "viewer").unwrap();
        Self { folder: TempDir::new().unwrap(), authority, name, looker }
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        self.authority.kosctl(arguments).unwrap()
    }

    /// How a command ends: its exit code, and the code of the error if it has one.
    fn ends(&self, arguments: &[&str]) -> (i32, String) {
        ended(&self.run(&[arguments, &["-o", "json"]].concat()))
    }

    fn key(&self, seed: u8) -> String {
        let path = self.folder.path().join(format!("{seed}.pem"));
        fs::write(&path, agent_says(&json!({"do": "key", "seed": seed}))).unwrap();
        path.to_string_lossy().into_owned()
    }

    /// Proposes a pairing with the agent, whose key has this seed.
    fn propose(&self, device: &str, agent: &str, seed: u8, trust: &str) -> String {
        let key = self.key(seed);
        let pair = ["device", "pair", device, "--with", agent, "--key", &key, "--trust", trust];
        let made = self.authority.json(&pair).unwrap();
        assert_eq!(made["item"]["state"], "proposed", "{made}");
        made["item"]["pairingId"].as_str().unwrap().to_owned()
    }

    /// Where agents hand in what they sign, and as whom curl brings it: as somebody who may only look.
    fn door(&self) -> (String, Vec<String>) {
        (format!("https://localhost:{}/api/v1/agent", self.authority.ports().tls), self.looker.curl())
    }

    fn hand_in(&self, path: &str, signed: &str) -> (u16, Value) {
        hand_in(&self.door(), path, signed)
    }

    fn statement(&self, seed: u8, device: &str, agent: &str, pairing: &str, word: &str) -> String {
        agent_says(&json!({
            "do": "statement", "seed": seed, "authority": self.name, "device": device, "partner": agent,
            "pairing": pairing, "word": word, "at": now_ms(),
        }))
    }

    fn call(&self, seed: u8, device: &str, grant: &Value, resource: &str, number: u64) -> String {
        agent_says(&json!({
            "do": "call", "seed": seed, "authority": self.name, "agent": grant["agentId"], "device": device,
            "grant": grant["grantId"], "capability": grant["capability"], "resource": resource, "at": now_ms(),
            "number": number,
        }))
    }

    /// Calls, and tells the status of HTTP and the code.
    fn calls(&self, device: &str, grant: &Value, resource: &str, number: u64) -> (u16, String) {
        let (status, said) = self.hand_in("calls", &self.call(1, device, grant, resource, number));
        (status, said["code"].as_str().unwrap_or_default().to_owned())
    }

    fn grant(&self, device: &str, capability: &str, scope: &str, more: &[&str]) -> Value {
        let arguments = [
            &["agent", "grant", device, "--agent", AGENT, "--capability", capability, "--scope", scope][..],
            more,
        ];
        self.authority.json(&arguments.concat()).unwrap()["item"].clone()
    }

    fn state(&self, device: &str, with: &str) -> Result<String> {
        let list = self.authority.json(&["device", "pairings", device])?;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let found = items.iter().find(|item| item["with"] == with);
        Ok(found.and_then(|item| item["state"].as_str()).unwrap_or_default().to_owned())
    }

    fn becomes(&self, device: &str, with: &str, state: &str) {
        wait::until(&format!("{with} to be {state}"), || {
            Ok((self.state(device, with)? == state).then_some(()))
        })
        .unwrap();
    }

    /// A device that is paired with the agent, whose key has the seed 1.
    fn paired(&self, device: &Device, id: &str, trust: &str) -> String {
        let pairing = self.propose(id, AGENT, 1, trust);
        let (status, said) = self.hand_in("pairings", &self.statement(1, id, AGENT, &pairing, "confirm"));
        assert_eq!(status, 200, "{said}");
        shows(device, AGENT, "proposed");
        assert_eq!(kosd(device, &["pair", AGENT]).code(), 0);
        self.becomes(id, AGENT, "paired");
        shows(device, AGENT, "paired");
        pairing
    }
}

/// What an agent hands in: the status of HTTP, and the answer.
fn hand_in((url, curl): &(String, Vec<String>), path: &str, signed: &str) -> (u16, Value) {
    let (url, body) = (format!("{url}/{path}"), json!({"signed": signed}).to_string());
    let json = "content-type: application/json";
    let own = ["-X", "POST", "-H", json, "-d", &body, "-w", "\n%{http_code}", &url];
    let arguments: Vec<&str> = curl.iter().map(String::as_str).chain(own).collect();
    let said = judge::agrees("curl", &arguments, "").unwrap();
    let (body, status) = said.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

fn ended(done: &Finished) -> (i32, String) {
    let error: Value = serde_json::from_str(&done.stderr).unwrap_or_default();
    (done.code(), error["item"]["code"].as_str().unwrap_or_default().to_owned())
}

fn kosd(device: &Device, words: &[&str]) -> Finished {
    let root = device.root().to_string_lossy().into_owned();
    program::run("kosd", &[words, &["--root", &root]].concat(), "").unwrap()
}

/// Waits until the device shows a pairing in this state.
fn shows(device: &Device, with: &str, state: &str) {
    wait::until(&format!("the device to show {with} as {state}"), || {
        let shown = kosd(device, &["pair"]).stdout;
        Ok(shown.lines().any(|line| line.contains(with) && line.contains(state)).then_some(()))
    })
    .unwrap();
}

#[test]
fn both_sides_confirm_a_pairing_and_either_ends_it() {
    let mut scene = Scene::new();
    let (mut device, id) = fleet::device_in_service(&scene.authority, "paired").unwrap();

    // One side alone decides nothing: neither the agent, nor the device, nor an operator.
    let pairing = scene.propose(&id, AGENT, 1, "partner");
    shows(&device, AGENT, "proposed");
    assert_eq!(scene.ends(&["device", "confirm-pairing", &id]), (5, "KOS-E0844".to_owned()));
    for (seed, what, why) in [(2, &pairing, "another key"), (1, &id, "no pairing")] {
        let pairing = if what.starts_with("kdev") { "0190a0b0-c0d0-7000-8000-000000000001" } else { what };
        let (status, said) =
            scene.hand_in("pairings", &scene.statement(seed, &id, AGENT, pairing, "confirm"));
        assert_eq!((status, &said["code"]), (403, &"KOS-E0843".into()), "{why}: {said}");
    }
    assert_eq!(scene.state(&id, AGENT).unwrap(), "proposed");
    let confirmed = scene.statement(1, &id, AGENT, &pairing, "confirm");
    assert_eq!(scene.hand_in("pairings", &confirmed).0, 200);
    assert_eq!(scene.state(&id, AGENT).unwrap(), "proposed", "confirmed by one side only");
    let wanted = [
        "agent",
        "grant",
        &id,
        "--agent",
        AGENT,
        "--capability",
        "device.status",
        "--scope",
        "status/*",
        "--for",
        "1h",
    ];
    assert_eq!(scene.ends(&wanted), (5, "KOS-E0845".to_owned()));
    assert_eq!(kosd(&device, &["pair", AGENT]).code(), 0);
    scene.becomes(&id, AGENT, "paired");
    assert_eq!(
        scene.ends(&["device", "pair", &id, "--with", AGENT, "--key", &scene.key(1)]),
        (6, "KOS-E0841".to_owned())
    );

    // The agent ends it; its earlier word confirms nothing of a later pairing.
    let (status, _) = scene.hand_in("pairings", &scene.statement(1, &id, AGENT, &pairing, "end"));
    assert_eq!((status, scene.state(&id, AGENT).unwrap().as_str()), (200, "ended"));
    wait::until("the device to hear of it", || {
        Ok((!kosd(&device, &["pair"]).stdout.contains(AGENT)).then_some(()))
    })
    .unwrap();
    assert_eq!(scene.hand_in("pairings", &confirmed).0, 404, "over is over");
    scene.propose(&id, AGENT, 1, "partner");
    let (status, said) = scene.hand_in("pairings", &confirmed);
    assert_eq!((status, &said["code"]), (403, &"KOS-E0843".into()), "replayed after it was ended");
    shows(&device, AGENT, "proposed");
    assert_eq!(kosd(&device, &["unpair", AGENT]).code(), 0, "the device refuses");
    scene.becomes(&id, AGENT, "ended");

    // A person confirms with their own certificate, and nobody for them.
    let anna = Operator::elsewhere(&scene.authority, "anna", "operator").unwrap();
    assert_eq!(scene.ends(&["device", "pair", &id, "--with", "user:looker"]), (2, "KOS-E0842".to_owned()));
    scene.authority.json(&["device", "pair", &id, "--with", "user:anna"]).unwrap();
    shows(&device, "user:anna", "proposed");
    let confirm = ["--context", "home", "device", "confirm-pairing", &id];
    assert_eq!(anna.kosctl(&confirm).unwrap().code(), 0);
    assert_eq!(kosd(&device, &["pair", "user:anna"]).code(), 0);
    scene.becomes(&id, "user:anna", "paired");
    // Who has no rights any more is paired with nothing.
    scene.authority.json(&["operator", "remove", "anna", "--yes"]).unwrap();
    wait::until("the device to hear of it", || {
        Ok((!kosd(&device, &["pair"]).stdout.contains("user:anna")).then_some(()))
    })
    .unwrap();

    // Quarantine ends what there is, in the same moment.
    let pairing = scene.paired(&device, &id, "partner");
    scene.authority.json(&["device", "quarantine", &id, "--reason", "strange", "--yes"]).unwrap();
    assert_eq!(scene.state(&id, AGENT).unwrap(), "ended");
    let events = scene.authority.events().unwrap();
    for event in ["pairing_proposed", "pairing_confirmed", "pairing_ended"] {
        assert!(events.contains(&event.to_owned()), "{event}: {events:?}");
    }
    let log = scene.authority.json(&["audit", "list", "--event", "pairing_ended"]).unwrap();
    let last =
        log["items"].as_array().unwrap().iter().find(|entry| entry["details"]["pairing"] == pairing.as_str());
    assert_eq!(last.unwrap()["details"]["by"], "device-stopped", "{log}");
    let ended = log["items"].as_array().unwrap().iter().find(|entry| entry["details"]["by"] == "partner");
    assert_eq!(ended.unwrap()["actor"], json!({"id": AGENT, "type": "agent"}), "{log}");
    device.kill().unwrap();
    scene.authority.stop().unwrap();
}

#[test]
fn an_agent_is_let_through_by_its_grant_and_no_further() {
    let mut scene = Scene::new();
    let (mut device, id) = fleet::device_in_service(&scene.authority, "granted").unwrap();
    scene.paired(&device, &id, "partner");

    // What is refused at its making: too wide for its level, without a door, more than its pairing gives.
    let asks = |capability: &str, more: &[&str]| {
        let base = [
            "agent",
            "grant",
            &id,
            "--agent",
            AGENT,
            "--capability",
            capability,
            "--scope",
            "*",
            "--for",
            "1h",
        ];
        scene.ends(&[&base[..], more].concat())
    };
    assert_eq!(asks("device.log", &[]), (5, "KOS-E0857".to_owned()), "user data is not for partners");
    assert_eq!(asks("device.regen-cert", &[]), (5, "KOS-E0857".to_owned()));
    assert_eq!(asks("kai.execute", &[]), (5, "KOS-E0852".to_owned()));
    assert_eq!(asks("device.status", &["--trust", "trusted"]), (5, "KOS-E0853".to_owned()));
    assert_eq!(asks("device.status", &["--trust", "external"]), (5, "KOS-E0857".to_owned()));
    assert_eq!(asks("device.status", &["--condition", "profile"]), (2, "KOS-E0851".to_owned()));

    let grant = scene.grant(&id, "device.status", "status/*", &["--for", "1h", "--uses", "3"]);
    assert_eq!((&grant["granted"], &grant["used"]), (&true.into(), &0.into()), "{grant}");
    // A foreign program reads the signed grant.
    let chain = scene.authority.json(&["authority", "show"]).unwrap();
    assert_eq!(grant["signedBy"].as_str().map(str::len), Some(64), "{chain}");

    let (status, said) = scene.hand_in("calls", &scene.call(1, &id, &grant, "status/health", 1));
    assert_eq!(status, 200, "{said}");
    let answer = &said["item"];
    assert_eq!((&answer["basis"], &answer["usesLeft"]), (&"grant".into(), &2.into()), "{said}");
    assert_eq!(answer["result"]["state"], "active", "{said}");
    assert!(answer["result"]["health"]["ramTotalBytes"].is_u64(), "{said}");

    // Forged, replayed, beyond its scope, for another capability, out of time.
    let (status, said) = scene.hand_in("calls", &scene.call(2, &id, &grant, "status/health", 9));
    assert_eq!((status, &said["code"]), (403, &"KOS-E0860".into()), "{said}");
    assert_eq!(scene.calls(&id, &grant, "status/health", 1), (403, "KOS-E0861".to_owned()));
    assert_eq!(scene.calls(&id, &grant, "log/device_booted", 10), (403, "KOS-E0856".to_owned()));
    let mut other = grant.clone();
    other["capability"] = "device.log".into();
    assert_eq!(scene.calls(&id, &other, "status/health", 11), (403, "KOS-E0856".to_owned()));
    other["grantId"] = "0190a0b0-c0d0-7000-8000-000000000001".into();
    assert_eq!(scene.calls(&id, &other, "status/health", 12), (404, "KOS-E0850".to_owned()));

    // Two uses are left; of three at once, two win.
    let signed: Vec<_> = (20..23).map(|number| scene.call(1, &id, &grant, "status/link", number)).collect();
    let door = scene.door();
    let answers: Vec<(u16, Value)> = std::thread::scope(|scope| {
        let asked: Vec<_> =
            signed.iter().map(|signed| scope.spawn(|| hand_in(&door, "calls", signed))).collect();
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let used = scene.authority.json(&["agent", "show", grant["grantId"].as_str().unwrap()]).unwrap();
    let won = answers.iter().filter(|(status, _)| *status == 200).count();
    let lost = answers.iter().filter_map(|(_, said)| said["code"].as_str());
    assert!(lost.clone().all(|code| ["KOS-E0855", "KOS-E0861"].contains(&code)), "{answers:?}");
    // A number that comes after a higher one is a replay, so one or two win, and never more than were left.
    assert!((1..=2).contains(&won), "{answers:?}");
    assert_eq!(used["item"]["used"], 1 + won, "{used}");
    let spend = (30..).take(3 - 1 - won).map(|number| scene.calls(&id, &grant, "status/link", number));
    assert!(spend.into_iter().all(|(status, _)| status == 200));
    assert_eq!(scene.calls(&id, &grant, "status/health", 40), (403, "KOS-E0855".to_owned()));

    // The count outlives a kill of the authority, and of the device.
    scene.authority.kill().unwrap();
    scene.authority.serve().unwrap();
    device.kill().unwrap();
    device.run().unwrap();
    scene.authority.device_becomes(&id, "online", |online| *online == true).unwrap();
    assert_eq!(scene.calls(&id, &grant, "status/health", 41), (403, "KOS-E0855".to_owned()));

    // A person lifts it for a time, with a reason that is recorded and shown; and stops it.
    let name = grant["grantId"].as_str().unwrap();
    let lift =
        ["agent", "override", name, "--allow", "--for", "10m", "--reason", "the cellar is under water"];
    assert_eq!(scene.run(&lift).code(), 0);
    let shown = scene.authority.json(&["agent", "show", name]).unwrap();
    assert_eq!(shown["item"]["override"]["reason"], "the cellar is under water", "{shown}");
    assert!(shown["item"]["why"].as_str().unwrap().contains("under water"), "{shown}");
    let (status, said) = wait::until("the call to be let through", || {
        let number = now_ms();
        let (status, said) = scene.hand_in("calls", &scene.call(1, &id, &grant, "status/health", number));
        Ok((status != 503).then_some((status, said)))
    })
    .unwrap();
    assert_eq!((status, &said["item"]["basis"]), (200, &"override".into()), "{said}");
    assert_eq!(scene.calls(&id, &grant, "log/x", now_ms()), (403, "KOS-E0856".to_owned()), "never its scope");
    let stop = ["agent", "override", name, "--deny", "--for", "10m", "--reason", "enough"];
    assert_eq!(scene.run(&stop).code(), 0);
    assert_eq!(scene.calls(&id, &grant, "status/health", now_ms()), (403, "KOS-E0859".to_owned()));

    // Narrowed at run time, never widened; one that ends; one whose condition does not hold.
    let free = scene.grant(&id, "device.status", "status/*", &["--for", "1h", "--condition", "profile >= 2"]);
    let name = free["grantId"].as_str().unwrap();
    for wider in [["--scope", "*"], ["--for", "2h"], ["--condition", "profile >= 1"], ["--trust", "trusted"]]
    {
        let asked = [&["agent", "narrow", name][..], &wider].concat();
        assert_eq!(scene.ends(&asked), (5, "KOS-E0853".to_owned()), "{wider:?}");
    }
    assert_eq!(scene.calls(&id, &free, "status/link", now_ms()).0, 200);
    scene.authority.json(&["agent", "narrow", name, "--scope", "status/health"]).unwrap();
    assert_eq!(scene.calls(&id, &free, "status/link", now_ms()), (403, "KOS-E0856".to_owned()));
    assert_eq!(scene.calls(&id, &free, "status/health", now_ms()).0, 200);
    let strict =
        scene.grant(&id, "device.status", "status/*", &["--for", "1h", "--condition", "profile >= 4"]);
    assert_eq!(scene.calls(&id, &strict, "status/health", now_ms()), (403, "KOS-E0858".to_owned()));
    let short = scene.grant(&id, "device.status", "status/*", &["--for", "4s"]);
    wait::until("its end", || {
        let shown = scene.authority.json(&["agent", "show", short["grantId"].as_str().unwrap()])?;
        Ok((shown["item"]["granted"] == false).then_some(()))
    })
    .unwrap();
    assert_eq!(scene.calls(&id, &short, "status/health", now_ms()), (403, "KOS-E0854".to_owned()));
    scene.authority.json(&["agent", "revoke", name, "--yes"]).unwrap();
    assert_eq!(scene.calls(&id, &free, "status/health", now_ms()), (404, "KOS-E0850".to_owned()));

    // Everything stands in the log: calls by the agent, refusals by the rule.
    let log = scene.authority.json(&["audit", "list", "--event", "agent_called"]).unwrap();
    assert_eq!(log["items"][0]["actor"], json!({"id": AGENT, "type": "agent"}), "{log}");
    wait::until("refusals", || {
        let log = scene.authority.json(&["audit", "list", "--event", "policy_refused"])?;
        let items = log["items"].as_array().cloned().unwrap_or_default();
        Ok(items.iter().any(|entry| entry["details"]["rule"] == "grant").then_some(()))
    })
    .unwrap();
    let events = scene.authority.events().unwrap();
    for event in ["grant_made", "grant_narrowed", "grant_revoked", "grant_overridden"] {
        assert!(events.contains(&event.to_owned()), "{event}");
    }
    device.stop().unwrap();
    scene.authority.stop().unwrap();
}

#[test]
fn what_is_unpaired_while_offline_is_unpaired_at_once_and_stays_so() {
    let mut scene = Scene::new();
    let (mut device, id) = fleet::device_in_service(&scene.authority, "offline").unwrap();
    scene.paired(&device, &id, "trusted");
    let grant = scene.grant(&id, "device.log", "log/*", &["--for", "1h"]);
    let (status, said) = scene.hand_in("calls", &scene.call(1, &id, &grant, "log/bonds_applied", now_ms()));
    assert_eq!(status, 200, "{said}");
    let entries = said["item"]["result"]["entries"].as_array().cloned().unwrap_or_default();
    assert!(entries.iter().all(|entry| entry["eventType"] == "bonds_applied"), "{said}");
    assert!(!entries.is_empty(), "{said}");

    // The authority is gone; the device ends it all the same, and keeps that over a kill.
    let late = scene.call(1, &id, &grant, "log/bonds_applied", now_ms() + 1_000);
    scene.authority.kill().unwrap();
    assert_eq!(kosd(&device, &["unpair", AGENT]).code(), 0);
    shows(&device, AGENT, "ended");
    device.kill().unwrap();
    device.run().unwrap();
    shows(&device, AGENT, "ended");
    assert_eq!(kosd(&device, &["pair", AGENT]).code(), 3, "it cannot be taken back");
    scene.authority.serve().unwrap();
    scene.becomes(&id, AGENT, "ended");
    let (status, said) = scene.hand_in("calls", &late);
    assert_eq!((status, &said["code"]), (403, &"KOS-E0845".into()), "{said}");
    assert_eq!(scene.ends(&["agent", "show", grant["grantId"].as_str().unwrap()]).1, "KOS-E0850");

    // The other way round: ended at the authority while the device is away, which hears of it first of all.
    scene.paired(&device, &id, "partner");
    device.kill().unwrap();
    scene.authority.json(&["device", "unpair", &id, "--from", AGENT, "--yes"]).unwrap();
    device.run().unwrap();
    wait::until("the device to hear of it", || {
        Ok((!kosd(&device, &["pair"]).stdout.contains(AGENT)).then_some(()))
    })
    .unwrap();
    device.stop().unwrap();
    scene.authority.stop().unwrap();
}

#[test]
fn a_device_confirms_by_itself_whom_its_configuration_names() {
    let mut scene = Scene::new();
    let anna = Operator::elsewhere(&scene.authority, "anna", "operator").unwrap();
    let mut device = Device::new("owned", "pairing:\n  accept: [\"user:anna\"]\n").unwrap();
    let id = fleet::bring_into_service(&scene.authority, &mut device).unwrap();
    // Whoever proposes themselves has confirmed it.
    let done = anna.kosctl(&["--context", "home", "device", "pair", &id, "--with", "user:anna"]).unwrap();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    scene.becomes(&id, "user:anna", "paired");
    scene.propose(&id, AGENT, 1, "partner");
    shows(&device, AGENT, "proposed");
    assert!(kosd(&device, &["status"]).stdout.contains("kosd pair"), "it says that it waits");
    device.stop().unwrap();
    scene.authority.stop().unwrap();
}

#[test]
fn a_device_that_does_not_meet_a_mandatory_module_is_kept_to_the_lobby_until_it_does() {
    let mut scene = Scene::new();
    let (mut device, id) = fleet::device_in_service(&scene.authority, "modules").unwrap();
    scene.paired(&device, &id, "partner");
    let grant = scene.grant(&id, "device.status", "status/*", &["--for", "1h"]);
    let verdict = |module: &str| -> Value {
        let list = scene.authority.json(&["device", "modules", &id]).unwrap();
        let all = list["items"].as_array().unwrap().clone();
        all.into_iter().find(|one| one["module"] == module).unwrap()
    };
    let set = |scene: &Scene, module: &str, stance: &str| {
        let set = ["policy", "set-module", module, "SEC-2", stance, "--yes"];
        assert_eq!(scene.authority.json(&set).unwrap()["item"]["stance"], stance);
    };
    assert_eq!(
        scene.authority.json(&["policy", "list", "--modules"]).unwrap()["items"].as_array().unwrap().len(),
        15
    );
    assert_eq!(verdict("clock-sanity")["verdict"], "met");
    assert_eq!(
        (&verdict("attestation")["verdict"], &verdict("attestation")["basis"]),
        (&"unmet".into(), &"proof".into())
    );
    assert_eq!(verdict("disk-encryption")["basis"], "claim");
    assert!(kosd(&device, &["status"]).stdout.contains("clock-sanity met"));
    assert_eq!(
        scene.ends(&["policy", "set-module", "colour", "SEC-2", "mandatory", "--yes"]),
        (3, "KOS-E0865".to_owned())
    );

    // What is met, or only advised, keeps nobody out.
    set(&scene, "clock-sanity", "mandatory");
    set(&scene, "attestation", "advisory");
    assert_eq!(scene.calls(&id, &grant, "status/health", now_ms()).0, 200);
    set(&scene, "attestation", "mandatory");
    wait::until("the device to be kept to the lobby", || {
        let answer = scene.calls(&id, &grant, "status/health", now_ms());
        Ok((answer == (403, "KOS-E0866".to_owned())).then_some(()))
    })
    .unwrap();
    // It lives on, and says how it is; after a kill of the authority it is kept there all the same.
    scene.authority.kill().unwrap();
    scene.authority.serve().unwrap();
    scene.authority.device_becomes(&id, "online", |online| *online == true).unwrap();
    assert_eq!(scene.calls(&id, &grant, "status/health", now_ms()), (403, "KOS-E0866".to_owned()));
    wait::until("the entry", || {
        let log = scene.authority.json(&["audit", "list", "--event", "policy_refused"])?;
        let items = log["items"].as_array().cloned().unwrap_or_default();
        Ok(items.iter().any(|entry| entry["details"]["request"] == "module/attestation").then_some(()))
    })
    .unwrap();
    let before = scene.authority.device(&id).unwrap()["lastHeartbeatAt"].clone();
    scene.authority.device_becomes(&id, "lastHeartbeatAt", |at| *at != before).unwrap();
    set(&scene, "attestation", "off");
    wait::until("the device to be let out", || {
        Ok((scene.calls(&id, &grant, "status/health", now_ms()).0 == 200).then_some(()))
    })
    .unwrap();
    assert!(scene.authority.events().unwrap().contains(&"modules_changed".to_owned()));
    device.stop().unwrap();
    scene.authority.stop().unwrap();
}
