//! Keys as earlier versions kept them: one PKCS#8 PEM file a key, `store.key` with 64 hexadecimal characters, each with its
//! digest in `SHA256SUMS`.
//!
//! Source: KR-12.

use std::{path::Path, sync::Arc};

use data_encoding::HEXLOWER;
use kos_base::Secret;
use kos_keyring::{KeyringError, file};
use kos_net::keys::SigningKey;
use zeroize::Zeroizing;

use super::{Keys, KeysError, damaged, folder, sealed};

const STORE: &str = "store.key";
const LABEL: &str = "PRIVATE KEY";

/// The files, in the order of the entries.
fn files() -> impl Iterator<Item = String> {
    sealed::SIGNERS.into_iter().map(|name| format!("{name}.key")).chain([STORE.to_owned()])
}

/// Whether the folder holds any of them.
pub(super) fn is_in(folder: &Path) -> bool {
    files().any(|name| folder.join(name).exists())
}

/// Reads all of them.
pub(super) fn read(folder: &Path) -> Result<Keys, KeysError> {
    let certificates = folder::certificates(folder)?;
    let [root, one, two, kid, log, orders] = sealed::SIGNERS.map(|name| signer(folder, name));
    let path = folder.join(STORE);
    let bytes = HEXLOWER.decode(folder::sound(&path)?.trim_end().as_bytes()).map(Zeroizing::new);
    let bytes = bytes.ok().and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
    let store = bytes.map(Secret::new).ok_or_else(|| damaged(&path, "not 64 hexadecimal characters"))?;
    sealed::assemble(folder, [root?, one?, two?, kid?, log?, orders?], store, certificates)
}

/// Overwrites and removes whatever is left of them.
pub(super) fn remove(folder: &Path) -> Result<(), KeysError> {
    for name in files() {
        let path = folder.join(name);
        file::remove(&path).map_err(|source| KeyringError::Unwritable { path, source })?;
    }
    Ok(())
}

fn signer(folder: &Path, name: &str) -> Result<Arc<SigningKey>, KeysError> {
    let path = folder.join(format!("{name}.key"));
    let text = folder::sound(&path)?;
    let der = folder::unpem(LABEL, &text).ok_or_else(|| damaged(&path, "not a PEM private key"))?;
    SigningKey::from_pkcs8(&der).map(Arc::new).map_err(|e| damaged(&path, e.to_string()))
}
