//! What can be wrong with a configuration file, and what is merely worth telling.

use core::fmt;

use kos_base::{Code, code};

/// A line of a file, written `FILE:LINE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named.
    pub file: String,
    /// Counted from 1.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Why a configuration is refused. Nothing of it is in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A key that does not exist.
    #[error("{place}: unknown key `{key}`{}", DidYouMean(*.nearest))]
    UnknownKey {
        /// Where it stands.
        place: Place,
        /// As written.
        key: String,
        /// The key of this section that looks most like it.
        nearest: Option<&'static str>,
    },
    /// A value that its key does not take, or a file that is not YAML.
    #[error("{place}: {reason}")]
    Invalid {
        /// Where it stands.
        place: Place,
        /// What is wrong with it.
        reason: String,
    },
    /// The file cannot be read.
    #[error("{file} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// In words.
        reason: String,
    },
}

struct DidYouMean(Option<&'static str>);

impl fmt::Display for DidYouMean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(key) => write!(f, ", did you mean `{key}`?"),
            None => Ok(()),
        }
    }
}

impl ConfigError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::UnknownKey { .. } => code::config::CONFIG_UNKNOWN_KEY,
            Self::Invalid { .. } => code::config::CONFIG_INVALID,
            Self::Unreadable { .. } => code::config::FILE_UNREADABLE,
        }
    }
}

/// A setting that is accepted and does less than it says. Told once at each start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Which setting.
    pub place: Place,
    /// What is different.
    pub matter: Matter,
}

/// What a [`Notice`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matter {
    /// `discovery_method: kDNS`.
    KdnsAbsent,
    /// `mqtt` in `fallback`.
    MqttAbsent,
    /// `encryption: none`.
    AlwaysEncrypted,
}

impl Matter {
    /// A name that scripts can look for.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KdnsAbsent => "kdns-absent",
            Self::MqttAbsent => "mqtt-absent",
            Self::AlwaysEncrypted => "always-encrypted",
        }
    }
}

impl fmt::Display for Matter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KdnsAbsent => {
                "kDNS is not there yet: fixed addresses, the ticket and mDNS are tried instead"
            }
            Self::MqttAbsent => "MQTT is not there yet: it is skipped",
            Self::AlwaysEncrypted => "keys are encrypted all the same: no device keeps them in the clear",
        })
    }
}
