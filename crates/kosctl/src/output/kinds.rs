//! How people see the kinds of the API.

mod alert;
mod attestation;
mod kill;
mod mirror;
mod pairing;
mod voucher;

use kos_api::{
    audit::{Archived, AuditEntry, AuditVerdict, Checkpoint, Erasure},
    authority::{Authority, Crl, Status},
    backup::{BackupVerdict, Restored, SealedFile},
    chain::IdentityChain,
    device::{Device, ForensicBundle},
    doctor::Doctor,
    lifecycle::Decommission,
    local::DeviceStatus,
    operator::Operator,
    plan::Plan,
    ticket::Ticket,
    vault::{
        Vault, VaultCode, VaultEntry, VaultMac, VaultRecovery, VaultSecret, VaultShares, VaultSignature,
        VaultSlot, VaultVersion,
    },
};

use super::{Column, Form, Section, Shown};

/// Shorter to read in the tables below.
const fn column(title: &'static str, path: &'static str) -> Column<'static> {
    Column::of(title, path)
}

impl Shown for Device {
    const NAME: &'static str = "deviceId";
    const PLURAL: &'static str = "devices";
    const COLUMNS: &'static [Column<'static>] = &[
        column("device", "deviceId"),
        column("name", "name"),
        column("role", "role"),
        column("profile", "profile"),
        column("state", "state").looks(Form::State),
        column("online", "online"),
        column("channel", "channel"),
        column("heartbeat", "lastHeartbeatAt").looks(Form::Moment),
        column("group", "group").wide(),
        column("user", "user").wide(),
        column("tags", "tags").wide(),
        column("reason", "stateReason").wide(),
        column("since", "stateSince").looks(Form::Moment).wide(),
        column("banned", "banned").wide(),
        column("evidence", "evidenceTier").wide(),
        column("image", "image").wide(),
        column("version", "version").wide(),
        column("cpu", "health.cpuPercent").looks(Form::Percent).wide(),
        column("ram", "health.ramUsedBytes").looks(Form::Bytes).wide(),
        column("of", "health.ramTotalBytes").looks(Form::Bytes).wide(),
        column("uptime", "health.uptimeSeconds").looks(Form::Seconds).wide(),
        column("errors", "health.errors").wide(),
        column("capabilities", "capabilities").wide(),
        column("kid", "kidSubject").wide(),
        column("certificate", "certSerial").looks(Form::Hash).wide(),
        column("ends", "certNotAfter").looks(Form::Moment).wide(),
        column("enrolled", "enrolledAt").looks(Form::Moment).wide(),
        column("successor of", "successorOf").wide(),
        column("let in by", "admittedBy").wide(),
        column("code", "lobby.comparisonCode").wide(),
        column("not let in", "lobby.withheld").wide(),
        column("from", "lobby.source").wide(),
        column("clones", "lobby.clones").wide(),
        column("order", "quarantine.orderId").wide(),
        column("ordered", "quarantine.orderedAt").looks(Form::Moment).wide(),
        column("confirmed", "quarantine.confirmedAt").looks(Form::Moment).wide(),
        column("forensics", "quarantine.forensicsBytes").looks(Form::Bytes).wide(),
        column("approvals", "quarantine.approvals").wide(),
        column("approvals needed", "quarantine.approvalsNeeded").wide(),
        column("log entry", "lastAuditIndex").wide(),
    ];
}

impl Shown for ForensicBundle {
    const NAME: &'static str = "orderId";
    const PLURAL: &'static str = "bundles";
    const COLUMNS: &'static [Column<'static>] = &[
        column("order", "orderId"),
        column("of now", "current"),
        column("size", "bytes").looks(Form::Bytes),
        column("sha256", "sha256").looks(Form::Hash),
        column("device", "deviceId").wide(),
    ];
}

impl Shown for Ticket {
    const NAME: &'static str = "ticketId";
    const PLURAL: &'static str = "tickets";
    const COLUMNS: &'static [Column<'static>] = &[
        column("ticket", "ticketId"),
        column("state", "state").looks(Form::State),
        column("role", "role"),
        column("up to", "profileCap"),
        column("for", "deviceName"),
        column("left", "usesLeft"),
        column("ends", "expiresAt").looks(Form::Moment),
        column("group", "group").wide(),
        column("uses", "uses").wide(),
        column("made", "createdAt").looks(Form::Moment).wide(),
        column("by", "createdBy").wide(),
        column("devices", "devices").wide(),
    ];
}

