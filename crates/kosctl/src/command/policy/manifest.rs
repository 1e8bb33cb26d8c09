//! Manifests: judged, compared, put in force, and tried on expected decisions.

use std::path::{Path, PathBuf};

use clap::Args;
use kos_api::{
    List,
    manifest::{
        Manifest, ManifestBody, ManifestFilter, ManifestLint, ManifestText, PolicyCase, PolicyTest,
        PolicyTestReport,
    },
    plan::Plan,
    routes,
};
use kos_base::{code, text::printable};
use serde::Deserialize;
use serde_json::json;

use super::super::follow;
use crate::{
    Client, Fault,
    arguments::ChangeFlags,
    files,
    output::{Column, Section, Shown, write_out},
    session::{Ending, Session},
    terminal::{Consent, Danger},
};

/// Longest text that is read, in bytes: as long as an authority takes one.
const TEXT_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// Longest file of expected decisions that is read, in bytes.
const TEST_BYTES_MAX: u64 = 256 * 1024;

/// A file with a manifest.
#[derive(Debug, Args)]
pub(crate) struct File {
    /// Cedar text whose first line is `// manifest NAME VERSION`: docs/guide/policy.md.
    file: PathBuf,
}

/// `policy apply FILE`
#[derive(Debug, Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    file: File,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `policy test FILE`
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// A YAML or JSON file of expected decisions: docs/guide/policy.md.
    file: PathBuf,
    /// Tries this manifest as if it were in force.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

/// What a file of expected decisions holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    cases: Vec<PolicyCase>,
}

fn read(path: &Path, bytes_max: u64) -> Result<String, Fault> {
    String::from_utf8(files::read(path, bytes_max)?).map_err(|_| Fault::Malformed {
        path: path.to_owned(),
        reason: "not UTF-8".to_owned(),
        code: code::manifest::MANIFEST_INVALID,
    })
}

fn body(file: &File) -> Result<ManifestBody, Fault> {
    Ok(ManifestBody { text: read(&file.file, TEXT_BYTES_MAX)? })
}

pub(super) async fn list(session: &Session, client: &Client, name: Option<String>) -> Result<Ending, Fault> {
    let list: List<Manifest> = client.list(&routes::MANIFEST_LIST, &[], &ManifestFilter { name }).await?;
    follow::print_whole(session, &list)
}

pub(super) async fn show(
    session: &Session,
    client: &Client,
    name: &str,
    version: Option<u64>,
) -> Result<Ending, Fault> {
    let query = kos_api::manifest::ManifestQuery { version };
    let shown: ManifestText = client.show_with(&routes::MANIFEST_SHOW, &[name], &query).await?;
    if session.printer.is_for_people() {
        write_out(&shown.text)?;
    } else {
        session.printer.item(&shown)?;
    }
    Ok(Ending::Done)
}

pub(super) async fn lint(session: &Session, client: &Client, file: &File) -> Result<Ending, Fault> {
    let said: ManifestLint = client.ask(&routes::MANIFEST_LINT, &[], &json!({}), &body(file)?).await?;
    session.printer.item(&said)?;
    Ok(Ending::judged(said.ok))
}

pub(super) async fn diff(session: &Session, client: &Client, file: &File) -> Result<Ending, Fault> {
    let plan: Plan = client.ask(&routes::MANIFEST_DIFF, &[], &json!({}), &body(file)?).await?;
    session.printer.item(&plan)?;
    if plan.changes.is_empty() {
        session.terminal.note("no differences");
    }
    Ok(Ending::judged(plan.changes.is_empty()))
}

impl Apply {
    pub(super) async fn run(self, session: &Session, client: &Client) -> Result<Ending, Fault> {
        let Self { file, change } = self;
        let body = body(&file)?;
        let question = "what no rule of the manifests permits is refused from now on; put this one in force";
        let danger = Danger::Moderate { yes: change.yes };
        if session.consent(question, danger, change.dry_run.into())? == Consent::Withheld {
            return Ok(Ending::Withheld);
        }
        let how = change.change();
        session.outcome(&client.change::<Manifest, _>(&routes::MANIFEST_APPLY, &[], &body, &how).await?)
    }
}

impl Test {
    pub(super) async fn run(self, session: &Session, client: &Client) -> Result<Ending, Fault> {
        let text = self.manifest.as_deref().map(|path| read(path, TEXT_BYTES_MAX)).transpose()?;
        // JSON is YAML.
        let cases: Cases = serde_saphyr::from_str(&read(&self.file, TEST_BYTES_MAX)?).map_err(|error| {
            let line = error.location().map_or(1, |place| place.line());
            let said = error.without_snippet().to_string();
            let said = printable(said.lines().next().unwrap_or_default(), 300);
            let (path, code) = (self.file.clone(), code::config::BAD_REQUEST);
            Fault::Malformed { path, reason: format!("line {line}: {said}"), code }
        })?;
        let test = PolicyTest { text, cases: cases.cases };
        let report: PolicyTestReport = client.ask(&routes::POLICY_TEST, &[], &json!({}), &test).await?;
        session.printer.item(&report)?;
        Ok(Ending::judged(report.ok))
    }
}

/// Shorter to read in the tables below.
const fn column(title: &'static str, path: &'static str) -> Column<'static> {
    Column::of(title, path)
}

impl Shown for Manifest {
    const NAME: &'static str = "name";
    const PLURAL: &'static str = "manifests";
    const COLUMNS: &'static [Column<'static>] = &[
        column("manifest", "name"),
        column("version", "version"),
        column("policies", "policies"),
        column("applied", "appliedAt"),
        column("number", "counter").wide(),
        column("digest", "digest").wide(),
    ];
}

impl Shown for ManifestText {
    const NAME: &'static str = "name";
    const PLURAL: &'static str = "manifests";
    const COLUMNS: &'static [Column<'static>] =
        &[column("manifest", "name"), column("version", "version"), column("applied", "appliedAt")];
}

impl Shown for ManifestLint {
    const NAME: &'static str = "name";
    const PLURAL: &'static str = "verdicts";
    const COLUMNS: &'static [Column<'static>] =
        &[column("ok", "ok"), column("manifest", "name"), column("version", "version")];
    const SECTIONS: &'static [Section] = &[Section::of(
        "findings",
        &[
            column("severity", "severity"),
            column("kind", "kind"),
            column("policy", "policy"),
            column("what", "detail"),
        ],
    )];
}

impl Shown for PolicyTestReport {
    const NAME: &'static str = "ok";
    const PLURAL: &'static str = "verdicts";
    const COLUMNS: &'static [Column<'static>] = &[column("ok", "ok")];
    const SECTIONS: &'static [Section] = &[Section::of(
        "cases",
        &[
            column("ok", "ok"),
            column("device", "device"),
            column("request", "request"),
            column("expected", "expected"),
            column("decided", "decided"),
            column("expected policy", "expectedPolicy"),
            column("policy", "policy"),
            column("why", "why"),
        ],
    )];
}
