//! The kill switch of an authority or a device, through its local socket: armed, fired, and the notice judged.
//!
//! The code that fires is never an argument: it comes from a prompt, stdin or a file.

use core::time::Duration;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use kos_api::{
    kill::{ArmKill, FireKill, KillArmed, KillNotice, KillProgram, KillReport, KillStatus},
    routes,
    text::SecretText,
};
use kos_audit::{LogKey, SignedCheckpoint};
use kos_base::{KeyId, code, text::printable};
use kos_vault::kill::{NOTICE_BYTES_MAX, Notice, NoticeSubject, verify_notice};

use super::audit::log_key;
use crate::{
    Change, Client, Fault, Outcome, files,
    session::{Ending, Session},
    terminal::{Consent, Danger, read_secret},
};

/// How long a firing may take until it reports: everything is overwritten first.
const FIRED_WITHIN: Duration = Duration::from_secs(900);

/// What to do with the kill switch.
#[derive(Debug, Subcommand)]
pub(crate) enum Kill {
    /// Arms the switch for 10 minutes, and shows the code that fires it once.
    Arm(Arm),
    /// Takes the arming back; needs no code.
    Disarm(Disarm),
    /// Records, tells and then destroys: keys, vaults, state. Nothing brings them back.
    Fire(Fire),
    /// Shows whether the switch is armed.
    Status,
    /// Judges a death notice; needs no server.
    Verify(Verify),
}

/// `kill arm`
#[derive(Debug, Args)]
#[group(id = "program", required = true, multiple = false, args = ["delete_program", "keep_program"])]
pub(crate) struct Arm {
    /// The program file goes as well.
    #[arg(long)]
    delete_program: bool,
    /// The program file stays.
    #[arg(long)]
    keep_program: bool,
    #[command(flatten)]
    severe: Severe,
}

/// `kill disarm`
#[derive(Debug, Args)]
pub(crate) struct Disarm {
    /// Shows what would change, changes nothing, and exits 10 if something would.
    #[arg(long)]
    dry_run: bool,
}

/// `kill fire`
#[derive(Debug, Args)]
pub(crate) struct Fire {
    /// The file with the code that arming has shown; without it, it is asked for or read from stdin.
    #[arg(long, value_name = "FILE")]
    code_file: Option<PathBuf>,
    #[command(flatten)]
    severe: Severe,
}

/// How it is confirmed.
#[derive(Debug, Args)]
struct Severe {
    /// Shows what would go and what would be assured, changes nothing, and exits 10.
    #[arg(long)]
    dry_run: bool,
    /// The name of the authority or the id of the device, in place of typing it when asked.
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
}

/// `kill verify FILE`
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The notice: `death-notice.cose`.
    file: PathBuf,
    /// The id of the key that must have signed: `orderKeyId` in the first entry of an authority's log (`audit show 0`),
    /// `identityKeyId` of a device.
    #[arg(long, value_name = "ID")]
    key_id: Option<KeyId>,
    /// The file with the key of the log that the checkpoint in the notice must be of; only an authority's has one.
    #[arg(long, value_name = "FILE")]
    log_key: Option<PathBuf>,
}

impl Kill {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        match self {
            Self::Arm(arm) => arm.run(session).await,
            Self::Disarm(disarm) => disarm.run(session).await,
            Self::Fire(fire) => fire.run(session).await,
            Self::Status => {
                let status: KillStatus = session.client()?.show(&routes::KILL_STATUS, &[]).await?;
                session.printer.item(&status).map(|()| Ending::Done)
            }
            Self::Verify(verify) => verify.run(session).await,
        }
    }
}

impl Arm {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let program = if self.delete_program { KillProgram::Delete } else { KillProgram::Keep };
        if self.severe.ask(session, &client, "will be ready to be destroyed").await? == Consent::Withheld {
            return Ok(Ending::Withheld);
        }
        let how = self.severe.change();
        let outcome =
            client.change::<KillArmed, _>(&routes::KILL_ARM, &[], &ArmKill { program }, &how).await?;
        match outcome {
            Outcome::Planned(plan) => session.plan(&plan),
            Outcome::Done(armed) => {
                session.printer.item(&armed)?;
                session.terminal.note("the code is not shown again; fire with it: kosctl kill fire");
                Ok(Ending::Done)
            }
        }
    }
}

