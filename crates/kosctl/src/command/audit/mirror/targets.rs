//! Targets of copies that the authority itself writes: named, listed, pushed to, removed.

use std::{fs, path::PathBuf};

use clap::Args;
use kos_api::{
    List,
    mirror::{AddMirror, Mirror as Item, MirrorState, MirrorTarget},
    routes,
    text::SecretText,
};
use kos_base::code;

use crate::{
    Fault,
    arguments::ChangeFlags,
    files,
    server::Address,
    session::{Ending, Session},
    terminal::{Consent, Danger, read_secret},
};

/// Longest CA file that is read, in bytes.
const CA_BYTES_MAX: u64 = 48 * 1024;

/// `audit mirror add NAME TARGET`
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// What it is called: 1 to 64 visible ASCII characters.
    name: String,
    /// A folder of the authority's machine that is there, or the address below which files can be put:
    /// `https://HOST[:PORT][/PATH]`; `http` to the authority's own machine only.
    target: String,
    /// PEM of the CAs by which the server is judged; those of the authority's system when not given.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The name with which the authority signs in there; its password is asked for or read from stdin.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The file with that password.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `audit mirror remove NAME`
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Which.
    name: String,
    #[command(flatten)]
    change: ChangeFlags,
}

impl Add {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let target = if Address::is_meant(&self.target) { self.web()? } else { self.folder()? };
        let request = AddMirror { name: self.name, target };
        let how = self.change.change();
        session.outcome(&client.change::<Item, _>(&routes::MIRROR_ADD, &[], &request, &how).await?)
    }

    fn web(&self) -> Result<MirrorTarget, Fault> {
        let read = |path: &PathBuf| {
            String::from_utf8(files::read(path, CA_BYTES_MAX)?).map_err(|_| Fault::Malformed {
                path: path.clone(),
                reason: "not PEM".to_owned(),
                code: code::audit::LOG_TARGET,
            })
        };
        let password = match &self.user {
            Some(_) => {
                let typed = read_secret("password", self.password_file.as_deref())?;
                Some(SecretText::new(typed.to_string()))
            }
            None => None,
        };
        let ca = self.ca.as_ref().map(read).transpose()?;
        Ok(MirrorTarget::Web { url: self.target.clone(), ca, user: self.user.clone(), password })
    }

    fn folder(&self) -> Result<MirrorTarget, Fault> {
        if self.ca.is_some() || self.user.is_some() {
            return Err(Fault::usage(
                "--ca and --user are for https addresses",
                "leave them out for a folder",
            ));
        }
        // The authority may see another root than we do: then it says so.
        let path = fs::canonicalize(&self.target).unwrap_or_else(|_| self.target.clone().into());
        Ok(MirrorTarget::Folder { path: path.to_string_lossy().into_owned() })
    }
}

impl Remove {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let danger = Danger::Moderate { yes: self.change.yes };
        let question = format!("write copies of the log to {} no more; what is there stays", self.name);
        let (route, values, nothing) = (&routes::MIRROR_REMOVE, [self.name.as_str()], serde_json::json!({}));
        let asked =
            session.consent_to(&client, (route, &values, &nothing), (&question, danger), self.change.dry_run);
        if asked.await? == Consent::Withheld {
            return Ok(Ending::Withheld);
        }
        session.outcome(&client.change::<Item, _>(route, &values, &nothing, &self.change.change()).await?)
    }
}

/// Lists the targets.
pub(super) async fn list(session: &Session) -> Result<Ending, Fault> {
    let list: List<Item> = session.client()?.list(&routes::MIRROR_LIST, &[], &serde_json::json!({})).await?;
    print(session, &list)?;
    Ok(Ending::Done)
}

fn print(session: &Session, list: &List<Item>) -> Result<(), Fault> {
    session.printer.list(list)?;
    if list.items.is_empty() {
        session.terminal.note("the authority writes no copies of its log (kosctl audit mirror add)");
    }
    Ok(())
}

/// Has every target brought up to date; whether each is.
pub(super) async fn push(session: &Session) -> Result<Ending, Fault> {
    let list: List<Item> = session.client()?.ask_list(&routes::MIRROR_PUSH).await?;
    print(session, &list)?;
    Ok(Ending::judged(list.items.iter().all(|item| item.state == MirrorState::Current)))
}
