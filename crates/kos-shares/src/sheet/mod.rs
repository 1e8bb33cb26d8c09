//! The page on which a person keeps one share: as text, or as a page for a printer.
//!
//! Shape: both say the same. Title, vault, holder, which share of how many, date, set; the words, numbered; what to do with
//! it. The page has the words once more as a QR code, in capitals since QR codes hold those in less room.
//!
//! Invariants: a page is one file that loads nothing and runs nothing, and its policy says so to the browser. Names are
//! cut to [`TEXT_CHARS_MAX`], lose what a terminal would obey, and are escaped. Both texts are wiped when dropped; what the
//! QR encoder held meanwhile is not.
//!
//! Source: `docs/spec/recovery.md` RCV-21 to RCV-23.

mod page;

use core::fmt::Write as _;

use kos_base::{Timestamp, text::printable};

use crate::{Plan, SecretText, Share};

/// Most characters of a name on a sheet: more do not fit in a line.
pub const TEXT_CHARS_MAX: usize = 64;

/// Longest sheet as text, in bytes.
const TEXT_BYTES_MAX: usize = 4096;

/// Words in a row of the text.
const COLUMNS: usize = 4;

const TITLE: &str = "Recovery share";

/// All that stands on a sheet.
#[derive(Clone, Copy, Debug)]
pub struct Sheet<'a> {
    /// Whose words.
    pub share: &'a Share,
    /// What the key opens.
    pub vault: &'a str,
    /// Who keeps it.
    pub holder: &'a str,
    /// That by which the share was made.
    pub plan: Plan,
    /// When it was made.
    pub made_at: Timestamp,
}

impl Sheet<'_> {
    /// As plain text of less than 80 columns.
    pub fn to_text(&self) -> SecretText {
        let mut text = SecretText::with_room(TEXT_BYTES_MAX);
        let _ = writeln!(text, "{TITLE} {}\n", self.place());
        for (name, value) in self.facts() {
            let _ = writeln!(text, "{name:<8}{value}");
        }
        text.push("\n");
        let words = self.share.to_words();
        let words: Vec<&str> = words.expose().split(' ').collect();
        for (number, word) in (1..).zip(&words) {
            let ends_line = number % COLUMNS == 0 || number == words.len();
            let (width, end) = if ends_line { (0, "\n") } else { (8, "") };
            let _ = write!(text, "{number:>4}. {word:<width$}{end}");
        }
        let _ = writeln!(text, "\n{}", self.advice().join("\n"));
        text
    }

    /// As one HTML page that fits on one sheet of paper.
    pub fn to_html(&self) -> SecretText {
        page::write(self)
    }

    fn place(&self) -> String {
        format!("{} of {}", self.share.number(), self.plan.total())
    }

    fn facts(&self) -> [(&'static str, String); 4] {
        let date = self.made_at.to_string();
        [
            ("Vault", printable(self.vault, TEXT_CHARS_MAX)),
            ("Holder", printable(self.holder, TEXT_CHARS_MAX)),
            ("Date", date.split('T').next().unwrap_or_default().to_owned()),
            ("Set", self.share.identifier().to_string()),
        ]
    }

    fn advice(&self) -> [String; 4] {
        let needed = match self.plan.threshold() {
            1 => "This sheet alone gives the key of the vault.".to_owned(),
            needed => {
                format!("Any {needed} sheets of this set give the key of the vault; fewer give nothing.")
            }
        };
        [
            needed,
            "Keep it where nobody else reads it. Do not photograph, store or send it.".to_owned(),
            "A sheet of another set number is of another sharing and does not go with it.".to_owned(),
            "Any program for SLIP-39 joins the words, without a passphrase.".to_owned(),
        ]
    }
}
