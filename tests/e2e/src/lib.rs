//! The real programs, driven from outside: what the black-box tests, the crash loop and the benchmarks share.
//!
//! Nothing here links the programs. They are found beside this program's own executable, so that what runs was built with
//! the same profile.

pub mod browser;
pub mod crash;
pub mod disk;
pub mod fleet;
pub mod held;
pub mod judge;
pub mod keys;
pub mod memory;
pub mod operator;
pub mod otp;
pub mod program;
pub mod secret;
pub mod ticket;
pub mod wait;
