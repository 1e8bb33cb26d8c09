//! Questions before something dangerous.

use std::io::{self, BufRead as _, Write as _};

use kos_base::text::printable;

use super::{Answers, Terminal};
use crate::Fault;

/// How bad it would be to do it by mistake, and what was said on the command line to that.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Danger<'a> {
    /// Can be undone with effort: a yes is enough.
    Moderate {
        /// Whether `--yes` was given.
        yes: bool,
    },
    /// Cannot be undone: the name must be typed.
    Severe {
        /// The name of what it happens to.
        name: &'a str,
        /// Another word for it that counts as well.
        id: &'a str,
        /// What `--confirm` was given.
        confirmed: Option<&'a str>,
    },
}

impl Danger<'_> {
    /// Whether the command line left it to a person to say.
    pub(crate) const fn is_asked(self) -> bool {
        matches!(self, Self::Moderate { yes: false } | Self::Severe { confirmed: None, .. })
    }
}

/// What a person decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consent {
    /// Go on.
    Given,
    /// Leave it.
    Withheld,
}

impl Terminal {
    /// Asks whether to go on, unless the command line says so.
    pub(crate) fn consent(&self, what: &str, danger: Danger<'_>) -> Result<Consent, Fault> {
        let what = printable(what, 200);
        let unconfirmed = |flag: String| Fault::Unconfirmed { what: what.clone(), flag };
        match danger {
            Danger::Moderate { yes: true } => Ok(Consent::Given),
            Danger::Moderate { yes: false } => {
                if self.answers == Answers::Nobody {
                    return Err(unconfirmed("--yes".to_owned()));
                }
                let answer = ask(&format!("{what}? [y/N] "))?;
                Ok(if matches!(answer.as_str(), "y" | "Y" | "yes") {
                    Consent::Given
                } else {
                    Consent::Withheld
                })
            }
            Danger::Severe { name, id, confirmed } => {
                let fits = |typed: &str| typed == name || typed == id;
                let shown = printable(name, 80);
                match confirmed {
                    Some(typed) if fits(typed) => Ok(Consent::Given),
                    Some(typed) => Err(Fault::usage(
                        format!("--confirm `{}` is not the name of what this is about", printable(typed, 80)),
                        format!("repeat with --confirm {}", quoted(&shown)),
                    )),
                    None if self.answers == Answers::Nobody => {
                        Err(unconfirmed(format!("--confirm {}", quoted(&shown))))
                    }
                    None => {
                        let typed =
                            ask(&format!("{what}. This cannot be undone. Type `{shown}` to go on: "))?;
                        Ok(if fits(&typed) { Consent::Given } else { Consent::Withheld })
                    }
                }
            }
        }
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._/=:@".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn ask(question: &str) -> Result<String, Fault> {
    let failed = |source| Fault::Unreadable { path: "stdin".into(), source };
    let mut answer = String::new();
    io::stderr().write_all(question.as_bytes()).and_then(|()| io::stderr().flush()).map_err(failed)?;
    io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    Ok(answer.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::Talk;

    const NOBODY: Terminal =
        Terminal { answers: Answers::Nobody, talk: Talk::Quiet, is_live: false, is_graphical: false };

    #[test]
    fn what_cannot_be_undone_needs_its_name_and_a_yes_is_not_enough() {
        let ask = |confirmed| {
            NOBODY.consent(
                "decommission",
                Danger::Severe { name: "kitchen", id: "kdev-7f4ac30123456789", confirmed },
            )
        };
        assert!(matches!(ask(Some("kitchen")), Ok(Consent::Given)));
        assert!(matches!(ask(Some("kdev-7f4ac30123456789")), Ok(Consent::Given)));
        assert!(matches!(ask(Some("kdev-7f4a")), Err(Fault::Usage { .. })));
        assert!(matches!(ask(None), Err(Fault::Unconfirmed { flag, .. }) if flag == "--confirm kitchen"));
    }

    #[test]
    fn a_hint_can_be_pasted() {
        assert_eq!(quoted("kitchen-2"), "kitchen-2");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
