//! The folder of the keys as files: the certificates of the CAs, and the digests that say that they are whole.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use data_encoding::{BASE64, HEXLOWER};
use kos_base::{digest::sha256, text::base64};
use kos_identity::certificate::Certificate;
use zeroize::Zeroizing;

use super::{KeysError, damaged};
use crate::files::{self, Mode};

/// Root first, then the issuing CAs.
pub(super) const CERTIFICATES: [&str; 3] = ["root.crt", "issuing-1.crt", "issuing-2.crt"];
/// SHA-256 of each certificate file, as `sha256sum -c` reads it.
const SUMS: &str = "SHA256SUMS";
/// All of them.
pub(super) const FILES: [&str; 4] = {
    let [root, one, two] = CERTIFICATES;
    [root, one, two, SUMS]
};

/// Longest file, in bytes; stops one that was swapped for something endless.
const FILE_BYTES_MAX: u64 = 16 * 1024;

const LABEL: &str = "CERTIFICATE";

/// A folder beside `folder` with the certificates in it, empty before.
pub(super) fn begin(folder: &Path, certificates: [&Certificate; 3]) -> Result<PathBuf, KeysError> {
    let mut beside = folder.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    // What an interrupted run left: keys that nobody has used.
    match fs::remove_dir_all(&beside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(at(&beside)(e)),
        _ => {}
    }
    DirBuilder::new().mode(0o700).create(&beside).map_err(at(&beside))?;
    let mut sums = String::new();
    for (name, certificate) in CERTIFICATES.into_iter().zip(certificates) {
        let (path, text) = (beside.join(name), pem(certificate.der()));
        sums.push_str(&sum(name, &text));
        files::replace(&path, text.as_bytes(), Mode::Private).map_err(at(&path))?;
    }
    let path = beside.join(SUMS);
    files::replace(&path, sums.as_bytes(), Mode::Private).map_err(at(&path))?;
    Ok(beside)
}

/// Moves what [`begin`] began to its place.
pub(super) fn finish(beside: &Path, folder: &Path) -> Result<(), KeysError> {
    fs::rename(beside, folder).map_err(at(folder))?;
    let parent = folder.parent().unwrap_or(folder);
    files::sync_folder(parent).map_err(at(parent))
}

/// The certificates, each as it was written.
pub(super) fn certificates(folder: &Path) -> Result<[Certificate; 3], KeysError> {
    let [root, one, two] = CERTIFICATES.map(|name| {
        let path = folder.join(name);
        let der = unpem(LABEL, &sound(&path)?).ok_or_else(|| damaged(&path, "not a PEM certificate"))?;
        Certificate::parse(&der).map_err(|e| damaged(&path, e.to_string()))
    });
    Ok([root?, one?, two?])
}

/// The digests name the certificates and nothing else, as after the keys of the earlier form went.
pub(super) fn settle(folder: &Path) -> Result<(), KeysError> {
    let mut sums = String::new();
    for name in CERTIFICATES {
        sums.push_str(&sum(name, &text(&folder.join(name))?));
    }
    let path = folder.join(SUMS);
    if *text(&path)? == sums {
        return Ok(());
    }
    files::replace(&path, sums.as_bytes(), Mode::Private).map_err(at(&path))
}

/// The text of a file whose digest is the one that was written.
pub(super) fn sound(path: &Path) -> Result<Zeroizing<String>, KeysError> {
    let sums = text(&path.with_file_name(SUMS))?;
    let content = text(path)?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if sums.split_inclusive('\n').any(|held| held == sum(name, &content)) {
        return Ok(content);
    }
    Err(damaged(path, format!("its digest is not the one in {SUMS}")))
}

pub(super) fn unpem(label: &str, text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let body = text.trim_end().strip_prefix(&format!("-----BEGIN {label}-----\n"))?;
    let body = body.strip_suffix(&format!("\n-----END {label}-----"))?;
    let joined: Zeroizing<String> = Zeroizing::new(body.lines().collect());
    base64(&joined).map(Zeroizing::new)
}

/// RFC 7468.
fn pem(der: &[u8]) -> String {
    let body = BASE64.encode(der);
    let lines: Vec<_> = body.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {LABEL}-----\n{}\n-----END {LABEL}-----\n", lines.join("\n"))
}

fn sum(name: &str, text: &str) -> String {
    format!("{}  {name}\n", HEXLOWER.encode(&sha256(text.as_bytes())))
}

fn text(path: &Path) -> Result<Zeroizing<String>, KeysError> {
    let text = files::read_text(path, FILE_BYTES_MAX).map_err(at(path))?;
    text.map(Zeroizing::new).ok_or_else(|| at(path)(io::ErrorKind::NotFound.into()))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> KeysError {
    let path = path.display().to_string();
    move |source| KeysError::File { path, source }
}
