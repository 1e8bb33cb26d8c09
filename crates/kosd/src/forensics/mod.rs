//! What a guardian wants to know of a device that was taken for compromised, gathered on the device and sealed for the
//! guardian: an age file around one JSON document, which `age -d` opens.
//!
//! Shape: the document has at most [`DOCUMENT_BYTES_MAX`] bytes. Where everything does not fit, the oldest entries of the
//! log go first, then the list of processes.
//!
//! Invariants: it holds no key, token or password: the vault and the folder of secrets are not read, and the configuration
//! has none (`docs/reference/config.md`); of what the kernel was started with, values are taken along only where they are known to
//! be none (`SAID`). It is sealed before it touches the disk.
//!
//! What it does not do: judge. Whoever wrote the disk of the device, or is root on it, wrote what is found there; only the
//! checkpoint of the log and what the authority holds of the log show anything to others.
//!
//! Source: `docs/spec/quarantine.md` QRN-13 to QRN-15.

mod seal;

use std::{fs, path::Path};

use kos_base::{DeviceId, EntryId, Timestamp, text::printable};
use kos_identity::quarantine::BUNDLE_BYTES_MAX;
use serde_json::{Map, Value, json};

pub use seal::{SealError, seal};

/// Longest document before it is sealed, in bytes; sealing adds a header of
/// about 100 bytes for each recipient, and 32 bytes.
pub const DOCUMENT_BYTES_MAX: usize = BUNDLE_BYTES_MAX - 2_048;
/// Newest entries of the device's log that are taken along.
pub const ENTRIES_MAX: usize = 64;
/// Processes that are named.
const PROCESSES_MAX: usize = 256;
/// Listening sockets that are named.
const SOCKETS_MAX: usize = 64;
/// Longest part of the configuration that is taken along, in bytes.
const CONFIG_BYTES_MAX: usize = 8_192;

/// Longest command line of a kernel, in bytes; Linux takes 2048 on most machines.
const COMMAND_LINE_BYTES_MAX: usize = 4_096;
/// Parameters of the kernel whose values are taken along. Of all others only the names are: boot loaders and systemd also pass
/// credentials, passwords and tokens there.
const SAID: [&str; 22] = [
    "BOOT_IMAGE",
    "apparmor",
    "audit",
    "console",
    "ima_appraise",
    "ima_policy",
    "init",
    "init_on_alloc",
    "init_on_free",
    "iommu",
    "lockdown",
    "lsm",
    "mitigations",
    "module.sig_enforce",
    "panic",
    "quiet",
    "rdinit",
    "ro",
    "root",
    "rootfstype",
    "rw",
    "security",
];

/// What the daemon knows of itself.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) order: EntryId,
    pub(crate) device: &'a DeviceId,
    pub(crate) at: Timestamp,
    /// Root of the machine that is looked at.
    pub(crate) host: &'a Path,
    pub(crate) config: &'a Path,
    pub(crate) state: &'a Path,
    pub(crate) image: &'a str,
    pub(crate) warnings: &'a [String],
    /// Signed head of the device's log, its verifier key, and its newest entries.
    pub(crate) checkpoint: Option<String>,
    pub(crate) verifier_key: Option<String>,
    pub(crate) entries: Vec<Value>,
}

/// The document, as long as it may be.
pub(crate) fn document(scene: &Scene<'_>) -> Vec<u8> {
    let mut entries = scene.entries.clone();
    let mut processes = processes(scene.host);
    loop {
        let text = json!({
            "format": "kos-forensics/v1",
            "order": scene.order,
            "deviceId": scene.device,
            "madeAt": scene.at,
            "version": env!("CARGO_PKG_VERSION"),
            "image": scene.image,
            "warnings": scene.warnings,
            "log": {"checkpoint": scene.checkpoint, "verifierKey": scene.verifier_key, "entries": entries},
            "config": config(scene.config),
            "state": files(scene.state),
            "boot": boot(scene.host),
            "daemon": daemon(),
            "processes": processes,
            "listening": listening(scene.host),
        });
        let bytes = text.to_string().into_bytes();
        match bytes.len() > DOCUMENT_BYTES_MAX {
            true if !entries.is_empty() => drop(entries.remove(0)),
            true if !processes.is_empty() => processes.clear(),
            _ => return bytes,
        }
    }
}

