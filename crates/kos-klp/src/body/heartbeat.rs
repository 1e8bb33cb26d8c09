//! HEARTBEAT: how a device is, every minute; and what the authority says to it.
//!
//! Source: `docs/spec/klp.md` KLP-45, KLP-46.

use kos_base::{Channel, EntryId, Timestamp};
use kos_policy::{module::Report, pairing::STATEMENT_BYTES_MAX};
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::{Body, DetailText, NameText, VersionText, read_blob, read_list, write_list};
use crate::fields::{Field, read_array_head, read_bytes, read_map, required};

/// Most health checks of a heartbeat.
pub const CHECKS_MAX: u64 = 16;
/// Most versions of a heartbeat or its answer.
pub const VERSIONS_MAX: u64 = 8;
/// Longest kID in an answer, in bytes.
pub const KID_BYTES_MAX: usize = 2048;
/// Most statements about pairings in a heartbeat; more wait for the next one.
pub const STATEMENTS_MAX: usize = 4;
/// Longest time between two heartbeats that a device may choose, in seconds.
const INTERVAL_S_MAX: u32 = 86_400;
/// Longest that an authority sets, in seconds.
const SET_INTERVAL_S_MAX: u16 = 3600;

/// How a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Of all processors together, 0 to 100; none before the first measurement.
    pub cpu_percent: Option<u8>,
    /// Memory in use, in bytes; none where the system does not tell.
    pub ram_used_bytes: Option<u64>,
    /// Memory there is, in bytes.
    pub ram_total_bytes: Option<u64>,
    /// Since boot, in seconds.
    pub uptime_seconds: Option<u64>,
    /// Since the last heartbeat.
    pub errors: u32,
    /// Those of its role profile; at most 16.
    pub checks: Vec<HealthCheck>,
    /// What runs on it; at most 8.
    pub versions: Vec<Version>,
    /// SHA-256 of the effective configuration.
    pub config_digest: [u8; 32],
    /// Changes with every boot.
    pub boot_id: [u8; 16],
    /// The firmware channel that it follows.
    pub channel: Channel,
    /// Seconds to the next heartbeat, when its configuration says other than the authority: 1 to 86 400.
    pub interval_seconds: Option<u32>,
    /// What the device says of pairings, signed, until the authority has taken it; at most 4.
    pub statements: Vec<Vec<u8>>,
    /// What the device says of itself for enforcement modules.
    pub modules: Option<Report>,
}

/// The outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Which.
    pub name: NameText,
    /// Whether it passed.
    pub passed: bool,
    /// What was found.
    pub detail: DetailText,
}

/// A component and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Which.
    pub component: NameText,
    /// In its own words.
    pub version: VersionText,
}

/// The result in the ACK of a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatAnswer {
    /// The authority's clock.
    pub time: Timestamp,
    /// A fresh kID, when the old one is getting old.
    pub kid: Option<Vec<u8>>,
    /// The firmware channel that the device is to follow, when it is another.
    pub channel: Option<Channel>,
    /// The versions that it is to have; at most 8.
    pub wanted: Vec<Version>,
    /// From when on it is to renew its certificate, when that is sooner than by its own plan.
    pub renew_at: Option<Timestamp>,
    /// Seconds to the next heartbeat: 1 to 3 600.
    pub interval_seconds: u16,
    /// An order that waits, so that a device that missed it asks.
    pub pending_order: Option<EntryId>,
}

impl Body for Heartbeat {
    const BYTES_MAX: usize = 8192;
}

impl Body for HeartbeatAnswer {
    const BYTES_MAX: usize = 4096;
}

