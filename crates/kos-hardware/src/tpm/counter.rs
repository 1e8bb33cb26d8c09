//! Counters that nobody can set back, and how one anchors the generation of a file.
//!
//! Invariants: a counter is read and raised only if it has the properties that [`Counter::define`] gave it: an index of
//! the same number that can be written freely is no counter. Values are authenticated by the TPM. A counter that is
//! removed and defined again goes on above the highest value that any counter of this TPM ever had.
//!
//! Errors: [`HardwareError::CounterLost`] when it is gone or another: then nothing is known about the age of a file.
//!
//! Source: TPM 2.0 Library, part 1, 37.2 (NV counters); part 3, 31; `docs/spec/hardware.md` HW-11 to HW-15.

use std::{fmt, str::FromStr};

use tpm2_protocol::{
    TpmMarshal as _,
    basic::{TpmHandle, TpmUint16},
    data::{Tpm2bAuth, Tpm2bDigest, Tpm2bNvPublic, TpmAlgId, TpmRcBase, TpmRh, TpmSe, TpmaNv, TpmsNvPublic},
    frame::{
        TpmNvDefineSpaceCommand, TpmNvDefineSpaceResponse, TpmNvIncrementCommand, TpmNvIncrementResponse,
        TpmNvReadCommand, TpmNvReadPublicCommand, TpmNvReadPublicResponse, TpmNvReadResponse,
        TpmNvUndefineSpaceCommand, TpmNvUndefineSpaceResponse,
    },
};

use super::{
    Tpm, TpmName,
    exchange::{Authority, Exchange, marshalled, refusal},
    primary::{NAME_BYTES, Name, name_of_bytes},
    session::{Hidden, Session, Terms},
};
use crate::HardwareError;

const COUNTER_BYTES: u16 = 8;

/// Where a counter is: an index of the range that the standard leaves to the owner, `0x01800000` to `0x01bfffff`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterIndex(u32);

/// The text is no index of the owner's range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no index of the owner: write a number from 0x01800000 to 0x01bfffff")]
pub struct ParseCounterIndexError(String);

impl FromStr for CounterIndex {
    type Err = ParseCounterIndexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let number = number.filter(|number| (0x0180_0000..=0x01bf_ffff).contains(number));
        number.map(Self).ok_or_else(|| ParseCounterIndexError(text.to_owned()))
    }
}

impl fmt::Display for CounterIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// One counter of a TPM.
#[derive(Clone, Debug)]
pub struct Counter {
    tpm: Tpm,
    index: CounterIndex,
}

impl Tpm {
    /// The counter at `index`, which need not be there yet.
    pub fn counter(&self, index: CounterIndex) -> Counter {
        Counter { tpm: self.clone(), index }
    }
}

impl Counter {
    /// Makes the counter and raises it once, or finishes a making that was cut off, and tells its value. One that is
    /// there already stays as it is.
    ///
    /// # Errors
    /// [`HardwareError::CounterLost`] when something else is at this index: choose another.
    pub fn define(&self) -> Result<u64, HardwareError> {
        self.tpm.errand(|exchange| {
            if self.public(exchange)?.is_none() {
                let public_info = Tpm2bNvPublic { inner: self.as_defined() };
                let define = TpmNvDefineSpaceCommand {
                    handles: [TpmRh::Owner.value().into()],
                    auth: Tpm2bAuth::default(),
                    public_info,
                };
                exchange.run::<_, TpmNvDefineSpaceResponse>(&define, Authority::Empty)?;
            }
            let mut session = self.session(exchange)?;
            if !self.found(exchange)?.is_written {
                self.raise(exchange, &mut session)?;
            }
            self.value(exchange, &mut session)
        })
    }

    /// Its value.
    ///
    /// # Errors
    /// [`HardwareError::CounterLost`] when it is gone.
    pub fn read(&self) -> Result<u64, HardwareError> {
        self.tpm.errand(|exchange| {
            let mut session = self.session(exchange)?;
            self.value(exchange, &mut session)
        })
    }

    /// Raises it by one, for ever, and tells the new value. The memory of a TPM wears: hundreds of thousands of times
    /// are fine, one a second is not.
    ///
    /// # Errors
    /// As [`Self::read`]. When the TPM was lost on the way it is not known whether it was raised: read it.
    pub fn increment(&self) -> Result<u64, HardwareError> {
        self.tpm.errand(|exchange| {
            let mut session = self.session(exchange)?;
            self.raise(exchange, &mut session)?;
            self.value(exchange, &mut session)
        })
    }

