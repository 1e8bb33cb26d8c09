//! The values of the configuration file, each with its own reading and its own refusal.

use core::{fmt, str::FromStr, time::Duration};
use std::path::{Path, PathBuf};

use kos_base::{AuthorityName, DeviceId, PublicKey, text::printable};
use kos_hardware::tpm::{CounterIndex, Pcrs, TpmAddress};
use kos_identity::enrolment::message::Carrier;
use kos_keyring::{Home, Opener};

/// The text is not a value of its key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {wanted}")]
pub struct BadValue {
    text: String,
    wanted: &'static str,
}

impl BadValue {
    pub(crate) fn new(text: &str, wanted: &'static str) -> Self {
        Self { text: printable(text, 80), wanted }
    }
}

/// The first characters of a device id, as people write it: `kdev-` and 4 to 16 of `0-9` and `a-v`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceIdPrefix(String);

impl DeviceIdPrefix {
    /// Whether `id` starts like this.
    pub fn fits(&self, id: &DeviceId) -> bool {
        id.has_prefix(&self.0)
    }
}

impl fmt::Display for DeviceIdPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DeviceIdPrefix {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let tail = s.strip_prefix("kdev-").filter(|tail| {
            (4..=16).contains(&tail.len()) && tail.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'v'))
        });
        match tail {
            Some(_) => Ok(Self(s.to_owned())),
            None => Err(BadValue::new(s, "a device id (`kdev-` and 4 to 16 characters of 0-9 and a-v)")),
        }
    }
}

/// What the kID of this device is expected to say: `k:<authority>/<device id>/<n>`, the id shortened or whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedKid {
    /// Who issues it.
    pub authority: AuthorityName,
    /// Whose it is.
    pub device: DeviceIdPrefix,
    /// Least number of the certificate; renewals raise it.
    pub issue_min: u32,
}

impl FromStr for ExpectedKid {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || BadValue::new(s, "a kID (`k:authority/kdev-.../001`)");
        let mut parts = s.strip_prefix("k:").ok_or_else(bad)?.split('/');
        let (Some(authority), Some(device), Some(issue), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(bad());
        };
        let digits = issue.len() >= 3 && issue.bytes().all(|b| b.is_ascii_digit());
        Ok(Self {
            authority: authority.parse().map_err(|_| bad())?,
            device: device.parse().map_err(|_| bad())?,
            issue_min: issue.parse().ok().filter(|n| digits && *n > 0).ok_or_else(bad)?,
        })
    }
}

/// An absolute path that is looked up below ROOT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootedPath(PathBuf);

impl RootedPath {
    /// A path of this program's own.
    pub(crate) fn fixed(path: &'static str) -> Self {
        Self(path.into())
    }

    /// Where it is when `root` is ROOT.
    pub fn below(&self, root: &Path) -> PathBuf {
        root.join(self.0.strip_prefix("/").unwrap_or(&self.0))
    }

    /// As written.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl FromStr for RootedPath {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let plain = s.split('/').skip(1).all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'));
        if s.starts_with('/') && plain && s.len() <= 1024 {
            return Ok(Self(s.into()));
        }
        Err(BadValue::new(s, "an absolute path without `..`"))
    }
}

/// The protocol to the authority. There is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Kind Link Protocol.
    Klp,
}

impl FromStr for Protocol {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "klp" => Ok(Self::Klp),
            _ => Err(BadValue::new(s, "a protocol that kOS speaks (klp)")),
        }
    }
}

/// How a device that is not enrolled finds its authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// Kind naming. Not there yet: falls through to the others, in the order of this list.
    Kdns,
    /// The addresses of `network.authority`.
    Fixed,
    /// The addresses in the ticket.
    Ticket,
    /// DNS-SD on the local network.
    Mdns,
}

impl FromStr for Discovery {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "kDNS" => Ok(Self::Kdns),
            "fixed" => Ok(Self::Fixed),
            "ticket" => Ok(Self::Ticket),
            "mdns" => Ok(Self::Mdns),
            _ => Err(BadValue::new(s, "a way to find the authority (kDNS, fixed, ticket, mdns)")),
        }
    }
}

