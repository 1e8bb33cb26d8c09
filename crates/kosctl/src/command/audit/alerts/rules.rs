//! The rules that raise alerts: shown, and put in force from a file.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kos_api::{
    alert::{AlertRules, ApplyRules},
    routes,
};
use kos_audit::alert::{RuleFile, RuleSet};
use kos_base::{code, text::printable};

use crate::{
    Client, Fault,
    arguments::ChangeFlags,
    files,
    session::{Ending, Session},
    terminal::{Consent, Danger},
};

/// Longest file of rules that is read, in bytes.
const RULES_BYTES_MAX: u64 = 64 * 1024;

/// What to do with the rules.
#[derive(Debug, Subcommand)]
pub(crate) enum Rules {
    /// Shows the rules that are in force; `-o json` has the file under `file`.
    Show,
    /// Puts the rules of a YAML or JSON file in force, beside the built-in ones.
    Apply(Apply),
    /// Puts the built-in rules in force, as they are, and no others.
    Reset(Reset),
}

/// `audit alerts rules apply FILE`
#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// The file: what it holds stands in docs/guide/alerts.md.
    file: PathBuf,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `audit alerts rules reset`
#[derive(Debug, Args)]
pub(crate) struct Reset {
    #[command(flatten)]
    change: ChangeFlags,
}

impl Rules {
    pub(super) async fn run(self, session: &Session, client: &Client) -> Result<Ending, Fault> {
        match self {
            Self::Show => {
                let rules: AlertRules = client.show(&routes::ALERT_RULES_SHOW, &[]).await?;
                session.printer.item(&rules).map(|()| Ending::Done)
            }
            Self::Apply(Apply { file, change }) => {
                let rules = read(&file)?;
                put(session, client, &rules, &change).await
            }
            Self::Reset(Reset { change }) => put(session, client, &RuleFile::default(), &change).await,
        }
    }
}

/// A file of rules that can be used. What is wrong is told here, where its author sits.
fn read(path: &std::path::Path) -> Result<RuleFile, Fault> {
    let malformed =
        |reason: &str, code| Fault::Malformed { path: path.to_owned(), reason: printable(reason, 300), code };
    let invalid = code::audit::ALERT_RULES_INVALID;
    let text = String::from_utf8(files::read(path, RULES_BYTES_MAX)?);
    let text = text.map_err(|_| malformed("not UTF-8", invalid))?;
    // JSON is YAML.
    let file = serde_saphyr::from_str::<RuleFile>(&text).map_err(|error| {
        let line = error.location().map_or(1, |place| place.line());
        let said = error.without_snippet().to_string();
        malformed(&format!("line {line}: {}", said.lines().next().unwrap_or_default()), invalid)
    })?;
    RuleSet::of(&file).map_err(|error| malformed(&error.to_string(), error.code()))?;
    Ok(file)
}

async fn put(
    session: &Session,
    client: &Client,
    file: &RuleFile,
    change: &ChangeFlags,
) -> Result<Ending, Fault> {
    let essential: Vec<_> = file.remove_essential.iter().map(ToString::to_string).collect();
    if !essential.is_empty() {
        let question = format!("raise no alerts by essential rules any more: {}", essential.join(", "));
        let danger = Danger::Moderate { yes: change.yes };
        if session.consent(&question, danger, change.dry_run.into())? == Consent::Withheld {
            return Ok(Ending::Withheld);
        }
    }
    let file = serde_json::to_value(file).map_err(|e| Fault::Internal(e.to_string()))?;
    let request = ApplyRules { file };
    let route = &routes::ALERT_RULES_APPLY;
    let outcome = client.change::<AlertRules, _>(route, &[], &request, &change.change()).await?;
    match outcome {
        crate::Outcome::Done(rules) => session.printer.item(&rules).map(|()| Ending::Done),
        crate::Outcome::Planned(plan) => session.plan(&plan),
    }
}
