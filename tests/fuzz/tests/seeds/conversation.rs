//! Messages of every kind, and conversations that lead as far as the evidence in them allows.

use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use kos_base::{
    AgreementKey, Channel, DeviceId, EntryId, EvidenceTier, KeyAlgorithm, KeyId, PublicKey, Role,
    SecurityProfile, Timestamp, id::DeviceIdInputs,
};
use kos_identity::{
    csr,
    decommission::{Assurance, Order, Record},
    enrolment::{
        device::{Anchor, Journal},
        message::{
            AuthorityKeys, Bootloader, Carrier, Facts, FromAuthority, FromDevice, Grant, HealthCheck, Hello,
            Image, Means, Notice, Pending, Prove, Receipt, Refused, RoleProfile, SignedOrder, Stored,
            Welcome,
        },
        proof::commitment,
    },
    kid,
};

use super::{Seed, hex, json};

/// When the golden certificates were issued.
pub(super) const NOW: Timestamp = Timestamp::from_unix_s(1_795_170_000);

/// The key of the golden device certificate; signs whatever has to be signed here.
pub(super) fn key() -> (Ed25519KeyPair, PublicKey) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
    let public = PublicKey::from_raw(KeyAlgorithm::Ed25519, pair.public_key().as_ref()).unwrap();
    (pair, public)
}

pub(super) fn sign(message: &[u8]) -> Vec<u8> {
    key().0.sign(message).as_ref().to_vec()
}

/// A request for a certificate.
pub(super) fn csr() -> Vec<u8> {
    let request = csr::Request::new(&key().1).unwrap();
    let signature = sign(request.to_be_signed());
    request.finish(&signature).unwrap()
}

/// Minted by the golden authority for the golden device.
fn uuid() -> EntryId {
    EntryId::from_parts(NOW, [7; 10])
}

fn facts() -> Facts {
    Facts { macs: Vec::new(), serials: vec!["SN-0001".into()] }
}

fn device() -> DeviceId {
    DeviceId::derive(&DeviceIdInputs {
        uuid: uuid().uuid(),
        macs: &[],
        serials: &facts().serials,
        identity_key: key().1.id(),
    })
}

fn hello() -> FromDevice {
    FromDevice::Hello(Hello {
        commitment: commitment(&[3; 32]).into(),
        facts: Facts { macs: vec!["00:1a:2b:00:00:01".parse().unwrap()], ..facts() },
        image: Image::Verified([4; 32].into()),
        role: Role::Sensor,
        profile: SecurityProfile::Sec2,
        name: Some("kitchen".parse().unwrap()),
        capabilities: vec!["telemetry".parse().unwrap()],
        attestation: None,
        maker: None,
        factory: None,
    })
}

/// Opens the commitment of [`hello`] with the token that the targets' authority draws.
fn prove(means: Means) -> FromDevice {
    FromDevice::Prove(Prove {
        token: [7; 32].into(),
        nonce: [3; 32].into(),
        csr: csr().into(),
        agreement: AgreementKey([5; 32]),
        means,
        attestation: None,
        vouch: None,
    })
}

fn order() -> Vec<u8> {
    let order = Order {
        id: uuid(),
        device: device(),
        authority: "attic".parse().unwrap(),
        at: NOW,
        receipt: [6; 32].into(),
    };
    let unsigned = order.unsigned(&key().1);
    let signature = sign(&unsigned.to_be_signed());
    unsigned.finish(signature)
}

fn record() -> Vec<u8> {
    let record = Record {
        device: device(),
        authority: "attic".parse().unwrap(),
        at: NOW,
        order: Some(uuid()),
        receipt: [6; 32].into(),
        assurance: Assurance::Cleared,
        pin: KeyId::from_bytes([8; 32]),
        addresses: vec!["attic.example:8641".into()],
    };
    let unsigned = record.unsigned(&key().1);
    let signature = sign(&unsigned.to_be_signed());
    unsigned.finish(signature)
}

fn welcome() -> FromAuthority {
    FromAuthority::Welcome(Welcome {
        in_service: None,
        challenge: None,
        voucher: None,
        token: [1; 32].into(),
        nonce: [2; 32].into(),
        uuid: uuid(),
        time: NOW,
        authority: "attic".parse().unwrap(),
        issues: 0,
    })
}

