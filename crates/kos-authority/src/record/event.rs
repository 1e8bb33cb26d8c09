//! The one function from changes to entries.

use std::net::IpAddr;

use kos_audit::{EventType, alert::AlertId};
use kos_base::{DeviceId, DeviceState, EntryId, KeyId, Name, code};
use kos_identity::{
    enrolment::authority::RuleName,
    registry::{self, Actor},
};
use kos_net::accept::source_of;
use kos_vault::{EntryName, Environment};
use serde_json::{Map, Value, json};

use super::{Change, system, voucher};
use crate::alert::GuardianName;

/// An entry before it has an id, a place and a signature. What speaks of a person is not sealed yet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Draft {
    pub(crate) event: EventType,
    pub(crate) about: About,
    pub(crate) details: Map<String, Value>,
    /// Values to be sealed into the details, under these keys.
    pub(crate) people: Vec<(&'static str, Person)>,
}

/// What an entry is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum About {
    Authority,
    Nothing,
    Device(DeviceId),
    Ticket(EntryId),
    Issuer(KeyId),
    Operator(Name),
    Rule(RuleName),
    Vault(Environment),
    Alert(AlertId),
    Guardian(GuardianName),
}

/// Somebody whom the log names only under seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Person {
    Operator(Name),
    LocalUser(String),
    Address(String),
    /// No person, but named only under seal as well: the file hides what secrets are called.
    Secret(EntryName),
    /// Who holds a share.
    Holder(String),
}

impl Person {
    /// The person behind an actor, if it is one.
    pub(crate) fn behind(actor: &Actor) -> Option<Self> {
        match actor {
            Actor::Operator(name) => Some(Self::Operator(name.clone())),
            Actor::LocalUser(user) => Some(Self::LocalUser(user.clone())),
            Actor::Unknown(address) => Some(Self::Address(address.clone())),
            Actor::Authority | Actor::Device(_) | Actor::Agent(_) => None,
        }
    }

    /// How they act, if they are one who does.
    pub(crate) fn actor(&self) -> Option<Actor> {
        match self {
            Self::Operator(name) => Some(Actor::Operator(name.clone())),
            Self::LocalUser(user) => Some(Actor::LocalUser(user.clone())),
            Self::Address(_) | Self::Secret(_) | Self::Holder(_) => None,
        }
    }

    /// The word for what they are.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Operator(_) => "operator",
            Self::LocalUser(_) => "local-user",
            Self::Address(_) => "address",
            Self::Secret(_) => "vault-entry",
            Self::Holder(_) => "share-holder",
        }
    }

    /// Everybody of this name: a person of each kind.
    pub(crate) fn named(name: &str) -> Vec<Self> {
        let operator = name.parse().map(Self::Operator).ok();
        let others = [Self::LocalUser(name.to_owned()), Self::Holder(name.to_owned())];
        operator.into_iter().chain(others).collect()
    }

    /// Everybody whom the log may know under this name: a person of each kind, or a network address.
    pub(crate) fn called(name: &str) -> Vec<Self> {
        let address = match name.parse::<IpAddr>() {
            Ok(address) => source_of(address).to_string(),
            Err(_) => name.to_owned(),
        };
        let mut called = Self::named(name);
        called.push(Self::Address(address));
        called
    }

    /// What the log says about them, once opened.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Operator(name) => name.as_ref(),
            Self::LocalUser(text) | Self::Address(text) | Self::Holder(text) => text,
            Self::Secret(name) => name.as_str(),
        }
    }

    /// Under which their key is kept.
    pub(crate) fn subject(&self) -> String {
        format!("{} {}", self.kind(), self.text())
    }
}

/// The entry that records this change.
pub(crate) fn event_of(change: &Change) -> Draft {
    match change {
        Change::Registry(change) => registry_event(change),
        Change::System(change) => system::event_of(change),
    }
}

