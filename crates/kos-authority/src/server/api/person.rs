//! What the authority holds of a person, store by store: given to whoever has a right to it, and told to whoever erases it.
//!
//! Invariants: an export is recorded before it leaves, under hashes of keys and not by name. Of everybody else it holds no
//! name. No store is passed over in silence: those that hold nothing of people, and those that nobody can look into, are listed
//! with the reason.
//!
//! What it does not do: search what people typed freely (names of devices, groups, tags, reasons), and what is outside of the
//! store.
//!
//! Source: `docs/spec/audit.md`, AUD-83, AUD-84 and AUD-106.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse as _, Response},
};
use kos_api::{
    Document,
    audit::{AuditEntry, OlderBackup},
    person::{ExportPerson, PersonExport, PersonSubject, StoreOfPerson},
};
use kos_audit::EventType;
use kos_base::{Name, code};
use kos_identity::registry::Revocation;
use kos_net::accept::source_of;
use kos_policy::pairing::Partner;

use super::{
    answer::Refusal,
    call::{Body, RequestId},
    entry,
    export::harmless,
    guardians,
    lifecycle::Demanded,
    operators,
};
use crate::{
    alert::{Guardian, Way},
    authority::Shared,
    clock,
    erasure::guardians_of,
    quarantine::approved_by,
    record::{Person, SystemChange},
    search::{Order, Query},
    store::{Operator, StoreError, Subject},
    writer::Transaction,
};

/// Backups that an answer lists.
const BACKUPS_MAX: u32 = 100;
/// Entries of an export; more would fill the memory of both ends.
const ENTRIES_MAX: u64 = 10_000;
/// Records that are read at a time.
const PAGE: u32 = 200;
/// Vaults that are looked at for holders of shares.
const VAULTS_MAX: u32 = 1_000;

/// What the tables hold of somebody.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) operators: Vec<Operator>,
    pub(super) revocations: Vec<Revocation>,
    pub(super) guardians: Vec<Guardian>,
    /// Pairings of devices with them, ended ones too.
    pairings: usize,
    /// Vaults that list the name as holder of a share.
    pub(super) vaults: Vec<String>,
    /// Open cases of quarantine in which they have approved the return.
    cases: usize,
    /// Entries that speak of them, archived ones left out.
    pub(super) entries: u64,
    /// Entries that are in an archive.
    archived: u64,
    /// Copies of the log.
    copies: usize,
    has_mail: bool,
}

/// What the stores are listed for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Exported,
    Erased,
}

pub(super) async fn export(
    State(shared): State<Arc<Shared>>,
    asked: Body<Demanded<ExportPerson>>,
) -> Result<Response, Refusal> {
    let id = asked.id;
    let wanted = asked.body.get()?;
    let (people, name) = people(wanted.person.as_deref(), wanted.address.as_deref(), id)?;
    let found = subjects(&shared, &people).await?;
    let at = clock::now();
    let held = held(&shared, &people, &found, &name).await.map_err(|refusal| refusal.under(id))?;
    // Who holds a share, and has not brought it yet, stands in the vault alone.
    if found.is_empty() && held.vaults.is_empty() {
        return Err(Refusal::new(code::audit::PERSON_UNKNOWN).under(id));
    }
    let change = SystemChange::PersonExported {
        subjects: found.iter().map(|(_, subject)| subject.id.clone()).collect(),
        entries: held.entries,
    };
    let transaction =
        Transaction { actor: asked.who.actor(), ..Transaction::own(at, vec![change.into()], Vec::new()) };
    let receipt = shared.writer.commit(transaction).await.map_err(|e| Refusal::from(e).under(id))?;
    let (backups, backups_found) = backups(&shared, &found).await.map_err(|refusal| refusal.under(id))?;
    let mut guardians = Vec::with_capacity(held.guardians.len());
    for guardian in &held.guardians {
        guardians.push(guardians::view(&shared, guardian).await?);
    }
    let exported = PersonExport {
        name,
        subjects: found
            .iter()
            .map(|(person, subject)| PersonSubject {
                subject: subject.id.clone(),
                kind: person.kind().to_owned(),
            })
            .collect(),
        exported_at: at,
        audit_index: receipt.first,
        operators: held
            .operators
            .iter()
            .map(|operator| operators::view(operator, at))
            .collect::<Result<_, _>>()?,
        guardians,
        revocations: held.revocations.iter().map(|one| data_encoding::HEXLOWER.encode(&one.serial)).collect(),
        entries: entries(&shared, &found).await.map_err(|refusal| refusal.under(id))?,
        entries_found: held.entries,
        backups,
        stores: held.stores(Deed::Exported, backups_found),
        vaults: held.vaults,
    };
    let text =
        serde_json::to_string(&Document::new(exported)).map_err(|e| StoreError::Failed(e.to_string()))?;
    Ok(([(CONTENT_TYPE, "application/json")], harmless(&text)).into_response())
}

