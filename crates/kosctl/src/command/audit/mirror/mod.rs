//! Copies of the log elsewhere: made, continued, and never turned back.

mod folder;
mod pull;

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
}

impl Mirror {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        match self {
            Self::Pull(pull) => pull.run(session).await,
        }
    }
}
