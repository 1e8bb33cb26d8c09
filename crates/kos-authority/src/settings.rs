//! `authority.yaml`: what the operator sets before the program starts. Everything else is set over the API.
//!
//! Unknown keys are refused with file and line, since a misspelt one would be silently without effect. The file may be
//! absent.

use std::{
    collections::BTreeMap,
    fmt::Display,
    fs, io,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use kos_base::{AuthorityName, Code, code};
use kos_hardware::tpm::{CounterIndex, Pcrs, TpmAddress};
use kos_identity::enrolment::authority::ApprovalRule;
use kos_keyring::{Home, Opener, TokenPlace};
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Location;

use crate::{approval, files};

/// Longest settings file, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Most files with roots of makers of TPMs.
const EK_ROOT_FILES_MAX: usize = 32;
/// The first port when nothing else is said.
pub const PORT_BASE: u16 = 8640;

/// The settings.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The name that `init` gives the authority; the host name when absent. Later it is in the keys.
    pub name: Option<AuthorityName>,
    /// The first of four ports.
    pub port_base: Option<u16>,
    /// Time between heartbeats, 5 to 3600 seconds.
    #[serde(deserialize_with = "heartbeat")]
    pub heartbeat_seconds: u32,
    /// After how long without use a vault locks itself, 60 to 86 400 seconds.
    #[serde(deserialize_with = "vault_lock")]
    pub vault_lock_seconds: u32,
    /// How long a guardian may not be told of an alert before the log says so, 10 to 86 400 seconds.
    #[serde(deserialize_with = "alert_undelivered")]
    pub alert_undelivered_seconds: u32,
    /// How long a copy of the log may not be written before the log says so, 10 to 86 400 seconds.
    #[serde(deserialize_with = "mirror_behind")]
    pub mirror_behind_seconds: u32,
    /// How the machine's keys open when nobody is there.
    #[serde(deserialize_with = "keys_opener")]
    pub keys_opener: Opener,
    /// The TPM, where it is to open them.
    #[serde(deserialize_with = "keys_tpm")]
    pub keys_tpm: TpmAddress,
    /// The PCRs to which the TPM binds the key of their vault.
    #[serde(deserialize_with = "keys_tpm_pcrs")]
    pub keys_tpm_pcrs: Pcrs,
    /// The counter of the TPM that shows an older vault.
    #[serde(deserialize_with = "keys_tpm_counter")]
    pub keys_tpm_counter: Option<CounterIndex>,
    /// Where the keys of the CAs are made.
    #[serde(deserialize_with = "ca_keys")]
    pub ca_keys: Home,
    /// The PKCS#11 token, where they are in one.
    pub token: Option<TokenSettings>,
    /// Where their key file is; `keys/machine.key` when absent.
    #[serde(deserialize_with = "keys_file")]
    pub keys_file: Option<PathBuf>,
    /// PEM files with the roots of makers of TPMs, absolute paths.
    #[serde(deserialize_with = "ek_roots")]
    pub ek_roots: Vec<PathBuf>,
    /// Whom it lets in without a person.
    #[serde(deserialize_with = "approval::read")]
    pub approve: Vec<ApprovalRule>,
}

/// A PKCS#11 token.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenSettings {
    /// The library of its maker, an absolute path.
    pub module: PathBuf,
    /// Its label or serial number.
    pub name: String,
    /// The file with its PIN, an absolute path.
    pub pin_file: PathBuf,
}

impl From<&TokenSettings> for TokenPlace {
    fn from(token: &TokenSettings) -> Self {
        let TokenSettings { module, name, pin_file } = token.clone();
        Self { module, name, pin_file }
    }
}

/// The counter of an authority's vault, unless another is named.
const COUNTER: &str = "0x01806b02";

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: None,
            port_base: None,
            heartbeat_seconds: 60,
            vault_lock_seconds: 900,
            alert_undelivered_seconds: 900,
            mirror_behind_seconds: 900,
            keys_opener: Opener::KeyFile,
            keys_file: None,
            keys_tpm: TpmAddress::default(),
            keys_tpm_pcrs: Pcrs::NONE,
            keys_tpm_counter: COUNTER.parse().ok(),
            ca_keys: Home::Vault,
            token: None,
            ek_roots: Vec::new(),
            approve: Vec::new(),
        }
    }
}

