//! Recovering a vault by its shares, an offline key or a passkey, and rehearsing with shares.
//!
//! Shares may come from several people and in several runs: the server keeps what was handed in for a while and says who is
//! still missing. Ctrl-C has it forget them.

use std::path::{Path, PathBuf};

use clap::Args;
use kos_api::{
    routes,
    text::SecretText,
    vault::{RecoverVault, SharePurpose, SubmitShare, Vault as Item, VaultRecovery},
};
use kos_base::{Code, code, text::printable};
use kos_shares::Share;
use zeroize::Zeroizing;

use super::{CodeFlag, Place, handing, nothing, offline::Key, passkey::PageFlag};
use crate::{
    Change, Client, Fault, Outcome,
    session::{Ending, Session},
    terminal::{Answers, choose_secret, say, type_line, type_secret},
};

/// `vault recover`
#[derive(Debug, Args)]
pub(crate) struct Recover {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    shares: ShareFlags,
    /// The file of an offline key, which opens the vault in place of shares.
    #[arg(long, value_name = "FILE", conflicts_with = "share_files")]
    offline_key: Option<PathBuf>,
    /// Opens it by a passkey in place of shares: serves a page on this machine, on which a browser asks for it.
    #[arg(long, conflicts_with_all = ["share_files", "offline_key"])]
    passkey: bool,
    #[command(flatten)]
    page: PageFlag,
    #[command(flatten)]
    code: CodeFlag,
    /// The file with the new passphrase; without it, it is asked for twice, or read from stdin when the shares are in files.
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
}

/// `vault rehearse`
#[derive(Debug, Args)]
pub(crate) struct Rehearse {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    shares: ShareFlags,
}

/// Where shares come from.
#[derive(Debug, Args)]
struct ShareFlags {
    /// Files with a share each, as words or as a sheet; without them, shares are asked for or read from stdin, one a line.
    #[arg(long = "share-file", value_name = "FILE", num_args = 1..)]
    share_files: Vec<PathBuf>,
}

/// How handing in ended.
enum Gathered {
    /// With as many as are needed.
    Enough,
    /// With fewer.
    TooFew(VaultRecovery),
    /// With Ctrl-C.
    Interrupted,
}

/// Handing in the shares of one vault.
struct Gathering<'a> {
    session: &'a Session,
    client: Client,
    environment: &'a str,
    purpose: SharePurpose,
    /// Everybody who has a share.
    holders: Vec<String>,
    /// What was there before.
    before: VaultRecovery,
}

impl Recover {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        if let Some(path) = &self.offline_key {
            return self.run_offline(session, path).await;
        }
        if self.passkey {
            return self.run_passkey(session).await;
        }
        let is_typed = self.shares.are_typed(session);
        let file = self.new_passphrase_file.as_deref();
        if !is_typed && self.shares.share_files.is_empty() && file.is_none() {
            let message = "stdin has the shares and cannot have the new passphrase as well";
            return Err(Fault::usage(message, "give it with --new-passphrase-file FILE"));
        }
        let gathering = Gathering::begin(session, self.place.name(), SharePurpose::Recovery).await?;
        let given = match file {
            None if session.terminal.answers == Answers::Person => None,
            _ => Some(choose_secret("new passphrase", file, session.terminal.answers)?),
        };
        match gathering.gather(&self.shares).await? {
            Gathered::TooFew(state) => return gathering.wait(&state),
            Gathered::Interrupted => return gathering.abandon().await,
            Gathered::Enough => {}
        }
        if let Some(passphrase) = given {
            let vault = gathering.finish(passphrase).await?;
            return session.outcome(&vault);
        }
        loop {
            let Some(passphrase) = type_twice()? else { return gathering.abandon().await };
            match gathering.finish(passphrase).await {
                Err(fault) if fault.code() == code::vault::VAULT_PASSPHRASE => tell(&fault),
                vault => return session.outcome(&vault?),
            }
        }
    }
}

impl Recover {
    /// The key stays here: what it agrees on with its slot is sent, and opens nothing else.
    async fn run_offline(&self, session: &Session, path: &Path) -> Result<Ending, Fault> {
        let (client, environment) = (session.client()?, self.place.name());
        let key = Key::read(path)?;
        let vault: Item = client.show(&routes::VAULT_SHOW, &[environment]).await?;
        let agreed = Some(key.agree(&vault)?);
        let file = self.new_passphrase_file.as_deref();
        let passphrase = choose_secret("new passphrase", file, session.terminal.answers)?;
        let code = self.code.read_for(session, &client, environment).await?;
        let new_passphrase = SecretText::new(passphrase.to_string());
        let body = RecoverVault { new_passphrase, agreed, passkey: None, code };
        finish(session, &client, environment, &body, "offline key").await
    }

