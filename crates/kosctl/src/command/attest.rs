//! Attestation: what was verified of a device, whose TPMs count, what good starts look like.

use core::time::Duration;

use clap::{Args, Subcommand};
use kos_api::{
    List,
    attestation::{AddEk, AddGolden, AddVerifier, Attestation, Golden as Set, ListedEk, Verifier as Node},
    device::Device,
    lifecycle, routes,
};
use kos_base::{DeviceId, KeyId, Name};

use super::{device::Named, follow};
use crate::{
    Change, Fault,
    arguments::ChangeFlags,
    session::{Ending, Session},
    terminal::{Consent, Danger},
};

/// What to do with attestations.
#[derive(Debug, Subcommand)]
pub(crate) enum Attest {
    /// Shows what was verified last of a device's TPM.
    Show {
        /// The device, by its id or how it begins.
        device: String,
    },
    /// Endorsement keys of TPMs that count without a certificate.
    #[command(subcommand)]
    Ek(Ek),
    /// What good starts look like.
    #[command(subcommand)]
    Golden(Golden),
    /// Devices that judge others before these get SEC-4.
    #[command(subcommand)]
    Verifier(Verifier),
}

/// What to do with endorsement keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Ek {
    /// Has a TPM count by its endorsement key.
    Add(AddKey),
    /// Lists them.
    List,
    /// Has one count no more. What it was believed for before stays as it is until the next certificate.
    Remove(Remove<KeyId>),
}

/// What to do with golden sets.
#[derive(Debug, Subcommand)]
pub(crate) enum Golden {
    /// Makes a set of what a device showed last: from now on such a start is a good one.
    Add(AddSet),
    /// Lists them.
    List,
    /// Removes one.
    Remove(Remove<Name>),
}

/// What to do with second verifiers.
#[derive(Debug, Subcommand)]
pub(crate) enum Verifier {
    /// Lets a device of SEC-3 or higher judge others, by lists that its own operator puts on it (`verifier.file`).
    Add(Remove<DeviceId>),
    /// Lists them, and why one cannot judge now.
    List,
    /// Lets one judge no more. What it has judged stays.
    Remove(Remove<DeviceId>),
}

/// `attest ek add EK`
#[derive(Debug, Args)]
pub(crate) struct AddKey {
    /// Its id: 64 characters of lower-case hex.
    ek: KeyId,
    /// Where it comes from.
    #[arg(long, default_value = "")]
    note: String,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `attest golden add NAME --from ID`
#[derive(Debug, Args)]
pub(crate) struct AddSet {
    /// What it is called.
    name: Name,
    /// The device, by its whole id.
    #[arg(long, value_name = "ID")]
    from: DeviceId,
    #[command(flatten)]
    change: ChangeFlags,
}

/// `.. remove WHICH`
#[derive(Debug, Args)]
pub(crate) struct Remove<T: std::str::FromStr + Clone + Send + Sync + 'static>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    /// Which.
    which: T,
    #[command(flatten)]
    change: ChangeFlags,
}

/// How long a device may take for a fresh proof unless `--timeout` says otherwise: an order over its link, a conversation, and a slow TPM.
const PROOF_TIME_MAX: Duration = Duration::from_secs(60);

/// `device attest D`
#[derive(Debug, Args)]
pub(crate) struct Ask {
    #[command(flatten)]
    named: Named,
}

impl Ask {
    /// Has the device make new keys, for which its TPM has to answer a fresh challenge, and judges what came of it against
    /// what was known before.
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let device = self.named.device.as_str();
        let before = client.show::<Attestation>(&routes::ATTESTATION, &[device]).await?;
        let (id, how) = (before.device_id.to_string(), Change { dry_run: false, if_match: None });
        let body = lifecycle::Because { reason: None };
        client.change::<Device, _>(&routes::DEVICE_REGEN_CERT, &[&id], &body, &how).await?;
        let limit = session.timeout.unwrap_or(PROOF_TIME_MAX);
        let now = follow::until(session, "the new proof", limit, async || {
            let now = client.show::<Attestation>(&routes::ATTESTATION, &[&id]).await?;
            Ok((now.verified_at > before.verified_at).then_some(now))
        });
        let now = now.await?;
        session.printer.item(&now)?;
        let is_weaker = now.evidence_tier < before.evidence_tier;
        if is_weaker {
            let (was, is) = (before.evidence_tier.as_str(), now.evidence_tier.as_str());
            session.terminal.note(&format!("the evidence is weaker than before: {is}, where it was {was}"));
        }
        if now.ek != before.ek {
            session.terminal.note("the TPM is another one than before: its endorsement key is not the same");
        }
        if now.pcrs != before.pcrs {
            session.terminal.note("the TPM tells of another start than before (wide output shows the PCRs)");
        }
        Ok(Ending::judged(!is_weaker && now.pcrs == before.pcrs && now.ek == before.ek))
    }
}

