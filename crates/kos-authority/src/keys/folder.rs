//! The folder of key files.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use data_encoding::{BASE64, HEXLOWER};
use kos_base::{Secret, digest::sha256, text::base64};
use kos_identity::certificate::Certificate;
use kos_net::keys::SigningKey;
use zeroize::Zeroizing;

use super::{Keys, KeysError};
use crate::files::{self, Mode};

const ROOT: &str = "root";
const ISSUING: [&str; 2] = ["issuing-1", "issuing-2"];
const KID: &str = "kid";
const LOG: &str = "log";
const ORDERS: &str = "orders";
const STORE: &str = "store.key";
/// SHA-256 of every other file, as `sha256sum -c` reads it: most keys are valid with a bit flipped, and would be others.
const SUMS: &str = "SHA256SUMS";

/// Longest key or certificate file, in bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024;

const KEY_LABEL: &str = "PRIVATE KEY";
const CERTIFICATE_LABEL: &str = "CERTIFICATE";

pub(super) fn write(keys: &Keys, folder: &Path) -> Result<(), KeysError> {
    let at = |path: &Path, source: io::Error| KeysError::File { path: path.display().to_string(), source };
    let mut beside = folder.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    // What an interrupted run left: keys that nobody has used.
    match fs::remove_dir_all(&beside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(at(&beside, e)),
        _ => {}
    }
    DirBuilder::new().mode(0o700).create(&beside).map_err(|e| at(&beside, e))?;

    let mut sums = String::new();
    let mut put = |name: &str, text: &str| {
        let path = beside.join(name);
        sums.push_str(&format!("{}  {name}\n", HEXLOWER.encode(&sha256(text.as_bytes()))));
        files::replace(&path, text.as_bytes(), Mode::Private).map_err(|e| at(&path, e))
    };
    let [issuing_1, issuing_2] = &keys.issuing;
    let [first, second] = ISSUING;
    let named = [
        (ROOT, &keys.root),
        (first, issuing_1),
        (second, issuing_2),
        (KID, &keys.kid),
        (LOG, &keys.log),
        (ORDERS, &keys.orders),
    ];
    for (name, key) in named {
        put(&format!("{name}.key"), &pem(KEY_LABEL, &key.to_pkcs8()?))?;
    }
    let [certificate_1, certificate_2] = &keys.issuing_certificates;
    for (name, certificate) in
        [(ROOT, &keys.root_certificate), (first, certificate_1), (second, certificate_2)]
    {
        put(&format!("{name}.crt"), &pem(CERTIFICATE_LABEL, certificate.der()))?;
    }
    put(STORE, &Zeroizing::new(HEXLOWER.encode(keys.store.expose())))?;
    let path = beside.join(SUMS);
    files::replace(&path, sums.as_bytes(), Mode::Private).map_err(|e| at(&path, e))?;
    fs::rename(&beside, folder).map_err(|e| at(folder, e))?;
    let parent = folder.parent().unwrap_or(folder);
    files::sync_folder(parent).map_err(|e| at(parent, e))
}

pub(super) fn read(folder: &Path) -> Result<Keys, KeysError> {
    if !folder.exists() {
        return Err(KeysError::Missing(folder.display().to_string()));
    }
    let [first, second] = ISSUING;
    let (root, root_certificate) = pair(folder, ROOT)?;
    let (issuing_1, certificate_1) = pair(folder, first)?;
    let (issuing_2, certificate_2) = pair(folder, second)?;
    for (name, certificate) in [(first, &certificate_1), (second, &certificate_2)] {
        if certificate.verify_signature(root.public()).is_err() {
            return Err(damaged(&folder.join(format!("{name}.crt")), "the root did not sign it"));
        }
    }
    let path = folder.join(STORE);
    let bytes = HEXLOWER.decode(sound(&path)?.trim_end().as_bytes()).map(Zeroizing::new);
    let bytes = bytes.ok().and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
    let store = bytes.map(Secret::new).ok_or_else(|| damaged(&path, "not 64 hexadecimal characters"))?;
    Ok(Keys {
        root,
        issuing: [issuing_1, issuing_2],
        kid: key(folder, KID)?,
        log: key(folder, LOG)?,
        orders: key(folder, ORDERS)?,
        store,
        root_certificate,
        issuing_certificates: [certificate_1, certificate_2],
    })
}

fn pair(folder: &Path, name: &str) -> Result<(Arc<SigningKey>, Certificate), KeysError> {
    let key = key(folder, name)?;
    let path = folder.join(format!("{name}.crt"));
    let der =
        unpem(CERTIFICATE_LABEL, &sound(&path)?).ok_or_else(|| damaged(&path, "not a PEM certificate"))?;
    let certificate = Certificate::parse(&der).map_err(|e| damaged(&path, e.to_string()))?;
    if certificate.public_key() != key.public() {
        return Err(damaged(&path, "it is not the certificate of the key beside it"));
    }
    Ok((key, certificate))
}

fn key(folder: &Path, name: &str) -> Result<Arc<SigningKey>, KeysError> {
    let path = folder.join(format!("{name}.key"));
    let der = unpem(KEY_LABEL, &sound(&path)?).ok_or_else(|| damaged(&path, "not a PEM private key"))?;
    SigningKey::from_pkcs8(&der).map(Arc::new).map_err(|e| damaged(&path, e.to_string()))
}

fn text(path: &Path) -> Result<Zeroizing<String>, KeysError> {
    let at = |source| KeysError::File { path: path.display().to_string(), source };
    let text = files::read_text(path, FILE_BYTES_MAX).map_err(at)?;
    text.map(Zeroizing::new).ok_or_else(|| at(io::ErrorKind::NotFound.into()))
}

/// The text of a file whose digest is the one that was written.
fn sound(path: &Path) -> Result<Zeroizing<String>, KeysError> {
    let sums = text(&path.with_file_name(SUMS))?;
    let content = text(path)?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let line = format!("{}  {name}", HEXLOWER.encode(&sha256(content.as_bytes())));
    if sums.lines().any(|held| held == line) {
        return Ok(content);
    }
    Err(damaged(path, format!("its digest is not the one in {SUMS}")))
}

fn damaged(path: &Path, why: impl Into<String>) -> KeysError {
    KeysError::Damaged { path: path.display().to_string(), why: why.into() }
}

/// RFC 7468, in buffers that wipe themselves.
fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(BASE64.encode(der));
    let mut text = Zeroizing::new(String::with_capacity(body.len() + body.len() / 64 + 128));
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    for line in body.as_bytes().chunks(64) {
        text.push_str(std::str::from_utf8(line).unwrap_or_default());
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

fn unpem(label: &str, text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let body = text.trim_end().strip_prefix(&format!("-----BEGIN {label}-----\n"))?;
    let body = body.strip_suffix(&format!("\n-----END {label}-----"))?;
    let joined: Zeroizing<String> = Zeroizing::new(body.lines().collect());
    base64(&joined).map(Zeroizing::new)
}
