//! Why a call or a command failed, grouped by whose move is next.
//!
//! Every fault has a code, and becomes a [`Failure`] for printing. Nothing here shows an operating system's or a
//! library's own message: [`reason`] puts them into our words.

use std::{io, path::PathBuf, time::Duration};

use kos_api::{Failure, Problem, problem::Party};
use kos_base::{
    Code,
    approved::{ModuleMissing, NotApproved},
    code,
    text::{printable, reason},
};

/// Why it failed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The server understood, and said no.
    #[error("{}", .0.title)]
    Answered(Box<Problem>),

    /// No server was named, and none is here.
    #[error("looked for {}", .0.join(", "))]
    NoServer(Vec<String>),
    /// The server cannot be reached.
    #[error("{server}: {reason}")]
    Unreachable {
        /// Where it should be.
        server: String,
        /// What was met instead.
        reason: String,
    },
    /// The server did not answer in time.
    #[error("{server}: no answer within {}", length(*.after))]
    TimedOut {
        /// Which.
        server: String,
        /// How long we waited.
        after: Duration,
    },
    /// What was ordered did not happen while we waited.
    #[error("{what} did not happen within {}", length(*.after))]
    NotInTime {
        /// What we waited for.
        what: String,
        /// How long.
        after: Duration,
    },

    /// The server is not who it should be, or its connection was tampered with.
    #[error("{server}: {reason}")]
    Untrusted {
        /// Which.
        server: String,
        /// What was wrong.
        reason: String,
        /// The code that says so best.
        code: Code,
    },
    /// The socket belongs to a user that we do not trust.
    #[error("`{}` belongs to user {owner}", .path.display())]
    SocketOwner {
        /// Where it is.
        path: PathBuf,
        /// The number of its owner.
        owner: u32,
    },
    /// The server does not take our certificate, or wants one.
    #[error("{server}: {reason}")]
    NotSignedIn {
        /// Which.
        server: String,
        /// What it said.
        reason: String,
    },
    /// The answer is not what the API promises.
    #[error("{server}: {reason}")]
    Answer {
        /// Whose.
        server: String,
        /// What is wrong with it.
        reason: String,
    },

    /// The command line makes no sense.
    #[error("{message}")]
    Usage {
        /// Why.
        message: String,
        /// A command that does.
        fix: String,
    },
    /// Something dangerous was asked for without the word that confirms it.
    #[error("{what}")]
    Unconfirmed {
        /// What would happen.
        what: String,
        /// What to add to the command.
        flag: String,
    },
    /// Something that is kept on this machine is not there.
    #[error("no {kind} `{name}`")]
    Missing {
        /// What kind of thing.
        kind: &'static str,
        /// Its name.
        name: String,
        /// How to see what there is.
        fix: &'static str,
    },
    /// A file that is read as something is not that.
    #[error("`{}`: {reason}", .path.display())]
    Malformed {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// The code that says so best.
        code: Code,
    },
    /// What was handed in as a share of a recovery key is none, or not the right one.
    #[error("{from}: {source}")]
    Share {
        /// Where its words came from.
        from: String,
        /// Why; prints no word.
        #[source]
        source: kos_shares::ShareError,
    },
    /// A file cannot be read.
    #[error("`{}`: {}", .path.display(), reason(.source))]
    Unreadable {
        /// Where it is.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("`{}`: {}", .path.display(), reason(.source))]
    Unwritable {
        /// Where it is.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What a secret is to be called is no name for one.
    #[error("{0}")]
    Name(kos_vault::ParseNameError),
    /// The page for a passkey brought nothing that opens a vault.
    #[error(transparent)]
    Page(#[from] crate::page::PageFault),
    /// This build has the FIPS module, which does not approve of that algorithm.
    #[error(transparent)]
    NotApproved(#[from] NotApproved),
    /// This build was made for the FIPS module, and does not have it.
    #[error(transparent)]
    ModuleMissing(#[from] ModuleMissing),
    /// A person pressed Ctrl-C at a question.
    #[error("interrupted")]
    Interrupted,
    /// Nobody reads our output any more.
    #[error("the output is closed")]
    OutputClosed,
    /// This program failed.
    #[error("{0}")]
    Internal(String),
}

impl Fault {
    /// The command line makes no sense, and `fix` does.
    pub fn usage(message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), fix: fix.into() }
    }

    /// The code of the table; of an answer, the nearest that this version knows.
    pub fn code(&self) -> Code {
        match self {
            Self::Answered(problem) => Code::find(&problem.code).unwrap_or(code::config::INTERNAL),
            Self::NoServer(_) => code::config::NO_SERVER,
            Self::Unreachable { .. } | Self::TimedOut { .. } => code::config::UNREACHABLE,
            Self::NotInTime { .. } => code::config::NOT_IN_TIME,
            Self::Untrusted { code, .. } | Self::Malformed { code, .. } => *code,
            Self::SocketOwner { .. } => code::config::SOCKET_OWNER,
            Self::NotSignedIn { .. } => code::config::NOT_SIGNED_IN,
            Self::Answer { .. } => code::config::ANSWER_UNREADABLE,
            Self::Usage { .. } => code::config::USAGE,
            Self::Unconfirmed { .. } => code::config::CONFIRM_NEEDED,
            Self::Missing { .. } => code::config::NOT_FOUND,
            Self::Share { source, .. } => source.code(),
            Self::Unreadable { .. } => code::config::FILE_UNREADABLE,
            Self::Unwritable { .. } => code::config::FILE_UNWRITABLE,
            Self::Name(_) => code::vault::VAULT_NAME,
            Self::Page(page) => page.code(),
            Self::NotApproved(refusal) => refusal.code(),
            Self::ModuleMissing(missing) => missing.code(),
            Self::OutputClosed | Self::Interrupted | Self::Internal(_) => code::config::INTERNAL,
        }
    }

    /// How the program ends. A server newer than us may know exits of codes that we do not.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Answered(problem) => problem.exit_code.clamp(1, 10),
            _ => self.code().exit().code(),
        }
    }

    /// What is printed.
    pub fn failure(&self) -> Failure {
        if let Self::Answered(problem) = self {
            let mut failure = Failure::from(Problem::clone(problem));
            failure.exit_code = self.exit_code();
            return failure;
        }
        let code = self.code();
        let fix = match self {
            Self::Usage { fix, .. } => fix.clone(),
            Self::Unconfirmed { flag, .. } => format!("repeat with {flag}"),
            Self::Missing { fix, .. } => (*fix).to_owned(),
            _ => code.fix().to_owned(),
        };
        let object = match self {
            Self::Unreadable { path, .. } | Self::Unwritable { path, .. } | Self::Malformed { path, .. } => {
                Some(Party::new("file", &path.display()))
            }
            _ => None,
        };
        Failure {
            code: code.to_string(),
            title: code.title().to_owned(),
            detail: Some(printable(&self.to_string(), 500)),
            fix,
            exit_code: code.exit().code(),
            request_id: None,
            object,
        }
    }
}

fn length(span: Duration) -> String {
    if span < Duration::from_secs(1) {
        format!("{} ms", span.as_millis())
    } else {
        format!("{} s", span.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_keeps_the_exit_of_a_code_that_we_do_not_know() {
        let mut problem = Problem::new(code::store::STORE_CONFLICT);
        problem.code = "KOS-E0999".into();
        let fault = Fault::Answered(Box::new(problem));
        assert_eq!((fault.exit_code(), fault.failure().code.as_str()), (6, "KOS-E0999"));
    }

    #[test]
    fn a_missing_file_is_named_without_the_words_of_the_system() {
        let source = io::Error::from_raw_os_error(2);
        let failure = Fault::Unreadable { path: "/nope".into(), source }.failure();
        assert_eq!(failure.detail.as_deref(), Some("`/nope`: there is nothing of this name"));
        assert_eq!(failure.object.and_then(|o| o.id).as_deref(), Some("/nope"));
    }
}