/// The settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("`{path}` cannot be read: {why}")]
    Unreadable {
        /// Which.
        path: String,
        /// What the system said.
        why: String,
    },
    /// A key that does not exist.
    #[error("`{path}`, line {line}: unknown key `{key}`{}", hint(near.as_deref()))]
    UnknownKey {
        /// Which file.
        path: String,
        /// Where.
        line: u64,
        /// What stands there.
        key: String,
        /// What was probably meant.
        near: Option<String>,
    },
    /// Anything else that is wrong.
    #[error("`{path}`, line {line}: {why}")]
    Invalid {
        /// Which file.
        path: String,
        /// Where.
        line: u64,
        /// What is wrong.
        why: String,
    },
}

fn hint(near: Option<&str>) -> String {
    near.map(|near| format!(", did you mean `{near}`?")).unwrap_or_default()
}

impl SettingsError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Unreadable { .. } => code::config::FILE_UNREADABLE,
            Self::UnknownKey { .. } => code::config::CONFIG_UNKNOWN_KEY,
            Self::Invalid { .. } => code::config::CONFIG_INVALID,
        }
    }
}

impl Settings {
    /// Reads the file, or takes the defaults when there is none.
    ///
    /// # Errors
    /// With file and line; mend what is named.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        Ok(Self::read_named(path)?.0)
    }

    /// The same, with what stands in the file under each name.
    pub(crate) fn read_named(path: &Path) -> Result<(Self, BTreeMap<String, Value>), SettingsError> {
        let shown = path.display().to_string();
        let text = files::read_text(path, FILE_BYTES_MAX);
        let text = text.map_err(|e| match e.kind() {
            io::ErrorKind::InvalidData => not_utf8(path),
            _ => SettingsError::Unreadable { path: shown.clone(), why: e.to_string() },
        })?;
        match text {
            Some(text) if !text.trim().is_empty() => {
                let settings = Self::parse(&shown, &text)?;
                let named = serde_saphyr::from_str::<Option<BTreeMap<String, Value>>>(&text);
                Ok((settings, named.map_err(|error| refusal(&shown, &error))?.unwrap_or_default()))
            }
            _ => Ok(Default::default()),
        }
    }

    fn parse(path: &str, text: &str) -> Result<Self, SettingsError> {
        let parsed = serde_saphyr::from_str::<Option<Self>>(text);
        let settings = parsed.map_err(|error| refusal(path, &error))?.unwrap_or_default();
        if settings.ca_keys == Home::Token && settings.token.is_none() {
            let why = "ca_keys is `token`, and `token` names none".to_owned();
            return Err(SettingsError::Invalid { path: path.to_owned(), line: 1, why });
        }
        Ok(settings)
    }

    /// Time between heartbeats.
    pub fn heartbeat(&self) -> Duration {
        Duration::from_secs(u64::from(self.heartbeat_seconds))
    }

    /// After how long without use a vault locks itself.
    pub fn vault_lock(&self) -> Duration {
        Duration::from_secs(u64::from(self.vault_lock_seconds))
    }

    /// How long a guardian may not be told before the log says so.
    pub fn alert_undelivered(&self) -> Duration {
        Duration::from_secs(u64::from(self.alert_undelivered_seconds))
    }

    /// How long a copy of the log may not be written before the log says so.
    pub fn mirror_behind(&self) -> Duration {
        Duration::from_secs(u64::from(self.mirror_behind_seconds))
    }
}

/// Names the first line that is no text.
fn not_utf8(path: &Path) -> SettingsError {
    let bytes = fs::read(path).unwrap_or_default();
    let line = bytes.split(|byte| *byte == b'\n').take_while(|line| str::from_utf8(line).is_ok()).count() + 1;
    let line = u64::try_from(line).unwrap_or(u64::MAX);
    SettingsError::Invalid { path: path.display().to_string(), line, why: "this is not UTF-8".to_owned() }
}

