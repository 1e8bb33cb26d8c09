//! The record of one device: who it is, what it may be, where it is in its life, what it holds.
//!
//! A record is read whole and written whole. [`Device::enter`] is the only way to another state, and it knows which
//! ways there are; it demands a reason. [`Device::assign_profile`] is the only way to another security profile, and it
//! never leads down. Stored as deterministic CBOR with integer keys; a key is never used for anything else later.
//!
//! Source: `docs/spec/enrolment.md` REG-1 to REG-6.

use kos_base::{
    AgreementKey, Capability, Channel, DeviceId, DeviceState, EntryId, EvidenceTier, GroupPath, KeyId, Mac,
    Name, PublicKey, Role, SecurityProfile, Timestamp, own_key::OwnKeys,
};
use kos_policy::{Image, Proven, Request, Standing, Way, decide, guardrails};
use kos_voucher::{By, Withheld};
use minicbor::{Decode, Encode};

use super::{Attested, Case, Change, StateError};
use crate::enrolment::message::{Bootloader, Bytes32};

/// Everything the authority keeps about a device.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Device {
    /// Computed from `uuid`, `macs`, `serials` and `identity_key` at first contact; never changes.
    #[n(0)]
    pub id: DeviceId,
    /// Successor of the version in the store; 1 for a record that is new.
    #[n(1)]
    pub version: u64,
    /// Minted by the authority.
    #[n(2)]
    pub uuid: EntryId,
    /// Proves continuity; the record is found by it.
    #[n(3)]
    pub identity_key: PublicKey,
    /// Universally administered hardware addresses at first contact.
    #[n(4)]
    pub macs: Vec<Mac>,
    /// Hardware serials at first contact.
    #[n(5)]
    pub serials: Vec<String>,
    /// What people call it.
    #[n(6)]
    pub name: Name,
    /// What it is for.
    #[n(7)]
    pub role: Role,
    /// What it must keep to; changes through [`Device::assign_profile`].
    #[n(8)]
    profile: SecurityProfile,
    /// What it has proven.
    #[n(9)]
    pub evidence: EvidenceTier,
    /// Where it stands in the fleet.
    #[n(10)]
    pub group: Option<GroupPath>,
    /// Whose it is.
    #[n(11)]
    pub user: Option<Name>,
    /// What it offers.
    #[n(12)]
    pub capabilities: Vec<Capability>,
    /// Its firmware channel.
    #[n(13)]
    pub channel: Channel,
    /// Whether the authority marked it for channel `dev`.
    #[n(14)]
    pub dev_allowed: bool,
    /// Changes through [`Device::enter`].
    #[n(15)]
    state: DeviceState,
    /// Why it is in that state.
    #[n(16)]
    state_reason: String,
    /// Since when.
    #[n(17)]
    state_since: Timestamp,
    /// Never to be let in again, whatever its state.
    #[n(18)]
    pub banned: bool,
    /// Labels of the operator's own.
    #[n(19)]
    pub tags: Vec<Capability>,
    /// How many certificates were issued; the next one has this number plus one.
    #[n(20)]
    pub issues: u32,
    /// The certificate in service: confirmed by `Stored`.
    #[n(21)]
    pub credential: Option<Credential>,
    /// Issued, not yet confirmed.
    #[n(22)]
    pub pending: Option<Issued>,
    /// How often it may still come back after its certificate ran out.
    #[n(23)]
    pub recoveries_left: u32,
    /// When it was first confirmed.
    #[n(24)]
    pub enrolled_at: Option<Timestamp>,
    /// The decommissioned record of the same hardware.
    #[n(25)]
    pub successor_of: Option<DeviceId>,
    /// Present while a device waits for approval, and from then on until it has confirmed its certificate.
    #[n(26)]
    pub lobby: Option<Lobby>,
    /// Present from the order to wipe until its receipt.
    #[n(27)]
    pub order: Option<Order>,
    /// Whether the operator asked for new keys at the next contact.
    #[n(28)]
    pub regenerate: bool,
    /// The image manifest's digest, when the device's image was verified.
    #[n(29)]
    #[cbor(with = "minicbor::bytes")]
    pub image: Option<Vec<u8>>,
    /// What came of the command that locks its bootloader, if it has one.
    #[n(30)]
    pub bootloader: Option<Bootloader>,
    /// Present from the order of a quarantine until the device is in service again.
    #[n(40)]
    pub case: Option<Case>,
    /// What was verified last of its TPM.
    #[n(41)]
    pub attested: Option<Attested>,
    /// From what its own keys are made, if it was given one.
    #[n(62)]
    pub own_keys: Option<OwnKeys>,
    /// What let it in, when it was neither a ticket nor a person.
    #[n(60)]
    pub admitted_by: Option<By>,
}

