//! The algorithms that kOS offers, and the rustls configurations that everything here starts from.

use std::sync::{Arc, LazyLock};

use kos_base::{
    SecurityProfile,
    approved::{Algorithm, Mode},
};
use rustls::{
    ClientConfig, ConfigBuilder, Error, ServerConfig, SupportedCipherSuite, WantsVerifier,
    crypto::{
        CryptoProvider, SupportedKxGroup,
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

use super::{Group, Suite};

/// In our order of preference.
static SUITES: [(Suite, SupportedCipherSuite); 3] = [
    (Suite::Aes256Gcm, TLS13_AES_256_GCM_SHA384),
    (Suite::ChaCha20Poly1305, TLS13_CHACHA20_POLY1305_SHA256),
    (Suite::Aes128Gcm, TLS13_AES_128_GCM_SHA256),
];

/// In our order of preference.
static GROUPS: [(Group, &dyn SupportedKxGroup); 4] = [
    (Group::X25519MlKem768, X25519MLKEM768),
    (Group::X25519, X25519),
    (Group::P256, SECP256R1),
    (Group::P384, SECP384R1),
];

/// A server offers all suites: it does not know yet who comes, and cuts afterwards.
static EVERY_SUITE: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(provider(Mode::BUILT, |_| true)));

/// What `mode` admits of the suites that are `offered`, and of all groups.
fn provider(mode: Mode, offered: impl Fn(Suite) -> bool) -> CryptoProvider {
    let suites = SUITES.iter().filter(|(suite, _)| offered(*suite) && mode.admits(cipher(*suite)));
    let groups = GROUPS.iter().filter(|(group, _)| mode.admits(exchange(*group)));
    CryptoProvider {
        cipher_suites: suites.map(|(_, suite)| *suite).collect(),
        kx_groups: groups.map(|(_, group)| *group).collect(),
        ..default_provider()
    }
}

const fn cipher(suite: Suite) -> Algorithm {
    match suite {
        Suite::Aes256Gcm | Suite::Aes128Gcm => Algorithm::AesGcm,
        Suite::ChaCha20Poly1305 => Algorithm::ChaCha20Poly1305,
    }
}

const fn exchange(group: Group) -> Algorithm {
    match group {
        Group::X25519MlKem768 => Algorithm::X25519MlKem768,
        Group::X25519 => Algorithm::X25519,
        Group::P256 | Group::P384 => Algorithm::Ecdh,
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
    let provider = Arc::new(provider(Mode::BUILT, |suite| suite.suffices_for(profile)));
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

#[cfg(test)]
mod tests {
    use rustls::{CipherSuite, NamedGroup};

    use super::*;

    fn offered(mode: Mode) -> (Vec<CipherSuite>, Vec<NamedGroup>) {
        let made = provider(mode, |_| true);
        let suites = made.cipher_suites.iter().map(SupportedCipherSuite::suite).collect();
        (suites, made.kx_groups.iter().map(|group| group.name()).collect())
    }

    #[test]
    fn with_the_fips_module_neither_chacha20_nor_x25519_alone_is_offered() {
        let (suites, groups) = offered(Mode::Any);
        assert_eq!((suites.len(), groups.len()), (3, 4));
        let (suites, groups) = offered(Mode::Approved);
        assert_eq!(suites, [CipherSuite::TLS13_AES_256_GCM_SHA384, CipherSuite::TLS13_AES_128_GCM_SHA256]);
        assert_eq!(groups, [NamedGroup::X25519MLKEM768, NamedGroup::secp256r1, NamedGroup::secp384r1]);
    }
}
