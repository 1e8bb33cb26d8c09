//! What vouchers, factory certificates and vouches come to for one device.
//!
//! Whatever lets it in first is taken; else the first reason why nothing does.
//!
//! Source: `docs/spec/voucher.md` VOU-10 to VOU-14, VOU-23, VOU-34.

use core::fmt;

use kos_base::{
    DeviceId, EntryId, EvidenceTier, GroupPath, KeyId, Name, PublicKey, Role, SecurityProfile, Timestamp,
    code::voucher as code,
};
use minicbor::{Decode, Encode};

use crate::{
    Certificates, Factory, Fate, Kept, Maker, SignedBy, Sponsor, Subject, Terms, Vouched, VoucherId,
    Withheld, idevid, why_void,
};

/// What a device shows in one conversation.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The key that the handshake proved.
    pub identity: &'a PublicKey,
    /// The endorsement key of the TPM that proved itself.
    pub ek: Option<KeyId>,
    /// What that came to.
    pub evidence: EvidenceTier,
    /// Its factory certificate and issuers, DER; empty when it has none.
    pub certificates: &'a [&'a [u8]],
    /// The word of a node.
    pub vouch: Option<&'a [u8]>,
    /// The profile that it asks for.
    pub profile: SecurityProfile,
}

/// What the authority knows that may speak for it.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Makers that operators trust.
    pub makers: &'a [Maker],
    /// Vouchers under what the device shows.
    pub vouchers: &'a [Kept],
    /// The grant that the vouch names, and the node.
    pub sponsor: Option<&'a Sponsor>,
    /// Likewise.
    pub node: SignedBy<'a>,
    /// Key id of the authority's root.
    pub pin: KeyId,
}

/// A device may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Why.
    pub by: By,
    /// The role, where somebody said one.
    pub role: Option<Role>,
    /// The group.
    pub group: Option<GroupPath>,
    /// What it asked for, and at most what it may be given.
    pub profile: SecurityProfile,
    /// What it uses up, to be written in the transaction that creates the device.
    pub spends: Option<Spends>,
}

/// What lets a device in and is less afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spends {
    /// The voucher: let this become of it.
    Voucher(Box<Kept>),
    /// A use of the grant, counted already.
    Grant(Box<Sponsor>),
}

/// Why a device was let in without a person or a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum By {
    /// A voucher of its maker.
    #[n(0)]
    Voucher {
        /// Whose.
        #[n(0)]
        maker: Name,
        /// Which.
        #[n(1)]
        voucher: VoucherId,
    },
    /// Its factory certificate.
    #[n(1)]
    Certificate {
        /// Whose.
        #[n(0)]
        maker: Name,
        /// The serial in it.
        #[n(1)]
        serial: String,
    },
    /// The word of a node.
    #[n(2)]
    Node {
        /// Whose.
        #[n(0)]
        node: DeviceId,
        /// By which grant.
        #[n(1)]
        grant: EntryId,
    },
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Voucher { maker, voucher } => write!(f, "voucher {voucher} of {maker}"),
            Self::Certificate { maker, serial } => write!(f, "factory certificate {serial} of {maker}"),
            Self::Node { node, grant } => write!(f, "vouched for by {node} under grant {grant}"),
        }
    }
}

/// The vouchers that could have let this device in, on some terms: they wait, hold, and name what it has proven.
pub fn naming<'a>(shown: &Shown<'_>, known: &Known<'a>, now: Timestamp) -> Vec<&'a Kept> {
    let factory = match shown.certificates {
        [] => None,
        chain => idevid::judge(chain, shown.identity, known.makers, now).ok(),
    };
    let counts = |kept: &&Kept| {
        kept.fate == Fate::Waiting
            && kept.expires.is_none_or(|expires| now < expires)
            && is_proven(shown, kept, factory.as_ref())
    };
    known.vouchers.iter().filter(counts).collect()
}

/// Whether the voucher names what the device has proven.
fn is_proven(shown: &Shown<'_>, kept: &Kept, factory: Option<&Factory>) -> bool {
    match &kept.subject {
        Subject::Identity(key) => *key == shown.identity.id(),
        Subject::Endorsement(ek) => shown.ek == Some(*ek),
        Subject::Serial { serial, issuer } => {
            factory.is_some_and(|factory| factory.serial() == serial && factory.issuer() == *issuer)
        }
    }
}

