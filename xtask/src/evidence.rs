//! The evidence: what standards ask for, what kOS has for each of it, and the tests that show it.
//!
//! Shape: `requirements.txt` lists every id with what it asks for in our words; the other files of the folder answer, one block an
//! id. From both this module makes `docs/reference/compliance.md`; the rule `evidence` of `xtask tidy` judges them.
//!
//! A block is an id at the start of a line, and indented lines `KEY: TEXT`. Either `gap` alone, or `kos` with one `test` at least;
//! `setting` names a setting that matters, `missing` what is not there yet. A `test` is `FILE::FUNCTION`, a `setting`
//! `FILE::WORD`.
//!
//! What it does not do: judge whether a test shows what is said. That is for who reads the page.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Where the evidence is, from the root.
pub(crate) const FOLDER: &str = "tests/evidence";

/// The file in it that lists what is asked for.
pub(crate) const REQUIREMENTS: &str = "requirements.txt";

/// The page that is made from it, in the folder of reference pages.
pub(crate) const PAGE: &str = "compliance.md";

const ABOUT: &str = "\
<!-- Made by `cargo xtask reference` from `tests/evidence`. -->

# Requirements of others, and what shows each

A map for those who have to judge kOS by a standard or a law. It is no certificate and no legal advice: nobody outside of the
project has judged it, and most of these texts ask for more than software can do. Descriptions are in our words; the text that counts is
the standard's own.

*shown* means that kOS does it and the tests named would fail if it stopped; *partly* that some of it is missing, with what;
*gap* that there is nothing to show, and why. Tests are written `file` and `function`; `cargo xtask tidy` fails when one of them does not
exist, and when a requirement has no answer.
";

/// One standard or law.
#[derive(Debug, Default)]
pub(crate) struct Standard {
    title: String,
    notes: Vec<String>,
    requirements: Vec<Requirement>,
}

/// One thing that is asked for.
#[derive(Debug)]
pub(crate) struct Requirement {
    pub(crate) id: String,
    asks: String,
    pub(crate) line: usize,
}

/// What kOS has for it.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) id: String,
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) kos: Vec<String>,
    /// File and name, with the line of the evidence that names them.
    pub(crate) tests: Vec<Pointer>,
    pub(crate) settings: Vec<Pointer>,
    pub(crate) missing: Vec<String>,
    pub(crate) gap: Vec<String>,
}

/// `FILE::NAME`.
#[derive(Debug)]
pub(crate) struct Pointer {
    pub(crate) file: String,
    pub(crate) name: String,
    pub(crate) line: usize,
}

/// A line that is none of the form above.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) message: String,
}

/// Everything that the folder says.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) standards: Vec<Standard>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) faults: Vec<Fault>,
}

impl Evidence {
    /// Reads the files of the folder, each a path from the root with its text.
    pub(crate) fn read<'a>(files: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let mut evidence = Self::default();
        for (path, text) in files {
            if path.rsplit('/').next() == Some(REQUIREMENTS) {
                evidence.read_requirements(path, &text);
            } else {
                evidence.read_answers(path, &text);
            }
        }
        evidence
    }

    /// Every requirement, standard by standard.
    pub(crate) fn requirements(&self) -> impl Iterator<Item = &Requirement> {
        self.standards.iter().flat_map(|standard| &standard.requirements)
    }

    fn read_requirements(&mut self, path: &str, text: &str) {
        for (line, words) in lines(text) {
            if let Some(title) = words.strip_prefix("= ") {
                self.standards.push(Standard { title: title.to_owned(), ..Standard::default() });
                continue;
            }
            let Some(standard) = self.standards.last_mut() else {
                self.fault(path, line, "stands before the first standard, `= TITLE`");
                continue;
            };
            match (words.strip_prefix("> "), words.split_once(' ')) {
                (Some(note), _) => standard.notes.push(note.to_owned()),
                (None, Some((id, asks))) => {
                    let (id, asks) = (id.to_owned(), asks.trim().to_owned());
                    standard.requirements.push(Requirement { id, asks, line });
                }
                (None, None) => self.fault(path, line, "expected `ID WHAT IT ASKS FOR`"),
            }
        }
    }

    fn read_answers(&mut self, path: &str, text: &str) {
        let mut open: Option<Answer> = None;
        for (line, words) in lines(text) {
            if !words.starts_with(' ') {
                self.answers.extend(open.take());
                let (id, path) = (words.trim().to_owned(), path.to_owned());
                open = Some(Answer { id, path, line, ..Answer::default() });
                continue;
            }
            let taken = open.as_mut().ok_or("stands before the first id").and_then(|answer| {
                let (key, text) = words.trim().split_once(": ").ok_or("expected `KEY: TEXT`")?;
                answer.take(key, text, line)
            });
            if let Err(message) = taken {
                self.fault(path, line, message);
            }
        }
        self.answers.extend(open);
    }

    fn fault(&mut self, path: &str, line: usize, message: &str) {
        self.faults.push(Fault { path: path.to_owned(), line, message: message.to_owned() });
    }

    /// The page.
    pub(crate) fn render(&self) -> String {
        let answers: BTreeMap<&str, &Answer> =
            self.answers.iter().map(|answer| (answer.id.as_str(), answer)).collect();
        let mut page = ABOUT.to_owned();
        page.push_str("\n| | shown | partly | gap |\n|---|---|---|---|\n");
        for standard in &self.standards {
            let count = |state: &str| {
                let has =
                    |one: &&Requirement| answers.get(one.id.as_str()).map_or("gap", |a| a.state()) == state;
                standard.requirements.iter().filter(has).count()
            };
            let (shown, partly, gap) = (count("shown"), count("partly"), count("gap"));
            let _ = writeln!(page, "| {} | {shown} | {partly} | {gap} |", standard.title);
        }
        for standard in &self.standards {
            let _ = writeln!(page, "\n## {}\n", standard.title);
            for note in &standard.notes {
                let _ = writeln!(page, "{note}\n");
            }
            page.push_str("| id | asks for | state | what kOS does, and what is missing | shown by |\n|---|---|---|---|---|\n");
            for requirement in &standard.requirements {
                let answer = answers.get(requirement.id.as_str());
                let state = answer.map_or("gap", |answer| answer.state());
                let (said, shown) = answer.map(|answer| (answer.said(), answer.shown())).unwrap_or_default();
                let _ = writeln!(
                    page,
                    "| {} | {} | {state} | {said} | {shown} |",
                    requirement.id, requirement.asks
                );
            }
        }
        page
    }
}

