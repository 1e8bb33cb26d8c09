//! Requests and responses of the HTTP API, version 1, and nothing else.
