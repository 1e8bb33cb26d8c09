//! Verifying a whole log: every leaf, every signature, every hash, here and not where the log is kept.

use std::{num::NonZero, path::PathBuf, thread};

use clap::Args;
use kos_api::{
    audit::{Assurance, AuditVerdict, LogFailure, LogFailureKind, VerifyLog},
    hex::Digest,
    routes,
};
use kos_audit::{
    self as log, FailureKind, LeafReading, LogCheck, LogKey, Verdict,
    tree::{Bundle, Tile},
};

use super::{NOTE_BYTES_MAX, log_key, owner, source::Source};
use crate::{
    Client, Fault, files,
    session::{Ending, Session},
};

/// `audit verify`
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// A folder with the files of a log: checkpoint, tile/..; needs no server.
    #[arg(long, value_name = "DIR", requires = "key")]
    log: Option<PathBuf>,
    /// The file with the key of the log; without it, the server's word is taken for it.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// An older checkpoint of the same log, which it must extend.
    #[arg(long, value_name = "CHECKPOINT")]
    against: Option<PathBuf>,
    /// Verifies the log that this device has delivered, in place of the authority's own.
    #[arg(long, value_name = "DEVICE", conflicts_with = "log")]
    log_of: Option<String>,
    /// Has the server verify its own log, which is faster and takes its word for it.
    #[arg(long, conflicts_with_all = ["log", "key"])]
    on_server: bool,
}

impl Verify {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let held = match &self.against {
            Some(path) => Some(String::from_utf8_lossy(&files::read(path, NOTE_BYTES_MAX)?).into_owned()),
            None => None,
        };
        let verdict = match (&self.log, self.on_server) {
            (None, true) => {
                let (client, body) = (session.client()?, VerifyLog { against: held });
                let device = owner(&client, self.log_of.as_deref()).await?;
                let (route, values) = match &device {
                    Some(device) => (&routes::DEVICE_LOG_VERIFY, vec![device.as_str()]),
                    None => (&routes::AUDIT_VERIFY, Vec::new()),
                };
                client.ask(route, &values, &serde_json::json!({}), &body).await?
            }
            (Some(folder), _) => {
                let key = log_key(session, self.key.as_deref(), None).await?;
                written(judge(&Source::Folder(folder), &key, held.as_deref()).await?)
            }
            (None, false) => {
                let client: Client = session.client()?;
                let device = owner(&client, self.log_of.as_deref()).await?;
                let key = log_key(session, self.key.as_deref(), Some((&client, device.as_deref()))).await?;
                let source = match &device {
                    Some(device) => Source::DeviceLog(&client, device),
                    None => Source::Server(&client),
                };
                written(judge(&source, &key, held.as_deref()).await?)
            }
        };
        session.printer.item(&verdict)?;
        Ok(Ending::judged(verdict.ok))
    }
}

/// Takes a log apart, leaf by leaf.
pub(crate) async fn judge(source: &Source<'_>, key: &LogKey, held: Option<&str>) -> Result<Verdict, Fault> {
    let mut check = LogCheck::new(key, &[], &source.checkpoint().await?, held);
    for bundle in Bundle::all(check.size()) {
        let stored = check.tile(bundle.tile(), source.tile(bundle.tile()).await?.as_deref());
        let bytes = source.bundle(bundle).await?.unwrap_or_default();
        for (at, reading) in read_leaves(&bytes, key).into_iter().enumerate() {
            check.leaf(reading, stored.get(at).copied());
        }
    }
    for tile in Tile::all(check.size()).filter(|tile| tile.level() > 0) {
        let bytes = source.tile(tile).await?;
        check.tile(tile, bytes.as_deref());
    }
    Ok(check.finish())
}

/// Hashes and verifies the leaves of a bundle, on every processor.
fn read_leaves(bytes: &[u8], key: &LogKey) -> Vec<LeafReading> {
    let leaves: Vec<_> = Bundle::leaves(bytes).collect();
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let share = leaves.len().div_ceil(threads).max(1);
    let read = |part: &[Result<&[u8], log::tree::Torn>]| -> Vec<_> {
        part.iter().map(|leaf| leaf.map_or(LeafReading::torn(), |leaf| LeafReading::of(leaf, key))).collect()
    };
    thread::scope(|scope| {
        let parts: Vec<_> = leaves.chunks(share).map(|part| scope.spawn(move || read(part))).collect();
        // A thread that fell leaves its share out, which then is missing from the log: nothing is passed over.
        parts.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
    })
}

/// The verdict as the API writes it.
fn written(verdict: Verdict) -> AuditVerdict {
    AuditVerdict {
        ok: verdict.is_ok(),
        origin: Some(verdict.origin.as_str().to_owned()),
        size: verdict.head.size,
        root_hash: Some(Digest::from_bytes(*verdict.head.root.as_bytes())),
        checkpoint_time: verdict.checkpoint_time,
        entries_checked: verdict.entries_checked,
        signatures_checked: verdict.signatures_checked,
        assurance: match verdict.assurance {
            log::Assurance::LocalIntegrity => Assurance::LocalIntegrity,
            log::Assurance::HeldCheckpoint => Assurance::HeldCheckpoint,
            log::Assurance::Witnessed => Assurance::Witnessed,
        },
        failures: verdict
            .failures
            .into_iter()
            .map(|failure| LogFailure {
                index: failure.index,
                kind: kind(failure.kind),
                detail: failure.detail,
            })
            .collect(),
        failures_found: verdict.failures_found,
    }
}

const fn kind(kind: FailureKind) -> LogFailureKind {
    match kind {
        FailureKind::Edited => LogFailureKind::Edited,
        FailureKind::Deleted => LogFailureKind::Deleted,
        FailureKind::Reordered => LogFailureKind::Reordered,
        FailureKind::Truncated => LogFailureKind::Truncated,
        FailureKind::Forked => LogFailureKind::Forked,
        FailureKind::Rewound => LogFailureKind::Rewound,
        FailureKind::Torn => LogFailureKind::Torn,
        FailureKind::BadSignature => LogFailureKind::BadSignature,
    }
}
