//! Pairings of devices with users and agents.

use std::path::PathBuf;

use clap::Args;
use data_encoding::BASE64;
use kos_api::{
    List,
    pairing::{Pairing as Item, ProposePairing},
    routes,
};

use super::device::{Named, find};
use crate::{
    Fault,
    arguments::ChangeFlags,
    files,
    session::{Ending, Session},
    terminal::{Consent, Danger},
};

/// Longest key file that is read, in bytes.
const KEY_BYTES_MAX: u64 = 4_096;

/// `device pair D --with PARTNER`
#[derive(Debug, Args)]
pub(crate) struct Pair {
    #[command(flatten)]
    named: Named,
    /// With whom: `user:NAME`, an operator who may write, or `kai:ID`, a node of kAI. Both sides have to confirm it.
    #[arg(long, value_name = "PARTNER")]
    with: String,
    /// The public key by which an agent is known: PEM or DER of its SubjectPublicKeyInfo.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// How far an agent is trusted: `external`, `partner` or `trusted`; `external` when not given.
    #[arg(long, value_name = "LEVEL")]
    trust: Option<String>,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `device unpair D --from PARTNER`
#[derive(Debug, Args)]
pub(crate) struct Unpair {
    #[command(flatten)]
    named: Named,
    /// From whom: `user:NAME` or `kai:ID`.
    #[arg(long, value_name = "PARTNER")]
    from: String,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `device confirm-pairing D`
#[derive(Debug, Args)]
pub(crate) struct Confirm {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    change: ChangeFlags,
}

impl Pair {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let key = self.key.as_deref().map(|path| files::read(path, KEY_BYTES_MAX)).transpose()?;
        let id = find(&client, &self.named.device).await?.device.device_id;
        let request = ProposePairing {
            with: self.with,
            key: key.map(|key| BASE64.encode(&der_of(key))),
            trust_level: self.trust,
        };
        let how = self.change.change();
        let done = client.change::<Item, _>(&routes::PAIRING_PROPOSE, &[id.as_ref()], &request, &how).await?;
        session.outcome(&done)
    }
}

impl Unpair {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let id = find(&client, &self.named.device).await?.device.device_id;
        let (route, values) = (&routes::PAIRING_END, [id.as_ref(), self.from.as_str()]);
        let nothing = serde_json::json!({});
        let question = format!("end the pairing of {id} with {}, and the grants under it", self.from);
        let danger = Danger::Moderate { yes: self.change.yes };
        let asked =
            session.consent_to(&client, (route, &values, &nothing), (&question, danger), self.change.dry_run);
        if asked.await? == Consent::Withheld {
            return Ok(Ending::Withheld);
        }
        session.outcome(&client.change::<Item, _>(route, &values, &nothing, &self.change.change()).await?)
    }
}

impl Confirm {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let id = find(&client, &self.named.device).await?.device.device_id;
        let (route, nothing, how) = (&routes::PAIRING_CONFIRM, serde_json::json!({}), self.change.change());
        session.outcome(&client.change::<Item, _>(route, &[id.as_ref()], &nothing, &how).await?)
    }
}

/// `device pairings D`
pub(crate) async fn list(session: &Session, named: &Named) -> Result<Ending, Fault> {
    let client = session.client()?;
    let id = find(&client, &named.device).await?.device.device_id;
    let nothing = serde_json::json!({});
    let list: List<Item> = client.list(&routes::PAIRING_LIST, &[id.as_ref()], &nothing).await?;
    session.printer.list(&list)?;
    Ok(Ending::Done)
}

/// The DER of a key in PEM or DER. What is neither, the server refuses.
fn der_of(key: Vec<u8>) -> Vec<u8> {
    let text = core::str::from_utf8(&key).ok().filter(|text| text.contains("-----BEGIN PUBLIC KEY-----"));
    let lines = text.map(|text| text.lines().filter(|line| !line.starts_with("-----")).collect::<String>());
    lines.and_then(|base64| BASE64.decode(base64.trim().as_bytes()).ok()).unwrap_or(key)
}
