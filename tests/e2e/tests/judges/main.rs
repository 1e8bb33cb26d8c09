//! A real fleet before judges of others: curl, OpenSSL, GnuTLS, Go's sumdb, Python's cwt, zbar.
//!
//! What they judge was written by the programs as they run, not by a test beside the writer.
#![cfg(test)]

mod api;
mod certificates;
mod kid;
mod log;
mod port;
mod qr;