    async fn run_passkey(&self, session: &Session) -> Result<Ending, Fault> {
        let (client, environment) = (session.client()?, self.place.name());
        let passkey = Some(self.page.use_one(session, &client, environment, "Recover").await?);
        let file = self.new_passphrase_file.as_deref();
        let passphrase = choose_secret("new passphrase", file, session.terminal.answers)?;
        let code = self.code.read_for(session, &client, environment).await?;
        let new_passphrase = SecretText::new(passphrase.to_string());
        let body = RecoverVault { new_passphrase, agreed: None, passkey, code };
        finish(session, &client, environment, &body, "passkey").await
    }
}

/// Gives the vault new keys by what one person has.
async fn finish(
    session: &Session,
    client: &Client,
    environment: &str,
    body: &RecoverVault,
    opener: &str,
) -> Result<Ending, Fault> {
    let how = Change::default();
    let vault: Outcome<Item> = client.change(&routes::VAULT_RECOVER, &[environment], body, &how).await?;
    let after = format!("only this passphrase opens it now: add the {opener} again, and share it again");
    session.terminal.note(&after);
    session.outcome(&vault)
}

impl Rehearse {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let gathering = Gathering::begin(session, self.place.name(), SharePurpose::Rehearsal).await?;
        match gathering.gather(&self.shares).await? {
            Gathered::TooFew(state) => return gathering.wait(&state),
            Gathered::Interrupted => return gathering.abandon().await,
            Gathered::Enough => {}
        }
        let (route, values) = (&routes::VAULT_REHEARSE, [gathering.environment]);
        let vault: Outcome<Item> =
            gathering.client.change(route, &values, &nothing(), &Change::default()).await?;
        session.outcome(&vault)
    }
}

impl ShareFlags {
    fn are_typed(&self, session: &Session) -> bool {
        self.share_files.is_empty() && session.terminal.answers == Answers::Person
    }
}

impl<'a> Gathering<'a> {
    async fn begin(session: &'a Session, environment: &'a str, purpose: SharePurpose) -> Result<Self, Fault> {
        let client = session.client()?;
        let vault: Item = client.show(&routes::VAULT_SHOW, &[environment]).await?;
        let Some(sharing) = vault.sharing else {
            return Err(Fault::Missing {
                kind: "sharing of the vault",
                name: environment.to_owned(),
                fix: "kosctl vault share --threshold T --holder NAME --out DIR, while somebody knows the passphrase",
            });
        };
        let everybody = printable(&sharing.holders.join(", "), 2000);
        session
            .terminal
            .note(&format!("{} of {} shares are needed: {everybody}", sharing.threshold, sharing.total));
        let before: VaultRecovery = client.show(&routes::VAULT_RECOVERY, &[environment]).await?;
        let gathering = Self { session, client, environment, purpose, holders: sharing.holders, before };
        match gathering.before.purpose {
            Some(there) if there == purpose => session.terminal.note(&gathering.progress(&gathering.before)),
            Some(_) => session
                .terminal
                .note("what was handed in for something else is forgotten with the first share"),
            None => {}
        }
        Ok(gathering)
    }

    /// Whether as many shares as are needed are there already, from a run before this one or of other people.
    fn is_complete(&self) -> Result<bool, Fault> {
        if self.before.purpose != Some(self.purpose) || self.before.missing > 0 {
            return Ok(false);
        }
        if self.before.may_end {
            return Ok(true);
        }
        let message = "the shares that are needed are there, and none of them is from you";
        Err(Fault::usage(message, "whoever handed one in goes on with the same command, as the same user"))
    }

    /// Hands shares in until there are enough, or no more.
    async fn gather(&self, flags: &ShareFlags) -> Result<Gathered, Fault> {
        if self.is_complete()? {
            return Ok(Gathered::Enough);
        }
        if flags.are_typed(self.session) {
            return self.gather_typed().await;
        }
        let mut state = None;
        for handed in handing::read_shares(&flags.share_files, &self.session.terminal)? {
            match self.submit(&handed.share).await {
                Ok(Some(now)) if now.missing == 0 => return Ok(Gathered::Enough),
                Ok(Some(now)) => state = Some(now),
                Ok(None) => return Ok(Gathered::Interrupted),
                Err(fault) if fault.code() == code::share::SHARE_NOT_NEEDED => return Ok(Gathered::Enough),
                // From an attempt before this one, which failed later.
                Err(fault) if fault.code() == code::share::SHARE_DOUBLED => {}
                Err(fault) => {
                    let from = printable(&handed.from, 200);
                    self.session.terminal.note(&format!("the share of {from} was refused"));
                    return Err(fault);
                }
            }
        }
        // Where all of them were there before, the server knows whether they are enough.
        Ok(state.map_or(Gathered::Enough, Gathered::TooFew))
    }

