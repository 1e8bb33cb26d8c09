//! The JSON of a file, as it is read and written.
//!
//! Reading is strict where meaning is: members that are unknown, absent, `null` or stand twice are refused at every depth,
//! bytes have one way to be written, and every count has a limit. White space, order of members and escapes mean nothing.
//!
//! What it does not do: believe anything. What comes out is a [`State`] with the checksum and MAC that the file claims.
//!
//! Source: KV-2 to KV-12.

mod entries;
mod slots;
mod text;

use core::str::FromStr;
use std::collections::BTreeMap;

use kos_base::{Timestamp, digest::Sha256};
use serde::{Deserialize, Serialize};

pub(crate) use entries::MetadataShape;
use slots::{DerivationShape, SlotShape, check_slots, first_derivation};
pub(crate) use text::{Base64, Base64Bytes, Members};
use text::{Hex, present};

use crate::{CONTENT_BYTES_MAX, FILE_BYTES_MAX, VERSION, VaultError, VaultId, slot::Slot, state::State};
use entries::EntryShape;

/// What a file claims.
pub(crate) struct Claim {
    pub(crate) state: State,
    pub(crate) checksum: Sha256,
    pub(crate) mac: [u8; 32],
}

/// Reads a file of this version or an older one.
pub(crate) fn read(bytes: &[u8]) -> Result<Claim, VaultError> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(VaultError::malformed("longer than 96 MiB"));
    }
    let Versioned { version } = parse(bytes)?;
    match version.strip_prefix("kos.vault.v").and_then(|number| number.parse::<u32>().ok()) {
        // Where an older version is read, it becomes a `Claim` of this one here.
        Some(1) if version == VERSION => parse::<File>(bytes)?.claim(),
        Some(2..) => Err(VaultError::Newer(kos_base::text::printable(&version, 32))),
        _ => Err(VaultError::malformed(format!("`version` is `{version}`"))),
    }
}

/// Writes a file.
pub(crate) fn write(state: &State, checksum: Sha256, mac: [u8; 32]) -> Result<Vec<u8>, VaultError> {
    serde_json::to_vec(&File::of(state, checksum, mac)).map_err(|_| VaultError::Fault)
}

pub(crate) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, VaultError> {
    serde_json::from_slice(bytes).map_err(|why| VaultError::malformed(why.to_string()))
}

/// The one member that is looked at before the others.
#[derive(Deserialize)]
struct Versioned {
    version: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    version: String,
    vault_id: Hex<16>,
    environment: String,
    generation: u64,
    previous_root: Hex<32>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    master_key_derivation: Option<DerivationShape>,
    slots: Vec<SlotShape>,
    encrypted_data: Members<EntryShape>,
    integrity: IntegrityShape,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct IntegrityShape {
    checksum: Hex<32>,
    last_modified: u64,
    mac: Hex<32>,
}

impl File {
    fn claim(self) -> Result<Claim, VaultError> {
        if self.generation == 0 {
            return Err(VaultError::malformed("`generation` is 0"));
        }
        let slots: Vec<Slot> = self.slots.into_iter().map(SlotShape::read).collect::<Result<_, _>>()?;
        check_slots(&slots)?;
        if self.master_key_derivation != first_derivation(&slots) {
            return Err(VaultError::malformed(
                "`masterKeyDerivation` is not that of the first passphrase slot",
            ));
        }
        let mut entries = BTreeMap::new();
        for (id, entry) in self.encrypted_data.0 {
            let id: Hex<32> = id.parse().map_err(VaultError::malformed)?;
            entries.insert(id.0, entry.read()?);
        }
        let state = State {
            vault: VaultId::from_bytes(self.vault_id.0),
            environment: parse_name(&self.environment)?,
            generation: self.generation,
            previous_root: self.previous_root.0,
            last_modified: time(self.integrity.last_modified)?,
            slots,
            entries,
        };
        if state.bytes() > CONTENT_BYTES_MAX {
            return Err(VaultError::malformed("more than 32 MiB of ciphertext"));
        }
        Ok(Claim { state, checksum: self.integrity.checksum.0, mac: self.integrity.mac.0 })
    }

    fn of(state: &State, checksum: Sha256, mac: [u8; 32]) -> Self {
        let entries = state
            .entries
            .iter()
            .filter_map(|(id, record)| EntryShape::of(record).map(|entry| (Hex(*id).to_string(), entry)));
        Self {
            version: VERSION.to_owned(),
            vault_id: Hex(*state.vault.as_bytes()),
            environment: state.environment.to_string(),
            generation: state.generation,
            previous_root: Hex(state.previous_root),
            master_key_derivation: first_derivation(&state.slots),
            slots: state.slots.iter().map(SlotShape::of).collect(),
            encrypted_data: Members(entries.collect()),
            integrity: IntegrityShape {
                checksum: Hex(checksum),
                last_modified: state.last_modified.unix_ms(),
                mac: Hex(mac),
            },
        }
    }
}

pub(crate) fn time(unix_ms: u64) -> Result<Timestamp, VaultError> {
    let at = Timestamp::from_unix_ms(unix_ms);
    if at.unix_ms() == unix_ms { Ok(at) } else { Err(VaultError::malformed("a time after the year 9999")) }
}

fn parse_name<T: FromStr<Err = crate::ParseNameError>>(text: &str) -> Result<T, VaultError> {
    text.parse().map_err(|why: crate::ParseNameError| VaultError::malformed(why.to_string()))
}
