//! Endorsement keys that an operator listed, golden sets and second verifiers: few, and kept as one setting.
//!
//! Source: `docs/spec/attestation.md` ATT-17, ATT-20; `docs/spec/second-verifier.md` SECV-2.

use data_encoding::HEXLOWER;
use kos_attest::{GoldenSet, Pcrs, Values};
use kos_base::{DeviceId, KeyId, Name, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Setting, Store, StoreError};

/// What operators said of TPMs and of good starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttestationLists {
    /// Endorsement keys that count without a certificate.
    pub eks: Vec<ListedEk>,
    /// What good starts look like.
    pub golden: Vec<StoredGolden>,
    /// Devices that judge others for SEC-4, in the order in which they are asked.
    #[serde(default)]
    pub verifiers: Vec<StoredVerifier>,
}

/// A second verifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredVerifier {
    /// Which device.
    pub device: DeviceId,
    /// When it was named.
    pub added_at: Timestamp,
}

/// An endorsement key that an operator listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedEk {
    /// Its id.
    pub ek: KeyId,
    /// What the operator says of it.
    pub note: String,
    /// When.
    pub added_at: Timestamp,
}

/// A golden set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredGolden {
    /// What it is called.
    pub name: Name,
    /// Which PCRs; bit n is PCR n.
    pub pcrs: u32,
    /// Their values in lower-case hex, one after the other, from the lowest.
    pub values: String,
    /// The device that showed them.
    pub device: DeviceId,
    /// When it was made.
    pub added_at: Timestamp,
}

impl AttestationLists {
    /// Whether an endorsement key is listed.
    pub fn lists(&self, ek: KeyId) -> bool {
        self.eks.iter().any(|listed| listed.ek == ek)
    }

    /// Whether a device is a second verifier.
    pub fn names_verifier(&self, device: &DeviceId) -> bool {
        self.verifiers.iter().any(|named| named.device == *device)
    }

    /// The sets, as the verifier takes them.
    pub fn golden_sets(&self) -> Vec<GoldenSet> {
        let set = |stored: &StoredGolden| {
            let values = HEXLOWER.decode(stored.values.as_bytes()).ok()?;
            let values = Values::new(Pcrs::from_bits(stored.pcrs)?, values).ok()?;
            Some(GoldenSet { name: stored.name.to_string(), values })
        };
        self.golden.iter().filter_map(set).collect()
    }
}

impl Store {
    /// Everything that operators said.
    pub async fn attestation_lists(&self) -> Result<AttestationLists, StoreError> {
        let held = self.setting(Setting::Attestation).await?;
        let read = held.map(|text| serde_json::from_str(&text)).transpose();
        let read =
            read.map_err(|_| StoreError::Damaged { table: "settings", row: "attestation".to_owned() })?;
        Ok(read.unwrap_or_default())
    }
}
