//! Tickets: any text, any bytes in the wrapping of a ticket, and any ticket that an authority could write.

use data_encoding::BASE64URL_NOPAD;
use kos_base::{EntryId, KeyId, Role, Secret, SecurityProfile, Timestamp};
use kos_identity::enrolment::ticket::{ADDRESSES_MAX, TICKET_CHARS_MAX, TicketText, TicketTextError};

use crate::Verdict;

/// Reads the bytes as a text, as the inside of a ticket, and as the fields of one.
pub fn run(bytes: &[u8]) -> Verdict {
    check_fields(bytes);
    let inside = read(&format!("kos1.{}", BASE64URL_NOPAD.encode(bytes)));
    let text = core::str::from_utf8(bytes).map_or(Verdict::Refused, read);
    inside.or(text)
}

/// What is read is a ticket of our writing, and the same one.
fn read(text: &str) -> Verdict {
    let ticket = TicketText::parse(text);
    if let Ok(ticket) = &ticket {
        assert_eq!(ticket.to_text().as_str(), text.trim());
        assert!(text.trim().len() <= TICKET_CHARS_MAX);
        let _ = (ticket.proof_seed(), format!("{ticket:?}"));
    }
    Verdict::of(&ticket)
}

/// A ticket with any fields is read back, or is too long to be one.
fn check_fields(bytes: &[u8]) {
    let Some((fixed, rest)) = bytes.split_first_chunk::<66>() else { return };
    let [pin_count, time, random @ ..] = fixed;
    let (id, secret) = random.split_at(32);
    let addresses: Vec<String> = String::from_utf8_lossy(rest).lines().map(str::to_owned).collect();
    let pins =
        vec![KeyId::from_bytes(secret.try_into().expect("32 of 64 bytes")); 1 + usize::from(pin_count % 2)];
    if !(1..=ADDRESSES_MAX).contains(&addresses.len()) {
        return;
    }
    let written = TicketText {
        authority: "attic".parse().expect("a name"),
        id: EntryId::from_parts(Timestamp::default(), *id.first_chunk().expect("10 of 32 bytes")),
        secret: Secret::new(secret.try_into().expect("32 of 64 bytes")),
        pins,
        addresses,
        expires_at: Timestamp::from_unix_ms(u64::from(*time) << 36),
        role: Role::Sensor,
        profile_cap: SecurityProfile::Sec2,
    };
    let text = written.to_text();
    match TicketText::parse(&text) {
        Ok(read) => {
            assert_eq!((read.id, read.secret, read.pins), (written.id, written.secret, written.pins));
            assert_eq!((read.addresses, read.expires_at), (written.addresses, written.expires_at));
        }
        Err(why) => assert_eq!((why, text.len() > TICKET_CHARS_MAX), (TicketTextError::TooLong, true)),
    }
}