impl Attest {
    pub(crate) async fn run(self, session: &Session) -> Result<Ending, Fault> {
        let client = session.client()?;
        let nothing = serde_json::json!({});
        match self {
            Self::Show { device } => {
                let held = client.show::<Attestation>(&routes::ATTESTATION, &[&device]).await?;
                session.printer.item(&held)?;
                Ok(Ending::Done)
            }
            Self::Ek(Ek::List) => {
                let list: List<ListedEk> = client.list(&routes::EK_LIST, &[], &nothing).await?;
                follow::print_whole(session, &list)
            }
            Self::Golden(Golden::List) => {
                let list: List<Set> = client.list(&routes::GOLDEN_LIST, &[], &nothing).await?;
                follow::print_whole(session, &list)
            }
            Self::Verifier(Verifier::List) => {
                let list: List<Node> = client.list(&routes::VERIFIER_LIST, &[], &nothing).await?;
                follow::print_whole(session, &list)
            }
            Self::Verifier(Verifier::Add(Remove { which, change })) => {
                let question = format!("let {which} judge which devices get SEC-4");
                if withheld(session, &question, &change)? {
                    return Ok(Ending::Withheld);
                }
                let (request, how) = (AddVerifier { device_id: which }, change.change());
                session.outcome(&client.change::<Node, _>(&routes::VERIFIER_ADD, &[], &request, &how).await?)
            }
            Self::Verifier(Verifier::Remove(Remove { which, change })) => {
                if withheld(session, &format!("let {which} judge no more"), &change)? {
                    return Ok(Ending::Withheld);
                }
                let (route, how) = (&routes::VERIFIER_REMOVE, change.change());
                session.outcome(&client.change::<Node, _>(route, &[which.as_ref()], &nothing, &how).await?)
            }
            Self::Ek(Ek::Add(AddKey { ek, note, change })) => {
                let request = AddEk { ek, note };
                let how = change.change();
                session.outcome(&client.change::<ListedEk, _>(&routes::EK_ADD, &[], &request, &how).await?)
            }
            Self::Golden(Golden::Add(AddSet { name, from, change })) => {
                let seen = client.show::<Attestation>(&routes::ATTESTATION, &[from.as_ref()]).await?;
                let at = seen.verified_at;
                let question = format!("call the start that {from} showed at {at} a good one");
                if withheld(session, &question, &change)? {
                    return Ok(Ending::Withheld);
                }
                let request = AddGolden { name, device_id: from, verified_at: Some(at) };
                let how = change.change();
                session.outcome(&client.change::<Set, _>(&routes::GOLDEN_ADD, &[], &request, &how).await?)
            }
            Self::Ek(Ek::Remove(Remove { which, change })) => {
                if withheld(session, &format!("believe the TPM {which} no more"), &change)? {
                    return Ok(Ending::Withheld);
                }
                let (route, how, which) = (&routes::EK_REMOVE, change.change(), which.to_string());
                session.outcome(&client.change::<ListedEk, _>(route, &[&which], &nothing, &how).await?)
            }
            Self::Golden(Golden::Remove(Remove { which, change })) => {
                if withheld(session, &format!("call starts like {which} good no more"), &change)? {
                    return Ok(Ending::Withheld);
                }
                let (route, how, which) = (&routes::GOLDEN_REMOVE, change.change(), which.to_string());
                session.outcome(&client.change::<Set, _>(route, &[&which], &nothing, &how).await?)
            }
        }
    }
}

fn withheld(session: &Session, question: &str, change: &ChangeFlags) -> Result<bool, Fault> {
    let danger = Danger::Moderate { yes: change.yes };
    Ok(session.consent(question, danger, change.dry_run.into())? == Consent::Withheld)
}
