//! What a vault costs: one decryption in the core, one recorded read and one durable write at the authority's local socket.
//!
//! The authority's figures are those of a client that keeps its connection: request, log entry on the disk, answer; for a
//! write the file and its anchor on the disk as well. The vault holds as many secrets as a busy team has.
//!
//! age opens and makes a file of the same bytes; each is a process of its own, whose start counts, and nothing records it.

use std::{hint::black_box, time::Instant};

use anyhow::{Result, bail, ensure};
use kos_api::{
    routes,
    text::SecretText,
    vault::{CreateVault, PutVaultEntry, Vault, VaultEntry, VaultSecret, VaultVersionQuery},
};
use kos_base::Secret;
use kos_net::entropy;
use kos_vault::{EntryName, Fresh, KeySource, NewSecret, NewSlot, Opened, SecretType, Value};
use kosctl::{Change, Client, Outcome};
use serde_json::json;
use zeroize::Zeroizing;

use super::Ground;
use crate::{
    clock,
    figure::{Measured, VAULT_DECRYPT_US, VAULT_READ_MS, VAULT_WRITE_MS},
    peers::{self, age::Age},
    statistics::{median, ms, number, percentile},
    talk,
};

/// Secrets in the vault.
const ENTRIES: u32 = 100;
/// Length of each: a long password, a token or a small key.
const VALUE_BYTES: usize = 256;
/// Decryptions of which the mean is one measurement.
const BATCH: u32 = 1_000;
const ENVIRONMENT: &str = "bench";
const PASSPHRASE: &str = "nothing is protected by this";

pub(crate) async fn measure(ground: &mut Ground) -> Result<Vec<Measured>> {
    let scale = ground.scale;
    let (runs, batches) = scale.pick((30, 10), (500, 50));
    let value = entropy::array::<VALUE_BYTES>()?;
    let decrypted = tokio::task::spawn_blocking(move || decrypt(&value, batches)).await??;

    let client = ground.fleet().await?.authority.admin();
    fill(client, &value).await?;
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    let age_runs = scale.pick(5, 50);
    let mut opening = Age::prepare(&value);
    let mut making = Age::prepare(&value);
    for run in 0..runs {
        let name = name(run % ENTRIES);
        let begun = Instant::now();
        put(client, &name, &value).await?;
        writes.push(ms(begun.elapsed()));
        let begun = Instant::now();
        let read = read(client, &name).await?;
        reads.push(ms(begun.elapsed()));
        ensure!(read == data_encoding::BASE64.encode(&value), "another secret came back");
        if run < age_runs {
            peers::again(&mut opening, async |age| age.decrypt().await).await;
            peers::again(&mut making, async |age| age.encrypt().await).await;
        }
    }
    talk::say(&format!("vault: read {:.2} ms, write {:.2} ms", median(&reads), median(&writes)));

    let what = format!("{VALUE_BYTES} B each, {ENTRIES} secrets in the vault");
    let p99 = |values: &[f64]| format!("{what}; p99 {:.2} ms", percentile(values, 990));
    let how = "a process for each, its start included; nothing is recorded";
    let opened = peers::rival(opening, how);
    let in_us = opened.clone().map(|rival| crate::figure::Rival { value: rival.value * 1_000.0, ..rival });
    let fsync = "the disk: ";
    Ok(vec![
        Measured::new(&VAULT_DECRYPT_US, median(&decrypted), decrypted.len(), "CPU: one core")
            .beside(in_us)
            .note(format!("{what}; means of {BATCH} each")),
        Measured::new(&VAULT_READ_MS, median(&reads), reads.len(), format!("{fsync}one log entry"))
            .beside(opened)
            .note(p99(&reads)),
        Measured::new(
            &VAULT_WRITE_MS,
            median(&writes),
            writes.len(),
            format!("{fsync}the file, then one log entry"),
        )
        .beside(peers::rival(making, "a process for each, its start included; the file is synced"))
        .note(p99(&writes)),
    ])
}

/// Decrypts in the core; microseconds for each.
fn decrypt(value: &[u8], batches: u32) -> Result<Vec<f64>> {
    let key = Secret::new([7; 32]);
    let slot = NewSlot::Key(&key, KeySource::File);
    let mut vault = Opened::create(clock::now(), ENVIRONMENT.parse()?, &"slot".parse()?, slot, fresh()?)?;
    let value = Value::new(Zeroizing::new(value.to_vec()))?;
    for entry in 0..ENTRIES {
        let secret = NewSecret { kind: SecretType::Opaque, value: &value, expires: None };
        vault.put(clock::now(), &name(entry).parse()?, secret, fresh()?)?;
    }
    let names = (0..ENTRIES).map(|entry| Ok(name(entry).parse()?)).collect::<Result<Vec<EntryName>>>()?;
    let now = clock::now();
    let mut took = Vec::new();
    for _ in 0..batches {
        let begun = Instant::now();
        for name in names.iter().cycle().take(usize::try_from(BATCH)?) {
            black_box(vault.get(now, name)?.expose());
        }
        took.push(begun.elapsed().as_secs_f64() * 1_000_000.0 / number(BATCH.into()));
    }
    Ok(took)
}

async fn fill(client: &Client, value: &[u8]) -> Result<()> {
    let body = CreateVault { passphrase: SecretText::new(PASSPHRASE.to_owned()) };
    let made = client.change(&routes::VAULT_CREATE, &[ENVIRONMENT], &body, &Change::default()).await?;
    let Outcome::Done::<Vault>(_) = made else { bail!("a vault was planned and not made") };
    for entry in 0..ENTRIES {
        put(client, &name(entry), value).await?;
    }
    Ok(())
}

async fn put(client: &Client, name: &str, value: &[u8]) -> Result<()> {
    let value = SecretText::new(data_encoding::BASE64.encode(value));
    let body = PutVaultEntry { kind: None, value, expires_at: None };
    let put = client.change(&routes::VAULT_PUT, &[ENVIRONMENT, name], &body, &Change::default()).await?;
    let Outcome::Done::<VaultEntry>(_) = put else { bail!("a secret was planned and not put") };
    Ok(())
}

async fn read(client: &Client, name: &str) -> Result<String> {
    let (route, query) = (&routes::VAULT_READ, VaultVersionQuery::default());
    let secret: VaultSecret = client.ask(route, &[ENVIRONMENT, name], &query, &json!({})).await?;
    Ok(secret.value.expose().to_owned())
}

fn name(entry: u32) -> String {
    format!("team/secret {entry}")
}

fn fresh() -> Result<Fresh> {
    Ok(Fresh::new(entropy::secret()?))
}