impl Answer {
    fn take(&mut self, key: &str, text: &str, line: usize) -> Result<(), &'static str> {
        let text = text.trim();
        let pointer = || {
            let (file, name) = text.split_once("::").ok_or("expected `FILE::NAME`")?;
            Ok(Pointer { file: file.to_owned(), name: name.to_owned(), line })
        };
        match key {
            "kos" => self.kos.push(text.to_owned()),
            "missing" => self.missing.push(text.to_owned()),
            "gap" => self.gap.push(text.to_owned()),
            "test" => self.tests.push(pointer()?),
            "setting" => self.settings.push(pointer()?),
            _ => return Err("the keys are `kos`, `test`, `setting`, `missing` and `gap`"),
        }
        Ok(())
    }

    fn state(&self) -> &'static str {
        match (self.gap.is_empty(), self.missing.is_empty()) {
            (false, _) => "gap",
            (true, false) => "partly",
            (true, true) => "shown",
        }
    }

    fn said(&self) -> String {
        let missing = self.missing.iter().map(|text| format!("*Missing:* {text}"));
        let said = self.kos.iter().chain(&self.gap).cloned().chain(missing);
        said.collect::<Vec<_>>().join(" ")
    }

    fn shown(&self) -> String {
        let tests = self
            .tests
            .iter()
            .map(|test| format!("[{}](../../{}) `{}`", file_name(&test.file), test.file, test.name));
        let settings = self.settings.iter().map(|setting| {
            let path = setting
                .file
                .strip_prefix("docs/")
                .map_or_else(|| format!("../../{}", setting.file), |rest| format!("../{rest}"));
            format!("setting `{}` in [{}]({path})", setting.name, file_name(&setting.file))
        });
        tests.chain(settings).collect::<Vec<_>>().join("<br>")
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The lines that say something, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim_end()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_of_each_requirement_how_far_it_is() {
        let requirements =
            "= Law of Things\n> Old.\nT-1 Be good.\nT-2 Be quick.\nT-3 Be cheap.\nT-4 Be there.\n";
        let answers = "\
T-1
  kos: Is good.
  test: crates/a/src/lib.rs::it_is_good
  setting: docs/reference/config.md::identity.name
T-2
  kos: Walks.
  test: crates/a/src/lib.rs::it_walks
  missing: Running.
T-3
  gap: Nobody sells it.
";
        let evidence = Evidence::read([
            ("tests/evidence/requirements.txt", requirements.to_owned()),
            ("tests/evidence/law.txt", answers.to_owned()),
        ]);
        assert!(evidence.faults.is_empty(), "{:?}", evidence.faults);
        let page = evidence.render();
        for line in [
            "| Law of Things | 1 | 1 | 2 |",
            "| T-1 | Be good. | shown | Is good. | [lib.rs](../../crates/a/src/lib.rs) `it_is_good`<br>\
             setting `identity.name` in [config.md](../reference/config.md) |",
            "| T-2 | Be quick. | partly | Walks. *Missing:* Running. | [lib.rs](../../crates/a/src/lib.rs) `it_walks` |",
            "| T-3 | Be cheap. | gap | Nobody sells it. |  |",
            "| T-4 | Be there. | gap |  |  |",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
    }
}
