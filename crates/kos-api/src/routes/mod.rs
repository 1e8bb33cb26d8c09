//! Every route of the API: method, path, who may call it, what goes in and what comes out.
//!
//! [`ALL`] is the authorisation table of an authority, [`LOCAL`] that of a device's own socket. A server registers
//! handlers by these constants and nothing else, and a test compares. Paths are written as axum writes them: `{device}`
//! is one segment, `{*path}` the rest.
//!
//! Common to all:
//!
//! - An answer of status 400 or above is a [`crate::Problem`].
//! - A route that [`Effect::Changes`] takes `?dryRun=true`, which answers a [`crate::plan::Plan`] and changes nothing,
//!   and the header `Idempotency-Key` (1 to 64 visible ASCII characters): the same key by the same caller within
//!   24 hours gets the same answer again. Of vaults, guardians, the kill
//!   switch, erasures, archives and backups no answer is kept ([`Route::is_repeatable`]).
//! - A device's `ETag` changes when something changes that an operator decides or reads for a decision (name, role,
//!   profile, group, state, channel, tags, ban, certificate), not with a heartbeat. A change of a device honours
//!   `If-Match` and answers 412 with KOS-E0106 when the device is another by now.
//! - `{device}` in a `Get` is a device id or any unambiguous prefix of at least 4 of its characters; in a change it is
//!   the whole id.

mod access;
mod shape;

use access::{AGENT, PUBLIC, SIGNED, SOCKET, WATCHED};
pub use access::{Access, Caller, Object, Token};
pub use shape::{Media, Named, Schemas, Shape};

use crate::{
    alert, attestation, audit, authority, backup, chain, device, doctor, kill, lifecycle, local, manifest,
    mirror, operator, pairing, person,
    plan::{ChangeQuery, Plan},
    policy, ticket, vault, voucher, witness,
};
use Access::{Admin, Agent, Anyone, DeviceSelf, Local, OperatorRead, OperatorWrite};
use Effect::{Changes, Reads};
use Method::{Delete, Get, Post, Put};
use Token::Needed;

/// Header by which a client may ask for a change again without making it twice.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Header under which every answer carries the id of its request.
pub const REQUEST_ID: &str = "kos-request-id";

/// An HTTP method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET
    Get,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
}

impl Method {
    /// As HTTP writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Get => "GET",
            Post => "POST",
            Put => "PUT",
            Delete => "DELETE",
        }
    }
}

/// Whether a route changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It only reads.
    Reads,
    /// It changes something, and therefore writes a log entry.
    Changes,
}

/// One route.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Its name, which is the operation id of OpenAPI and the action of a plan.
    pub name: &'static str,
    /// Its method.
    pub method: Method,
    /// Its path template.
    pub path: &'static str,
    /// Who may call it: whoever one of these admits.
    pub access: &'static [Access],
    /// Whether it changes anything.
    pub effect: Effect,
    /// Whether a request needs a token, or why not.
    pub token: Token,
    /// What may stand in the query.
    pub query: Shape,
    /// The body of the request.
    pub request: Shape,
    /// The body of the answer.
    pub response: Shape,
    /// What it does, in one sentence.
    pub summary: &'static str,
}

impl Route {
    /// Whether `caller` may call it.
    pub fn admits(&self, caller: Caller) -> bool {
        self.access.iter().any(|way| way.admits(caller))
    }

    /// Whether the same request with the same `Idempotency-Key` gets the same answer instead of being done again. With an
    /// answer a hash of the request is kept, and those about vaults and guardians hold what must not be guessed (KVS-14,
    /// ALR-31); after a firing there is nothing left that could keep one; who erases a name does not want it kept; archives and
    /// backups find what is there when they are asked again; and a call of an agent has a number.
    pub fn is_repeatable(&self) -> bool {
        let without = [
            "/api/v1/vaults/",
            "/api/v1/kill",
            "/api/v1/guardians",
            "/api/v1/audit/erase",
            "/api/v1/audit/archive",
            "/api/v1/backups",
            "/api/v1/agent/",
        ];
        self.effect == Changes && !without.iter().any(|prefix| self.path.starts_with(prefix))
    }

    /// The path with its placeholders filled in, percent-encoded. A `{*path}` keeps its slashes.
    pub fn fill(&self, values: &[&str]) -> String {
        let mut values = values.iter();
        let mut next = |placeholder: &str| {
            let value = values.next().copied().unwrap_or_default();
            encode(value, if placeholder.starts_with("{*") { "-._~/" } else { "-._~" })
        };
        let segments = self.path.split('/');
        segments
            .map(|s| if s.starts_with('{') { next(s) } else { s.to_owned() })
            .collect::<Vec<_>>()
            .join("/")
    }
}

/// `text` with every byte percent-encoded that is neither alphanumeric nor in `kept`.
pub fn encode(text: &str, kept: &str) -> String {
    let one = |b: u8| {
        let plain = b.is_ascii_alphanumeric() || kept.as_bytes().contains(&b);
        if plain { char::from(b).to_string() } else { format!("%{b:02X}") }
    };
    text.bytes().map(one).collect()
}

