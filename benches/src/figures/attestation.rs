//! Attestations judged in process: what the authority computes for one, on one core.
//!
//! Counted: both keys of the TPM read, the challenge, its answer, both certificates of keys, and the quote. Not counted: what
//! the TPM does, a chain of its maker, TLS, the store, and the certificate of the device.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kos_attest::{AttestationKey, Binding, Challenge, EndorsementKey, Evidence, Pcrs, Quoted, Signed, Trust};
use kos_base::{EvidenceTier, KeyAlgorithm, KeyId, PublicKey, Secret};
use kos_emulator::paper::{self, PaperTpm};
use kos_net::{entropy, keys::SigningKey};

use super::Ground;
use crate::{
    figure::{ATTEST_VERIFY_PER_S, Measured},
    statistics::median,
    talk,
};

pub(crate) async fn measure(ground: &mut Ground) -> Result<Vec<Measured>> {
    let (runs, count) = ground.scale.pick((3, 500), (5, 3_000));
    let mut rates = Vec::new();
    for run in 1..=runs {
        let took = tokio::task::spawn_blocking(move || judge(count)).await??;
        let rate = f64::from(count) / took.as_secs_f64();
        rates.push(rate);
        talk::say(&format!("attestations, run {run}: {rate:.0}/s"));
    }
    let bound = "CPU: one core, no load generator";
    Ok(vec![Measured::new(&ATTEST_VERIFY_PER_S, median(&rates), rates.len(), bound)])
}

/// How long `count` attestations take, without what their TPM does for them.
fn judge(count: u32) -> Result<Duration> {
    let tpm = PaperTpm::new();
    let keys = [SigningKey::generate(KeyAlgorithm::P256)?, SigningKey::generate(KeyAlgorithm::P256)?];
    let [identity, operational] = keys.each_ref().map(|key| key.public().clone());
    let public = |key: &PublicKey| paper::signing(paper::KEY, key.raw());
    let (ek, ak) = (tpm.ek_public(), tpm.ak_public());
    let mut took = Duration::ZERO;
    for _ in 0..count {
        let nonce = entropy::array()?;
        let begun = Instant::now();
        let binding = Binding::of_request(&[7; 32], &nonce, KeyId::from_bytes([1; 32]), &[2; 32]);
        let (ek, ak) = (EndorsementKey::parse(&ek)?, AttestationKey::parse(&ak)?);
        let challenge = Challenge::make(ek, ak, &entropy::secret::<32>()?, entropy::secret::<32>()?)?;
        took += begun.elapsed();

        let secret = tpm.activate(challenge.credential(), challenge.seed()).context("the TPM answers")?;
        let answer = binding.answer(&Secret::new(secret));
        let said = [&identity, &operational].map(|key| tpm.certify(&public(key), binding.as_bytes()));
        let quote = tpm.quote(Pcrs::DEFAULT.bits(), binding.as_bytes());
        let values = tpm.values(Pcrs::DEFAULT.bits());

        let begun = Instant::now();
        let activated = challenge.answered(binding, &answer)?;
        let [first, second] = said.each_ref().map(signed);
        activated.certified(&public(&identity), &first, &identity, "identity")?;
        let certified = activated.certified(&public(&operational), &second, &operational, "operational")?;
        let quoted = Quoted { signed: signed(&quote), values: &values };
        let quote = activated.quoted(&quoted, Pcrs::DEFAULT)?;
        let evidence = Evidence::new(activated, certified, quote, Trust::Listed, &[]);
        took += begun.elapsed();
        ensure!(evidence.tier() == EvidenceTier::EkActivated);
    }
    Ok(took)
}

fn signed(said: &paper::Said) -> Signed<'_> {
    Signed { attest: &said.attest, signature: &said.signature }
}
