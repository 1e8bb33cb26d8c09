//! The keys of every document that others rely on, taken from the programs themselves. A key that goes, gets another name
//! or joins in silence fails here: what joins is listed below, since a reader may count on it from then on.
#![cfg(test)]

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use kos_e2e::{
    fleet,
    program::{self, Program, files},
};
use serde_json::Value;
use tempfile::TempDir;

/// An object of a document: where it is, the keys that were promised, and those that came later.
struct Promised {
    at: &'static str,
    keys: &'static str,
    more: &'static str,
}

const fn promised(at: &'static str, keys: &'static str, more: &'static str) -> Promised {
    Promised { at, keys, more }
}

const DEVICE: &[Promised] = &[
    promised(
        "",
        "deviceId name role profile evidenceTier group user state stateReason stateSince banned online channel \
         capabilities kidSubject identityKeyId operationalKeyId certSerial certNotAfter enrolledAt lastHeartbeatAt \
         health version lastAuditIndex",
        "tags devAllowed image recoveriesLeft successorOf admittedBy lobby quarantine",
    ),
    promised("/health", "cpuPercent ramUsedBytes ramTotalBytes uptimeSeconds errors", ""),
];

const IDENTITY_CHAIN: &[Promised] = &[
    promised("", "deviceId certificates kid revocation checks valid", "deviceIdInputs"),
    promised("/certificates/0", "subject issuer serial sha256 keyId algorithm notBefore notAfter pem", ""),
    promised("/kid", "subject issuer keyId issuedAt expiresAt cwt", ""),
    promised("/revocation", "status reason crlNumber thisUpdate", ""),
    promised("/checks/0", "name ok detail", ""),
    promised("/deviceIdInputs", "uuid macs serials identityKeyId", ""),
];

const AUDIT_ENTRY: &[Promised] = &[
    promised(
        "",
        "index id timestamp eventType actor target details keyId signature leafHash merkleProof",
        "",
    ),
    promised("/actor", "type id", ""),
    promised("/target", "type id", ""),
];

const AUDIT_VERDICT: &[Promised] = &[promised(
    "",
    "ok origin size rootHash checkpointTime entriesChecked signaturesChecked assurance failures",
    "failuresFound notChecked witnessedSize witnessedBy",
)];

const LOG_FAILURE: &[Promised] = &[promised("/failures/0", "index kind detail", "")];

const TICKET: &[Promised] = &[promised(
    "",
    "ticketId text url deviceName role profileCap group uses expiresAt",
    "state usesLeft createdAt createdBy devices",
)];

const DECOMMISSION: &[Promised] = &[promised("", "deviceId state revokedAt crlNumber wipe auditIndex", "")];

const ERROR: &[Promised] = &[promised("", "code title detail fix exitCode requestId", "object")];

const READY: &[Promised] = &[
    promised("", "authority deviceId pid firstRun heartbeatMs ports socket", ""),
    promised("/ports", "web tls pki", ""),
];

/// Whether a document is of this kind and has these keys and no others.
fn check(document: &Value, kind: &str, promises: &[Promised]) -> Result<()> {
    let envelope: BTreeSet<_> =
        document.as_object().context("not an object")?.keys().map(String::as_str).collect();
    ensure!(envelope == BTreeSet::from(["apiVersion", "kind", "item"]), "{kind}: {envelope:?}");
    ensure!(document["apiVersion"] == "kos.v1" && document["kind"] == kind, "{kind}: {document}");
    for Promised { at, keys, more } in promises {
        let object = document["item"].pointer(at).and_then(Value::as_object);
        let object = object.with_context(|| format!("{kind}{at} is no object: {document}"))?;
        let found: BTreeSet<_> = object.keys().map(String::as_str).collect();
        let wanted: BTreeSet<_> = keys.split_whitespace().chain(more.split_whitespace()).collect();
        let missing: Vec<_> = wanted.difference(&found).collect();
        let unlisted: Vec<_> = found.difference(&wanted).collect();
        ensure!(
            missing.is_empty() && unlisted.is_empty(),
            "{kind}{at}: missing {missing:?}, unlisted {unlisted:?}"
        );
    }
    Ok(())
}

