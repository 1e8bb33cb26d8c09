//! Copies of the log elsewhere: made, continued, and never turned back.

mod folder;
mod pull;
mod targets;

use clap::Subcommand;

use crate::{
    Fault,
    session::{Ending, Session},
};

/// What to do with copies of the log.
#[derive(Debug, Subcommand)]
pub(crate) enum Mirror {
    /// Brings a copy of the log up to date, every byte verified as it arrives; exits 8 if the source contradicts the copy.
    Pull(pull::Pull),
    /// Has the authority bring every copy that it writes up to date now; exits 10 if one is not.
    Push,
    /// Has the authority write a copy of its log elsewhere, and keep it up to date.
    Add(targets::Add),
    /// Lists where the authority writes copies, and how each stands.
    List,
    /// Has the authority write a copy no more.
    Remove(targets::Remove),
}

impl Mirror {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        match self {
            Self::Pull(pull) => pull.run(session).await,
            Self::Push => targets::push(session).await,
            Self::Add(add) => add.run(session).await,
            Self::List => targets::list(session).await,
            Self::Remove(remove) => remove.run(session).await,
        }
    }
}
