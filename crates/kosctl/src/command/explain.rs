//! Error codes, explained from the table that every program of kOS carries.

use clap::Args;
use kos_api::Kind;
use kos_base::{Code, code::Exit, text::printable};
use serde::{Deserialize, Serialize};

use crate::{
    Fault,
    output::{Column, Shown},
    session::{Ending, Session},
};

/// `explain CODE`
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The code: `KOS-E0202`, `E0202` or `202`.
    code: String,
}

/// What a code means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    code: String,
    title: String,
    area: String,
    fix: String,
    exit_code: u8,
    exit_meaning: String,
}

impl Kind for Explanation {
    const KIND: &'static str = "Explanation";
}

impl Shown for Explanation {
    const NAME: &'static str = "code";
    const PLURAL: &'static str = "explanations";
    const COLUMNS: &'static [Column<'static>] = &[
        Column::of("code", "code"),
        Column::of("means", "title"),
        Column::of("area", "area"),
        Column::of("fix", "fix"),
        Column::of("exit", "exitCode"),
        Column::of("that is", "exitMeaning"),
    ];
}

impl Explain {
    pub(crate) fn run(&self, session: &Session) -> Result<Ending, Fault> {
        let code = Code::find(&self.code.to_ascii_uppercase()).ok_or_else(|| {
            let message = format!("`{}` is not a code of this version", printable(&self.code, 40));
            Fault::usage(message, "docs/reference/errors.md lists them all")
        })?;
        let explanation = Explanation {
            code: code.to_string(),
            title: code.title().to_owned(),
            area: area(code).to_owned(),
            fix: code.fix().to_owned(),
            exit_code: code.exit().code(),
            exit_meaning: meaning(code.exit()).to_owned(),
        };
        session.printer.item(&explanation).map(|()| Ending::Done)
    }
}

/// What the first two digits say.
pub(super) const fn area(code: Code) -> &'static str {
    match code.number() / 100 {
        0 => "use and configuration",
        1 => "store",
        2 => "enrolment",
        3 => "certificates",
        4 => "KLP",
        5 => "audit log",
        6 => "vault",
        7 => "policy",
        8 => "trust: vouchers, tokens, pairings, second verifiers",
        _ => "the build with the FIPS module",
    }
}

/// What an exit code says.
pub(super) const fn meaning(exit: Exit) -> &'static str {
    match exit {
        Exit::Other => "something else went wrong",
        Exit::Usage => "the command or the request makes no sense",
        Exit::NotFound => "there is no such thing",
        Exit::NotSignedIn => "not signed in",
        Exit::Refused => "refused by a rule",
        Exit::Conflict => "it conflicts with how things are",
        Exit::Unreachable => "unreachable or overloaded; try later",
        Exit::Trust => "a signature, chain or pin failed; do not retry",
        Exit::Partly => "partly done",
        Exit::CheckFailed => "a check says no",
    }
}
