//! The HTTP API: every route of [`kos_api::routes::ALL`], and no other.
//!
//! [`Api::on`] is the one way to a handler. It takes the route's declaration, and with it comes what is true for every
//! request: who calls, whether this caller may, a request id, a limit on the body and on time, and a problem document
//! for whatever goes wrong. A route that is declared and has no handler, or the reverse, fails a test.

mod alert_stream;
mod alerts;
mod answer;
mod archive;
mod attestation;
mod audit;
mod authority;
mod backup;
mod call;
mod chain;
mod change;
mod decommission;
mod device_log;
mod devices;
mod differ;
mod doctor;
mod entry;
mod erase;
mod export;
mod gate;
mod grants;
mod guardians;
mod kill;
mod lifecycle;
mod listen;
mod log;
mod manifests;
pub(crate) mod mirrors;
mod modules;
mod operators;
mod own_key;
mod pairings;
mod person;
mod policy;
mod quarantine;
mod search;
mod stream;
mod tail;
mod tickets;
mod token;
mod vaults;
mod verifiers;
mod view;
mod vouchers;
mod witnesses;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    handler::Handler,
    routing::{MethodFilter, on},
};
use kos_api::routes::{self, Method, Route};

use self::gate::{Gate, Load};
pub(crate) use self::{
    answer::{Refusal, document},
    call::{Call, Mode, Origin, Remote, RequestId, Who},
    stream::Streams,
    token::Tokens,
};
use crate::authority::Shared;

/// Longest body of a request, in bytes. Stops a caller from filling the memory.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Longest body that brings a secret, in bytes: 64 KiB of it in base64, and what stands around it.
const SECRET_BYTES_MAX: usize = 96 * 1024;
/// Longest body that brings the file of a vault, in bytes: the largest that there is, with its ciphertext in base64 twice.
const VAULT_BYTES_MAX: usize = 96 * 1024 * 1024;
/// Longest body that brings a manifest, in bytes: the largest that there is, as JSON may write it.
const MANIFEST_BYTES_MAX: usize = 5 * 1024 * 1024;
/// Requests of agents that are worked on at a time. Apart from the others, so that strangers who sign nonsense keep no
/// operator from being answered.
const AGENTS_AT_ONCE: usize = 32;
/// Manifests that are judged at a time.
const MANIFESTS_AT_ONCE: usize = 2;
/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a backup may take before its first byte: the store is copied and looked at.
const BACKUP_TIMEOUT: Duration = Duration::from_secs(900);
/// How long an archive may take: every entry is read and written.
const ARCHIVE_TIMEOUT: Duration = Duration::from_secs(3_600);
/// How long a firing may take until it reports: every byte of the store is overwritten.
const KILL_TIMEOUT: Duration = Duration::from_secs(900);
/// How long the test of a guardian may take: longer than a receiver may.
const GUARDIAN_TIMEOUT: Duration = Duration::from_secs(40);
/// Tests of guardians at a time; each may wait long for somebody else.
const GUARDIAN_TESTS_MAX: usize = 4;
/// Requests that are worked on at a time; beyond that the caller is told to come back, instead of waiting in line.
const REQUESTS_MAX: usize = 256;

/// The routes that have handlers.
struct Api {
    shared: Arc<Shared>,
    load: Load,
    router: Router<Arc<Shared>>,
    mounted: Vec<&'static str>,
}

