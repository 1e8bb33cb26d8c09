//! Judging an identity from files: certificates, a kID, revocation lists, and a root that is trusted.
//!
//! What was not given is not asked, and a note says so. What was given is judged as every peer of kOS would judge it.

use std::path::{Path, PathBuf};

use clap::Args;
use data_encoding::BASE64URL_NOPAD;
use kos_api::{
    Document,
    authority::Authority,
    chain::{
        Certificate as Shown, ChainCheck, ChainCheckName, IdentityChain, Kid, Revocation, RevocationStatus,
    },
    hex::{Digest, Serial},
};
use kos_base::{Code, PublicKey, Timestamp, code, id::DeviceIdInputs};
use kos_identity::{
    certificate::{Certificate, PeerIdentity},
    chain::{Anchors, CheckName, Clock, Examination, KidUnderExamination, examine},
    crl::{CrlError, RevocationView, Status, VerifiedCrl},
    kid,
};
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, SubjectPublicKeyInfoDer, pem::PemObject as _,
};

use crate::{
    Fault, clock, files,
    session::{Ending, Session},
};

/// Longest file that is read, in bytes, lists aside.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// `identity verify FILE`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("anchor").required(true).args(["root", "authority"]))]
pub(crate) struct Verify {
    /// PEM of the certificates, the device's first; or what `identity chain -o json` printed.
    file: PathBuf,
    /// The root that is trusted, as PEM.
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// What `authority show -o json` printed: the root and the key of the kID signer.
    #[arg(long, value_name = "FILE")]
    authority: Option<PathBuf>,
    /// The kID, as base64url or as bytes.
    #[arg(long, value_name = "FILE")]
    kid: Option<PathBuf>,
    /// The key of the kID signer, as PEM.
    #[arg(long, value_name = "FILE")]
    kid_key: Option<PathBuf>,
    /// A revocation list, as DER or PEM; can be repeated.
    #[arg(long, value_name = "FILE")]
    crl: Vec<PathBuf>,
    /// As of this moment (RFC 3339), not now.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
}

/// Everything that was given.
struct Given {
    presented: Vec<Certificate>,
    root: Certificate,
    kid: Option<Vec<u8>>,
    signer: Option<PublicKey>,
    inputs: Option<kos_api::chain::DeviceIdInputs>,
    view: RevocationView,
    /// Lists of other CAs.
    strangers: Vec<PathBuf>,
}

impl Verify {
    pub(super) fn run(self, session: &Session) -> Result<Ending, Fault> {
        let given = self.read()?;
        for path in &given.strangers {
            session
                .terminal
                .note(&format!("`{}` is the list of another CA, and was not used", path.display()));
        }
        let chain = given.judge(self.at.unwrap_or_else(clock::now), self.crl.is_empty());
        session.printer.item(&chain)?;
        let unasked: Vec<_> = [
            (ChainCheckName::DeviceId, "device-id (only in what `identity chain -o json` prints)"),
            (ChainCheckName::KidSignature, "kid-signature and kid-confirmation (--kid, --kid-key)"),
            (ChainCheckName::Revocation, "revocation (--crl)"),
        ]
        .into_iter()
        .filter(|(name, _)| chain.checks.iter().all(|check| check.name != *name))
        .map(|(_, what)| what)
        .collect();
        if !unasked.is_empty() {
            session.terminal.note(&format!("not checked: {}", unasked.join(", ")));
        }
        Ok(Ending::judged(chain.valid))
    }

