//! Clients that put, get, remove and rotate until the authority is gone.

use kos_api::{
    routes,
    text::SecretText,
    vault::{PutVaultEntry, RotateVault, Vault, VaultEntry, VaultSecret, VaultVersionQuery},
};
use kos_base::code::vault::VAULT_ENTRY_UNKNOWN;
use kosctl::{Change, Client, Fault, Outcome};

use super::ledger::{Answer, Attempt, Wish};

/// Names that each client has for itself.
const NAMES: u64 = 4;
/// The name that all of them use.
const SHARED: &str = "shared/by all";

/// Numbers that follow from a seed.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One below `sides`, of which there is at least one.
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides.max(1)
    }
}

/// Asks for one thing after another, and ends with the first that is not answered or refused.
pub(super) async fn use_vault(
    client: Client,
    environment: &str,
    writer: u64,
    run: u32,
    mut dice: Dice,
) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    for step in 0_u32.. {
        let own = format!("writer {writer}/{}", dice.roll(NAMES));
        // As long as secrets are: some short, a few of 4 KiB.
        let length = if dice.roll(16) == 0 { 4_096 } else { 1 + dice.roll(64) };
        let value = format!("{run}-{writer}-{step}-{}", "x".repeat(usize::try_from(length).unwrap_or(1)));
        let wish = match dice.roll(20) {
            0..=1 => Wish::Get { name: own },
            2..=3 => Wish::Remove { name: own },
            4..=6 => Wish::Put { name: SHARED.to_owned(), value },
            _ => Wish::Put { name: own, value },
        };
        if !step_on(&client, environment, wish, &mut attempts).await {
            break;
        }
    }
    attempts
}

/// Gives a vault new keys again and again, each time with another passphrase, and puts something in between.
pub(super) async fn rotate(
    client: Client,
    environment: &str,
    run: u32,
    mut passphrase: String,
) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    for step in 0_u32.. {
        let put = Wish::Put { name: "between".to_owned(), value: format!("{run}-{step}") };
        if !step_on(&client, environment, put, &mut attempts).await {
            break;
        }
        let new = format!("passphrase of {run}-{step}");
        let wish = Wish::Rotate { passphrase: new.clone() };
        attempts.push(Attempt::new(wish));
        let (held, new_passphrase) = (SecretText::new(passphrase), Some(SecretText::new(new.clone())));
        let body = RotateVault { passphrase: held, new_passphrase, code: None };
        let (path, change) = ([environment], Change::default());
        let done = client.change::<Vault, _>(&routes::VAULT_ROTATE, &path, &body, &change);
        if let Err(fault) = done.await {
            fail(&mut attempts, &fault);
            break;
        }
        answer(&mut attempts, Answer::Done);
        passphrase = new;
    }
    attempts
}

/// Whether it may go on.
async fn step_on(client: &Client, environment: &str, wish: Wish, attempts: &mut Vec<Attempt>) -> bool {
    attempts.push(Attempt::new(wish.clone()));
    let said = match wish {
        Wish::Put { name, value } => {
            let value = SecretText::new(data_encoding::BASE64.encode(value.as_bytes()));
            let body = PutVaultEntry { kind: None, value, expires_at: None };
            let (path, change) = ([environment, name.as_str()], Change::default());
            let done = client.change(&routes::VAULT_PUT, &path, &body, &change);
            match done.await {
                Ok(Outcome::Done::<VaultEntry>(entry)) => Ok(Answer::Version(entry.version)),
                Ok(Outcome::Planned(_)) => return false,
                Err(fault) => Err(fault),
            }
        }
        Wish::Remove { name } => {
            let (path, nothing, change) =
                ([environment, name.as_str()], serde_json::json!({}), Change::default());
            let done = client.change::<VaultEntry, _>(&routes::VAULT_REMOVE, &path, &nothing, &change);
            done.await.map(|_| Answer::Done)
        }
        Wish::Get { name } => read(client, environment, &name, None).await.map(Answer::Value),
        Wish::Rotate { .. } => return false,
    };
    match said {
        Ok(said) => answer(attempts, said),
        // There is none of this name; nothing was done.
        Err(fault) if is_unknown(&fault) => {
            attempts.pop();
        }
        Err(fault) => {
            fail(attempts, &fault);
            return false;
        }
    }
    true
}

fn fail(attempts: &mut [Attempt], fault: &Fault) {
    if let Some(attempt) = attempts.last_mut() {
        attempt.failed = matches!(fault, Fault::Answered(_));
    }
}

fn answer(attempts: &mut [Attempt], said: Answer) {
    if let Some(attempt) = attempts.last_mut() {
        attempt.answer = Some(said);
    }
}

/// The value of a version, the newest unless one is named.
pub(super) async fn read(
    client: &Client,
    environment: &str,
    name: &str,
    version: Option<u64>,
) -> Result<String, Fault> {
    let query = VaultVersionQuery { version };
    let secret: VaultSecret =
        client.ask(&routes::VAULT_READ, &[environment, name], &query, &serde_json::json!({})).await?;
    let bytes = data_encoding::BASE64.decode(secret.value.expose().as_bytes()).unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether it was refused because there is no such entry.
fn is_unknown(fault: &Fault) -> bool {
    matches!(fault, Fault::Answered(problem) if problem.code == VAULT_ENTRY_UNKNOWN.to_string())
}
