//! Tokens of requests: one text for one token, and none that is believed, whoever wrote it.

use kos_base::{
    Secret, Timestamp,
    token::{BYTES_MAX, Counters, Request, Token, TokenError, TokenKey},
};

use crate::Verdict;

const NOW: Timestamp = Timestamp::from_unix_ms(1_764_289_622_000);

/// Reads the bytes as a header, and judges it as that of a request which they also are.
pub fn run(bytes: &[u8]) -> Verdict {
    let text = core::str::from_utf8(bytes);
    text.map_or(Verdict::Refused, |text| check(text, bytes))
}

fn check(text: &str, bytes: &[u8]) -> Verdict {
    let token = text.parse::<Token>();
    let Ok(key) = TokenKey::derive(&Secret::new([7; 32]), None) else { return Verdict::Refused };
    let request = Request { method: "POST", target: text, body: bytes, headers: [bytes, bytes] };
    match &token {
        Ok(token) => {
            assert_eq!(token.to_string(), text);
            assert!(text.len() <= BYTES_MAX);
            // Nobody has the key.
            let judged = Counters::default().judge(NOW, &[key], request, token);
            assert_eq!(judged, Err(TokenError::Wrong));
        }
        Err(error) => assert_eq!(*error, TokenError::Malformed),
    }
    Verdict::of(&token)
}
