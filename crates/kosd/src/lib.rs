//! The device daemon: drives the machines on a device.

pub mod config;
pub mod facts;
pub mod health;
pub mod image;
pub mod keystore;
pub mod root;
pub mod socket;
