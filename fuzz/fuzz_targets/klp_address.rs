//! KLP addresses and parties, one a line: whatever the text, there is one normal form and what is sent has no fragment.

#![no_main]

use kos_klp::{address::Address, party::PartyRef};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for text in String::from_utf8_lossy(bytes).lines().flat_map(|line| line.split('\t')) {
        if let Ok(address) = text.parse::<Address>() {
            let normal = address.to_string();
            assert_eq!(normal.parse::<Address>().as_ref(), Ok(&address));
            let wire = address.wire_form();
            assert!(!wire.contains('#') && normal.starts_with(&wire));
            assert!(wire.parse::<Address>().is_ok_and(|sent| sent.fragment().is_none()));
            let _ = (address.segments().count(), address.pairs().count());
        }
        if let Ok(party) = PartyRef::parse(text) {
            assert_eq!(party.as_str(), text);
            assert!(party.is_everyone() || party.includes(party));
        }
    }
});
