//! What a device is and may be: role, profile, evidence, channel, state, group, name, hardware address.

use core::{fmt, str::FromStr};

use crate::id::{ParseIdError, text_forms};

/// A closed list of words: parsing, writing and counting in one place.
macro_rules! words {
    ($(#[$meta:meta])* $type:ident, $wanted:literal, { $($(#[$vmeta:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type { $($(#[$vmeta])* $variant,)+ }

        impl $type {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word, as written in every file and message.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str { self.as_str() }
        }

        impl FromStr for $type {
            type Err = ParseIdError;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                match s { $($word => Ok(Self::$variant),)+ _ => Err(ParseIdError::new(s, $wanted)) }
            }
        }
        text_forms!($type);
    };
}

words!(
    /// What a device is for. A label, except where SPECIFICATION.md says otherwise.
    Role, "a role (gateway, sensor, companion, compute, actuator, relay)", {
        /// Routes for others.
        Gateway = "gateway",
        /// Measures and saves power.
        Sensor = "sensor",
        /// Meets people.
        Companion = "companion",
        /// Hosts services and agents.
        Compute = "compute",
        /// Acts on the world, in bounded time.
        Actuator = "actuator",
        /// Forwards, produces no data.
        Relay = "relay",
    }
);

words!(
    /// Security profile `kOS-SEC-0` to `kOS-SEC-4`. Later is stricter; a device never goes back.
    SecurityProfile, "a security profile (SEC-0 to SEC-4)", {
        /// Lobby: alerts and enrolment only.
        Sec0 = "SEC-0",
        /// Basic sensors.
        Sec1 = "SEC-1",
        /// Trusted edge devices; what a ticket gives.
        Sec2 = "SEC-2",
        /// Autonomous nodes with hardware keys.
        Sec3 = "SEC-3",
        /// Critical infrastructure.
        Sec4 = "SEC-4",
    }
);

words!(
    /// What a device has proven about its keys and its boot. Later is stronger.
    EvidenceTier, "an evidence tier", {
        /// Nothing.
        None = "none",
        /// The key was made on the device, by its own word.
        KeyOnDevice = "key-on-device",
        /// The key is in a TPM or token.
        KeyInTpm = "key-in-tpm",
        /// The TPM's endorsement key opened a challenge.
        EkActivated = "ek-activated",
        /// The maker's certificate of that key was checked.
        EkChainVerified = "ek-chain-verified",
        /// A quote of the boot measurements was checked.
        QuoteVerified = "quote-verified",
    }
);

words!(
    /// Firmware channel.
    Channel, "a channel (stable, beta, dev)", {
        /// The default.
        Stable = "stable",
        /// Tried by the willing.
        Beta = "beta",
        /// Only for devices that the authority marked for it.
        Dev = "dev",
    }
);

words!(
    /// Where a device is in its life.
    DeviceState, "a device state", {
        /// Never seen, or forgotten by a restore.
        Unknown = "unknown",
        /// In the lobby, or issued and not yet confirmed.
        Pending = "pending",
        /// Confirmed and in service.
        Active = "active",
        /// Past the renewal point of its certificate.
        RenewalDue = "renewal-due",
        /// Its certificate ran out.
        Expired = "expired",
        /// Stopped by an operator or a clone alert; can be reinstated.
        Suspended = "suspended",
        /// Held as compromised; returns only through a fresh proof and a person.
        Quarantined = "quarantined",
        /// Ordered to wipe itself, not yet confirmed.
        Decommissioning = "decommissioning",
        /// Wiped, or given up.
        Decommissioned = "decommissioned",
    }
);

/// A validated text of a fixed alphabet and length.
macro_rules! checked_text {
    ($(#[$meta:meta])* $type:ident, $wanted:literal, $ok:expr) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str { &self.0 }
        }

        impl FromStr for $type {
            type Err = ParseIdError;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                let ok: fn(&str) -> bool = $ok;
                if ok(s) { Ok(Self(s.to_owned())) } else { Err(ParseIdError::new(s, $wanted)) }
            }
        }
        text_forms!($type);
    };
}

