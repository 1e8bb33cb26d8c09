//! ALERT: something suspicious that a guardian has to see.
//!
//! It is told, and nothing follows from it on the device but that it was heard. Nothing in it is about a person.
//!
//! Source: `docs/spec/klp.md` KLP-85; `docs/spec/alerts.md` ALR-39.

use kos_base::Timestamp;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::{Body, DetailText, NameText, read_blob};
use crate::fields::{Field, read_map, required};

/// The highest severity: 0 low, 1 medium, 2 high, 3 critical.
const SEVERITY_MAX: u8 = 3;

/// An alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Its id, the same each time it is told.
    pub id: [u8; 16],
    /// The rule that raised it.
    pub rule: NameText,
    /// 0 low, 1 medium, 2 high, 3 critical.
    pub severity: u8,
    /// What it means.
    pub summary: DetailText,
    /// How much happened.
    pub count: u64,
    /// When the last of it happened.
    pub at: Timestamp,
    /// Where its entry stands in the log; nothing when somebody only looks whether it arrives.
    pub index: Option<u64>,
}

impl Body for Alert {
    const BYTES_MAX: usize = 512;
}

impl<C> Encode<C> for Alert {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.map(6 + u64::from(self.index.is_some()))?;
        e.u8(1)?.bytes(&self.id)?.u8(2)?.encode(&self.rule)?.u8(3)?.u8(self.severity)?;
        e.u8(4)?.encode(&self.summary)?.u8(5)?.u64(self.count)?.u8(6)?.encode(self.at)?;
        if let Some(index) = self.index {
            e.u8(7)?.u64(index)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Alert {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let (mut id, mut rule, mut severity, mut summary) = (None, None, None, None);
        let (mut count, mut at, mut index) = (None, None, None);
        read_map(d, |key, d| {
            match key {
                1 => id = read_blob(d, 16)?.try_into().ok(),
                2 => rule = Some(d.decode()?),
                3 => severity = Some(d.u8()?).filter(|severity| *severity <= SEVERITY_MAX),
                4 => summary = Some(d.decode()?),
                5 => count = Some(d.u64()?),
                6 => at = Some(d.decode()?),
                7 => index = Some(d.u64()?),
                _ => return Ok(Field::Unknown),
            }
            Ok(Field::Read)
        })?;
        Ok(Self {
            id: required(id)?,
            rule: required(rule)?,
            severity: required(severity)?,
            summary: required(summary)?,
            count: required(count)?,
            at: required(at)?,
            index,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{read, write};
    use super::*;

    fn alert() -> Alert {
        Alert {
            id: [7; 16],
            rule: "failed-unlocks".parse().unwrap(),
            severity: 3,
            summary: "s".repeat(200).parse().unwrap(),
            count: u64::MAX,
            at: Timestamp::from_unix_ms(5),
            index: Some(u64::MAX),
        }
    }

    #[test]
    fn an_alert_is_read_back_as_it_was_written() {
        for alert in [alert(), Alert { index: None, severity: 0, ..alert() }] {
            assert_eq!(read::<Alert>(&write(&alert)), Ok(alert));
        }
    }

    #[test]
    fn a_severity_that_there_is_not_and_a_part_that_is_missing_are_refused() {
        assert!(read::<Alert>(&write(&Alert { severity: 4, ..alert() })).is_err());
        let whole = write(&alert());
        for cut in 0..whole.len() {
            assert!(read::<Alert>(&whole[..cut]).is_err(), "{cut}");
        }
    }
}
