//! Vaults of an authority: a keyring of secrets for each environment, opened by people.
//!
//! Secrets travel only over the local socket, in [`SecretText`], which no `Debug` shows.

use kos_base::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{envelope::Kind, schema, text::SecretText};

/// A vault: one file, one environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Vault {
    /// Which keyring it is: 1 to 32 of `a-z 0-9 -`, beginning with a letter.
    pub environment: String,
    /// 32 hex digits, for the life of the vault.
    pub vault_id: String,
    /// Whether its secrets can be had now.
    pub state: VaultState,
    /// Why its file is refused; null when it is not.
    pub refusal: Option<VaultRefusal>,
    /// How often it was written.
    pub generation: u64,
    /// When it was written last.
    #[schema(value_type = schema::Timestamp)]
    pub last_modified: Timestamp,
    /// How many secrets it has; unknown while it is locked.
    pub entries: Option<u64>,
    /// What opens it.
    pub slots: Vec<VaultSlot>,
    /// What tells an old file from the newest.
    pub anchor: VaultAnchor,
    /// When it locks itself if nobody uses it; null while it is locked.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub locks_at: Option<Timestamp>,
    /// What protects its keys in memory; null while it is locked, since there are none.
    pub memory: Option<VaultMemory>,
    /// Who holds the shares that recover it, if it was shared.
    pub sharing: Option<VaultSharing>,
    /// What it asks for beside a passphrase, if anything.
    pub authoriser: Option<VaultAuthoriser>,
}

impl Kind for Vault {
    const KIND: &'static str = "Vault";
}

/// Whether a vault can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VaultState {
    /// Its keys are not in memory.
    Locked,
    /// It gives and takes secrets.
    Unlocked,
    /// Its file is damaged, older than the anchor, or gone.
    Refused,
}

/// Why a vault is not used as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultRefusal {
    /// The stable code.
    pub code: String,
    /// What is wrong with its file.
    pub title: String,
    /// What to do about it.
    pub fix: String,
}

/// A second thing that a vault asks for at this authority. No key comes from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultAuthoriser {
    /// `totp`: a one-time code.
    pub kind: String,
    /// Since when.
    #[schema(value_type = schema::Timestamp)]
    pub added_at: Timestamp,
    /// What it is worth, for people.
    pub detail: String,
}

/// One way to open a vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultSlot {
    /// What people call it.
    pub name: String,
    /// `passphrase`, `key`, `offline` or `passkey`.
    pub kind: String,
    /// Where a key comes from: `file`, `credential`, `tpm`, `token` or `shares`.
    pub source: Option<String>,
    /// When it was made.
    #[schema(value_type = schema::Timestamp)]
    pub created_at: Timestamp,
    /// Of an offline slot: the public key for which it was made, as 64 hex digits.
    pub recipient: Option<String>,
    /// Of an offline slot: the public key with which that one agrees, as 64 hex digits.
    pub ephemeral: Option<String>,
    /// Of the slot of a passkey: what a browser has to know to ask it.
    pub passkey: Option<VaultPasskey>,
}

impl Kind for VaultSlot {
    const KIND: &'static str = "VaultSlot";
}

/// What a browser has to know of a passkey to ask it. None of it is a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultPasskey {
    /// The id of the credential, in base64url without padding.
    pub credential_id: String,
    /// The domain that it was made for: browsers show it to pages of that domain.
    pub relying_party: String,
    /// What its function is evaluated for (`prf.eval.first`): 32 bytes in base64url without padding.
    pub prf_salt: String,
}

/// What is kept outside of the file, so that an old one is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultAnchor {
    /// Where: `log`, the authority's store and audit log.
    pub place: String,
    /// The generation that is kept there.
    pub generation: u64,
    /// What it is worth, for people.
    pub detail: String,
}

/// What protects the keys of an open vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultMemory {
    /// `memfd_secret`, `mlock` or `none`.
    pub protection: String,
    /// What that means, or why there is none, for people.
    pub detail: String,
}

/// A vault's key in shares. Who holds which, and never a share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultSharing {
    /// How many are needed.
    pub threshold: u8,
    /// How many there are.
    pub total: u8,
    /// Who has them, by number.
    pub holders: Vec<String>,
    /// A digest of each share, by number, by which a wrong or older one is found.
    pub commitments: Vec<String>,
    /// When they were made.
    #[schema(value_type = schema::Timestamp)]
    pub shared_at: Timestamp,
    /// When somebody last proved that they recover the vault.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub rehearsed_at: Option<Timestamp>,
}

/// Makes a vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateVault {
    /// 12 characters or more.
    #[schema(value_type = String)]
    pub passphrase: SecretText,
}

