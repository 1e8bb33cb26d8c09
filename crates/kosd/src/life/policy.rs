//! What the manifests of the authority say about this device, and what it therefore does not send.
//!
//! Invariants: a slice that the authority's order key did not sign for this very device never counts, and none gives way
//! to an older one. What is kept is judged again each time that it is asked.
//!
//! What it does not do: keep whoever owns the machine from sending. The authority decides by the same manifests.
//!
//! Source: `docs/spec/manifest.md` MAN-24 to MAN-29.

use kos_audit::EventType;
use kos_base::{Code, code};
use kos_klp::message::MessageType;
use kos_policy::{
    Errand,
    slice::{self, Facts, Ruling, Sent, Slice, SliceError},
};
use serde_json::json;

use super::{Device, service::standing_of};

/// Why something is not sent.
#[derive(Debug)]
pub(super) struct Forbidden {
    /// The policy that decided, if one did.
    policy: Option<String>,
    why: String,
}

impl Device {
    /// The slice in force here. One that is kept and does not count is told, and counts as none: the authority brings
    /// another, and decides by itself.
    fn slice(&self) -> Option<Slice> {
        let kept = self.service.policy()?;
        match self.open_slice(kept) {
            Ok(slice) => Some(slice),
            Err(code) => {
                tracing::error!(%code, "what is kept of the manifests does not count");
                None
            }
        }
    }

    fn open_slice(&self, signed: &[u8]) -> Result<Slice, Code> {
        let journal = self.machine.journal();
        let authority = journal.authority.as_ref().and_then(|anchor| anchor.name.as_ref());
        let (Some(member), Some(authority)) = (journal.membership.as_ref(), authority) else {
            return Err(code::enrolment::STATE_FORBIDS);
        };
        let opened = slice::open(signed, &member.keys.orders, authority, &member.device);
        opened.map_err(|error: SliceError| {
            tracing::error!(%error, "a slice of the manifests is not used");
            error.code()
        })
    }

    /// Whether a slice counts, and may come after the one that is held.
    pub(super) fn judge_slice(&self, signed: &[u8]) -> Result<(), Code> {
        let held = self.slice();
        let newer = self.open_slice(signed).and_then(|newer| match &held {
            Some(held) => newer.follows(held).map(|()| newer).map_err(|error| error.code()),
            None => Ok(newer),
        });
        match newer {
            Ok(newer) => {
                // The same again is no event: it comes with every link.
                if held.is_none_or(|held| held.counter != newer.counter || held.rules != newer.rules) {
                    let rules = newer.rules.len();
                    self.note(EventType::PolicyApplied, json!({"counter": newer.counter, "rules": rules}));
                }
                Ok(())
            }
            Err(code) => {
                self.note(EventType::AuthorityRefused, json!({"code": code.to_string()}));
                Err(code)
            }
        }
    }

    /// Whether the manifests let this device send a message of this type now.
    ///
    /// # Errors
    /// The number of the manifests by which it may not, and why.
    pub(super) fn may_send(&self, kind: MessageType) -> Result<(), (u64, Forbidden)> {
        let governed = kind.errand().filter(|errand| !matches!(errand, Errand::Upkeep | Errand::Alert));
        let (Some(errand), Some(slice)) = (governed, self.slice()) else { return Ok(()) };
        let Some(facts) = self.facts_of_policy() else { return Ok(()) };
        let sent = Sent::Message(kind.name(), errand.as_str());
        let ruling: Ruling<'_> = slice.decide(self.clock.now(), &facts, sent);
        if ruling.is_allowed() {
            return Ok(());
        }
        let forbidden = Forbidden { policy: ruling.rule().map(str::to_owned), why: ruling.why() };
        Err((slice.counter, forbidden))
    }

    /// What the rules may ask about this device.
    pub(super) fn facts_of_policy(&self) -> Option<Facts> {
        let journal = self.machine.journal();
        let (member, held) = journal.membership.as_ref().zip(journal.active.as_ref())?;
        let standing = standing_of(held).ok()?;
        Some(Facts {
            profile: standing.profile,
            evidence: standing.proven.evidence,
            role: member.role.role,
            channel: self.service.channel(member, held),
        })
    }

    /// Something is not sent; told once for the manifests that say so.
    pub(super) fn note_forbidden(&self, kind: MessageType, forbidden: &Forbidden) {
        let refused = code::manifest::MANIFEST_REFUSES;
        tracing::warn!(code = %refused, %kind, why = forbidden.why, "not sent");
        self.note(
            EventType::PolicyRefused,
            json!({
                "rule": "manifest", "policy": forbidden.policy, "request": format!("send/{kind}"),
                "code": refused.to_string(), "why": forbidden.why,
            }),
        );
    }
}