    /// Removes it. What it anchored is anchored by nothing afterwards.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn undefine(&self) -> Result<(), HardwareError> {
        self.tpm.errand(|exchange| {
            self.found(exchange)?;
            let undefine =
                TpmNvUndefineSpaceCommand { handles: [TpmRh::Owner.value().into(), self.handle()] };
            exchange.run::<_, TpmNvUndefineSpaceResponse>(&undefine, Authority::Empty).map(drop)
        })
    }

    fn handle(&self) -> TpmHandle {
        self.index.0.into()
    }

    fn session(&self, exchange: &mut Exchange) -> Result<Session, HardwareError> {
        let primary = self.tpm.storage_key(exchange)?;
        Session::start(exchange, &primary, TpmSe::Hmac)
    }

    /// Whoever reaches the TPM may read and raise it: that a counter is ahead costs its owner a look, and no secret.
    fn as_defined(&self) -> TpmsNvPublic {
        TpmsNvPublic {
            nv_index: self.handle(),
            name_alg: TpmAlgId::Sha256,
            attributes: TpmaNv::COUNTER
                | TpmaNv::AUTHREAD
                | TpmaNv::AUTHWRITE
                | TpmaNv::OWNERREAD
                | TpmaNv::OWNERWRITE
                | TpmaNv::NO_DA,
            auth_policy: Tpm2bDigest::default(),
            data_size: TpmUint16::new(COUNTER_BYTES),
        }
    }

    /// What is at the index, if anything.
    fn public(&self, exchange: &mut Exchange) -> Result<Option<TpmsNvPublic>, HardwareError> {
        let read = TpmNvReadPublicCommand { handles: [self.handle()] };
        match exchange.ask::<_, TpmNvReadPublicResponse>(&read, Authority::None)? {
            Ok(answer) => Ok(Some(answer.nv_public.inner)),
            Err(code) if code.base() == TpmRcBase::Handle => Ok(None),
            Err(code) => Err(refusal(code)),
        }
    }

    fn found(&self, exchange: &mut Exchange) -> Result<Found, HardwareError> {
        let public = self.public(exchange)?.ok_or(HardwareError::CounterLost("there is none"))?;
        let is_written = public.attributes.contains(TpmaNv::WRITTEN);
        let mut wanted = self.as_defined();
        if is_written {
            wanted.attributes |= TpmaNv::WRITTEN;
        }
        if public != wanted {
            return Err(HardwareError::CounterLost("something else is in its place"));
        }
        let bytes = marshalled(|writer| public.marshal(writer))?;
        Ok(Found { is_written, name: name_of_bytes(&bytes) })
    }

    /// The names go into the HMAC, so the TPM refuses if the counter is another than the one that was looked at.
    fn raise(&self, exchange: &mut Exchange, session: &mut Session) -> Result<(), HardwareError> {
        let name = self.found(exchange)?.name;
        let increment = TpmNvIncrementCommand { handles: [self.handle(), self.handle()] };
        let terms = Terms { names: &[&name, &name], hidden: Hidden::Nothing, secret: None };
        session.run::<_, TpmNvIncrementResponse>(exchange, &increment, &terms).map(drop)
    }

    fn value(&self, exchange: &mut Exchange, session: &mut Session) -> Result<u64, HardwareError> {
        let found = self.found(exchange)?;
        if !found.is_written {
            return Err(HardwareError::CounterLost("it was never raised"));
        }
        let read = TpmNvReadCommand {
            handles: [self.handle(), self.handle()],
            size: TpmUint16::new(COUNTER_BYTES),
            offset: TpmUint16::new(0),
        };
        let terms = Terms { names: &[&found.name, &found.name], hidden: Hidden::Nothing, secret: None };
        let read: TpmNvReadResponse = session.run(exchange, &read, &terms)?;
        let value = <[u8; 8]>::try_from(&*read.data).map(u64::from_be_bytes);
        value.map_err(|_| HardwareError::Answer("the length of the counter"))
    }
}

struct Found {
    is_written: bool,
    name: Name,
}

/// What ties the generations of a file to a counter: which counter of which TPM it is, and the difference between the two,
/// taken once. It is kept where nobody changes it without the key of the file, best inside the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterAnchor {
    tpm: TpmName,
    index: CounterIndex,
    offset: u64,
}