    fn read(&self) -> Result<Given, Fault> {
        let bytes = files::read(&self.file, FILE_BYTES_MAX)?;
        let document: Option<Document<IdentityChain>> = serde_json::from_slice(&bytes).ok();
        let document = document.map(|d| d.item);
        let pem = match &document {
            Some(chain) => chain.certificates.iter().map(|c| c.pem.as_str()).collect::<String>().into_bytes(),
            None => bytes,
        };
        let mut presented = certificates(&self.file, &pem)?;
        presented.retain(|certificate| !certificate.is_root());
        let authority = self.authority.as_deref().map(read_authority).transpose()?;
        let root_pem = match (&self.root, &authority) {
            (Some(path), _) => files::read(path, FILE_BYTES_MAX)?,
            (None, Some(authority)) => authority.root.pem.clone().into_bytes(),
            (None, None) => Vec::new(),
        };
        let anchor = self.root.as_deref().or(self.authority.as_deref()).unwrap_or(Path::new("root"));
        let Some(root) = certificates(anchor, &root_pem)?.into_iter().find(Certificate::is_root) else {
            return Err(malformed(anchor, "no root in it", code::certificate::CERT_MALFORMED));
        };
        let kid = match (&self.kid, document.as_ref().and_then(|d| d.kid.as_ref())) {
            (Some(path), _) => Some(kid_bytes(files::read(path, FILE_BYTES_MAX)?)),
            (None, Some(kid)) => Some(kid_bytes(kid.cwt.clone().into_bytes())),
            (None, None) => None,
        };
        let key_pem = match (&self.kid_key, authority) {
            (Some(path), _) => Some((path.clone(), files::read(path, FILE_BYTES_MAX)?)),
            (None, Some(authority)) => Some((anchor.to_owned(), authority.kid_key.into_bytes())),
            (None, None) => None,
        };
        let signer = key_pem.map(|(path, pem)| public_key(&path, &pem)).transpose()?;
        let (mut view, mut strangers) = (RevocationView::default(), Vec::new());
        for path in &self.crl {
            match revocation_list(path, &presented, &root)? {
                Some(list) => view.install(list).map_err(|e| malformed(path, &e.to_string(), e.code()))?,
                None => strangers.push(path.clone()),
            }
        }
        let inputs = document.and_then(|d| d.device_id_inputs);
        Ok(Given { presented, root, kid, signer, inputs, view, strangers })
    }
}

impl Given {
    fn judge(&self, now: Timestamp, without_lists: bool) -> IdentityChain {
        let presented: Vec<_> = self.presented.iter().map(|c| c.der().to_vec()).collect();
        let anchors = Anchors::roots(vec![self.root.clone()]).unwrap_or_default();
        let kid = match (&self.kid, &self.signer) {
            (Some(bytes), Some(signer)) => Some(KidUnderExamination { bytes, signer }),
            _ => None,
        };
        let device_id_inputs = self.inputs.as_ref().map(|inputs| DeviceIdInputs {
            uuid: inputs.uuid.uuid(),
            macs: &inputs.macs,
            serials: &inputs.serials,
            identity_key: inputs.identity_key_id,
        });
        let asked = |name: CheckName| match name {
            CheckName::Chain | CheckName::Validity | CheckName::Extension => true,
            CheckName::DeviceId => self.inputs.is_some(),
            CheckName::KidSignature | CheckName::KidConfirmation => kid.is_some(),
            CheckName::Revocation => !without_lists,
        };
        let examination = Examination {
            clock: Clock::Trusted(now),
            presented: &presented,
            anchors: &anchors,
            revocation: &self.view,
            device_id_inputs,
            kid,
        };
        let checks: Vec<_> = examine(&examination)
            .into_iter()
            .filter(|check| asked(check.name))
            .map(|check| ChainCheck { name: name(check.name), ok: check.ok, detail: Some(check.detail) })
            .collect();
        let own = self.presented.first();
        IdentityChain {
            device_id: own.and_then(device),
            certificates: self.presented.iter().chain([&self.root]).filter_map(shown).collect(),
            kid: kid.and_then(|kid| shown_kid(kid.bytes, kid.signer)),
            device_id_inputs: self.inputs.clone(),
            revocation: self.revocation(),
            valid: checks.iter().all(|check| check.ok),
            checks,
        }
    }

