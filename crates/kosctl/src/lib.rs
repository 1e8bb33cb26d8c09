//! The operator's hand: a library that calls the API of an authority or a device, and the program around it.
//!
//! The library is [`Client`]: a [`Server`], the [`Credentials`] that let an operator in, and calls by the routes of
//! `kos-api`. It reads no environment, asks nobody and prints nothing. All else is the program, [`run`]: what it was
//! told, what it does, and how it says so.
//!
//! ```no_run
//! use kos_api::{routes, ticket::{CreateTicket, Ticket}};
//! use kosctl::{Change, Client, Fault, Outcome, Server};
//!
//! # async fn make() -> Result<(), Fault> {
//! let client = Client::new(Server::Unix("kos-data/authority/run/authority.sock".into()), None);
//! let request = CreateTicket::for_role(kos_base::Role::Sensor);
//! let made: Outcome<Ticket> = client.change(&routes::TICKET_CREATE, &[], &request, &Change::default()).await?;
//! # Ok(())
//! # }
//! ```

mod arguments;
mod chance;
mod clock;
mod command;
mod context;
mod fault;
mod files;
mod output;
mod page;
mod program;
mod server;
mod session;
mod terminal;

pub use fault::Fault;
pub use kos_api as api;
pub use kos_base::{Role, approved, code};
pub use program::run;
pub use server::{Change, Client, Credentials, Outcome, ParseServerError, Server};