/// Declares routes as constants and, in the same order, as a table.
macro_rules! routes {
    ($(#[$meta:meta])* $table:ident: $(
        $constant:ident = $name:literal, $method:ident $path:literal, $access:expr, $effect:ident, $token:expr,
        ($query:expr, $request:expr) -> $response:expr, $summary:literal;
    )+) => {
        $(
            #[doc = $summary]
            pub const $constant: Route = Route {
                name: $name,
                method: $method,
                path: $path,
                access: &$access,
                effect: $effect,
                token: $token,
                query: $query,
                request: $request,
                response: $response,
                summary: $summary,
            };
        )+
        $(#[$meta])*
        pub const $table: &[Route] = &[$($constant),+];
    };
}

const NONE: Shape = Shape::nothing();
const CHANGE: Shape = Shape::plain::<ChangeQuery>();
const DEVICE: Shape = Shape::document::<device::Device>();
const VAULT: Shape = Shape::document::<vault::Vault>();
const KILL: Shape = Shape::document::<kill::KillStatus>();
const ALERT: Shape = Shape::document::<alert::Alert>();
const ALERT_RULES: Shape = Shape::document::<alert::AlertRules>();
const GUARDIAN: Shape = Shape::document::<alert::Guardian>();
const PAIRING: Shape = Shape::document::<pairing::Pairing>();
const GRANT: Shape = Shape::document::<pairing::Grant>();
const BECAUSE: Shape = Shape::plain::<lifecycle::Because>();
routes! {
    /// The authorisation table of an authority.
    ALL:
    STATUS = "status", Get "/api/v1/status", [OperatorRead], Reads, WATCHED,
        (NONE, NONE) -> Shape::document::<authority::Status>(), "Shows how the authority is.";
    DOCTOR = "doctor", Get "/api/v1/doctor", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::document::<doctor::Doctor>(), "Examines the authority.";
    OPENAPI = "openapi", Get "/api/v1/openapi.json", [Anyone], Reads, PUBLIC,
        (NONE, NONE) -> Shape::raw(Media::Json), "Returns this description.";

    TICKET_CREATE = "ticket-create", Post "/api/v1/tickets", [OperatorWrite], Changes, Needed,
        (CHANGE, Shape::plain::<ticket::CreateTicket>()) -> Shape::document::<ticket::Ticket>(), "Makes an enrolment ticket.";
    TICKET_LIST = "ticket-list", Get "/api/v1/tickets", [OperatorRead], Reads, Needed,
        (Shape::plain::<ticket::TicketFilter>(), NONE) -> Shape::list::<ticket::Ticket>(), "Lists tickets, newest first.";
    TICKET_SHOW = "ticket-show", Get "/api/v1/tickets/{ticket}", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::document::<ticket::Ticket>(), "Shows a ticket and who came with it.";
    TICKET_REVOKE = "ticket-revoke", Post "/api/v1/tickets/{ticket}/revoke", [OperatorWrite], Changes, Needed,
        (CHANGE, BECAUSE) -> Shape::document::<ticket::Ticket>(), "Takes a ticket back.";

    DEVICE_LIST = "device-list", Get "/api/v1/devices", [OperatorRead], Reads, Needed,
        (Shape::plain::<device::DeviceFilter>(), NONE) -> Shape::list::<device::Device>(), "Lists devices by id.";
    DEVICE_SHOW = "device-show", Get "/api/v1/devices/{device}", [DeviceSelf, OperatorRead], Reads, Needed,
        (NONE, NONE) -> DEVICE, "Shows a device.";
    DEVICE_EVENTS = "device-events", Get "/api/v1/devices/{device}/events", [DeviceSelf, OperatorRead], Reads, Needed,
        (Shape::plain::<audit::AuditFilter>(), NONE) -> Shape::list::<audit::AuditEntry>(),
        "Lists the log entries about a device, in the order of the log.";
    DEVICE_CHAIN = "device-chain", Get "/api/v1/devices/{device}/chain", [DeviceSelf, OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::document::<chain::IdentityChain>(), "Shows and checks the identity of a device.";
    DEVICE_APPROVE = "device-approve", Post "/api/v1/devices/{device}/approve", [OperatorWrite], Changes, Needed,
        (CHANGE, Shape::plain::<lifecycle::Approve>()) -> DEVICE, "Lets a device out of the lobby.";
    DEVICE_REJECT = "device-reject", Post "/api/v1/devices/{device}/reject", [OperatorWrite], Changes, Needed,
        (CHANGE, Shape::plain::<lifecycle::Reject>()) -> DEVICE, "Sends a device out of the lobby.";
    DEVICE_SET_ROLE = "device-set-role", Post "/api/v1/devices/{device}/set-role", [OperatorWrite], Changes, Needed,
        (CHANGE, Shape::plain::<lifecycle::SetRole>()) -> DEVICE, "Gives a device another role.";
    DEVICE_SET_PROFILE = "device-set-profile", Post "/api/v1/devices/{device}/set-profile", [OperatorWrite], Changes, Needed,
        (CHANGE, Shape::plain::<lifecycle::SetProfile>()) -> DEVICE, "Gives a device a higher security profile.";
    DEVICE_POLICY = "device-policy", Get "/api/v1/devices/{device}/policy", [OperatorRead], Reads, Needed,
        (Shape::plain::<policy::PolicyQuestion>(), NONE) -> Shape::list::<policy::PolicyDecision>(),
        "Explains what a device may do at which door, and which rule decides.";
    POLICY_LIST = "policy-list", Get "/api/v1/policy/profiles", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::list::<policy::PolicyProfile>(), "Lists the security profiles and their guardrails.";
    POLICY_SHOW = "policy-show", Get "/api/v1/policy/profiles/{profile}", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::document::<policy::PolicyProfile>(), "Shows the guardrails of a security profile.";
    MODULE_LIST = "module-list", Get "/api/v1/policy/modules", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::list::<policy::ModulePolicy>(), "Lists the enforcement modules, and how each is wanted.";
    MODULE_SET = "module-set", Put "/api/v1/policy/modules", [Admin], Changes, Needed,
        (CHANGE, Shape::plain::<policy::SetModule>()) -> Shape::document::<policy::ModulePolicy>(),
        "Wants an enforcement module in another way for a security profile.";
    DEVICE_MODULES = "device-modules", Get "/api/v1/devices/{device}/modules", [DeviceSelf, OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::list::<policy::ModuleFinding>(), "Shows what enforcement modules make of a device.";
    MANIFEST_LIST = "manifest-list", Get "/api/v1/policy/manifests", [OperatorRead], Reads, Needed,
        (Shape::plain::<manifest::ManifestFilter>(), NONE) -> Shape::list::<manifest::Manifest>(),
        "Lists the manifests in force, or every version of one.";
    MANIFEST_SHOW = "manifest-show", Get "/api/v1/policy/manifests/{manifest}", [OperatorRead], Reads, Needed,
        (Shape::plain::<manifest::ManifestQuery>(), NONE) -> Shape::document::<manifest::ManifestText>(),
        "Shows the text of a manifest.";
    MANIFEST_LINT = "manifest-lint", Post "/api/v1/policy/lint", [OperatorRead], Reads, Needed,
        (NONE, Shape::plain::<manifest::ManifestBody>()) -> Shape::document::<manifest::ManifestLint>(),
        "Judges the text of a manifest.";
    MANIFEST_DIFF = "manifest-diff", Post "/api/v1/policy/diff", [OperatorRead], Reads, Needed,
        (NONE, Shape::plain::<manifest::ManifestBody>()) -> Shape::document::<Plan>(),
        "Shows which policies a manifest would add, change and take away.";
    MANIFEST_APPLY = "manifest-apply", Put "/api/v1/policy/manifests", [Admin], Changes, Needed,
        (CHANGE, Shape::plain::<manifest::ManifestBody>()) -> Shape::document::<manifest::Manifest>(), "Puts a manifest in force.";
    POLICY_TEST = "policy-test", Post "/api/v1/policy/test", [OperatorRead], Reads, Needed,
        (NONE, Shape::plain::<manifest::PolicyTest>()) -> Shape::document::<manifest::PolicyTestReport>(),
        "Compares decisions with those that are expected.";
    DEVICE_SET_CHANNEL = "device-set-channel", Post "/api/v1/devices/{device}/set-channel", [OperatorWrite], Changes, Needed,
        (CHANGE, Shape::plain::<lifecycle::SetChannel>()) -> DEVICE, "Moves a device to another firmware channel.";
    DEVICE_RENAME = "device-rename", Post "/api/v1/devices/{device}/rename", [OperatorWrite], Changes, Needed,
        (CHANGE, Shape::plain::<lifecycle::Rename>()) -> DEVICE, "Calls a device something else.";
    DEVICE_TAG = "device-tag", Post "/api/v1/devices/{device}/tag", [OperatorWrite], Changes, Needed,
        (CHANGE, Shape::plain::<lifecycle::Retag>()) -> DEVICE, "Puts tags on a device and takes others away.";
    DEVICE_SUSPEND = "device-suspend", Post "/api/v1/devices/{device}/suspend", [OperatorWrite], Changes, Needed,
        (CHANGE, BECAUSE) -> DEVICE, "Stops a device until it is reinstated.";
    DEVICE_QUARANTINE = "device-quarantine", Post "/api/v1/devices/{device}/quarantine", [OperatorWrite], Changes, Needed,
        (CHANGE, BECAUSE) -> DEVICE, "Holds a device as compromised.";
    DEVICE_FORENSICS = "device-forensics", Get "/api/v1/devices/{device}/forensics", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::raw(Media::Bytes),
        "Returns the newest bundle that a device sealed for guardians in quarantine: a file of age.";
    DEVICE_BUNDLES = "device-bundles", Get "/api/v1/devices/{device}/bundles", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::list::<device::ForensicBundle>(),
        "Lists the bundles that a device sealed for guardians, of all its quarantines.";
    DEVICE_BUNDLE = "device-bundle", Get "/api/v1/devices/{device}/bundles/{order}", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::raw(Media::Bytes), "Returns one of them: a file of age.";
    DEVICE_REINSTATE = "device-reinstate", Post "/api/v1/devices/{device}/reinstate", [OperatorWrite], Changes, Needed,
        (CHANGE, Shape::plain::<lifecycle::Reinstate>()) -> DEVICE, "Puts a device back into service.";
    DEVICE_REGEN_CERT = "device-regen-cert", Post "/api/v1/devices/{device}/regen-cert", [OperatorWrite], Changes, Needed,
        (CHANGE, BECAUSE) -> DEVICE, "Has a device make new keys and get a new certificate.";
    DEVICE_ROTATE_KEY = "device-rotate-key", Post "/api/v1/devices/{device}/rotate-key", [OperatorWrite], Changes, Needed,
        (CHANGE, BECAUSE) -> DEVICE, "Gives a device of SEC-1 a new key of its own.";
    DEVICE_DECOMMISSION = "device-decommission", Post "/api/v1/devices/{device}/decommission", [OperatorWrite], Changes, Needed,
        (CHANGE, Shape::plain::<lifecycle::DecommissionOrder>()) -> Shape::document::<lifecycle::Decommission>(), "Revokes a device and orders it to wipe itself.";
    DEVICE_DECOMMISSION_SHOW = "device-decommission-show", Get "/api/v1/devices/{device}/decommission",
        [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::document::<lifecycle::Decommission>(), "Shows how far a decommissioning is.";

    PAIRING_LIST = "pairing-list", Get "/api/v1/devices/{device}/pairings", [DeviceSelf, OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::list::<pairing::Pairing>(), "Lists with whom a device is paired, was, or might be.";
    PAIRING_PROPOSE = "pairing-propose", Post "/api/v1/devices/{device}/pairings", [OperatorWrite], Changes, Needed,
        (CHANGE, Shape::plain::<pairing::ProposePairing>()) -> PAIRING, "Proposes to pair a device with a user or an agent.";
    PAIRING_CONFIRM = "pairing-confirm", Post "/api/v1/devices/{device}/pairings/confirm", [OperatorWrite], Changes, Needed,
        (CHANGE, NONE) -> PAIRING, "Confirms the pairing of a device with the user who calls.";
    PAIRING_END = "pairing-end", Delete "/api/v1/devices/{device}/pairings/{*partner}", [OperatorWrite], Changes, Needed,
        (CHANGE, NONE) -> PAIRING, "Ends a pairing, with the grants under it.";
    AGENT_STATEMENT = "agent-statement", Post "/api/v1/agent/pairings", [Agent], Changes, AGENT,
        (NONE, Shape::plain::<pairing::SignedByAgent>()) -> PAIRING,
        "Takes what an agent signed about a pairing: that it confirms it, or ends it.";
    AGENT_CALL = "agent-call", Post "/api/v1/agent/calls", [Agent], Changes, AGENT,
        (NONE, Shape::plain::<pairing::SignedByAgent>()) -> Shape::document::<pairing::AgentAnswer>(),
        "Brings a call that an agent signed to the device, and returns what it answers.";
    GRANT_LIST = "grant-list", Get "/api/v1/grants", [OperatorRead], Reads, Needed,
        (Shape::plain::<pairing::GrantFilter>(), NONE) -> Shape::list::<pairing::Grant>(),
        "Lists what agents may ask of devices.";
    GRANT_SHOW = "grant-show", Get "/api/v1/grants/{grant}", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> GRANT, "Shows a grant, and whether a call would be let through now.";
    GRANT_CREATE = "grant-create", Post "/api/v1/grants", [OperatorWrite], Changes, Needed,
        (CHANGE, Shape::plain::<pairing::CreateGrant>()) -> GRANT, "Lets an agent ask something of a device.";
    GRANT_NARROW = "grant-narrow", Put "/api/v1/grants/{grant}", [OperatorWrite], Changes, Needed,
        (CHANGE, Shape::plain::<pairing::NarrowGrant>()) -> GRANT, "Lets an agent ask less.";
    GRANT_REVOKE = "grant-revoke", Delete "/api/v1/grants/{grant}", [OperatorWrite], Changes, Needed,
        (CHANGE, NONE) -> GRANT, "Takes a grant back.";
    GRANT_OVERRIDE = "grant-override", Post "/api/v1/grants/{grant}/override", [OperatorWrite], Changes, Needed,
        (CHANGE, Shape::plain::<pairing::OverrideGrant>()) -> GRANT, "Lifts or stops a grant for a time, or takes that back.";

    AUDIT_LIST = "audit-list", Get "/api/v1/audit/entries", [OperatorRead], Reads, Needed,
        (Shape::plain::<audit::AuditFilter>(), NONE) -> Shape::list::<audit::AuditEntry>(),
        "Lists log entries; `archived` names those that were not looked at, since they are in an archive.";
    AUDIT_SHOW = "audit-show", Get "/api/v1/audit/entries/{index}", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::document::<audit::AuditEntry>(), "Shows a log entry with its proof.";
    AUDIT_ARCHIVE = "audit-archive", Post "/api/v1/audit/archive", [Local], Changes, SOCKET,
        (CHANGE, Shape::plain::<audit::ArchiveLog>()) -> Shape::document::<audit::Archived>(), "Moves the oldest entries into an archive; their hashes stay.";
    AUDIT_EXPORT = "audit-export", Post "/api/v1/audit/export", [OperatorRead], Reads, Needed,
        (NONE, Shape::plain::<audit::ExportAudit>()) -> Shape::raw(Media::Bytes),
        "Returns the entries that fit as one file, which is recorded first; names of people for administrators only.";
    AUDIT_ERASE = "audit-erase", Post "/api/v1/audit/erase", [Admin], Changes, Needed,
        (CHANGE, Shape::plain::<audit::ErasePerson>()) -> Shape::document::<audit::Erasure>(),
        "Destroys the key under which the log speaks of a person or an address, and their name in every other store.";
    PERSON_EXPORT = "person-export", Post "/api/v1/people/export", [Admin], Reads, Needed,
        (NONE, Shape::plain::<person::ExportPerson>()) -> Shape::document::<person::PersonExport>(),
        "Returns everything that is held of a person or an address, which is recorded first.";
    AUDIT_TAIL = "audit-tail", Get "/api/v1/audit/stream", [OperatorRead], Reads, Needed,
        (Shape::plain::<audit::AuditFollow>(), NONE) -> Shape::raw(Media::Events),
        "Follows the log: an event `entry` for each entry, whose id is its index; Last-Event-ID resumes.";
    AUDIT_CHECKPOINT = "audit-checkpoint", Get "/api/v1/audit/checkpoint", [OperatorRead], Reads, SIGNED,
        (NONE, NONE) -> Shape::document::<audit::Checkpoint>(), "Shows the signed head of the log.";
    AUDIT_VERIFY = "audit-verify", Post "/api/v1/audit/verify", [OperatorRead], Reads, Needed,
        (NONE, Shape::plain::<audit::VerifyLog>()) -> Shape::document::<audit::AuditVerdict>(),
        "Has the authority verify its own log.";
    AUDIT_LOG = "audit-log", Get "/api/v1/audit/log/{*path}", [OperatorRead], Reads, SIGNED,
        (NONE, NONE) -> Shape::raw(Media::Bytes),
        "Returns a file of the log as C2SP tlog-tiles names it: `checkpoint`, `tile/..`, `tile/entries/..`.";
    WITNESS_LIST = "witness-list", Get "/api/v1/audit/witnesses", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::list::<witness::Witness>(), "Lists who cosigns the log, by name.";
    WITNESS_ADD = "witness-add", Post "/api/v1/audit/witnesses", [Admin], Changes, Needed,
        (CHANGE, Shape::plain::<witness::AddWitness>()) -> Shape::document::<witness::Witness>(), "Has somebody cosign the log.";
    WITNESS_REMOVE = "witness-remove", Delete "/api/v1/audit/witnesses/{witness}", [Admin], Changes, Needed,
        (CHANGE, NONE) -> Shape::document::<witness::Witness>(), "Has somebody cosign the log no more.";
    WITNESS_POLICY = "witness-policy", Get "/api/v1/audit/witness-policy", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::document::<witness::WitnessPolicy>(),
        "Shows how many witnesses a checkpoint needs to count as witnessed.";
    WITNESS_SET_POLICY = "witness-set-policy", Put "/api/v1/audit/witness-policy", [Admin], Changes, Needed,
        (CHANGE, Shape::plain::<witness::SetWitnessPolicy>()) -> Shape::document::<witness::WitnessPolicy>(),
        "Asks for another number of witnesses.";
    WITNESSED_LIST = "witnessed-list", Get "/api/v1/audit/witnessed-logs", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::list::<witness::WitnessedLog>(), "Lists the logs of others that are cosigned here.";
    WITNESSED_ADD = "witnessed-add", Post "/api/v1/audit/witnessed-logs", [Admin], Changes, Needed,
        (CHANGE, Shape::plain::<witness::AddWitnessedLog>()) -> Shape::document::<witness::WitnessedLog>(),
        "Has a log of somebody else cosigned here.";
    WITNESSED_REMOVE = "witnessed-remove", Delete "/api/v1/audit/witnessed-logs/{origin}", [Admin], Changes, Needed,
        (CHANGE, NONE) -> Shape::document::<witness::WitnessedLog>(),
        "Has a log of somebody else cosigned here no more.";

    ALERT_LIST = "alert-list", Get "/api/v1/alerts", [OperatorRead], Reads, Needed,
        (Shape::plain::<alert::AlertFilter>(), NONE) -> Shape::list::<alert::Alert>(), "Lists alerts, newest first.";
    ALERT_SHOW = "alert-show", Get "/api/v1/alerts/{alert}", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> ALERT, "Shows an alert, and how far the guardians have been told.";
    ALERT_STREAM = "alert-stream", Get "/api/v1/alerts/stream", [OperatorRead], Reads, WATCHED,
        (NONE, NONE) -> Shape::raw(Media::Events),
        "Sends alerts as server-sent events while they are raised, after the one that `Last-Event-ID` names.";
    ALERT_ACK = "alert-ack", Post "/api/v1/alerts/{alert}/ack", [OperatorWrite], Changes, Needed,
        (CHANGE, NONE) -> ALERT, "Says that somebody has seen an alert: an administrator, or an operator who is a guardian.";
    ALERT_RULES_SHOW = "alert-rules-show", Get "/api/v1/alert-rules", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> ALERT_RULES, "Shows the rules that raise alerts.";
    ALERT_RULES_APPLY = "alert-rules-apply", Put "/api/v1/alert-rules", [Admin], Changes, Needed,
        (CHANGE, Shape::plain::<alert::ApplyRules>()) -> ALERT_RULES, "Puts other rules in force.";
    ATTESTATION = "attestation-show", Get "/api/v1/devices/{device}/attestation", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::document::<attestation::Attestation>(), "Shows what was verified last of a device's TPM.";
    EK_LIST = "ek-list", Get "/api/v1/attestation/eks", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::list::<attestation::ListedEk>(),
        "Lists endorsement keys that count without a certificate of their maker.";
    EK_ADD = "ek-add", Post "/api/v1/attestation/eks", [Admin], Changes, Needed,
        (CHANGE, Shape::plain::<attestation::AddEk>()) -> Shape::document::<attestation::ListedEk>(),
        "Has a TPM count by its endorsement key.";
    EK_REMOVE = "ek-remove", Delete "/api/v1/attestation/eks/{ek}", [Admin], Changes, Needed,
        (CHANGE, NONE) -> Shape::document::<attestation::ListedEk>(), "Has a TPM count by its endorsement key no more.";
    GOLDEN_LIST = "golden-list", Get "/api/v1/attestation/golden", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::list::<attestation::Golden>(), "Lists what good starts look like.";
    GOLDEN_ADD = "golden-add", Post "/api/v1/attestation/golden", [Admin], Changes, Needed,
        (CHANGE, Shape::plain::<attestation::AddGolden>()) -> Shape::document::<attestation::Golden>(),
        "Makes a golden set of what a device showed last.";
    GOLDEN_REMOVE = "golden-remove", Delete "/api/v1/attestation/golden/{golden}", [Admin], Changes, Needed,
        (CHANGE, NONE) -> Shape::document::<attestation::Golden>(), "Removes a golden set.";
    VERIFIER_LIST = "verifier-list", Get "/api/v1/attestation/verifiers", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::list::<attestation::Verifier>(), "Lists devices that judge others for SEC-4.";
    VERIFIER_ADD = "verifier-add", Post "/api/v1/attestation/verifiers", [Admin], Changes, Needed,
        (CHANGE, Shape::plain::<attestation::AddVerifier>()) -> Shape::document::<attestation::Verifier>(), "Lets a device judge others for SEC-4.";
    VERIFIER_REMOVE = "verifier-remove", Delete "/api/v1/attestation/verifiers/{device}", [Admin], Changes, Needed,
        (CHANGE, NONE) -> Shape::document::<attestation::Verifier>(), "Lets a device judge others no more.";

    MAKER_LIST = "maker-list", Get "/api/v1/makers", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::list::<voucher::Maker>(), "Lists makers whose vouchers or factory certificates count.";
    MAKER_ADD = "maker-add", Post "/api/v1/makers", [Admin], Changes, Needed,
        (CHANGE, Shape::plain::<voucher::AddMaker>()) -> Shape::document::<voucher::Maker>(),
        "Trusts a maker of devices, on terms.";
    MAKER_REMOVE = "maker-remove", Delete "/api/v1/makers/{maker}", [Admin], Changes, Needed,
        (CHANGE, NONE) -> Shape::document::<voucher::Maker>(), "Trusts a maker no more.";
    VOUCHER_OWNER = "voucher-owner", Get "/api/v1/voucher-owner", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::document::<voucher::VoucherOwner>(),
        "Shows what a maker, or the owner before, has to put into a voucher for this authority.";
    VOUCHER_LIST = "voucher-list", Get "/api/v1/vouchers", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::list::<voucher::Voucher>(), "Lists vouchers.";
    VOUCHER_SHOW = "voucher-show", Get "/api/v1/vouchers/{voucher}", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::document::<voucher::Voucher>(), "Shows a voucher with its file.";
    VOUCHER_IMPORT = "voucher-import", Post "/api/v1/vouchers", [OperatorWrite], Changes, Needed,
        (CHANGE, Shape::plain::<voucher::ImportVoucher>()) -> Shape::document::<voucher::Voucher>(),
        "Keeps a voucher of a trusted maker until its device comes.";
    VOUCHER_ENDORSE = "voucher-endorse", Post "/api/v1/vouchers/{voucher}/endorse", [Admin], Changes, Needed,
        (CHANGE, Shape::plain::<voucher::EndorseVoucher>()) -> Shape::document::<voucher::Voucher>(),
        "Passes a device that has not come on to another owner.";
    VOUCHING_LIST = "vouching-list", Get "/api/v1/vouching-nodes", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::list::<voucher::VouchingNode>(), "Lists devices that may vouch for new ones.";
    VOUCHING_ADD = "vouching-add", Post "/api/v1/vouching-nodes", [Admin], Changes, Needed,
        (CHANGE, Shape::plain::<voucher::AddVouchingNode>()) -> Shape::document::<voucher::VouchingNode>(),
        "Lets a device vouch for new ones, within limits.";
    VOUCHING_REMOVE = "vouching-remove", Delete "/api/v1/vouching-nodes/{grant}", [Admin], Changes, Needed,
        (CHANGE, NONE) -> Shape::document::<voucher::VouchingNode>(), "Lets a device vouch no more.";

    GUARDIAN_LIST = "guardian-list", Get "/api/v1/guardians", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::list::<alert::Guardian>(), "Lists who is told of alerts.";
    GUARDIAN_ADD = "guardian-add", Post "/api/v1/guardians", [Admin], Changes, Needed,
        (CHANGE, Shape::plain::<alert::AddGuardian>()) -> GUARDIAN, "Has somebody told of alerts.";
    GUARDIAN_REMOVE = "guardian-remove", Delete "/api/v1/guardians/{guardian}", [Admin], Changes, Needed,
        (CHANGE, NONE) -> GUARDIAN, "Has a guardian told no more.";
    GUARDIAN_TEST = "guardian-test", Post "/api/v1/guardians/{guardian}/test", [Admin], Reads, Needed,
        (NONE, NONE) -> Shape::document::<alert::GuardianTest>(), "Sends a guardian a notice that is marked as a test.";

    MIRROR_LIST = "mirror-list", Get "/api/v1/audit/mirrors", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::list::<mirror::Mirror>(), "Lists where the authority writes copies of its log.";
    MIRROR_ADD = "mirror-add", Post "/api/v1/audit/mirrors", [Admin], Changes, Needed,
        (CHANGE, Shape::plain::<mirror::AddMirror>()) -> Shape::document::<mirror::Mirror>(),
        "Has the authority write a copy of its log elsewhere.";
    MIRROR_REMOVE = "mirror-remove", Delete "/api/v1/audit/mirrors/{mirror}", [Admin], Changes, Needed,
        (CHANGE, NONE) -> Shape::document::<mirror::Mirror>(), "Has the authority write there no more.";
    MIRROR_PUSH = "mirror-push", Post "/api/v1/audit/mirrors/push", [OperatorWrite], Reads, Needed,
        (NONE, NONE) -> Shape::list::<mirror::Mirror>(), "Has every copy brought up to date now.";

    AUTHORITY_SHOW = "authority-show", Get "/api/v1/authority", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::document::<authority::Authority>(), "Shows who the authority is.";
    AUTHORITY_LISTEN = "authority-listen", Put "/api/v1/authority/listen", [Admin], Changes, Needed,
        (CHANGE, Shape::plain::<authority::SetListen>()) -> Shape::document::<authority::Authority>(),
        "Has the authority listen elsewhere.";
    CRL_LIST = "crl-list", Get "/api/v1/authority/crls", [OperatorRead], Reads, SIGNED,
        (NONE, NONE) -> Shape::list::<authority::Crl>(), "Lists the revocation lists.";
    CRL_READ = "crl-read", Get "/api/v1/authority/crls/{issuer}", [OperatorRead], Reads, SIGNED,
        (NONE, NONE) -> Shape::raw(Media::Crl), "Returns the DER of the list of the CA with this key id.";

    DEVICE_LOG_LIST = "device-log-list", Get "/api/v1/devices/{device}/log/entries", [OperatorRead], Reads, Needed,
        (Shape::plain::<audit::AuditFilter>(), NONE) -> Shape::list::<audit::AuditEntry>(),
        "Lists entries of the log that a device has delivered.";
    DEVICE_LOG_SHOW = "device-log-show", Get "/api/v1/devices/{device}/log/entries/{index}", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::document::<audit::AuditEntry>(), "Shows an entry of a device's log with its proof.";
    DEVICE_LOG_CHECKPOINT = "device-log-checkpoint", Get "/api/v1/devices/{device}/log/checkpoint", [OperatorRead],
        Reads, SIGNED, (NONE, NONE) -> Shape::document::<audit::Checkpoint>(), "Shows the signed head of a device's log.";
    DEVICE_LOG_VERIFY = "device-log-verify", Post "/api/v1/devices/{device}/log/verify", [OperatorRead], Reads, Needed,
        (NONE, Shape::plain::<audit::VerifyLog>()) -> Shape::document::<audit::AuditVerdict>(),
        "Verifies the authority's copy of a device's log.";
    DEVICE_LOG_FILE = "device-log-file", Get "/api/v1/devices/{device}/log/files/{*path}", [OperatorRead], Reads, SIGNED,
        (NONE, NONE) -> Shape::raw(Media::Bytes), "Returns a file of the authority's copy of a device's log.";
    OPERATOR_CREATE = "operator-create", Post "/api/v1/operators", [Admin], Changes, Needed,
        (CHANGE, Shape::plain::<operator::CreateOperator>()) -> Shape::document::<operator::Operator>(),
        "Makes an operator certificate.";
    OPERATOR_LIST = "operator-list", Get "/api/v1/operators", [Admin], Reads, Needed,
        (NONE, NONE) -> Shape::list::<operator::Operator>(), "Lists operators.";
    OPERATOR_REMOVE = "operator-remove", Delete "/api/v1/operators/{operator}", [Admin], Changes, Needed,
        (CHANGE, NONE) -> Shape::document::<operator::Operator>(), "Revokes an operator certificate.";

    BACKUP_CREATE = "backup-create", Post "/api/v1/backups", [Local], Changes, SOCKET,
        (CHANGE, Shape::plain::<backup::CreateBackup>()) -> Shape::raw(Media::Bytes),
        "Returns a backup of everything, keys included, as an age file around a tar archive.";
    RESTORE_OPEN = "restore-open", Post "/api/v1/restore", [Local], Changes, SOCKET,
        (CHANGE, Shape::plain::<backup::OpenRestored>()) -> Shape::document::<backup::Restored>(),
        "Opens an authority that was put back from a backup and is closed since.";

    VAULT_LIST = "vault-list", Get "/api/v1/vaults", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> Shape::list::<vault::Vault>(), "Lists vaults by environment.";
    VAULT_SHOW = "vault-show", Get "/api/v1/vaults/{environment}", [OperatorRead], Reads, Needed,
        (NONE, NONE) -> VAULT, "Shows a vault, and no secret of it.";
    VAULT_CREATE = "vault-create", Put "/api/v1/vaults/{environment}", [Local], Changes, SOCKET,
        (CHANGE, Shape::plain::<vault::CreateVault>()) -> VAULT, "Makes a vault, which is open then.";
    VAULT_UNLOCK = "vault-unlock", Post "/api/v1/vaults/{environment}/unlock", [Local], Changes, SOCKET,
        (CHANGE, Shape::plain::<vault::UnlockVault>()) -> VAULT, "Opens a vault until it locks itself.";
    VAULT_LOCK = "vault-lock", Post "/api/v1/vaults/{environment}/lock", [Local], Changes, SOCKET,
        (CHANGE, NONE) -> VAULT, "Wipes the keys of a vault from memory.";
    VAULT_ENTRIES = "vault-entries", Get "/api/v1/vaults/{environment}/entries", [Local], Reads, SOCKET,
        (NONE, NONE) -> Shape::list::<vault::VaultEntry>(), "Lists the secrets of a vault by name, without them.";
    VAULT_HISTORY = "vault-history", Get "/api/v1/vaults/{environment}/history/{*entry}", [Local], Reads, SOCKET,
        (NONE, NONE) -> Shape::list::<vault::VaultVersion>(), "Lists the versions of a secret, newest first.";
    VAULT_READ = "vault-read", Post "/api/v1/vaults/{environment}/read/{*entry}", [Local], Reads, SOCKET,
        (Shape::plain::<vault::VaultVersionQuery>(), Shape::plain::<vault::ReadVaultEntry>())
            -> Shape::document::<vault::VaultSecret>(),
        "Gives a secret away, which is recorded first.";
    VAULT_SIGN = "vault-sign", Post "/api/v1/vaults/{environment}/sign/{*entry}", [Local], Reads, SOCKET,
        (NONE, Shape::plain::<vault::UseVaultEntry>()) -> Shape::document::<vault::VaultSignature>(),
        "Signs a message with a private key, which is recorded and stays.";
    VAULT_HMAC = "vault-hmac", Post "/api/v1/vaults/{environment}/hmac/{*entry}", [Local], Reads, SOCKET,
        (NONE, Shape::plain::<vault::UseVaultEntry>()) -> Shape::document::<vault::VaultMac>(),
        "Makes the HMAC-SHA-256 of a message under a secret, which is recorded and stays.";
    VAULT_TOTP = "vault-totp", Post "/api/v1/vaults/{environment}/totp/{*entry}", [Local], Reads, SOCKET,
        (NONE, NONE) -> Shape::document::<vault::VaultCode>(),
        "Makes the one-time code of a seed, which is recorded and stays.";
    VAULT_PUT = "vault-put", Put "/api/v1/vaults/{environment}/entries/{*entry}", [Local], Changes, SOCKET,
        (CHANGE, Shape::plain::<vault::PutVaultEntry>()) -> Shape::document::<vault::VaultEntry>(),
        "Puts a secret, or a new version of it.";
    VAULT_REMOVE = "vault-remove", Delete "/api/v1/vaults/{environment}/entries/{*entry}", [Local], Changes, SOCKET,
        (CHANGE, NONE) -> Shape::document::<vault::VaultEntry>(), "Removes a secret with all its versions.";
    VAULT_ROTATE = "vault-rotate", Post "/api/v1/vaults/{environment}/rotate", [Local], Changes, SOCKET,
        (CHANGE, Shape::plain::<vault::RotateVault>()) -> VAULT,
        "Gives a vault a new master key and one slot, a passphrase.";
    VAULT_EXPORT = "vault-export", Get "/api/v1/vaults/{environment}/file", [Local], Reads, SOCKET,
        (NONE, NONE) -> Shape::raw(Media::Bytes), "Returns the sealed file of a vault.";
    VAULT_IMPORT = "vault-import", Post "/api/v1/vaults/{environment}/import", [Local], Changes, SOCKET,
        (CHANGE, Shape::plain::<vault::ImportVault>()) -> VAULT, "Makes a vault of a file, where there is none.";
    VAULT_SHARE = "vault-share", Post "/api/v1/vaults/{environment}/share", [Local], Changes, SOCKET,
        (CHANGE, Shape::plain::<vault::ShareVault>()) -> Shape::document::<vault::VaultShares>(),
        "Gives a vault a new master key, and shares that recover it.";
    VAULT_SUBMIT = "vault-submit", Post "/api/v1/vaults/{environment}/recovery", [Local], Changes, SOCKET,
        (CHANGE, Shape::plain::<vault::SubmitShare>()) -> Shape::document::<vault::VaultRecovery>(),
        "Hands in a share of a vault.";
    VAULT_RECOVERY = "vault-recovery", Get "/api/v1/vaults/{environment}/recovery", [Local], Reads, SOCKET,
        (NONE, NONE) -> Shape::document::<vault::VaultRecovery>(), "Shows whose shares have been handed in.";
    VAULT_RECOVER = "vault-recover", Post "/api/v1/vaults/{environment}/recovery/finish", [Local], Changes, SOCKET,
        (CHANGE, Shape::plain::<vault::RecoverVault>()) -> VAULT,
        "Opens a vault by the shares that were handed in, an offline key or a passkey, and gives it new keys.";
    VAULT_REHEARSE = "vault-rehearse", Post "/api/v1/vaults/{environment}/recovery/rehearse", [Local], Changes, SOCKET,
        (CHANGE, NONE) -> VAULT, "Proves that the shares that were handed in open a vault, and forgets them.";
    VAULT_ABANDON = "vault-abandon", Delete "/api/v1/vaults/{environment}/recovery", [Local], Changes, SOCKET,
        (CHANGE, NONE) -> VAULT, "Forgets the shares that were handed in.";
    VAULT_OFFLINE_ADD = "vault-offline-add", Put "/api/v1/vaults/{environment}/offline-keys/{slot}", [Local], Changes, SOCKET,
        (CHANGE, Shape::plain::<vault::AddOfflineKey>()) -> VAULT, "Lets an offline key open a vault.";
    VAULT_OFFLINE_REMOVE = "vault-offline-remove", Delete "/api/v1/vaults/{environment}/offline-keys/{slot}", [Local],
        Changes, SOCKET, (CHANGE, Shape::plain::<vault::RemoveFromVault>()) -> VAULT, "Removes the slot of an offline key.";
    VAULT_PASSKEY_ADD = "vault-passkey-add", Put "/api/v1/vaults/{environment}/passkeys/{slot}", [Local], Changes, SOCKET,
        (CHANGE, Shape::plain::<vault::AddPasskey>()) -> VAULT, "Lets a passkey open a vault.";
    VAULT_PASSKEY_REMOVE = "vault-passkey-remove", Delete "/api/v1/vaults/{environment}/passkeys/{slot}", [Local],
        Changes, SOCKET, (CHANGE, Shape::plain::<vault::RemoveFromVault>()) -> VAULT, "Removes the slot of a passkey.";
    VAULT_AUTHORISER_ADD = "vault-authoriser-add", Put "/api/v1/vaults/{environment}/authoriser", [Local], Changes, SOCKET,
        (CHANGE, Shape::plain::<vault::AddAuthoriser>()) -> VAULT, "Has a vault ask for a one-time code.";
    VAULT_AUTHORISER_REMOVE = "vault-authoriser-remove", Delete "/api/v1/vaults/{environment}/authoriser", [Local],
        Changes, SOCKET, (CHANGE, Shape::plain::<vault::RemoveFromVault>()) -> VAULT,
        "Has a vault ask for no one-time code any more.";

    KILL_STATUS = "kill-status", Get "/api/v1/kill", [Local], Reads, SOCKET,
        (NONE, NONE) -> KILL, "Shows how the kill switch stands.";
    KILL_ARM = "kill-arm", Post "/api/v1/kill/arm", [Local], Changes, SOCKET,
        (CHANGE, Shape::plain::<kill::ArmKill>()) -> Shape::document::<kill::KillArmed>(),
        "Arms the kill switch for ten minutes.";
    KILL_DISARM = "kill-disarm", Delete "/api/v1/kill/arm", [Local], Changes, SOCKET,
        (CHANGE, NONE) -> KILL, "Disarms the kill switch.";
    KILL_FIRE = "kill-fire", Post "/api/v1/kill/fire", [Local], Changes, SOCKET,
        (CHANGE, Shape::plain::<kill::FireKill>()) -> Shape::document::<kill::KillReport>(),
        "Destroys the keys, vaults and state of this authority.";
}

routes! {
    /// What a device answers on its own socket. Only root and the socket's owner can open it.
    LOCAL:
    LOCAL_STATUS = "local-status", Get "/api/v1/status", [Admin], Reads, SOCKET,
        (NONE, NONE) -> Shape::document::<local::DeviceStatus>(), "Shows how this device is.";
    LOCAL_IDENTITY = "local-identity", Get "/api/v1/identity", [Admin], Reads, SOCKET,
        (NONE, NONE) -> Shape::document::<chain::IdentityChain>(), "Shows and checks the identity of this device.";
    LOCAL_AUDIT_LIST = "local-audit-list", Get "/api/v1/audit/entries", [Admin], Reads, SOCKET,
        (Shape::plain::<audit::AuditFilter>(), NONE) -> Shape::list::<audit::AuditEntry>(),
        "Lists entries of this device's own log.";
    LOCAL_AUDIT_CHECKPOINT = "local-audit-checkpoint", Get "/api/v1/audit/checkpoint", [Admin], Reads, SOCKET,
        (NONE, NONE) -> Shape::document::<audit::Checkpoint>(), "Shows the signed head of this device's own log.";
    LOCAL_AUDIT_LOG = "local-audit-log", Get "/api/v1/audit/log/{*path}", [Admin], Reads, SOCKET,
        (NONE, NONE) -> Shape::raw(Media::Bytes), "Returns a file of this device's own log.";
    LOCAL_KILL_STATUS = "local-kill-status", Get "/api/v1/kill", [Admin], Reads, SOCKET,
        (NONE, NONE) -> KILL, "Shows how the kill switch stands.";
    LOCAL_KILL_ARM = "local-kill-arm", Post "/api/v1/kill/arm", [Admin], Changes, SOCKET,
        (CHANGE, Shape::plain::<kill::ArmKill>()) -> Shape::document::<kill::KillArmed>(),
        "Arms the kill switch for ten minutes.";
    LOCAL_KILL_DISARM = "local-kill-disarm", Delete "/api/v1/kill/arm", [Admin], Changes, SOCKET,
        (CHANGE, NONE) -> KILL, "Disarms the kill switch.";
    LOCAL_KILL_FIRE = "local-kill-fire", Post "/api/v1/kill/fire", [Admin], Changes, SOCKET,
        (CHANGE, Shape::plain::<kill::FireKill>()) -> Shape::document::<kill::KillReport>(),
        "Destroys the keys and the state of this device.";
    LOCAL_VOUCH = "local-vouch", Post "/api/v1/vouch", [Admin], Reads, SOCKET,
        (NONE, Shape::plain::<voucher::VouchFor>()) -> Shape::document::<voucher::Vouch>(),
        "Vouches for a new device.";
    LOCAL_PAIRING_LIST = "local-pairing-list", Get "/api/v1/pairings", [Admin], Reads, SOCKET,
        (NONE, NONE) -> Shape::document::<local::LocalPairings>(), "Lists with whom this device is paired, or might be.";
    LOCAL_PAIRING_ANSWER = "local-pairing-answer", Post "/api/v1/pairings", [Admin], Changes, SOCKET,
        (NONE, Shape::plain::<local::AnswerPairing>()) -> Shape::document::<local::LocalPairing>(),
        "Confirms a pairing for this device, or ends it.";
    LOCAL_DECOMMISSION = "local-decommission", Post "/api/v1/decommission", [Admin], Changes, SOCKET,
        (CHANGE, Shape::plain::<lifecycle::DecommissionOrder>()) -> Shape::document::<lifecycle::Decommission>(),
        "Ends this device for good.";
}

#[cfg(test)]
mod tests;
