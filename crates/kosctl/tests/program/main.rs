//! The program from outside: what it asks a server, what it prints, and how it ends.
//!
//! The server is a stand-in that answers as each test says and remembers what it was asked.

#![cfg(test)]

mod changes;
mod contexts;
mod devices;
mod failures;
mod identities;
mod lists;
mod logs;
mod papers;
mod pki;
mod program;
mod pty;
mod qr;
mod sample;
mod stand_in;
mod tls;
mod vault_access;
mod vaults;
