//! LINK: a COSE_Mac0 under a key of the link, for the traffic between its two ends alone.
//!
//! A signature costs tens of microseconds, a MAC less than one, and on a mutually authenticated link it says the same to
//! the other end. It says nothing to anybody else, because both ends can make it: it is never forwarded, stored or shown
//! as evidence.
//!
//! [`LinkKeys`] are symmetric secrets derived from the link's exporter, one for the messages of each end. They are held
//! here, in the core, for the life of the link; this is no private key, and nothing was drawn for it.
//!
//! Source: `docs/spec/klp.md` KLP-29, KLP-31; RFC 9052 6.3, RFC 8446 7.5.

use core::fmt;

use aws_lc_rs::hmac;
use kos_base::{KeyId, Secret, cbor::encode};

use crate::{
    cose::{self, Algorithm, Authenticated},
    derivation::{DerivationError, Root},
    message::Message,
    party::PartyRef,
};

/// Label of the TLS exporter that gives the 32 bytes of a link secret; no context (KLP-31).
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-kOS-KLP-link-v1";

const DOMAIN: &str = "kos klp link v1";

/// Which end of a link a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkRole {
    /// It opened the link.
    Dialler,
    /// It accepted the link.
    Listener,
}

impl LinkRole {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Dialler => "dialler",
            Self::Listener => "listener",
        }
    }
}

/// An end of a link: whose certificate, with which key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkEnd<'a> {
    /// The party that the certificate names.
    pub party: PartyRef<'a>,
    /// The key of the certificate.
    pub key_id: KeyId,
}

/// The key for messages of one end.
pub struct LinkKey(Secret<32>);

/// Both keys of a link, as one end sees them.
#[derive(Debug)]
pub struct LinkKeys {
    /// For messages that we send.
    pub own: LinkKey,
    /// For messages that we receive.
    pub peer: LinkKey,
}

impl LinkKeys {
    /// Derives both keys from the link secret: the TLS exporter, or that of a secure channel.
    ///
    /// # Errors
    /// When the library fails to derive; close the link.
    pub fn derive(
        secret: &Secret<32>,
        role: LinkRole,
        own: LinkEnd<'_>,
        peer: LinkEnd<'_>,
    ) -> Result<Self, DerivationError> {
        let root = Root::extract(DOMAIN.as_bytes(), secret);
        let (dialler, listener, peer_role) = match role {
            LinkRole::Dialler => (own, peer, LinkRole::Listener),
            LinkRole::Listener => (peer, own, LinkRole::Dialler),
        };
        let key = |whose: LinkRole| {
            let info = cose::write(512, |e| {
                e.array(6)?.str(DOMAIN)?.str(whose.as_str())?;
                e.str(dialler.party.as_str())?.bytes(dialler.key_id.as_bytes())?;
                e.str(listener.party.as_str())?.bytes(listener.key_id.as_bytes())?.ok()
            });
            root.expand(&[&info]).map(LinkKey)
        };
        Ok(Self { own: key(role)?, peer: key(peer_role)? })
    }
}

impl LinkKey {
    /// HMAC-SHA-256 over `prefix` and `payload`, without putting them together.
    pub(super) fn tag(&self, prefix: &[u8], payload: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, self.0.expose()));
        context.update(prefix);
        context.update(payload);
        context.sign()
    }

    /// The object of `message`, made by the end whose certificate has the key `own`.
    pub fn prove(&self, message: &Message<'_>, own: &KeyId) -> Vec<u8> {
        let payload = encode(message);
        let protected = cose::protected(Algorithm::Hmac, own);
        let aad = cose::proof_aad(Some(message.kind));
        let tag = self.tag(&cose::authenticated_prefix("MAC0", &protected, &aad, &payload), &payload);
        Authenticated::write(cose::TAG_MAC0, &protected, &payload, tag.as_ref())
    }
}

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkKey(..)")
    }
}
