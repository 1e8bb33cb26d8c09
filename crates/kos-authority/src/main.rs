//! The server: CA, orchestrator, store, API.

fn main() {}
