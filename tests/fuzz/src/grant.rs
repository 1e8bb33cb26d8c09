//! Pairings, grants and calls: reading ends, nothing opens that nobody signed, what was read is written alike, and no call is
//! let through by a grant that is for somebody else.

use kos_base::{
    Channel, EvidenceTier, Role, SecurityProfile,
    cbor::{self, CborError},
    cose::Sealed,
};
use kos_policy::{
    grant::{CALL_BYTES_MAX, Call, GRANT_BYTES_MAX, Grant, Pattern, Resource, Usage, judge},
    pairing::{self, BONDS_BYTES_MAX, Bonds, Partner, STATEMENT_BYTES_MAX, Side, Statement},
    slice::{Atom, Facts},
    trust::TrustLevel,
};
use minicbor::{Decode, Encode};

use crate::{
    Verdict,
    cast::{NOW, nobodys_key},
};

const FACTS: Facts = Facts {
    profile: SecurityProfile::Sec2,
    evidence: EvidenceTier::KeyOnDevice,
    role: Role::Sensor,
    channel: Channel::Stable,
};

/// Reads the bytes as each of the signed objects, as what is in them, and as the texts that people write.
pub fn run(bytes: &[u8]) -> Verdict {
    let key = nobodys_key();
    assert!(Grant::open(bytes, &key).is_err() && Call::open(bytes, &key).is_err(), "nobody signed this");
    for side in [Side::Device, Side::Partner] {
        assert!(Statement::open(bytes, side, &key).is_err(), "nobody signed this");
    }
    let (authority, device) =
        ("attic".parse().expect("a name"), "kdev-0000000000000001".parse().expect("an id"));
    assert!(pairing::open(bytes, &key, &authority, &device).is_err(), "nobody signed this");

    let sealed = Sealed::parse(bytes, BONDS_BYTES_MAX);
    let inside = sealed.as_ref().map(|sealed| sealed.unverified_payload().to_vec()).unwrap_or_default();
    Verdict::of(&sealed).or(payloads(&inside)).or(payloads(bytes)).or(texts(bytes))
}

fn payloads(bytes: &[u8]) -> Verdict {
    let (call, grant) = (check::<Call>(bytes, CALL_BYTES_MAX), check::<Grant>(bytes, GRANT_BYTES_MAX));
    if let Ok(call) = &call {
        // Whoever is asked may have no grant for this.
        let other = Grant {
            authority: call.authority.clone(),
            id: call.grant,
            version: 1,
            pairing: call.grant,
            agent: "kai:somebody/else".parse().expect("an id"),
            device: call.device.clone(),
            ability: call.ability,
            scope: vec!["*".parse().expect("a pattern")],
            issued: call.at,
            expires: call.at,
            uses: None,
            conditions: Vec::new(),
            memory: call.ability.memory(),
            network: kos_policy::trust::Network::None,
            storage: kos_policy::trust::Storage::None,
            level: TrustLevel::Trusted,
        };
        let judged = judge(&other, call, Usage::default(), None, call.at, &FACTS);
        assert!(judged.is_err(), "a grant that is somebody else's, or has run out");
    }
    if let Ok(grant) = &grant {
        // Whatever it says, it is no wider than itself, and the same version is no newer one.
        let next = Grant { version: grant.version.saturating_add(1), ..grant.clone() };
        assert_eq!(next.narrows(grant).is_ok(), grant.version < u32::MAX);
        assert!(grant.narrows(grant).is_err());
        let _ = grant.check(TrustLevel::External);
    }
    if let Ok(bonds) = check::<Bonds>(bytes, BONDS_BYTES_MAX) {
        assert!(bonds.grants.iter().all(|held| Grant::open(&held.signed, &nobodys_key()).is_err()));
        assert!(bonds.follow(&bonds).is_ok());
        let agents = bonds.pairs.iter().filter_map(|bond| bond.partner.agent());
        assert!(agents.clone().all(|agent| bonds.paired(agent, NOW).is_none_or(|bond| bond.is_paired())));
    }
    let statement = check::<Statement>(bytes, STATEMENT_BYTES_MAX);
    let bonds = check::<Bonds>(bytes, BONDS_BYTES_MAX);
    Verdict::of(&call).or(Verdict::of(&grant)).or(Verdict::of(&statement)).or(Verdict::of(&bonds))
}

fn check<T>(bytes: &[u8], bytes_max: usize) -> Result<T, CborError>
where
    T: for<'b> Decode<'b, ()> + Encode<()>,
{
    let read = cbor::decode::<T>(bytes, bytes_max);
    if let Ok(value) = &read {
        assert_eq!(cbor::encode(value), bytes);
    }
    read
}

fn texts(bytes: &[u8]) -> Verdict {
    let Ok(text) = core::str::from_utf8(bytes) else { return Verdict::Refused };
    let (partner, atom) = (text.parse::<Partner>(), text.parse::<Atom>());
    if let Ok(partner) = &partner {
        assert_eq!(partner.to_string().parse::<Partner>().as_ref(), Ok(partner));
    }
    if let Ok(atom) = &atom {
        assert_eq!(atom.to_string().parse::<Atom>().as_ref(), Ok(atom));
        let _ = atom.holds(NOW, &FACTS);
    }
    let (resource, pattern) = (text.parse::<Resource>(), text.parse::<Pattern>());
    if let Ok(pattern) = &pattern {
        assert!(pattern.covers(pattern));
        if let Ok(resource) = &resource {
            assert!(pattern.fits(resource), "a resource is the pattern of itself");
        }
    }
    Verdict::of(&partner).or(Verdict::of(&atom)).or(Verdict::of(&pattern))
}