fn refusal(path: &str, error: &serde_saphyr::Error) -> SettingsError {
    let line = error.location().map_or(1, |place: Location| place.line());
    let path = path.to_owned();
    match error.without_snippet() {
        serde_saphyr::Error::SerdeUnknownField { field, expected, .. } => {
            let near = expected
                .iter()
                .max_by(|a, b| strsim::jaro_winkler(a, field).total_cmp(&strsim::jaro_winkler(b, field)));
            let near = near.filter(|near| strsim::jaro_winkler(near, field) > 0.7);
            let key = kos_base::text::printable(field, 60);
            SettingsError::UnknownKey { path, line, key, near: near.map(|near| (*near).to_owned()) }
        }
        serde_saphyr::Error::Message { msg, .. } => {
            SettingsError::Invalid { path, line, why: kos_base::text::printable(msg, 200) }
        }
        other => {
            let why = other.to_string();
            let why = kos_base::text::printable(why.lines().next().unwrap_or_default(), 200);
            SettingsError::Invalid { path, line, why }
        }
    }
}

fn ek_roots<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<PathBuf>, D::Error> {
    let paths: Option<Vec<PathBuf>> = Deserialize::deserialize(d)?;
    let paths = paths.unwrap_or_default();
    if paths.len() <= EK_ROOT_FILES_MAX && paths.iter().all(|path| path.is_absolute()) {
        return Ok(paths);
    }
    let why = format_args!("ek_roots are at most {EK_ROOT_FILES_MAX} absolute paths");
    Err(serde::de::Error::custom(why))
}

fn heartbeat<'de, D: serde::Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    let seconds = u32::deserialize(d)?;
    if (5..=3600).contains(&seconds) {
        return Ok(seconds);
    }
    Err(serde::de::Error::custom(format_args!("heartbeat_seconds is {seconds}, 5 to 3600 are allowed")))
}

fn vault_lock<'de, D: serde::Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    let seconds = u32::deserialize(d)?;
    if (60..=86_400).contains(&seconds) {
        return Ok(seconds);
    }
    Err(serde::de::Error::custom(format_args!("vault_lock_seconds is {seconds}, 60 to 86400 are allowed")))
}

fn alert_undelivered<'de, D: serde::Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    seconds("alert_undelivered_seconds", d)
}

fn mirror_behind<'de, D: serde::Deserializer<'de>>(d: D) -> Result<u32, D::Error> {
    seconds("mirror_behind_seconds", d)
}

/// 10 seconds to a day.
fn seconds<'de, D: serde::Deserializer<'de>>(name: &str, d: D) -> Result<u32, D::Error> {
    let seconds = u32::deserialize(d)?;
    if (10..=86_400).contains(&seconds) {
        return Ok(seconds);
    }
    let why = format_args!("{name} is {seconds}, 10 to 86400 are allowed");
    Err(serde::de::Error::custom(why))
}

fn keys_opener<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Opener, D::Error> {
    word("keys_opener", d)
}

fn keys_tpm<'de, D: serde::Deserializer<'de>>(d: D) -> Result<TpmAddress, D::Error> {
    word("keys_tpm", d)
}

fn keys_tpm_pcrs<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Pcrs, D::Error> {
    word("keys_tpm_pcrs", d)
}

fn keys_tpm_counter<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<CounterIndex>, D::Error> {
    let text = String::deserialize(d)?;
    if text == "none" { Ok(None) } else { parse("keys_tpm_counter", &text).map(Some) }
}

fn ca_keys<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Home, D::Error> {
    match word("ca_keys", d)? {
        // Its root is P-384, which TPMs do not have to know.
        Home::Tpm => Err(serde::de::Error::custom("ca_keys is `tpm`: vault or token are allowed")),
        home => Ok(home),
    }
}

/// A setting that is one word.
fn word<'de, D, T>(name: &str, d: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    parse(name, &String::deserialize(d)?)
}

fn parse<E: serde::de::Error, T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T, E> {
    let shown = kos_base::text::printable(text, 60);
    text.parse().map_err(|error| E::custom(format_args!("{name} is `{shown}`, {error}")))
}

fn keys_file<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(d)?;
    match path {
        own if own == Path::new("keys/machine.key") => Ok(None),
        path if path.is_absolute() => Ok(Some(path)),
        _ => Err(serde::de::Error::custom("keys_file is neither an absolute path nor `keys/machine.key`")),
    }
}

#[cfg(test)]
mod tests {
    use kos_base::SecurityProfile;

    use super::*;

