//! Makers, and devices as they leave their factory.

use std::{
    fs,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use data_encoding::BASE64;
use kos_e2e::{
    fleet::{Authority, Device},
    judge, wait,
};
use kos_emulator::SoftTpm;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The nonce of the vouchers that need no other.
pub(crate) const NONCE: &str = "000102030405060708090a0b0c0d0e0f";

/// Asks the foreign maker.
pub(crate) fn ask(question: &Value) -> Value {
    let said = judge::python("tests/e2e/judge/voucher.py", &question.to_string()).unwrap();
    serde_json::from_str(&said).unwrap()
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// A maker of devices, and a desk for its files.
pub(crate) struct Maker {
    pub(crate) key: Value,
    desk: TempDir,
}

impl Maker {
    pub(crate) fn new(algorithm: &str) -> Self {
        Self { key: ask(&json!({"do": "key", "alg": algorithm})), desk: TempDir::new().unwrap() }
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.desk.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_string_lossy().into_owned()
    }

    pub(crate) fn public(&self) -> String {
        text(&self.key["public"])
    }

    /// What `authority` has to be called in a voucher.
    pub(crate) fn owner(authority: &Authority) -> Value {
        authority.json(&["voucher", "owner"]).unwrap()["item"].clone()
    }

    /// A voucher for the device with this subject, for the authority that `owner` describes.
    pub(crate) fn voucher(&self, subject: &Value, owner: &Value, more: &Value) -> Value {
        let mut question = json!({
            "do": "voucher", "private": self.key["private"], "nonce": NONCE, "subject": subject,
            "pin": owner["pin"], "owner": owner["key"], "created": now_ms(), "expires": null,
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            question[name] = value.clone();
        }
        ask(&question)
    }

    /// Writes it as a file: its path.
    pub(crate) fn issue(&self, voucher: &Value) -> String {
        self.file("voucher", BASE64.decode(text(&voucher["file"]).as_bytes()).unwrap())
    }

    /// Has `authority` trust it.
    pub(crate) fn is_trusted_by(&self, authority: &Authority, more: &[&str]) -> Value {
        let key = self.file("maker.pem", self.public());
        let add = ["voucher", "maker", "add", "acme", "--key", &key, "--yes"];
        authority.json(&[&add, more].concat()).unwrap()["item"].clone()
    }
}

/// What the foreign maker names a TPM by: its endorsement key, as tpm2-tools make it.
pub(crate) fn ek_of(tpm: &SoftTpm) -> String {
    tpm.judge(&["tpm2_startup", "-c"]);
    tpm.judge(&["tpm2_createek", "-G", "ecc", "-c", "ek.ctx", "-u", "ek.pem", "-f", "pem"]);
    tpm.judge(&["tpm2_flushcontext", "-t"]);
    let public = fs::read_to_string(tpm.path("ek.pem")).unwrap();
    text(&ask(&json!({"do": "id", "public": public}))["id"])
}

/// A device that knows where its authority is, and nothing of who it is.
pub(crate) fn newcomer(authority: &Authority, serial: &str, more: &str) -> Device {
    let port = authority.ports().tls;
    let network = format!("network:\n  discovery_method: fixed\n  authority: [\"127.0.0.1:{port}\"]\n");
    Device::new(serial, &(network + more)).unwrap()
}

/// Puts a file below the root of a device.
pub(crate) fn put(device: &Device, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = device.root().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

/// The only device that the authority knows, once it does and it has this state.
pub(crate) fn only(authority: &Authority, state: &str) -> Value {
    let found = wait::until(&format!("a device in {state}"), || {
        let list = authority.json(&["device", "list", "--state", state])?;
        Ok(list["items"].as_array().and_then(|items| items.first().cloned()))
    });
    authority.device(found.unwrap()["deviceId"].as_str().unwrap()).unwrap()
}

/// Why the device that waits is not let in, once the authority says so.
pub(crate) fn withheld(authority: &Authority, id: &str, wanted: &str) -> String {
    let found = wait::until(&format!("{wanted} as the reason"), || {
        let why = authority.device(id)?["lobby"]["withheld"].as_str().map(str::to_owned);
        Ok(why.filter(|why| why.contains(wanted)))
    });
    found.unwrap_or_else(|error| panic!("{error}: {}", authority.device(id).unwrap()["lobby"]))
}
