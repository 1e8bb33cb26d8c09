//! The devices that are here now: who reports, over which link, and what they are told.
//!
//! A heartbeat touches neither the key of a CA nor a record: it goes into [`crate::presence::Presence`], a table in memory that is written
//! to the store in batches. What an operator decides reaches a device at once over its link, because the writer tells
//! [`Links`] of every record that it commits, and a device that is no longer admitted is cut off in the same moment.

mod ageing;
mod bonds;
mod intake;
mod links;
pub(crate) mod own_key;
mod questions;
mod relay;
mod rules;
mod steps;
mod talk;
pub(crate) mod upkeep;
mod witness;

pub(crate) use links::{Links, Undelivered};
#[cfg(test)]
pub(crate) use links::{Push, Relayed};
pub(crate) use steps::step;
pub(crate) use talk::Switchboard;
