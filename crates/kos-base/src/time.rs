//! A moment in Unix milliseconds, UTC, and its RFC 3339 form with exactly three decimals.

use core::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize, de};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

/// Milliseconds since 1970-01-01T00:00:00Z. Never read from a clock here: the shell passes it in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// 9999-12-31T23:59:59.999Z, the last moment that RFC 3339 and X.509 can write.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// The moment `ms` milliseconds after 1970, capped at [`Timestamp::MAX`].
    pub const fn from_unix_ms(ms: u64) -> Self {
        if ms > Self::MAX.0 { Self::MAX } else { Self(ms) }
    }

    /// The moment `s` seconds after 1970, capped at [`Timestamp::MAX`].
    pub const fn from_unix_s(s: u64) -> Self {
        Self::from_unix_ms(s.saturating_mul(1000))
    }

    /// Milliseconds since 1970.
    pub const fn unix_ms(self) -> u64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down.
    pub const fn unix_s(self) -> u64 {
        self.0 / 1000
    }

    /// This moment with the milliseconds cut off, as certificates write it.
    pub const fn floor_s(self) -> Self {
        Self(self.0 - self.0 % 1000)
    }

    /// `d` later, capped at [`Timestamp::MAX`].
    pub fn plus(self, d: Duration) -> Self {
        Self::from_unix_ms(self.0.saturating_add(u64::try_from(d.as_millis()).unwrap_or(u64::MAX)))
    }

    /// `d` earlier, not before 1970.
    pub fn minus(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(d.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; zero when it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = i128::from(self.0) * 1_000_000;
        let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).map_err(|_| fmt::Error)?;
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.millisecond()
        )
    }
}

/// The text is not an RFC 3339 time between 1970 and 9999.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an RFC 3339 time between 1970 and 9999")]
pub struct ParseTimestampError(String);

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || ParseTimestampError(crate::text::printable(s, 64));
        let at = OffsetDateTime::parse(s, &Rfc3339).map_err(|_| bad())?.to_offset(UtcOffset::UTC);
        u64::try_from(at.unix_timestamp_nanos() / 1_000_000).map(Self::from_unix_ms).map_err(|_| bad())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// CBOR: an unsigned integer of Unix milliseconds.
impl<C> minicbor::Encode<C> for Timestamp {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.u64(self.0)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Timestamp {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let ms = d.u64()?;
        if ms > Self::MAX.0 {
            return Err(minicbor::decode::Error::message("time after the year 9999"));
        }
        Ok(Self(ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_with_exactly_three_decimals() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_170_000_007, "2026-11-20T10:20:00.007Z"),
            (Timestamp::MAX.0, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp(ms).to_string(), text);
            assert_eq!(text.parse(), Ok(Timestamp(ms)));
        }
    }

    #[test]
    fn offsets_are_read_and_nonsense_is_refused() {
        assert_eq!("1970-01-01T01:00:00+01:00".parse(), Ok(Timestamp(0)));
        for bad in ["", "yesterday", "1969-12-31T23:59:59Z", "2026-13-01T00:00:00Z", "2026-01-01"] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }
}