/// A certificate and the keys that go with it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Credential {
    /// Number among the device's certificates, from 1.
    #[n(0)]
    pub issue: u32,
    /// Serial number, big-endian.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub serial: Vec<u8>,
    /// Key id of the issuing CA.
    #[n(2)]
    pub issuer: KeyId,
    /// The operational key that it certifies.
    #[n(3)]
    pub key: PublicKey,
    /// The agreement key that came with it.
    #[n(4)]
    pub agreement: AgreementKey,
    /// Start of validity, back-dated.
    #[n(5)]
    pub not_before: Timestamp,
    /// End of validity.
    #[n(6)]
    pub not_after: Timestamp,
    /// The security profile that it certifies. Nothing in records of version 0.1.0, where it was that of the device.
    #[n(7)]
    pub profile: Option<SecurityProfile>,
}

/// A credential that was issued and whose holder has not confirmed it yet.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Issued {
    /// What was issued.
    #[n(0)]
    pub credential: Credential,
    /// DER of the certificate: the same CSR key gets the same bytes again.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub certificate: Vec<u8>,
    /// Why it was issued, which decides what its confirmation means.
    #[n(2)]
    pub renews: bool,
}

/// A device that waits to be let in.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Lobby {
    /// Six digits that the device shows as well, when it came without ticket.
    #[n(0)]
    pub comparison: Option<String>,
    /// Address that it came from, for the cap per source.
    #[n(1)]
    pub source: String,
    /// When it first came.
    #[n(2)]
    pub since: Timestamp,
    /// Devices that show the same hardware under another identity key.
    #[n(3)]
    pub lookalikes: Vec<DeviceId>,
    /// Set by a person or a rule: the next `Prove` with the same identity key is answered with a certificate.
    #[n(4)]
    pub approved: bool,
    /// The most that approval gave it.
    #[n(5)]
    pub profile: SecurityProfile,
    /// The authority's nonce of the conversation that `comparison` belongs to; every `Welcome` repeats it while the
    /// device waits, so that both sides keep to one code.
    #[n(6)]
    pub nonce: Bytes32,
    /// The profile that it asked for.
    #[n(7)]
    pub requested: Option<SecurityProfile>,
    /// The rule that let it in, when it was no person.
    #[n(8)]
    pub rule: Option<Capability>,
    /// Why what it showed does not let it in.
    #[n(20)]
    pub withheld: Option<Withheld>,
    /// When that was written down last.
    #[n(21)]
    pub withheld_at: Option<Timestamp>,
}

impl Lobby {
    /// Whether it waits because of a clone alert.
    pub(crate) const fn is_alert(&self) -> bool {
        !self.lookalikes.is_empty()
    }

    /// How long somebody may wait before the record is dropped.
    pub const WAIT: core::time::Duration = core::time::Duration::from_secs(7 * 24 * 3600);
    /// Most devices that may wait; stops filling the store from the network.
    pub const COUNT_MAX: u64 = 1000;
    /// Most devices with the same hardware that a record names; a stranger chooses what hardware he shows.
    pub const LOOKALIKES_MAX: usize = 16;
    /// Most devices that may wait from one address.
    pub const PER_SOURCE_MAX: u64 = 16;
}

/// An order to wipe, until its receipt has come back.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Order {
    /// The signed order, as it goes to the device.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub signed: Vec<u8>,
    /// SHA-256 of the receipt that the device sends after wiping; the receipt itself is only in the order.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub receipt_hash: Vec<u8>,
    /// When it was given.
    #[n(2)]
    pub at: Timestamp,
}