/// One entry of `network.fallback`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// A carrier that is built.
    Carrier(Carrier),
    /// Named by the source, not built yet: skipped with a warning.
    Mqtt,
}

impl FromStr for Fallback {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "klp" => Ok(Self::Carrier(Carrier::Quic)),
            "tls" => Ok(Self::Carrier(Carrier::Tls)),
            "websocket" | "https" => Ok(Self::Carrier(Carrier::WebSocket)),
            "mqtt" => Ok(Self::Mqtt),
            _ => Err(BadValue::new(s, "a carrier (klp, tls, websocket, https, mqtt)")),
        }
    }
}

/// What `secrets.encryption` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// Accepted with a warning: keys are encrypted all the same.
    None,
    /// A vault, which is how keys are kept.
    Aes256Gcm,
}

impl FromStr for Encryption {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "none" => Ok(Self::None),
            "aes-256-gcm" => Ok(Self::Aes256Gcm),
            _ => Err(BadValue::new(s, "a way to keep secrets (none, aes-256-gcm)")),
        }
    }
}

/// What `secrets.opener` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenerWord(pub Opener);

impl FromStr for OpenerWord {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.parse()
            .map(Self)
            .map_err(|_| BadValue::new(s, "a way to open the keys (key-file, credential, tpm)"))
    }
}

/// What `secrets.keys` asks for: where a signing key is made and stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HomeWord(pub Home);

impl FromStr for HomeWord {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.parse().map(Self).map_err(|_| BadValue::new(s, "a place for keys (vault, tpm, token)"))
    }
}

/// What `secrets.tpm` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TpmWord(pub TpmAddress);

impl FromStr for TpmWord {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let refused = |_| BadValue::new(s, "a TPM (device:PATH, swtpm:HOST:PORT, swtpm:unix:PATH)");
        s.parse().map(Self).map_err(refused)
    }
}

/// What `secrets.tpm_pcrs` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PcrsWord(pub Pcrs);

impl FromStr for PcrsWord {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.parse().map(Self).map_err(|_| BadValue::new(s, "a set of PCRs (numbers from 0 to 23 with commas)"))
    }
}

/// What `secrets.tpm_counter` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterWord(pub Option<CounterIndex>);

impl FromStr for CounterWord {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let refused = |_| BadValue::new(s, "a counter of the TPM (0x01800000 to 0x01bfffff, or none)");
        if s == "none" { Ok(Self(None)) } else { s.parse().map(|index| Self(Some(index))).map_err(refused) }
    }
}

/// A file of the machine, and not below ROOT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachinePath(pub PathBuf);

impl FromStr for MachinePath {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        if s.starts_with('/') { Ok(Self(s.into())) } else { Err(BadValue::new(s, "an absolute path")) }
    }
}

/// The label or serial number of a token: 1 to 64 visible characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenName(pub String);

impl FromStr for TokenName {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let is_one = (1..=64).contains(&s.len()) && s.chars().all(kos_base::text::is_safe);
        if is_one {
            Ok(Self(s.to_owned()))
        } else {
            Err(BadValue::new(s, "the label or serial number of a token"))
        }
    }
}

/// What a boot does without an image manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestPolicy {
    /// Goes on and reports `image: unverified`, which caps the security profile at SEC-2.
    Report,
    /// Ends.
    Require,
}

impl FromStr for ManifestPolicy {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "report" => Ok(Self::Report),
            "require" => Ok(Self::Require),
            _ => Err(BadValue::new(s, "a policy (report, require)")),
        }
    }
}

/// Time between heartbeats, 1 to 86 400 whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatInterval(Duration);

impl HeartbeatInterval {
    /// As a span of time.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for HeartbeatInterval {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let seconds = s.parse::<u32>().ok().filter(|n| (1..=86_400).contains(n));
        let span = seconds.map(|n| Self(Duration::from_secs(n.into())));
        span.ok_or_else(|| BadValue::new(s, "a number of seconds from 1 to 86400"))
    }
}

/// A serial number of the hardware: 1 to 64 visible bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serial(pub(crate) String);

