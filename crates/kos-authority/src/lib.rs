//! The server: CA, orchestrator, store, API.

pub mod store;

#[cfg(test)]
mod fixtures;