fn registry_event(change: &registry::Change) -> Draft {
    use registry::Change as C;
    match change {
        C::TicketCreated { ticket, role, profile_cap, uses_max, expires_at } => draft(
            EventType::TicketCreated,
            About::Ticket(*ticket),
            json!({"role": role, "profileCap": profile_cap, "usesMax": uses_max, "expiresAt": expires_at}),
        ),
        C::TicketRevoked { ticket } => draft(EventType::TicketRevoked, About::Ticket(*ticket), json!({})),
        C::Refused { code, source, count } => {
            let event = if *code == code::enrolment::TICKET_PROOF {
                EventType::TicketProofFailed
            } else if [code::enrolment::RATE_LIMITED, code::config::OVERLOADED].contains(code) {
                EventType::RateLimited
            } else if code.number() / 100 == 7 {
                EventType::PolicyRefused
            } else if code.number() / 10 == 88 {
                // Of the second verifier.
                EventType::EnrolmentRefused
            } else if *code == code::config::NOT_SIGNED_IN || code.number() / 100 > 2 {
                // Certificates and links; enrolment has numbers of its own.
                EventType::AccessRefused
            } else {
                EventType::EnrolmentRefused
            };
            let mut draft = draft(event, About::Nothing, json!({"code": code.to_string(), "count": count}));
            draft.people.push(("networkAddress", Person::Address(source.clone())));
            draft
        }
        C::DeviceWaiting { device, identity_key, withheld } => {
            voucher::waiting(device, *identity_key, withheld.as_ref())
        }
        C::CloneSuspected { device, others, detail } => {
            about(EventType::CloneAlert, device, json!({"others": others, "detail": detail}))
        }
        C::DeviceApproved { device, profile, rule } => {
            about(EventType::DeviceApproved, device, json!({"profile": profile, "rule": rule}))
        }
        C::DeviceRejected { device, reason } => {
            about(EventType::DeviceRejected, device, json!({"reason": reason}))
        }
        C::DeviceEnrolled { device, identity_key, role, profile, ticket, by, spent } => {
            let details =
                json!({"identityKeyId": identity_key, "role": role, "profile": profile, "ticketId": ticket});
            voucher::enrolled(device, details, by.as_ref(), spent)
        }
        C::CertificateIssued { device, issue, serial, key, not_after } => about(
            EventType::CertificateIssued,
            device,
            json!({"issue": issue, "serial": hex(serial), "operationalKeyId": key, "notAfter": not_after}),
        ),
        C::DeviceActive { device, issue } => about(EventType::DeviceActive, device, json!({"issue": issue})),
        C::CertificateRenewed { device, issue } => {
            about(EventType::CertificateRenewed, device, json!({"issue": issue}))
        }
        C::IdentityRecovered { device, recoveries_left } => {
            about(EventType::IdentityRecovered, device, json!({"recoveriesLeft": recoveries_left}))
        }
        C::CertificateRevoked { device, serial, reason } => about(
            EventType::CertificateRevoked,
            device,
            json!({"serial": hex(serial), "reason": reason.as_str()}),
        ),
        C::HoldReleased { device, serial } => {
            about(EventType::CertificateHoldReleased, device, json!({"serial": hex(serial)}))
        }
        C::RegenerateOrdered { device } => about(EventType::RegenerateOrdered, device, json!({})),
        C::ChannelChanged { device, from, to } => {
            about(EventType::ChannelChanged, device, json!({"from": from, "to": to}))
        }
        C::RoleChanged { device, from, to } => {
            about(EventType::RoleChanged, device, json!({"from": from, "to": to}))
        }
        C::ProfileChanged { device, from, to } => {
            about(EventType::ProfileChanged, device, json!({"from": from, "to": to}))
        }
        C::DeviceRenamed { device, to } => about(EventType::DeviceRenamed, device, json!({"to": to})),
        C::DeviceTagged { device, tags } => about(EventType::DeviceTagged, device, json!({"tags": tags})),
        C::StateChanged { device, from, to, reason } => {
            about(state_event(*from, *to), device, json!({"from": from, "to": to, "reason": reason}))
        }
        C::QuarantineOrdered { device, order, issue } => {
            about(EventType::QuarantineOrdered, device, json!({"order": order, "issue": issue}))
        }
        C::QuarantineConfirmed { device, order } => {
            about(EventType::QuarantineConfirmed, device, json!({"order": order}))
        }
        C::ForensicsReceived { device, order, sha256, bytes } => about(
            EventType::ForensicsReceived,
            device,
            json!({"order": order, "sha256": hex(sha256), "bytes": bytes}),
        ),
        C::ReinstatementApproved { device, count, needed } => {
            about(EventType::ReinstatementApproved, device, json!({"count": count, "needed": needed}))
        }
        C::RecoveriesRaised { device, to } => about(EventType::RecoveriesRaised, device, json!({"to": to})),
        C::DecommissionOrdered { device, reason } => {
            about(EventType::DecommissionOrdered, device, json!({"reason": reason}))
        }
        C::DeviceDecommissioned { device, wipe } => {
            about(EventType::DeviceDecommissioned, device, json!({"wipe": wipe}))
        }
        C::BootloaderReported { device, locked, detail } => {
            let event = if *locked { EventType::BootloaderLocked } else { EventType::BootloaderLockFailed };
            about(event, device, json!({"detail": detail}))
        }
        C::ImageAltered { device, from, to } => {
            about(EventType::ImageAltered, device, json!({"from": hex(from), "to": to.as_deref().map(hex)}))
        }
        C::AttestationVerified { device, ek, tier, vouched_by, golden, pcr_digest } => about(
            EventType::AttestationVerified,
            device,
            json!({
                "ek": ek.to_string(),
                "evidenceTier": tier.as_str(),
                "vouchedBy": vouched_by,
                "golden": golden,
                "pcrDigest": hex(pcr_digest),
            }),
        ),
        C::AttestationFailed { device, code } => about(
            EventType::AttestationFailed,
            device,
            json!({"code": code.to_string(), "reason": code.title()}),
        ),
        C::AttestationChanged { device, pcrs, pcr_digest } => {
            about(EventType::AttestationChanged, device, json!({"pcrs": pcrs, "pcrDigest": hex(pcr_digest)}))
        }
        C::SecondVerdict { device, verifier, transcript, at } => about(
            EventType::SecondVerdict,
            device,
            json!({"verifier": verifier, "transcript": hex(transcript), "at": at, "opinion": "yes"}),
        ),
    }
}

