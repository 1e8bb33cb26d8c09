//! What an authority knows of its devices, and how that may change.
//!
//! Records are plain values with a version. Whoever wants a change builds a [`Commit`]: what happened (one audit entry
//! each) and the records as they are to be. The store writes all of it in one transaction or nothing, and refuses a
//! record whose version is not the successor of the one it holds. So every rule stands here, and the store has none.
//!
//! Source: `docs/spec/enrolment.md` REG-1 to REG-9.

mod age;
mod attested;
mod case;
mod change;
mod device;
mod fault;
mod operate;
mod restore;
mod ticket;

pub use age::Stage;
pub use attested::Attested;
pub use case::{Approval, Approver, Approvers, Bundle, Case};
pub use change::{Actor, Change, Commit, Revocation, RevocationReason, Write};
pub(crate) use device::FirstContact;
pub use device::{Credential, Device, Issued, Lobby, Order};
pub use fault::StateError;
pub(crate) use operate::revoke_all;
pub use operate::{AllowDev, OperateError, Operation};
pub use restore::{Certified, Missed};
pub(crate) use ticket::TicketUse;
pub use ticket::{Ticket, TicketError};
