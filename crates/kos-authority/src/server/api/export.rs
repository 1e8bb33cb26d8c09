//! Entries as one file: recorded first, then sent as they are read, so that a log of any length takes little memory.
//!
//! Shape: the entries that fit and are in the log when it is asked for, counted, recorded (`audit_exported`), and sent page by
//! page. An answer that cannot be finished breaks off, so that a part is never taken for the whole.
//!
//! Invariants: names and addresses of people are opened for administrators only. What is recorded of the filter holds none.
//!
//! Source: `docs/spec/audit.md`, AUD-88 and AUD-89.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use kos_api::{
    Document,
    audit::{AuditEntry, AuditFilter, ExportAudit, ExportFormat, LeftOut},
    csv,
};
use kos_base::{AuthorityName, DeviceId, EntryId, KeyId};
use serde_json::{Map, Value};

use super::{
    answer::Refusal,
    audit::left_out,
    call::Body,
    entry,
    lifecycle::Demanded,
    search,
    stream::{Ended, Outlet, Seat},
};
use crate::{
    authority::Shared,
    clock,
    record::SystemChange,
    search::{Order, Query},
    writer::Transaction,
};

/// Entries that are read at a time.
const PAGE: u32 = 128;

/// The cells of a row.
const HEADER: [&str; 12] = [
    "index",
    "leafHash",
    "timestamp",
    "eventType",
    "actorType",
    "actorId",
    "targetType",
    "targetId",
    "details",
    "id",
    "keyId",
    "signature",
];

pub(super) async fn export(
    State(shared): State<Arc<Shared>>,
    seat: Seat,
    asked: Body<Demanded<ExportAudit>>,
) -> Result<Response, Refusal> {
    let wanted = asked.body.get()?.clone();
    let ExportAudit { format, event_type, actor, target, device, person, since, until } = wanted;
    let filter =
        AuditFilter { event_type, actor, target, device, person, since, until, ..AuditFilter::default() };
    let query = search::query(&shared, &seat.context, &filter).await?;
    let (who, _) = asked.by();
    let opens = who.sees_names();
    let size = shared.writer.progress().borrow().log_size;
    let under = |error| Refusal::from(error).under(seat.context.id);
    let entries = shared.search.count(&shared.store, &query, size).await.map_err(under)?;
    let change = SystemChange::AuditExported {
        format: format.as_str(),
        entries,
        names: opens,
        filter: recorded(&shared.name, &filter, &query),
    };
    let transaction = Transaction {
        actor: asked.who.actor(),
        ..Transaction::own(clock::now(), vec![change.into()], Vec::new())
    };
    shared.writer.commit(transaction).await.map_err(|e| Refusal::from(e).under(seat.context.id))?;
    let kind = match format {
        ExportFormat::Csv => "text/csv; charset=utf-8; header=present",
        ExportFormat::Json => "application/json",
        ExportFormat::Jsonl => "application/jsonl",
    };
    let archived = left_out(&shared, &filter, false).await?;
    let sending = Sending { shared: Arc::clone(&shared), query, format, opens, size, archived };
    seat.send(&shared, kind, |outlet| sending.run(outlet))
}

