//! The lists by which this device judges others: from its operator, and from nobody else.
//!
//! Shape: a JSON object with `eks` (ids of endorsement keys, in hex) and `golden` (sets of `name` and `pcrs`, each with its
//! `number` and `value`, as `kosctl attest show` prints them), and PEM files of roots.
//!
//! Errors: [`ListsError`]. A file that says something that is not understood is not used in part.
//!
//! Source: `docs/spec/second-verifier.md` SECV-8 to SECV-10.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use kos_base::{Code, KeyId, code};
use kos_identity::second::{Lists, ListsFault};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde::Deserialize;

use crate::{
    config::Config,
    root::{RootError, file},
};

/// Longest file of lists or roots, in bytes: all that may stand in it, with room for spaces.
const BYTES_MAX: usize = 1 << 20;

/// Why there are no lists.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListsError {
    /// The system refuses.
    #[error(transparent)]
    Root(#[from] RootError),
    /// There is no such file.
    #[error("{} is not there", .0.display())]
    Absent(PathBuf),
    /// It says something that is not understood.
    #[error("{path}: {why}")]
    Form {
        /// Which file.
        path: String,
        /// What.
        why: String,
    },
    /// What it says cannot be used.
    #[error(transparent)]
    Lists(#[from] ListsFault),
}

impl ListsError {
    /// The stable code.
    pub(crate) const fn code(&self) -> Code {
        code::second::SECOND_LISTS
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    eks: Vec<KeyId>,
    golden: Vec<Golden>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Golden {
    name: String,
    pcrs: Vec<Pcr>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pcr {
    number: u32,
    value: String,
}

/// Reads the lists that `config` names below `folder`; nothing if it names none.
///
/// # Errors
/// When any of it cannot be read or used.
pub(crate) fn read(folder: &Path, config: &Config) -> Result<Option<Lists>, ListsError> {
    let Some(path) = &config.verifier else { return Ok(None) };
    let path = path.below(folder);
    let bytes = whole(&path)?;
    let form = |why: String| doubtful(&path, why);
    let written: Written = serde_json::from_slice(&bytes).map_err(|error| form(error.to_string()))?;
    let mut golden = Vec::new();
    for Golden { name, pcrs } in written.golden {
        let mut values = Vec::new();
        for Pcr { number, value } in pcrs {
            let value = HEXLOWER.decode(value.as_bytes()).ok().and_then(|value| value.try_into().ok());
            let value =
                value.ok_or_else(|| form(format!("PCR {number} of {name} has no value of 32 bytes")))?;
            values.push((number, value));
        }
        golden.push((name, values));
    }
    let mut roots = Vec::new();
    for path in &config.verifier_roots {
        let path = path.below(folder);
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&whole(&path)?).collect();
        match read {
            Ok(found) if !found.is_empty() => roots.extend(found),
            Ok(_) => return Err(doubtful(&path, "there is no certificate in it".to_owned())),
            Err(error) => return Err(doubtful(&path, error.to_string())),
        }
    }
    Ok(Some(Lists::new(written.eks, roots.iter().map(AsRef::as_ref), golden)?))
}

fn doubtful(path: &Path, why: String) -> ListsError {
    ListsError::Form { path: path.display().to_string(), why }
}

fn whole(path: &Path) -> Result<Vec<u8>, ListsError> {
    let bytes = file::read(path)?.ok_or_else(|| ListsError::Absent(path.to_owned()))?;
    if bytes.len() > BYTES_MAX {
        return Err(doubtful(path, format!("more than {BYTES_MAX} bytes")));
    }
    Ok(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const KEY: &str = "4d0c4d0c4d0c4d0c4d0c4d0c4d0c4d0c4d0c4d0c4d0c4d0c4d0c4d0c4d0c4d0c";

    fn read_back(text: &str) -> Result<Option<Lists>, ListsError> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("lists.json"), text).unwrap();
        let loaded = Config::parse("config.yaml", b"verifier:\n  file: /lists.json\n").unwrap();
        read(folder.path(), &loaded.config)
    }

    #[test]
    fn a_whole_file_is_taken_and_a_doubtful_one_not_in_part() {
        let pcr = |number, value: &str| format!("{{\"number\": {number}, \"value\": \"{value}\"}}");
        let file = |eks: &str, pcrs: &str, more: &str| {
            format!("{{\"eks\": [{eks}], \"golden\": [{{\"name\": \"r1\", \"pcrs\": [{pcrs}]}}]{more}}}")
        };
        let good = file(&format!("\"{KEY}\""), &[pcr(7, KEY), pcr(0, KEY)].join(","), "");
        assert!(read_back(&good).unwrap().is_some());
        for bad in [
            String::new(),
            "{}".to_owned(),
            file("\"4d0c\"", &pcr(0, KEY), ""),
            file("", &pcr(0, "00"), ""),
            file("", &pcr(0, &KEY.to_uppercase()), ""),
            file("", &pcr(24, KEY), ""),
            file("", &[pcr(3, KEY), pcr(3, KEY)].join(","), ""),
            file("", "", ""),
            file("", &pcr(0, &"00".repeat(32)), ""),
            file("", &pcr(0, KEY), ", \"ek\": []"),
        ] {
            assert_eq!(read_back(&bad).unwrap_err().code(), code::second::SECOND_LISTS, "{bad}");
        }
        let nothing = Config::parse("config.yaml", b"").unwrap();
        assert!(read(Path::new("/"), &nothing.config).unwrap().is_none());
    }
}