    fn revocation(&self) -> Revocation {
        let own = self.presented.first();
        let issuer = own.and_then(Certificate::issuer_key_id);
        let list = issuer.and_then(|issuer| self.view.list(issuer));
        let status = match (own, issuer) {
            (Some(own), Some(issuer)) => self.view.status(own.serial(), issuer, own.key_id()),
            _ => Status::Unknown,
        };
        let (status, reason) = match status {
            Status::Good => (RevocationStatus::Good, None),
            Status::Revoked { reason } => (RevocationStatus::Revoked, reason),
            Status::Suspended => (RevocationStatus::Suspended, None),
            Status::Unknown => (RevocationStatus::Unknown, None),
        };
        Revocation {
            status,
            reason: reason.map(|reason| reason.as_str().to_owned()),
            crl_number: list.map(VerifiedCrl::number),
            this_update: list.map(VerifiedCrl::this_update),
        }
    }
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<Certificate>, Fault> {
    let wrong = |why: &str| malformed(path, why, code::certificate::CERT_MALFORMED);
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .map(|der| {
            Certificate::parse(&der.map_err(|_| wrong("not PEM of certificates"))?)
                .map_err(|e| wrong(&e.to_string()))
        })
        .collect::<Result<_, _>>()?;
    if all.is_empty() { Err(wrong("no certificate in it")) } else { Ok(all) }
}

fn read_authority(path: &Path) -> Result<Authority, Fault> {
    let bytes = files::read(path, FILE_BYTES_MAX)?;
    let document: Result<Document<Authority>, _> = serde_json::from_slice(&bytes);
    document.map(|d| d.item).map_err(|e| malformed(path, &e.to_string(), code::config::CONFIG_INVALID))
}

/// A kID is CBOR and begins with a byte that base64url does not have.
fn kid_bytes(bytes: Vec<u8>) -> Vec<u8> {
    let text = core::str::from_utf8(&bytes).map(str::trim).unwrap_or_default();
    BASE64URL_NOPAD.decode(text.as_bytes()).ok().filter(|decoded| !decoded.is_empty()).unwrap_or(bytes)
}

fn public_key(path: &Path, pem: &[u8]) -> Result<PublicKey, Fault> {
    let wrong = |why: &str| malformed(path, why, code::certificate::CERT_MALFORMED);
    let spki = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| wrong("not PEM of a public key"))?;
    PublicKey::from_spki_der(&spki).map_err(|e| wrong(&e.to_string()))
}

/// The list, under whichever of the CAs has signed it; nothing when it is of another CA.
fn revocation_list(
    path: &Path,
    presented: &[Certificate],
    root: &Certificate,
) -> Result<Option<VerifiedCrl>, Fault> {
    // PEM takes a third more room.
    let bytes_max = u64::try_from(VerifiedCrl::BYTES_MAX).unwrap_or(u64::MAX).saturating_mul(2);
    let bytes = files::read(path, bytes_max)?;
    let der = CertificateRevocationListDer::from_pem_slice(&bytes).map_or(bytes, |der| der.to_vec());
    for issuer in presented.iter().chain([root]).filter(|c| c.is_ca()) {
        match VerifiedCrl::parse(&der, issuer) {
            Ok(list) => return Ok(Some(list)),
            Err(CrlError::Issuer) => {}
            Err(error) => return Err(malformed(path, &error.to_string(), error.code())),
        }
    }
    Ok(None)
}

fn malformed(path: &Path, reason: &str, code: Code) -> Fault {
    Fault::Malformed { path: path.to_owned(), reason: kos_base::text::printable(reason, 300), code }
}

fn device(certificate: &Certificate) -> Option<kos_base::DeviceId> {
    match certificate.uris() {
        [uri] => match uri.parse() {
            Ok(PeerIdentity::Device { device, .. }) => Some(device),
            _ => None,
        },
        _ => None,
    }
}

fn shown(certificate: &Certificate) -> Option<Shown> {
    Some(Shown {
        subject: certificate.subject(),
        issuer: certificate.issuer(),
        serial: Serial::from_bytes(&certificate.serial().to_bytes())?,
        sha256: Digest::from_bytes(certificate.sha256()),
        key_id: certificate.key_id(),
        algorithm: certificate.public_key().algorithm().to_string(),
        not_before: certificate.not_before(),
        not_after: certificate.not_after(),
        pem: certificate.pem(),
    })
}

fn shown_kid(bytes: &[u8], signer: &PublicKey) -> Option<Kid> {
    let claims = kid::open(bytes, signer).ok()?;
    Some(Kid {
        issuer: format!("k:{}", claims.subject.authority),
        subject: claims.subject,
        key_id: signer.id(),
        issued_at: claims.issued_at,
        expires_at: claims.expires_at,
        cwt: BASE64URL_NOPAD.encode(bytes),
    })
}

const fn name(name: CheckName) -> ChainCheckName {
    match name {
        CheckName::Chain => ChainCheckName::Chain,
        CheckName::Validity => ChainCheckName::Validity,
        CheckName::Extension => ChainCheckName::Extension,
        CheckName::DeviceId => ChainCheckName::DeviceId,
        CheckName::KidSignature => ChainCheckName::KidSignature,
        CheckName::KidConfirmation => ChainCheckName::KidConfirmation,
        CheckName::Revocation => ChainCheckName::Revocation,
    }
}
