//! Where devices come in: the enrolment protocol, and what is held against those who abuse it.

mod enrolment;
mod misuse;

pub(crate) use enrolment::Desk;
pub(crate) use misuse::{MisuseBook, Tally};
