//! A file that was read and that nobody believes yet.
//!
//! Reading checks form, limits, the cost of its passphrases and the checksum, which anybody can make. What [`Sealed`] tells
//! is what the file claims: enough to ask for the right secret, and for nothing else.
//!
//! Errors: a file of another form, a newer one, a damaged one, one whose passphrases cost too little or too much; then a
//! secret that fits no slot, and a MAC that does not hold.
//!
//! Source: KV-15, KV-18, KV-26; fuzz target `vault`.

use core::fmt;

use crate::{
    Environment, Head, OfflineSlot, Opened, PasskeySlot, SlotInfo, Unlock, VaultError, VaultId,
    keys::{Keys, same},
    shape,
    slot::Slot,
    state::State,
};

/// A well-formed file. Nothing vouches for it before [`Sealed::open`].
pub struct Sealed {
    state: State,
    root: [u8; 32],
    mac: [u8; 32],
}

impl Sealed {
    /// Reads a file.
    ///
    /// # Errors
    /// Whatever is wrong with it that can be seen without a secret.
    ///
    /// *Cost*: a few times its length; no passphrase is tried.
    pub fn parse(bytes: &[u8]) -> Result<Self, VaultError> {
        let claim = shape::read(bytes)?;
        let root = claim.state.root();
        if root != claim.checksum {
            return Err(VaultError::Damaged("its checksum does not fit"));
        }
        Ok(Self { state: claim.state, root, mac: claim.mac })
    }

    /// The vault that it claims to be.
    pub const fn vault(&self) -> &VaultId {
        &self.state.vault
    }

    /// The environment that it claims to hold.
    pub const fn environment(&self) -> &Environment {
        &self.state.environment
    }

    /// The head that it claims.
    pub const fn head(&self) -> Head {
        Head { vault: self.state.vault, generation: self.state.generation, root: self.root }
    }

    /// The slots that it claims, in the order in which they are tried.
    pub fn slots(&self) -> impl Iterator<Item = &SlotInfo> {
        self.state.slots.iter().map(|slot| &slot.info)
    }

    /// Its offline slots, with what the holder of such a key needs; claims as well.
    pub fn offline_slots(&self) -> impl Iterator<Item = OfflineSlot> {
        self.state.slots.iter().filter_map(Slot::offline)
    }

    /// Its slots of passkeys, with what whoever asks one needs; claims as well.
    pub fn passkey_slots(&self) -> impl Iterator<Item = PasskeySlot> {
        self.state.slots.iter().filter_map(Slot::passkey)
    }

    /// Opens it with a secret, and believes it only if its MAC holds. That says who wrote it for passphrases, keys and
    /// passkeys; what an offline key opens anybody may have written, until [`Opened::standing`] says otherwise (KV-18).
    ///
    /// # Errors
    /// [`VaultError::NoSlot`] or [`VaultError::WrongSecret`]: try another. [`VaultError::Forged`]: the secret was right, and
    /// the file was written by somebody who does not have the master key; do not try again.
    ///
    /// *Cost*: for a passphrase, that of each passphrase slot up to the one that fits.
    pub fn open(&self, unlock: Unlock<'_>) -> Result<Opened, VaultError> {
        let owner = self.state.owner();
        let mut slots = self.state.slots.iter().filter(|slot| slot.is_for(unlock)).peekable();
        slots.peek().ok_or(VaultError::NoSlot)?;
        let master = slots.find_map(|slot| slot.open(owner, unlock).transpose());
        let master = master.ok_or(VaultError::WrongSecret)??;
        let keys = Keys::of(master.expose(), owner.vault, owner.environment)?;
        if !same(&keys.mac(&self.root), &self.mac) {
            return Err(VaultError::Forged);
        }
        Ok(Opened::verified(self.state.clone(), self.root, keys))
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} generation {})", self.state.vault, self.state.generation)
    }
}
