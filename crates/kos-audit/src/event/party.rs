//! Who caused an event, and what it was about (AUD-10 to AUD-13).
//!
//! Ids of people and network addresses exist only as [`Personal`] values, so that no entry can hold one in the clear.

use core::{fmt, str::FromStr};

use kos_base::{AuthorityName, DeviceId, EntryId, KeyId, text::printable};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeStruct as _};

use crate::personal::Personal;

/// Who caused an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The authority by itself: a timer, a start, a rule.
    Authority(AuthorityName),
    /// A device that proved who it is.
    Device(DeviceId),
    /// An operator with a certificate.
    Operator(Personal),
    /// A user of the machine that the authority runs on, by the local socket.
    LocalUser(Personal),
    /// An agent that signed what it asked for, by the key of its pairing.
    Agent(Label),
    /// Somebody who proved nothing; the address, if there is one.
    Unknown(Option<Personal>),
}

/// What an event was about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An authority.
    Authority(AuthorityName),
    /// A device.
    Device(DeviceId),
    /// A ticket.
    Ticket(EntryId),
    /// A certificate, by its serial number in lower-case hex.
    Certificate(Label),
    /// A CA that signs certificates and revocation lists.
    Issuer(KeyId),
    /// An operator.
    Operator(Personal),
    /// A rule that lets devices in.
    Rule(Label),
    /// A backup.
    Backup(Label),
    /// A vault, by its environment.
    Vault(Label),
    /// An alert.
    Alert(Label),
    /// Who is told of alerts, and is no person.
    Guardian(Label),
}

impl Actor {
    /// The kind of actor, as written.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Authority(_) => "authority",
            Self::Device(_) => "device",
            Self::Operator(_) => "operator",
            Self::LocalUser(_) => "local-user",
            Self::Agent(_) => "agent",
            Self::Unknown(_) => "unknown",
        }
    }

    /// The id when it is not about a person.
    pub fn plain_id(&self) -> Option<&str> {
        match self {
            Self::Authority(name) => Some(name.as_ref()),
            Self::Device(id) => Some(id.as_ref()),
            Self::Agent(agent) => Some(&agent.0),
            Self::Operator(_) | Self::LocalUser(_) | Self::Unknown(_) => None,
        }
    }

    /// The id when it is about a person.
    pub const fn personal_id(&self) -> Option<&Personal> {
        match self {
            Self::Operator(id) | Self::LocalUser(id) => Some(id),
            Self::Unknown(id) => id.as_ref(),
            Self::Authority(_) | Self::Device(_) | Self::Agent(_) => None,
        }
    }
}

impl Target {
    /// The kind of target, as written.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Authority(_) => "authority",
            Self::Device(_) => "device",
            Self::Ticket(_) => "ticket",
            Self::Certificate(_) => "certificate",
            Self::Issuer(_) => "issuer",
            Self::Operator(_) => "operator",
            Self::Rule(_) => "rule",
            Self::Backup(_) => "backup",
            Self::Vault(_) => "vault",
            Self::Alert(_) => "alert",
            Self::Guardian(_) => "guardian",
        }
    }

    /// The id when it is not about a person.
    pub fn plain_id(&self) -> Option<String> {
        match self {
            Self::Authority(name) => Some(name.to_string()),
            Self::Device(id) => Some(id.to_string()),
            Self::Ticket(id) => Some(id.to_string()),
            Self::Issuer(key) => Some(key.to_string()),
            Self::Certificate(label)
            | Self::Rule(label)
            | Self::Backup(label)
            | Self::Vault(label)
            | Self::Alert(label)
            | Self::Guardian(label) => Some(label.to_string()),
            Self::Operator(_) => None,
        }
    }

    /// The id when it is about a person.
    pub const fn personal_id(&self) -> Option<&Personal> {
        if let Self::Operator(id) = self { Some(id) } else { None }
    }
}

/// An id that needs no form of its own: 1 to 128 visible ASCII characters without spaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

/// The text is not a label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an id of 1 to {max} visible ASCII characters", max = Label::CHARS_MAX)]
pub struct ParseLabelError(String);

impl Label {
    /// Most characters; keeps an id from filling an entry.
    pub const CHARS_MAX: usize = 128;
}

impl FromStr for Label {
    type Err = ParseLabelError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let fits = (1..=Self::CHARS_MAX).contains(&s.len());
        if fits && s.bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(Self(s.to_owned()));
        }
        Err(ParseLabelError(printable(s, 80)))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The JSON object of an actor or target, keys in order.
fn write<S: Serializer, I: Serialize>(s: S, kind: &str, id: I) -> Result<S::Ok, S::Error> {
    let mut object = s.serialize_struct("Party", 2)?;
    object.serialize_field("id", &id)?;
    object.serialize_field("type", kind)?;
    object.end()
}

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.personal_id() {
            Some(id) => write(s, self.kind(), id),
            None => write(s, self.kind(), self.plain_id()),
        }
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.personal_id() {
            Some(id) => write(s, self.kind(), id),
            None => write(s, self.kind(), self.plain_id()),
        }
    }
}

