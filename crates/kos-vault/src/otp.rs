//! One-time codes of a seed that stays in the vault.
//!
//! Shape: the value of a `totp_seed` is what a service shows: base32 (RFC 4648, section 6) in any case, with or without
//! padding, spaces and dashes; or an `otpauth://totp/` URI, whose `secret`, `algorithm`, `digits` and `period` count and
//! whose other parts do not. Without a URI it is HMAC-SHA-1, 6 digits and 30 s, as most services have it.
//!
//! What it does not do: know the time, or remember which codes were used.
//!
//! Source: KV-33; RFC 6238, RFC 4226; vectors of RFC 6238, appendix B.

use aws_lc_rs::hmac;
use data_encoding::BASE32_NOPAD;
use kos_base::Timestamp;
use zeroize::Zeroizing;

use crate::keys::same;

/// Shortest key, in bytes; RFC 4226 asks for 16, and services give as few as 10.
const KEY_BYTES_MIN: usize = 10;
/// Longest key, in bytes; none of the hashes takes more in without hashing it first.
const KEY_BYTES_MAX: usize = 128;
/// Longest period, in seconds; a longer one makes no code of one time.
const PERIOD_S_MAX: u64 = 600;
/// Steps before and after the present one whose codes are taken as well, for a clock that is off and a person who types.
const STEPS_OFF_MAX: u64 = 1;

/// A one-time code and how long it is good.
#[derive(Debug)]
pub struct TotpCode {
    /// Its digits.
    pub code: Zeroizing<String>,
    /// When the next one takes its place.
    pub until: Timestamp,
}

/// A seed with everything that a code depends on, but the time.
pub(crate) struct Totp {
    key: Zeroizing<Vec<u8>>,
    algorithm: hmac::Algorithm,
    digits: u32,
    period_s: u64,
}

impl Totp {
    /// Reads the value of a `totp_seed`.
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        let text = core::str::from_utf8(value).ok()?.trim();
        match text.strip_prefix("otpauth://totp/") {
            Some(rest) => Self::of_uri(rest),
            None => {
                let algorithm = hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY;
                Some(Self { key: key(text)?, algorithm, digits: 6, period_s: 30 })
            }
        }
    }

    fn of_uri(rest: &str) -> Option<Self> {
        let (_, query) = rest.split_once('?')?;
        let mut totp = Self {
            key: Zeroizing::default(),
            algorithm: hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            digits: 6,
            period_s: 30,
        };
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=')?;
            match name {
                "secret" => totp.key = key(value)?,
                "algorithm" => {
                    totp.algorithm = match value {
                        "SHA1" => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                        "SHA256" => hmac::HMAC_SHA256,
                        "SHA512" => hmac::HMAC_SHA512,
                        _ => return None,
                    }
                }
                "digits" => totp.digits = value.parse().ok().filter(|digits| (6..=8).contains(digits))?,
                "period" => {
                    let fits = |period: &u64| (1..=PERIOD_S_MAX).contains(period);
                    totp.period_s = value.parse().ok().filter(fits)?;
                }
                _ => {}
            }
        }
        (!totp.key.is_empty()).then_some(totp)
    }

    /// The code of this moment.
    pub(crate) fn now(&self, now: Timestamp) -> TotpCode {
        let step = self.step(now);
        let until = Timestamp::from_unix_ms(step.saturating_add(1).saturating_mul(self.period_s * 1000));
        TotpCode { code: self.code(step), until }
    }

    /// The step whose code was typed: the present one, or the one before or after it. Takes as long whatever fits.
    pub(crate) fn find(&self, now: Timestamp, typed: &str) -> Option<u64> {
        let present = self.step(now);
        let steps = present.saturating_sub(STEPS_OFF_MAX)..=present.saturating_add(STEPS_OFF_MAX);
        steps.fold(None, |found, step| {
            let fits = same(self.code(step).as_bytes(), typed.as_bytes());
            if fits { Some(step) } else { found }
        })
    }

    fn step(&self, now: Timestamp) -> u64 {
        now.unix_ms() / 1000 / self.period_s
    }

    /// RFC 4226, section 5.3.
    fn code(&self, step: u64) -> Zeroizing<String> {
        let tag = hmac::sign(&hmac::Key::new(self.algorithm, &self.key), &step.to_be_bytes());
        let bytes = tag.as_ref();
        let at = usize::from(bytes.last().copied().unwrap_or_default() & 0x0f);
        let four = bytes.iter().skip(at).take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        let number = (four & 0x7fff_ffff) % 10_u32.pow(self.digits);
        let width = usize::try_from(self.digits).unwrap_or(8);
        Zeroizing::new(format!("{number:0width$}"))
    }
}

