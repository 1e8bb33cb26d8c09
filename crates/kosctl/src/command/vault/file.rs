//! The sealed file of a vault, taken elsewhere and brought back.

use std::path::PathBuf;

use aws_lc_rs::digest::{SHA256, digest};
use clap::Args;
use data_encoding::{BASE64, HEXLOWER};
use kos_api::{
    backup::SealedFile,
    routes,
    text::SecretText,
    vault::{ImportVault, Vault as Item},
};
use kos_base::text::printable;
use kos_vault::Sealed;

use super::{Environment, PassphraseFlag, Place, change};
use crate::{
    Fault,
    arguments::ChangeFlags,
    files::{self, Readers},
    session::{Ending, Session},
};

/// Longest file of a vault, in bytes, as `docs/spec/vault.md` has it.
const FILE_BYTES_MAX: usize = 96 << 20;

/// `vault export`
#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(flatten)]
    place: Place,
    /// Where the file is written; only you can read it, and a file that is there is kept.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replaces a file that is there.
    #[arg(long)]
    force: bool,
}

/// `vault import FILE`
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// A file of `vault export`, or of the shape of the source document.
    file: PathBuf,
    /// The environment of the vault; without it, the one that a file of `vault export` names.
    #[arg(long, value_name = "NAME")]
    env: Option<Environment>,
    #[command(flatten)]
    passphrase: PassphraseFlag,
    #[command(flatten)]
    change: ChangeFlags,
}

impl Export {
    pub(super) async fn run(&self, session: &Session) -> Result<Ending, Fault> {
        if !self.force {
            files::keep(&self.out)?;
        }
        let (route, values) = (&routes::VAULT_EXPORT, [self.place.name()]);
        let bytes = session.client()?.read(route, &values, FILE_BYTES_MAX).await?;
        files::write(&self.out, &bytes, Readers::Owner)?;
        let written = SealedFile {
            file: printable(&self.out.display().to_string(), 4096),
            bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            sha256: HEXLOWER.encode(digest(&SHA256, &bytes).as_ref()),
        };
        session.printer.row(&written).map(|()| Ending::Done)
    }
}

impl Import {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let file = files::read(&self.file, u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX))?;
        let body =
            ImportVault { file: SecretText::new(BASE64.encode(&file)), passphrase: self.passphrase.read()? };
        let environment = match self.env {
            Some(Environment(named)) => named,
            None => named_in(&file)?,
        };
        let (route, values) = (&routes::VAULT_IMPORT, [environment.as_str()]);
        change::<Item, _>(session, &client, route, &values, &body, &self.change).await
    }
}

/// The environment that a file names. One of another shape names none, and which is meant is for a person to say.
fn named_in(file: &[u8]) -> Result<String, Fault> {
    match Sealed::parse(file) {
        Ok(sealed) => Ok(sealed.environment().to_string()),
        Err(_) => Err(Fault::usage(
            "the file names no environment of a vault",
            "say which vault is to be made of it: --env NAME, such as --env default",
        )),
    }
}
