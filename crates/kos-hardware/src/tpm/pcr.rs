//! Which measurements of the start of a machine something is sealed to.

use std::str::FromStr;

use tpm2_protocol::{
    basic::TpmHandle,
    data::{Tpm2bDigest, TpmAlgId, TpmlPcrSelection, TpmsPcrSelect, TpmsPcrSelection},
    frame::{
        TpmPolicyGetDigestCommand, TpmPolicyGetDigestResponse, TpmPolicyPcrCommand, TpmPolicyPcrResponse,
    },
};

use super::exchange::{Authority, Exchange, malformed};
use crate::HardwareError;

/// A TPM of the PC client profile has 24 PCRs.
const PCRS: u32 = 24;

/// A set of PCRs of the SHA-256 bank. The empty one binds to no state of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pcrs(u32);

/// The text is no set of PCRs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no set of PCRs: write numbers from 0 to 23 with commas between them")]
pub struct ParsePcrsError(String);

impl Pcrs {
    /// No PCR.
    pub const NONE: Self = Self(0);

    pub(super) const fn mask(self) -> u32 {
        self.0
    }

    /// As a blob has it. Bits of PCRs that no TPM has are damage.
    pub(super) const fn from_mask(mask: u32) -> Option<Self> {
        if mask >> PCRS == 0 { Some(Self(mask)) } else { None }
    }

    /// From bits, bit n for PCR n; nothing if one of them is of no PCR.
    pub const fn from_bits(bits: u32) -> Option<Self> {
        Self::from_mask(bits)
    }

    /// The numbers, from the lowest.
    pub(super) fn numbers(self) -> impl Iterator<Item = u32> {
        (0..PCRS).filter(move |number| self.0 >> number & 1 == 1)
    }

    /// Those of `numbers` that a TPM has.
    pub(super) fn of(numbers: &[u32]) -> Self {
        Self(numbers.iter().filter(|number| **number < PCRS).fold(0, |mask, number| mask | 1 << number))
    }

    /// As commands name them.
    pub(super) fn selection(self) -> Result<TpmlPcrSelection, HardwareError> {
        let [a, b, c, _] = self.0.to_le_bytes();
        let pcr_select = TpmsPcrSelect::try_from([a, b, c].as_slice()).map_err(malformed)?;
        let mut pcrs = TpmlPcrSelection::default();
        pcrs.try_push(TpmsPcrSelection { hash: TpmAlgId::Sha256, pcr_select }).map_err(malformed)?;
        Ok(pcrs)
    }

    /// Ties a policy session to the values that the PCRs have now.
    pub(super) fn bind(self, exchange: &mut Exchange, session: TpmHandle) -> Result<(), HardwareError> {
        let pcrs = self.selection()?;
        let bind = TpmPolicyPcrCommand { handles: [session], pcr_digest: Tpm2bDigest::default(), pcrs };
        exchange.run::<_, TpmPolicyPcrResponse>(&bind, Authority::None).map(drop)
    }
}

/// What a policy session has come to.
pub(super) fn policy_digest(
    exchange: &mut Exchange,
    session: TpmHandle,
) -> Result<Tpm2bDigest, HardwareError> {
    let get = TpmPolicyGetDigestCommand { handles: [session] };
    let got: TpmPolicyGetDigestResponse = exchange.run(&get, Authority::None)?;
    Ok(got.policy_digest)
}

/// Numbers with commas between them: `0,7`. An empty text is no PCR.
impl FromStr for Pcrs {
    type Err = ParsePcrsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refusal = || ParsePcrsError(text.to_owned());
        let mut mask = 0u32;
        for number in text.split(',').filter(|_| !text.is_empty()) {
            let bit = number.parse().ok().filter(|number| *number < PCRS).map(|number: u32| 1u32 << number);
            mask |= bit.ok_or_else(refusal)?;
        }
        Ok(Self(mask))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pcrs_are_numbers_with_commas() {
        assert_eq!("".parse(), Ok(Pcrs::NONE));
        assert_eq!("0,7,23".parse(), Ok(Pcrs(0x80_0081)));
        for text in ["24", "-1", "1,", ",1", "a", "1 2"] {
            assert!(text.parse::<Pcrs>().is_err(), "{text}");
        }
        assert_eq!(Pcrs::from_mask(0x0100_0000), None);
    }
}