/// What a device is, at first contact.
#[derive(Debug)]
pub(crate) struct FirstContact {
    pub(crate) id: DeviceId,
    pub(crate) uuid: EntryId,
    pub(crate) identity_key: PublicKey,
    pub(crate) macs: Vec<Mac>,
    pub(crate) serials: Vec<String>,
    pub(crate) name: Option<Name>,
    pub(crate) role: Role,
    pub(crate) profile: SecurityProfile,
    pub(crate) evidence: EvidenceTier,
    pub(crate) capabilities: Vec<Capability>,
}

impl Device {
    /// How often a device of this profile may recover before an operator must raise the counter. The more its certificate
    /// is worth, the shorter it lives, and the more a person should know of a device that was silent for longer.
    pub const fn recoveries(profile: SecurityProfile) -> u32 {
        guardrails(profile).recoveries
    }

    /// A device that nobody has let in yet.
    pub(crate) fn first_contact(now: Timestamp, first: FirstContact) -> Self {
        Self {
            name: first.name.unwrap_or_else(|| Name::from(&first.id)),
            id: first.id,
            version: 1,
            uuid: first.uuid,
            identity_key: first.identity_key,
            macs: first.macs,
            serials: first.serials,
            role: first.role,
            profile: first.profile,
            evidence: first.evidence,
            group: None,
            user: None,
            capabilities: first.capabilities,
            channel: Channel::Stable,
            dev_allowed: false,
            state: DeviceState::Pending,
            state_reason: "first contact".to_owned(),
            state_since: now,
            banned: false,
            tags: Vec::new(),
            issues: 0,
            credential: None,
            pending: None,
            recoveries_left: Self::recoveries(first.profile),
            enrolled_at: None,
            successor_of: None,
            lobby: None,
            order: None,
            regenerate: false,
            image: None,
            bootloader: None,
            case: None,
            attested: None,
            own_keys: None,
            admitted_by: None,
        }
    }

    /// Where the device is in its life, as recorded. [`Device::state_at`] adds what only time decides.
    pub const fn state(&self) -> DeviceState {
        self.state
    }

    /// Why it is there.
    pub fn state_reason(&self) -> &str {
        &self.state_reason
    }

    /// Since when.
    pub const fn state_since(&self) -> Timestamp {
        self.state_since
    }

    /// The certificate in service and the one that waits for its confirmation.
    pub fn credentials(&self) -> impl Iterator<Item = &Credential> {
        self.credential.iter().chain(self.pending.as_ref().map(|issued| &issued.credential))
    }

    /// Its security profile.
    pub const fn profile(&self) -> SecurityProfile {
        self.profile
    }

    /// The state at `now`: an active device whose certificate ran out is expired, one past 7/10 of its certificate's
    /// life is due for renewal.
    pub fn state_at(&self, now: Timestamp) -> DeviceState {
        let Some(credential) = self.credential.as_ref().filter(|_| self.state == DeviceState::Active) else {
            return self.state;
        };
        if now >= credential.not_after {
            DeviceState::Expired
        } else if now >= credential.due_at() {
            DeviceState::RenewalDue
        } else {
            DeviceState::Active
        }
    }

    /// Goes to another state.
    ///
    /// # Errors
    /// When no way leads there; the caller shows the state and its reason.
    pub fn enter(&mut self, now: Timestamp, to: DeviceState, reason: &str) -> Result<(), StateError> {
        use DeviceState::{
            Active, Decommissioned, Decommissioning, Expired, Pending, Quarantined, RenewalDue, Suspended,
            Unknown,
        };
        let allowed = match (self.state, to) {
            (Unknown | Expired | RenewalDue, _) | (_, Unknown | Expired | RenewalDue) => false,
            (Pending, Active | Decommissioned) => true,
            (Active, Suspended | Quarantined | Decommissioning | Decommissioned) => true,
            (Suspended, Active | Quarantined | Decommissioning | Decommissioned) => true,
            (Quarantined, Pending | Decommissioning | Decommissioned) => true,
            (Decommissioning, Decommissioned) => true,
            (Pending, Pending | Suspended | Quarantined | Decommissioning)
            | (Active, Pending | Active)
            | (Suspended, Pending | Suspended)
            | (Quarantined, Active | Suspended | Quarantined)
            | (Decommissioning, Pending | Active | Suspended | Quarantined | Decommissioning)
            | (Decommissioned, _) => false,
        };
        if !allowed {
            return Err(StateError::Transition { from: self.state, to });
        }
        self.put_back(now, to, reason);
        Ok(())
    }

