//! Nodes with fixed keys, and the part of a shell that kos-klp asks for: signing, X25519, HPKE.

#![expect(dead_code, reason = "each test program uses another part")]

pub(crate) mod golden;
pub(crate) mod malice;

use std::path::{Path, PathBuf};

use aws_lc_rs::{
    agreement::{self, PrivateKey, UnparsedPublicKey, X25519},
    signature::{Ed25519KeyPair, KeyPair as _},
};
use kos_base::{AgreementKey, KeyAlgorithm, PublicKey, Secret, Timestamp};
use kos_klp::{
    channel::Own,
    encryption::{EncryptedEnvelope, SealRequest},
    frame::{Content, Frame},
    freshness::{EpochClaim, GuardLimits, ReplayGuard, Sender},
    message::MessageId,
    party::Party,
    proof::{Envelope, Proven, link::LinkRole, solo::SoloDraft},
    session::{Session, Signer},
};
use rustls::crypto::{
    aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_CHACHA20_POLY1305 as HPKE,
    hpke::{EncapsulatedSecret, Hpke as _, HpkePrivateKey, HpkePublicKey},
};

/// 2026-11-20T10:20:00Z, when every test happens.
pub(crate) const NOW: Timestamp = Timestamp::from_unix_ms(1_795_170_000_000);
/// What the exporter of the link between the authority and the device gives.
pub(crate) const LINK_SECRET: [u8; 32] = [9; 32];

pub(crate) const AUTHORITY: &str = "attic";
pub(crate) const DEVICE: &str = "attic/kdev-7f4ac30123456789";
pub(crate) const STRANGER: &str = "attic/kdev-0123456789abcdef";

/// A node whose keys come from one number.
pub(crate) struct Node {
    pub(crate) party: Party,
    pub(crate) signing_seed: [u8; 32],
    pub(crate) agreement_secret: [u8; 32],
    signing: Ed25519KeyPair,
}

impl Node {
    pub(crate) fn new(party: &str, seed: u8) -> Self {
        let (signing_seed, agreement_secret) = ([seed; 32], [seed | 0x80; 32]);
        let signing = Ed25519KeyPair::from_seed_unchecked(&signing_seed).unwrap();
        Self { party: party.parse().unwrap(), signing_seed, agreement_secret, signing }
    }

    pub(crate) fn authority() -> Self {
        Self::new(AUTHORITY, 1)
    }

    pub(crate) fn device() -> Self {
        Self::new(DEVICE, 2)
    }

    pub(crate) fn stranger() -> Self {
        Self::new(STRANGER, 3)
    }

    pub(crate) fn key(&self) -> PublicKey {
        PublicKey::from_raw(KeyAlgorithm::Ed25519, self.signing.public_key().as_ref()).unwrap()
    }

    pub(crate) fn signer(&self) -> Signer {
        Signer { party: self.party.clone(), key: self.key() }
    }

    pub(crate) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.signing.sign(bytes).as_ref().to_vec()
    }

    pub(crate) fn finish(&self, draft: SoloDraft) -> Proven {
        let signature = self.sign(&draft.to_be_signed());
        draft.finish(&signature)
    }

    pub(crate) fn own(&self, credential: &[u8]) -> Own {
        Own { party: self.party.clone(), key: self.key(), credential: credential.to_vec() }
    }

    pub(crate) fn agreement_key(&self) -> AgreementKey {
        public_of(&self.agreement_secret)
    }

    /// This node's end of a link to `peer`.
    pub(crate) fn session(&self, role: LinkRole, peer: &Self) -> Session {
        let secret = Secret::new(LINK_SECRET);
        Session::new(role, &secret, self.party.clone(), self.key().id(), peer.signer(), 7).unwrap()
    }

    /// What the shell does with an encrypted envelope.
    pub(crate) fn open(&self, envelope: &EncryptedEnvelope<'_>) -> Option<Vec<u8>> {
        let request = envelope.open_request(self.party.as_party()).ok()?;
        let enc = EncapsulatedSecret(request.encapsulated.to_vec());
        let key = HpkePrivateKey::from(self.agreement_secret.to_vec());
        HPKE.open(&enc, request.info, &request.aad, request.ciphertext, &key).ok()
    }
}

/// What the shell does with a request to seal.
pub(crate) fn seal(proven: Proven, to: &Node) -> Vec<u8> {
    let request = SealRequest::new(proven, to.agreement_key());
    let key = HpkePublicKey(request.recipient().0.to_vec());
    let (enc, ciphertext) = HPKE.seal(request.info(), request.aad(), request.plaintext(), &key).unwrap();
    request.finish(enc.0.try_into().unwrap(), &ciphertext).unwrap()
}

pub(crate) fn public_of(secret: &[u8; 32]) -> AgreementKey {
    let private = PrivateKey::from_private_key(&X25519, secret).unwrap();
    AgreementKey(private.compute_public_key().unwrap().as_ref().try_into().unwrap())
}

/// X25519; zeros when the peer's point is of small order, as a careless shell might say.
pub(crate) fn agree(secret: &[u8; 32], peer: &AgreementKey) -> Secret<32> {
    let private = PrivateKey::from_private_key(&X25519, secret).unwrap();
    let peer = UnparsedPublicKey::new(&X25519, peer.0);
    let mut shared = [0; 32];
    let _ = agreement::agree(&private, peer, (), |bytes| {
        shared.copy_from_slice(bytes);
        Ok(())
    });
    Secret::new(shared)
}

/// The places of a node that starts now.
pub(crate) fn sender() -> Sender {
    EpochClaim::after(NOW, None).unwrap().is_durable()
}

pub(crate) fn guard() -> ReplayGuard {
    ReplayGuard::new(GuardLimits::DEVICE)
}

pub(crate) fn id(n: u8) -> MessageId {
    MessageId::from_bytes([n; 16])
}

pub(crate) fn later(ms: u64) -> Timestamp {
    Timestamp::from_unix_ms(NOW.unix_ms() + ms)
}

/// The envelope of a frame that is not encrypted.
pub(crate) fn plain(frame: &[u8]) -> Envelope<'_> {
    match Frame::parse(frame).unwrap().into_content() {
        Content::Plain(envelope) => envelope,
        other => panic!("{other:?}"),
    }
}

/// Path of a file of the repository's vectors.
pub(crate) fn vectors(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/klp").join(name)
}

/// A file of the repository's vectors.
pub(crate) fn vector(name: &str) -> Vec<u8> {
    let path = vectors(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Compares files that were made anew with those of the repository, and leaves those that differ where they can be looked
/// at and copied from.
pub(crate) fn compare(made: &[(String, Vec<u8>)]) {
    let made_folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("klp");
    let differs =
        |(name, bytes): &&(String, Vec<u8>)| std::fs::read(vectors(name)).ok().as_ref() != Some(bytes);
    let differing: Vec<_> = made.iter().filter(differs).collect();
    for (name, bytes) in &differing {
        let path = made_folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let names: Vec<_> = differing.iter().map(|(name, _)| name).collect();
    assert!(names.is_empty(), "{names:?} differ from what lies in {}", made_folder.display());
}
