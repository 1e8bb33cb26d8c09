//! `ROOT/etc/kos/config.yaml`: what the owner of a device decides.
//!
//! Shape: YAML, at most [`BYTES_MAX`] bytes, the sections and keys of `docs/reference/config.md`. Every key has a
//! default and the file may be absent. A key that does not exist is refused with its line and the nearest one that
//! does; a value that its key does not take is refused with its line and the reason. Anchors, aliases, merge keys,
//! repeated keys and several documents are refused, since nobody needs them here and they are how small files become
//! large ones.
//!
//! What it does not do: hold a secret, or look at anything outside the file.
//!
//! Errors: [`ConfigError`]; the daemon does not start. What is accepted and does less than it says is a [`Notice`].
//!
//! Source: the sample of the source document, which a test loads to the letter; fuzz target `config`.

mod fault;
pub mod field;
mod keys;
mod reference;
mod tree;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use kos_base::{
    Capability, KeyId, Mac, Name, PublicKey, Role, SecurityProfile,
    digest::{Sha256, sha256},
    text::reason,
};
use kos_hardware::tpm::{CounterIndex, Pcrs, TpmAddress};
use kos_identity::enrolment::message::{Carrier, MACS_MAX, SERIALS_MAX};
use kos_keyring::{Home, Opener};
use kos_net::endpoints::{Endpoint, Pattern};

pub use self::{
    fault::{ConfigError, Matter, Notice, Place},
    field::{DeviceIdPrefix, Discovery, ExpectedKid, ManifestPolicy, RootedPath},
    reference::page as reference_page,
};
use self::{
    field::{Encryption, Fallback, PairedWith},
    keys::{File, Many, Misshapen, One},
    tree::Lined,
};
use crate::health::HealthCheck;

/// Longest file in bytes. Stops a file from filling the memory of a small device.
pub const BYTES_MAX: usize = 65_536;
/// Most pins: the root key in use and the next.
const PINS_MAX: usize = 2;
/// Most addresses, endpoints, carriers or words of a command.
const LIST_MAX: usize = 64;

/// Most partners of pairings that need no person. Stops a typing error from opening the device to a crowd.
const ACCEPTED_MAX: usize = 8;
/// Most health checks: a heartbeat has room for 16, and a role profile has up to four.
const CHECKS_MAX: usize = 12;
/// Most files of roots of makers.
const ROOTS_MAX: usize = 16;

/// A configuration in which every value is valid and every default is filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What this device is expected to be called.
    pub device_id: Option<DeviceIdPrefix>,
    /// What its kID is expected to say.
    pub kind_id: Option<ExpectedKid>,
    /// Where the certificate is written for others.
    pub cert_path: RootedPath,
    /// What it asks to be called; the host name when absent.
    pub name: Option<Name>,
    /// What it asks to be.
    pub role: Option<Role>,
    /// How strictly it asks to be held.
    pub profile: Option<SecurityProfile>,
    /// How the authority is found, best first.
    pub discovery: Vec<Discovery>,
    /// How it is reached, best first; QUIC is always the first.
    pub carriers: Vec<Carrier>,
    /// Addresses of the authority.
    pub authority: Vec<Endpoint>,
    /// Its root keys.
    pub pins: Vec<KeyId>,
    /// The key of its maker.
    pub maker: Option<RootedPath>,
    /// The certificate that its maker issued for its identity key.
    pub factory_certificate: Option<RootedPath>,
    /// The word of a device that is trusted already.
    pub vouch: Option<RootedPath>,
    /// Time between heartbeats; that of the role profile when absent.
    pub heartbeat: Option<Duration>,
    /// What the device offers.
    pub capabilities: Vec<Capability>,
    /// What may be connected to; everything when absent.
    pub allowed_endpoints: Option<Vec<Pattern>>,
    /// The folder of keys and tokens.
    pub vault: RootedPath,
    /// How the vault of keys opens.
    pub opener: Opener,
    /// Where its key file lies, if not beside it.
    pub key_file: Option<RootedPath>,
    /// The TPM, and what of it belongs to the vault.
    pub tpm: Tpm,
    /// Where signing keys are made.
    pub key_home: Home,
    /// The token, if one is named.
    pub token: Option<Token>,
    /// Health checks that are defined here.
    pub health_checks: BTreeMap<Capability, HealthCheck>,
    /// Who signs image manifests.
    pub image_signer: Option<PublicKey>,
    /// What a boot without a manifest does.
    pub image_policy: ManifestPolicy,
    /// The command that locks the bootloader.
    pub bootloader_lock: Option<Vec<String>>,
    /// With whom pairings are confirmed without asking: `user:NAME`, `kai:ID`.
    pub accept_pairings: Vec<String>,
    /// By what other devices are judged.
    pub verifier: Option<RootedPath>,
    /// Whose TPMs count then.
    pub verifier_roots: Vec<RootedPath>,
    /// Hardware addresses instead of those found.
    pub macs: Option<Vec<Mac>>,
    /// Serial numbers instead of those found.
    pub serials: Option<Vec<String>>,
}