impl<C> Encode<C> for Heartbeat {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        let measured = [self.ram_used_bytes, self.ram_total_bytes, self.uptime_seconds];
        let optional = [self.cpu_percent.is_some(), self.interval_seconds.is_some()].into_iter();
        let optional = optional.chain([!self.statements.is_empty(), self.modules.is_some()]);
        let optional = optional.chain(measured.map(|value| value.is_some())).filter(|there| *there).count();
        e.map(6 + u64::try_from(optional).unwrap_or_default())?;
        if let Some(cpu) = self.cpu_percent {
            e.u8(1)?.u8(cpu)?;
        }
        for (key, value) in (2..).zip(measured) {
            if let Some(value) = value {
                e.u8(key)?.u64(value)?;
            }
        }
        e.u8(5)?.u32(self.errors)?;
        write_list(e.u8(6)?, &self.checks)?;
        write_list(e.u8(7)?, &self.versions)?;
        e.u8(8)?.bytes(&self.config_digest)?.u8(9)?.bytes(&self.boot_id)?.u8(10)?.encode(self.channel)?;
        if let Some(seconds) = self.interval_seconds {
            e.u8(11)?.u32(seconds)?;
        }
        if !self.statements.is_empty() {
            e.u8(12)?.array(u64::try_from(self.statements.len()).unwrap_or_default())?;
            for statement in &self.statements {
                e.bytes(statement)?;
            }
        }
        if let Some(report) = &self.modules {
            e.u8(14)?.encode(report)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Heartbeat {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let (mut cpu, mut ram_used, mut ram_total, mut uptime, mut errors) = (None, None, None, None, None);
        let (mut checks, mut versions, mut digest, mut boot, mut channel) = (None, None, None, None, None);
        let (mut interval, mut statements, mut modules) = (None, Vec::new(), None);
        read_map(d, |key, d| {
            match key {
                1 => cpu = Some(read_percent(d)?),
                2 => ram_used = Some(d.u64()?),
                3 => ram_total = Some(d.u64()?),
                4 => uptime = Some(d.u64()?),
                5 => errors = Some(d.u32()?),
                6 => checks = Some(read_list(d, CHECKS_MAX)?),
                7 => versions = Some(read_list(d, VERSIONS_MAX)?),
                8 => digest = Some(read_bytes(d)?),
                9 => boot = Some(read_bytes(d)?),
                10 => channel = Some(d.decode()?),
                11 => interval = Some(read_interval(d)?),
                12 => statements = read_statements(d)?,
                14 => modules = Some(d.decode()?),
                _ => return Ok(Field::Unknown),
            }
            Ok(Field::Read)
        })?;
        Ok(Self {
            cpu_percent: cpu,
            ram_used_bytes: ram_used,
            ram_total_bytes: ram_total,
            uptime_seconds: uptime,
            errors: required(errors)?,
            checks: required(checks)?,
            versions: required(versions)?,
            config_digest: required(digest)?,
            boot_id: required(boot)?,
            channel: required(channel)?,
            interval_seconds: interval,
            statements,
            modules,
        })
    }
}

fn read_statements(d: &mut Decoder<'_>) -> Result<Vec<Vec<u8>>, decode::Error> {
    let count = d.array()?.and_then(|count| usize::try_from(count).ok());
    let count = count.filter(|count| (1..=STATEMENTS_MAX).contains(count));
    let count = count.ok_or_else(|| decode::Error::message("not 1 to 4 statements"))?;
    (0..count).map(|_| read_blob(d, STATEMENT_BYTES_MAX)).collect()
}

fn read_interval(d: &mut Decoder<'_>) -> Result<u32, decode::Error> {
    let seconds = d.u32()?;
    let bad = || decode::Error::message("an interval that is not 1 to 86 400 seconds");
    if (1..=INTERVAL_S_MAX).contains(&seconds) { Ok(seconds) } else { Err(bad()) }
}

fn read_percent(d: &mut Decoder<'_>) -> Result<u8, decode::Error> {
    let percent = d.u8()?;
    if percent > 100 { Err(decode::Error::message("more than 100 percent")) } else { Ok(percent) }
}

impl<C> Encode<C> for HeartbeatAnswer {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        let optional = [
            self.kid.is_some(),
            self.channel.is_some(),
            self.renew_at.is_some(),
            self.pending_order.is_some(),
        ];
        e.map(3 + optional.into_iter().map(u64::from).sum::<u64>())?;
        e.u8(1)?.encode(self.time)?;
        if let Some(kid) = &self.kid {
            e.u8(2)?.bytes(kid)?;
        }
        if let Some(channel) = self.channel {
            e.u8(3)?.encode(channel)?;
        }
        write_list(e.u8(4)?, &self.wanted)?;
        if let Some(renew_at) = self.renew_at {
            e.u8(5)?.encode(renew_at)?;
        }
        e.u8(6)?.u16(self.interval_seconds)?;
        if let Some(order) = self.pending_order {
            e.u8(7)?.encode(order)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for HeartbeatAnswer {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let (mut time, mut kid, mut channel, mut wanted) = (None, None, None, None);
        let (mut renew_at, mut interval, mut pending_order) = (None, None, None);
        read_map(d, |key, d| {
            match key {
                1 => time = Some(d.decode()?),
                2 => kid = Some(read_blob(d, KID_BYTES_MAX)?),
                3 => channel = Some(d.decode()?),
                4 => wanted = Some(read_list(d, VERSIONS_MAX)?),
                5 => renew_at = Some(d.decode()?),
                6 => interval = Some(d.u16()?).filter(|seconds| (1..=SET_INTERVAL_S_MAX).contains(seconds)),
                7 => pending_order = Some(d.decode()?),
                _ => return Ok(Field::Unknown),
            }
            Ok(Field::Read)
        })?;
        let (time, wanted, interval_seconds) = (required(time)?, required(wanted)?, required(interval)?);
        Ok(Self { time, kid, channel, wanted, renew_at, interval_seconds, pending_order })
    }
}

impl<C> Encode<C> for HealthCheck {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(3)?.encode(&self.name)?.bool(self.passed)?.encode(&self.detail)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for HealthCheck {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        read_array_head(d, 3)?;
        Ok(Self { name: d.decode()?, passed: d.bool()?, detail: d.decode()? })
    }
}

impl<C> Encode<C> for Version {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(2)?.encode(&self.component)?.encode(&self.version)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Version {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        read_array_head(d, 2)?;
        Ok(Self { component: d.decode()?, version: d.decode()? })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BodyError, read, write};
    use super::*;

