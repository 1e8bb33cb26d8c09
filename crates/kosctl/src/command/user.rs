//! What the authority holds of a person: taken out for them, and erased.

use std::path::PathBuf;

use aws_lc_rs::digest::{Context, SHA256};
use clap::{Args, Subcommand};
use kos_api::{backup::SealedFile as Written, person::ExportPerson, routes};
use kos_base::text::printable;

use super::audit::Erase;
use crate::{
    Fault,
    files::{self, Draft, Readers},
    output::write_bytes,
    session::{Ending, Session},
};

/// What to do with what is held of a person.
#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Writes everything that the authority holds of a person or an address as one JSON document; recorded in the log.
    Export(Export),
    /// Erases a person or an address from every store; what stays is listed with the reason. The same as `audit erase`.
    Erase(Erase),
}

/// `user export --person NAME`
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The name of an operator, of a user of the authority's machine, or of who holds a share.
    #[arg(long, value_name = "NAME", required_unless_present = "address")]
    person: Option<String>,
    /// A network address; of IPv6, its network of 64 bits.
    #[arg(long, value_name = "IP", conflicts_with = "person")]
    address: Option<String>,
    /// Where it is written when it is whole; without it, to stdout.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replaces a file that is there.
    #[arg(long, requires = "out")]
    force: bool,
}

impl User {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        match self {
            Self::Export(export) => export.run(session).await,
            Self::Erase(erase) => erase.run(session).await,
        }
    }
}

impl Export {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        if let Some(out) = self.out.as_ref().filter(|_| !self.force) {
            files::keep(out)?;
        }
        let client = session.client()?;
        let body = ExportPerson { person: self.person, address: self.address };
        let Some(out) = self.out else {
            client.download(&routes::PERSON_EXPORT, &body, write_bytes).await?;
            write_bytes(b"\n")?;
            return Ok(Ending::Done);
        };
        let mut draft = Draft::start(&out, Readers::Owner)?;
        let (mut digest, mut bytes) = (Context::new(&SHA256), 0);
        let take = |piece: &[u8]| {
            digest.update(piece);
            bytes += u64::try_from(piece.len()).unwrap_or(u64::MAX);
            draft.write(piece)
        };
        client.download(&routes::PERSON_EXPORT, &body, take).await?;
        draft.finish()?;
        let sha256 = data_encoding::HEXLOWER.encode(digest.finish().as_ref());
        let file = printable(&out.display().to_string(), 4096);
        session.printer.row(&Written { file, bytes, sha256 }).map(|()| Ending::Done)
    }
}
