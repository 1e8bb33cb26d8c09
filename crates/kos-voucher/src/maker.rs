//! Makers that an operator trusts, and on which terms.

use kos_base::{EvidenceTier, GroupPath, KeyId, Name, PublicKey, Role, SecurityProfile};

/// A maker of devices, by the word of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maker {
    /// What operators call it.
    pub name: Name,
    /// The key that signs its vouchers.
    pub key: Option<PublicKey>,
    /// The CAs that issue its factory certificates, DER.
    pub roots: Vec<Vec<u8>>,
    /// Whether such a certificate is enough.
    pub certificates: Certificates,
    /// What its devices are given.
    pub terms: Terms,
}

/// What the factory certificates of a maker are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificates {
    /// They prove the serial that a voucher names.
    Name,
    /// They let in every device of the maker, without a voucher.
    Admit,
}

/// What devices of a maker are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The role; the one that the device asks for where it is absent.
    pub role: Option<Role>,
    /// The group.
    pub group: Option<GroupPath>,
    /// The highest profile.
    pub profile: SecurityProfile,
    /// The least evidence that a device must show to be let in.
    pub evidence: EvidenceTier,
}

impl Maker {
    /// Most CAs of a maker.
    pub const ROOTS_MAX: usize = 4;
    /// Most makers. With [`Maker::ROOTS_MAX`] it bounds what a stranger's certificate is compared with.
    pub const COUNT_MAX: usize = 32;

    /// Whether its vouchers are signed by this key.
    pub fn signs_by(&self, key: KeyId) -> bool {
        self.key.as_ref().is_some_and(|own| own.id() == key)
    }
}
