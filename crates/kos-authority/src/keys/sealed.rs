//! The keys as entries of the machine's vault, all of the type `opaque`: PKCS#8 for what signs, or where in a token it is; 32
//! bytes for the store.

use std::{path::Path, sync::Arc};

use kos_base::{KeyAlgorithm, Secret, Timestamp};
use kos_identity::certificate::Certificate;
use kos_keyring::{Change, Keyring, Packed, Place, SignerError, Signers};
use kos_net::keys::SigningKey;
use kos_vault::{EntryName, SecretType, Value};
use zeroize::Zeroizing;

use super::{Keys, KeysError, damaged, folder};

/// What signs: the CAs, kIDs, the log, orders.
pub(super) const SIGNERS: [&str; 6] = ["root", "issuing-1", "issuing-2", "kid", "log", "orders"];
const STORE: &str = "store";
/// What signs for logs of others. In no backup: a witness that was put back would have forgotten what it signed.
const WITNESS: &str = "witness";

/// The first file of the vault, with all keys in it.
pub(super) fn make(place: &Place, keys: &Keys, now: Timestamp) -> Result<(), KeysError> {
    let entries = entries(keys)?;
    Ok(Keyring::make(place, now, &puts(&entries))?)
}

/// The same under a key file of its own, in memory.
pub(super) fn pack(keys: &Keys, now: Timestamp) -> Result<Packed, KeysError> {
    let entries = entries(keys)?;
    Ok(Keyring::pack(now, &puts(&entries))?)
}

/// Reads the keys, with their certificates from `folder`. Those that are in hardware are found by `signers`.
pub(super) fn read(
    keyring: &mut Keyring,
    signers: &Signers,
    vault: &Path,
    folder: &Path,
    now: Timestamp,
) -> Result<Keys, KeysError> {
    let mut value = |name: &str| {
        let held = keyring.get(now, &entry(name)?)?;
        held.ok_or_else(|| damaged(vault, format!("it has no entry `{name}`")))
    };
    let bad = |name: &str, why: &str| damaged(vault, format!("its entry `{name}`: {why}"));
    let mut references = [None, None, None];
    for (name, reference) in SIGNERS.into_iter().zip(&mut references) {
        *reference = Signers::reference(&value(name)?).map(<[u8]>::to_vec);
    }
    let [root, one, two, kid, log, orders] = SIGNERS.map(|name| {
        signers.load(&value(name)?).map_err(|error| match error {
            SignerError::Key(error) => bad(name, &error.to_string()),
            error => KeysError::Signer { name: name.to_owned(), error },
        })
    });
    let bytes = <[u8; 32]>::try_from(value(STORE)?.expose()).map(Zeroizing::new);
    let bytes = bytes.map_err(|_| bad(STORE, "not 32 bytes"))?;
    let signers = [root?, one?, two?, kid?, log?, orders?];
    let keys = assemble(folder, signers, Secret::new(*bytes), folder::certificates(folder)?)?;
    Ok(Keys { references, ..keys })
}

/// Keys and certificates that belong together.
pub(super) fn assemble(
    folder: &Path,
    signers: [Arc<SigningKey>; 6],
    store: Secret<32>,
    certificates: [Certificate; 3],
) -> Result<Keys, KeysError> {
    let path = |at: usize| folder.join(folder::CERTIFICATES.get(at).copied().unwrap_or_default());
    for (at, (key, certificate)) in signers.iter().zip(&certificates).enumerate() {
        if certificate.public_key() != key.public() {
            return Err(damaged(&path(at), "it is not the certificate of the key"));
        }
    }
    let [root, issuing_1, issuing_2, kid, log, orders] = signers;
    let [root_certificate, issuing_certificates @ ..] = certificates;
    for (at, certificate) in issuing_certificates.iter().enumerate() {
        if certificate.verify_signature(root.public()).is_err() {
            return Err(damaged(&path(at + 1), "the root did not sign it"));
        }
    }
    let issuing = [issuing_1, issuing_2];
    let references = [None, None, None];
    Ok(Keys { root, issuing, kid, log, orders, store, root_certificate, issuing_certificates, references })
}

/// The key of the witness.
pub(super) fn witness_key(
    keyring: &mut Keyring,
    vault: &Path,
    now: Timestamp,
) -> Result<Option<Arc<SigningKey>>, KeysError> {
    let Some(held) = keyring.get(now, &entry(WITNESS)?)? else { return Ok(None) };
    let key = SigningKey::from_pkcs8(held.expose());
    key.map(|key| Some(Arc::new(key))).map_err(|e| damaged(vault, format!("its entry `{WITNESS}`: {e}")))
}

/// Makes one, in place of the one that is there.
pub(super) fn make_witness_key(keyring: &mut Keyring, now: Timestamp) -> Result<Arc<SigningKey>, KeysError> {
    let key = SigningKey::generate(KeyAlgorithm::Ed25519)?;
    let made = [(entry(WITNESS)?, value(key.to_pkcs8()?)?)];
    keyring.change(now, &puts(&made))?;
    Ok(Arc::new(key))
}

fn entries(keys: &Keys) -> Result<Vec<(EntryName, Value)>, KeysError> {
    let [one, two] = &keys.issuing;
    let signers = [&keys.root, one, two, &keys.kid, &keys.log, &keys.orders];
    let mut entries = Vec::with_capacity(SIGNERS.len() + 1);
    let references = keys.references.iter().chain(std::iter::repeat(&None));
    for ((name, key), reference) in SIGNERS.into_iter().zip(signers).zip(references) {
        let bytes = match reference {
            Some(reference) => Zeroizing::new(reference.clone()),
            None => key.to_pkcs8()?,
        };
        entries.push((entry(name)?, value(bytes)?));
    }
    entries.push((entry(STORE)?, value(Zeroizing::new(keys.store.expose().to_vec()))?));
    Ok(entries)
}

fn puts(entries: &[(EntryName, Value)]) -> Vec<Change<'_>> {
    entries.iter().map(|(name, value)| Change::Put(name, SecretType::Opaque, value)).collect()
}

fn entry(name: &str) -> Result<EntryName, KeysError> {
    name.parse().map_err(|e: kos_vault::ParseNameError| KeysError::Make(e.to_string()))
}

fn value(bytes: Zeroizing<Vec<u8>>) -> Result<Value, KeysError> {
    Value::new(bytes).map_err(|e| KeysError::Make(e.to_string()))
}
