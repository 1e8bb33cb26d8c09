//! Carriers, TLS, private keys in software, and discovery: bytes on real networks.
//!
//! What the programs share of the world outside:
//!
//! - [`keys`] and [`entropy`] answer the core's requests to make a key and to sign;
//! - [`tls`] decides who is let in, [`accept`] keeps strangers from using up what acquaintances need;
//! - [`frame`] cuts streams into messages, [`carrier`] makes KLP links of QUIC, TLS and WebSocket, [`channel`] secures what
//!   goes over a link to a relay, [`sealing`] what lies in a store;
//! - [`endpoints`] and [`dialler`] guard what goes out, [`discovery`] finds an authority on the local network.
//!
//! What is not here: any decision of the protocols themselves, any file, any clock.

pub mod accept;
pub mod carrier;
pub mod channel;
pub mod dialler;
pub mod discovery;
pub mod endpoints;
pub mod entropy;
pub mod frame;
pub mod keys;
pub mod sealing;
pub mod tls;
