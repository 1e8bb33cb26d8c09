//! The token of a request: proof that the caller holds the connection that the request came over, and the device's own key
//! where its profile has one.
//!
//! A certificate proves who opened a connection. A token proves, for each request on it, that the one who opened it made this
//! very request: it is a MAC under a key that both ends export from TLS, and whoever only writes into the connection does
//! not have it.
//!
//! Shape: a header [`HEADER`] with `kt1.TIME.COUNTER.MAC`, at most [`BYTES_MAX`] bytes; time in Unix milliseconds and counter in
//! decimal without leading zeros, the MAC 32 bytes in base64url without padding.
//!
//! Invariants: one text for one token; nothing is remembered of a token whose MAC does not hold; a counter passes once.
//!
//! Errors: [`TokenError`]; the client makes a new token for another try.
//!
//! What it does not do: it neither names the caller nor replaces a certificate, reads no clock, and covers no header but
//! [`COVERED`].
//!
//! Source: `docs/spec/token.md`; RFC 2104, RFC 5869, RFC 8446 7.5. Vectors: `tests/vectors/token`. Fuzz target: `token`.

use core::{fmt, str::FromStr, time::Duration};

use aws_lc_rs::{
    hkdf::{HKDF_SHA256, Salt},
    hmac,
};
use data_encoding::BASE64URL_NOPAD;
use zeroize::Zeroize as _;

use crate::{Code, Secret, Timestamp, code, digest::sha256};

/// The header that carries a token.
pub const HEADER: &str = "kos-token";

/// Label of the TLS exporter whose 32 bytes the key is made from; no context (TOK-3).
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-kOS-request-token-v1";

/// The headers that decide what a change does, and are under the MAC (TOK-5).
pub const COVERED: [&str; 2] = ["if-match", "idempotency-key"];

/// How far from now a token may have been made, either way (TOK-7). Ends what was made and not used.
pub const AGE_MAX: Duration = Duration::from_secs(60);

/// Longest token, in bytes: two numbers of 64 bits, and the MAC. Stops a header that costs more to read than to refuse.
pub const BYTES_MAX: usize = PREFIX.len() + 20 + 1 + 20 + 1 + MAC_CHARS;

/// How many counters below the highest may still come (TOK-8): requests of HTTP/2 overtake one another.
pub const WINDOW: u64 = 64;

/// Largest counter (TOK-2): one more can be remembered as the next.
const COUNTER_MAX: u64 = u64::MAX - 1;

const PREFIX: &str = "kt1.";
const MAC_CHARS: usize = 43;
const SALT: &[u8] = b"kos request token v1";
const DOMAIN: &str = "kos request v1";

/// What a token is about.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The method, in upper case.
    pub method: &'a str,
    /// Path and query as the request line has them.
    pub target: &'a str,
    /// The whole body.
    pub body: &'a [u8],
    /// What the headers of [`COVERED`] say; empty where there is none.
    pub headers: [&'a [u8]; 2],
}

impl Request<'_> {
    /// What the MAC is over: each part preceded by its length, so that no two requests are alike (TOK-5).
    fn message(&self, made: Timestamp, counter: u64) -> Vec<u8> {
        let (time, counter) = (made.unix_ms().to_be_bytes(), counter.to_be_bytes());
        let (method, target, digest) = (self.method.as_bytes(), self.target.as_bytes(), sha256(self.body));
        let [if_match, again] = self.headers;
        let parts: [&[u8]; 8] =
            [DOMAIN.as_bytes(), method, target, &digest, if_match, again, &time, &counter];
        let mut message = Vec::with_capacity(180 + target.len() + if_match.len() + again.len());
        for part in parts {
            message.extend(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            message.extend(part);
        }
        message
    }
}

