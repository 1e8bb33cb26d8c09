//! The algorithms that kOS offers, and the rustls configurations that everything here starts from.

use std::sync::{Arc, LazyLock};

use kos_base::SecurityProfile;
use rustls::{
    ClientConfig, ConfigBuilder, Error, ServerConfig, SupportedCipherSuite, WantsVerifier,
    crypto::{
        CryptoProvider,
        aws_lc_rs::{
            cipher_suite::{
                TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
            },
            default_provider,
            kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768},
        },
    },
    pki_types::UnixTime,
    quic::Suite as QuicSuite,
    time_provider::TimeProvider,
    version::TLS13,
};

use super::Suite;

/// In our order of preference.
static SUITES: [(Suite, SupportedCipherSuite); 3] = [
    (Suite::Aes256Gcm, TLS13_AES_256_GCM_SHA384),
    (Suite::ChaCha20Poly1305, TLS13_CHACHA20_POLY1305_SHA256),
    (Suite::Aes128Gcm, TLS13_AES_128_GCM_SHA256),
];

/// A server offers all suites: it does not know yet who comes, and cuts afterwards.
static EVERY_SUITE: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(provider(|_| true)));

fn provider(offered: impl Fn(Suite) -> bool) -> CryptoProvider {
    CryptoProvider {
        cipher_suites: SUITES.iter().filter(|(suite, _)| offered(*suite)).map(|(_, s)| *s).collect(),
        kx_groups: vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1],
        ..default_provider()
    }
}

/// The start of every server configuration.
pub(crate) fn server_builder() -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, Error> {
    ServerConfig::builder_with_details(Arc::clone(&EVERY_SUITE), Arc::new(NoClock))
        .with_protocol_versions(&[&TLS13])
}

/// The start of every client configuration: offers what the client's own security profile allows.
pub(crate) fn client_builder(
    profile: SecurityProfile,
) -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, Error> {
    let provider = Arc::new(provider(|suite| suite.suffices_for(profile)));
    ClientConfig::builder_with_details(provider, Arc::new(NoClock)).with_protocol_versions(&[&TLS13])
}

/// AES-128-GCM with public keys, which QUIC demands for its first packets whatever is negotiated later.
pub(crate) fn quic_initial_suite() -> Option<QuicSuite> {
    TLS13_AES_128_GCM_SHA256.tls13()?.quic_suite()
}

/// Dates are judged by the program's clock in our verifiers; a time that rustls would read must not matter.
#[derive(Debug)]
struct NoClock;

impl TimeProvider for NoClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::ZERO))
    }
}
