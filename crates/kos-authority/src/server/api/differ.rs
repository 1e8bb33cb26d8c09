//! What another text would change of a manifest: whole policies are compared, and the part that differs is shown.
//!
//! Source: `docs/spec/manifest.md` MAN-30.

use std::collections::{BTreeMap, BTreeSet};

use kos_api::plan::Change;
use kos_base::text::is_safe;

/// Longest text of a policy in a plan, in characters. Stops the answer about a manifest from being many times its size.
const SHOWN_CHARS_MAX: usize = 400;
/// Of longer texts what is shown begins so many characters before their first difference.
const BEFORE_CHARS: usize = 80;

/// What is different between two sets of policies, by name.
pub(super) fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<Change> {
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let different = names.into_iter().filter_map(|name| {
        let (from, to) = (before.get(name).map(|text| text.trim()), after.get(name).map(|text| text.trim()));
        (from != to).then(|| {
            let same = from.zip(to).map_or(0, |(from, to)| alike(from, to));
            let is_long = [from, to].into_iter().flatten().any(|text| text.chars().count() > SHOWN_CHARS_MAX);
            let skipped = if is_long { same.saturating_sub(BEFORE_CHARS) } else { 0 };
            let shown = |text: &str| shown(text, skipped);
            Change { field: name.clone(), from: from.map(shown), to: to.map(shown) }
        })
    });
    different.collect()
}

/// How many characters from the beginning are the same.
fn alike(one: &str, other: &str) -> usize {
    one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count()
}

/// A text of several lines that commands no terminal, without what is skipped and what is too much.
fn shown(text: &str, skipped: usize) -> String {
    let chars = text.chars().count();
    let safe = |c: char| if is_safe(c) || c == '\n' || c == '\t' { c } else { '\u{fffd}' };
    let mut out = String::new();
    if skipped > 0 {
        out.push('…');
    }
    out.extend(text.chars().skip(skipped).take(SHOWN_CHARS_MAX).map(safe));
    if chars.saturating_sub(skipped) > SHOWN_CHARS_MAX {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policies(text: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("a/b".to_owned(), text.to_owned())])
    }

    #[test]
    fn a_difference_behind_what_is_shown_is_a_difference_and_is_shown() {
        let long = |word: &str| format!("permit(\n{}{word}{}", "x".repeat(3_000), "y".repeat(3_000));
        let found = changes(&policies(&long("stable")), &policies(&long("beta")));
        let change = &found[0];
        let (from, to) = (change.from.as_deref().unwrap(), change.to.as_deref().unwrap());
        assert!(from.contains("xstabley") && to.contains("xbetay"), "{from}\n{to}");
        assert!(from.starts_with('…') && from.ends_with('…') && from.chars().count() <= SHOWN_CHARS_MAX + 2);
        assert!(changes(&policies(&long("beta")), &policies(&long("beta"))).is_empty());
        // One that only goes on, which leaves nothing of the other behind the difference.
        let found = changes(&policies(&"z".repeat(900)), &policies(&"z".repeat(901)));
        assert!(found[0].from != found[0].to, "{found:?}");
    }

    #[test]
    fn lines_stay_lines_and_nothing_else_commands_a_terminal() {
        let found = changes(&BTreeMap::new(), &policies("permit(\n\tprincipal\u{1b}[2J)\n"));
        assert_eq!(found[0].to.as_deref(), Some("permit(\n\tprincipal\u{fffd}[2J)"));
        assert_eq!((found[0].field.as_str(), &found[0].from), ("a/b", &None));
    }
}
