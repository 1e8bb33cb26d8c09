//! What went wrong, for programs and people: the HTTP form (RFC 9457) and the form that `kosctl` prints.

use core::fmt;

use kos_base::Code;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::envelope::Kind;

/// The media type of a [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The body of every answer whose status is 400 or above.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// `urn:kos:error:` and the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:kos:error:KOS-E0202")]
    pub type_uri: String,
    /// What happened, in one lower-case sentence; the same for every problem of this code.
    #[schema(example = "this enrolment ticket has expired")]
    pub title: String,
    /// The HTTP status, again.
    #[schema(example = 403)]
    pub status: u16,
    /// What is particular to this case.
    pub detail: Option<String>,
    /// The stable code, `KOS-E` and four digits.
    #[schema(example = "KOS-E0202")]
    pub code: String,
    /// The one thing to try first; a command where there is one.
    pub fix: String,
    /// How a program that meets it ends.
    #[schema(example = 5)]
    pub exit_code: u8,
    /// Under which id the server's log has the whole story.
    pub request_id: Option<String>,
    /// What it happened to.
    pub object: Option<Party>,
}

impl Problem {
    /// The problem of `code`, with the status and the words of the table.
    pub fn new(code: Code) -> Self {
        Self {
            type_uri: format!("urn:kos:error:{code}"),
            title: code.title().to_owned(),
            status: code.exit().http_status(),
            detail: None,
            code: code.to_string(),
            fix: code.fix().to_owned(),
            exit_code: code.exit().code(),
            request_id: None,
            object: None,
        }
    }

    /// The same, saying what is particular to this case.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// The same with something better to try first than the code's own.
    #[must_use]
    pub fn with_fix(self, fix: impl Into<String>) -> Self {
        Self { fix: fix.into(), ..self }
    }

    /// The same, naming what it happened to.
    #[must_use]
    pub fn about(self, object: Party) -> Self {
        Self { object: Some(object), ..self }
    }

    /// The same, under an id that the server's log has too.
    #[must_use]
    pub fn with_request_id(self, id: impl Into<String>) -> Self {
        Self { request_id: Some(id.into()), ..self }
    }

    /// The same with another status of the same family, where HTTP has one that says more (412, 413, 429).
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }
}

/// What `kosctl -o json` prints on stderr, in an envelope of kind `Error`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The stable code, `KOS-E` and four digits.
    pub code: String,
    /// What happened.
    pub title: String,
    /// What is particular to this case.
    pub detail: Option<String>,
    /// The one thing to try first.
    pub fix: String,
    /// How the program ends.
    pub exit_code: u8,
    /// Under which id the server's log has the whole story.
    pub request_id: Option<String>,
    /// What it happened to.
    pub object: Option<Party>,
}

impl Kind for Failure {
    const KIND: &'static str = "Error";
}

impl From<Problem> for Failure {
    fn from(p: Problem) -> Self {
        Self {
            code: p.code,
            title: p.title,
            detail: p.detail,
            fix: p.fix,
            exit_code: p.exit_code,
            request_id: p.request_id,
            object: p.object,
        }
    }
}

/// Somebody or something: who acted, or on what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Party {
    /// What it is: `device`, `operator`, `authority`, `ticket`, ...
    #[serde(rename = "type")]
    #[schema(example = "device")]
    pub kind: String,
    /// Which one; nothing for a stranger, and for a person whose data was erased.
    #[schema(example = "kdev-7f4ac30123456789")]
    pub id: Option<String>,
}

impl Party {
    /// The `kind` called `id`.
    pub fn new(kind: impl Into<String>, id: &(impl fmt::Display + ?Sized)) -> Self {
        Self { kind: kind.into(), id: Some(id.to_string()) }
    }

    /// A `kind` of whom no more is known.
    pub fn nameless(kind: impl Into<String>) -> Self {
        Self { kind: kind.into(), id: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_carries_the_words_of_the_table_and_becomes_a_failure() {
        let problem = Problem::new(kos_base::code::enrolment::TICKET_EXPIRED)
            .with_detail("created 14 min ago")
            .about(Party::new("ticket", "0190f8e2"))
            .with_request_id("r1");
        let value = serde_json::to_value(&problem).unwrap();
        assert_eq!(value["type"], "urn:kos:error:KOS-E0202");
        assert_eq!((value["status"].as_u64(), value["exitCode"].as_u64()), (Some(403), Some(5)));
        let failure = serde_json::to_value(crate::Document::new(Failure::from(problem))).unwrap();
        assert_eq!(failure["kind"], "Error");
        assert_eq!(failure["item"]["object"]["type"], "ticket");
        assert_eq!(failure["item"]["requestId"], "r1");
    }
}