/// What speaks for a device: nothing, or why it does not do.
///
/// # Errors
/// The first reason, where something was shown or known and none of it lets the device in.
pub fn entitle(shown: &Shown<'_>, known: &Known<'_>, now: Timestamp) -> Result<Option<Entry>, Withheld> {
    let factory = match shown.certificates {
        [] => None,
        chain => Some(idevid::judge(chain, shown.identity, known.makers, now)),
    };
    let proven = factory.as_ref().and_then(|judged| judged.as_ref().ok());
    let mut why = None;
    let vouchers = known.vouchers.iter().map(|kept| by_voucher(shown, known, kept, proven, now));
    let vouch = shown.vouch.map(|signed| by_vouch(shown, known, signed, now));
    let certificate = factory.as_ref().map(|judged| match judged {
        Ok(factory) => by_certificate(shown, known, factory),
        Err(withheld) => Err(withheld.clone()),
    });
    for found in vouchers.chain(vouch).chain(certificate) {
        match found {
            Ok(entry) => return Ok(Some(entry)),
            Err(withheld) => _ = why.get_or_insert(withheld),
        }
    }
    why.map_or(Ok(None), Err)
}

fn by_voucher(
    shown: &Shown<'_>,
    known: &Known<'_>,
    kept: &Kept,
    factory: Option<&Factory>,
    now: Timestamp,
) -> Result<Entry, Withheld> {
    if !is_proven(shown, kept, factory) {
        let why = format!("the voucher names {}", kept.subject);
        return Err(Withheld::saying(code::VOUCHER_DEVICE, &why));
    }
    match &kept.fate {
        Fate::Waiting => {}
        Fate::Spent { device, .. } => {
            return Err(Withheld::saying(code::VOUCHER_SPENT, &format!("by {device}")));
        }
        Fate::Endorsed { .. } => return Err(Withheld::new(code::VOUCHER_ENDORSED)),
        Fate::Void { device, .. } => {
            return Err(Withheld::saying(code::VOUCHER_SPENT, &why_void(device.as_ref())));
        }
    }
    if let Some(expires) = kept.expires.filter(|expires| now >= *expires) {
        return Err(Withheld::saying(code::VOUCHER_EXPIRED, &format!("at {expires}")));
    }
    let maker = known.makers.iter().find(|maker| maker.signs_by(kept.maker));
    let maker = maker.ok_or(Withheld::new(code::VOUCHER_MAKER))?;
    let by = By::Voucher { maker: maker.name.clone(), voucher: kept.id };
    let entry = on_terms(shown, &maker.terms, by)?;
    Ok(Entry { spends: Some(Spends::Voucher(Box::new(kept.clone()))), ..entry })
}

fn by_certificate(shown: &Shown<'_>, known: &Known<'_>, factory: &Factory) -> Result<Entry, Withheld> {
    let maker = known.makers.iter().find(|maker| maker.name == *factory.maker());
    let maker = maker.filter(|maker| maker.certificates == Certificates::Admit);
    let maker = maker.ok_or_else(|| Withheld::saying(code::IDEVID_ALONE, &factory.serial()))?;
    let by = By::Certificate { maker: maker.name.clone(), serial: factory.serial().to_owned() };
    on_terms(shown, &maker.terms, by)
}

fn on_terms(shown: &Shown<'_>, terms: &Terms, by: By) -> Result<Entry, Withheld> {
    if shown.evidence < terms.evidence {
        let why = format!("{} is demanded, {} was shown", terms.evidence, shown.evidence);
        return Err(Withheld::saying(code::VOUCHER_EVIDENCE, &why));
    }
    let profile = shown.profile.min(terms.profile);
    Ok(Entry { by, role: terms.role, group: terms.group.clone(), profile, spends: None })
}

fn by_vouch(shown: &Shown<'_>, known: &Known<'_>, signed: &[u8], now: Timestamp) -> Result<Entry, Withheld> {
    let vouched = Vouched::parse(signed)?;
    let said = vouched.check(known.sponsor, known.node, (shown.identity.id(), known.pin), now)?;
    let sponsor = known.sponsor.ok_or(Withheld::new(code::SPONSOR_UNKNOWN))?;
    Ok(Entry {
        by: By::Node { node: said.node, grant: said.grant },
        role: sponsor.role,
        group: sponsor.group.clone(),
        profile: shown.profile.min(said.profile),
        spends: Some(Spends::Grant(Box::new(sponsor.clone().spent()))),
    })
}
