//! With whom a device is paired: confirmed by both, ended by either.
//!
//! Shape: a [`Pairing`] is what the authority keeps of one; it goes from proposed to paired to ended, and never back: who
//! is paired again has another one, with another id. What one side says of it is a signed [`Statement`]: domain
//! `kos pairing device v1` under the key of the device's certificate, `kos pairing agent v1` under the key that was named
//! when an agent was proposed. A person says it with their own certificate, at the API. What a device gets of its pairings
//! and grants is a [`Bonds`], signed by the order key (domain `kos bonds v1`).
//!
//! Invariants: one side alone decides nothing ([`Pairing::state`]). A statement is about one pairing: signed for an earlier
//! one it is worth nothing. Bonds that were signed for another device, or are older than those that are held, are none.
//!
//! Limits: [`PAIRS_MAX`], [`GRANTS_MAX`], [`BONDS_BYTES_MAX`], [`STATEMENT_BYTES_MAX`].
//!
//! Errors: [`PairingError`], [`BondsError`], each with a stable code.
//!
//! What it does not do: know who calls, what the time is, where anything is kept.
//!
//! Source: `docs/spec/pairing.md`; fuzz target `grant`.

mod bonds;
mod partner;
#[cfg(test)]
pub(crate) mod tests;

use core::time::Duration;

use kos_base::{
    AuthorityName, Code, DeviceId, EntryId, PublicKey, Timestamp, cbor,
    code::pairing as codes,
    cose::{CoseError, Purpose, Sealed, Unsigned},
};
use minicbor::{Decode, Encode};

pub use self::{
    bonds::{BONDS_BYTES_MAX, BONDS_LIFE, Bond, Bonds, BondsError, Held, Lifted, Lifting, open},
    partner::{AgentId, ParsePartnerError, Partner},
};
use crate::trust::TrustLevel;

/// Most pairings of a device that are not ended. Stops one device from filling the store, and its bonds one message.
pub const PAIRS_MAX: usize = 16;
/// Most grants of a device, likewise.
pub const GRANTS_MAX: usize = 16;
/// Longest signed statement, in bytes. Stops a stranger from having much read.
pub const STATEMENT_BYTES_MAX: usize = 1_024;
/// How long a proposal waits for both. Stops one that everybody forgot from being confirmed much later.
pub const PROPOSAL_LIFE: Duration = Duration::from_secs(7 * 86_400);

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The device.
    Device,
    /// The user or the agent.
    Partner,
}

impl Side {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Partner => "partner",
        }
    }

    const fn purpose(self) -> Purpose {
        match self {
            Self::Device => {
                Purpose { domain: "kos pairing device v1", typ: "application/kos-pairing-device+cbor" }
            }
            Self::Partner => {
                Purpose { domain: "kos pairing agent v1", typ: "application/kos-pairing-agent+cbor" }
            }
        }
    }
}

/// What ended a pairing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum EndedBy {
    /// The device said so.
    #[n(0)]
    Device,
    /// The user or the agent said so.
    #[n(1)]
    Partner,
    /// An operator said so.
    #[n(2)]
    Operator,
    /// The device is in quarantine, or at its end.
    #[n(3)]
    DeviceStopped,
    /// The user is no operator any more.
    #[n(4)]
    PartnerGone,
    /// The authority was put back from a backup.
    #[n(5)]
    Restored,
}

impl EndedBy {
    /// Its name. Stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Partner => "partner",
            Self::Operator => "operator",
            Self::DeviceStopped => "device-stopped",
            Self::PartnerGone => "partner-gone",
            Self::Restored => "restored",
        }
    }
}

/// Where a pairing is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PairState {
    /// One of the two, or both, have not confirmed it. It decides nothing.
    Proposed,
    /// Both have.
    Paired,
    /// It is over.
    Ended,
}

impl PairState {
    /// Its name. Stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Paired => "paired",
            Self::Ended => "ended",
        }
    }
}

/// What the authority keeps of a pairing.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Pairing {
    /// Which.
    #[n(1)]
    pub id: EntryId,
    /// Whose.
    #[n(2)]
    pub device: DeviceId,
    /// With whom.
    #[n(3)]
    pub partner: Partner,
    /// How far an agent is trusted; a person is trusted.
    #[n(4)]
    pub level: TrustLevel,
    /// By which key an agent is known.
    #[n(5)]
    pub key: Option<PublicKey>,
    /// When it was proposed.
    #[n(6)]
    pub proposed: Timestamp,
    /// When the device confirmed it.
    #[n(7)]
    pub device_said: Option<Timestamp>,
    /// When the other side did.
    #[n(8)]
    pub partner_said: Option<Timestamp>,
    /// When it ended, and by what.
    #[n(9)]
    pub ended: Option<Ended>,
    /// Rises with every change of any pairing or grant of the device.
    #[n(10)]
    pub number: u64,
}

