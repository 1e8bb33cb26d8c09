//! Servers: where they are, how they are found, and how they are reached.

mod body;
mod connection;
mod events;
mod place;
mod request;
mod search;
mod socket;
mod tls;
mod web;

pub(crate) use events::Event;
pub use place::{ParseServerError, Server};
pub use request::{Change, Client, Outcome};
pub(crate) use search::{Places, find};
pub use tls::Credentials;
pub(crate) use web::{Address, Web};