    #[test]
    fn settings_are_read_and_may_be_absent() {
        let text = "name: attic\nport_base: 9000\n";
        let settings = Settings::parse("authority.yaml", text).unwrap();
        assert_eq!((settings.port_base, settings.heartbeat_seconds), (Some(9000), 60));
        assert_eq!(Settings::read(Path::new("/nonexistent/authority.yaml")), Ok(Settings::default()));
        assert_eq!(Settings::parse("a", "# nothing\n"), Ok(Settings::default()));
        let text = "keys_opener: credential\nkeys_file: /media/stick/key\n";
        let settings = Settings::parse("a", text).unwrap();
        assert_eq!(settings.keys_opener, Opener::Credential);
        assert_eq!(settings.keys_file.as_deref(), Some(Path::new("/media/stick/key")));
        assert_eq!(Settings::parse("a", "keys_file: keys/machine.key\n"), Ok(Settings::default()));
    }

    #[test]
    fn approval_rules_are_read_as_they_are_written() {
        let key = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let text = format!(
            "approve:\n- name: line-2\n  serials: [PF3XYZ12, 0042]\n  macs: [00:1a:2b:00:00:01]\n  roles: [sensor]\n\
             - name: gateways\n  key_ids: [{key}]\n  profile: SEC-2\n"
        );
        let settings = Settings::parse("authority.yaml", &text).unwrap();
        let [first, second] = settings.approve.as_slice() else { panic!("{:?}", settings.approve) };
        assert_eq!((first.name().as_ref(), first.profile()), ("line-2", SecurityProfile::Sec0));
        assert!(first.asks().serials.contains("0042") && first.asks().serials.contains("PF3XYZ12"));
        assert_eq!((first.asks().macs.len(), first.asks().roles.len()), (1, 1));
        assert!(second.asks().keys.contains(&key.parse().unwrap()));
        assert_eq!(second.profile(), SecurityProfile::Sec2);
        assert_eq!(Settings::parse("a", "approve: []\n"), Ok(Settings::default()));
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_line() {
        for (text, says) in [
            (
                "name: attic\nprot_base: 1\n",
                "`a.yaml`, line 2: unknown key `prot_base`, did you mean `port_base`?",
            ),
            ("zzz: 1\n", "`a.yaml`, line 1: unknown key `zzz`"),
            ("heartbeat_seconds: 1\n", "`a.yaml`, line 1: heartbeat_seconds is 1, 5 to 3600 are allowed"),
            ("vault_lock_seconds: 59\n", "vault_lock_seconds is 59, 60 to 86400 are allowed"),
            ("mirror_behind_seconds: 9\n", "mirror_behind_seconds is 9, 10 to 86400 are allowed"),
            ("alert_undelivered_seconds: 9\n", "alert_undelivered_seconds is 9, 10 to 86400 are allowed"),
            (
                "keys_opener: tmp\n",
                "keys_opener is `tmp`, not a way to open the keys (key-file, credential, tpm)",
            ),
            ("keys_tpm: tpm0\n", "names no TPM"),
            ("keys_tpm_counter: \"1\"\n", "is no index of the owner"),
            ("ca_keys: tpm\n", "vault or token are allowed"),
            ("ca_keys: token\n", "`token` names none"),
            ("token: {module: /a, name: b, pin: c}\n", "unknown key `pin`"),
            ("keys_file: stick/key\n", "line 1: keys_file is neither"),
            ("name: Attic!\n", "line 1"),
            ("name: [\n", "line"),
            ("port_base: 70000\n", "line 1"),
            (
                "approve:\n  - name: a\n    serial: [S1]\n",
                "`a.yaml`, line 3: unknown key `serial`, did you mean `serials`?",
            ),
            ("approve:\n  - serials: [S1]\n", "name"),
            (
                "approve:\n  - name: a\n",
                "line 2: rule `a`: a rule names serials, hardware addresses, identity keys",
            ),
            (
                "approve:\n  - {name: a, serials: [S1], profile: SEC-2}\n",
                "line 2: rule `a`: a rule that names no keys gives at most SEC-1, not SEC-2",
            ),
            ("approve:\n  - {name: a, macs: [\"02:00:00:00:00:01\"]}\n", "not a hardware address"),
            ("approve:\n  - {name: a, serials: [\"\"]}\n", "not a serial"),
            (
                "approve:\n  - {name: a, serials: [S1]}\n  - {name: a, serials: [S2]}\n",
                "two rules are called `a`",
            ),
            ("approve:\n  - {name: a b, serials: [S1]}\n", "line 2"),
        ] {
            let error = Settings::parse("a.yaml", text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
