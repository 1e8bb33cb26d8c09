//! Secrets go in, are listed, given away and removed.

use kos_api::{
    text::SecretText,
    vault::{VaultCode, VaultEntry, VaultMac, VaultSecret, VaultSignature, VaultVersion},
};
use kos_base::{Timestamp, key::SignatureForm};
use kos_vault::{EntryName, Listed, NewSecret, Opened, Past, SecretType, Value, VaultError};
use zeroize::Zeroizing;

use super::{VaultFault, authoriser::is_reserved, deed::Deed};
use crate::record::VaultDeed;

impl Deed {
    /// Every entry, by name, without its secret.
    pub(crate) async fn entries(self) -> Result<Vec<VaultEntry>, VaultFault> {
        let mut ring = self.ring().await;
        let (vault, _) = self.take_open(&mut ring).await?;
        let listed = list(&vault);
        self.put_back(&mut ring, vault);
        listed
    }

    /// The versions of a secret, newest first.
    pub(crate) async fn history(self, name: EntryName) -> Result<Vec<VaultVersion>, VaultFault> {
        let mut ring = self.ring().await;
        let (vault, _) = self.take_open(&mut ring).await?;
        let history = vault.history(&name);
        self.put_back(&mut ring, vault);
        Ok(history?.iter().rev().map(version).collect())
    }

    /// Gives a secret away. It is recorded first: if it cannot be recorded, it is not given.
    pub(crate) async fn read(
        self,
        name: EntryName,
        number: Option<u64>,
        code: Option<SecretText>,
    ) -> Result<VaultSecret, VaultFault> {
        let mut ring = self.ring().await;
        let (mut vault, _) = self.take_open(&mut ring).await?;
        let given = match self.authorise(&mut ring, &mut vault, code.as_ref()).await {
            Ok(()) => self.give(&mut vault, &name, number).await,
            Err(fault) => Err(fault),
        };
        self.put_back(&mut ring, vault);
        given
    }

    async fn give(
        &self,
        vault: &mut Opened,
        name: &EntryName,
        number: Option<u64>,
    ) -> Result<VaultSecret, VaultFault> {
        let past = wanted(vault, name, number, self.at)?;
        let (version, kind) = (past.number, past.kind);
        self.record(VaultDeed::Read { name: name.clone(), version, kind }).await?;
        let value = match number {
            Some(number) => vault.get_version(self.at, name, number)?,
            None => vault.get(self.at, name)?,
        };
        Ok(VaultSecret {
            name: name.to_string(),
            kind: kind.to_string(),
            version,
            value: SecretText::new(data_encoding::BASE64.encode(value.expose())),
        })
    }

    /// Signs a message with a private key, which stays.
    pub(crate) async fn sign(
        self,
        name: EntryName,
        message: Zeroizing<Vec<u8>>,
    ) -> Result<VaultSignature, VaultFault> {
        let at = self.at;
        let sign = |vault: &mut Opened| {
            let public = vault.public_key(at, &name)?;
            Ok((vault.sign(at, &name, SignatureForm::Der, &message)?, public))
        };
        let ((signature, public), version) = self.using(&name, "sign", sign).await?;
        let base64 = |bytes: &[u8]| data_encoding::BASE64.encode(bytes);
        Ok(VaultSignature {
            name: name.to_string(),
            version,
            algorithm: public.algorithm().as_str().to_owned(),
            public_key: base64(public.spki_der()),
            signature: base64(&signature),
        })
    }

    /// The HMAC-SHA-256 of a message under a secret, which stays.
    pub(crate) async fn hmac(
        self,
        name: EntryName,
        message: Zeroizing<Vec<u8>>,
    ) -> Result<VaultMac, VaultFault> {
        let at = self.at;
        let (mac, version) = self.using(&name, "hmac", |vault| vault.hmac(at, &name, &message)).await?;
        Ok(VaultMac { name: name.to_string(), version, mac: data_encoding::HEXLOWER.encode(&mac) })
    }

    /// The one-time code of a seed, which stays.
    pub(crate) async fn totp(self, name: EntryName) -> Result<VaultCode, VaultFault> {
        let at = self.at;
        let (code, version) = self.using(&name, "totp", |vault| vault.totp(at, &name)).await?;
        Ok(VaultCode {
            name: name.to_string(),
            version,
            code: SecretText::new(code.code.to_string()),
            valid_until: code.until,
        })
    }

