//! What each fuzz target does with its bytes.
//!
//! It stands here, and not beside the fuzzers in `fuzz/`, so that the tests of this crate replay the corpora and the
//! vectors on stable Rust with the very same code. A target hands any bytes to every reader of its subject and asserts
//! what must hold whatever they are: reading ends, what was read is written alike, and nothing is believed that nobody
//! signed. A broken assertion is a finding; so is a panic, an overflow, a time-out or a large allocation.
//!
//! What it does not do: find bytes. `fuzz/fuzz_targets` holds a fuzzer for each target, `fuzz/corpus` where it starts.

pub mod attestation;
pub mod audit;
pub mod backup;
pub mod cbor;
pub mod certificate;
pub mod config;
pub mod enrolment_message;
pub mod grant;
pub mod kid;
pub mod kill;
pub mod klp_address;
pub mod klp_frame;
pub mod share;
pub mod slice;
pub mod ticket;
pub mod token;
pub mod tpm_blob;
pub mod vault;
pub mod voucher;
pub mod witness;

mod cast;

/// One subject of fuzzing.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Names the fuzzer and the folder of its corpus.
    pub name: &'static str,
    /// Hands bytes to every reader of the subject. Panics when something that must hold does not.
    pub run: fn(&[u8]) -> Verdict,
}

/// All of them.
pub const TARGETS: [Target; 20] = [
    Target { name: "attestation", run: attestation::run },
    Target { name: "audit", run: audit::run },
    Target { name: "backup", run: backup::run },
    Target { name: "cbor", run: cbor::run },
    Target { name: "certificate", run: certificate::run },
    Target { name: "config", run: config::run },
    Target { name: "enrolment_message", run: enrolment_message::run },
    Target { name: "grant", run: grant::run },
    Target { name: "kid", run: kid::run },
    Target { name: "kill", run: kill::run },
    Target { name: "klp_address", run: klp_address::run },
    Target { name: "klp_frame", run: klp_frame::run },
    Target { name: "share", run: share::run },
    Target { name: "slice", run: slice::run },
    Target { name: "ticket", run: ticket::run },
    Target { name: "token", run: token::run },
    Target { name: "tpm_blob", run: tpm_blob::run },
    Target { name: "vault", run: vault::run },
    Target { name: "voucher", run: voucher::run },
    Target { name: "witness", run: witness::run },
];

/// Whether some reader took the bytes for what they claim to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// At least one did.
    Read,
    /// None did.
    Refused,
}

impl Verdict {
    /// That of one reader.
    const fn of<T, E>(reading: &Result<T, E>) -> Self {
        match reading {
            Ok(_) => Self::Read,
            Err(_) => Self::Refused,
        }
    }

    /// That of two readers.
    const fn or(self, other: Self) -> Self {
        match self {
            Self::Read => Self::Read,
            Self::Refused => other,
        }
    }
}