    /// Is in another state from now on, whatever the way: a record from a backup takes over what became of it since.
    pub(super) fn put_back(&mut self, now: Timestamp, state: DeviceState, reason: &str) {
        self.state = state;
        self.state_reason = kos_base::text::printable(reason, 200);
        self.state_since = now;
    }

    /// Gives it a security profile that is not lower than the one it has held in service, and the recoveries of that.
    ///
    /// # Errors
    /// When it would go down.
    pub fn assign_profile(&mut self, to: SecurityProfile) -> Result<(), StateError> {
        self.check_profile(to)?;
        if self.profile != to {
            let most = Self::recoveries(to);
            // What was used up in service stays used up.
            self.recoveries_left =
                if self.enrolled_at.is_some() { self.recoveries_left.min(most) } else { most };
        }
        self.profile = to;
        Ok(())
    }

    /// Gives a device in service a higher profile, which counts from its next certificate on.
    ///
    /// # Errors
    /// When it would go down.
    pub(super) fn raise_profile(&mut self, to: SecurityProfile) -> Result<(), StateError> {
        self.check_profile(to)?;
        if self.profile != to {
            // What is certified now is told until there is another certificate (POLS-22).
            let waiting = self.pending.as_mut().map(|issued| &mut issued.credential);
            for held in self.credential.iter_mut().chain(waiting) {
                held.profile.get_or_insert(self.profile);
            }
            self.regenerate = self.credential.is_some();
        }
        self.assign_profile(to)
    }

    /// Whether [`Device::assign_profile`] would do it.
    ///
    /// # Errors
    /// When it would go down.
    pub fn check_profile(&self, to: SecurityProfile) -> Result<(), StateError> {
        Ok(decide(self.standing(), Request::Certify(Way::Approval, to)).check()?)
    }

    /// What it has held in service, and what it has proven (POLS-12, POLS-26).
    pub fn standing(&self) -> Standing {
        let recorded = self.enrolled_at.map(|_| self.profile);
        let certified = self.credential.as_ref().and_then(|credential| credential.profile);
        Standing { profile: recorded.max(certified).unwrap_or(SecurityProfile::Sec0), proven: self.proven() }
    }

    /// What it has proven about its keys and its boot.
    pub const fn proven(&self) -> Proven {
        let image = if self.image.is_some() { Image::Verified } else { Image::Unverified };
        let bootloader = match self.bootloader {
            Some(Bootloader::Failed) => kos_policy::Bootloader::Failed,
            Some(Bootloader::Locked) | None => kos_policy::Bootloader::Fine,
        };
        Proven { evidence: self.evidence, image, bootloader }
    }

    /// What its certificate in service says of its profile: that counts on the wire, whatever the record was raised to.
    pub fn certified_profile(&self, credential: &Credential) -> SecurityProfile {
        credential.profile.unwrap_or(self.profile)
    }

    /// That it waits, as it is recorded.
    pub(crate) fn waiting(&self) -> Change {
        let withheld = self.lobby.as_ref().and_then(|lobby| lobby.withheld.clone());
        Change::DeviceWaiting { device: self.id.clone(), identity_key: self.identity_key.id(), withheld }
    }

    /// Whether it waits and somebody has let it in.
    pub(crate) fn is_approved(&self) -> bool {
        self.lobby.as_ref().is_some_and(|lobby| lobby.approved)
    }

    /// The record with the version that makes it the successor of what the store holds.
    #[must_use]
    pub fn next_version(mut self) -> Self {
        self.version += 1;
        self
    }

