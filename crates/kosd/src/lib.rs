//! The device daemon: drives the machines on a device.
