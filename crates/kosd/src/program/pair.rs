//! `kosd pair` and `kosd unpair`: what a person at the device says about pairings.

use std::path::Path;

use kos_api::{
    local::{AnswerPairing, LocalPairing, LocalPairings},
    routes::{LOCAL_PAIRING_ANSWER, LOCAL_PAIRING_LIST},
};
use kos_base::{code, text::printable};
use kosd::socket::Asker;

use super::{Failure, print, say, show};

/// Shows pairings, or confirms one.
pub(super) async fn pair(folder: &Path, with: Option<String>) -> Result<(), Failure> {
    let Some(with) = with else {
        let asker = Asker::connect(&show::root(folder)?.socket()).await?;
        let held: LocalPairings = asker.ask(&LOCAL_PAIRING_LIST, Vec::new()).await?;
        if held.pairings.is_empty() {
            say("this device is paired with nobody, and nobody proposed it");
        }
        return print(&held.pairings.iter().map(line).collect::<String>());
    };
    answer(folder, AnswerPairing { with, confirm: true }).await
}

/// Ends a pairing, at once.
pub(super) async fn unpair(folder: &Path, with: String) -> Result<(), Failure> {
    answer(folder, AnswerPairing { with, confirm: false }).await
}

async fn answer(folder: &Path, said: AnswerPairing) -> Result<(), Failure> {
    let asker = Asker::connect(&show::root(folder)?.socket()).await?;
    let body = serde_json::to_vec(&said);
    let body = body.map_err(|error| Failure::new(code::config::INTERNAL, error.to_string()))?;
    let done: LocalPairing = asker.ask(&LOCAL_PAIRING_ANSWER, body).await?;
    print(&line(&done))
}

fn line(pairing: &LocalPairing) -> String {
    let confirmed = match (pairing.device_confirmed, pairing.partner_confirmed) {
        (true, true) => "confirmed by both",
        (true, false) => "confirmed here, not there",
        (false, true) => "confirmed there, not here",
        (false, false) => "confirmed by nobody",
    };
    let with = printable(&pairing.with, 120);
    let (id, state, level, grants) =
        (pairing.pairing_id, &pairing.state, &pairing.trust_level, pairing.grants);
    format!("{id}  {with}  {state}  {level}  {confirmed}  grants {grants}\n")
}