/// A token that is well formed, and proves nothing yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// When it was made, by its maker's clock.
    pub made: Timestamp,
    /// Which request of the connection it is for.
    pub counter: u64,
    mac: [u8; 32],
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}.{}.{}", self.made.unix_ms(), self.counter, BASE64URL_NOPAD.encode(&self.mac))
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let bad = TokenError::Malformed;
        if text.len() > BYTES_MAX {
            return Err(bad);
        }
        let mut parts = text.strip_prefix(PREFIX).ok_or(bad)?.split('.');
        let (Some(time), Some(counter), Some(mac), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(bad);
        };
        let (time, counter) = (number(time).ok_or(bad)?, number(counter).ok_or(bad)?);
        if time > Timestamp::MAX.unix_ms() || counter > COUNTER_MAX {
            return Err(bad);
        }
        let mac = BASE64URL_NOPAD.decode(mac.as_bytes()).map_err(|_| bad)?;
        let mac = mac.try_into().map_err(|_| bad)?;
        Ok(Self { made: Timestamp::from_unix_ms(time), counter, mac })
    }
}

/// A number as [`Token`] writes it.
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// The key of one connection.
pub struct TokenKey(hmac::Key);

impl TokenKey {
    /// Derives it from what TLS exports under [`EXPORTER_LABEL`], and the device's own key where it has one (TOK-4).
    pub fn derive(exporter: &Secret<32>, device_key: Option<&Secret<32>>) -> Result<Self, TokenError> {
        let mut input = Vec::with_capacity(64);
        input.extend(exporter.expose());
        input.extend(device_key.map_or(&[][..], |key| key.expose()));
        let info: &[u8] = match device_key {
            Some(_) => b"kos request token v1 certificate and device key",
            None => b"kos request token v1 certificate",
        };
        let root = Salt::new(HKDF_SHA256, SALT).extract(&input);
        input.zeroize();
        let mut key = [0; 32];
        let filled = root.expand(&[info], HKDF_SHA256).and_then(|okm| okm.fill(&mut key));
        let made = Self(hmac::Key::new(hmac::HMAC_SHA256, &key));
        key.zeroize();
        // It has no reason to fail; a key that was not filled must not be used.
        filled.map(|()| made).map_err(|_| TokenError::Wrong)
    }

    /// The token of a request. `counter` is used once on a connection.
    pub fn token(&self, request: Request<'_>, made: Timestamp, counter: u64) -> Token {
        let mut mac = [0; 32];
        mac.copy_from_slice(hmac::sign(&self.0, &request.message(made, counter)).as_ref());
        Token { made, counter, mac }
    }

    fn holds(&self, request: Request<'_>, token: &Token) -> bool {
        hmac::verify(&self.0, &request.message(token.made, token.counter), &token.mac).is_ok()
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(..)")
    }
}

/// Which counters of one connection were used: the highest, and the [`WINDOW`] below it.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// One above the highest; 0 when none was used.
    next: u64,
    /// Bit n: the counter n below the highest was used.
    used: u64,
}

impl Counters {
    /// Judges the token of a request, and marks its counter as used if it holds. Says which of `keys` it was made with.
    ///
    /// # Errors
    /// Nothing is marked then. The MAC is looked at before time and counter, so that only its maker learns of those.
    pub fn judge(
        &mut self,
        now: Timestamp,
        keys: &[TokenKey],
        request: Request<'_>,
        token: &Token,
    ) -> Result<usize, TokenError> {
        let key = keys.iter().position(|key| key.holds(request, token)).ok_or(TokenError::Wrong)?;
        if token.made > now.plus(AGE_MAX) || token.made.plus(AGE_MAX) < now {
            return Err(TokenError::Time { now });
        }
        self.mark(token.counter)?;
        Ok(key)
    }

    fn mark(&mut self, counter: u64) -> Result<(), TokenError> {
        let above = counter.checked_add(1).ok_or(TokenError::Malformed)?;
        if above > self.next {
            let shift = u32::try_from(above - self.next).ok();
            self.used = shift.and_then(|shift| self.used.checked_shl(shift)).unwrap_or(0) | 1;
            self.next = above;
            return Ok(());
        }
        let below = u32::try_from(self.next - above).ok().and_then(|below| 1_u64.checked_shl(below));
        match below {
            Some(bit) if self.used & bit == 0 => {
                self.used |= bit;
                Ok(())
            }
            _ => Err(TokenError::Replayed),
        }
    }
}

