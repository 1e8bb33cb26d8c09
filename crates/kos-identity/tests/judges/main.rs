//! Others judge what this crate makes: OpenSSL, GnuTLS, a CWT library, and a second implementation of our own formats.

#![cfg(test)]

mod desk;
mod kid;
#[path = "../../src/test_keys.rs"]
mod test_keys;
mod vectors;
mod x509;
