//! The nouns of kOS, and how they are written.
//!
//! Everything that more than one part of kOS must name lives here: identifiers, roles, channels, security
//! profiles, keys, times, deterministic CBOR, COSE signatures, tokens of requests, the algorithms that a build
//! may use, and the table of error codes. Parsing is the only way in: a value of a type of this crate is well formed.
//!
//! What is not here: any protocol, any file or socket, any clock, any private key.

pub mod approved;
pub mod cbor;
pub mod code;
pub mod cose;
pub mod device;
pub mod digest;
pub mod id;
pub mod key;
pub mod own_key;
pub mod secret;
pub mod text;
pub mod time;
pub mod token;

pub use code::Code;
pub use device::{
    Capability, Channel, DeviceState, EvidenceTier, GroupPath, Mac, Name, Role, SecurityProfile,
};
pub use id::{AuthorityName, DeviceId, EntryId, KidSubject};
pub use key::{AgreementKey, KeyAlgorithm, KeyId, PublicKey};
pub use secret::Secret;
pub use time::Timestamp;
