//! The log as C2SP tlog-tiles wants it served: `checkpoint`, `tile/LEVEL/INDEX[.p/WIDTH]`, `tile/entries/INDEX[.p/WIDTH]`,
//! below `/api/v1/audit/log/`.
//!
//! What is immutable says so; the checkpoint has to be asked for again. A partial piece is there as long as the log is, also
//! when its file gave way to a wider one. Entries come as gzip to who asks for that.
//!
//! Source: C2SP tlog-tiles; `docs/spec/audit.md` AUD-70, AUD-71.

use std::{io::Write as _, sync::Arc};

use axum::{
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use flate2::{Compression, write::GzEncoder};
use kos_audit::tree::Piece;
use kos_base::{code, text::printable};

use super::{answer::Refusal, call::Context};
use crate::{authority::Shared, log::piece, server::caching, store::StoreError};

/// Tiles and bundles never change.
const FOR_EVER: &str = "max-age=31536000, immutable";
/// The checkpoint does, whenever something happens.
const NEVER: &str = "no-cache";

/// A file of the log.
pub(super) async fn file(
    State(shared): State<Arc<Shared>>,
    context: Context,
    headers: HeaderMap,
    Path(path): Path<String>,
) -> Result<Response, Refusal> {
    let failed = |why: String| Refusal::from(StoreError::Failed(why)).under(context.id);
    let read = shared.log_files.read(&path).map_err(|e| failed(e.to_string()))?;
    let parsed = Piece::parse(&path);
    let found = match (read, parsed) {
        (Some(bytes), _) => Some(bytes),
        (None, Some(wanted)) => {
            piece(&shared.store, wanted).await.map_err(|e| Refusal::from(e).under(context.id))?
        }
        (None, None) => None,
    };
    if let (None, Some(Piece::Bundle(bundle))) = (&found, parsed)
        && let Some(archive) = shared.store.archive_of(bundle.first_leaf()).await.map_err(Refusal::from)?
    {
        return Err(super::audit::archived(bundle.first_leaf(), &archive).under(context.id));
    }
    let bytes = found.ok_or_else(|| {
        Refusal::new(code::config::NOT_FOUND).about("log file", &printable(&path, 80)).under(context.id)
    })?;
    let Some(piece) = parsed else {
        return Ok(caching::answer(&headers, "text/plain; charset=utf-8", NEVER, bytes));
    };
    if !matches!(piece, Piece::Bundle(_)) {
        return Ok(caching::answer(&headers, "application/octet-stream", FOR_EVER, bytes));
    }
    let squeezed = takes_gzip(&headers);
    let bytes = if squeezed {
        let work = tokio::task::spawn_blocking(move || gzip(&bytes));
        work.await.map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))?
    } else {
        bytes
    };
    let mut response = caching::answer(&headers, "application/octet-stream", FOR_EVER, bytes);
    if squeezed && response.status().is_success() {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    Ok(response)
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    // Signatures do not shrink, and the rest does at the lowest level already.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// Whether the asker names gzip, and not in order to refuse it.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let named = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut codings = named.flat_map(|value| value.split(','));
    codings.any(|coding| {
        let (name, rest) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = rest.trim().strip_prefix("q=").and_then(|weight| weight.trim().parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case("gzip") && weight != Some(0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_who_asks_for_it() {
        for (asked, takes) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("gzip, identity", true),
            ("identity", false),
            ("gzip;q=0", false),
            ("x-gzip", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, asked.parse().unwrap())]);
            assert_eq!(takes_gzip(&headers), takes, "{asked}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