/// What is said of the TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tpm {
    /// How it is reached.
    pub address: TpmAddress,
    /// What the key of the vault is bound to.
    pub pcrs: Pcrs,
    /// What shows an older vault.
    pub counter: Option<CounterIndex>,
}

/// What is said of a PKCS#11 token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The library of its maker.
    pub module: PathBuf,
    /// Its label or serial number.
    pub name: String,
    /// Where its PIN lies.
    pub pin_file: RootedPath,
}

/// The counter of a device's vault, unless another is named.
const COUNTER: &str = "0x01806b01";

/// A configuration and what is worth telling about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// What does less than it says.
    pub notices: Vec<Notice>,
    /// SHA-256 of the file.
    pub digest: Sha256,
}

impl Config {
    /// Reads the file at `path`; a file that is not there is the same as an empty one.
    ///
    /// # Errors
    /// When it cannot be read or says something that makes no sense.
    pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
        let file = path.display().to_string();
        match fs::read(path) {
            Ok(bytes) => Self::parse(&file, &bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::parse(&file, b""),
            Err(error) => Err(ConfigError::Unreadable { file, reason: reason(&error).to_owned() }),
        }
    }

    /// Reads the content of a file that is called `file` in messages.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Loaded, ConfigError> {
        let invalid = |line, reason: &str| ConfigError::Invalid {
            place: Place { file: file.to_owned(), line },
            reason: reason.to_owned(),
        };
        if bytes.len() > BYTES_MAX {
            return Err(invalid(1, &format!("longer than {BYTES_MAX} bytes")));
        }
        let text = core::str::from_utf8(bytes).map_err(|error| {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let lines = before.iter().filter(|b| **b == b'\n').count();
            invalid(u64::try_from(lines).unwrap_or(u64::MAX).saturating_add(1), "not UTF-8")
        })?;
        let tree = tree::read(text).map_err(|fault| invalid(fault.line, &fault.value))?;
        let shape = File::read(tree).map_err(|misshapen| match misshapen {
            Misshapen::Value(fault) => invalid(fault.line, &fault.value),
            Misshapen::Unknown(key, known) => ConfigError::UnknownKey {
                place: Place { file: file.to_owned(), line: key.line },
                nearest: nearest(&key.value, known),
                key: kos_base::text::printable(&key.value, 64),
            },
        })?;
        Reading { file, notices: Vec::new(), digest: sha256(bytes) }.finish(shape)
    }
}

/// Turns the shape of the file into a configuration and collects notices on the way.
struct Reading<'a> {
    file: &'a str,
    notices: Vec<Notice>,
    digest: Sha256,
}