impl Shown for AuditEntry {
    const NAME: &'static str = "index";
    const PLURAL: &'static str = "log entries";
    const COLUMNS: &'static [Column<'static>] = &[
        column("entry", "index"),
        column("when", "timestamp"),
        column("event", "eventType"),
        column("by", "actor.type"),
        column("actor", "actor.id").looks(Form::Who),
        column("about", "target.type"),
        column("target", "target.id").looks(Form::Who),
        column("details", "details").wide(),
        column("id", "id").wide(),
        column("leaf", "leafHash").looks(Form::Hash).wide(),
        column("key", "keyId").looks(Form::Hash).wide(),
    ];
}

impl Shown for Archived {
    const NAME: &'static str = "size";
    const PLURAL: &'static str = "archives";
    const COLUMNS: &'static [Column<'static>] = &[
        column("from", "first"),
        column("archived", "size"),
        column("folder", "folder"),
        column("root", "rootHash").looks(Form::Hash),
        column("sha256", "sha256").looks(Form::Hash).wide(),
        column("recorded in entry", "auditIndex"),
    ];
}

impl Shown for Erasure {
    const NAME: &'static str = "auditIndex";
    const PLURAL: &'static str = "erasures";
    const COLUMNS: &'static [Column<'static>] = &[
        column("recorded in entry", "auditIndex"),
        column("erased", "erasedAt").looks(Form::Moment),
        column("backups that hold the key", "backupsFound"),
    ];
    const SECTIONS: &'static [Section] = &[
        Section { path: "erased", columns: &[column("subject", "subject"), column("was", "kind")] },
        Section {
            path: "backups",
            columns: &[column("backup of entry", "index"), column("made", "createdAt")],
        },
        Section {
            path: "stores",
            columns: &[
                column("store", "store"),
                column("found", "found"),
                column("done", "done"),
                column("left", "left"),
            ],
        },
    ];
}

impl Shown for IdentityChain {
    const NAME: &'static str = "deviceId";
    const PLURAL: &'static str = "identities";
    const COLUMNS: &'static [Column<'static>] = &[
        column("device", "deviceId"),
        column("valid", "valid").looks(Form::Good),
        column("kid", "kid.subject"),
        column("kid ends", "kid.expiresAt").looks(Form::Moment),
        column("revocation", "revocation.status").looks(Form::State),
        column("list", "revocation.crlNumber"),
    ];
    const SECTIONS: &'static [Section] = &[
        Section::of(
            "certificates",
            &[
                column("subject", "subject"),
                column("issuer", "issuer"),
                column("serial", "serial"),
                column("key", "algorithm"),
                column("ends", "notAfter").looks(Form::Moment),
            ],
        ),
        Section::of(
            "checks",
            &[column("check", "name"), column("ok", "ok").looks(Form::Good), column("found", "detail")],
        ),
    ];
}

impl Shown for AuditVerdict {
    const NAME: &'static str = "ok";
    const PLURAL: &'static str = "verdicts";
    const COLUMNS: &'static [Column<'static>] = &[
        column("ok", "ok").looks(Form::Good),
        column("log", "origin"),
        column("size", "size"),
        column("root", "rootHash"),
        column("signed", "checkpointTime").looks(Form::Moment),
        column("entries checked", "entriesChecked"),
        column("signatures checked", "signaturesChecked"),
        column("assurance", "assurance"),
        column("entries witnessed", "witnessedSize"),
        column("by", "witnessedBy"),
        column("not checked", "notChecked"),
    ];
    const SECTIONS: &'static [Section] = &[Section::of(
        "failures",
        &[column("entry", "index"), column("what", "kind"), column("found", "detail")],
    )];
}