impl Api {
    /// Answers `route` with `handler`, for those whom the route admits.
    fn on<H, T>(self, route: &'static Route, handler: H) -> Self
    where
        H: Handler<T, Arc<Shared>>,
        T: 'static,
    {
        self.taking(BODY_BYTES_MAX, route, handler)
    }

    /// The same for a body of up to `bytes_max`.
    fn taking<H, T>(self, bytes_max: usize, route: &'static Route, handler: H) -> Self
    where
        H: Handler<T, Arc<Shared>>,
        T: 'static,
    {
        let load = self.load.clone();
        self.under(load, bytes_max, route, handler)
    }

    /// The same with limits of its own.
    fn under<H, T>(mut self, load: Load, bytes_max: usize, route: &'static Route, handler: H) -> Self
    where
        H: Handler<T, Arc<Shared>>,
        T: 'static,
    {
        let method = match route.method {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
            Method::Put => MethodFilter::PUT,
            Method::Delete => MethodFilter::DELETE,
        };
        let gate = Gate { shared: Arc::clone(&self.shared), load, route, bytes_max };
        let passing = axum::middleware::from_fn_with_state(gate, gate::pass);
        // The innermost limit is the one that counts.
        let handler = handler.layer(DefaultBodyLimit::max(bytes_max));
        self.router = self.router.route(route.path, on(method, handler).layer(passing));
        self.mounted.push(route.name);
        self
    }
}

/// Every route with its handler.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let api = mount(Arc::clone(&shared));
    api.router
        .fallback(answer::no_such_path)
        .method_not_allowed_fallback(answer::no_such_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(shared)
}

fn mount(shared: Arc<Shared>) -> Api {
    let load = Load::new(REQUESTS_MAX, ANSWER_TIMEOUT);
    let api = Api { shared, load, router: Router::new(), mounted: Vec::new() };
    api.on(&routes::STATUS, authority::status)
        .on(&routes::DOCTOR, doctor::examine)
        .on(&routes::OPENAPI, authority::openapi)
        .on(&routes::AUTHORITY_SHOW, authority::show)
        .on(&routes::AUTHORITY_LISTEN, listen::listen)
        .on(&routes::CRL_LIST, authority::crls)
        .on(&routes::CRL_READ, authority::crl)
        .on(&routes::TICKET_CREATE, tickets::create)
        .on(&routes::TICKET_LIST, tickets::list)
        .on(&routes::TICKET_SHOW, tickets::show)
        .on(&routes::TICKET_REVOKE, tickets::revoke)
        .on(&routes::DEVICE_LIST, devices::list)
        .on(&routes::DEVICE_SHOW, devices::show)
        .on(&routes::DEVICE_EVENTS, devices::events)
        .on(&routes::DEVICE_CHAIN, chain::show)
        .on(&routes::DEVICE_APPROVE, lifecycle::approve)
        .on(&routes::DEVICE_REJECT, lifecycle::reject)
        .on(&routes::DEVICE_SET_ROLE, lifecycle::set_role)
        .on(&routes::DEVICE_SET_PROFILE, lifecycle::set_profile)
        .on(&routes::DEVICE_POLICY, policy::explain)
        .on(&routes::POLICY_LIST, policy::list)
        .on(&routes::POLICY_SHOW, policy::show)
        .on(&routes::MODULE_LIST, modules::list)
        .on(&routes::MODULE_SET, modules::set)
        .on(&routes::DEVICE_MODULES, modules::of_device)
        .on(&routes::MANIFEST_LIST, manifests::list)
        .on(&routes::MANIFEST_SHOW, manifests::show)
        .under(
            // Few at a time, for the time that they take.
            Load::new(MANIFESTS_AT_ONCE, ANSWER_TIMEOUT),
            MANIFEST_BYTES_MAX,
            &routes::MANIFEST_LINT,
            manifests::lint,
        )
        .under(
            Load::new(MANIFESTS_AT_ONCE, ANSWER_TIMEOUT),
            MANIFEST_BYTES_MAX,
            &routes::MANIFEST_DIFF,
            manifests::diff,
        )
        .under(Load::new(1, ANSWER_TIMEOUT), MANIFEST_BYTES_MAX, &routes::MANIFEST_APPLY, manifests::apply)
        .under(
            Load::new(MANIFESTS_AT_ONCE, ANSWER_TIMEOUT),
            MANIFEST_BYTES_MAX,
            &routes::POLICY_TEST,
            manifests::test,
        )
        .on(&routes::DEVICE_SET_CHANNEL, lifecycle::set_channel)
        .on(&routes::DEVICE_RENAME, lifecycle::rename)
        .on(&routes::DEVICE_TAG, lifecycle::tag)
        .on(&routes::DEVICE_SUSPEND, lifecycle::suspend)
        .on(&routes::DEVICE_QUARANTINE, quarantine::order)
        .on(&routes::DEVICE_FORENSICS, quarantine::newest_bundle)
        .on(&routes::DEVICE_BUNDLES, quarantine::bundles)
        .on(&routes::DEVICE_BUNDLE, quarantine::bundle)
        .on(&routes::DEVICE_REINSTATE, lifecycle::reinstate)
        .on(&routes::DEVICE_REGEN_CERT, lifecycle::regenerate)
        .on(&routes::DEVICE_ROTATE_KEY, own_key::rotate)
        .on(&routes::DEVICE_DECOMMISSION, decommission::order)
        .on(&routes::DEVICE_DECOMMISSION_SHOW, decommission::show)
        .on(&routes::PAIRING_LIST, pairings::list)
        .on(&routes::PAIRING_PROPOSE, pairings::propose)
        .on(&routes::PAIRING_CONFIRM, pairings::confirm)
        .on(&routes::PAIRING_END, pairings::end)
        .under(
            Load::new(AGENTS_AT_ONCE, ANSWER_TIMEOUT),
            BODY_BYTES_MAX,
            &routes::AGENT_STATEMENT,
            pairings::statement,
        )
        .under(Load::new(AGENTS_AT_ONCE, ANSWER_TIMEOUT), BODY_BYTES_MAX, &routes::AGENT_CALL, grants::call)
        .on(&routes::GRANT_LIST, grants::list)
        .on(&routes::GRANT_SHOW, grants::show)
        .on(&routes::GRANT_CREATE, grants::create)
        .on(&routes::GRANT_NARROW, grants::narrow)
        .on(&routes::GRANT_REVOKE, grants::revoke)
        .on(&routes::GRANT_OVERRIDE, grants::word)
        .on(&routes::AUDIT_LIST, audit::list)
        .on(&routes::AUDIT_SHOW, audit::show)
        .on(&routes::AUDIT_TAIL, tail::follow)
        .under(Load::new(1, ARCHIVE_TIMEOUT), BODY_BYTES_MAX, &routes::AUDIT_ARCHIVE, archive::archive_log)
        .on(&routes::AUDIT_EXPORT, export::export)
        .on(&routes::AUDIT_ERASE, erase::erase)
        .on(&routes::PERSON_EXPORT, person::export)
        .on(&routes::AUDIT_CHECKPOINT, audit::checkpoint)
        .on(&routes::AUDIT_VERIFY, audit::verify)
        .on(&routes::DEVICE_LOG_LIST, device_log::list)
        .on(&routes::DEVICE_LOG_SHOW, device_log::show)
        .on(&routes::DEVICE_LOG_CHECKPOINT, device_log::checkpoint)
        .on(&routes::DEVICE_LOG_VERIFY, device_log::verify)
        .on(&routes::DEVICE_LOG_FILE, device_log::file)
        .on(&routes::ALERT_LIST, alerts::list)
        .on(&routes::ALERT_SHOW, alerts::show)
        .on(&routes::ALERT_STREAM, alert_stream::stream)
        .on(&routes::ALERT_ACK, alerts::acknowledge)
        .on(&routes::ALERT_RULES_SHOW, alerts::rules)
        .on(&routes::ALERT_RULES_APPLY, alerts::apply_rules)
        .on(&routes::GUARDIAN_LIST, guardians::list)
        .on(&routes::GUARDIAN_ADD, guardians::add)
        .on(&routes::GUARDIAN_REMOVE, guardians::remove)
        // As long as a receiver may take, and a little more.
        .under(
            Load::new(GUARDIAN_TESTS_MAX, GUARDIAN_TIMEOUT),
            BODY_BYTES_MAX,
            &routes::GUARDIAN_TEST,
            guardians::test,
        )
        .on(&routes::AUDIT_LOG, log::file)
        .on(&routes::MIRROR_LIST, mirrors::list)
        .on(&routes::MIRROR_ADD, mirrors::add)
        .on(&routes::MIRROR_REMOVE, mirrors::remove)
        .on(&routes::MIRROR_PUSH, mirrors::push)
        .on(&routes::ATTESTATION, attestation::show)
        .on(&routes::EK_LIST, attestation::eks)
        .on(&routes::EK_ADD, attestation::add_ek)
        .on(&routes::EK_REMOVE, attestation::remove_ek)
        .on(&routes::GOLDEN_LIST, attestation::golden_sets)
        .on(&routes::GOLDEN_ADD, attestation::add_golden)
        .on(&routes::GOLDEN_REMOVE, attestation::remove_golden)
        .on(&routes::VERIFIER_LIST, verifiers::list)
        .on(&routes::VERIFIER_ADD, verifiers::add)
        .on(&routes::VERIFIER_REMOVE, verifiers::remove)
        .on(&routes::MAKER_LIST, vouchers::makers)
        .on(&routes::MAKER_ADD, vouchers::add_maker)
        .on(&routes::MAKER_REMOVE, vouchers::remove_maker)
        .on(&routes::VOUCHER_OWNER, vouchers::owner)
        .on(&routes::VOUCHER_LIST, vouchers::list)
        .on(&routes::VOUCHER_SHOW, vouchers::show)
        .on(&routes::VOUCHER_IMPORT, vouchers::import)
        .on(&routes::VOUCHER_ENDORSE, vouchers::endorse)
        .on(&routes::VOUCHING_LIST, vouchers::nodes)
        .on(&routes::VOUCHING_ADD, vouchers::add_node)
        .on(&routes::VOUCHING_REMOVE, vouchers::remove_node)
        .on(&routes::WITNESS_LIST, witnesses::list)
        .on(&routes::WITNESS_ADD, witnesses::add)
        .on(&routes::WITNESS_REMOVE, witnesses::remove)
        .on(&routes::WITNESS_POLICY, witnesses::policy)
        .on(&routes::WITNESS_SET_POLICY, witnesses::set_policy)
        .on(&routes::WITNESSED_LIST, witnesses::logs)
        .on(&routes::WITNESSED_ADD, witnesses::add_log)
        .on(&routes::WITNESSED_REMOVE, witnesses::remove_log)
        .on(&routes::OPERATOR_CREATE, operators::create)
        .on(&routes::OPERATOR_LIST, operators::list)
        .on(&routes::OPERATOR_REMOVE, operators::remove)
        .under(Load::new(1, BACKUP_TIMEOUT), BODY_BYTES_MAX, &routes::BACKUP_CREATE, backup::create)
        .on(&routes::RESTORE_OPEN, backup::open)
        .on(&routes::VAULT_LIST, vaults::list)
        .on(&routes::VAULT_SHOW, vaults::show)
        .on(&routes::VAULT_CREATE, vaults::create)
        .on(&routes::VAULT_UNLOCK, vaults::unlock)
        .on(&routes::VAULT_LOCK, vaults::lock)
        .on(&routes::VAULT_ENTRIES, vaults::entries)
        .on(&routes::VAULT_HISTORY, vaults::history)
        .on(&routes::VAULT_READ, vaults::read)
        .taking(SECRET_BYTES_MAX, &routes::VAULT_SIGN, vaults::sign)
        .taking(SECRET_BYTES_MAX, &routes::VAULT_HMAC, vaults::hmac)
        .on(&routes::VAULT_TOTP, vaults::totp)
        .taking(SECRET_BYTES_MAX, &routes::VAULT_PUT, vaults::put)
        .on(&routes::VAULT_REMOVE, vaults::remove)
        .on(&routes::VAULT_ROTATE, vaults::rotate)
        .on(&routes::VAULT_EXPORT, vaults::export)
        .under(
            // One at a time, for the memory that it takes.
            Load::new(1, ANSWER_TIMEOUT),
            VAULT_BYTES_MAX,
            &routes::VAULT_IMPORT,
            vaults::import,
        )
        .on(&routes::VAULT_SHARE, vaults::share)
        .on(&routes::VAULT_SUBMIT, vaults::submit)
        .on(&routes::VAULT_RECOVERY, vaults::recovery)
        .on(&routes::VAULT_RECOVER, vaults::recover)
        .on(&routes::VAULT_REHEARSE, vaults::rehearse)
        .on(&routes::VAULT_ABANDON, vaults::abandon)
        .on(&routes::VAULT_OFFLINE_ADD, vaults::add_offline)
        .on(&routes::VAULT_OFFLINE_REMOVE, vaults::remove_offline)
        .on(&routes::VAULT_PASSKEY_ADD, vaults::add_passkey)
        .on(&routes::VAULT_PASSKEY_REMOVE, vaults::remove_passkey)
        .on(&routes::VAULT_AUTHORISER_ADD, vaults::add_authoriser)
        .on(&routes::VAULT_AUTHORISER_REMOVE, vaults::remove_authoriser)
        .on(&routes::KILL_STATUS, kill::status)
        .on(&routes::KILL_ARM, kill::arm)
        .on(&routes::KILL_DISARM, kill::disarm)
        .under(Load::new(1, KILL_TIMEOUT), BODY_BYTES_MAX, &routes::KILL_FIRE, kill::fire)
}

#[cfg(test)]
mod tests;