impl Reading<'_> {
    fn finish(mut self, shape: File) -> Result<Loaded, ConfigError> {
        let File {
            identity,
            network,
            enrolment,
            services,
            secrets,
            health,
            image,
            bootloader,
            pairing,
            verifier,
            hardware,
        } = shape;
        let authority = self.list(network.authority, LIST_MAX)?.unwrap_or_default();
        let discovery = self.discovery(network.discovery_method, &authority)?;
        let carriers = self.carriers(network.fallback)?;
        if let Some(encryption) = secrets.encryption
            && encryption.value == Encryption::None
        {
            self.note(&encryption, Matter::AlwaysEncrypted);
        }
        let lock: Option<Vec<_>> = self.list(bootloader.lock_command.clone(), LIST_MAX)?;
        if let (Some(lock), Some(words)) = (&lock, &bootloader.lock_command)
            && !lock.first().is_some_and(|program| program.0.starts_with('/'))
        {
            let at = words.first().map_or(1, |word| word.line);
            return Err(self.invalid(at, "the command begins with an absolute path"));
        }
        let home = secrets.keys.as_ref().map(|home| (home.line, home.value.0));
        let key_home = home.map(|(_, home)| home).unwrap_or_default();
        let pin_file = one(secrets.token_pin_file).unwrap_or(RootedPath::fixed("/etc/kos/secrets/token.pin"));
        let token = one(secrets.token_module).zip(one(secrets.token)).map(|(module, name)| Token {
            module: module.0,
            name: name.0,
            pin_file,
        });
        if let (Some((line, Home::Token)), None) = (home, &token) {
            return Err(self.invalid(line, "`token` needs `token_module` and `token`"));
        }
        let config = Config {
            device_id: one(identity.device_id),
            kind_id: one(identity.kind_id),
            cert_path: one(identity.cert_path).unwrap_or(RootedPath::fixed("/etc/kos/identity.cert")),
            name: one(identity.name),
            role: one(identity.role),
            profile: one(identity.profile),
            discovery,
            carriers,
            authority,
            pins: self.list(network.pin, PINS_MAX)?.unwrap_or_default(),
            maker: one(enrolment.maker),
            factory_certificate: one(enrolment.certificate),
            vouch: one(enrolment.vouch),
            heartbeat: one(network.heartbeat_s).map(|interval| interval.get()),
            capabilities: self.list(services.capabilities, Capability::COUNT_MAX)?.unwrap_or_default(),
            allowed_endpoints: self.list(services.allowed_endpoints, LIST_MAX)?,
            opener: one(secrets.opener).map(|opener| opener.0).unwrap_or_default(),
            key_file: one(secrets.key_file),
            tpm: Tpm {
                address: one(secrets.tpm).unwrap_or_default().0,
                pcrs: one(secrets.tpm_pcrs).map(|pcrs| pcrs.0).unwrap_or_default(),
                counter: one(secrets.tpm_counter).map_or_else(|| COUNTER.parse().ok(), |counter| counter.0),
            },
            key_home,
            token,
            vault: one(secrets.vault).unwrap_or(RootedPath::fixed("/etc/kos/secrets")),
            health_checks: self.checks(health.checks.unwrap_or_default())?,
            image_signer: one(image.signer).map(|signer| signer.0),
            image_policy: one(image.policy).unwrap_or(ManifestPolicy::Report),
            bootloader_lock: lock.map(|words| words.into_iter().map(|word| word.0).collect()),
            accept_pairings: self
                .list(pairing.accept, ACCEPTED_MAX)?
                .unwrap_or_default()
                .into_iter()
                .map(|one: PairedWith| one.0)
                .collect(),
            verifier: one(verifier.file),
            verifier_roots: self.list(verifier.ek_roots, ROOTS_MAX)?.unwrap_or_default(),
            macs: self.list(hardware.macs, MACS_MAX)?,
            serials: self
                .list(hardware.serials, SERIALS_MAX)?
                .map(|list| list.into_iter().map(|s| s.0).collect()),
        };
        Ok(Loaded { config, notices: self.notices, digest: self.digest })
    }

    fn discovery(
        &mut self,
        method: One<Discovery>,
        authority: &[Endpoint],
    ) -> Result<Vec<Discovery>, ConfigError> {
        let Some(method) = method else { return Ok(vec![Discovery::Ticket]) };
        match method.value {
            Discovery::Kdns => {
                self.note(&method, Matter::KdnsAbsent);
                Ok(vec![Discovery::Fixed, Discovery::Ticket, Discovery::Mdns])
            }
            Discovery::Fixed if authority.is_empty() => {
                Err(self.invalid(method.line, "`fixed` needs an address in `network.authority`"))
            }
            other => Ok(vec![other]),
        }
    }

    fn carriers(&mut self, fallback: Many<Fallback>) -> Result<Vec<Carrier>, ConfigError> {
        let mut carriers = vec![Carrier::Quic];
        let Some(fallback) = fallback else {
            carriers.extend([Carrier::Tls, Carrier::WebSocket]);
            return Ok(carriers);
        };
        for entry in &fallback {
            match entry.value {
                Fallback::Carrier(carrier) if !carriers.contains(&carrier) => carriers.push(carrier),
                Fallback::Carrier(_) => {}
                Fallback::Mqtt => self.note(entry, Matter::MqttAbsent),
            }
        }
        self.list(Some(fallback), LIST_MAX)?;
        Ok(carriers)
    }

    fn checks(
        &self,
        checks: BTreeMap<Capability, Lined<HealthCheck>>,
    ) -> Result<BTreeMap<Capability, HealthCheck>, ConfigError> {
        match checks.values().nth(CHECKS_MAX) {
            Some(over) => Err(self.invalid(over.line, &format!("at most {CHECKS_MAX} are allowed"))),
            None => Ok(checks.into_iter().map(|(name, check)| (name, check.value)).collect()),
        }
    }

    fn list<T>(&self, list: Many<T>, count_max: usize) -> Result<Option<Vec<T>>, ConfigError> {
        if let Some(over) = list.as_ref().and_then(|list| list.get(count_max)) {
            return Err(self.invalid(over.line, &format!("at most {count_max} are allowed")));
        }
        Ok(list.map(|list| list.into_iter().map(|item| item.value).collect()))
    }

    fn invalid(&self, line: u64, reason: &str) -> ConfigError {
        ConfigError::Invalid { place: self.place(line), reason: reason.to_owned() }
    }

    fn note<T>(&mut self, at: &Lined<T>, matter: Matter) {
        let place = self.place(at.line);
        self.notices.push(Notice { place, matter });
    }

    fn place(&self, line: u64) -> Place {
        Place { file: self.file.to_owned(), line }
    }
}

fn one<T>(value: One<T>) -> Option<T> {
    value.map(|value| value.value)
}

/// The known key that looks most like `key`, if any looks like it at all.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let likeness = |known: &&'static str| strsim::damerau_levenshtein(&key.to_ascii_lowercase(), known);
    let best = known.iter().copied().min_by_key(likeness)?;
    (likeness(&best) <= 1 + best.len() / 4).then_some(best)
}

#[cfg(test)]
mod tests;