impl Shown for Checkpoint {
    const NAME: &'static str = "rootHash";
    const PLURAL: &'static str = "checkpoints";
    const COLUMNS: &'static [Column<'static>] = &[
        column("log", "origin"),
        column("size", "size"),
        column("root", "rootHash"),
        column("signed", "timestamp").looks(Form::Moment),
        column("assurance", "assurance"),
        column("witnesses", "witnessed.summary"),
        column("key", "verifierKey"),
    ];
}

impl Shown for Status {
    const NAME: &'static str = "authority";
    const PLURAL: &'static str = "authorities";
    const COLUMNS: &'static [Column<'static>] = &[
        column("authority", "authority"),
        column("reachable", "reachable"),
        column("version", "version"),
        column("since", "startedAt").looks(Form::Moment),
        column("active", "devices.active"),
        column("pending", "devices.pending"),
        column("online", "online"),
        column("open tickets", "openTickets"),
        column("log entries", "log.size"),
        column("log signed", "log.checkpointTime").looks(Form::Moment),
        column("assurance", "log.assurance"),
        column("witnesses", "log.witnessed.summary"),
        column("keys opened by", "keys.opener"),
        column("signing keys", "keys.signingKeys"),
        column("keys safe from", "keys.protectsAgainst"),
        column("keys not safe from", "keys.notAgainst"),
        column("old keys put back", "keys.rollback"),
        column("guardians", "alerts.guardians"),
        column("alerts unseen", "alerts.open"),
        column("alerts undelivered", "alerts.undelivered"),
        column("copies of the log", "mirrors.targets"),
        column("copies behind", "mirrors.behind"),
        column("port", "ports.tls"),
    ];
}

impl Shown for DeviceStatus {
    const NAME: &'static str = "deviceId";
    const PLURAL: &'static str = "devices";
    const COLUMNS: &'static [Column<'static>] = &[
        column("device", "deviceId"),
        column("name", "name"),
        column("state", "state").looks(Form::State),
        column("reason", "stateReason"),
        column("authority", "authority"),
        column("server", "server"),
        column("carrier", "carrier"),
        column("heartbeat", "lastHeartbeatAt").looks(Form::Moment),
        column("role", "role"),
        column("profile", "profile"),
        column("channel", "channel"),
        column("kid", "kidSubject"),
        column("ends", "certNotAfter").looks(Form::Moment),
        column("renews", "renewAt").looks(Form::Moment),
        column("image", "image"),
        column("keys opened by", "keys.opener"),
        column("keys safe from", "keys.protectsAgainst"),
        column("keys not safe from", "keys.notAgainst"),
        column("old keys put back", "keys.rollback"),
        column("cosigned entries", "witness.size"),
        column("cosigned", "witness.cosignedAt").looks(Form::Moment),
        column("contradictions", "witness.conflicts"),
        column("log entries", "logEntries"),
        column("log delivered", "logDelivered"),
        column("code", "comparisonCode"),
        column("last alert", "lastAlert.summary"),
        column("alert raised", "lastAlert.at").looks(Form::Moment),
        column("warnings", "warnings"),
        column("version", "version"),
    ];
}

impl Shown for Authority {
    const NAME: &'static str = "authority";
    const PLURAL: &'static str = "authorities";
    const COLUMNS: &'static [Column<'static>] = &[
        column("authority", "authority"),
        column("made", "createdAt").looks(Form::Moment),
        column("address", "listen.address"),
        column("advertised", "listen.advertise"),
        column("pins", "pins"),
        column("root ends", "root.notAfter").looks(Form::Moment),
        column("kid signer", "kidKeyId"),
        column("log", "logOrigin"),
        column("log key", "logVerifierKey"),
    ];
    const SECTIONS: &'static [Section] = &[Section::of(
        "issuers",
        &[
            column("issuing CA", "subject"),
            column("serial", "serial"),
            column("key", "keyId").looks(Form::Hash),
            column("ends", "notAfter").looks(Form::Moment),
        ],
    )];
}

impl Shown for Crl {
    const NAME: &'static str = "issuerKeyId";
    const PLURAL: &'static str = "revocation lists";
    const COLUMNS: &'static [Column<'static>] = &[
        column("issuer", "issuer"),
        column("key", "issuerKeyId").looks(Form::Hash),
        column("number", "number"),
        column("revoked", "entries"),
        column("made", "thisUpdate").looks(Form::Moment),
        column("next", "nextUpdate").looks(Form::Moment),
        column("url", "url").wide(),
        column("sha256", "sha256").wide(),
    ];
}

