//! Carriers (QUIC, TLS, WebSocket) and discovery: bytes on real networks.