/// Whom a request means, and the name that it says.
pub(super) fn people(
    person: Option<&str>,
    address: Option<&str>,
    id: RequestId,
) -> Result<(Vec<Person>, String), Refusal> {
    let bad = |why: &str| Refusal::new(code::config::BAD_REQUEST).saying(why).under(id);
    match (person, address) {
        (Some(name), None) if !name.is_empty() => Ok((Person::named(name), name.to_owned())),
        (None, Some(address)) => {
            let address: IpAddr = address.parse().map_err(|_| bad("this is not a network address"))?;
            let source = source_of(address).to_string();
            Ok((vec![Person::Address(source.clone())], source))
        }
        _ => Err(bad("either a person or an address")),
    }
}

/// Who of them the log knows.
pub(super) async fn subjects(
    shared: &Shared,
    people: &[Person],
) -> Result<Vec<(Person, Subject)>, StoreError> {
    let mut found = Vec::new();
    for person in people {
        if let Some(subject) = shared.store.subject_of(&person.subject()).await? {
            found.push((person.clone(), subject));
        }
    }
    Ok(found)
}

/// Who of them is an operator.
pub(super) fn operator(people: &[Person]) -> Option<&Name> {
    people.iter().find_map(|person| match person {
        Person::Operator(name) => Some(name),
        _ => None,
    })
}

/// The backups that hold one of these keys, the newest first, and how many there are: all since the log first spoke of it, or
/// all, when the entries that may have done so first are archived.
pub(super) async fn backups(
    shared: &Shared,
    found: &[(Person, Subject)],
) -> Result<(Vec<OlderBackup>, u64), Refusal> {
    let first = shared.search.find(&shared.store, &about(found), Order::Oldest, None, 1).await?;
    // The entry that a person made the first backup with speaks of them itself.
    let from = match shared.store.archived().await? {
        0 => first.first().map_or(0, |row| row.position),
        _ => 0,
    };
    let (newest, total) = shared.store.newest_of(EventType::BackupCreated, from, BACKUPS_MAX).await?;
    Ok((newest.iter().map(|row| OlderBackup { index: row.position, created_at: row.at }).collect(), total))
}