    fn heartbeat(cpu_percent: Option<u8>, checks: usize) -> Heartbeat {
        let check =
            HealthCheck { name: "disk".parse().unwrap(), passed: false, detail: "3 % free".parse().unwrap() };
        Heartbeat {
            cpu_percent,
            ram_used_bytes: cpu_percent.map(|_| 1 << 30),
            ram_total_bytes: Some(4 << 30),
            uptime_seconds: Some(90_000),
            errors: 2,
            checks: vec![check; checks],
            versions: vec![Version { component: "kosd".parse().unwrap(), version: "0.1.0".parse().unwrap() }],
            config_digest: [5; 32],
            boot_id: [6; 16],
            channel: Channel::Beta,
            interval_seconds: cpu_percent.map(u32::from),
            statements: vec![vec![3; 9]; checks.min(STATEMENTS_MAX)],
            modules: cpu_percent.map(|_| Report {
                clock: Timestamp::from_unix_s(7),
                steps_back: 1,
                disk: kos_policy::module::Disk::DmCrypt,
            }),
        }
    }

    #[test]
    fn a_heartbeat_is_read_back_as_it_was_written() {
        for heartbeat in [heartbeat(None, 0), heartbeat(Some(100), 16)] {
            assert_eq!(read::<Heartbeat>(&write(&heartbeat)), Ok(heartbeat));
        }
    }

    #[test]
    fn a_device_may_report_as_rarely_as_its_configuration_can_say() {
        let every = |seconds| {
            let heartbeat = Heartbeat { interval_seconds: Some(seconds), ..heartbeat(None, 0) };
            read::<Heartbeat>(&write(&heartbeat)).map(|read| read.interval_seconds)
        };
        for seconds in [1, 3_601, 65_536, INTERVAL_S_MAX] {
            assert_eq!(every(seconds), Ok(Some(seconds)));
        }
        assert!(every(0).is_err() && every(INTERVAL_S_MAX + 1).is_err());
    }

    #[test]
    fn values_outside_their_range_are_refused() {
        for heartbeat in [heartbeat(Some(101), 0), heartbeat(None, 17)] {
            assert!(matches!(read::<Heartbeat>(&write(&heartbeat)), Err(BodyError::Shape(_))));
        }
    }

    #[test]
    fn a_later_version_may_add_what_this_one_need_not_know() {
        let bytes = write(&heartbeat(None, 0));
        let mut later = bytes.clone();
        later[0] += 1;
        let mut incompatible = later.clone();
        later.extend([0x20, 0x61, b'x']);
        incompatible.extend([11, 0x61, b'x']);
        assert_eq!(read::<Heartbeat>(&later), read(&bytes));
        assert!(read::<Heartbeat>(&incompatible).is_err());
    }

    #[test]
    fn an_answer_is_read_back_as_it_was_written() {
        let plain = HeartbeatAnswer {
            time: Timestamp::from_unix_ms(9),
            kid: None,
            channel: None,
            wanted: Vec::new(),
            renew_at: None,
            interval_seconds: 60,
            pending_order: None,
        };
        let full = HeartbeatAnswer {
            kid: Some(vec![1; KID_BYTES_MAX]),
            channel: Some(Channel::Stable),
            wanted: heartbeat(None, 0).versions,
            renew_at: Some(Timestamp::from_unix_ms(99)),
            pending_order: Some(EntryId::from_parts(Timestamp::from_unix_ms(5), [7; 10])),
            ..plain
        };
        for answer in [plain.clone(), full] {
            assert_eq!(read::<HeartbeatAnswer>(&write(&answer)), Ok(answer));
        }
        for interval_seconds in [0, 3601] {
            assert!(
                read::<HeartbeatAnswer>(&write(&HeartbeatAnswer { interval_seconds, ..plain.clone() }))
                    .is_err()
            );
        }
    }
}