/// The filter as the log may keep it: no text that somebody typed and that could be a name.
fn recorded(authority: &AuthorityName, filter: &AuditFilter, query: &Query) -> Map<String, Value> {
    let is_no_name = |id: &str| {
        id == authority.as_ref()
            || id.parse::<DeviceId>().is_ok()
            || id.parse::<EntryId>().is_ok()
            || id.parse::<KeyId>().is_ok()
    };
    let ids = |typed: &Option<String>, found: &Option<Vec<String>>| {
        typed.as_ref().map(|typed| {
            let found = found.iter().flatten();
            let kept = found.filter(|id| *id != typed || is_no_name(id)).map(|id| Value::from(id.as_str()));
            Value::Array(kept.collect())
        })
    };
    let all = [
        ("event", query.event.map(|event| Value::from(event.as_str()))),
        ("actor", ids(&filter.actor, &query.actor)),
        ("target", ids(&filter.target, &query.target)),
        ("device", query.device.as_deref().map(Value::from)),
        ("person", ids(&filter.person, &query.person)),
        ("since", query.since.map(|at| Value::from(at.to_string()))),
        ("until", query.until.map(|at| Value::from(at.to_string()))),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// An export on its way.
struct Sending {
    shared: Arc<Shared>,
    query: Query,
    format: ExportFormat,
    opens: bool,
    size: u64,
    archived: Option<LeftOut>,
}

impl Sending {
    async fn run(self, outlet: Outlet) -> Result<(), Ended> {
        let mut out = String::new();
        match self.format {
            ExportFormat::Csv => csv::push_row(&mut out, HEADER),
            ExportFormat::Json => {
                out.push_str(r#"{"apiVersion":"kos.v1","kind":"AuditEntryList","items":["#);
            }
            ExportFormat::Jsonl => {}
        }
        let (mut after, mut is_first) = (None, true);
        loop {
            outlet.check().await?;
            let found =
                self.shared.search.find(&self.shared.store, &self.query, Order::Oldest, after, PAGE).await;
            let rows = found.map_err(|error| {
                tracing::error!(%error, "an export was not finished");
                Ended
            })?;
            let is_last = rows.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
            let mut beyond = false;
            for row in rows {
                after = Some(row.position);
                if row.position >= self.size {
                    beyond = true;
                    break;
                }
                let shown = if self.opens {
                    entry::shown(&self.shared, &row).await
                } else {
                    entry::sealed(&self.shared, &row)
                };
                let shown = shown.map_err(|error| {
                    tracing::error!(%error, "an export was not finished");
                    Ended
                })?;
                self.push(&mut out, shown, std::mem::take(&mut is_first))?;
            }
            outlet.raw(std::mem::take(&mut out).into_bytes()).await?;
            if is_last || beyond {
                break;
            }
        }
        if self.format == ExportFormat::Json {
            let archived =
                self.archived.as_ref().map(serde_json::to_string).transpose().map_err(|_| Ended)?;
            let archived = archived.map(|archived| format!(r#","archived":{}"#, harmless(&archived)));
            let end = format!("],\"next\":null{}}}\n", archived.unwrap_or_default());
            outlet.raw(end.into_bytes()).await?;
        }
        Ok(())
    }

    fn push(&self, out: &mut String, shown: AuditEntry, is_first: bool) -> Result<(), Ended> {
        match self.format {
            ExportFormat::Csv => {
                let details = harmless(&serde_json::to_string(&shown.details).map_err(|_| Ended)?);
                let (index, leaf) = (shown.index.to_string(), shown.leaf_hash.to_string());
                let (at, id, key) =
                    (shown.timestamp.to_string(), shown.id.to_string(), shown.key_id.to_string());
                let signature = shown.signature.to_string();
                let target = shown.target.as_ref();
                csv::push_row(
                    out,
                    [
                        index.as_str(),
                        &leaf,
                        &at,
                        &shown.event_type,
                        &shown.actor.kind,
                        shown.actor.id.as_deref().unwrap_or_default(),
                        target.map_or("", |target| target.kind.as_str()),
                        target.and_then(|target| target.id.as_deref()).unwrap_or_default(),
                        &details,
                        &id,
                        &key,
                        &signature,
                    ],
                );
            }
            ExportFormat::Json => {
                out.push_str(if is_first { "\n" } else { ",\n" });
                out.push_str(&harmless(&serde_json::to_string(&shown).map_err(|_| Ended)?));
            }
            ExportFormat::Jsonl => {
                out.push_str(&harmless(&serde_json::to_string(&Document::new(shown)).map_err(|_| Ended)?));
                out.push('\n');
            }
        }
        Ok(())
    }
}

/// JSON with every character escaped that a terminal might obey; the same document.
pub(super) fn harmless(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if kos_base::text::is_safe(c) {
            out.push(c);
        } else {
            let mut units = [0; 2];
            out.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    out
}