/// What the tables hold of them.
pub(super) async fn held(
    shared: &Shared,
    people: &[Person],
    found: &[(Person, Subject)],
    name: &str,
) -> Result<Held, Refusal> {
    let store = &shared.store;
    let mut held = Held {
        entries: shared.search.count(store, &about(found), u64::MAX).await?,
        archived: store.archived().await?,
        copies: store.mirrors().await?.len(),
        ..Held::default()
    };
    let guardians = store.guardians().await?;
    held.has_mail = guardians.iter().any(|guardian| matches!(guardian.way, Way::Mail { .. }));
    for anchor in store.anchors(VAULTS_MAX).await? {
        if anchor.sharing.is_some_and(|sharing| sharing.public.holders.iter().any(|holder| holder == name)) {
            held.vaults.push(anchor.environment.to_string());
        }
    }
    let actors: Vec<_> = people.iter().filter_map(Person::actor).collect();
    held.cases = approved_by(store, &actors).await?.len();
    let Some(operator) = operator(people) else { return Ok(held) };
    held.guardians = guardians_of(store, operator).await?;
    let mut after = None;
    loop {
        let page = store.operators(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        held.operators.extend(page.into_iter().filter(|record| record.name == *operator));
    }
    for record in &held.operators {
        held.pairings += store.pairings_with(&Partner::User(record.id)).await?.len();
    }
    if held.operators.iter().any(|record| record.removed) {
        let is_theirs = |one: &Revocation| {
            held.operators.iter().any(|record| record.issuer == one.issuer && record.serial == one.serial)
        };
        held.revocations = store.revocations().await?.into_iter().filter(is_theirs).collect();
    }
    Ok(held)
}

/// What finds the entries that speak of them.
pub(super) fn about(found: &[(Person, Subject)]) -> Query {
    Query { person: Some(found.iter().map(|(_, subject)| subject.id.clone()).collect()), ..Query::default() }
}

/// The entries that speak of them, with their name opened and nobody else's.
async fn entries(shared: &Shared, found: &[(Person, Subject)]) -> Result<Vec<AuditEntry>, Refusal> {
    let is_theirs = |subject: &str| found.iter().any(|(_, theirs)| theirs.id == subject);
    let (query, mut all, mut after) = (about(found), Vec::new(), None);
    loop {
        let rows = shared.search.find(&shared.store, &query, Order::Oldest, after, PAGE).await?;
        let is_last = rows.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
        for row in rows {
            after = Some(row.position);
            all.push(entry::opened(shared, &row, &is_theirs).await?);
        }
        if is_last || u64::try_from(all.len()).unwrap_or(u64::MAX) >= ENTRIES_MAX {
            return Ok(all);
        }
    }
}

impl Held {
    /// Every store of the authority, with what was done there and what stays.
    pub(super) fn stores(&self, deed: Deed, backups: u64) -> Vec<StoreOfPerson> {
        let is_erased = deed == Deed::Erased;
        let count = |len: usize| Some(u64::try_from(len).unwrap_or(u64::MAX));
        let store = |name: &str, found: Option<u64>, [exported, erased]: [&str; 2], left: Option<&str>| {
            let done = if is_erased { erased } else { exported };
            let (store, done, left) = (name.to_owned(), done.to_owned(), left.map(str::to_owned));
            StoreOfPerson { store, found, done, left }
        };
        let serving = self.operators.iter().any(|operator| !operator.removed);
        let left = |erased: Option<&'static str>, exported: Option<&'static str>| {
            if is_erased { erased } else { exported }
        };
        let few =
            (self.entries > ENTRIES_MAX).then_some("those beyond 10000: kosctl audit export --person NAME");
        vec![
            store(
                "log",
                Some(self.entries),
                ["under `entries`", "the key is destroyed, so that no entry names them"],
                left((self.entries > 0).then_some("the entries: every proof of the log rests on them"), few),
            ),
            store(
                "operators",
                count(self.operators.len()),
                ["under `operators`", "those that were removed are called `erased`"],
                left(
                    serving.then_some("an operator in service keeps the name: remove it, and erase again"),
                    None,
                ),
            ),
            store(
                "revocations",
                count(self.revocations.len()),
                ["under `revocations`", "the name is taken out"],
                left(
                    (!self.revocations.is_empty())
                        .then_some("serial numbers, by which the certificates stay refused"),
                    None,
                ),
            ),
            store(
                "guardians",
                count(self.guardians.len()),
                ["under `guardians`", "removed"],
                self.has_mail.then_some("addresses of mail: whose they are, only people know"),
            ),
            store(
                "pairings",
                count(self.pairings),
                ["have the id of the operator's record; which devices, the entries say", "hold no name"],
                None,
            ),
            store(
                "cases",
                count(self.cases),
                [
                    "hold a hash of who approved a return, under a salt of the case; which devices, the entries say",
                    "random bytes in place of the hash",
                ],
                left(
                    (serving && self.cases > 0).then_some("the hash, while the operator is in service"),
                    None,
                ),
            ),
            store(
                "forensics",
                None,
                [
                    "not opened: each is sealed by its device for guardians",
                    "nothing: nobody here can open them",
                ],
                Some("what devices said of themselves, in which people may be named: guardians can tell"),
            ),
            store(
                "vaults",
                count(self.vaults.len()),
                ["under `vaults`", "nothing"],
                left(
                    (!self.vaults.is_empty())
                        .then_some("the name among the holders of shares, until the vault is shared again"),
                    Some("secrets, which only who opens the vault can read"),
                ),
            ),
            store(
                "alerts",
                Some(0),
                [
                    "name nobody; who acknowledged stands in the log",
                    "name nobody; who acknowledged stood in the log",
                ],
                None,
            ),
            store("search-index", Some(0), ["holds no name", "holds no name"], None),
            store(
                "answers",
                None,
                ["sealed", "nothing: they are sealed under keys that only callers have"],
                Some("answers to repeated requests, for 24 hours"),
            ),
            store(
                "devices",
                None,
                ["not searched", "nothing"],
                Some("what people typed: names of devices, groups, tags, reasons"),
            ),
            store(
                "archives",
                None,
                ["not read", "sealed under the same key"],
                (self.archived > 0).then_some("archived entries, which only their keepers reach"),
            ),
            store(
                "copies",
                count(self.copies),
                ["not read", "sealed under the same key"],
                (self.copies > 0).then_some("the entries, as in the log"),
            ),
            store(
                "backups",
                Some(backups),
                ["named, and not opened", "nothing: they are encrypted, and elsewhere"],
                (backups > 0).then_some("the key, until each of them is destroyed"),
            ),
        ]
    }
}
