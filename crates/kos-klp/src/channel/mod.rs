//! A secure channel between two nodes that reach each other only through relays which nobody trusts.
//!
//! A signed Diffie-Hellman exchange in the form of SIGMA: fresh X25519 keys on both sides, each signed by its maker's
//! operational key together with the other's, both identities and both roles; then AES-256-GCM with checked sequence
//! numbers and keys that are replaced every 2^20 records. The argument, against which attacker it holds and why each
//! field is in the transcript, stands in `docs/spec/klp.md` under "Secure channel".
//!
//! [`Initiator`] and [`Responder`] are machines without IO. The shell makes the fresh keys, agrees and signs; it also
//! decides whose key a key id is, from the peer's credential. Outputs are acted on in order:
//!
//! ```text
//! initiator                                          responder
//! MakeEphemeral                                      (a hello arrives: Responder::new)
//! Send hello                          ->             MakeEphemeral, Agree, Sign
//! Agree, Authenticate, Sign           <-             Send reply
//! Send finish, Established            ->             Authenticate, Established
//! ```
//!
//! Limits: [`EXCHANGE_TIME_MAX`], [`CREDENTIAL_BYTES_MAX`], [`CHANNEL_TIME_MAX`], [`CHANNEL_RECORDS_MAX`]. How many
//! exchanges may be open, and how often a peer may begin one, is for the shell to limit: each hello costs it a key pair,
//! an agreement and a signature.
//!
//! Errors: the first one ends an exchange; a record that fails is dropped and the channel goes on.
//!
//! Source: `docs/spec/klp.md` KLP-52 to KLP-64; `tests/vectors/klp/channel.json`, which another implementation made.

mod exchange;
mod initiator;
mod record;
mod responder;
mod schedule;

use core::{fmt, time::Duration};

use kos_base::{AgreementKey, Code, KeyId, PublicKey, Secret, Timestamp, code::klp, key::BadSignature};

pub use self::{
    exchange::channel_id_of,
    initiator::Initiator,
    record::{CHANNEL_RECORDS_MAX, CHANNEL_TIME_MAX, Channel, Opened, RECORD_PLAINTEXT_BYTES_MAX},
    responder::Responder,
};
use crate::{derivation::DerivationError, fields::reason, party::Party};

/// Longest time from the first message of an exchange to its end; frees what a silent peer holds.
pub const EXCHANGE_TIME_MAX: Duration = Duration::from_secs(30);
/// Longest credential, in bytes: a chain of three certificates and room.
pub const CREDENTIAL_BYTES_MAX: usize = 8192;

/// 16 bytes that the initiator draws.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId([u8; 16]);

impl ChannelId {
    /// Takes 16 bytes over that the shell drew.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelId({})", data_encoding::HEXLOWER.encode(&self.0))
    }
}

/// This node, as an end of a channel.
#[derive(Clone, Debug)]
pub struct Own {
    /// Who we are.
    pub party: Party,
    /// Our operational key.
    pub key: PublicKey,
    /// What the peer needs to trust it; at most 8 192 bytes.
    pub credential: Vec<u8>,
}

/// What an exchange wants from the shell, in this order.
#[derive(Debug)]
pub enum Output {
    /// Make a fresh X25519 key pair and answer with [`Input::Ephemeral`].
    MakeEphemeral,
    /// Agree with this public key, destroy the private key, and answer with [`Input::Shared`].
    Agree(AgreementKey),
    /// Check the credential: does it prove, now and unrevoked, that the key of this id is that of this party? Answer
    /// with [`Input::PeerKey`], or drop the exchange.
    Authenticate {
        /// Who the peer must be.
        party: Party,
        /// Which key it uses.
        key_id: KeyId,
        /// What it gave us to check that with.
        credential: Vec<u8>,
    },
    /// Sign these bytes with our operational key, in `SignatureForm::Fixed`, and answer with [`Input::Signature`].
    Sign(Vec<u8>),
    /// Send this message of the channel to the peer.
    Send(Vec<u8>),
    /// The peer is who it says, and both have the same keys.
    Established(Box<Channel>),
}

/// What the shell gives to an exchange.
#[derive(Debug)]
pub enum Input<'a> {
    /// The public half of the fresh key pair.
    Ephemeral(AgreementKey),
    /// The X25519 shared secret.
    Shared(Secret<32>),
    /// The key that the credential proves.
    PeerKey(PublicKey),
    /// Our signature.
    Signature(Vec<u8>),
    /// A message of this channel from the peer.
    Message(&'a [u8]),
}

/// Why an exchange or a record failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// Not a message of a channel, or not the one that is due.
    #[error("not the channel message that is due: {0}")]
    Shape(String),
    /// A message of another channel.
    #[error("a message of another channel")]
    OtherChannel,
    /// The hello is for somebody else, or from ourselves.
    #[error("the hello is for `{0}`")]
    NotForUs(Party),
    /// The X25519 agreement gave nothing secret: the peer sent a point of small order.
    #[error("the peer's key gives no secret")]
    NoSecret,
    /// It does not open: changed on its way, or made with other keys.
    #[error("a channel message that does not open")]
    Sealed,
    /// The credential proves another key than the one in the exchange.
    #[error("the credential proves another key")]
    OtherKey,
    /// The peer's signature does not verify.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// A record that was seen before, or is too far from those seen.
    #[error("a record out of its place")]
    Replayed,
    /// Records that should have come before this one did not.
    #[error("{0} records are missing")]
    Missing(u64),
    /// The exchange took too long, or the channel is at the end of its time or records.
    #[error("the exchange or channel is over")]
    Over,
    /// Something longer than it may be, or empty.
    #[error("a credential or record of {0} bytes")]
    Size(usize),
    /// The shell gave an input that nobody asked for.
    #[error("an input that was not asked for")]
    Unexpected,
    /// The library failed to derive a key.
    #[error(transparent)]
    Derivation(#[from] DerivationError),
}

impl ChannelError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Size(_) => klp::KLP_TOO_LARGE,
            Self::Replayed => klp::KLP_REPLAY,
            Self::NotForUs(_) => klp::KLP_RECIPIENT,
            _ => klp::KLP_CHANNEL,
        }
    }
}

impl From<minicbor::decode::Error> for ChannelError {
    fn from(error: minicbor::decode::Error) -> Self {
        Self::Shape(reason(&error))
    }
}

/// Either end of an exchange, for a shell that drives both alike.
pub enum Machine {
    /// The end that opens the channel.
    Initiator(Initiator),
    /// The end that was called.
    Responder(Responder),
}

impl Machine {
    /// What to do next.
    pub fn poll_output(&mut self) -> Option<Output> {
        match self {
            Self::Initiator(machine) => machine.poll_output(),
            Self::Responder(machine) => machine.poll_output(),
        }
    }

    /// Takes in what was done, or what has arrived.
    ///
    /// # Errors
    /// The first one ends the exchange.
    pub fn handle_input(&mut self, now: Timestamp, input: Input<'_>) -> Result<(), ChannelError> {
        match self {
            Self::Initiator(machine) => machine.handle_input(now, input),
            Self::Responder(machine) => machine.handle_input(now, input),
        }
    }
}
