//! What two nodes say on one mutually authenticated link, and what one of them believes.
//!
//! A [`Session`] knows who stands at each end and holds the link's two MAC keys, derived from the exporter of the link or
//! of a secure channel. Going out, it gives messages their place, time and proof. Coming in, it is the only way to a
//! [`Received`] message: proof, sender, recipient, type, strength of the proof, time and novelty have been checked, in
//! the order of KLP-43.
//!
//! LINK messages need nothing but the session, so each link's task can have its own. Signed ones also need the memory
//! that all links of a node share ([`crate::freshness::ReplayGuard`], [`crate::freshness::Sender`]).
//!
//! Not here: whether a certificate is valid or revoked. The shell checks it at the handshake and for each message, and
//! vouches for the key of a third party by a [`Signer`].
//!
//! Cost: a LINK message in or out is one HMAC, one pass over the bytes and a handful of small allocations.
//!
//! Source: `docs/spec/klp.md` KLP-31, KLP-43, KLP-44; fuzz target `klp_frame`.

mod receive;
mod send;

use kos_base::{KeyId, PublicKey, Secret};

pub use self::{
    receive::{Incoming, ReceiveError, Received, Signer, receive_stored},
    send::{Outgoing, SendError},
};
use crate::{
    DerivationError,
    freshness::Window,
    party::Party,
    proof::{
        batch::RootMemory,
        link::{LinkEnd, LinkKeys, LinkRole},
    },
};

/// One end of a link.
#[derive(Debug)]
pub struct Session {
    own: Party,
    own_key: KeyId,
    peer: Signer,
    peer_key_id: KeyId,
    keys: LinkKeys,
    epoch: u64,
    sequence: u64,
    window: Window,
    roots: RootMemory,
}

impl Session {
    /// A session on a link whose handshake has proven `peer`. `secret` is the exporter of that link
    /// ([`crate::proof::link::EXPORTER_LABEL`]) and serves no other purpose; `epoch` is that of this run of the node.
    ///
    /// # Errors
    /// When the library fails to derive keys; close the link.
    pub fn new(
        role: LinkRole,
        secret: &Secret<32>,
        own: Party,
        own_key: KeyId,
        peer: Signer,
        epoch: u64,
    ) -> Result<Self, DerivationError> {
        let peer_key_id = peer.key.id();
        let own_end = LinkEnd { party: own.as_party(), key_id: own_key };
        let peer_end = LinkEnd { party: peer.party.as_party(), key_id: peer_key_id };
        let keys = LinkKeys::derive(secret, role, own_end, peer_end)?;
        let (window, roots) = (Window::default(), RootMemory::default());
        Ok(Self { own, own_key, peer, peer_key_id, keys, epoch, sequence: 0, window, roots })
    }

    /// This node.
    pub const fn own(&self) -> &Party {
        &self.own
    }

    /// The node at the other end.
    pub const fn peer(&self) -> &Party {
        &self.peer.party
    }

    /// The key of the other end's certificate.
    pub const fn peer_key(&self) -> &PublicKey {
        &self.peer.key
    }
}
