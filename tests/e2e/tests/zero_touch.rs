//! Devices that nobody touches: from power-on to service by a voucher, a factory certificate, or the word of another device;
//! and what keeps the others in the lobby. The maker is a Python program that has nothing of kOS.
#![cfg(test)]

mod zero_touch {
    pub(crate) mod cast;
    mod factory;
    mod node;
    mod voucher;
}