/// An actor or target as it stands in JSON, before its id is read as what its type says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Party {
    id: Option<Id>,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Plain(String),
    Personal(Personal),
}

impl Party {
    fn plain<T: FromStr<Err: fmt::Display>, E: de::Error>(self) -> Result<T, E> {
        match self.id {
            Some(Id::Plain(text)) => text.parse().map_err(E::custom),
            _ => Err(E::custom("expected an id in plain text")),
        }
    }

    fn personal<E: de::Error>(self) -> Result<Personal, E> {
        match self.id {
            Some(Id::Personal(id)) => Ok(id),
            _ => Err(E::custom("expected a sealed id")),
        }
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let party = Party::deserialize(d)?;
        match party.kind.as_str() {
            "authority" => party.plain().map(Self::Authority),
            "device" => party.plain().map(Self::Device),
            "operator" => party.personal().map(Self::Operator),
            "local-user" => party.personal().map(Self::LocalUser),
            "agent" => party.plain().map(Self::Agent),
            "unknown" if party.id.is_none() => Ok(Self::Unknown(None)),
            "unknown" => party.personal().map(|id| Self::Unknown(Some(id))),
            other => {
                Err(de::Error::custom(format_args!("`{}` is not a type of actor", printable(other, 40))))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let party = Party::deserialize(d)?;
        match party.kind.as_str() {
            "authority" => party.plain().map(Self::Authority),
            "device" => party.plain().map(Self::Device),
            "ticket" => party.plain().map(Self::Ticket),
            "certificate" => party.plain().map(Self::Certificate),
            "issuer" => party.plain().map(Self::Issuer),
            "operator" => party.personal().map(Self::Operator),
            "rule" => party.plain().map(Self::Rule),
            "backup" => party.plain().map(Self::Backup),
            "vault" => party.plain().map(Self::Vault),
            "alert" => party.plain().map(Self::Alert),
            "guardian" => party.plain().map(Self::Guardian),
            other => {
                Err(de::Error::custom(format_args!("`{}` is not a type of target", printable(other, 40))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEALED: &str = r#"{"sealed":"AAAA","subject":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#;

    fn check<T: Serialize + for<'de> Deserialize<'de>>(json: &str, readable: bool) {
        let json = json.replace("SEALED", SEALED);
        let read = serde_json::from_str::<T>(&json).ok();
        let written = read.map(|value| serde_json::to_string(&value).unwrap());
        assert_eq!(written, readable.then(|| json.clone()), "{json}");
    }

    #[test]
    fn an_actor_of_any_type_is_read_back() {
        for json in [
            r#"{"id":"attic","type":"authority"}"#,
            r#"{"id":"kdev-7f4ac30123456789","type":"device"}"#,
            r#"{"id":SEALED,"type":"operator"}"#,
            r#"{"id":SEALED,"type":"local-user"}"#,
            r#"{"id":"kai:home/kitchen","type":"agent"}"#,
            r#"{"id":SEALED,"type":"unknown"}"#,
            r#"{"id":null,"type":"unknown"}"#,
        ] {
            check::<Actor>(json, true);
        }
    }

    #[test]
    fn a_target_of_any_type_is_read_back() {
        for json in [
            r#"{"id":"attic","type":"authority"}"#,
            r#"{"id":"kdev-7f4ac30123456789","type":"device"}"#,
            r#"{"id":"0190a0b0-c0d0-7000-8000-000000000001","type":"ticket"}"#,
            r#"{"id":"3f00aa","type":"certificate"}"#,
            r#"{"id":"0000000000000000000000000000000000000000000000000000000000000000","type":"issuer"}"#,
            r#"{"id":SEALED,"type":"operator"}"#,
            r#"{"id":"sensors-of-hall-2","type":"rule"}"#,
            r#"{"id":"2026-11-20.kosbackup","type":"backup"}"#,
            r#"{"id":"7f4ac301234567897f4ac30123456789","type":"alert"}"#,
            r#"{"id":"pager","type":"guardian"}"#,
        ] {
            check::<Target>(json, true);
        }
    }

    #[test]
    fn people_in_the_clear_and_ids_of_the_wrong_form_are_refused() {
        for json in [
            r#"{"id":"anna","type":"operator"}"#,
            r#"{"id":"root","type":"local-user"}"#,
            r#"{"id":"10.0.0.7","type":"unknown"}"#,
            r#"{"id":null,"type":"operator"}"#,
            r#"{"id":SEALED,"type":"device"}"#,
            r#"{"id":"kdev-7f4","type":"device"}"#,
            r#"{"id":"attic","type":"robot"}"#,
            r#"{"id":null,"type":"agent"}"#,
            r#"{"id":"attic","name":"x","type":"authority"}"#,
        ] {
            check::<Actor>(json, false);
        }
        for bad in ["", "a b", "ä", "a\n", &"x".repeat(129)] {
            assert!(bad.parse::<Label>().is_err(), "{bad:?}");
        }
    }
}
