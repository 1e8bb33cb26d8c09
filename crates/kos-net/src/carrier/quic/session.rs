//! TLS inside QUIC, with what both ends must know afterwards.
//!
//! quinn's own adapter hides the negotiated suite and group, and a link must be cut when they are too weak. So this is
//! one of our own: rustls does all of TLS, quinn all of QUIC, and here is only what passes between them. Version 1 of
//! QUIC and nothing else; no early data.
//!
//! Source: RFC 9001; the retry vector of its appendix A.4.

use std::{any::Any, sync::Arc};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use quinn::{
    ConnectError, ConnectionId, Side,
    crypto::{
        ClientConfig, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig, Session,
        UnsupportedVersion,
    },
};
use quinn_proto::{TransportError, TransportErrorCode, transport_parameters::TransportParameters};
use rustls::{
    pki_types::ServerName,
    quic::{
        ClientConnection, Connection, DirectionalKeys, KeyChange, Secrets, ServerConnection, Suite, Version,
    },
};

use crate::tls::{Facts, HandshakeError};

/// Version 1 of QUIC, as the wire writes it.
pub(super) const VERSION: u32 = 1;

/// Key and nonce that protect retry packets from accidents (RFC 9001 5.8); they are public.
const RETRY_KEY: [u8; 16] =
    [0xbe, 0x0c, 0x69, 0x0b, 0x9f, 0x66, 0x57, 0x5a, 0x1d, 0x76, 0x6b, 0x54, 0xe3, 0x68, 0xc8, 0x4e];
const RETRY_NONCE: [u8; 12] = [0x46, 0x15, 0x99, 0xd3, 0x5d, 0x63, 0x2b, 0xf2, 0x23, 0x98, 0x25, 0xbb];
const RETRY_TAG_BYTES: usize = 16;

/// What a finished handshake leaves for [`quinn::Connection::handshake_data`].
pub(super) type Outcome = Result<Facts, HandshakeError>;

/// One handshake of a server.
pub(super) struct Server {
    pub(super) config: Arc<rustls::ServerConfig>,
    pub(super) initial: Suite,
}

/// One handshake of a client.
pub(super) struct Client {
    pub(super) config: Arc<rustls::ClientConfig>,
    pub(super) initial: Suite,
    pub(super) server: ServerName<'static>,
}

impl ServerConfig for Server {
    fn initial_keys(&self, version: u32, dst_cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        match version {
            VERSION => Ok(initial_keys(self.initial, dst_cid, Side::Server)),
            _ => Err(UnsupportedVersion),
        }
    }

    fn retry_tag(&self, _version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        retry_tag(orig_dst_cid, packet)
    }

    #[expect(
        clippy::expect_used,
        reason = "quinn leaves no way to fail, and the configuration is ours and fixed"
    )]
    fn start_session(self: Arc<Self>, _version: u32, params: &TransportParameters) -> Box<dyn Session> {
        let connection = ServerConnection::new(Arc::clone(&self.config), Version::V1, written(params))
            .expect("TLS 1.3 with QUIC suites and no early data is what QUIC asks for");
        Box::new(TlsSession::new(connection.into(), self.initial))
    }
}

impl ClientConfig for Client {
    fn start_session(
        self: Arc<Self>,
        _version: u32,
        _server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        let config = Arc::clone(&self.config);
        let connection = ClientConnection::new(config, Version::V1, self.server.clone(), written(params))
            .map_err(|error| ConnectError::InvalidServerName(error.to_string()))?;
        Ok(Box::new(TlsSession::new(connection.into(), self.initial)))
    }
}

struct TlsSession {
    connection: Connection,
    initial: Suite,
    /// Secrets of the next key update, once there are keys to update.
    updates: Option<Secrets>,
    announced: bool,
}

impl TlsSession {
    const fn new(connection: Connection, initial: Suite) -> Self {
        Self { connection, initial, updates: None, announced: false }
    }
}

impl Session for TlsSession {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        initial_keys(self.initial, dst_cid, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        if self.connection.is_handshaking() {
            return None;
        }
        let outcome: Outcome = Facts::from_parts(
            self.connection.alpn_protocol(),
            self.connection.negotiated_cipher_suite().map(|suite| suite.suite()),
            self.connection.negotiated_key_exchange_group().map(|group| group.name()),
            |label, bytes| self.connection.export_keying_material(bytes, label, None).is_ok(),
        );
        Some(Box::new(outcome))
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        // Our verifiers keep the verdict; nobody asks for raw certificates.
        None
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        None
    }