/// What the golden authority would send along with the golden device certificate.
fn issued() -> FromAuthority {
    let chain = json("identity/chain.json");
    let chain = ["device", "issuing-1", "root"].map(|name| hex(&chain["certificates"][name]).into());
    let (_, public) = key();
    let grant = kid::Grant {
        subject: format!("k:attic/{}/001", device()).parse().unwrap(),
        audience: "attic".parse().unwrap(),
        holder: public.id(),
        certificate_not_after: NOW.plus(Duration::from_secs(86_400)),
        traits: kid::Traits {
            role: Role::Sensor,
            profile: SecurityProfile::Sec2,
            group: Some("berlin/line-2".parse().unwrap()),
            user: None,
            capabilities: vec!["telemetry".parse().unwrap()],
            evidence: EvidenceTier::KeyOnDevice,
            channel: Channel::Stable,
            agreement_key: AgreementKey([9; 32]),
        },
    };
    let unsigned = kid::build(NOW, grant, [4; 16], &public);
    let signature = sign(&unsigned.to_be_signed());
    FromAuthority::Issued(Box::new(Grant {
        chain: chain.to_vec(),
        kid: unsigned.finish(signature).into(),
        device: device(),
        issue: 1,
        name: "kitchen".parse().unwrap(),
        group: Some("berlin/line-2".parse().unwrap()),
        role: RoleProfile {
            role: Role::Sensor,
            profile: SecurityProfile::Sec2,
            channel: Channel::Stable,
            carriers: vec![Carrier::Quic, Carrier::Tls],
            health_checks: HealthCheck::LEAST.to_vec(),
            heartbeat_s: 60,
        },
        keys: AuthorityKeys { kid: public.clone(), orders: public.clone(), log: public },
        crls: Vec::new(),
    }))
}

/// The seeds of `enrolment_message`.
pub(super) fn seeds() -> Vec<Seed> {
    let signature = || vec![9; 64].into();
    let ticket = Means::Ticket { ticket: uuid(), signature: signature() };
    let renewal = Means::Renewal { issue: 1, old: signature(), new: signature() };
    let recovery = Means::Recovery { issue: 1, identity: signature(), new: signature() };
    let stored = FromDevice::Stored(Stored { issue: 1, bootloader: Some(Bootloader::Locked) });
    let notice = FromDevice::Notice(Notice { record: record().into() });
    let receipt =
        FromDevice::Receipt(Receipt { device: device(), receipt: [6; 32].into(), record: record().into() });
    let refused = FromAuthority::Refused(Refused { code: 200, retry_after_s: Some(60) });
    let ordered = FromAuthority::Order(SignedOrder { order: order().into() });
    let anchor = Anchor { name: None, pins: vec![KeyId::from_bytes([8; 32])], addresses: vec!["a:1".into()] };
    let journal = Journal { identity: Some(key().1), authority: Some(anchor), ..Journal::default() };

    let to_authority = |name: &str, said: &[FromDevice]| {
        (name.to_owned(), said.iter().map(FromDevice::to_bytes).collect::<Vec<_>>())
    };
    let to_device = |name: &str, said: &[FromAuthority]| {
        (name.to_owned(), said.iter().map(FromAuthority::to_bytes).collect())
    };
    let conversations: [(String, Vec<Vec<u8>>); 11] = [
        to_authority("asks-for-the-lobby", &[hello(), prove(Means::Lobby)]),
        to_authority("shows-a-ticket", &[hello(), prove(ticket)]),
        to_authority("renews", &[hello(), prove(renewal)]),
        to_authority("recovers", &[hello(), prove(recovery)]),
        to_authority("has-stored", &[stored]),
        to_authority("gives-notice", &[notice]),
        to_authority("hands-in-a-receipt", &[receipt]),
        to_device("is-let-in", &[welcome(), issued(), FromAuthority::Recorded]),
        to_device("waits", &[welcome(), FromAuthority::Pending(Pending { retry_after_s: 5, why: None })]),
        to_device("is-refused", &[welcome(), refused]),
        to_device("is-ordered-to-end", &[ordered]),
    ];
    let framed = conversations
        .into_iter()
        .map(|(name, frames)| (name, frames.iter().flat_map(|frame| in_frame(frame)).collect()));
    let alone = [("hello".to_owned(), hello().to_bytes()), ("journal".to_owned(), journal.to_bytes())];
    framed
        .chain(alone)
        .chain([("record".to_owned(), record())])
        .map(|(name, bytes)| (format!("enrolment_message/{name}"), bytes))
        .collect()
}

/// The frame on the wire: a length of 4 bytes, then the message.
fn in_frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [length.to_be_bytes().as_slice(), message].concat()
}
