//! `cargo xtask reference`: the pages of `docs/reference`, which programs write and nobody edits.
//!
//! A page is what one of our programs prints, or what `evidence` makes of `tests/evidence`. In Markdown the first line says
//! which command made it; a JSON page has no room for that, and the table below is its only record. `xtask tidy` compares
//! every page with a fresh one.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::evidence::{self, Evidence};
use crate::workspace::Workspace;
use crate::{children, tidy};

/// Where the pages are, from the root.
pub(crate) const FOLDER: &str = "docs/reference";

/// One page and the command that prints it.
struct Page {
    file: &'static str,
    program: &'static str,
    words: &'static [&'static str],
}

/// Every page. A file in the folder that is not named here is a finding of `xtask tidy`.
const PAGES: &[Page] = &[
    Page { file: "cli.md", program: "kosctl", words: &["reference", "cli"] },
    Page { file: "config.md", program: "kosd", words: &["reference", "config"] },
    Page { file: "errors.md", program: "kosctl", words: &["reference", "errors"] },
    Page { file: "metrics.md", program: "kos-authority", words: &["reference", "metrics"] },
    Page { file: "openapi.json", program: "kosctl", words: &["reference", "openapi"] },
];

/// A page as its program prints it now.
pub(crate) struct Rendered {
    /// The path from the root.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Renders and writes the `named` pages, or every page.
pub(crate) fn write(named: &[String], workspace: &Workspace) -> Result<()> {
    let is_wanted = |file: &str| named.is_empty() || named.iter().any(|name| name == file);
    if let Some(unknown) = named.iter().find(|name| !files().any(|file| file == **name)) {
        bail!("there is no page `{unknown}`: {}", files().collect::<Vec<_>>().join(", "));
    }
    for page in render(is_wanted, workspace)? {
        let path = workspace.root.join(&page.path);
        fs::write(&path, page.text).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("wrote {}", page.path);
    }
    Ok(())
}

/// Prints a finding for every page that is stale, missing or made by nothing, and returns the exit code.
pub(crate) fn check(workspace: &Workspace) -> Result<u8> {
    Ok(tidy::report(&tidy::REFERENCE.check(&tidy::Repository::load(workspace)?)))
}

/// Builds the programs that the table names and lets each print its pages.
pub(crate) fn render_all(workspace: &Workspace) -> Result<Vec<Rendered>> {
    render(|_| true, workspace)
}

fn render(is_wanted: impl Fn(&str) -> bool, workspace: &Workspace) -> Result<Vec<Rendered>> {
    let made = is_wanted(evidence::PAGE).then(|| compliance(workspace));
    let printed = PAGES.iter().filter(|page| is_wanted(page.file)).map(|page| page.render(workspace));
    made.into_iter().chain(printed).collect()
}

/// The names of all pages.
fn files() -> impl Iterator<Item = &'static str> {
    std::iter::once(evidence::PAGE).chain(PAGES.iter().map(|page| page.file))
}

/// The page of the evidence, which needs no program.
fn compliance(workspace: &Workspace) -> Result<Rendered> {
    let folder = workspace.root.join(evidence::FOLDER);
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        files.push((path.to_string_lossy().into_owned(), text));
    }
    files.sort();
    let evidence = Evidence::read(files.iter().map(|(path, text)| (path.as_str(), text.clone())));
    Ok(Rendered { path: format!("{FOLDER}/{}", evidence::PAGE), text: evidence.render() })
}

impl Page {
    fn render(&self, workspace: &Workspace) -> Result<Rendered> {
        let mut program =
            workspace.cargo(["run", "--quiet", "-p", self.program, "--bin", self.program, "--"]);
        let printed = children::stdout(program.args(self.words))?;
        let text = if self.file.ends_with(".md") { self.header() + &printed } else { printed };
        Ok(Rendered { path: format!("{FOLDER}/{}", self.file), text })
    }

    fn header(&self) -> String {
        let command = self.words.join(" ");
        format!("<!-- Made by `cargo xtask reference` from `{} {command}`. -->\n\n", self.program)
    }
}
