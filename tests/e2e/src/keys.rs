//! The keys of an authority, taken out of its vault as its program does it, and put down as earlier versions kept them; and those of
//! a device, as somebody would who stole its disk.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use data_encoding::{BASE64, HEXLOWER};
use kos_base::{Timestamp, digest::sha256};
use kos_keyring::{Anchor, Change, Keyring, Opener, Place, TpmPlace};

/// The entry that seals the rows of the store.
pub const STORE: &str = "store";
/// The entries, all that there are.
const ENTRIES: [&str; 7] = ["root", "issuing-1", "issuing-2", "kid", "log", "orders", STORE];
const CERTIFICATES: [&str; 3] = ["root.crt", "issuing-1.crt", "issuing-2.crt"];

/// The files of the vault, below `DATA/authority`.
pub const FILES: [&str; 3] = ["keys/machine.json", "keys/machine.key", "machine.anchor"];

/// Where a file of an authority is.
pub fn at(data: &Path, name: &str) -> PathBuf {
    data.join("authority").join(name)
}

/// Every private key of an authority, by the name of its entry: PKCS#8, or 32 bytes for the store.
///
/// # Errors
/// When the vault does not open by the key file beside it.
pub fn of_authority(data: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let [vault, key_file, anchor] = FILES.map(|name| at(data, name));
    let anchor = Anchor::at(anchor);
    let tpm = TpmPlace::unused(at(data, "keys/machine.tpm"));
    let place = Place { vault, anchor, key_file, credentials: None, tpm, opener: Opener::KeyFile };
    let mut keyring = Keyring::look(place)?;
    let entry = |name: &str| {
        let value = keyring.get(Timestamp::from_unix_ms(0), &name.parse()?)?;
        Ok((name.to_owned(), value.with_context(|| format!("no entry {name}"))?.expose().to_vec()))
    };
    ENTRIES.into_iter().map(entry).collect()
}

/// An entry of a device's vault, if there is one; see `kosd/src/keystore.rs` for their names. The device must not run.
///
/// # Errors
/// When the vault does not open by the key file beside it.
pub fn of_device(root: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let value = Keyring::look(place_of_device(root))?.get(Timestamp::from_unix_ms(0), &name.parse()?)?;
    Ok(value.map(|value| value.expose().to_vec()))
}

/// Takes an entry out of a device's vault.
///
/// # Errors
/// As [`of_device`].
pub fn take_from_device(root: &Path, name: &str) -> Result<()> {
    let now = Timestamp::from_unix_ms(0);
    Ok(Keyring::open(place_of_device(root), now)?.change(now, &[Change::Remove(&name.parse()?)])?)
}

fn place_of_device(root: &Path) -> Place {
    let secrets = root.join("etc/kos/secrets");
    Place {
        vault: secrets.join("machine.json"),
        anchor: Anchor::at(root.join("var/lib/kos/device/machine.anchor")),
        key_file: secrets.join("machine.key"),
        credentials: None,
        tpm: TpmPlace::unused(secrets.join("machine.tpm")),
        opener: Opener::KeyFile,
    }
}

/// Puts the keys of an authority down as earlier versions kept them, in place of its vault.
///
/// # Errors
/// When the vault does not open, or the disk fails.
pub fn write_former(data: &Path) -> Result<()> {
    let mut sums = String::new();
    let mut sum = |name: &str, text: &[u8]| {
        sums += &format!("{}  {name}\n", HEXLOWER.encode(&sha256(text)));
    };
    for (name, bytes) in of_authority(data)? {
        let text = if name == STORE { HEXLOWER.encode(&bytes) } else { pem(&bytes) };
        sum(&format!("{name}.key"), text.as_bytes());
        fs::write(at(data, "keys").join(format!("{name}.key")), text)?;
    }
    for name in CERTIFICATES {
        sum(name, &fs::read(at(data, "keys").join(name))?);
    }
    fs::write(at(data, "keys/SHA256SUMS"), sums)?;
    // In a backup there is no anchor.
    for path in FILES.map(|name| at(data, name)).iter().filter(|path| path.exists()) {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// The files that hold a key in the clear.
///
/// # Errors
/// When the folder cannot be read.
pub fn former(data: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(at(data, "keys"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".key") && name != "machine.key" {
            found.push(name);
        }
    }
    found.sort();
    Ok(found)
}

fn pem(der: &[u8]) -> String {
    let body = BASE64.encode(der);
    let lines: Vec<_> = body.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}
