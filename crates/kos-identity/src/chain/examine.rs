//! The checks of a device's identity one by one, each answered even if an earlier one fails.

use kos_base::{DeviceId, PublicKey, id::DeviceIdInputs};

use super::{Anchors, ChainError, Clock, Path, Usage, parse};
use crate::{
    certificate::{Certificate, PeerIdentity},
    crl::{RevocationView, Status},
    kid::{self, Claims},
};

/// What is to be examined, and against what.
#[derive(Clone, Copy, Debug)]
pub struct Examination<'a> {
    /// What is known about the time.
    pub clock: Clock,
    /// The certificates, the device's first.
    pub presented: &'a [Vec<u8>],
    /// Whom to trust.
    pub anchors: &'a Anchors,
    /// What was revoked.
    pub revocation: &'a RevocationView,
    /// What the device id was computed from, where that is known.
    pub device_id_inputs: Option<DeviceIdInputs<'a>>,
    /// The device's kID, where it has one.
    pub kid: Option<KidUnderExamination<'a>>,
}

/// A kID and the key that should have signed it.
#[derive(Clone, Copy, Debug)]
pub struct KidUnderExamination<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// The authority's kID signer.
    pub signer: &'a PublicKey,
}

/// One question about a device's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckName {
    /// Do the certificates lead to a trusted root?
    Chain,
    /// Are they in force?
    Validity,
    /// Does the certificate name one device, and does the kOS extension agree?
    Extension,
    /// Does the device id follow from what it was computed from?
    DeviceId,
    /// Did the authority sign the kID?
    KidSignature,
    /// Does the kID speak of this certificate and its key, and is it in force?
    KidConfirmation,
    /// Was any of the certificates taken back?
    Revocation,
}

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Which question.
    pub name: CheckName,
    /// Whether the answer is yes.
    pub ok: bool,
    /// What was found, in one line.
    pub detail: String,
}

impl CheckName {
    /// All of them, in the order in which they are answered.
    pub const ALL: [Self; 7] = [
        Self::Chain,
        Self::Validity,
        Self::Extension,
        Self::DeviceId,
        Self::KidSignature,
        Self::KidConfirmation,
        Self::Revocation,
    ];

    /// The word that every output uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::Validity => "validity",
            Self::Extension => "extension",
            Self::DeviceId => "device-id",
            Self::KidSignature => "kid-signature",
            Self::KidConfirmation => "kid-confirmation",
            Self::Revocation => "revocation",
        }
    }
}

/// Answers every question. What cannot be asked, because an input is missing or the chain does not stand, is a no.
pub fn examine(examination: &Examination<'_>) -> Vec<Check> {
    let certificates = parse(examination.presented);
    let path = match &certificates {
        Ok(certificates) => Path::build(Usage::Client, certificates, examination.anchors),
        Err(refusal) => Err(refusal.clone()),
    };
    let device = certificates.as_ref().ok().and_then(|all| all.first());
    let claims = examination.kid.map(|kid| kid::open(kid.bytes, kid.signer).map_err(|e| e.to_string()));
    CheckName::ALL
        .into_iter()
        .map(|name| {
            let answer = match name {
                CheckName::Chain => chain(&path),
                CheckName::Validity => on(&path, |path| {
                    path.check_dates(examination.clock)?;
                    Ok(format!("until {}", path.peer.not_after()))
                }),
                CheckName::Extension => on(&path, |path| Ok(path.identity()?.to_string())),
                CheckName::DeviceId => device_id(device, examination.device_id_inputs.as_ref()),
                CheckName::KidSignature => match &claims {
                    Some(Ok(claims)) => Ok(format!("signed for {}", claims.subject)),
                    Some(Err(refusal)) => Err(refusal.clone()),
                    None => Err("there is no kID".to_owned()),
                },
                CheckName::KidConfirmation => match &claims {
                    Some(Ok(claims)) => confirmation(device, claims, examination.clock),
                    _ => Err("there is no kID that the authority signed".to_owned()),
                },
                CheckName::Revocation => {
                    on(&path, |path| Ok(path.check_revocation(examination.revocation)?.as_str().to_owned()))
                        .and_then(|status| match status.as_str() {
                            status if status == Status::Good.as_str() => Ok(status.to_owned()),
                            _ => Err("no revocation list of an issuer is held".to_owned()),
                        })
                }
            };
            let ok = answer.is_ok();
            let (Ok(detail) | Err(detail)) = answer;
            Check { name, ok, detail }
        })
        .collect()
}

type Answer = Result<String, String>;

fn on(path: &Result<Path<'_>, ChainError>, ask: impl Fn(&Path<'_>) -> Result<String, ChainError>) -> Answer {
    match path {
        Ok(path) => ask(path).map_err(|e| e.to_string()),
        Err(_) => Err("the chain does not stand".to_owned()),
    }
}

fn chain(path: &Result<Path<'_>, ChainError>) -> Answer {
    match path {
        Ok(path) => {
            Ok(format!("{} < {} < {}", path.peer.subject(), path.issuer.subject(), path.root.subject()))
        }
        Err(refusal) => Err(refusal.to_string()),
    }
}

fn device_id(device: Option<&Certificate>, inputs: Option<&DeviceIdInputs<'_>>) -> Answer {
    let named = device.and_then(named_device).ok_or("the certificate names no device")?;
    let computed = DeviceId::derive(inputs.ok_or("what the id was computed from is not known here")?);
    if computed == named {
        Ok(computed.to_string())
    } else {
        Err(format!("computed is {computed}, not {named}"))
    }
}

fn named_device(certificate: &Certificate) -> Option<DeviceId> {
    match certificate.uris() {
        [uri] => match uri.parse() {
            Ok(PeerIdentity::Device { device, .. }) => Some(device),
            _ => None,
        },
        _ => None,
    }
}

fn confirmation(device: Option<&Certificate>, claims: &Claims, clock: Clock) -> Answer {
    let device = device.ok_or("there is no certificate")?;
    if claims.holder != device.key_id() {
        return Err(format!(
            "confirms key {}, certified is {}",
            claims.holder.short(),
            device.key_id().short()
        ));
    }
    if device.facts().is_none_or(|facts| facts.subject != claims.subject) {
        return Err(format!("speaks of {}, the certificate does not", claims.subject));
    }
    if claims.expires_at > device.not_after() {
        return Err("outlives the certificate".to_owned());
    }
    if let Clock::Trusted(now) = clock {
        claims.check_dates(now).map_err(|e| e.to_string())?;
    }
    Ok(format!("until {}", claims.expires_at))
}