/// A change of state is named after where it leads; one that leads nowhere is a ban, which is a mark beside the state.
fn state_event(from: DeviceState, to: DeviceState) -> EventType {
    match to {
        _ if from == to => EventType::DeviceBanned,
        DeviceState::Suspended => EventType::DeviceSuspended,
        DeviceState::Quarantined => EventType::DeviceQuarantined,
        DeviceState::Active | DeviceState::Pending => EventType::DeviceReinstated,
        DeviceState::Decommissioning | DeviceState::Decommissioned => EventType::DeviceDecommissioned,
        DeviceState::RenewalDue => EventType::DeviceRenewalDue,
        DeviceState::Expired => EventType::DeviceExpired,
        DeviceState::Unknown => EventType::DeviceForgotten,
    }
}

pub(super) fn about(event: EventType, device: &DeviceId, details: Value) -> Draft {
    draft(event, About::Device(device.clone()), details)
}

pub(super) fn draft(event: EventType, about: About, details: Value) -> Draft {
    let details = match details {
        Value::Object(members) => members,
        other => Map::from_iter([("value".to_owned(), other)]),
    };
    Draft { event, about, details, people: Vec::new() }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::device_id;

    #[test]
    fn a_ban_and_each_state_have_a_word_of_their_own() {
        use DeviceState::{Active, Pending, Quarantined, Suspended};
        for (from, to, event) in [
            (Active, Suspended, EventType::DeviceSuspended),
            (Suspended, Active, EventType::DeviceReinstated),
            (Active, Quarantined, EventType::DeviceQuarantined),
            (Quarantined, Pending, EventType::DeviceReinstated),
            (Active, Active, EventType::DeviceBanned),
        ] {
            let device = device_id(1);
            let change = registry::Change::StateChanged { device, from, to, reason: "r".to_owned() };
            assert_eq!(event_of(&change.into()).event, event, "{from} to {to}");
        }
    }

    #[test]
    fn an_address_never_stands_in_the_clear() {
        let change = registry::Change::Refused {
            code: code::enrolment::TICKET_PROOF,
            source: "192.0.2.7".to_owned(),
            count: 3,
        };
        let draft = event_of(&change.into());
        assert!(!Value::Object(draft.details).to_string().contains("192.0.2.7"));
        assert_eq!(draft.people, [("networkAddress", Person::Address("192.0.2.7".to_owned()))]);
    }
}
