//! Rule `evidence`: every requirement of `tests/evidence` is answered once, by tests that exist or by a gap that says what is missing.
//!
//! A test exists when the file has a function of that name under `#[test]` or `#[tokio::test]`; a setting when its file has the
//! word between backticks or as a heading. No page of ours says that kOS fulfils a standard.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;

use proc_macro2::{TokenStream, TokenTree};

use super::{Finding, Repository};
use crate::evidence::{Answer, Evidence, FOLDER, REQUIREMENTS};

/// The word that nobody may use of kOS. Taken apart here, so that this file does not hold it.
const CLAIM: &str = concat!("compl", "iant");

pub(super) fn find(repository: &Repository) -> Vec<Finding> {
    let list = format!("{FOLDER}/{REQUIREMENTS}");
    let files = repository.below(FOLDER).filter_map(|path| Some((path, repository.text(path)?)));
    let evidence = Evidence::read(files);
    let faults = evidence.faults.iter();
    let mut findings: Vec<Finding> =
        faults.map(|fault| Finding::new(&fault.path, fault.line, &fault.message)).collect();

    let mut asked = BTreeSet::new();
    let mut answered: BTreeMap<&str, &Answer> = BTreeMap::new();
    for requirement in evidence.requirements() {
        if !asked.insert(requirement.id.as_str()) {
            findings.push(Finding::new(
                &list,
                requirement.line,
                format!("`{}` is listed twice", requirement.id),
            ));
        }
    }
    if asked.is_empty() {
        findings.push(Finding::new(&list, 1, "lists no requirement"));
    }
    for answer in &evidence.answers {
        let at = |line, message: String| Finding::new(&answer.path, line, message);
        let id = &answer.id;
        if !asked.contains(id.as_str()) {
            findings.push(at(answer.line, format!("no standard asks for `{id}`: see {list}")));
        }
        if let Some(first) = answered.insert(id, answer) {
            findings.push(at(
                answer.line,
                format!("`{id}` is answered in {}:{} already", first.path, first.line),
            ));
        }
        if let Some(fault) = fault_of(answer) {
            findings.push(at(answer.line, format!("`{id}` {fault}")));
        }
        for test in &answer.tests {
            if !has_test(repository, &test.file, &test.name) {
                findings.push(at(test.line, format!("{} has no test `{}`", test.file, test.name)));
            }
        }
        for setting in &answer.settings {
            if !has_word(repository, &setting.file, &setting.name) {
                findings
                    .push(at(setting.line, format!("{} does not speak of `{}`", setting.file, setting.name)));
            }
        }
    }
    for requirement in evidence.requirements().filter(|one| !answered.contains_key(one.id.as_str())) {
        let message = format!("`{}` has neither a test nor a gap", requirement.id);
        findings.push(Finding::new(&list, requirement.line, message));
    }
    findings.extend(find_claims(repository));
    findings
}

/// What is wrong with an answer that stands for itself.
fn fault_of(answer: &Answer) -> Option<&'static str> {
    let (has_gap, has_tests) = (!answer.gap.is_empty(), !answer.tests.is_empty());
    let has_more = !answer.kos.is_empty() || !answer.missing.is_empty() || !answer.settings.is_empty();
    match (has_gap, has_tests) {
        (true, true) => Some("is a gap and lists a test"),
        (true, false) if has_more => Some("is a gap: `gap` stands alone"),
        (false, false) => Some("has neither a test nor a gap"),
        (false, true) if answer.kos.is_empty() => Some("lists a test and does not say what kOS does"),
        _ => None,
    }
}

fn has_test(repository: &Repository, file: &str, name: &str) -> bool {
    let tokens = repository.sources.get(file).and_then(|source| TokenStream::from_str(&source.text).ok());
    tokens.is_some_and(|tokens| declares_test(tokens, name))
}

/// Whether there is `fn name` under an attribute that makes it a test, here or in a module below.
fn declares_test(tokens: TokenStream, name: &str) -> bool {
    let mut is_test = false;
    let mut before: Option<TokenTree> = None;
    for token in tokens {
        match (&token, &before) {
            (TokenTree::Group(group), Some(TokenTree::Punct(hash))) if hash.as_char() == '#' => {
                is_test |= makes_test(&group.stream());
            }
            (TokenTree::Group(group), _) => {
                if declares_test(group.stream(), name) {
                    return true;
                }
                if group.delimiter() == proc_macro2::Delimiter::Brace {
                    is_test = false;
                }
            }
            (TokenTree::Ident(ident), Some(TokenTree::Ident(keyword)))
                if is_test && keyword == "fn" && ident == name =>
            {
                return true;
            }
            (TokenTree::Punct(end), _) if end.as_char() == ';' => is_test = false,
            _ => {}
        }
        before = Some(token);
    }
    false
}

/// `test` or `tokio::test`, with or without arguments.
fn makes_test(attribute: &TokenStream) -> bool {
    let text = attribute.to_string().replace(' ', "");
    matches!(text.split('(').next(), Some("test" | "tokio::test"))
}

fn has_word(repository: &Repository, file: &str, word: &str) -> bool {
    let (quoted, heading) = (format!("`{word}`"), format!("# {word}"));
    let text = repository.text(file).unwrap_or_default();
    text.lines().any(|line| line.contains(&quoted) || line.ends_with(&heading))
}

fn find_claims(repository: &Repository) -> Vec<Finding> {
    let papers = repository.paths.iter().filter(|path| path.ends_with(".md") || path.starts_with(FOLDER));
    let mut findings = Vec::new();
    for path in papers {
        for (index, line) in repository.text(path).unwrap_or_default().lines().enumerate() {
            if line.to_lowercase().contains(CLAIM) {
                findings.push(Finding::new(path, index + 1, "claims what nobody outside has judged"));
            }
        }
    }
    findings
}