/// Name of the file that holds the sealed bundle of an order.
pub(crate) fn file_name(order: EntryId) -> String {
    format!("{FILES}{order}.age")
}

/// How the names of such files begin.
pub(crate) const FILES: &str = "forensics-";

fn text_of(path: &Path, bytes_max: usize) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    Some(escaped(bytes.get(..bytes.len().min(bytes_max))?, bytes_max))
}

/// The text that bytes are, with `\xNN` for each that is none: whoever looks at it sees what was there. It ends once it is
/// longer than `bytes_max`.
fn escaped(bytes: &[u8], bytes_max: usize) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
        if text.len() > bytes_max {
            break;
        }
    }
    text
}

fn config(path: &Path) -> Value {
    json!({"file": path.display().to_string(), "text": text_of(path, CONFIG_BYTES_MAX)})
}

/// Names and sizes of what lies in the state folder.
fn files(folder: &Path) -> Vec<Value> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(PROCESSES_MAX);
    let mut found: Vec<(String, u64)> = entries
        .map(|entry| {
            let bytes = entry.metadata().map_or(0, |meta| meta.len());
            (printable(&escaped(entry.file_name().as_encoded_bytes(), 100), 100), bytes)
        })
        .collect();
    found.sort();
    found.into_iter().map(|(name, bytes)| json!({"name": name, "bytes": bytes})).collect()
}

fn boot(host: &Path) -> Value {
    let line = |path: &str| text_of(&host.join(path), 512).map(|text| printable(text.trim(), 512));
    json!({
        "kernel": line("proc/sys/kernel/osrelease"),
        "bootId": line("proc/sys/kernel/random/boot_id"),
        "hostName": line("proc/sys/kernel/hostname"),
        "uptime": line("proc/uptime"),
        "commandLine": text_of(&host.join("proc/cmdline"), COMMAND_LINE_BYTES_MAX).map(|text| command_line(&text)),
    })
}

/// The parameters of the kernel, one after the other, without values that may be secrets.
fn command_line(text: &str) -> String {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), String::new(), false);
    for c in text.trim().chars() {
        is_quoted ^= c == '"';
        if c.is_whitespace() && !is_quoted {
            words.push(std::mem::take(&mut word));
        } else {
            word.push(c);
        }
    }
    words.push(word);
    // What comes behind it is for the first program, and nobody says what it means.
    let own = words.iter().take_while(|word| *word != "--").filter(|word| !word.is_empty());
    let shown = own.map(|word| match word.trim_start_matches('"').split_once('=') {
        // A root on the network may be named with a password, before an `@`.
        Some((name, value)) if !SAID.contains(&name) || value.contains('@') => format!("{name}=.."),
        _ => word.clone(),
    });
    printable(&shown.collect::<Vec<_>>().join(" "), 512)
}

fn daemon() -> Value {
    let status = text_of(Path::new("/proc/self/status"), 4_096).unwrap_or_default();
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)).map(|rest| printable(rest.trim(), 100))
    };
    let program = fs::read_link("/proc/self/exe").ok().map(|path| path.display().to_string());
    json!({
        "pid": std::process::id(),
        "program": program,
        "parent": field("PPid:"),
        "uid": field("Uid:"),
        "tracer": field("TracerPid:"),
    })
}

/// Processes of the machine by number and name. Their arguments may hold secrets of others, and stay.
fn processes(host: &Path) -> Vec<Value> {
    let entries = fs::read_dir(host.join("proc")).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.truncate(PROCESSES_MAX);
    let named = |pid: u32| {
        let folder = host.join("proc").join(pid.to_string());
        let name = text_of(&folder.join("comm"), 64).map(|text| printable(text.trim(), 32));
        json!({"pid": pid, "name": name})
    };
    numbers.into_iter().map(named).collect()
}