    /// Uses the newest version of a secret. What comes of it is told once it is recorded, and otherwise not at all.
    async fn using<T>(
        &self,
        name: &EntryName,
        operation: &'static str,
        work: impl FnOnce(&mut Opened) -> Result<T, VaultError>,
    ) -> Result<(T, u64), VaultFault> {
        let mut ring = self.ring().await;
        let (mut vault, _) = self.take_open(&mut ring).await?;
        let used = wanted(&vault, name, None, self.at).and_then(|past| Ok((work(&mut vault)?, past)));
        self.put_back(&mut ring, vault);
        let (made, Past { number: version, kind, .. }) = used?;
        self.record(VaultDeed::Used { name: name.clone(), version, kind, operation }).await?;
        Ok((made, version))
    }

    /// Puts a secret in, as a new version if there is one of this name.
    pub(crate) async fn put(
        self,
        name: EntryName,
        kind: Option<SecretType>,
        value: Value,
        expires: Option<Timestamp>,
    ) -> Result<VaultEntry, VaultFault> {
        let fresh = Self::fresh()?;
        let mut ring = self.ring().await;
        let (mut vault, anchor) = self.take_open(&mut ring).await?;
        // A new version is of the type of the one before, unless somebody says otherwise.
        let before = || wanted_newest(&vault, &name).ok().map(|newest| newest.kind);
        let kind = kind.or_else(before).unwrap_or(SecretType::Opaque);
        let version = match vault.put(self.at, &name, NewSecret { kind, value: &value, expires }, fresh) {
            Ok(version) => version,
            Err(error) => {
                self.put_back(&mut ring, vault);
                return Err(error.into());
            }
        };
        let versions = vault.history(&name).map_or(1, |history| count(history.len()));
        let sharing = anchor.sharing.clone();
        let deed = |generation| VaultDeed::Put { name: name.clone(), version, kind, generation };
        self.settle(&mut ring, vault, Some(anchor), sharing, deed).await?;
        Ok(VaultEntry {
            name: name.to_string(),
            kind: kind.to_string(),
            version,
            created_at: self.at,
            last_accessed_at: self.at,
            expires_at: expires,
            versions,
        })
    }

    /// What there is of this name, for a plan or an answer.
    pub(crate) async fn entry(self, name: EntryName) -> Result<VaultEntry, VaultFault> {
        let entries = self.entries().await?;
        let found = entries.into_iter().find(|entry| entry.name == name.as_str());
        found.ok_or_else(|| VaultError::EntryUnknown.into())
    }

    /// Removes a secret with all its versions.
    pub(crate) async fn remove(self, name: EntryName) -> Result<(), VaultFault> {
        let mut ring = self.ring().await;
        let (mut vault, anchor) = self.take_open(&mut ring).await?;
        let newest = wanted_newest(&vault, &name);
        let removed = newest.and_then(|newest| vault.remove(&name).map(|()| newest));
        let newest = match removed {
            Ok(newest) => newest,
            Err(error) => {
                self.put_back(&mut ring, vault);
                return Err(error.into());
            }
        };
        let sharing = anchor.sharing.clone();
        let (version, kind) = (newest.number, newest.kind);
        let deed = |generation| VaultDeed::Removed { name, version, kind, generation };
        self.settle(&mut ring, vault, Some(anchor), sharing, deed).await
    }
}

fn list(vault: &Opened) -> Result<Vec<VaultEntry>, VaultFault> {
    let shown = |Listed { name, newest, last_accessed }: Listed| {
        Ok(VaultEntry {
            versions: count(vault.history(&name)?.len()),
            name: name.to_string(),
            kind: newest.kind.to_string(),
            version: newest.number,
            created_at: newest.created,
            last_accessed_at: last_accessed,
            expires_at: newest.expires,
        })
    };
    vault.list()?.into_iter().filter(|entry| !is_reserved(&entry.name)).map(shown).collect()
}

/// The version that is asked for. None is given after its time.
fn wanted(vault: &Opened, name: &EntryName, number: Option<u64>, now: Timestamp) -> Result<Past, VaultFault> {
    let found = match number {
        None => wanted_newest(vault, name)?,
        Some(number) => {
            let mut history = vault.history(name)?.into_iter();
            history.find(|past| past.number == number).ok_or(VaultError::EntryUnknown)?
        }
    };
    let is_over = found.expires.is_some_and(|expires| expires <= now);
    if is_over { Err(VaultError::Expired.into()) } else { Ok(found) }
}

fn wanted_newest(vault: &Opened, name: &EntryName) -> Result<Past, VaultError> {
    vault.history(name)?.last().copied().ok_or(VaultError::EntryUnknown)
}

fn version(past: &Past) -> VaultVersion {
    VaultVersion {
        version: past.number,
        kind: past.kind.to_string(),
        created_at: past.created,
        expires_at: past.expires,
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
