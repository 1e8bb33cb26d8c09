//! What the device has from its maker or from a node that vouches for it, and its own word for new devices.
//!
//! Introduction that cannot be read are told and not used: the device comes without them, as one that a person has to let in.
//!
//! Source: `docs/spec/voucher.md` VOU-15, VOU-20, VOU-32, VOU-35.

use std::{path::Path, time::Duration};

use data_encoding::BASE64;
use kos_api::voucher::{Vouch as Item, VouchFor};
use kos_audit::EventType;
use kos_base::{Code, KeyId, PublicKey, code, key::SignatureForm};
use kos_identity::enrolment::device::{Introduction, Journal, KeySlot};
use kos_voucher::{Grant, Vouched, Withheld};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, pem::PemObject as _};
use serde_json::json;

use super::{Device, JOURNAL, LifeError, Options, kill, read_journal};
use crate::{
    clock::Clock,
    config::{Config, RootedPath},
    keystore::Keystore,
    root::{self, Kind, Root, file},
};

/// What was found, and what could not be read.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) introduction: Introduction,
    pub(super) warnings: Vec<String>,
}

/// Why there is no word for a new device.
#[derive(Debug)]
pub struct Unvouched {
    /// The stable code.
    pub code: Code,
    /// What exactly.
    pub detail: String,
}

impl From<Withheld> for Unvouched {
    fn from(withheld: Withheld) -> Self {
        Self { code: withheld.code().unwrap_or(code::voucher::VOUCH_INVALID), detail: withheld.to_string() }
    }
}

impl From<Code> for Unvouched {
    fn from(code: Code) -> Self {
        Self { code, detail: String::new() }
    }
}

/// Reads the papers that `config` names.
pub(super) fn read(root: &Root, config: &Config) -> Found {
    let mut found = Found::default();
    let mut take =
        |path: &Option<RootedPath>, what: &str, parse: &mut dyn FnMut(&[u8]) -> Result<(), String>| {
            let Some(path) = path else { return };
            let path = path.below(root.folder());
            let done = match file::read(&path) {
                Ok(Some(bytes)) => parse(&bytes),
                Ok(None) => Err("it is not there".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(why) = done {
                found.warnings.push(format!("{what} {} is not used: {why}", path.display()));
            }
        };
    let mut papers = Introduction::default();
    take(&config.maker, "the maker's key", &mut |bytes| {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(bytes).map_err(|error| error.to_string())?;
        papers.maker = Some(PublicKey::from_spki_der(&der).map_err(|error| error.to_string())?);
        Ok(())
    });
    take(&config.factory_certificate, "the factory certificate", &mut |bytes| {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
        let read = read.map_err(|error| error.to_string())?;
        papers.certificates = read.into_iter().map(|der| der.to_vec()).collect();
        Ok(())
    });
    take(&config.vouch, "the vouch", &mut |bytes| {
        Vouched::parse(bytes).map_err(|withheld| withheld.to_string())?;
        papers.vouch = Some(bytes.to_vec());
        Ok(())
    });
    found.introduction = papers;
    found
}

/// The root that the word of a node names. Whoever put it on this device could have written the pin into its configuration.
pub(super) fn pin_of(papers: &Introduction) -> Option<KeyId> {
    let vouched = papers.vouch.as_deref().and_then(|signed| Vouched::parse(signed).ok());
    vouched.map(|vouched| vouched.unverified().pin)
}

/// Makes the identity key of the device in `folder`, if it has none, and returns its public half: what its maker certifies or
/// names in a voucher.
///
/// # Errors
/// As with [`Device::boot`].
pub fn factory(folder: &Path, options: Options) -> Result<PublicKey, LifeError> {
    kill::check(folder, options.credentials.clone())?;
    let config = Config::load(&Root::config_file(folder))?.config;
    let root = Root::new(folder, &config);
    root.prepare()?;
    let known = read_journal(&root)?.map(|(journal, _)| journal);
    if let Some(key) = known.as_ref().and_then(|journal| journal.identity.clone()) {
        return Ok(key);
    }
    let _lock = root.lock()?;
    let now = Clock::start(None).now();
    let keys = Keystore::open(root.keyring(&config, options.credentials), root.signers(&config), now)?;
    keys.make(KeySlot::Identity, now)?;
    let key = keys.signing(KeySlot::Identity, now)?.public().clone();
    let journal = Journal { identity: Some(key.clone()), ..known.unwrap_or_default() };
    let path = root.secrets().join(JOURNAL);
    file::replace(&path, &root::seal(Kind::Journal, &journal.to_bytes()), file::PRIVATE)?;
    Ok(key)
}

impl Device {
    /// Says that a new device may come in, by a grant of the authority.
    pub(super) fn vouch(&self, asked: &VouchFor) -> Result<Item, Unvouched> {
        let (member, held) = self.member()?;
        let authority = self.machine.journal().authority.as_ref().and_then(|anchor| anchor.name.clone());
        let authority = authority.ok_or(code::enrolment::NOT_ENROLLED)?;
        let grant = BASE64.decode(asked.grant.as_bytes()).map_err(|_| code::config::BAD_REQUEST)?;
        let grant = Grant::verify(&grant, &member.keys.orders)?;
        let now = self.clock.now();
        let terms = (asked.profile, Duration::from_secs(asked.lifetime_seconds));
        let said = grant.vouch((&member.device, &authority), asked.key_id, terms, now)?;
        let unsigned = said.unsigned(&held.operational);
        let key = self.keys.signing(KeySlot::Operational(held.slot), now).map_err(|error| error.code())?;
        let signature = key.sign(SignatureForm::Fixed, &unsigned.to_be_signed());
        let signed = unsigned.finish(signature.map_err(|error| error.code())?);
        self.note(EventType::LocalChange, json!({"command": "vouch", "keyId": asked.key_id}));
        Ok(Item {
            device_id: member.device.clone(),
            key_id: asked.key_id,
            expires_at: said.expires,
            file: BASE64.encode(&signed),
        })
    }
}