impl Disarm {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let how = Change { dry_run: self.dry_run, if_match: None };
        let client = session.client()?;
        let nothing = serde_json::json!({});
        session.outcome(&client.change::<KillStatus, _>(&routes::KILL_DISARM, &[], &nothing, &how).await?)
    }
}

impl Fire {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?.with_timeout(session.timeout.unwrap_or_default().max(FIRED_WITHIN));
        let what = "will be destroyed: its keys, vaults and state";
        if self.severe.ask(session, &client, what).await? == Consent::Withheld {
            return Ok(Ending::Withheld);
        }
        // A dry run does not look at the code.
        let code = match self.severe.dry_run {
            true => SecretText::new(String::new()),
            false => SecretText::new(read_secret("code", self.code_file.as_deref())?.to_string()),
        };
        let how = self.severe.change();
        let outcome =
            client.change::<KillReport, _>(&routes::KILL_FIRE, &[], &FireKill { code }, &how).await?;
        match outcome {
            Outcome::Planned(plan) => session.plan(&plan),
            Outcome::Done(report) => {
                session.printer.item(&report)?;
                Ok(if report.complete { Ending::Done } else { Ending::Partly })
            }
        }
    }
}

impl Severe {
    /// Has the name typed of what the server at the other end is.
    async fn ask(&self, session: &Session, client: &Client, what: &str) -> Result<Consent, Fault> {
        let status: KillStatus = client.show(&routes::KILL_STATUS, &[]).await?;
        let danger =
            Danger::Severe { name: &status.name, id: &status.name, confirmed: self.confirm.as_deref() };
        session.consent(
            &format!("the {} {} {what}", status.subject, status.name),
            danger,
            self.dry_run.into(),
        )
    }

    const fn change(&self) -> Change {
        Change { dry_run: self.dry_run, if_match: None }
    }
}

impl Verify {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let most = u64::try_from(NOTICE_BYTES_MAX).unwrap_or(u64::MAX);
        let signed = files::read(&self.file, most)?;
        let verified = verify_notice(&signed).map_err(|error| Fault::Malformed {
            path: self.file.clone(),
            reason: error.to_string(),
            code: code::kill::KILL_NOTICE,
        })?;
        let notice = verified.notice();
        let mut failures = Vec::new();
        let key_id = notice.key.id();
        match self.key_id {
            Some(wanted) if wanted != key_id => failures.push("another key signed it".to_owned()),
            Some(_) => {}
            None => {
                session.terminal.note("whose key it is, only its id can say: --key-id ID judges that, too");
            }
        }
        if let Some(path) = &self.log_key {
            failures.extend(judge_checkpoint(notice, &log_key(session, Some(path), None).await?).err());
        }
        let told = KillNotice {
            ok: failures.is_empty(),
            subject: match notice.subject {
                NoticeSubject::Device => "device".to_owned(),
                NoticeSubject::Authority => "authority".to_owned(),
            },
            name: printable(&notice.name, 200),
            authority: notice.authority.as_ref().map(|name| printable(name, 200)),
            fired_at: notice.at,
            key_id: key_id.to_string(),
            program: if notice.program_deleted { KillProgram::Delete } else { KillProgram::Keep },
            audit_index: notice.entry,
            checkpoint: notice.checkpoint.clone(),
            failures,
        };
        session.printer.item(&told)?;
        Ok(Ending::judged(told.ok))
    }
}

/// Whether the log's key signed the checkpoint, and it covers the entry (KILL-29).
fn judge_checkpoint(notice: &Notice, key: &LogKey) -> Result<(), String> {
    let text = notice.checkpoint.as_ref().ok_or("there is no checkpoint in it")?;
    let checkpoint = SignedCheckpoint::parse(text).map_err(|e| e.to_string())?;
    let head = checkpoint.verify(key, &[]).map_err(|e| e.to_string())?;
    match notice.entry {
        Some(entry) if entry.checked_add(1) != Some(head.head().size) => {
            Err("the entry is not the last that the checkpoint covers".to_owned())
        }
        _ => Ok(()),
    }
}
