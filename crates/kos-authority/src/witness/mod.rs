//! Witnesses: who cosigns this log, and whose logs are cosigned here.
//!
//! [`cosigner`] is the witness that this authority is for others: HTTP in, files that say how far each log is. [`collector`]
//! asks the witnesses of this log after it has grown, and keeps what they answer; nobody who commits waits for it. [`ask`]
//! is the way to a witness by its address. What a witness may sign is decided by the machine of [`kos_audit::witness`].
//!
//! Invariant: no cosignature makes an entry. Two authorities that witness each other would make each other grow for ever.
//!
//! Source: `docs/spec/audit.md` AUD-90 to AUD-105; C2SP tlog-witness.

mod ask;
mod collector;
mod cosigner;
mod evidence;
mod memory;
mod pace;
mod standing;

pub(crate) use self::{
    ask::{ParseUrlError, WitnessUrl},
    collector::{ask_device, run},
    cosigner::{Cosigner, CosignerError, Source, router},
    standing::{Standing, Witnessing, policy},
};
