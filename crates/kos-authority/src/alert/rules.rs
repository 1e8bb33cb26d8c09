//! The rules in force: signed by the log's key, kept in the store, and vouched for by the log.
//!
//! Which file is the newest, the last `alert_rules_changed` says that refused none: its digest. A file that is damaged,
//! older or gone is refused, and the built-in rules are in force until somebody applies others.
//!
//! Source: ALR-13, ALR-21.

use data_encoding::BASE64;
use kos_audit::{
    Entry, SealedEntry,
    alert::{
        RuleFile, RuleSet,
        signed::{self, NumberedFile, UnsignedFile},
    },
};
use kos_base::{Code, Timestamp, code, digest::Sha256, text::printable};
use kos_identity::registry::Actor;

use crate::{
    authority::Shared,
    record::SystemChange,
    store::{Setting, StoreError},
    writer::{SystemWrite, Transaction},
};

/// Entries that are looked at together for the last one that counts.
const LOOKED_AT: u32 = 64;

/// What is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InForce {
    /// 0 when nobody changed anything yet.
    pub(crate) counter: u64,
    pub(crate) digest: Option<Sha256>,
    pub(crate) file: RuleFile,
    pub(crate) set: RuleSet,
}

/// The last file that the log tells of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Anchor {
    counter: u64,
    digest: Option<Sha256>,
    /// Where it does.
    position: Option<u64>,
}

/// Why there is no file in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RulesFault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{why}")]
    Refused { code: Code, why: String },
}

fn damaged(why: impl Into<String>) -> RulesFault {
    RulesFault::Refused { code: code::audit::ALERT_RULES_DAMAGED, why: why.into() }
}

/// The rules that are to be in force.
///
/// # Errors
/// [`RulesFault::Refused`] when what is kept is not what was signed last.
pub(crate) async fn load(shared: &Shared) -> Result<InForce, RulesFault> {
    let anchor = match anchor(shared).await {
        Err(StoreError::Damaged { .. }) => {
            return Err(damaged("the entry that tells of the rules is damaged"));
        }
        found => found?,
    };
    let kept = match shared.store.setting(Setting::AlertRules).await {
        Ok(kept) => kept,
        Err(StoreError::Damaged { .. }) => return Err(damaged("the row of the rules is damaged")),
        Err(error) => return Err(error.into()),
    };
    let (kept, wanted) = match (kept, anchor.digest) {
        (None, None) => {
            let (file, set) = (RuleFile::default(), RuleSet::built_in());
            return Ok(InForce { counter: 0, digest: None, file, set });
        }
        (None, Some(_)) => return Err(damaged("the rules are gone")),
        (Some(_), None) => return Err(damaged("the log tells of no such rules")),
        (Some(kept), Some(wanted)) => (kept, wanted),
    };
    let bytes = BASE64.decode(kept.as_bytes()).map_err(|_| damaged("the rules are not base64"))?;
    let opened = signed::open(&bytes, shared.log.key()).map_err(|error| damaged(error.to_string()))?;
    let NumberedFile { counter, file } = opened;
    if signed::digest(&bytes) != wanted {
        let code = code::audit::ALERT_RULES_OLDER;
        let why = format!("the rules have number {counter}, the log tells of number {}", anchor.counter);
        return Err(RulesFault::Refused { code, why });
    }
    let set = RuleSet::of(&file).map_err(|error| RulesFault::Refused {
        code: error.code(),
        why: printable(&error.to_string(), 200),
    })?;
    Ok(InForce { counter, digest: Some(wanted), file, set })
}

/// Signs a file, and what puts it in force with its entry. Until that is committed nobody else may prepare one.
///
/// # Errors
/// When the store cannot be read, or the file is too long.
pub(crate) async fn prepare(
    shared: &Shared,
    actor: Actor,
    now: Timestamp,
    (file, set): (RuleFile, RuleSet),
) -> Result<(Transaction, InForce), RulesFault> {
    let counter = anchor(shared).await?.counter + 1;
    let numbered = NumberedFile { counter, file };
    let refused =
        |error: signed::SignedError| RulesFault::Refused { code: error.code(), why: error.to_string() };
    let unsigned = UnsignedFile::new(&numbered, shared.log.key()).map_err(refused)?;
    let signature = shared.log.sign(&unsigned.to_be_signed())?;
    let bytes = unsigned.finish(signature);
    let digest = signed::digest(&bytes);
    let change =
        SystemChange::AlertRulesChanged { counter, digest, removed: set.removed().to_vec(), refused: None };
    let setting = SystemWrite::Setting(Setting::AlertRules, Some(BASE64.encode(&bytes)));
    let transaction = Transaction {
        at: now,
        actor,
        changes: vec![change.into()],
        writes: Vec::new(),
        system: vec![setting],
        answer: None,
    };
    Ok((transaction, InForce { counter, digest: Some(digest), file: numbered.file, set }))
}

/// Records that what is kept is not in force.
pub(super) async fn record_refusal(shared: &Shared, now: Timestamp, code: Code) -> Result<(), StoreError> {
    let Anchor { counter, digest, .. } = match anchor(shared).await {
        Err(StoreError::Damaged { .. }) => Anchor::default(),
        found => found?,
    };
    let change = SystemChange::AlertRulesChanged {
        counter,
        digest: digest.unwrap_or_default(),
        removed: Vec::new(),
        refused: Some(code),
    };
    shared.writer.commit(Transaction::own(now, vec![change.into()], Vec::new())).await.map(drop)
}

/// Whether an engine that takes the entry `next` is beyond the entry that put the newest rules in force.
pub(super) async fn are_due(shared: &Shared, next: u64) -> Result<bool, StoreError> {
    match anchor(shared).await {
        // They are refused.
        Err(StoreError::Damaged { .. }) => Ok(true),
        found => Ok(found?.position.is_none_or(|position| position < next)),
    }
}

/// What the log says about the newest file.
async fn anchor(shared: &Shared) -> Result<Anchor, StoreError> {
    let mut before = u64::MAX;
    loop {
        let places = shared.store.rule_changes(before, LOOKED_AT).await?;
        for place in &places {
            let entry = entry_at(shared, *place).await?;
            let details = entry.details.members();
            if details.get("refused").is_some_and(|refused| !refused.is_null()) {
                continue;
            }
            let unsound = || StoreError::Damaged { table: "entries", row: place.to_string() };
            let counter = details.get("counter").and_then(serde_json::Value::as_u64).ok_or_else(unsound)?;
            let digest = details.get("digest").and_then(|digest| {
                data_encoding::HEXLOWER.decode(digest.as_str()?.as_bytes()).ok()?.try_into().ok()
            });
            return Ok(Anchor { counter, digest: Some(digest.ok_or_else(unsound)?), position: Some(*place) });
        }
        match places.last() {
            Some(last) => before = *last,
            None => return Ok(Anchor::default()),
        }
    }
}

/// An entry that this log's key signed.
pub(super) async fn entry_at(shared: &Shared, place: u64) -> Result<Entry, StoreError> {
    let unsound = || StoreError::Damaged { table: "entries", row: place.to_string() };
    let row = shared.store.entry(place).await?.ok_or_else(unsound)?;
    let verified = SealedEntry::from_bytes(row.leaf).verify(shared.log.key()).map_err(|_| unsound())?;
    Ok(verified.entry().clone())
}
