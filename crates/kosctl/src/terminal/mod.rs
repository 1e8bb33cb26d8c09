//! The person at the other end: colours, questions, secrets, progress. All of it on stderr and stdin.

mod palette;
mod progress;
mod question;
mod secret;

pub(crate) use palette::{Color, Palette, Tone};
pub(crate) use progress::Progress;
pub(crate) use question::{Consent, Danger};
pub(crate) use secret::{choose_secret, read_secret, read_value, type_line, type_secret};

use std::io::{self, Write as _};

/// What is known about the person and the wishes that were expressed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    /// Whether a person can be asked.
    pub(crate) answers: Answers,
    /// How much is said.
    pub(crate) talk: Talk,
    /// Whether stderr is a terminal.
    pub(crate) is_live: bool,
    /// Whether a browser that is opened here would be before the person: on this machine, and not as root.
    pub(crate) is_graphical: bool,
}

/// Whether questions are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// A person is there.
    Person,
    /// Nobody is, or nobody wants to be asked.
    Nobody,
}

/// How much is said on stderr beside errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Talk {
    /// Nothing.
    Quiet,
    /// What helps.
    Normal,
    /// Every request.
    Verbose,
}

impl Terminal {
    /// Says something that helps and is no result.
    pub(crate) fn note(&self, text: &str) {
        if self.talk >= Talk::Normal {
            say(text);
        }
    }
}

/// Writes a line to stderr. Nobody can be told when that fails.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
