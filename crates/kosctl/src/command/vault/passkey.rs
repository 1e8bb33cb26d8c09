//! Passkeys that open a vault: made and used in a browser, on a page that this program serves until it has its answer.
//!
//! Invariants: what a passkey gives goes from the page to the authority and nowhere else. A slot is asked for only after the
//! passkey signed with its key, with a PIN or biometric, and gave the same twice.
//!
//! Source: `docs/spec/vault.md` KVS-21 to KVS-23.

use clap::{Args, Subcommand};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use kos_api::{
    List as Listed,
    authority::Status,
    routes,
    text::SecretText,
    vault::{AddPasskey, UnlockVault, Vault as Item, VaultPasskey, VaultSlot},
};
use kos_base::{Secret, text::printable};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{CodeFlag, PassphraseFlag, Place, Removal, Slot, change};
use crate::{
    Change, Client, Fault,
    arguments::ChangeFlags,
    chance,
    page::{
        self,
        webauthn::{Assertion, Creation, Made, RELYING_PARTY, Stage, Unfit},
    },
    session::{Ending, Session},
};

/// What to do with passkeys.
#[derive(Debug, Subcommand)]
pub(crate) enum Passkey {
    /// Lets a passkey open a vault: serves a page on this machine, on which a browser makes it.
    Add(Add),
    /// Lists the passkeys that open a vault.
    List(List),
    /// Removes the slot of a passkey.
    Remove(Remove),
}

/// Where the page is served.
#[derive(Debug, Args)]
pub(super) struct PageFlag {
    /// The port of the page on 127.0.0.1 and ::1, for a tunnel that stands already; without it, any that is free.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1024..))]
    port: Option<u16>,
}

/// `vault passkey add`
#[derive(Debug, Args)]
pub(crate) struct Add {
    #[command(flatten)]
    place: Place,
    /// What people call it; without it, `passkey-` and a number.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    page: PageFlag,
    #[command(flatten)]
    passphrase: PassphraseFlag,
    #[command(flatten)]
    code: CodeFlag,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `vault passkey list`
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    place: Place,
}

/// `vault passkey remove NAME`
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The passkey, as `vault passkey list` names it.
    name: String,
    #[command(flatten)]
    removal: Removal,
}

/// What the page brings when a passkey was made.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Added {
    made: Creation,
    uses: Vec<Assertion>,
}

/// What it brings when one was used.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Used {
    used: Assertion,
}

impl Passkey {
    pub(super) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        match self {
            Self::Add(add) => add.run(session).await,
            Self::List(list) => list.run(session).await,
            Self::Remove(remove) => remove.run(session).await,
        }
    }
}

impl Add {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let (client, environment) = (session.client()?, self.place.name());
        let vault: Item = client.show(&routes::VAULT_SHOW, &[environment]).await?;
        let is_free = |name: &String| vault.slots.iter().all(|slot| slot.name != *name);
        let numbered = || (1..).map(|n: u32| format!("passkey-{n}")).find(is_free);
        let name = self.name.clone().or_else(numbered).unwrap_or_default();
        let passphrase = self.passphrase.read()?;
        if !self.change.dry_run && vault.authoriser.is_none() {
            // A wrong one is told before a passkey is made that nothing becomes of. With codes it would take two of them.
            let body = UnlockVault { passphrase: Some(passphrase.clone()), passkey: None, code: None };
            let how = Change::default();
            client.change::<Item, _>(&routes::VAULT_UNLOCK, &[environment], &body, &how).await?;
        }
        let salt: [u8; 32] = chance::bytes()?;
        let made = if self.change.dry_run {
            // A plan needs a passkey that could be, and makes none.
            let (credential, output) = (chance::bytes::<32>()?.to_vec(), Secret::new(chance::bytes()?));
            Made { credential, output, is_copied: false }
        } else {
            self.make(session, &client, &vault, &salt).await?
        };
        let passkey = VaultPasskey {
            credential_id: BASE64URL_NOPAD.encode(&made.credential),
            relying_party: RELYING_PARTY.to_owned(),
            prf_salt: BASE64URL_NOPAD.encode(&salt),
        };
        let code = self.code.read(session, &client, environment, &self.change).await?;
        let body = AddPasskey { passphrase, passkey, output: sent(&made.output), code };
        let values = [environment, name.as_str()];
        let ending =
            change::<Item, _>(session, &client, &routes::VAULT_PASSKEY_ADD, &values, &body, &self.change)
                .await?;
        if made.is_copied {
            session.terminal.note(
                "whoever keeps this passkey for its owner may copy it to other devices: their account opens the vault too",
            );
        }
        Ok(ending)
    }

    async fn make(
        &self,
        session: &Session,
        client: &Client,
        vault: &Item,
        salt: &[u8; 32],
    ) -> Result<Made, Fault> {
        let status: Status = client.show(&routes::STATUS, &[]).await?;
        let whose = printable(&format!("{} of {}", vault.environment, status.authority), 60);
        let task = json!({
            "act": "add",
            "title": format!("Add a passkey to the vault {whose}"),
            "about": "From then on whoever has this passkey, with its PIN, fingerprint or face, opens the vault. If you did not \
                      begin this in a terminal, close the page.",
            "relyingParty": RELYING_PARTY,
            // A new one each time: an authenticator keeps one passkey for each of them.
            "user": {"id": BASE64URL_NOPAD.encode(&chance::bytes::<32>()?), "name": format!("Vault {whose}")},
            "salt": BASE64URL_NOPAD.encode(salt),
            "passkeys": known(&vault.slots),
        });
        let judge = |stage: &Stage, answer: &[u8]| {
            let Added { made, uses } = read(answer)?;
            stage.created(&made, &uses)
        };
        page::ask(session, self.page.port, task, judge).await
    }
}