impl Shown for Operator {
    const NAME: &'static str = "name";
    const PLURAL: &'static str = "operators";
    const COLUMNS: &'static [Column<'static>] = &[
        column("operator", "name"),
        column("role", "role"),
        column("state", "state").looks(Form::State),
        column("ends", "certNotAfter").looks(Form::Moment),
        column("made", "createdAt").looks(Form::Moment),
        column("serial", "certSerial").wide(),
        column("key", "keyId").looks(Form::Hash).wide(),
    ];
}

impl Shown for Decommission {
    const NAME: &'static str = "deviceId";
    const PLURAL: &'static str = "decommissionings";
    const COLUMNS: &'static [Column<'static>] = &[
        column("device", "deviceId"),
        column("state", "state").looks(Form::State),
        column("revoked", "revokedAt").looks(Form::Moment),
        column("list", "crlNumber"),
        column("wipe", "wipe"),
        column("log entry", "auditIndex"),
    ];
}

impl Shown for SealedFile {
    const NAME: &'static str = "file";
    const PLURAL: &'static str = "files";
    const COLUMNS: &'static [Column<'static>] =
        &[column("file", "file"), column("size", "bytes").looks(Form::Bytes), column("sha256", "sha256")];
}

impl Shown for BackupVerdict {
    const NAME: &'static str = "file";
    const PLURAL: &'static str = "verdicts";
    const COLUMNS: &'static [Column<'static>] = &[
        column("ok", "ok").looks(Form::Good),
        column("authority", "authority"),
        column("made", "createdAt").looks(Form::Moment),
        column("by version", "program"),
        column("log entries", "logSize"),
        column("entries checked", "entriesChecked"),
        column("failures", "failures"),
    ];
}

impl Shown for Restored {
    const NAME: &'static str = "authority";
    const PLURAL: &'static str = "restores";
    const COLUMNS: &'static [Column<'static>] = &[
        column("authority", "authority"),
        column("backup of", "backupAt").looks(Form::Moment),
        column("log entries", "backupSize").wide(),
        column("merged", "mergedEntries"),
        column("loss", "loss"),
        column("returning", "returning"),
        column("waiting", "waiting"),
        column("stopped", "stopped"),
        column("unknown", "unknown"),
        column("revoked", "revoked"),
        column("apply again", "applyAgain"),
    ];
}

impl Shown for Vault {
    const NAME: &'static str = "environment";
    const PLURAL: &'static str = "vaults";
    const COLUMNS: &'static [Column<'static>] = &[
        column("vault", "environment"),
        column("state", "state").looks(Form::State),
        column("entries", "entries"),
        column("generation", "generation"),
        column("locks", "locksAt").looks(Form::Moment),
        column("needed", "sharing.threshold"),
        column("of", "sharing.total"),
        column("rehearsed", "sharing.rehearsedAt").looks(Form::Moment),
        column("holders", "sharing.holders").wide(),
        column("shared", "sharing.sharedAt").looks(Form::Moment).wide(),
        column("written", "lastModified").looks(Form::Moment).wide(),
        column("anchor", "anchor.place").wide(),
        column("anchored", "anchor.generation").wide(),
        column("which", "anchor.detail").wide(),
        column("keys in", "memory.protection").wide(),
        column("which is", "memory.detail").wide(),
        column("id", "vaultId").looks(Form::Hash).wide(),
        column("why", "refusal.title").wide(),
        column("fix", "refusal.fix").wide(),
        column("asks for", "authoriser.kind").wide(),
        column("since", "authoriser.addedAt").looks(Form::Moment).wide(),
        column("which is", "authoriser.detail").wide(),
    ];
    const SECTIONS: &'static [Section] = &[Section::of(
        "slots",
        &[
            column("slot", "name"),
            column("kind", "kind"),
            column("source", "source"),
            column("recipient", "recipient").looks(Form::Hash),
            column("made for", "passkey.relyingParty"),
            column("made", "createdAt").looks(Form::Moment),
        ],
    )];
}