    /// A share that is refused changes nothing: whoever typed it is told, and asked again.
    async fn gather_typed(&self) -> Result<Gathered, Fault> {
        let is_begun = self.before.purpose == Some(self.purpose) && !self.before.holders.is_empty();
        let mut state = is_begun.then(|| self.before.clone());
        loop {
            let Some(typed) = type_line("share")? else { return Ok(Gathered::Interrupted) };
            if typed.is_empty() {
                let too_few = || Fault::usage("there is no share", "type the words of a sheet");
                return state.map(Gathered::TooFew).ok_or_else(too_few);
            }
            let share = match handing::parse(&typed) {
                Ok(share) => share,
                Err(source) => {
                    handing::hint(&source);
                    tell(&Fault::Share { from: "this share".to_owned(), source });
                    continue;
                }
            };
            match self.submit(&share).await {
                Ok(Some(now)) if now.missing == 0 => return Ok(Gathered::Enough),
                Ok(Some(now)) => {
                    say(&self.progress(&now));
                    state = Some(now);
                }
                Ok(None) => return Ok(Gathered::Interrupted),
                Err(fault) if fault.code() == code::share::SHARE_NOT_NEEDED => return Ok(Gathered::Enough),
                Err(fault) if is_about_a_share(fault.code()) => tell(&fault),
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Hands one share in; nothing when it was interrupted meanwhile.
    async fn submit(&self, share: &Share) -> Result<Option<VaultRecovery>, Fault> {
        let words = SecretText::new(share.to_words().expose().to_owned());
        let body = SubmitShare { words, purpose: self.purpose };
        let (values, how) = ([self.environment], Change::default());
        let sending = self.client.change::<VaultRecovery, _>(&routes::VAULT_SUBMIT, &values, &body, &how);
        let outcome = tokio::select! {
            outcome = sending => outcome?,
            _ = tokio::signal::ctrl_c() => return Ok(None),
        };
        match outcome {
            Outcome::Done(state) => Ok(Some(state)),
            Outcome::Planned(_) => Err(Fault::Internal("a plan that nobody asked for".to_owned())),
        }
    }

    async fn finish(&self, passphrase: Zeroizing<String>) -> Result<Outcome<Item>, Fault> {
        let new_passphrase = SecretText::new(passphrase.to_string());
        let body = RecoverVault { new_passphrase, agreed: None, passkey: None, code: None };
        self.client.change(&routes::VAULT_RECOVER, &[self.environment], &body, &Change::default()).await
    }

    /// Has the server forget what was handed in.
    async fn abandon(&self) -> Result<Ending, Fault> {
        let (route, values) = (&routes::VAULT_ABANDON, [self.environment]);
        self.client.change::<Item, _>(route, &values, &nothing(), &Change::default()).await?;
        say("abandoned: what was handed in is forgotten");
        Ok(Ending::Interrupted)
    }

    /// Prints how far it is, and leaves it there for others to go on.
    fn wait(&self, state: &VaultRecovery) -> Result<Ending, Fault> {
        self.session.printer.row(state)?;
        let until = state.forgotten_at.map(|at| format!("; what is there is forgotten at {at}"));
        self.session.terminal.note(&format!("{}{}", self.progress(state), until.unwrap_or_default()));
        Ok(Ending::Partly)
    }

    fn progress(&self, state: &VaultRecovery) -> String {
        let absent = self.holders.iter().filter(|holder| !state.holders.contains(holder));
        let absent: Vec<&str> = absent.map(String::as_str).collect();
        if state.missing == 0 {
            return printable(&format!("{} handed in, which is enough", state.holders.join(", ")), 2000);
        }
        let text = format!(
            "{} handed in, {} more needed of: {}",
            state.holders.join(", "),
            state.missing,
            absent.join(", ")
        );
        printable(&text, 2000)
    }
}

/// A passphrase that was typed twice alike; nothing after Ctrl-C.
fn type_twice() -> Result<Option<Zeroizing<String>>, Fault> {
    loop {
        let Some(first) = type_secret("new passphrase")? else { return Ok(None) };
        let Some(again) = type_secret("again")? else { return Ok(None) };
        if *first == *again && !first.is_empty() {
            return Ok(Some(first));
        }
        say("these are two passphrases, or none");
    }
}

/// Whether another share may do better: the codes of `docs/reference/errors.md` from 0650 on.
fn is_about_a_share(code: Code) -> bool {
    (650..700).contains(&code.number())
}

/// Says why, to somebody who is asked again.
fn tell(fault: &Fault) {
    let failure = fault.failure();
    let detail = failure.detail.map(|detail| format!(": {detail}")).unwrap_or_default();
    say(&printable(&format!("[{}] {}{detail}", failure.code, failure.title), 500));
}