impl FromStr for Serial {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let max = kos_identity::enrolment::message::SERIAL_BYTES_MAX;
        if (1..=max).contains(&s.len()) && s.trim() == s && s.chars().all(kos_base::text::is_safe) {
            return Ok(Self(s.to_owned()));
        }
        Err(BadValue::new(s, "a serial number (1 to 64 visible bytes)"))
    }
}

/// The key that signs image manifests: base64 of its SubjectPublicKeyInfo, as between the lines of a PEM file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSigner(pub(crate) PublicKey);

impl FromStr for ImageSigner {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let key = kos_base::text::base64(s);
        let key = key.and_then(|der| PublicKey::from_spki_der(&der).ok());
        key.map(Self).ok_or_else(|| BadValue::new(s, "a public key (base64 of its SubjectPublicKeyInfo)"))
    }
}

/// One word of a command line, passed on as it is; no shell reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandWord(pub(crate) String);

impl FromStr for CommandWord {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        if s.contains('\0') || s.len() > 1024 {
            return Err(BadValue::new(s, "a word of a command (at most 1024 bytes)"));
        }
        Ok(Self(s.to_owned()))
    }
}

/// With whom a device may be paired: `user:` and a name, or `kai:` and an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairedWith(pub String);

impl FromStr for PairedWith {
    type Err = BadValue;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let is_user = s.strip_prefix("user:").is_some_and(|name| name.parse::<kos_base::Name>().is_ok());
        let is_agent = s.parse::<kos_policy::pairing::AgentId>().is_ok();
        if is_user || is_agent {
            Ok(Self(s.to_owned()))
        } else {
            Err(BadValue::new(s, "somebody to be paired with (`user:NAME` or `kai:ID`)"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuses<T: FromStr>(texts: &[&str]) {
        for text in texts {
            assert!(text.parse::<T>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn short_forms_of_a_device_id_fit_only_what_they_begin() {
        let id: DeviceId = "kdev-7f4ac3ghijklmnop".parse().unwrap();
        for (text, fits) in [("kdev-7f4ac3", true), ("kdev-7f4a", true), ("kdev-7f4ac4", false)] {
            assert_eq!(text.parse::<DeviceIdPrefix>().unwrap().fits(&id), fits, "{text}");
        }
        refuses::<DeviceIdPrefix>(&[
            "",
            "7f4ac3",
            "kdev-7f4",
            "kdev-7F4AC3",
            "kdev-7f4ac3ghijklmnopq",
            "kdev-wxyz",
        ]);
    }

    #[test]
    fn an_expected_kid_has_authority_device_and_number() {
        let kid: ExpectedKid = "k:auth/kdev-7f4ac3/001".parse().unwrap();
        assert_eq!((kid.authority.as_ref(), kid.issue_min), ("auth", 1));
        refuses::<ExpectedKid>(&["", "k:auth/kdev-7f4ac3", "k:auth/kdev-7f4ac3/1", "k:auth/kdev-7f4ac3/000"]);
        refuses::<ExpectedKid>(&[
            "k:Auth/kdev-7f4ac3/001",
            "k:auth/kdev-7f4ac3/001/2",
            "k:auth/kdev-7f4ac3/+01",
        ]);
    }

    #[test]
    fn a_path_never_leaves_its_root() {
        let path: RootedPath = "/etc/kos/secrets".parse().unwrap();
        assert_eq!(path.below(Path::new("/tmp/x")), Path::new("/tmp/x/etc/kos/secrets"));
        assert_eq!(path.below(Path::new("/")), Path::new("/etc/kos/secrets"));
        refuses::<RootedPath>(&["", "/", "etc", "/etc/../x", "/etc//x", "/./x", "/x/", "/a\0b", "//x"]);
    }

    #[test]
    fn an_interval_is_a_whole_number_of_seconds_within_a_day() {
        assert_eq!("60".parse::<HeartbeatInterval>().unwrap().get(), Duration::from_secs(60));
        refuses::<HeartbeatInterval>(&["0", "-1", "86401", "1.5", "60s", ""]);
    }
}
