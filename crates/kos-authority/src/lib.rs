//! The server: CA, orchestrator, store, API.