    fn early_data_accepted(&self) -> Option<bool> {
        None
    }

    fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        self.connection.read_hs(bytes).map_err(|error| TransportError {
            code: self.connection.alert().map_or(TransportErrorCode::PROTOCOL_VIOLATION, |alert| {
                TransportErrorCode::crypto(alert.into())
            }),
            frame: None,
            reason: error.to_string(),
        })?;
        let ready = !self.announced && !self.connection.is_handshaking();
        self.announced |= ready;
        Ok(ready)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let Some(mut bytes) = self.connection.quic_transport_parameters() else { return Ok(None) };
        let side = match self.connection {
            Connection::Client(_) => Side::Client,
            Connection::Server(_) => Side::Server,
        };
        Ok(Some(TransportParameters::read(side, &mut bytes)?))
    }

    fn write_handshake(&mut self, buffer: &mut Vec<u8>) -> Option<Keys> {
        let keys = match self.connection.write_hs(buffer)? {
            KeyChange::Handshake { keys } => keys,
            KeyChange::OneRtt { keys, next } => {
                self.updates = Some(next);
                keys
            }
        };
        Some(paired(keys.local, keys.remote))
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let keys = self.updates.as_mut()?.next_packet_keys();
        Some(KeyPair { local: Box::new(keys.local), remote: Box::new(keys.remote) })
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        payload
            .split_last_chunk::<RETRY_TAG_BYTES>()
            .is_some_and(|(token, tag)| retry_tag(orig_dst_cid, &[header, token].concat()) == *tag)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        let exported = self.connection.export_keying_material(output, label, Some(context));
        exported.map(drop).map_err(|_| ExportKeyingMaterialError)
    }
}

fn written(params: &TransportParameters) -> Vec<u8> {
    let mut bytes = Vec::new();
    params.write(&mut bytes);
    bytes
}

fn initial_keys(suite: Suite, dst_cid: &ConnectionId, side: Side) -> Keys {
    let side = match side {
        Side::Client => rustls::Side::Client,
        Side::Server => rustls::Side::Server,
    };
    let keys = suite.keys(dst_cid, side, Version::V1);
    paired(keys.local, keys.remote)
}

fn paired(local: DirectionalKeys, remote: DirectionalKeys) -> Keys {
    Keys {
        header: KeyPair { local: Box::new(local.header), remote: Box::new(remote.header) },
        packet: KeyPair { local: Box::new(local.packet), remote: Box::new(remote.packet) },
    }
}

/// The tag over a retry packet, which also binds it to the connection id that the client chose first.
fn retry_tag(orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; RETRY_TAG_BYTES] {
    let length = u8::try_from(orig_dst_cid.len()).unwrap_or(u8::MAX);
    let pseudo_packet = [&[length][..], orig_dst_cid, packet].concat();
    let mut out = [0; RETRY_TAG_BYTES];
    let sealed = UnboundKey::new(&AES_128_GCM, &RETRY_KEY).and_then(|key| {
        let nonce = Nonce::assume_unique_for_key(RETRY_NONCE);
        LessSafeKey::new(key).seal_in_place_separate_tag(nonce, Aad::from(pseudo_packet), &mut [])
    });
    // A tag of zeros is refused by every client, so a failing provider costs the retry and nothing else.
    if let Ok(tag) = sealed {
        out.copy_from_slice(tag.as_ref());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9001, A.4.
    #[test]
    fn the_published_retry_packet_has_our_tag() {
        let hex = |s: &str| data_encoding::HEXLOWER.decode(s.as_bytes()).unwrap();
        let packet = hex("ff000000010008f067a5502a4262b5746f6b656e04a265ba2eff4d829058fb3f0f2496ba");
        let (front, tag) = packet.split_last_chunk::<16>().unwrap();
        let chosen = ConnectionId::new(&hex("8394c8f03e515708"));
        assert_eq!(retry_tag(&chosen, front), *tag);
        assert_ne!(retry_tag(&ConnectionId::new(&[0; 8]), front), *tag);
    }
}
