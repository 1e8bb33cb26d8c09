//! Where an authority publishes its CA certificates and revocation lists, once it has a public name.

use core::{fmt, str::FromStr};

use kos_base::{KeyId, text::printable};
use rustls_pki_types::ServerName;

/// `http://HOST` or `http://HOST:PORT`: plain http, because whoever checks a certificate cannot check another first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(String);

/// The text is not the base of the publication URLs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not `http://HOST` or `http://HOST:PORT`")]
pub struct ParsePublicUrlError(String);

/// What certificates say about where to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    base: PublicUrl,
    ocsp: bool,
}

impl Publication {
    /// CA certificates and revocation lists under `base`; no OCSP responder.
    pub const fn new(base: PublicUrl) -> Self {
        Self { base, ocsp: false }
    }

    /// The same with an OCSP responder that runs.
    #[must_use]
    pub fn with_ocsp(self) -> Self {
        Self { ocsp: true, ..self }
    }

    /// The certificate of the CA with this key.
    pub fn ca_url(&self, ca: KeyId) -> String {
        format!("{}/pki/{}.crt", self.base, ca.short())
    }

    /// The revocation list of the CA with this key.
    pub fn crl_url(&self, ca: KeyId) -> String {
        format!("{}/pki/{}.crl", self.base, ca.short())
    }

    /// The OCSP responder, if it runs.
    pub fn ocsp_url(&self) -> Option<String> {
        self.ocsp.then(|| format!("{}/pki/ocsp", self.base))
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for PublicUrl {
    type Err = ParsePublicUrlError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || ParsePublicUrlError(printable(s, 120));
        let authority = s.strip_prefix("http://").ok_or_else(bad)?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let number = port.is_none_or(|p| !p.starts_with(['0', '+']) && p.parse::<u16>().is_ok());
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let known = match bracketed {
            Some(v6) => v6.parse::<core::net::Ipv6Addr>().is_ok(),
            None => ServerName::try_from(host).is_ok() && !host.contains(':'),
        };
        if number && known { Ok(Self(s.to_owned())) } else { Err(bad()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_http_host_is_a_base() {
        for good in [
            "http://pki.example",
            "http://attic.local:8642",
            "http://192.0.2.1:80",
            "http://[2001:db8::1]:80",
            "http://[::1]",
        ] {
            assert!(good.parse::<PublicUrl>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "https://a",
            "http://",
            "http://a/",
            "http://a:0",
            "http://a:65536",
            "http://a b",
            "http://u@a",
            "http://a:",
            "http://::1",
            "http://[::1",
            "http://a?x",
            "http://a#x",
        ] {
            assert!(bad.parse::<PublicUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn urls_are_those_that_the_authority_serves() {
        let ca = KeyId::from_bytes([0xab; 32]);
        let publication = Publication::new("http://pki.example:8642".parse().unwrap());
        assert_eq!(publication.ca_url(ca), "http://pki.example:8642/pki/abababababababab.crt");
        assert_eq!(publication.crl_url(ca), "http://pki.example:8642/pki/abababababababab.crl");
        assert_eq!(publication.ocsp_url(), None);
        assert_eq!(publication.with_ocsp().ocsp_url().as_deref(), Some("http://pki.example:8642/pki/ocsp"));
    }
}