    /// Whether a certificate may be issued to it now or used by it: not banned, not stopped, not ended.
    pub const fn is_admitted(&self) -> bool {
        !self.banned && matches!(self.state, DeviceState::Active)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use kos_base::KeyAlgorithm;

    use super::*;

    pub(crate) fn device() -> Device {
        let identity_key = PublicKey::from_raw(KeyAlgorithm::Ed25519, &[3; 32]).unwrap();
        Device::first_contact(
            Timestamp::from_unix_s(1_000),
            FirstContact {
                id: "kdev-7f4ac30123456789".parse().unwrap(),
                uuid: EntryId::from_parts(Timestamp::from_unix_s(1_000), [1; 10]),
                identity_key,
                macs: vec!["00:11:22:33:44:55".parse().unwrap()],
                serials: vec!["S1".to_owned()],
                name: Some("attic".parse().unwrap()),
                role: Role::Sensor,
                profile: SecurityProfile::Sec2,
                evidence: EvidenceTier::KeyOnDevice,
                capabilities: Vec::new(),
            },
        )
    }

    /// A certificate for its identity key, good from 0 s to 1 000 s.
    pub(crate) fn credential(device: &Device) -> Credential {
        Credential {
            issue: 1,
            serial: vec![1],
            issuer: KeyId::from_bytes([0; 32]),
            key: device.identity_key.clone(),
            agreement: AgreementKey([0; 32]),
            not_before: Timestamp::from_unix_s(0),
            not_after: Timestamp::from_unix_s(1_000),
            profile: None,
        }
    }

    #[test]
    fn only_listed_ways_lead_from_state_to_state() {
        use DeviceState::*;
        let ways: &[(DeviceState, &[DeviceState])] = &[
            (Pending, &[Active, Decommissioned]),
            (Active, &[Suspended, Quarantined, Decommissioning, Decommissioned]),
            (Suspended, &[Active, Quarantined, Decommissioning, Decommissioned]),
            (Quarantined, &[Pending, Decommissioning, Decommissioned]),
            (Decommissioning, &[Decommissioned]),
            (Decommissioned, &[]),
        ];
        for (from, tos) in ways {
            for to in DeviceState::ALL {
                let mut device = Device { state: *from, ..device() };
                let went = device.enter(Timestamp::from_unix_s(2_000), *to, "test").is_ok();
                assert_eq!(went, tos.contains(to), "{from} to {to}");
            }
        }
    }

    #[test]
    fn a_profile_never_goes_down_once_in_service() {
        let mut device = device();
        assert!(device.assign_profile(SecurityProfile::Sec1).is_ok());
        device.enrolled_at = Some(Timestamp::from_unix_s(1));
        assert!(device.assign_profile(SecurityProfile::Sec3).is_ok());
        assert!(device.assign_profile(SecurityProfile::Sec2).is_err());
    }

    #[test]
    fn a_record_that_was_lowered_does_not_make_its_certificate_lower() {
        let mut device = device();
        device.enrolled_at = Some(Timestamp::from_unix_s(1));
        device.credential = Some(Credential { profile: Some(SecurityProfile::Sec2), ..credential(&device) });
        device.profile = SecurityProfile::Sec1;
        assert_eq!(device.standing().profile, SecurityProfile::Sec2);
        assert!(device.check_profile(SecurityProfile::Sec1).is_err());
        assert!(device.check_profile(SecurityProfile::Sec2).is_ok());
    }

    #[test]
    fn recoveries_follow_the_profile_until_the_device_is_in_service() {
        let mut device = device();
        for (to, left) in [(SecurityProfile::Sec4, 0), (SecurityProfile::Sec1, 3), (SecurityProfile::Sec2, 3)]
        {
            device.assign_profile(to).unwrap();
            assert_eq!(device.recoveries_left, left, "{to}");
        }
        device.enrolled_at = Some(Timestamp::from_unix_s(1));
        device.recoveries_left = 2;
        device.assign_profile(SecurityProfile::Sec2).unwrap();
        assert_eq!(device.recoveries_left, 2);
        device.assign_profile(SecurityProfile::Sec3).unwrap();
        assert_eq!(device.recoveries_left, 1);
        device.recoveries_left = 0;
        device.assign_profile(SecurityProfile::Sec3).unwrap();
        assert_eq!(device.recoveries_left, 0);
    }

    #[test]
    fn a_record_is_read_back_as_written() {
        let device = device();
        let bytes = kos_base::cbor::encode(&device);
        assert_eq!(kos_base::cbor::decode::<Device>(&bytes, 4096), Ok(device));
    }

    #[test]
    fn time_alone_makes_a_certificate_due_and_then_expired() {
        let mut device = device();
        device.state = DeviceState::Active;
        device.credential = Some(credential(&device));
        for (s, state) in [
            (0, DeviceState::Active),
            (699, DeviceState::Active),
            (700, DeviceState::RenewalDue),
            (1_000, DeviceState::Expired),
        ] {
            assert_eq!(device.state_at(Timestamp::from_unix_s(s)), state, "{s}");
        }
    }
}
