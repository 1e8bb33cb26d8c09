//! The text of an enrolment ticket: what a device needs to find its authority, to know it, and to be let in.
//!
//! `kos1.` and base64url without padding, over deterministic CBOR: an array of authority name, ticket id, secret, pins
//! of the root key, addresses, the time of expiry, and the role and highest profile that it gives. At most [`TICKET_CHARS_MAX`] characters, so that it fits a small QR
//! code. It is a secret: it goes through prompt, file or standard input, never through an argument or a log, and its
//! `Debug` shows the id only.
//!
//! The secret itself never travels. It yields an Ed25519 key by HKDF; the authority keeps the public half.
//!
//! Source: `docs/spec/enrolment.md` TIC-1 to TIC-8; fuzz target `ticket`.

use core::fmt;

use aws_lc_rs::hkdf;
use data_encoding::BASE64URL_NOPAD;
use kos_base::{AuthorityName, Code, EntryId, KeyId, Role, Secret, SecurityProfile, Timestamp, cbor, code};
use minicbor::{Decode, Encode, bytes::ByteArray};
use zeroize::{Zeroize, Zeroizing};

/// Longest ticket text in characters.
pub const TICKET_CHARS_MAX: usize = 300;
/// Most addresses in a ticket.
pub const ADDRESSES_MAX: usize = 4;

const PREFIX: &str = "kos1.";
const PROOF_INFO: &[u8] = b"kos ticket proof key v1";

/// A ticket as the device holds it.
pub struct TicketText {
    /// Who made it.
    pub authority: AuthorityName,
    /// Names it; no secret.
    pub id: EntryId,
    /// Yields the proof key.
    pub secret: Secret<32>,
    /// Key ids of the authority's root key, and perhaps of the next one.
    pub pins: Vec<KeyId>,
    /// `host:port`, best first.
    pub addresses: Vec<String>,
    /// From when on it lets nobody in.
    pub expires_at: Timestamp,
    /// The role that it gives.
    pub role: Role,
    /// The highest profile that it gives.
    pub profile_cap: SecurityProfile,
}

impl fmt::Debug for TicketText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketText({} of {})", self.id, self.authority)
    }
}

/// The text is not a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketTextError {
    /// It does not start with `kos1.`.
    #[error("an enrolment ticket starts with `kos1.`")]
    Prefix,
    /// It is longer than a ticket can be.
    #[error("an enrolment ticket has at most {TICKET_CHARS_MAX} characters")]
    TooLong,
    /// Characters are missing or changed.
    #[error("this enrolment ticket is damaged or not complete")]
    Damaged,
}

impl TicketTextError {
    /// The stable code.
    pub const fn code(self) -> Code {
        code::enrolment::TICKET_MALFORMED
    }
}

#[derive(Encode, Decode)]
struct Wire {
    #[n(0)]
    authority: AuthorityName,
    #[n(1)]
    id: EntryId,
    #[n(2)]
    secret: ByteArray<32>,
    #[n(3)]
    pins: Vec<KeyId>,
    #[n(4)]
    addresses: Vec<String>,
    #[n(5)]
    expires_at: Timestamp,
    #[n(6)]
    role: Role,
    #[n(7)]
    profile_cap: SecurityProfile,
    /// The first four bytes of SHA-256 over all before, so that a mistyped ticket is told from a wrong one.
    #[n(8)]
    check: ByteArray<4>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.secret.as_mut_slice().zeroize();
    }
}

impl TicketText {
    /// The ticket as text.
    pub fn to_text(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new(cbor::encode(&self.wire()));
        let mut text = Zeroizing::new(String::with_capacity(TICKET_CHARS_MAX));
        text.push_str(PREFIX);
        BASE64URL_NOPAD.encode_append(&bytes, &mut text);
        text
    }

    fn wire(&self) -> Wire {
        Wire {
            authority: self.authority.clone(),
            id: self.id,
            secret: ByteArray::from(*self.secret.expose()),
            pins: self.pins.clone(),
            addresses: self.addresses.clone(),
            expires_at: self.expires_at,
            role: self.role,
            profile_cap: self.profile_cap,
            check: ByteArray::from(self.check()),
        }
    }

