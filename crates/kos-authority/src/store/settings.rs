//! Facts about the authority itself that change while it runs: its name and where it listens.

use super::{
    Store, StoreError, WriteHalf,
    row::{Kind, Table, text},
};

const SETTINGS: Table = Table { name: "settings", columns: &[Kind::Text, Kind::Text] };

/// What is kept under a name of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// The authority's name; never changes.
    Authority,
    /// When it was made, in RFC 3339.
    CreatedAt,
    /// The network address that it listens on.
    ListenAddress,
    /// The name or address by which devices reach it.
    Advertise,
    /// The approval rules that were in force when it ran last.
    ApprovalRules,
    /// What the settings file said under each name when it was read last.
    SettingsFile,
    /// How the keys open, and the vault and generation that they were in when that was last recorded.
    KeysSealed,
    /// How many witnesses a checkpoint needs to count as witnessed.
    WitnessThreshold,
    /// The signed rules of alerts, in base64.
    AlertRules,
    /// Endorsement keys that an operator listed, golden sets, and second verifiers.
    Attestation,
    /// Makers of devices that operators trust.
    Makers,
    /// How enforcement modules are wanted.
    Modules,
    /// What manifests that are applied must be numbered above, since an authority that was put back may have forgotten some.
    ManifestFloor,
}

impl Setting {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::CreatedAt => "created_at",
            Self::ListenAddress => "listen_address",
            Self::Advertise => "advertise",
            Self::ApprovalRules => "approval_rules",
            Self::SettingsFile => "settings_file",
            Self::KeysSealed => "keys_sealed",
            Self::WitnessThreshold => "witness_threshold",
            Self::AlertRules => "alert_rules",
            Self::Attestation => "attestation",
            Self::Makers => "makers",
            Self::Modules => "modules",
            Self::ManifestFloor => "manifest_floor",
        }
    }
}

impl Store {
    /// The value, if it was ever set.
    pub async fn setting(&self, setting: Setting) -> Result<Option<String>, StoreError> {
        let sql = "SELECT name, value, mac FROM settings WHERE name = $1";
        let row = sqlx::query(sql).bind(setting.as_str()).fetch_optional(&self.reads).await?;
        row.map(|row| Ok(self.sealer.read(&SETTINGS, &row)?.text(1)?.to_owned())).transpose()
    }
}

impl WriteHalf {
    pub(crate) async fn put_setting(&mut self, setting: Setting, value: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO settings (name, value, mac) VALUES ($1, $2, $3) \
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value, mac = excluded.mac";
        let cells = vec![text(setting.as_str()), text(value)];
        self.sealer.write(&mut self.connection, sql, &SETTINGS, cells).await?;
        Ok(())
    }

    pub(crate) async fn clear_setting(&mut self, setting: Setting) -> Result<(), StoreError> {
        let sql = "DELETE FROM settings WHERE name = $1";
        sqlx::query(sql).bind(setting.as_str()).execute(&mut self.connection).await?;
        Ok(())
    }
}
