//! Entries as one file.

use std::path::PathBuf;

use aws_lc_rs::digest::{Context, SHA256};
use clap::{Args, ValueEnum};
use kos_api::{
    List,
    audit::{AuditEntry, AuditFilter, ExportAudit, ExportFormat},
    backup::SealedFile as Written,
    routes,
};
use kos_base::text::printable;

use super::{super::follow::note_archived, filter::Filter};
use crate::{
    Fault,
    files::{self, Draft, Readers},
    output::write_bytes,
    session::{Ending, Session},
};

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A row an entry, for spreadsheets; nothing in it is a formula.
    Csv,
    /// One document with all entries.
    Json,
    /// A document an entry, one a line.
    Jsonl,
}

/// `audit export`
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The form of the file.
    #[arg(long, value_enum, default_value = "csv")]
    format: Form,
    /// Where it is written when it is whole; without it, to stdout.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replaces a file that is there.
    #[arg(long, requires = "out")]
    force: bool,
    #[command(flatten)]
    filter: Filter,
}

impl Export {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        if let Some(out) = self.out.as_ref().filter(|_| !self.force) {
            files::keep(out)?;
        }
        let client = session.client()?;
        let filter = self.filter.asked(&client).await?;
        // What is exported says nothing of what is not, but as JSON.
        let asked = AuditFilter { limit: Some(1), ..filter.clone() };
        let page: List<AuditEntry> = client.list(&routes::AUDIT_LIST, &[], &asked).await?;
        let AuditFilter { event_type, actor, target, device, person, since, until, .. } = filter;
        let format = match self.format {
            Form::Csv => ExportFormat::Csv,
            Form::Json => ExportFormat::Json,
            Form::Jsonl => ExportFormat::Jsonl,
        };
        let body = ExportAudit { format, event_type, actor, target, device, person, since, until };
        let tell = || {
            if let Some(archived) = &page.archived {
                note_archived(session, archived);
            }
        };
        let Some(out) = self.out else {
            client.download(&routes::AUDIT_EXPORT, &body, write_bytes).await?;
            tell();
            return Ok(Ending::Done);
        };
        let mut draft = Draft::start(&out, Readers::Owner)?;
        let (mut digest, mut bytes) = (Context::new(&SHA256), 0);
        let take = |piece: &[u8]| {
            digest.update(piece);
            bytes += u64::try_from(piece.len()).unwrap_or(u64::MAX);
            draft.write(piece)
        };
        client.download(&routes::AUDIT_EXPORT, &body, take).await?;
        draft.finish()?;
        tell();
        let sha256 = data_encoding::HEXLOWER.encode(digest.finish().as_ref());
        let file = printable(&out.display().to_string(), 4096);
        session.printer.row(&Written { file, bytes, sha256 }).map(|()| Ending::Done)
    }
}