/// A verdict about a copy of the log in which an entry was touched.
fn verdict_on_a_forgery(socket: &Path, data: &Path, folder: &Path) -> Result<Value> {
    let log = data.join("authority/log");
    for (path, mut bytes) in files(&log)? {
        let to = folder.join(path.strip_prefix(&log)?);
        fs::create_dir_all(to.parent().context("no folder")?)?;
        if to.to_string_lossy().contains("entries") {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        fs::write(to, bytes)?;
    }
    let key = folder.join("log.key");
    let (head, key) = (folder.join("head"), key.to_string_lossy());
    let words = ["audit", "checkpoint", "--out", &head.to_string_lossy(), "--key-out", &key];
    ensure!(fleet::kosctl(socket, &words)?.code() == 0, "no key of the log");
    let folder = folder.to_string_lossy();
    let words = ["audit", "verify", "--log", &folder, "--key", &key, "-o", "json"];
    let done = fleet::kosctl(socket, &words)?;
    ensure!(done.code() == 10, "ended with {}: {}{}", done.code(), done.stdout, done.stderr);
    Ok(serde_json::from_str(&done.stdout)?)
}

#[test]
fn every_document_has_the_keys_that_were_promised() {
    let folder = TempDir::with_prefix("kos-contract-").unwrap();
    let data = folder.path().join("data");
    let words = ["--data", &data.to_string_lossy(), "--port-base", "0"];
    let mut quickstart = Program::start("quickstart", &words, "").unwrap();
    quickstart.line(|line| line == "ready").unwrap();
    let ready: Value = serde_json::from_slice(&fs::read(data.join("ready.json")).unwrap()).unwrap();
    check(&ready, "Ready", READY).unwrap();
    let id = ready["item"]["deviceId"].as_str().unwrap();
    let socket = Path::new(ready["item"]["socket"].as_str().unwrap());
    let json = |words: &[&str]| fleet::json(socket, words).unwrap();

    check(&json(&["device", "show", id]), "Device", DEVICE).unwrap();
    check(&json(&["identity", "chain", "--device", id]), "IdentityChain", IDENTITY_CHAIN).unwrap();
    let about = json(&["device", "events", id]);
    let index = about["items"][0]["index"].to_string();
    check(&json(&["audit", "show", &index]), "AuditEntry", AUDIT_ENTRY).unwrap();
    check(&json(&["audit", "verify"]), "AuditVerdict", AUDIT_VERDICT).unwrap();
    let forged = verdict_on_a_forgery(socket, &data, &folder.path().join("copy")).unwrap();
    check(&forged, "AuditVerdict", AUDIT_VERDICT).unwrap();
    check(&forged, "AuditVerdict", LOG_FAILURE).unwrap();
    check(&json(&["ticket", "create", "--role", "sensor"]), "Ticket", TICKET).unwrap();
    check(&json(&["enroll", "--device", "attic", "--role", "sensor"]), "Ticket", TICKET).unwrap();
    let ended = json(&["decommission", "--device", id, "--confirm", id]);
    check(&ended, "Decommission", DECOMMISSION).unwrap();

    let list = json(&["device", "list"]);
    let envelope: Vec<_> = list.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(envelope, ["apiVersion", "items", "kind", "next"]);
    for words in [&["device", "show", "kdev-0000"][..], &["device", "show"]] {
        let server = format!("unix:{}", socket.display());
        let done =
            program::run("kosctl", &[words, &["--server", &server, "-o", "json"]].concat(), "").unwrap();
        assert!(done.stdout.is_empty() && !done.status.success(), "{}", done.stdout);
        check(&serde_json::from_str(&done.stderr).unwrap(), "Error", ERROR).unwrap();
    }
    quickstart.stop().unwrap();
}
