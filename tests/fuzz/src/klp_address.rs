//! KLP addresses and parties: whatever the text, there is one normal form and what is sent has no fragment.

use kos_klp::{address::Address, party::PartyRef};

use crate::Verdict;

/// Reads the bytes as an address and as a party.
pub fn run(bytes: &[u8]) -> Verdict {
    let text = core::str::from_utf8(bytes);
    text.map_or(Verdict::Refused, |text| check_address(text).or(check_party(text)))
}

fn check_address(text: &str) -> Verdict {
    let address = text.parse::<Address>();
    if let Ok(address) = &address {
        let normal = address.to_string();
        assert_eq!(normal.parse::<Address>().as_ref(), Ok(address));
        let wire = address.wire_form();
        assert!(!wire.contains('#') && normal.starts_with(&wire));
        assert!(wire.parse::<Address>().is_ok_and(|sent| sent.fragment().is_none()));
        let _ = (address.segments().count(), address.pairs().count());
    }
    Verdict::of(&address)
}

fn check_party(text: &str) -> Verdict {
    let party = PartyRef::parse(text);
    if let Ok(party) = party {
        assert_eq!(party.as_str(), text);
        assert!(party.is_everyone() || party.includes(party));
    }
    Verdict::of(&party)
}
