//! What the log says of vouchers, factory certificates and nodes that vouch.

use kos_audit::EventType;
use kos_base::{DeviceId, EntryId, EvidenceTier, KeyId, Name, PublicKey, SecurityProfile, Timestamp};
use kos_voucher::{By, VoucherId, Withheld, idevid};
use serde_json::{Value, json};

use super::{
    About, Draft,
    event::{about, draft},
};
use crate::store::StoredMaker;

/// Something that happened to makers, vouchers and grants.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are named after what they are, and each variant says what happened"
)]
pub enum PapersChange {
    /// An operator trusts a maker of devices, on these terms.
    MakerTrusted {
        name: Name,
        key: Option<KeyId>,
        cas: Vec<KeyId>,
        admits: bool,
        profile: SecurityProfile,
        evidence: EvidenceTier,
    },
    /// An operator trusts a maker no more.
    MakerRemoved { name: Name },
    /// A voucher for a device is kept from now on.
    VoucherImported { voucher: VoucherId, maker: KeyId, subject: String, expires: Option<Timestamp> },
    /// A backup brought a voucher back that may have been spent since, or its device was turned away.
    VoucherVoided { voucher: VoucherId },
    /// A device that has not come was passed on to the authority with this root.
    VoucherEndorsed { voucher: VoucherId, to: KeyId },
    /// A device may vouch for new ones.
    VouchingGranted {
        grant: EntryId,
        device: DeviceId,
        profile: SecurityProfile,
        uses: u32,
        expires: Timestamp,
    },
    /// It may no more.
    VouchingWithdrawn { grant: EntryId, device: DeviceId },
}

impl PapersChange {
    /// That a maker is trusted on the terms that are stored.
    pub(crate) fn trusted(stored: &StoredMaker) -> Self {
        let read = stored.maker();
        let roots = read.iter().flat_map(|maker| &maker.roots);
        Self::MakerTrusted {
            name: stored.name.clone(),
            key: read.as_ref().and_then(|maker| maker.key.as_ref()).map(PublicKey::id),
            cas: roots.filter_map(|der| idevid::check_root(der).ok()).collect(),
            admits: stored.certificates_admit,
            profile: stored.profile,
            evidence: stored.evidence,
        }
    }
}

pub(super) fn event_of(change: &PapersChange) -> Draft {
    use PapersChange as C;
    match change {
        C::MakerTrusted { name, key, cas, admits, profile, evidence } => draft(
            EventType::MakerTrusted,
            About::Authority,
            json!({
                "maker": name, "keyId": key, "caKeyIds": cas, "certificatesAdmit": admits,
                "profileCap": profile, "evidenceTier": evidence
            }),
        ),
        C::MakerRemoved { name } => draft(EventType::MakerRemoved, About::Authority, json!({"maker": name})),
        C::VoucherImported { voucher, maker, subject, expires } => draft(
            EventType::VoucherImported,
            About::Authority,
            json!({
                "voucherId": voucher.to_string(), "makerKeyId": maker, "subject": subject, "expiresAt": expires
            }),
        ),
        C::VoucherVoided { voucher } => {
            draft(EventType::VoucherVoided, About::Authority, json!({"voucherId": voucher.to_string()}))
        }
        C::VoucherEndorsed { voucher, to } => draft(
            EventType::VoucherEndorsed,
            About::Authority,
            json!({"voucherId": voucher.to_string(), "to": to}),
        ),
        C::VouchingGranted { grant, device, profile, uses, expires } => about(
            EventType::VouchingGranted,
            device,
            json!({"grantId": grant, "profileCap": profile, "usesMax": uses, "expiresAt": expires}),
        ),
        C::VouchingWithdrawn { grant, device } => {
            about(EventType::VouchingWithdrawn, device, json!({"grantId": grant}))
        }
    }
}

/// A device waits, perhaps with papers that do not let it in.
pub(super) fn waiting(device: &DeviceId, identity_key: KeyId, withheld: Option<&Withheld>) -> Draft {
    let mut details = json!({"identityKeyId": identity_key});
    if let Some(withheld) = withheld {
        add(&mut details, "withheld", withheld.to_string());
    }
    about(EventType::DevicePending, device, details)
}

/// A device was let in, perhaps by what somebody said of it, and spent the vouchers that name it.
pub(super) fn enrolled(device: &DeviceId, mut details: Value, by: Option<&By>, spent: &[VoucherId]) -> Draft {
    if let (Value::Object(details), false) = (&mut details, spent.is_empty()) {
        let ids: Vec<_> = spent.iter().map(ToString::to_string).collect();
        details.insert("vouchersSpent".to_owned(), ids.into());
    }
    if let Some(by) = by {
        add(&mut details, "by", by.to_string());
        match by {
            By::Voucher { voucher, .. } => add(&mut details, "voucherId", voucher.to_string()),
            By::Node { grant, .. } => add(&mut details, "grantId", grant.to_string()),
            By::Certificate { .. } => {}
        }
    }
    about(EventType::DeviceEnrolled, device, details)
}

fn add(details: &mut Value, name: &str, text: String) {
    if let Value::Object(details) = details {
        details.insert(name.to_owned(), text.into());
    }
}
