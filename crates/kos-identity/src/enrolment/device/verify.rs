//! Whether what an authority issued is what this device asked for.
//!
//! A device uses a certificate only if it leads to the pinned root, names this device and this authority, certifies the
//! key that was asked for, carries a number that is newer than any before, and does not lower the security profile; and
//! if the id can be computed again from the device's own facts. Dates are judged by the authority's own time: whoever
//! can lie about it to a pinned connection can sign any certificate as well, and the device's clock may stand in 1970 or
//! in 2100. [`grant`] is the only way to a [`VerifiedGrant`].
//!
//! Source: `docs/spec/enrolment.md` DEV-5, DEV-7, DEV-9, DEV-10.

use kos_base::{
    AuthorityName, Code, DeviceId, EntryId, KeyId, SecurityProfile, Timestamp, code, id::DeviceIdInputs,
};
use kos_policy::{Refusal, Request, Standing, Way, decide};

use super::{Candidate, Held, Membership};
use crate::{
    certificate::PeerIdentity,
    chain::{self, Anchors, ChainError, Clock, Usage},
    crl::RevocationView,
    enrolment::message::{Facts, Grant},
    kid::{self, KidError},
};

/// What the device knows and asked for.
pub(super) struct Asked<'a> {
    /// The authority's time, as it told it on the authenticated connection that brought the grant.
    pub(super) time: Timestamp,
    pub(super) root: KeyId,
    pub(super) authority: &'a AuthorityName,
    pub(super) uuid: EntryId,
    pub(super) facts: &'a Facts,
    pub(super) identity: KeyId,
    /// Who the device is, while it has a certificate in service.
    pub(super) known: Option<&'a Membership>,
    /// The highest security profile that it had in service.
    pub(super) floor: Option<SecurityProfile>,
    /// Number of the certificate in service.
    pub(super) newest: Option<u32>,
    pub(super) candidate: &'a Candidate,
}

/// A certificate that this device may use.
#[derive(Debug)]
pub(super) struct VerifiedGrant {
    pub(super) membership: Membership,
    pub(super) held: Held,
    pub(super) crls: Vec<Vec<u8>>,
}

/// Why what was issued is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// The chain does not hold.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The kID does not hold.
    #[error(transparent)]
    Kid(#[from] KidError),
    /// It certifies another key than the one that was asked for.
    #[error("the certificate is for another key")]
    Key,
    /// The id is not the one that follows from this device's own facts.
    #[error("the device id does not follow from the device")]
    DeviceId,
    /// Its security profile is lower than the one before, or claims more than its evidence.
    #[error(transparent)]
    Policy(#[from] Refusal),
    /// It contradicts what the device already is.
    #[error("the {0} contradicts what was issued before")]
    Contradiction(&'static str),
}

impl GrantError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Chain(e) => e.code(),
            Self::Kid(e) => e.code(),
            Self::Policy(refusal) => refusal.code(),
            Self::Key | Self::DeviceId | Self::Contradiction(_) => code::certificate::CERT_IDENTITY,
        }
    }
}

/// Judges what was issued. `jitter` places the renewal between 50 and 70 % of the certificate's life.
pub(super) fn grant(asked: &Asked<'_>, grant: Grant, jitter: u64) -> Result<VerifiedGrant, GrantError> {
    let device = DeviceId::derive(&DeviceIdInputs {
        uuid: asked.uuid.uuid(),
        macs: &asked.facts.macs,
        serials: &asked.facts.serials,
        identity_key: asked.identity,
    });
    if grant.device != device {
        return Err(GrantError::DeviceId);
    }
    let anchors = Anchors::pins(vec![asked.root]);
    let chain: Vec<&[u8]> = grant.chain.iter().map(|c| c.as_slice()).collect();
    let clock = Clock::Trusted(asked.time);
    let peer = chain::verify(clock, Usage::Client, &chain, &anchors, &RevocationView::default())?;
    peer.expect(&PeerIdentity::Device { authority: asked.authority.clone(), device: device.clone() })?;
    if peer.public_key() != &asked.candidate.operational {
        return Err(GrantError::Key);
    }
    let certificate = peer.certificate();
    let facts = certificate.facts().ok_or(GrantError::Contradiction("extension"))?;
    let says_same = facts.subject.issue == grant.issue && facts.profile == grant.role.profile;
    if !says_same || facts.role != grant.role.role {
        return Err(GrantError::Contradiction("extension"));
    }
    if asked.newest.is_some_and(|newest| grant.issue <= newest) {
        return Err(GrantError::Contradiction("number"));
    }
    let floor = asked.floor.unwrap_or(SecurityProfile::Sec0);
    let standing = Standing::certified(floor, facts.evidence);
    decide(standing, Request::Certify(Way::Adoption, facts.profile)).check()?;
    if let Some(known) = asked.known {
        if grant.device != known.device {
            return Err(GrantError::Contradiction("device id"));
        }
        if grant.keys != known.keys {
            return Err(GrantError::Contradiction("authority's keys"));
        }
    }
    let expected =
        kid::Expected { signer: &grant.keys.kid, audience: asked.authority, holder: certificate.key_id() };
    let kid = kid::verify(asked.time, &grant.kid, &expected)?;
    let certified = Standing::certified(facts.profile, facts.evidence);
    decide(certified, Request::Name(kid.claims().traits.profile)).check()?;
    let (not_before, not_after) = (certificate.not_before(), certificate.not_after());
    let held = Held {
        slot: asked.candidate.slot,
        issue: grant.issue,
        operational: asked.candidate.operational.clone(),
        agreement: asked.candidate.agreement,
        chain: grant.chain,
        kid: grant.kid,
        not_before,
        not_after,
        renew_at: renew_at(not_before, not_after, jitter),
    };
    let membership = Membership {
        device,
        uuid: asked.uuid,
        facts: asked.facts.clone(),
        name: grant.name,
        group: grant.group,
        role: grant.role,
        keys: grant.keys,
    };
    let crls = grant.crls.into_iter().map(Into::into).collect();
    Ok(VerifiedGrant { membership, held, crls })
}

/// A moment between 50 and 70 % of a life, spread so that a fleet does not renew at once.
fn renew_at(not_before: Timestamp, not_after: Timestamp, jitter: u64) -> Timestamp {
    let life = not_after.since(not_before);
    let thousandths = u32::try_from(500 + jitter % 201).unwrap_or(600);
    not_before.plus(life / 1000 * thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_falls_between_half_and_seven_tenths_of_a_life() {
        let (from, to) = (Timestamp::from_unix_s(1_000), Timestamp::from_unix_s(2_000));
        for jitter in [0, 1, 200, 201, u64::MAX] {
            let at = renew_at(from, to, jitter).unix_s();
            assert!((1_500..=1_700).contains(&at), "{at}");
        }
    }
}
