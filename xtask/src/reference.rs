//! `cargo xtask reference`: the pages of `docs/reference`, which programs write and nobody edits.
//!
//! A page is what one of our programs prints. In Markdown the first line says which command made it; a JSON page has no
//! room for that, and the table below is its only record. `xtask tidy` compares every page with a fresh one.

use std::fs;

use anyhow::{Context, Result};

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

/// Renders and writes every page.
pub(crate) fn write(workspace: &Workspace) -> Result<()> {
    for page in render_all(workspace)? {
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
    PAGES.iter().map(|page| page.render(workspace)).collect()
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
