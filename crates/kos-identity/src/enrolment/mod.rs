//! How a device is let in, keeps its certificate fresh, and comes back after a long sleep.
//!
//! Two machines talk: [`device`] and [`authority`]. Both are driven the same way: the shell hands in what happened
//! (`handle_input`), then takes outputs one by one (`poll_output`) and acts on each before it takes the next. Outputs
//! that ask for something are answered with an input. A power cut between any two outputs loses nothing that matters,
//! and the simulator cuts there.
//!
//! Source: `docs/spec/enrolment.md`.

pub mod attestation;
pub mod authority;
pub mod device;
pub mod message;
pub mod proof;
pub mod ticket;
