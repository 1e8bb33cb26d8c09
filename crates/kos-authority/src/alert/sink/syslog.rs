//! A message to a collector of syslog: RFC 5424, over a socket of this machine, UDP, TCP or TLS.
//!
//! Over TCP and TLS each message is preceded by its length (RFC 5425, 4.3; RFC 6587, 3.4.1). Syslog has no answers: a message
//! counts as delivered when the collector's machine has taken the bytes and did not break the connection when it was
//! closed; over UDP and a socket of datagrams, when it was sent.
//!
//! Whatever is not ours stands in a value whose quotes, backslashes and brackets are escaped, so that a name cannot end
//! its value, and in no line of its own.
//!
//! Source: ALR-41; RFC 5424, 6.

use std::{io, net::Ipv4Addr, net::Ipv6Addr, net::SocketAddr, path::Path, time::Duration};

use kos_audit::alert::Severity;
use kos_base::text::{printable, reason};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UdpSocket, UnixDatagram},
    time::timeout,
};

use super::{
    SinkError,
    reach::{Address, AddressError, Cover, Stream},
};
use crate::alert::Notice;

/// What a collector's address may begin with; and `unix://` with the path of a socket.
const SCHEMES: [(&str, Cover, u16); 3] =
    [("tls", Cover::Tls, 6514), ("tcp", Cover::Open, 601), ("udp", Cover::Open, 514)];
const UNIX: &str = "unix://";
const UDP: &str = "udp://";

/// The facility `log audit`.
const FACILITY: u8 = 13;
/// Names our structured data. 32473 is the number for examples (RFC 5612): we have none of our own.
const STRUCTURED: &str = "kos@32473";
/// How long a collector may take to close the connection after us; one that keeps it open has had the bytes.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(2);

/// Reads the address of a collector; a socket of this machine has none on the network.
pub(crate) fn address(address: &str) -> Result<Option<Address>, AddressError> {
    match address.strip_prefix(UNIX) {
        Some(path)
            if path.starts_with('/') && path.len() < 100 && path.chars().all(|c| c.is_ascii_graphic()) =>
        {
            Ok(None)
        }
        Some(_) => {
            Err(AddressError("the path of a socket is absolute and has less than 100 characters".to_owned()))
        }
        None if !address.contains("://") => Err(AddressError(format!(
            "`{}`: it begins with unix:// (and the path of a socket), udp://, tcp:// or tls://",
            printable(address, 80)
        ))),
        None => Address::parse(address, &SCHEMES).map(Some),
    }
}

/// Sends one message.
pub(super) async fn send(address: &str, ca: Option<&str>, message: &str) -> Result<(), SinkError> {
    let failed = |e: &io::Error| SinkError::Protocol(reason(e).to_owned());
    if let Some(path) = address.strip_prefix(UNIX) {
        return to_socket(Path::new(path), message.as_bytes()).await.map_err(|e| failed(&e));
    }
    let parsed = Address::parse(address, &SCHEMES).map_err(|error| SinkError::Reach(error.into()))?;
    if address.starts_with(UDP) {
        let to = parsed.resolve().await?;
        return to_datagrams(to, message.as_bytes()).await.map_err(|e| failed(&e));
    }
    let stream = parsed.connect(ca).await?;
    to_stream(stream, message).await.map_err(|e| failed(&e))
}

async fn to_socket(path: &Path, message: &[u8]) -> io::Result<()> {
    UnixDatagram::unbound()?.send_to(message, path).await.map(drop)
}

async fn to_datagrams(to: SocketAddr, message: &[u8]) -> io::Result<()> {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(to).await?;
    socket.send(message).await.map(drop)
}

async fn to_stream(mut stream: Stream, message: &str) -> io::Result<()> {
    stream.write_all(format!("{} {message}", message.len()).as_bytes()).await?;
    stream.flush().await?;
    stream.shutdown().await?;
    let mut nothing = [0; 64];
    match timeout(CLOSE_TIME_MAX, stream.read(&mut nothing)).await {
        // A collector that ends TLS without a word has had the bytes all the same.
        Ok(Err(error)) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The message of a notice, in words and as structured data.
pub(super) fn message(notice: &Notice) -> String {
    let entries: Vec<_> = notice.entries.iter().map(u64::to_string).collect();
    let index = notice.index.map(|index| index.to_string()).unwrap_or_default();
    let count = notice.count.to_string();
    let unseen = notice.unseen.to_string();
    let values = [
        ("id", notice.id.as_str()),
        ("rule", &notice.rule),
        ("severity", notice.severity.as_str()),
        ("count", &count),
        ("unseen", &unseen),
        ("index", &index),
        ("entries", &entries.join(",")),
        ("group", notice.group.as_deref().unwrap_or_default()),
    ];
    let values = values.map(|(name, value)| format!(" {name}=\"{}\"", escaped(value))).concat();
    let said = printable(&notice.summary, 400);
    format!("{} [{STRUCTURED}{values}] \u{feff}{said}", header(notice))
}

/// Everything before the structured data.
pub(super) fn header(notice: &Notice) -> String {
    let level = match notice.severity {
        Severity::Critical => 2,
        Severity::High => 3,
        Severity::Medium => 4,
        Severity::Low => 5,
    };
    let kind = if notice.test { "test" } else { "alert" };
    format!("<{}>1 {} {} kos-authority - {kind}", FACILITY * 8 + level, notice.at, notice.authority)
}

/// RFC 5424, 6.3.3.
fn escaped(value: &str) -> String {
    let one = |c: char| if ['"', '\\', ']'].contains(&c) { format!("\\{c}") } else { c.to_string() };
    printable(value, 400).chars().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::notice::tests::hostile;

    #[test]
    fn a_value_cannot_end_itself_and_a_message_is_one_line() {
        let said = message(&hostile());
        assert!(said.starts_with("<106>1 2026-"), "{said}");
        assert!(said.contains(r#"rule="a\"b\\c\]d""#), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(!said.chars().any(char::is_control), "{said}");
    }

    #[test]
    fn an_address_of_a_collector_is_read() {
        for good in ["udp://10.0.0.1", "tcp://log.example:1514", "tls://[::1]", "unix:///dev/log"] {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in ["", "udp://", "http://a", "unix://dev/log", "unix:///a b", "udp://a/#x", "tls://a:0"] {
            assert!(address(bad).is_err(), "{bad}");
        }
        let why = address("nonsense").unwrap_err().to_string();
        assert!(why.contains("unix://"), "{why}");
    }
}