/// That a pairing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Ended {
    /// When.
    #[n(1)]
    pub at: Timestamp,
    /// By what.
    #[n(2)]
    pub by: EndedBy,
}

/// What became of a word about a pairing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is another one now.
    Changed,
    /// It was so already.
    Nothing,
}

impl Pairing {
    /// Where it is in its life at `now`.
    pub fn state(&self, now: Timestamp) -> PairState {
        match (self.ended, self.device_said, self.partner_said) {
            (Some(_), ..) => PairState::Ended,
            (None, Some(_), Some(_)) => PairState::Paired,
            _ if now.since(self.proposed) >= PROPOSAL_LIFE => PairState::Ended,
            _ => PairState::Proposed,
        }
    }

    /// One side confirms it.
    ///
    /// # Errors
    /// When it is over.
    pub fn confirm(&mut self, side: Side, now: Timestamp) -> Result<Effect, PairingError> {
        if self.state(now) == PairState::Ended {
            return Err(PairingError::Over);
        }
        let said = match side {
            Side::Device => &mut self.device_said,
            Side::Partner => &mut self.partner_said,
        };
        if said.is_some() {
            return Ok(Effect::Nothing);
        }
        *said = Some(now);
        Ok(Effect::Changed)
    }

    /// It is over, at once, whoever says so.
    pub fn end(&mut self, by: EndedBy, now: Timestamp) -> Effect {
        if self.ended.is_some() {
            return Effect::Nothing;
        }
        self.ended = Some(Ended { at: now, by });
        Effect::Changed
    }

    /// Takes what one side signed.
    ///
    /// # Errors
    /// When it is about another pairing, or this one is over and is confirmed.
    pub fn take(
        &mut self,
        side: Side,
        statement: &Statement,
        authority: &AuthorityName,
        now: Timestamp,
    ) -> Result<Effect, PairingError> {
        let ours = statement.authority == *authority
            && statement.device == self.device
            && statement.partner == self.partner
            && statement.pairing == self.id;
        if !ours {
            return Err(PairingError::Another);
        }
        match (statement.word, side) {
            (Word::Confirm, side) => self.confirm(side, now),
            (Word::End, Side::Device) => Ok(self.end(EndedBy::Device, now)),
            (Word::End, Side::Partner) => Ok(self.end(EndedBy::Partner, now)),
        }
    }
}

/// What one side says of a pairing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Word {
    /// It wants it.
    #[n(0)]
    Confirm,
    /// It does not, or not any more.
    #[n(1)]
    End,
}

/// What one side signs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Statement {
    /// Of whose fleet.
    #[n(1)]
    pub authority: AuthorityName,
    /// Which device.
    #[n(2)]
    pub device: DeviceId,
    /// With whom.
    #[n(3)]
    pub partner: Partner,
    /// Which pairing of the two.
    #[n(4)]
    pub pairing: EntryId,
    /// What it says.
    #[n(5)]
    pub word: Word,
    /// When.
    #[n(6)]
    pub at: Timestamp,
}

impl Statement {
    /// Prepares it for the key of a side.
    pub fn unsigned(&self, side: Side, key: &PublicKey) -> Unsigned {
        Unsigned::new(side.purpose(), key, cbor::encode(self))
    }

    /// What it claims before anybody has looked at its signature, to find the key.
    ///
    /// # Errors
    /// When it has not the form of one.
    pub fn claimed(signed: &[u8]) -> Result<Self, PairingError> {
        let sealed = Sealed::parse(signed, STATEMENT_BYTES_MAX)?;
        Ok(cbor::decode(sealed.unverified_payload(), STATEMENT_BYTES_MAX).map_err(CoseError::from)?)
    }

    /// Reads what `key` signed as `side`.
    ///
    /// # Errors
    /// When it did not.
    pub fn open(signed: &[u8], side: Side, key: &PublicKey) -> Result<Self, PairingError> {
        let payload = Sealed::parse(signed, STATEMENT_BYTES_MAX)?.verify(side.purpose(), key)?;
        Ok(cbor::decode(&payload, STATEMENT_BYTES_MAX).map_err(CoseError::from)?)
    }
}

/// Why a word about a pairing does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairingError {
    /// The right key did not sign it.
    #[error(transparent)]
    Signature(#[from] CoseError),
    /// It is about another one.
    #[error("this was signed for another pairing")]
    Another,
    /// It is over.
    #[error("this pairing is over")]
    Over,
}

impl PairingError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Signature(_) | Self::Another => codes::PAIR_PROOF,
            Self::Over => codes::PAIR_UNKNOWN,
        }
    }
}
