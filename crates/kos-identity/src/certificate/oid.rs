//! The object identifiers that kOS defines, and the few of others that `const-oid` does not name.
//!
//! Ours hang under the arc that Microsoft delegates for GUIDs, because an arc of 2.25 holds a 128-bit number, which
//! RustCrypto, Go, Botan and asn1js cannot read.
//!
//! Source: `docs/spec/identity.md` ID-24; RFC 4043, RFC 4108, RFC 5758, RFC 8410, RFC 6960.

use const_oid::ObjectIdentifier;

/// The arc of GUID cdb21b37-88bf-4c57-be32-93aa3d047f61, minted once for kOS.
pub const ARC: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.840.113556.1.8000.2554.52658.6967.35007.19543.48690.9677373.294753");
/// The kOS extension of device certificates.
pub const IDENTITY_EXTENSION: ObjectIdentifier = under_arc(1);
/// Assigner of the permanent identifier: device ids.
pub const DEVICE_IDS: ObjectIdentifier = under_arc(2);
/// Type of the hardware module name: serials as the device reports them.
pub const HARDWARE_SERIALS: ObjectIdentifier = under_arc(3);

pub(crate) const PERMANENT_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.8.3");
pub(crate) const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
pub(crate) const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
pub(crate) const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

#[expect(clippy::panic, reason = "the compiler runs it: an arc that does not fit does not build")]
const fn under_arc(last: u32) -> ObjectIdentifier {
    match ARC.push_arc(last) {
        Ok(oid) => oid,
        Err(_) => panic!(),
    }
}