/// Opens a vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnlockVault {
    /// What somebody remembers; this or `passkey`.
    #[schema(value_type = Option<String>)]
    pub passphrase: Option<SecretText>,
    /// What the function of a passkey gave for the salt of its slot: 32 bytes in base64 with padding.
    #[schema(value_type = Option<String>)]
    pub passkey: Option<SecretText>,
    /// The one-time code, where the vault asks for one.
    #[schema(value_type = Option<String>)]
    pub code: Option<SecretText>,
}

/// A secret, without the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultEntry {
    /// 1 to 128 bytes of visible characters.
    pub name: String,
    /// `api_key`, `certificate`, `password`, `jwt`, `ssh_key`, `totp_seed`, `private_key` or `opaque`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Number of its newest version.
    pub version: u64,
    /// When that was put.
    #[schema(value_type = schema::Timestamp)]
    pub created_at: Timestamp,
    /// When it was read last, as of the last change of the vault.
    #[schema(value_type = schema::Timestamp)]
    pub last_accessed_at: Timestamp,
    /// After which it is not given any more.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub expires_at: Option<Timestamp>,
    /// How many versions are kept.
    pub versions: u64,
}

impl Kind for VaultEntry {
    const KIND: &'static str = "VaultEntry";
}

/// Puts a secret, as a new version if there is one of this name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PutVaultEntry {
    /// What it is; when not given, that of the version before, or `opaque`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The secret, in base64 with padding.
    #[schema(value_type = String)]
    pub value: SecretText,
    /// After which it is not given any more.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub expires_at: Option<Timestamp>,
}

/// Which version of a secret; the newest when not given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VaultVersionQuery {
    /// Its number.
    pub version: Option<u64>,
}

/// A secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultSecret {
    /// What it is called.
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which version this is.
    pub version: u64,
    /// The secret, in base64 with padding.
    #[schema(value_type = String)]
    pub value: SecretText,
}

impl Kind for VaultSecret {
    const KIND: &'static str = "VaultSecret";
}

/// A version of a secret, without the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultVersion {
    /// Its number.
    pub version: u64,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it was put.
    #[schema(value_type = schema::Timestamp)]
    pub created_at: Timestamp,
    /// After which it is not given any more.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub expires_at: Option<Timestamp>,
}

impl Kind for VaultVersion {
    const KIND: &'static str = "VaultVersion";
}

/// Gives a vault a new master key, and encrypts everything anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RotateVault {
    /// The passphrase that opens it now.
    #[schema(value_type = String)]
    pub passphrase: SecretText,
    /// The one that is to open it from now on; the same when not given.
    #[schema(value_type = Option<String>)]
    pub new_passphrase: Option<SecretText>,
    /// The one-time code, where the vault asks for one.
    #[schema(value_type = Option<String>)]
    pub code: Option<SecretText>,
}

/// Splits a new recovery key of a vault into shares. The shares before open nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShareVault {
    /// The passphrase that opens it now: sharing rotates the master key.
    #[schema(value_type = String)]
    pub passphrase: SecretText,
    /// How many shares are to be needed.
    pub threshold: u8,
    /// Who gets one: 1 to 16 different names, of 1 to 64 visible characters.
    pub holders: Vec<String>,
    /// The one-time code, where the vault asks for one.
    #[schema(value_type = Option<String>)]
    pub code: Option<SecretText>,
}

/// The shares of a vault. Only the answer that makes them has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultShares {
    /// What is known of them from now on.
    pub sharing: VaultSharing,
    /// The words of each, by number.
    #[schema(value_type = Vec<String>)]
    pub words: Vec<SecretText>,
}

impl Kind for VaultShares {
    const KIND: &'static str = "VaultShares";
}

/// What shares are handed in for. Those of one purpose serve no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SharePurpose {
    /// To give the vault new keys.
    Recovery,
    /// To prove that they would.
    Rehearsal,
}

/// Hands in a share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubmitShare {
    /// Its words.
    #[schema(value_type = String)]
    pub words: SecretText,
    /// What for. Whatever was handed in for something else is forgotten.
    pub purpose: SharePurpose,
}

/// How far a recovery or a rehearsal is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultRecovery {
    /// Of which vault.
    pub environment: String,
    /// What for; null when nothing was handed in.
    pub purpose: Option<SharePurpose>,
    /// Whose shares have been handed in.
    pub holders: Vec<String>,
    /// How many more are needed.
    pub missing: u8,
    /// Whether whoever asks has handed one in, and may end it.
    pub may_end: bool,
    /// When what was handed in is forgotten.
    #[schema(value_type = Option<schema::Timestamp>)]
    pub forgotten_at: Option<Timestamp>,
}

