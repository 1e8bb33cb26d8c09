//! What is known of a vault without opening it.

use clap::Args;
use kos_api::{List, routes, vault::Vault as Item};
use kos_base::text::printable;

use super::{Environment, nothing};
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
            let list: List<Item> = session.client()?.list(&routes::VAULT_LIST, &[], &nothing()).await?;
            session.printer.list(&list)?;
            if list.items.is_empty() {
                session.terminal.note("no vaults");
            }
            for (vault, refusal) in
                list.items.iter().filter_map(|vault| Some((vault, vault.refusal.as_ref()?)))
            {
                let why =
                    format!("{}: {} [{}]; {}", vault.environment, refusal.title, refusal.code, refusal.fix);
                session.terminal.note(&printable(&why, 500));
            }
            return Ok(Ending::Done);
        };
        let vault: Item = session.client()?.show(&routes::VAULT_SHOW, &[name]).await?;
        session.printer.item(&vault).map(|()| Ending::Done)
    }
}
