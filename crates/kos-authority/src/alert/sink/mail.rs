//! A mail, given to a relay by SMTP.
//!
//! Shape: `smtps://HOST[:PORT]`, TLS from the first byte (RFC 8314); `smtp://` to this machine only. The relay knows us by where
//! we come from: there is no password. Headers are made by a library that encodes what is in them, so that no name begins
//! another header.
//!
//! A mail is delivered when the relay has taken it for every recipient.
//!
//! Source: ALR-43; RFC 5321, RFC 5322.

use std::{
    net::SocketAddr,
    time::{Duration, UNIX_EPOCH},
};

use kos_base::text::printable;
use lettre::{
    Message,
    message::{
        Mailbox,
        header::{ContentType, HeaderName, HeaderValue},
    },
    transport::smtp::{
        client::{AsyncSmtpConnection, AsyncTokioStream},
        extension::ClientId,
    },
};

use super::{
    SinkError,
    reach::{Address, AddressError, Cover, Stream},
};
use crate::alert::Notice;

/// What a relay's address may begin with.
const SCHEMES: [(&str, Cover, u16); 2] = [("smtps", Cover::Tls, 465), ("smtp", Cover::Plain, 25)];
/// Most recipients of one guardian.
const RECIPIENTS_MAX: usize = 8;
/// Longest address of a mailbox, in characters.
const MAILBOX_CHARS_MAX: usize = 254;

impl AsyncTokioStream for Stream {
    fn peer_addr(&self) -> std::io::Result<SocketAddr> {
        self.peer()
    }
}

/// Reads the address of a relay, and whether mail can be given to it this way.
pub(crate) fn address(relay: &str, from: &str, to: &[String]) -> Result<Address, AddressError> {
    let address = Address::parse(relay, &SCHEMES)?;
    if !(1..=RECIPIENTS_MAX).contains(&to.len()) {
        return Err(AddressError(format!("mail goes to 1 to {RECIPIENTS_MAX} recipients")));
    }
    to.iter().map(String::as_str).chain([from]).try_for_each(|address| mailbox(address).map(drop))?;
    Ok(address)
}

fn mailbox(text: &str) -> Result<Mailbox, AddressError> {
    let bad = || AddressError(format!("`{}` is not the address of a mailbox", printable(text, 80)));
    let is_plain = text.chars().all(|c| c.is_ascii_graphic()) && text.len() <= MAILBOX_CHARS_MAX;
    let address = text.parse().ok().filter(|_| is_plain).ok_or_else(bad)?;
    Ok(Mailbox::new(None, address))
}

/// Gives a mail to the relay.
pub(super) async fn send(
    (relay, ca): (&str, Option<&str>),
    from: &str,
    to: &[String],
    notice: &Notice,
) -> Result<(), SinkError> {
    let reach = |error: AddressError| SinkError::Reach(error.into());
    let address = Address::parse(relay, &SCHEMES).map_err(reach)?;
    let message = message(from, to, notice)?;
    let failed = |e: lettre::transport::smtp::Error| SinkError::Protocol(printable(&e.to_string(), 200));
    let stream = address.connect(ca).await?;
    let hello = ClientId::Domain(notice.authority.to_string());
    let mut connection =
        AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello).await.map_err(failed)?;
    let sent = connection.send(message.envelope(), &message.formatted()).await;
    sent.map_err(|e| {
        if e.is_permanent() { SinkError::Refused(printable(&e.to_string(), 200)) } else { failed(e) }
    })?;
    // The relay has it; how the connection ends changes nothing.
    drop(connection.quit().await);
    Ok(())
}

fn message(from: &str, to: &[String], notice: &Notice) -> Result<Message, SinkError> {
    let reach = |error: AddressError| SinkError::Reach(error.into());
    let internal = |e: &dyn std::fmt::Display| SinkError::Internal(e.to_string());
    let mark = if notice.test { "TEST " } else { "" };
    let subject = format!("[kOS {mark}{}] {}: {}", notice.severity, notice.authority, notice.rule);
    let generated = HeaderName::new_from_ascii("Auto-Submitted".to_owned()).map_err(|e| internal(&e))?;
    let mut builder = Message::builder()
        .from(mailbox(from).map_err(reach)?)
        .subject(printable(&subject, 200))
        .date(UNIX_EPOCH + Duration::from_millis(notice.at.unix_ms()))
        .message_id(Some(format!("<{}@{}>", notice.id, notice.authority)))
        .raw_header(HeaderValue::new(generated, "auto-generated".to_owned()))
        .header(ContentType::TEXT_PLAIN);
    for address in to {
        builder = builder.to(mailbox(address).map_err(reach)?);
    }
    builder.body(text(notice)).map_err(|e| internal(&e))
}

fn text(notice: &Notice) -> String {
    let entries: Vec<_> = notice.entries.iter().map(u64::to_string).collect();
    let index =
        notice.index.map_or_else(|| "none, since this is a test".to_owned(), |index| index.to_string());
    let lines = [
        ("alert", notice.id.to_string()),
        ("authority", notice.authority.to_string()),
        ("rule", notice.rule.clone()),
        ("severity", notice.severity.to_string()),
        ("count", notice.count.to_string()),
        ("unseen before", notice.unseen.to_string()),
        ("last at", notice.at.to_string()),
        ("entries", entries.join(", ")),
        ("log entry", index),
    ];
    let lines = lines.map(|(name, value)| format!("{name:<14} {}\n", printable(&value, 400))).concat();
    let ack = format!("kosctl audit alerts ack {}", notice.id);
    format!("{}\n\n{lines}\nWhen you have seen to it:  {ack}\n", printable(&notice.summary, 400))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::notice::tests::hostile;

    #[test]
    fn nothing_begins_a_header_of_its_own() {
        let to = ["b@example.org".to_owned()];
        let mail = message("a@example.org", &to, &hostile()).unwrap().formatted();
        let mail = String::from_utf8(mail).unwrap();
        let (headers, _) = mail.split_once("\r\n\r\n").unwrap();
        let names: Vec<_> = headers
            .lines()
            .filter(|line| !line.starts_with([' ', '\t']))
            .map(|line| line.split_once(':').unwrap().0)
            .collect();
        let wanted = [
            "From",
            "Subject",
            "Date",
            "Message-ID",
            "Auto-Submitted",
            "Content-Type",
            "To",
            "Content-Transfer-Encoding",
        ];
        assert_eq!(names, wanted, "{mail}");
        assert!(mail.contains("Subject: [kOS critical] attic: a\"b\\c]d"), "{mail}");
    }

    #[test]
    fn who_is_no_mailbox_gets_no_mail() {
        let check = |from: &str, to: &str| address("smtps://mail.example", from, &[to.to_owned()]);
        assert!(check("a@example.org", "b@example.org").is_ok());
        for bad in [
            "",
            "b",
            "b@",
            "b@example.org\r\nBcc: c@example.org",
            "b@example.org, c@example.org",
            "<b@example.org>",
        ] {
            assert!(check("a@example.org", bad).is_err() && check(bad, "a@example.org").is_err(), "{bad:?}");
        }
    }
}
