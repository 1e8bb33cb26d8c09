//! What is in force: signed, kept with every version before it, and read back.
//!
//! Shape of what is kept: a signed object (ID-14 to ID-16), domain `kos policy manifest v1`, by the order key; its payload
//! is deterministic CBOR of a [`Signed`].
//!
//! Invariants: one manifest is put in force at a time; what is in force is what the store holds, and the store holds it
//! before it is in force. The number of what is applied rises, also beyond that of a store from which a backup was made
//! (it is the time in milliseconds, or one more than the last).
//!
//! Errors: [`Fault`], each with a stable code; what was in force stays.
//!
//! Source: `docs/spec/manifest.md` MAN-14 to MAN-16, MAN-24.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use kos_base::{
    Code, DeviceId, PublicKey, Timestamp, cbor, code,
    code::manifest as codes,
    cose::{CoseError, Purpose, Sealed, Unsigned},
    digest::sha256_parts,
    key::SignatureForm,
    text::printable,
};
use kos_identity::registry::{Actor, Device};
use kos_klp::message::MessageType;
use kos_manifest::{
    Examined, Manifest, Outcome, POLICIES_MAX, Point, Severity, Subject, TEXT_BYTES_MAX, examine, is_governed,
};
use kos_net::keys::KeyError;
use kos_policy::{
    Standing,
    slice::{Facts, RULES_MAX, SLICE_BYTES_MAX, Sent, Slice},
};
use minicbor::{Decode, Encode};
use tokio::sync::Mutex;

use super::refused::Refused;
use crate::{
    authority::Shared,
    keys::Keys,
    record::SystemChange,
    store::{ManifestChoice, Store, StoreError, StoredManifest},
    writer::{SystemWrite, Transaction},
};

const MANIFEST: Purpose =
    Purpose { domain: "kos policy manifest v1", typ: "application/kos-policy-manifest+cbor" };
/// Most manifests in force. Stops names from being used up one after the other.
const MANIFESTS_MAX: usize = 32;
/// What stands around the text in what is signed, in bytes, at most.
const AROUND_BYTES_MAX: usize = 1_024;

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct Signed {
    #[n(1)]
    name: String,
    #[n(2)]
    version: u64,
    #[n(3)]
    counter: u64,
    #[n(4)]
    at: Timestamp,
    #[n(5)]
    text: String,
}

/// Why nothing is put in force, or nothing can be read.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("manifest `{name}` is not what was signed: {why}")]
    Damaged { name: String, why: String },
    #[error("{why}")]
    Refused { code: Code, why: String },
}

impl Fault {
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Store(error) => error.code(),
            Self::Key(error) => error.code(),
            Self::Damaged { .. } => code::store::STORE_DAMAGED,
            Self::Refused { code, .. } => *code,
        }
    }
}

fn refused(code: Code, why: impl Into<String>) -> Fault {
    Fault::Refused { code, why: printable(&why.into(), 300) }
}

/// What is in force.
#[derive(Debug)]
struct InForce {
    manifests: BTreeMap<String, Manifest>,
    point: Arc<Point>,
}

/// The manifests of a running authority.
#[derive(Debug)]
pub(crate) struct Manifests {
    in_force: RwLock<InForce>,
    /// One is applied at a time.
    applying: Mutex<()>,
    /// What they refused to devices.
    pub(crate) refused: Refused,
}

/// A manifest that is ready to be put in force.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) stored: StoredManifest,
    transaction: Transaction,
    next: InForce,
}

impl Prepared {
    /// What is to be committed before it is put in force.
    pub(crate) fn take_transaction(&mut self) -> Transaction {
        let empty = Transaction::own(self.transaction.at, Vec::new(), Vec::new());
        std::mem::replace(&mut self.transaction, empty)
    }
}

impl InForce {
    async fn read(store: &Store, keys: &Keys) -> Result<Self, Fault> {
        let limit = u32::try_from(MANIFESTS_MAX).unwrap_or(u32::MAX);
        let mut manifests = BTreeMap::new();
        for stored in store.manifests(ManifestChoice::InForce, limit).await? {
            let text = read(store, keys.orders.public(), &stored).await?;
            let examined = apart(move || examine(&text)).await;
            let manifest = examined.manifest.ok_or_else(|| Fault::Damaged {
                name: stored.name.clone(),
                why: examined.findings.first().map(|finding| finding.detail.clone()).unwrap_or_default(),
            })?;
            manifests.insert(stored.name, manifest);
        }
        let counter = store.manifest_counter().await?;
        let point = Arc::new(point(counter, &manifests));
        Ok(Self { manifests, point })
    }
}

impl Manifests {
    /// Reads what is in force.
    ///
    /// # Errors
    /// When it is not what was signed. An authority that does not know what it may allow does not start.
    pub(crate) async fn load(store: &Store, keys: &Keys) -> Result<Self, Fault> {
        let in_force = RwLock::new(InForce::read(store, keys).await?);
        Ok(Self { in_force, applying: Mutex::new(()), refused: Refused::default() })
    }