impl Shown for VaultSlot {
    const NAME: &'static str = "name";
    const PLURAL: &'static str = "passkeys";
    const COLUMNS: &'static [Column<'static>] = &[
        column("passkey", "name"),
        column("made for", "passkey.relyingParty"),
        column("added", "createdAt").looks(Form::Moment),
        column("id", "passkey.credentialId").looks(Form::Hash).wide(),
    ];
}

impl Shown for VaultEntry {
    const NAME: &'static str = "name";
    const PLURAL: &'static str = "secrets";
    const COLUMNS: &'static [Column<'static>] = &[
        column("secret", "name"),
        column("type", "type"),
        column("version", "version"),
        column("put", "createdAt").looks(Form::Moment),
        column("expires", "expiresAt").looks(Form::Moment),
        column("read", "lastAccessedAt").looks(Form::Moment).wide(),
        column("kept", "versions").wide(),
    ];
}

impl Shown for VaultVersion {
    const NAME: &'static str = "version";
    const PLURAL: &'static str = "versions";
    const COLUMNS: &'static [Column<'static>] = &[
        column("version", "version"),
        column("type", "type"),
        column("put", "createdAt").looks(Form::Moment),
        column("expires", "expiresAt").looks(Form::Moment),
    ];
}

impl Shown for VaultSecret {
    const NAME: &'static str = "name";
    const PLURAL: &'static str = "secrets";
    const COLUMNS: &'static [Column<'static>] =
        &[column("secret", "name"), column("type", "type"), column("version", "version")];
}

impl Shown for VaultSignature {
    const NAME: &'static str = "signature";
    const PLURAL: &'static str = "signatures";
    const COLUMNS: &'static [Column<'static>] = &[
        column("secret", "name"),
        column("version", "version"),
        column("algorithm", "algorithm"),
        column("key", "publicKey"),
        column("signature", "signature"),
    ];
}

impl Shown for VaultMac {
    const NAME: &'static str = "mac";
    const PLURAL: &'static str = "macs";
    const COLUMNS: &'static [Column<'static>] =
        &[column("secret", "name"), column("version", "version"), column("mac", "mac")];
}

impl Shown for VaultCode {
    const NAME: &'static str = "code";
    const PLURAL: &'static str = "codes";
    const COLUMNS: &'static [Column<'static>] = &[
        column("secret", "name"),
        column("version", "version"),
        column("code", "code"),
        column("until", "validUntil").looks(Form::Moment),
    ];
}

impl Shown for VaultShares {
    const NAME: &'static str = "sharing.holders";
    const PLURAL: &'static str = "shares";
    const COLUMNS: &'static [Column<'static>] = &[
        column("needed", "sharing.threshold"),
        column("of", "sharing.total"),
        column("holders", "sharing.holders"),
        column("shared", "sharing.sharedAt").looks(Form::Moment),
    ];
}

impl Shown for VaultRecovery {
    const NAME: &'static str = "environment";
    const PLURAL: &'static str = "recoveries";
    const COLUMNS: &'static [Column<'static>] = &[
        column("vault", "environment"),
        column("for", "purpose"),
        column("handed in", "holders"),
        column("missing", "missing"),
        column("forgotten", "forgottenAt").looks(Form::Moment),
    ];
}

impl Shown for Plan {
    const NAME: &'static str = "action";
    const PLURAL: &'static str = "plans";
    const COLUMNS: &'static [Column<'static>] =
        &[column("would", "action"), column("to", "object.id"), column("and", "effects")];
    const SECTIONS: &'static [Section] =
        &[Section::of("changes", &[column("field", "field"), column("from", "from"), column("to", "to")])];
}

impl Shown for Doctor {
    const NAME: &'static str = "ok";
    const PLURAL: &'static str = "examinations";
    const COLUMNS: &'static [Column<'static>] = &[column("ok", "ok").looks(Form::Good)];
    const SECTIONS: &'static [Section] = &[Section::of(
        "checks",
        &[
            column("check", "name"),
            column("ok", "ok").looks(Form::Good),
            column("found", "detail"),
            column("fix", "fix"),
        ],
    )];
}
