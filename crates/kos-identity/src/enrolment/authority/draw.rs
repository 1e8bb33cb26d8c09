//! What a session draws at its beginning, and what each part of it becomes.

use kos_base::Secret;

use super::attested;

/// Random bytes of a session: token 32, nonce 32, UUID 10, serial number 16, kID 16, one-time key of a challenge 32, its
/// secret 32.
pub const RANDOM_BYTES: usize = 170;

#[derive(Debug, Default)]
pub(super) struct Random {
    pub(super) token: [u8; 32],
    pub(super) nonce: [u8; 32],
    pub(super) uuid: [u8; 10],
    pub(super) serial: [u8; 16],
    pub(super) cti: [u8; 16],
    /// Until the challenge is made.
    pub(super) challenge: Option<attested::Draws>,
}

impl Random {
    pub(super) fn take(&mut self, bytes: &Secret<RANDOM_BYTES>) {
        let (token, rest) = bytes.expose().split_at(32);
        let (nonce, rest) = rest.split_at(32);
        let (uuid, rest) = rest.split_at(10);
        let (serial, rest) = rest.split_at(16);
        let (cti, rest) = rest.split_at(16);
        let (one_time, secret) = rest.split_at(32);
        let draw = |bytes: &[u8]| bytes.try_into().ok().map(Secret::new);
        self.challenge = draw(one_time).zip(draw(secret));
        self.token.copy_from_slice(token);
        self.nonce.copy_from_slice(nonce);
        self.uuid.copy_from_slice(uuid);
        self.serial.copy_from_slice(serial);
        self.cti.copy_from_slice(cti);
    }
}
