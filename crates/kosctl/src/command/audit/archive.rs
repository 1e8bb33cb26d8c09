//! Moving the oldest entries elsewhere.

use std::path::PathBuf;

use clap::Args;
use kos_api::{
    audit::{ArchiveLog, Archived},
    routes,
};
use kos_base::Timestamp;

use crate::{
    Fault,
    arguments::ChangeFlags,
    session::{Ending, Session},
    terminal::{Consent, Danger},
};

/// Up to where entries go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Index(u64),
    Time(Timestamp),
}

impl core::str::FromStr for Before {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match (s.parse(), s.parse()) {
            (Ok(index), _) => Ok(Self::Index(index)),
            (_, Ok(time)) => Ok(Self::Time(time)),
            _ => Err("neither an index nor a moment in RFC 3339".to_owned()),
        }
    }
}

/// `audit archive --before LIMIT --to DIR`
#[derive(Debug, Args)]
pub(crate) struct Archive {
    /// Only entries before this index, or before the first one of this moment (RFC 3339) or later. They go in whole rows
    /// of 256, and the last 256 stay.
    #[arg(long, value_name = "TIME|INDEX")]
    before: Before,
    /// The folder on the authority's machine: a new one, or the one that the entries before are in.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    flags: ChangeFlags,
}

impl Archive {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let folder = std::path::absolute(&self.to)
            .map_err(|source| Fault::Unreadable { path: self.to.clone(), source })?;
        let what = format!("the oldest entries of the log will be in {} only", folder.display());
        let danger = Danger::Moderate { yes: self.flags.yes };
        if session.consent(&what, danger, self.flags.dry_run.into())? == Consent::Withheld {
            return Ok(Ending::Withheld);
        }
        let (before_index, before_time) = match self.before {
            Before::Index(index) => (Some(index), None),
            Before::Time(time) => (None, Some(time)),
        };
        let body = ArchiveLog { before_index, before_time, folder: folder.to_string_lossy().into_owned() };
        let outcome =
            client.change::<Archived, _>(&routes::AUDIT_ARCHIVE, &[], &body, &self.flags.change()).await?;
        session.outcome(&outcome)
    }
}