/// Why a request is refused for its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is none, and the route asks for one.
    #[error("the request has no token")]
    Missing,
    /// It is not written as tokens are, or there are several.
    #[error("the token of the request cannot be read")]
    Malformed,
    /// It is of another request, another connection, or made without the device's own key.
    #[error("the token is not of this request on this connection")]
    Wrong,
    /// It was made too long ago, or is from the future.
    #[error("the token was made more than {} s from now, which is {now}", AGE_MAX.as_secs())]
    Time {
        /// What the one who refuses takes for the time.
        now: Timestamp,
    },
    /// Its counter was used, or is too far below one that was.
    #[error("the token was used before")]
    Replayed,
}

impl TokenError {
    /// The stable code.
    pub const fn code(self) -> Code {
        match self {
            Self::Missing => code::token::TOKEN_MISSING,
            Self::Malformed => code::token::TOKEN_MALFORMED,
            Self::Wrong => code::token::TOKEN_WRONG,
            Self::Time { .. } => code::token::TOKEN_TIME,
            Self::Replayed => code::token::TOKEN_REPLAYED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_764_289_622_000);
    const READ: Request<'static> =
        Request { method: "GET", target: "/api/v1/status", body: b"", headers: [b"", b""] };

    fn key() -> TokenKey {
        TokenKey::derive(&Secret::new([7; 32]), None).unwrap()
    }

    fn check(counters: &mut Counters, request: Request<'_>, text: &str) -> Result<usize, TokenError> {
        counters.judge(NOW, &[key()], request, &text.parse()?)
    }

    #[test]
    fn a_token_is_for_one_request_of_one_connection_with_one_device_key() {
        let text = key().token(READ, NOW, 1).to_string();
        assert!(text.len() <= BYTES_MAX);
        for other in [
            Request { method: "PUT", ..READ },
            Request { target: "/api/v1/status?", ..READ },
            Request { target: "/api/v1/statu", body: b"s", ..READ },
            Request { body: b" ", ..READ },
            Request { headers: [b"*", b""], ..READ },
            Request { headers: [b"", b"*"], ..READ },
        ] {
            assert_eq!(check(&mut Counters::default(), other, &text), Err(TokenError::Wrong), "{other:?}");
        }
        let others = [
            TokenKey::derive(&Secret::new([8; 32]), None).unwrap(),
            TokenKey::derive(&Secret::new([7; 32]), Some(&Secret::new([1; 32]))).unwrap(),
            TokenKey::derive(&Secret::new([7; 32]), Some(&Secret::new([0; 32]))).unwrap(),
        ];
        assert_eq!(
            Counters::default().judge(NOW, &others, READ, &text.parse().unwrap()),
            Err(TokenError::Wrong)
        );
        assert_eq!(check(&mut Counters::default(), READ, &text), Ok(0));
        assert_eq!(format!("{:?}", key()), "TokenKey(..)");
    }

    #[test]
    fn a_counter_passes_once_and_in_any_order_within_the_window() {
        let mut counters = Counters::default();
        let mut say = |counter| {
            let text = key().token(READ, NOW, counter).to_string();
            check(&mut counters, READ, &text)
        };
        for good in [5, 3, 4, 0, 70, 7, 69, 1_000_000] {
            assert_eq!(say(good), Ok(0), "{good}");
        }
        for used in [5, 3, 70, 6, 1_000_000, 1_000_000 - WINDOW] {
            assert_eq!(say(used), Err(TokenError::Replayed), "{used}");
        }
        assert_eq!(say(1_000_001 - WINDOW), Ok(0));
        assert_eq!(say(COUNTER_MAX), Ok(0));
        assert_eq!(say(COUNTER_MAX), Err(TokenError::Replayed));
    }

    #[test]
    fn a_token_that_is_refused_uses_up_nothing() {
        let mut counters = Counters::default();
        let good = key().token(READ, NOW, 9).to_string();
        let forged = Token { made: NOW, counter: 1_000, mac: [0; 32] }.to_string();
        assert_eq!(check(&mut counters, READ, &forged), Err(TokenError::Wrong));
        let early = key().token(READ, NOW.plus(AGE_MAX + Duration::from_millis(1)), 1_000).to_string();
        assert_eq!(check(&mut counters, READ, &early), Err(TokenError::Time { now: NOW }));
        let late = key().token(READ, NOW.minus(AGE_MAX + Duration::from_millis(1)), 1_000).to_string();
        assert_eq!(check(&mut counters, READ, &late), Err(TokenError::Time { now: NOW }));
        assert_eq!(check(&mut counters, READ, &good), Ok(0));
        for edge in [NOW.plus(AGE_MAX), NOW.minus(AGE_MAX)] {
            let text = key().token(READ, edge, edge.unix_ms()).to_string();
            assert!(check(&mut Counters::default(), READ, &text).is_ok());
        }
    }

    #[test]
    fn the_second_implementation_makes_the_same() {
        let text = include_str!("../../../tests/vectors/token/token.json");
        let cases: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
        assert!(cases.len() >= 5);
        for case in cases {
            let hex = |name: &str| {
                case[name].as_str().map(|text| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap())
            };
            let secret = |name: &str| hex(name).map(|bytes| Secret::new(bytes.try_into().unwrap()));
            let body = hex("body").unwrap();
            let (method, target) = (case["method"].as_str().unwrap(), case["target"].as_str().unwrap());
            let header = |name: &str| case[name].as_str().unwrap().as_bytes();
            let headers = [header("ifMatch"), header("idempotencyKey")];
            let request = Request { method, target, body: &body, headers };
            let made = Timestamp::from_unix_ms(case["time"].as_u64().unwrap());
            let counter = case["counter"].as_u64().unwrap();
            assert_eq!(request.message(made, counter), hex("message").unwrap());
            let key = TokenKey::derive(&secret("exporter").unwrap(), secret("deviceKey").as_ref()).unwrap();
            assert_eq!(key.token(request, made, counter).to_string(), case["token"], "{}", case["name"]);
        }
    }

    #[test]
    fn a_token_has_one_text() {
        let good = key().token(READ, NOW, 10).to_string();
        assert_eq!(good.parse::<Token>().map(|token| token.to_string()).as_ref(), Ok(&good));
        let mac = good.rsplit('.').next().unwrap();
        let longest = format!("kt1.{}.{}.{mac}", Timestamp::MAX.unix_ms(), COUNTER_MAX);
        assert!(longest.len() <= BYTES_MAX && longest.parse::<Token>().is_ok());
        let last = mac.strip_suffix(|_: char| true).unwrap();
        for bad in [
            String::new(),
            "kt1.".to_owned(),
            good.replace("kt1", "kt2"),
            good.replace("kt1", "KT1"),
            format!(" {good}"),
            format!("{good}."),
            format!("{good}="),
            good.replace(".10.", ".010."),
            good.replace(".10.", ".+10."),
            good.replace(".10.", ".-1."),
            good.replace(".10.", ".."),
            good.replace(".10.", ".18446744073709551615."),
            good.replace(".10.", ".18446744073709551616."),
            good.replace(&NOW.unix_ms().to_string(), "253402300800000"),
            good.replace(mac, last),
            good.replace(mac, &format!("{last}=")),
            good.replace(mac, &format!("{last}9")),
            good.replace(mac, &"+".repeat(MAC_CHARS)),
            "k".repeat(10_000),
        ] {
            assert_eq!(bad.parse::<Token>(), Err(TokenError::Malformed), "{bad}");
        }
    }
}
