//! How long a device takes from its first start until it is in service, when nobody touches it: its maker has signed a voucher
//! for its TPM, and its authority has that.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use data_encoding::{BASE64, HEXLOWER};
use kos_api::{
    routes,
    voucher::{
        AddMaker, FactoryCertificates, ImportVoucher, Maker, Voucher as Item, VoucherOwner, VoucherState,
    },
};
use kos_base::{KeyAlgorithm, KeyId, PublicKey, digest::sha256, key::SignatureForm};
use kos_emulator::SoftTpm;
use kos_net::{entropy, keys::SigningKey};
use kos_voucher::{Bundle, Owner, Statement, Subject};
use kosctl::{Change, Outcome};
use minicbor::bytes::ByteArray;
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};

use super::Ground;
use crate::{
    authority::Authority,
    clock,
    figure::{Measured, ZERO_TOUCH_MS},
    process::{Program, own_folder},
    statistics::{largest, median, ms},
    talk, wait,
};

const PAUSE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn measure(ground: &mut Ground) -> Result<Vec<Measured>> {
    let runs: usize = ground.scale.pick(3, 10);
    let authority = &ground.fleet().await?.authority;
    let kosd = own_folder()?.with_file_name("dist").join("kosd");
    ensure!(kosd.is_file(), "`{}` is not built: cargo build --profile dist -p kosd", kosd.display());
    let maker = SigningKey::generate(KeyAlgorithm::Ed25519)?;
    trust(authority, &maker).await?;
    let mut took = Vec::new();
    for run in 1..=runs {
        let tpm = SoftTpm::new();
        let voucher = import(authority, &maker, ek_of(&tpm)?).await?;
        let root = authority.folder_for(&format!("zero-touch-{run}"))?;
        let etc = root.join("etc/kos");
        fs::create_dir_all(&etc)?;
        fs::write(etc.join("maker.pem"), pem(maker.public()))?;
        fs::write(etc.join("config.yaml"), config(authority, &tpm, run))?;
        let mut command = Command::new(&kosd);
        command.args(["run", "--root"]).arg(&root).env("KOS_LOG", "warn");
        let begun = Instant::now();
        let mut program = Program::start(&mut command)?;
        wait::until("the device in service", PAUSE, PATIENCE, async || {
            program.must_run()?;
            let item: Item = authority.admin().show(&routes::VOUCHER_SHOW, &[&voucher]).await?;
            let Some(device) = item.device_id.filter(|_| item.state == VoucherState::Spent) else {
                return Ok(None);
            };
            Ok(authority.device(device.as_ref()).await?.enrolled_at)
        })
        .await?;
        let lasted = ms(begun.elapsed());
        talk::say(&format!("zero-touch, run {run}: in service after {lasted:.0} ms"));
        took.push(lasted);
        program.stop().await?;
    }
    let note =
        format!("median {:.0} ms; keys made in the TPM, its challenge answered, confirmed", median(&took));
    let bound = "swtpm: keys, activation and four signatures; the durable records of both ends";
    let measured = Measured::new(&ZERO_TOUCH_MS, largest(&took), took.len(), bound);
    Ok(vec![measured.beside(Err("no peer onboards devices by voucher here".to_owned())).note(note)])
}

fn config(authority: &Authority, tpm: &SoftTpm, run: usize) -> String {
    format!(
        "hardware:\n  macs: []\n  serials: [\"zero-touch-{run}\"]\n\
         network:\n  discovery_method: fixed\n  authority: [\"127.0.0.1:{}\"]\n\
         enrolment:\n  maker: /etc/kos/maker.pem\nsecrets:\n  keys: tpm\n  tpm: \"{}\"\n",
        authority.tls_port(),
        tpm.address()
    )
}

fn pem(key: &PublicKey) -> String {
    let text = BASE64.encode(key.spki_der());
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}

/// Has the authority trust a maker for devices whose TPM it names.
async fn trust(authority: &Authority, maker: &SigningKey) -> Result<()> {
    let request = AddMaker {
        name: "bench".parse()?,
        key: Some(pem(maker.public())),
        cas: None,
        certificates: FactoryCertificates::Name,
        role: None,
        group: None,
        profile_cap: None,
        evidence_tier: Some(kos_base::EvidenceTier::EkActivated),
    };
    let done = authority.admin().change(&routes::MAKER_ADD, &[], &request, &Change::default()).await?;
    ensure!(matches!(done, Outcome::Done::<Maker>(_)), "trusting a maker was planned and not done");
    Ok(())
}

/// Signs a voucher for the device with this endorsement key and hands it in; its id.
async fn import(authority: &Authority, maker: &SigningKey, ek: KeyId) -> Result<String> {
    let owner: VoucherOwner = authority.admin().show(&routes::VOUCHER_OWNER, &[]).await?;
    let der = SubjectPublicKeyInfoDer::from_pem_slice(owner.key.as_bytes())?;
    let statement = Statement {
        nonce: ByteArray::from(entropy::array()?),
        subject: Subject::Endorsement(ek),
        owner: Owner { pin: owner.pin, key: PublicKey::from_spki_der(&der)? },
        created: clock::now(),
        expires: None,
    };
    let unsigned = statement.unsigned(maker.public());
    let signature = maker.sign(SignatureForm::Fixed, &unsigned.to_be_signed())?;
    let file = Bundle::signed(unsigned.finish(signature)).to_bytes();
    let request = ImportVoucher { file: BASE64.encode(&file) };
    let done = authority.admin().change(&routes::VOUCHER_IMPORT, &[], &request, &Change::default()).await?;
    match done {
        Outcome::Done::<Item>(item) => Ok(item.voucher_id),
        Outcome::Planned(_) => anyhow::bail!("an import was planned and not done"),
    }
}

/// The id of the endorsement key, as tpm2-tools make it.
fn ek_of(tpm: &SoftTpm) -> Result<KeyId> {
    tpm.judge(&["tpm2_startup", "-c"]);
    tpm.judge(&["tpm2_createek", "-G", "ecc", "-c", "ek.ctx", "-u", "ek.pem", "-f", "pem"]);
    tpm.judge(&["tpm2_flushcontext", "-t"]);
    let der = SubjectPublicKeyInfoDer::from_pem_slice(&fs::read(tpm.path("ek.pem"))?)?;
    Ok(HEXLOWER.encode(&sha256(&der)).parse()?)
}
