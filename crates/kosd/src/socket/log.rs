//! The routes of the device's own log. They read as those of an authority, so that one client serves both.

use hyper::StatusCode;
use kos_api::{
    Kind as _, Problem,
    audit::AuditEntry,
    envelope::{API_VERSION, list_kind},
    routes::LOCAL_AUDIT_CHECKPOINT,
};
use kos_base::code;
use serde_json::json;
use tokio::sync::mpsc;

use super::{
    Filter, Question,
    answer::{Answer, Refusal, answer_of, ask, document},
};

/// Entries of a page when nobody says how many.
const PAGE: usize = 100;
/// Most entries of a page.
const PAGE_MAX: usize = 500;

pub(super) async fn route(
    device: &mpsc::Sender<Question>,
    path: &str,
    query: Option<&str>,
) -> Result<Answer, Refusal> {
    let missing = |what: &str| Refusal::from(Problem::new(code::config::NOT_FOUND).with_detail(what));
    if path == LOCAL_AUDIT_CHECKPOINT.path {
        let head = ask(device, Question::LogHead).await?;
        return document(head.ok_or_else(|| missing("this device has no log yet"))?);
    }
    if let Some(file) = path.strip_prefix("/api/v1/audit/log/") {
        let file = file.to_owned();
        let bytes = ask(device, |reply| Question::LogFile(file, reply)).await?;
        let bytes = bytes.ok_or_else(|| missing("no such file of the log"))?;
        return Ok(answer_of(StatusCode::OK, "application/octet-stream", bytes));
    }
    if path != kos_api::routes::LOCAL_AUDIT_LIST.path {
        return Err(missing("a device has no such route"));
    }
    let filter = filter(query.unwrap_or_default())?;
    let (items, next) = ask(device, |reply| Question::Log(filter, reply)).await?;
    let list = json!({
        "apiVersion": API_VERSION, "kind": list_kind(AuditEntry::KIND), "items": items,
        "next": next.map(|next| next.to_string()),
    });
    Ok(answer_of(StatusCode::OK, "application/json", list.to_string().into_bytes()))
}

/// The filter of an authority, without those fields that a device's log has no use for.
fn filter(query: &str) -> Result<Filter, Refusal> {
    let bad = |what: &str| {
        let detail = format!("`{}` is not a filter of a device's log", kos_base::text::printable(what, 40));
        Refusal::from(Problem::new(code::config::BAD_REQUEST).with_detail(detail))
    };
    let mut filter = Filter { limit: PAGE, ..Filter::default() };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| bad(pair))?;
        // Times are all that is written with an escape.
        let value = value.replace("%3A", ":");
        let refused = |_| bad(pair);
        match name {
            "eventType" => filter.event = Some(value),
            "since" => filter.since = Some(value.parse().map_err(|_| bad(pair))?),
            "until" => filter.until = Some(value.parse().map_err(|_| bad(pair))?),
            "cursor" => filter.from = value.parse().map_err(refused)?,
            "limit" => filter.limit = value.parse().map_err(refused)?,
            _ => return Err(bad(pair)),
        }
    }
    if (1..=PAGE_MAX).contains(&filter.limit) { Ok(filter) } else { Err(bad("limit")) }
}