impl List {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let vault: Item = session.client()?.show(&routes::VAULT_SHOW, &[self.place.name()]).await?;
        let items: Vec<VaultSlot> = vault.slots.into_iter().filter(|slot| slot.passkey.is_some()).collect();
        let none = items.is_empty();
        session.printer.list(&Listed::complete(items))?;
        if none {
            session.terminal.note("no passkeys");
        }
        Ok(Ending::Done)
    }
}

impl Remove {
    async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let question = format!("let the passkey {} open {} no more", self.name, self.removal.place.name());
        let slot = Slot {
            kind: "passkey",
            name: &self.name,
            list: "kosctl vault passkey list",
            is_meant: |slot| slot.passkey.is_some(),
        };
        self.removal.run(session, &routes::VAULT_PASSKEY_REMOVE, (Some(slot), &question)).await
    }
}

impl PageFlag {
    /// What a passkey of the vault gives, in base64; `what` says what it is for.
    pub(super) async fn use_one(
        &self,
        session: &Session,
        client: &Client,
        environment: &str,
        what: &str,
    ) -> Result<SecretText, Fault> {
        let vault: Item = client.show(&routes::VAULT_SHOW, &[environment]).await?;
        let passkeys = known(&vault.slots);
        let ids: Vec<String> =
            passkeys.iter().filter_map(|known| known.get("id")?.as_str()).map(str::to_owned).collect();
        if ids.is_empty() {
            return Err(page::PageFault::NoPasskey(environment.to_owned()).into());
        }
        let whose = printable(environment, 40);
        let task = json!({
            "act": "use",
            "title": format!("{what} the vault {whose}"),
            "about": "Your passkey gives what opens it to the command in the terminal. If you did not begin that, close the page.",
            "relyingParty": RELYING_PARTY,
            "passkeys": passkeys,
        });
        let judge = move |stage: &Stage, answer: &[u8]| {
            let Used { used } = read(answer)?;
            stage.used(&used, &ids)
        };
        Ok(sent(&page::ask(session, self.port, task, judge).await?))
    }
}

/// The passkeys that a page of this program may ask.
fn known(slots: &[VaultSlot]) -> Vec<Value> {
    let passkeys = slots.iter().filter_map(|slot| slot.passkey.as_ref());
    let here = passkeys.filter(|passkey| passkey.relying_party == RELYING_PARTY);
    here.map(|passkey| json!({"id": passkey.credential_id, "salt": passkey.prf_salt})).collect()
}

fn read<'a, T: Deserialize<'a>>(answer: &'a [u8]) -> Result<T, Unfit> {
    serde_json::from_slice(answer).map_err(|_| Unfit::Answer("it has another form than the page gives it"))
}

fn sent(output: &Secret<32>) -> SecretText {
    SecretText::new(BASE64.encode(output.expose()))
}