fn key(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut plain = Zeroizing::new(String::with_capacity(text.len()));
    plain.extend(text.chars().filter(|c| !matches!(c, ' ' | '-' | '=')).map(|c| c.to_ascii_uppercase()));
    let key = BASE32_NOPAD.decode(plain.as_bytes()).map(Zeroizing::new).ok()?;
    (KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&key.len()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(algorithm: &str, key: &[u8]) -> Totp {
        let secret = BASE32_NOPAD.encode(key);
        let uri = format!("otpauth://totp/kOS:x?secret={secret}&issuer=kOS&algorithm={algorithm}&digits=8");
        Totp::read(uri.as_bytes()).unwrap()
    }

    #[test]
    fn codes_match_appendix_b_of_rfc_6238() {
        let digits = b"1234567890".repeat(7);
        let keys = [("SHA1", 20), ("SHA256", 32), ("SHA512", 64)].map(|(name, n)| uri(name, &digits[..n]));
        for (seconds, expected) in [
            (59, ["94287082", "46119246", "90693936"]),
            (1_111_111_109, ["07081804", "68084774", "25091201"]),
            (1_111_111_111, ["14050471", "67062674", "99943326"]),
            (1_234_567_890, ["89005924", "91819424", "93441116"]),
            (2_000_000_000, ["69279037", "90698825", "38618901"]),
            (20_000_000_000, ["65353130", "77737706", "47863826"]),
        ] {
            let now = Timestamp::from_unix_ms(seconds * 1000);
            for (totp, code) in keys.iter().zip(expected) {
                assert_eq!(*totp.now(now).code, code, "{seconds}");
            }
        }
        let until = keys[0].now(Timestamp::from_unix_ms(59_000)).until;
        assert_eq!(until, Timestamp::from_unix_ms(60_000));
    }

    #[test]
    fn a_seed_is_read_as_services_show_it_and_nonsense_is_not() {
        let plain = Totp::read(b"gezd gnbv-GY3T QOJQ gezdgnbvgy3tqojq====\n").unwrap();
        assert_eq!(*plain.now(Timestamp::from_unix_ms(59_000)).code, "287082");
        for bad in [
            &b"GEZDGNBVGY3TQOJ"[..],
            b"",
            b"GEZDGNBV1",
            b"\xff",
            b"otpauth://totp/x",
            b"otpauth://totp/x?digits=6",
            b"otpauth://totp/x?secret=GEZDGNBVGY3TQOJQ&digits=9",
            b"otpauth://totp/x?secret=GEZDGNBVGY3TQOJQ&period=0",
            b"otpauth://totp/x?secret=GEZDGNBVGY3TQOJQ&algorithm=MD5",
            b"otpauth://hotp/x?secret=GEZDGNBVGY3TQOJQ",
        ] {
            assert!(Totp::read(bad).is_none(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn a_code_is_good_one_step_before_and_after_its_own() {
        let totp = Totp::read(b"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap();
        let code = totp.code(1000);
        for (step, found) in
            [(998, None), (999, Some(1000)), (1000, Some(1000)), (1001, Some(1000)), (1002, None)]
        {
            assert_eq!(totp.find(Timestamp::from_unix_ms(step * 30_000), &code), found, "{step}");
        }
        for typed in ["", "00000", "0000000", "\u{664}\u{665}\u{666}"] {
            assert_eq!(totp.find(Timestamp::from_unix_ms(0), typed), None);
        }
    }
}
