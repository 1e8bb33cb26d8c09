//! Where a TPM is.

use std::{fmt, path::PathBuf, str::FromStr};

/// Where commands of a TPM go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TpmAddress {
    /// A character device, best the one of the kernel's resource manager.
    Device(PathBuf),
    /// The data channel of `swtpm` at a host and port. Whoever is on the way is on the bus.
    Tcp(String),
    /// The data channel of `swtpm` at a socket of this machine.
    Unix(PathBuf),
}

/// The text names no TPM.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no TPM: write device:PATH, swtpm:HOST:PORT or swtpm:unix:PATH")]
pub struct ParseTpmAddressError(String);

/// The resource manager of the kernel.
impl Default for TpmAddress {
    fn default() -> Self {
        Self::Device(PathBuf::from("/dev/tpmrm0"))
    }
}

impl FromStr for TpmAddress {
    type Err = ParseTpmAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = |path: &str| path.starts_with('/').then(|| PathBuf::from(path));
        let parsed = if let Some(device) = text.strip_prefix("device:") {
            path(device).map(Self::Device)
        } else if let Some(socket) = text.strip_prefix("swtpm:unix:") {
            path(socket).map(Self::Unix)
        } else {
            let socket = text.strip_prefix("swtpm:");
            let is_socket = |socket: &&str| {
                socket.rsplit_once(':').is_some_and(|(host, port)| {
                    !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
                })
            };
            socket.filter(is_socket).map(|socket| Self::Tcp(socket.to_owned()))
        };
        parsed.ok_or_else(|| ParseTpmAddressError(text.to_owned()))
    }
}

impl fmt::Display for TpmAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(path) => write!(f, "device:{}", path.display()),
            Self::Tcp(socket) => write!(f, "swtpm:{socket}"),
            Self::Unix(path) => write!(f, "swtpm:unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_was_read() {
        for text in ["device:/dev/tpmrm0", "swtpm:localhost:2321", "swtpm:[::1]:2321", "swtpm:unix:/run/tpm"]
        {
            assert_eq!(text.parse::<TpmAddress>().unwrap().to_string(), text);
        }
        assert_eq!(TpmAddress::default().to_string(), "device:/dev/tpmrm0");
    }

    #[test]
    fn what_names_no_tpm_is_refused() {
        for text in [
            "",
            "/dev/tpmrm0",
            "device:",
            "device:tpmrm0",
            "swtpm:",
            "swtpm::1",
            "swtpm:host:0",
            "swtpm:unix:x",
        ] {
            assert!(text.parse::<TpmAddress>().is_err(), "{text}");
        }
    }
}