    /// Puts in force what the store holds, should that be something else: true if it was. Whoever calls holds the turn.
    ///
    /// # Errors
    /// As with [`Manifests::load`]; what was in force stays.
    pub(crate) async fn catch_up(&self, store: &Store, keys: &Keys) -> Result<bool, Fault> {
        if store.manifest_counter().await? == self.point().counter() {
            return Ok(false);
        }
        let held = InForce::read(store, keys).await?;
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = held;
        Ok(true)
    }

    /// What decides now.
    pub(crate) fn point(&self) -> Arc<Point> {
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner).point)
    }

    /// Held by whoever applies something, until it is committed.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.applying.lock().await
    }

    /// What would decide if this manifest were in force as well.
    pub(crate) fn with(&self, manifest: Manifest) -> Point {
        let held = self.in_force.read().unwrap_or_else(PoisonError::into_inner);
        let mut manifests = held.manifests.clone();
        manifests.insert(manifest.source.name.clone(), manifest);
        point(held.point.counter(), &manifests)
    }

    /// The policies of a manifest in force, by name, as they are written.
    pub(crate) fn policies_of(&self, name: &str) -> BTreeMap<String, String> {
        let held = self.in_force.read().unwrap_or_else(PoisonError::into_inner);
        held.manifests.get(name).map(written).unwrap_or_default()
    }

    /// Puts in force what is on the disk by now.
    pub(crate) fn put(&self, next: Prepared) {
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = next.next;
    }
}

/// The policies of a manifest, by name, as they are written.
pub(crate) fn written(manifest: &Manifest) -> BTreeMap<String, String> {
    manifest.policies.iter().map(|(name, policy)| (name.clone(), policy.to_string())).collect()
}

fn point(counter: u64, manifests: &BTreeMap<String, Manifest>) -> Point {
    let rules = manifests.values().flat_map(|manifest| manifest.rules.iter().cloned()).collect();
    let policies = manifests
        .values()
        .flat_map(|manifest| manifest.policies.iter().map(|(name, policy)| (name.clone(), policy.clone())))
        .collect();
    Point::new(counter, rules, policies)
}

/// Runs what takes long apart from everything else.
pub(crate) async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

/// The text of a version, if it is what was signed.
pub(crate) async fn read(store: &Store, key: &PublicKey, stored: &StoredManifest) -> Result<String, Fault> {
    let bytes = store.manifest_text(&stored.digest).await?;
    let damaged = |why: String| Fault::Damaged { name: stored.name.clone(), why };
    if digest(&bytes) != stored.digest {
        return Err(damaged("its digest is another".to_owned()));
    }
    let payload = Sealed::parse(&bytes, TEXT_BYTES_MAX + AROUND_BYTES_MAX)
        .and_then(|sealed| sealed.verify(MANIFEST, key))
        .map_err(|error: CoseError| damaged(error.to_string()))?;
    let signed: Signed = cbor::decode(&payload, TEXT_BYTES_MAX + AROUND_BYTES_MAX)
        .map_err(|error| damaged(error.to_string()))?;
    if (signed.name.as_str(), signed.version, signed.counter)
        != (&stored.name, stored.version, stored.counter)
    {
        return Err(damaged("it is another manifest".to_owned()));
    }
    Ok(signed.text)
}

fn digest(signed: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&sha256_parts("kos policy manifest v1", [signed]))
}

/// Examines a text, and asks the store whether the devices exist that it names.
pub(crate) async fn examine_with_store(store: &Store, text: String) -> Result<Examined, StoreError> {
    let mut examined = apart(move || examine(&text)).await;
    let named = examined.manifest.iter().flat_map(Manifest::devices).collect::<BTreeMap<_, _>>();
    for (device, rule) in named {
        if store.device(&device).await?.is_none() {
            examined.refuse_unknown(&rule, &device);
        }
    }
    Ok(examined)
}

