//! Tickets that no authority made, written as `docs/spec/enrolment.md` TIC-1 to TIC-3 say.

use anyhow::{Context as _, Result};
use data_encoding::BASE64URL_NOPAD;
use kos_base::{AuthorityName, EntryId, KeyId, Role, SecurityProfile, Timestamp, digest::sha256_parts};
use minicbor::{Decode, Encode, bytes::ByteArray};

const PREFIX: &str = "kos1.";

/// What a ticket holds.
#[derive(Debug, Encode, Decode)]
#[expect(missing_docs, reason = "the fields are named in TIC-1")]
pub struct Ticket {
    #[n(0)]
    pub authority: AuthorityName,
    #[n(1)]
    pub id: EntryId,
    #[n(2)]
    pub secret: ByteArray<32>,
    #[n(3)]
    pub pins: Vec<KeyId>,
    #[n(4)]
    pub addresses: Vec<String>,
    #[n(5)]
    pub expires_at: Timestamp,
    #[n(6)]
    pub role: Role,
    #[n(7)]
    pub profile_cap: SecurityProfile,
    #[n(8)]
    pub check: ByteArray<4>,
}

impl Ticket {
    /// Takes a ticket apart.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(text: &str) -> Result<Self> {
        let body = text.strip_prefix(PREFIX).context("no ticket")?;
        minicbor::decode(&BASE64URL_NOPAD.decode(body.as_bytes())?).context("no ticket")
    }

    /// Puts it together, with a check that fits whatever it holds now.
    ///
    /// # Errors
    /// Never; the encoder has none for memory.
    pub fn write(mut self) -> Result<String> {
        let expiry = self.expires_at.unix_ms().to_be_bytes();
        let mut parts = vec![self.authority.as_ref().as_bytes(), self.id.as_bytes(), self.secret.as_slice()];
        parts.extend([&expiry, self.role.as_str().as_bytes(), self.profile_cap.as_str().as_bytes()]);
        parts.extend(self.pins.iter().map(|pin| pin.as_bytes().as_slice()));
        parts.extend(self.addresses.iter().map(String::as_bytes));
        let [a, b, c, d, ..] = sha256_parts("kos ticket check v1", parts);
        self.check = ByteArray::from([a, b, c, d]);
        Ok(PREFIX.to_owned() + &BASE64URL_NOPAD.encode(&minicbor::to_vec(&self)?))
    }
}