fn is_label(s: &str, chars_max: usize) -> bool {
    (1..=chars_max).contains(&s.len())
        && s.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'))
        && s.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

checked_text!(
    /// What people call a device, a ticket's maker or an operator: 1 to 64 visible characters, no leading or
    /// trailing space. Untrusted: not an identifier.
    Name, "a name (1 to 64 visible characters)",
    |s| (1..=64).contains(&s.chars().count()) && s.len() <= 200 && s.trim() == s && s.chars().all(crate::text::is_safe)
);

impl From<&crate::DeviceId> for Name {
    /// The short id, for a device that nobody has named yet.
    fn from(id: &crate::DeviceId) -> Self {
        Self(id.short().to_owned())
    }
}

checked_text!(
    /// Where a device stands in the fleet: 1 to 8 labels of `[a-z0-9._-]` joined by `/`, at most 128 characters.
    GroupPath, "a group (`berlin/line-2`)",
    |s| s.len() <= 128 && s.split('/').count() <= 8 && s.split('/').all(|label| is_label(label, 32))
);

checked_text!(
    /// Something that a device offers, such as `telemetry`: a label of at most 48 characters.
    Capability, "a capability (a-z, 0-9, `-`, `_`, `.`; at most 48)",
    |s| is_label(s, 48)
);

impl Capability {
    /// Most capabilities of one device; what a hostile device may make others store.
    pub const COUNT_MAX: usize = 32;
}

/// An EUI-48 hardware address, written `00:11:22:33:44:55`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

impl Mac {
    /// The six bytes.
    pub const fn as_bytes(&self) -> &[u8; 6] {
        &self.0
    }

    /// Takes six bytes over.
    pub const fn from_bytes(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// Whether a maker assigned it: not locally administered, not multicast, not zero.
    pub fn is_universal(&self) -> bool {
        let [first, ..] = self.0;
        first & 0b11 == 0 && self.0 != [0; 6]
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = ParseIdError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || ParseIdError::new(s, "a hardware address (`00:11:22:33:44:55`)");
        let mut bytes = [0; 6];
        let mut parts = s.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2 && !p.starts_with('+')).ok_or_else(bad)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        }
        if parts.next().is_some() { Err(bad()) } else { Ok(Self(bytes)) }
    }
}

impl serde::Serialize for Mac {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Mac {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// CBOR: a byte string of 6.
impl<C> minicbor::Encode<C> for Mac {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Mac {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let bytes = d.bytes()?.try_into();
        bytes.map(Self).map_err(|_| minicbor::decode::Error::message("a hardware address has 6 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(*role));
        }
        for state in DeviceState::ALL {
            assert_eq!(state.as_str().parse(), Ok(*state));
        }
        assert!("Gateway".parse::<Role>().is_err());
        assert!(SecurityProfile::Sec2 < SecurityProfile::Sec3);
    }

    #[test]
    fn names_and_groups_keep_out_what_could_deceive() {
        for bad in ["", " a", "a\u{202e}b", "a\x1b[2J", &"x".repeat(65)] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
        assert!("Küche 2".parse::<Name>().is_ok());
        for bad in ["", "/a", "a/", "a//b", "A", "../x", "a b"] {
            assert!(bad.parse::<GroupPath>().is_err(), "{bad:?}");
        }
        assert!("berlin/line-2".parse::<GroupPath>().is_ok());
    }

    #[test]
    fn hardware_addresses_are_read_strictly() {
        let mac: Mac = "00:1A:2b:00:00:01".parse().unwrap();
        assert_eq!(mac.to_string(), "00:1a:2b:00:00:01");
        assert!(mac.is_universal());
        assert!(!"02:00:00:00:00:01".parse::<Mac>().unwrap().is_universal());
        for bad in ["", "00:11:22:33:44", "00:11:22:33:44:55:66", "+0:11:22:33:44:55", "0011.2233.4455"] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }
}