/// Signs a manifest, and what puts it in force with its entry. Whoever calls holds the turn.
///
/// # Errors
/// When it is refused, or nothing can be read or signed.
pub(crate) async fn prepare(
    shared: &Shared,
    actor: Actor,
    now: Timestamp,
    examined: Examined,
) -> Result<Prepared, Fault> {
    let manifest = match (examined.manifest, examined.findings.first()) {
        (Some(manifest), _) => manifest,
        (None, Some(finding)) => {
            let about = finding.policy.as_ref().map(|policy| format!("{policy}: ")).unwrap_or_default();
            return Err(refused(finding.kind.code(), format!("{about}{}", finding.detail)));
        }
        (None, None) => return Err(refused(codes::MANIFEST_INVALID, "it cannot be read")),
    };
    let source = manifest.source.clone();
    let held = shared.store.manifests(ManifestChoice::Named(&source.name), 1).await?;
    if let Some(held) = held.first().filter(|held| held.version >= source.version) {
        let why = format!(
            "version {} of `{}` is in force, and this is version {}",
            held.version, held.name, source.version
        );
        return Err(refused(codes::MANIFEST_OLDER, why));
    }
    let counter = (shared.store.manifest_counter().await? + 1).max(now.unix_ms());
    let mut manifests = {
        let held = shared.manifests.in_force.read().unwrap_or_else(PoisonError::into_inner);
        held.manifests.clone()
    };
    manifests.insert(source.name.clone(), manifest);
    let limit = |why: String| refused(codes::MANIFEST_LIMIT, why);
    if manifests.len() > MANIFESTS_MAX {
        return Err(limit(format!("more than {MANIFESTS_MAX} manifests")));
    }
    let policies: usize = manifests.values().map(|manifest| manifest.policies.len()).sum();
    if policies > POLICIES_MAX {
        return Err(limit(format!(
            "all manifests together would have {policies} policies, and {POLICIES_MAX} are the most"
        )));
    }
    let point = Arc::new(point(counter, &manifests));
    let (rules, bytes) = point.largest_slice();
    if rules > RULES_MAX || bytes + AROUND_BYTES_MAX > SLICE_BYTES_MAX {
        let why = format!(
            "a device could have {rules} rules of {bytes} bytes; {RULES_MAX} rules and {} bytes are the most",
            SLICE_BYTES_MAX - AROUND_BYTES_MAX
        );
        return Err(limit(why));
    }
    let own = manifests.get(&source.name).map_or(0, |manifest| manifest.policies.len());
    let own = u64::try_from(own).unwrap_or(u64::MAX);
    let text_digest = source.digest();
    let signed =
        Signed { name: source.name.clone(), version: source.version, counter, at: now, text: source.text };
    let key = &shared.keys.orders;
    let unsigned = Unsigned::new(MANIFEST, key.public(), cbor::encode(&signed));
    let signature = key.sign(SignatureForm::Fixed, &unsigned.to_be_signed())?;
    let bytes = unsigned.finish(signature);
    let stored = StoredManifest {
        name: source.name,
        version: source.version,
        counter,
        applied_at: now,
        policies: own,
        digest: digest(&bytes),
    };
    let change = SystemChange::PolicyApplied {
        name: stored.name.clone(),
        version: stored.version,
        counter,
        digest: stored.digest.clone(),
        text: text_digest,
        policies: own,
    };
    let transaction = Transaction {
        at: now,
        actor,
        changes: vec![change.into()],
        writes: Vec::new(),
        system: vec![SystemWrite::Manifest(Box::new(stored.clone()), bytes)],
        answer: None,
    };
    Ok(Prepared { stored, transaction, next: InForce { manifests, point } })
}

/// Who asks, as manifests know it.
pub(crate) fn subject<'a>(device: &'a Device, standing: Standing) -> Subject<'a> {
    let facts = Facts {
        profile: standing.profile,
        evidence: standing.proven.evidence,
        role: device.role,
        channel: device.channel,
    };
    Subject { device: &device.id, group: device.group.as_ref(), facts }
}

/// What the manifests say about a message of a device; nothing of what they do not decide on.
pub(crate) fn on_message(
    point: &Point,
    now: Timestamp,
    subject: Subject<'_>,
    kind: MessageType,
) -> Option<Outcome> {
    let errand = kind.errand().filter(|_| is_governed(kind))?;
    Some(point.decide(now, subject, Sent::Message(kind.name(), errand.as_str())))
}

/// A message of a device on which manifests decide, if they refuse it.
pub(crate) fn refuses_message(
    shared: &Shared,
    device: &Device,
    standing: Standing,
    kind: MessageType,
    now: Timestamp,
) -> bool {
    let point = shared.manifests.point();
    let outcome = on_message(&point, now, subject(device, standing), kind);
    match outcome.filter(|outcome| !outcome.allowed) {
        Some(outcome) => {
            shared.manifests.refused.count(&device.id, &format!("send/{kind}"), outcome);
            true
        }
        None => false,
    }
}

/// Whether the manifests refuse that a device sends something to another one.
pub(crate) fn refuses_peer(
    shared: &Shared,
    device: &Device,
    standing: Standing,
    to: &DeviceId,
    now: Timestamp,
) -> bool {
    let outcome = shared.manifests.point().decide(now, subject(device, standing), Sent::Device(to));
    let allowed = outcome.allowed;
    if !allowed {
        shared.manifests.refused.count(&device.id, &format!("send/{to}"), outcome);
    }
    !allowed
}

/// What a device gets of what is in force; nothing where nothing ever was.
pub(crate) fn slice_for(shared: &Shared, device: &Device, now: Timestamp) -> Option<Slice> {
    let point = shared.manifests.point();
    let slice = || point.slice(&shared.name, &device.id, device.group.as_ref(), device.version, now);
    (point.counter() > 0).then(slice)
}

/// A slice with its signature.
///
/// # Errors
/// When the key fails.
pub(crate) fn signed(shared: &Shared, slice: &Slice) -> Result<Vec<u8>, KeyError> {
    let key = &shared.keys.orders;
    let unsigned = slice.unsigned(key.public());
    let signature = key.sign(SignatureForm::Fixed, &unsigned.to_be_signed())?;
    Ok(unsigned.finish(signature))
}

/// Whether a finding keeps a manifest from being put in force.
pub(crate) fn is_sound(examined: &Examined) -> bool {
    examined.findings.iter().all(|finding| finding.severity == Severity::Warning)
}
