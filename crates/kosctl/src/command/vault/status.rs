//! What is known of a vault without opening it.

use clap::Args;
use kos_api::{routes, vault::Vault as Item};

use super::{Environment, print_all};
use crate::{
    Fault,
    session::{Ending, Session},
};

/// `vault status`
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Only the vault of this environment, with its slots.
    #[arg(long, value_name = "NAME")]
    env: Option<Environment>,
}

impl Status {
    pub(super) async fn run(&self, session: &Session) -> Result<Ending, Fault> {
        let Some(Environment(name)) = &self.env else {
            return print_all::<Item>(session, &routes::VAULT_LIST, &[]).await;
        };
        let vault: Item = session.client()?.show(&routes::VAULT_SHOW, &[name]).await?;
        session.printer.item(&vault).map(|()| Ending::Done)
    }
}
