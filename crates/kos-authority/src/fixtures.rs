//! Records that tests store. Made from their encoded form, since only the enrolment machine makes new ones.

use kos_base::{
    AgreementKey, DeviceId, DeviceState, EntryId, KeyAlgorithm, PublicKey, Role, SecurityProfile, Timestamp,
};
use kos_identity::registry::{Credential, Device, Revocation, RevocationReason, Ticket};
use minicbor::Encoder;

/// 2026-11-20T10:20:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_unix_s(1_795_170_000);

pub(crate) fn id(n: u8) -> EntryId {
    EntryId::from_parts(NOW.plus(std::time::Duration::from_secs(u64::from(n))), [n; 10])
}

pub(crate) fn key(n: u8) -> PublicKey {
    PublicKey::from_raw(KeyAlgorithm::Ed25519, &[n; 32]).unwrap()
}

pub(crate) fn device_id(n: u8) -> DeviceId {
    format!("kdev-{:0>16}", format!("{n}")).parse().unwrap()
}

/// A device that nobody has let in yet, with identity key `key(n)` and serial `S<n>`.
pub(crate) fn device(n: u8) -> Device {
    let mut bytes = Vec::new();
    let mut e = Encoder::new(&mut bytes);
    let put = |e: &mut Encoder<&mut Vec<u8>>, n: u8| {
        e.u8(n).unwrap();
    };
    e.map(20).unwrap();
    put(&mut e, 0);
    e.str(device_id(n).as_ref()).unwrap();
    put(&mut e, 1);
    e.u64(1).unwrap();
    put(&mut e, 2);
    e.encode(id(n)).unwrap();
    put(&mut e, 3);
    e.encode(key(n)).unwrap();
    put(&mut e, 4);
    e.array(1).unwrap().bytes(&[0, 0x11, 0x22, 0x33, 0x44, n]).unwrap();
    put(&mut e, 5);
    e.array(1).unwrap().str(&format!("S{n}")).unwrap();
    for (at, word) in [(6, "attic"), (7, "sensor"), (8, "SEC-2"), (9, "key-on-device")] {
        put(&mut e, at);
        e.str(word).unwrap();
    }
    put(&mut e, 12);
    e.array(0).unwrap();
    put(&mut e, 13);
    e.str("stable").unwrap();
    put(&mut e, 14);
    e.bool(false).unwrap();
    for (at, word) in [(15, "pending"), (16, "first contact")] {
        put(&mut e, at);
        e.str(word).unwrap();
    }
    put(&mut e, 17);
    e.u64(NOW.unix_ms()).unwrap();
    put(&mut e, 18);
    e.bool(false).unwrap();
    put(&mut e, 19);
    e.array(0).unwrap();
    put(&mut e, 20);
    e.u32(0).unwrap();
    put(&mut e, 23);
    e.u32(3).unwrap();
    // `regenerate` follows in the map; its number is above those of the optional fields, which are absent.
    put(&mut e, 28);
    e.bool(false).unwrap();
    bytes[0] = 0xa0 + 21;
    minicbor::decode(&bytes).unwrap()
}

/// A device in service, whose certificate is for `key(n + 100)`.
pub(crate) fn member(n: u8) -> Device {
    let mut device = device(n);
    device.enter(NOW, DeviceState::Active, "confirmed").unwrap();
    device.enrolled_at = Some(NOW);
    device.issues = 1;
    device.credential = Some(Credential {
        issue: 1,
        serial: vec![n; 16],
        issuer: key(200).id(),
        key: key(n + 100),
        agreement: AgreementKey([n; 32]),
        not_before: NOW,
        not_after: NOW.plus(std::time::Duration::from_secs(14 * 24 * 3600)),
    });
    device
}

pub(crate) fn ticket(n: u8) -> Ticket {
    Ticket {
        id: id(n),
        version: 1,
        proof_key: key(n),
        role: Role::Sensor,
        profile_cap: SecurityProfile::Sec2,
        group: None,
        device_name: None,
        uses_max: 1,
        uses: 0,
        created_at: NOW,
        expires_at: NOW.plus(Ticket::LIFE_MAX),
        revoked: false,
        serial: None,
        identity_key: None,
        last_device: None,
    }
}

pub(crate) fn revocation(n: u8, reason: RevocationReason) -> Revocation {
    Revocation {
        issuer: key(200).id(),
        serial: vec![n],
        key: key(n).id(),
        at: NOW,
        not_after: NOW.plus(std::time::Duration::from_secs(3600)),
        reason,
        subject: device_id(n).to_string(),
    }
}
