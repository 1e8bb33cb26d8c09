//! A simulated fleet: many devices, one authority, one clock, a bad network, power cuts, operators, attackers.
//!
//! The machines of `kos-identity` run as they are. Everything around them is a model: disks that lose what was not
//! synced, a store that commits all or nothing, a network that drops, delays and cuts, clocks that stand in 1970 or
//! 2100. One seed makes one [`world::World`]; the same seed makes the same one again, on every machine. The [`laws`] are
//! looked at after every step and at the end, after the network was healed and weeks have passed.
//!
//! Beside each fleet live a [`kill`] switch and three [`witness`]es, whose power is cut between any two of their steps, and the
//! log of a device with its delivery ([`device_log`]), the [`own_key`] of a device, a device that is taken out and brought back ([`quarantine`]),
//! and one that needs a [`second`] verdict.
//!
//! A [`plant::Plant`] is a bug that is put into the model around the machines; a law must notice it.

pub mod authority;
pub mod campaign;
pub mod chance;
pub mod device;
pub mod device_log;
pub mod keys;
pub mod kill;
pub mod laws;
pub mod own_key;
pub mod plant;
pub mod quarantine;
pub mod second;
pub mod witness;
pub mod world;