    fn check(&self) -> [u8; 4] {
        let pins = self.pins.iter().map(|p| p.as_bytes().as_slice());
        let ms = self.expires_at.unix_ms().to_be_bytes();
        let gives = [self.role.as_str().as_bytes(), self.profile_cap.as_str().as_bytes()];
        let head = [self.authority.as_ref().as_bytes(), self.id.as_bytes(), self.secret.expose(), &ms];
        let parts =
            head.into_iter().chain(gives).chain(pins).chain(self.addresses.iter().map(String::as_bytes));
        let [a, b, c, d, ..] = kos_base::digest::sha256_parts("kos ticket check v1", parts);
        [a, b, c, d]
    }

    /// Reads a ticket; white space around it is ignored.
    ///
    /// # Errors
    /// When it is not a whole ticket. It does not tell whether the authority still honours it.
    pub fn parse(text: &str) -> Result<Self, TicketTextError> {
        let text = text.trim();
        let body = text.strip_prefix(PREFIX).ok_or(TicketTextError::Prefix)?;
        if text.len() > TICKET_CHARS_MAX {
            return Err(TicketTextError::TooLong);
        }
        let bytes = BASE64URL_NOPAD.decode(body.as_bytes()).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| TicketTextError::Damaged)?;
        let wire: Wire = cbor::decode(&bytes, TICKET_CHARS_MAX).map_err(|_| TicketTextError::Damaged)?;
        let ticket = Self {
            authority: wire.authority.clone(),
            id: wire.id,
            secret: Secret::new(*wire.secret),
            pins: wire.pins.clone(),
            addresses: wire.addresses.clone(),
            expires_at: wire.expires_at,
            role: wire.role,
            profile_cap: wire.profile_cap,
        };
        let counts =
            (1..=2).contains(&ticket.pins.len()) && (1..=ADDRESSES_MAX).contains(&ticket.addresses.len());
        if !counts || *wire.check != ticket.check() {
            return Err(TicketTextError::Damaged);
        }
        Ok(ticket)
    }

    /// Seed of the Ed25519 key that proves this ticket.
    pub fn proof_seed(&self) -> Secret<32> {
        proof_seed(&self.secret)
    }
}

/// Seed of the Ed25519 key that proves the ticket with this secret: HKDF-SHA-256, zeros as salt, a fixed info.
pub fn proof_seed(secret: &Secret<32>) -> Secret<32> {
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, &[0; 32]).extract(secret.expose());
    let mut seed = [0; 32];
    let filled = prk.expand(&[PROOF_INFO], hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut seed));
    debug_assert!(filled.is_ok(), "expanding to the hash's own length is always allowed");
    let secret = Secret::new(seed);
    seed.zeroize();
    secret
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket() -> TicketText {
        TicketText {
            authority: "attic".parse().unwrap(),
            id: EntryId::from_parts(Timestamp::from_unix_s(1_000), [5; 10]),
            secret: Secret::new([7; 32]),
            pins: vec![KeyId::from_bytes([9; 32])],
            addresses: vec!["192.168.178.20:8641".to_owned(), "[::1]:8641".to_owned()],
            expires_at: Timestamp::from_unix_s(1_600),
            role: Role::Sensor,
            profile_cap: SecurityProfile::Sec2,
        }
    }

    #[test]
    fn a_ticket_is_read_back_from_its_text() {
        let text = ticket().to_text();
        assert!(text.len() <= TICKET_CHARS_MAX, "{}", text.len());
        let read = TicketText::parse(&format!("  {}\n", *text)).unwrap();
        assert_eq!(read.secret, Secret::new([7; 32]));
        assert_eq!((read.authority, read.id, read.pins), (ticket().authority, ticket().id, ticket().pins));
        assert_eq!(read.addresses, ticket().addresses);
    }

    #[test]
    fn every_truncation_and_every_changed_character_is_noticed() {
        let text = ticket().to_text();
        for end in 0..text.len() {
            assert!(TicketText::parse(&text[..end]).is_err(), "cut at {end}");
        }
        for at in 0..text.len() {
            let mut changed = text.as_bytes().to_vec();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(TicketText::parse(&changed).is_err(), "changed at {at}");
        }
        assert_eq!(TicketText::parse(&"k".repeat(400)).unwrap_err(), TicketTextError::Prefix);
        assert_eq!(
            TicketText::parse(&format!("kos1.{}", "A".repeat(400))).unwrap_err(),
            TicketTextError::TooLong
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", ticket());
        assert!(!shown.contains("07"), "{shown}");
        assert!(shown.contains("attic"));
    }
}