/// How old a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// The newest one.
    Newest,
    /// It was written, and then the counter was not raised. Raise it.
    OneAhead,
    /// A newer one was written.
    Behind,
    /// The counter never came so far: the anchor is of another file.
    Beyond,
}

impl CounterAnchor {
    /// Bytes of [`Self::to_bytes`].
    pub const BYTES: usize = NAME_BYTES + 4 + 8;

    /// Which counter of the TPM it is.
    pub const fn index(&self) -> CounterIndex {
        self.index
    }

    /// To be kept: name of the TPM, index, offset.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let parts = [&self.tpm.0[..], &self.index.0.to_be_bytes(), &self.offset.to_be_bytes()];
        bytes.iter_mut().zip(parts.concat()).for_each(|(to, from)| *to = from);
        bytes
    }

    /// As it was kept. `None` when it was something else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (name, rest) = bytes.split_first_chunk()?;
        let (index, offset) = rest.split_first_chunk()?;
        let offset = u64::from_be_bytes(offset.try_into().ok()?);
        Some(Self { tpm: TpmName(*name), index: CounterIndex(u32::from_be_bytes(*index)), offset })
    }

    const fn tie(tpm: TpmName, index: CounterIndex, generation: u64, value: u64) -> Self {
        Self { tpm, index, offset: generation.wrapping_sub(value) }
    }

    const fn judge(self, generation: u64, value: u64) -> Age {
        match generation.wrapping_sub(value.wrapping_add(self.offset)) {
            0 => Age::Newest,
            1 => Age::OneAhead,
            ahead if ahead <= u64::MAX / 2 => Age::Beyond,
            _ => Age::Behind,
        }
    }
}

impl Counter {
    /// Makes the counter, if it is not there, and ties `generation` to what it says now.
    ///
    /// # Errors
    /// As [`Self::define`].
    pub fn tie(&self, generation: u64) -> Result<CounterAnchor, HardwareError> {
        let value = self.define()?;
        Ok(CounterAnchor::tie(self.tpm.name(), self.index, generation, value))
    }

    /// How old a file of `generation` is that is tied by `anchor`.
    ///
    /// # Errors
    /// [`HardwareError::CounterLost`] when the counter is gone or the anchor is of another one: then nobody knows.
    pub fn judge(&self, anchor: &CounterAnchor, generation: u64) -> Result<Age, HardwareError> {
        if (anchor.tpm, anchor.index) != (self.tpm.name(), self.index) {
            return Err(HardwareError::CounterLost("the anchor is of another one"));
        }
        Ok(anchor.judge(generation, self.read()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tie(generation: u64, value: u64) -> CounterAnchor {
        CounterAnchor::tie(TpmName([3; NAME_BYTES]), CounterIndex(0x0180_0000), generation, value)
    }

    #[test]
    fn a_generation_is_judged_by_the_counter() {
        // A counter that begins above the generation, one that begins below, and one that overflows.
        for (generation, value) in [(5, 100), (100, 5), (1, u64::MAX - 1)] {
            let anchor = CounterAnchor::from_bytes(&tie(generation, value).to_bytes()).unwrap();
            assert_eq!(anchor, tie(generation, value));
            let later = value.wrapping_add(3);
            for (ahead, age) in [(2u64, Age::Behind), (3, Age::Newest), (4, Age::OneAhead), (5, Age::Beyond)]
            {
                assert_eq!(anchor.judge(generation + ahead, later), age, "{generation} {value} {ahead}");
            }
        }
        let bytes = tie(1, 1).to_bytes();
        assert_eq!(CounterAnchor::from_bytes(&bytes[1..]), None);
        assert_eq!(CounterAnchor::from_bytes(&[&bytes[..], &[0]].concat()), None);
    }

    #[test]
    fn a_counter_that_was_made_anew_takes_no_older_file() {
        let (before, after) = (tie(10, 10), tie(10, 11));
        for generation in 1..=10 {
            assert_eq!(before.judge(generation, 11), Age::Behind);
        }
        assert_eq!(after.judge(10, 11), Age::Newest);
    }

    #[test]
    fn an_index_is_in_the_range_of_the_owner() {
        assert_eq!("0x01804b4f".parse(), Ok(CounterIndex(0x0180_4b4f)));
        assert_eq!(CounterIndex(0x0180_4b4f).to_string(), "0x01804b4f");
        for text in ["0x01c00002", "0x017fffff", "25184079", "0x", ""] {
            assert!(text.parse::<CounterIndex>().is_err(), "{text}");
        }
    }
}
