//! `openssl ca` in one process, and what `openssl speed` says the signatures of an issue cost.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use rcgen::PKCS_ED25519;
use tempfile::TempDir;

use super::{Contest, enter, material};
use crate::{figure::Rival, process};

/// How long `openssl speed` works on each algorithm.
const SPEED_SECONDS: &str = "2";

/// A CA with requests that wait to be signed.
pub(crate) struct OpensslCa {
    folder: TempDir,
    requests: Vec<PathBuf>,
}

impl OpensslCa {
    /// A CA with `count` requests by Ed25519 keys, as our devices make them.
    pub(crate) fn prepare(count: u32) -> Contest<Self> {
        enter(version().map(|version| format!("openssl ca {version}")), || {
            let folder = process::data_folder()?;
            material::Ca::make(folder.path())?;
            fs::create_dir(folder.path().join("certificates"))?;
            fs::write(folder.path().join("ca.cnf"), CONFIG)?;
            let requests = (0..count).map(|number| {
                let path = folder.path().join(format!("{number}.csr"));
                fs::write(&path, material::request(number, &PKCS_ED25519)?)?;
                Ok(path)
            });
            let requests = requests.collect::<Result<_>>()?;
            Ok(Self { folder, requests })
        })
    }

    /// Signs all requests with an empty index; certificates per second.
    pub(crate) async fn sign(&mut self) -> Result<f64> {
        fs::write(self.folder.path().join("index.txt"), "")?;
        let mut command = Command::new("openssl");
        command.args(["ca", "-batch", "-notext", "-config", "ca.cnf", "-infiles"]).args(&self.requests);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        let begun = Instant::now();
        let done = tokio::task::spawn_blocking(move || command.output()).await??;
        let took = begun.elapsed().as_secs_f64();
        ensure!(done.status.success(), "openssl ca failed: {}", String::from_utf8_lossy(&done.stderr));
        let index = fs::read_to_string(self.folder.path().join("index.txt"))?;
        let signed = u32::try_from(index.lines().count())?;
        ensure!(usize::try_from(signed)? == self.requests.len(), "openssl ca signed only {signed}");
        Ok(f64::from(signed) / took)
    }
}

/// The version of the program that is installed.
pub(crate) fn version() -> Result<String, String> {
    let text = process::output("openssl", &["version"])?;
    Ok(text.split_whitespace().nth(1).unwrap_or("of unknown version").to_owned())
}

/// Half of what one P-256 signature, one Ed25519 verification and two Ed25519 signatures allow in a second, by
/// `openssl speed` on one core.
pub(crate) fn issuing_goal() -> Result<f64> {
    let arguments = ["speed", "-mr", "-seconds", SPEED_SECONDS, "ecdsap256", "ed25519"];
    let text = process::output("openssl", &arguments).map_err(anyhow::Error::msg)?;
    parse_speed(&text).context("`openssl speed` said something unexpected")
}

/// How many Ed25519 signatures `openssl speed` verifies in a second, with a process for each processor.
pub(crate) fn verifications_per_s() -> Result<Rival, String> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).to_string();
    let arguments = ["speed", "-mr", "-multi", &processors, "-seconds", SPEED_SECONDS, "ed25519"];
    let text = process::output("openssl", &arguments)?;
    let last = text.lines().rev().find_map(|line| line.strip_prefix("+F6:"));
    let value = last.and_then(|line| line.rsplit(':').next()?.parse().ok());
    let value = value.ok_or("`openssl speed` said something unexpected")?;
    Ok(Rival {
        name: format!("openssl speed {} (short messages, {processors} processes)", version()?),
        value,
    })
}

/// Lines `+F4:n:256:signatures:verifications` and `+F6:n:253:Ed25519:signatures:verifications`, each per second.
fn parse_speed(text: &str) -> Option<f64> {
    let rates = |begins: &str| {
        let line = text.lines().find(|line| line.starts_with(begins))?;
        let mut fields = line.rsplit(':').map(str::parse::<f64>);
        let (verifications, signatures) = (fields.next()?.ok()?, fields.next()?.ok()?);
        Some((signatures, verifications))
    };
    let (p256, _) = rates("+F4:")?;
    let (sign, verify) = rates("+F6:")?;
    Some(0.5 / (1.0 / p256 + 1.0 / verify + 2.0 / sign))
}

/// A CA that gives what a device certificate of ours has, as far as `openssl ca` writes it.
const CONFIG: &str = "
[ca]
default_ca = bench
[bench]
dir = .
new_certs_dir = ./certificates
database = ./index.txt
certificate = ./ca.pem
private_key = ./ca.key
default_md = sha256
default_days = 14
rand_serial = yes
unique_subject = no
policy = policy
x509_extensions = device
email_in_dn = no
[policy]
commonName = supplied
[device]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth, serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = URI:spiffe://bench/device/kdev-0123456789abcdef
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_goal_is_half_of_what_the_signatures_allow() {
        let text = "+F4:3:256:50000.0:20000.0\n+F6:0:253:Ed25519:40000.0:10000.0\n";
        // 20 + 100 + 50 us.
        assert!((parse_speed(text).unwrap() - 0.5 / 170e-6).abs() < 1.0);
        assert_eq!(parse_speed("nothing"), None);
    }
}