/// Sockets that wait for connections, as the kernel writes them: hexadecimal address and port.
fn listening(host: &Path) -> Map<String, Value> {
    let mut found = Map::new();
    for table in ["tcp", "tcp6"] {
        let text = text_of(&host.join("proc/net").join(table), 262_144).unwrap_or_default();
        // `0A` is TCP_LISTEN.
        let open = text.lines().skip(1).filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (local, _, state) = (words.next()?, words.next()?, words.next()?);
            (state == "0A").then(|| Value::from(printable(local, 48)))
        });
        found.insert(table.to_owned(), open.take(SOCKETS_MAX).collect());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_shown_as_it_is_and_not_without_end() {
        assert_eq!(escaped(b"a\xff\xc3b \xc3\xbc", 100), "a\\xff\\xc3b \u{fc}");
        assert!(escaped(&[0xff; 8_192], 8_192).len() <= 8_192 + 4);
    }

    fn scene<'a>(folder: &'a Path, device: &'a DeviceId, entries: Vec<Value>) -> Scene<'a> {
        Scene {
            order: EntryId::from_parts(Timestamp::from_unix_s(5), [1; 10]),
            device,
            at: Timestamp::from_unix_s(6),
            host: folder,
            config: folder,
            state: folder,
            image: "unverified",
            warnings: &[],
            checkpoint: Some("head".to_owned()),
            verifier_key: None,
            entries,
        }
    }

    #[test]
    fn no_value_that_the_kernel_was_started_with_is_told_unless_it_is_known_to_be_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("proc")).unwrap();
        let line = "BOOT_IMAGE=/vmlinuz root=UUID=1-2 ro quiet console=ttyS0,115200 panic=-1 \
                    systemd.set_credential=login:S3CRET systemd.set_credential_binary=a:UzNDUkVU \
                    \"ks.pass=S3CRET two\" rd.luks.key=S3CRET x=\"S3CRET S3CRET\" root.token=S3CRET root=cifs://a:S3CRET@b/c -- --pass S3CRET\n";
        fs::write(folder.path().join("proc/cmdline"), line).unwrap();
        let device = "kdev-7f4ac30123456789".parse().unwrap();
        let document = document(&scene(folder.path(), &device, Vec::new()));
        let text = String::from_utf8(document.clone()).unwrap();
        assert!(!text.contains("S3CRET") && !text.contains("UzND") && !text.contains("two"), "{text}");
        let value: Value = serde_json::from_slice(&document).unwrap();
        let told = "BOOT_IMAGE=/vmlinuz root=UUID=1-2 ro quiet console=ttyS0,115200 panic=-1 systemd.set_credential=.. \
                    systemd.set_credential_binary=.. ks.pass=.. rd.luks.key=.. x=.. root.token=.. root=..";
        assert_eq!(value["boot"]["commandLine"], told);
    }

    #[test]
    fn a_document_that_would_be_too_long_loses_its_oldest_entries() {
        let folder = tempfile::tempdir().unwrap();
        let device = "kdev-7f4ac30123456789".parse().unwrap();
        let entries: Vec<Value> =
            (0..ENTRIES_MAX).map(|index| json!({"index": index, "details": "x".repeat(4_000)})).collect();
        let document = document(&scene(folder.path(), &device, entries));
        assert!(document.len() <= DOCUMENT_BYTES_MAX);
        let value: Value = serde_json::from_slice(&document).unwrap();
        let kept = value["log"]["entries"].as_array().unwrap();
        assert_eq!(kept.last().unwrap()["index"], ENTRIES_MAX - 1);
        assert!(kept.len() < ENTRIES_MAX && kept.len() > 8);
    }
}