impl Kind for VaultRecovery {
    const KIND: &'static str = "VaultRecovery";
}

/// Ends a recovery: the vault gets a new master key, this passphrase, and no other slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecoverVault {
    /// 12 characters or more.
    #[schema(value_type = String)]
    pub new_passphrase: SecretText,
    /// What an offline key and the `ephemeral` of its slot agree on, in base64 with padding: it opens the vault in place of
    /// shares. The key itself is not sent.
    #[schema(value_type = Option<String>)]
    pub agreed: Option<SecretText>,
    /// What the function of a passkey gave for the salt of its slot, in base64 with padding: it opens the vault in place of
    /// shares.
    #[schema(value_type = Option<String>)]
    pub passkey: Option<SecretText>,
    /// The one-time code, where the vault asks for one; shares need none.
    #[schema(value_type = Option<String>)]
    pub code: Option<SecretText>,
}

/// Adds a slot for an offline key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddOfflineKey {
    /// The passphrase that opens the vault now.
    #[schema(value_type = String)]
    pub passphrase: SecretText,
    /// The X25519 public key, as 64 hex digits.
    pub recipient: String,
    /// The one-time code, where the vault asks for one.
    #[schema(value_type = Option<String>)]
    pub code: Option<SecretText>,
}

/// Adds a slot for a passkey. Whoever asks has checked its PRF extension, its user verification and a signature of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddPasskey {
    /// The passphrase that opens the vault now.
    #[schema(value_type = String)]
    pub passphrase: SecretText,
    /// Which passkey it is.
    pub passkey: VaultPasskey,
    /// What its function gave for that salt: 32 bytes in base64 with padding.
    #[schema(value_type = String)]
    pub output: SecretText,
    /// The one-time code, where the vault asks for one.
    #[schema(value_type = Option<String>)]
    pub code: Option<SecretText>,
}

/// Removes what opens a vault, or what it asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemoveFromVault {
    /// The passphrase that opens the vault now.
    #[schema(value_type = String)]
    pub passphrase: SecretText,
    /// The one-time code, where the vault asks for one.
    #[schema(value_type = Option<String>)]
    pub code: Option<SecretText>,
}

/// Has a vault ask for a one-time code from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddAuthoriser {
    /// The passphrase that opens the vault now.
    #[schema(value_type = String)]
    pub passphrase: SecretText,
    /// The seed of the codes, as services show it: base32, or an `otpauth://totp/` URI.
    #[schema(value_type = String)]
    pub seed: SecretText,
    /// A code of it, which shows that whoever is to have it has it.
    #[schema(value_type = String)]
    pub code: SecretText,
}

/// Reads a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReadVaultEntry {
    /// The one-time code, where the vault asks for one.
    #[schema(value_type = Option<String>)]
    pub code: Option<SecretText>,
}

/// A message for which a secret is used, without being shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UseVaultEntry {
    /// The message, in base64 with padding: at most 65 536 bytes.
    #[schema(value_type = String)]
    pub message: SecretText,
}

/// What a private key of a vault signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultSignature {
    /// What the key is called.
    pub name: String,
    /// Which version of it was used.
    pub version: u64,
    /// `ed25519` or `ecdsa-p256`, the latter with SHA-256.
    pub algorithm: String,
    /// The public half, as SubjectPublicKeyInfo (DER) in base64.
    pub public_key: String,
    /// The signature in base64; of P-256 in DER.
    pub signature: String,
}

impl Kind for VaultSignature {
    const KIND: &'static str = "VaultSignature";
}

/// HMAC-SHA-256 of a message under a secret of a vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultMac {
    /// What the secret is called.
    pub name: String,
    /// Which version of it was used.
    pub version: u64,
    /// The MAC in hex.
    pub mac: String,
}

impl Kind for VaultMac {
    const KIND: &'static str = "VaultMac";
}

/// A one-time code of a seed in a vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultCode {
    /// What the seed is called.
    pub name: String,
    /// Which version of it was used.
    pub version: u64,
    /// The digits.
    #[schema(value_type = String)]
    pub code: SecretText,
    /// When the next code takes its place.
    #[schema(value_type = schema::Timestamp)]
    pub valid_until: Timestamp,
}

impl Kind for VaultCode {
    const KIND: &'static str = "VaultCode";
}

/// Makes a vault of a file: one that was exported, or one of the shape of the source document, which gets new keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImportVault {
    /// Its bytes, in base64 with padding.
    #[schema(value_type = String)]
    pub file: SecretText,
    /// What opens it, and what will open the vault that it becomes.
    #[schema(value_type = String)]
    pub passphrase: SecretText,
}
