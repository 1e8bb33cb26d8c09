//! How people see pairings and grants.

use kos_api::pairing::{AgentAnswer, Grant, Pairing};

use super::{Form, Shown, column};
use crate::output::Column;

impl Shown for Pairing {
    const NAME: &'static str = "pairingId";
    const PLURAL: &'static str = "pairings";
    const COLUMNS: &'static [Column<'static>] = &[
        column("with", "with"),
        column("state", "state").looks(Form::State),
        column("trust", "trustLevel"),
        column("proposed", "proposedAt").looks(Form::Moment),
        column("device", "deviceConfirmedAt").looks(Form::Moment),
        column("partner", "partnerConfirmedAt").looks(Form::Moment),
        column("pairing", "pairingId"),
        column("ended", "endedAt").looks(Form::Moment).wide(),
        column("by", "endedBy").wide(),
        column("key", "keyId").looks(Form::Hash).wide(),
        column("of", "deviceId").wide(),
        column("number", "counter").wide(),
    ];
}

impl Shown for Grant {
    const NAME: &'static str = "grantId";
    const PLURAL: &'static str = "grants";
    const COLUMNS: &'static [Column<'static>] = &[
        column("grant", "grantId"),
        column("agent", "agentId"),
        column("device", "deviceId"),
        column("capability", "capability"),
        column("scope", "scope"),
        column("ends", "expiry").looks(Form::Moment),
        column("uses", "uses"),
        column("used", "used"),
        column("granted", "granted"),
        column("why", "why"),
        column("trust", "trustLevel").wide(),
        column("conditions", "conditions").wide(),
        column("memory", "resourceAccess.memory").wide(),
        column("network", "resourceAccess.network").wide(),
        column("storage", "resourceAccess.storage").wide(),
        column("override", "override.verdict").wide(),
        column("until", "override.until").looks(Form::Moment).wide(),
        column("reason", "override.reason").wide(),
        column("version", "version").wide(),
        column("pairing", "pairingId").wide(),
        column("signed by", "signedBy").looks(Form::Hash).wide(),
    ];
}

impl Shown for AgentAnswer {
    const NAME: &'static str = "grantId";
    const PLURAL: &'static str = "answers";
    const COLUMNS: &'static [Column<'static>] = &[
        column("device", "deviceId"),
        column("agent", "agentId"),
        column("grant", "grantId"),
        column("by", "basis"),
        column("left", "usesLeft"),
        column("result", "result"),
    ];
}
