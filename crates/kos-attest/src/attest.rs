//! What a TPM signs of itself: quotes and certificates of keys.
//!
//! Shape: TPMS_ATTEST: magic, type, qualified name of the signer, extra data, clock, firmware version, and by type a
//! selection of PCRs with a digest, or a name with a qualified name.
//!
//! Source: TPM 2.0 Library, part 2, 10.12; `docs/spec/attestation.md` ATT-11, ATT-12.

use kos_base::digest::Sha256;

use crate::{
    AttestError, Pcrs,
    public::{ALG_SHA256, NAME_BYTES},
    reader::Reader,
};

/// Written only by a TPM into what it signs with a restricted key.
const GENERATED: u32 = 0xff54_4347;
const QUOTE: u16 = 0x8018;
const CERTIFY: u16 = 0x8017;
/// Longest name in bytes: that of SHA-512.
const NAME_BYTES_MAX: usize = 66;

/// The counters of a TPM. They never go back, until it is cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Milliseconds that it has run.
    pub clock_ms: u64,
    /// How often it was switched on.
    pub reset_count: u32,
    /// How often it went on after a sleep since then.
    pub restart_count: u32,
    /// Whether no earlier clock can have been told that is later than this one.
    pub is_safe: bool,
}

impl Clock {
    /// Whether a TPM that showed `earlier` cannot show this any more (ATT-23).
    pub const fn is_before(&self, earlier: &Self) -> bool {
        if self.reset_count != earlier.reset_count {
            return self.reset_count < earlier.reset_count;
        }
        if self.restart_count != earlier.restart_count {
            return self.restart_count < earlier.restart_count;
        }
        self.clock_ms < earlier.clock_ms
    }
}

/// What is common to all.
pub(crate) struct Attest<T> {
    /// The qualified name of the key that signed.
    pub(crate) signer: Vec<u8>,
    pub(crate) extra: Vec<u8>,
    pub(crate) clock: Clock,
    pub(crate) firmware: u64,
    pub(crate) body: T,
}

pub(crate) struct Quote {
    pub(crate) pcrs: Pcrs,
    pub(crate) digest: Sha256,
}

pub(crate) fn quote(bytes: &[u8]) -> Result<Attest<Quote>, AttestError> {
    read(bytes, QUOTE, "the quote", |reader| {
        if reader.u32()? != 1 {
            return Err(AttestError::OtherPcrs);
        }
        if reader.u16()? != ALG_SHA256 {
            return Err(AttestError::OtherPcrs);
        }
        // A TPM with more PCRs than we know may write more octets, which then are zero.
        let octets = reader.u8()?;
        let mut bits = 0u32;
        for at in 0..octets {
            let octet = u32::from(reader.u8()?);
            bits |= match at {
                0..=2 => octet << (8 * u32::from(at)),
                _ if octet == 0 => 0,
                _ => return Err(AttestError::OtherPcrs),
            };
        }
        let pcrs = Pcrs::from_bits(bits).ok_or(AttestError::OtherPcrs)?;
        let digest = Sha256::try_from(reader.buffer(32)?).map_err(|_| reader.malformed())?;
        Ok(Quote { pcrs, digest })
    })
}

/// The name of the key that is certified.
pub(crate) fn certify(bytes: &[u8]) -> Result<Attest<[u8; NAME_BYTES]>, AttestError> {
    read(bytes, CERTIFY, "the certificate of a key", |reader| {
        let name = reader.buffer(NAME_BYTES_MAX)?.try_into().map_err(|_| reader.malformed())?;
        reader.buffer(NAME_BYTES_MAX)?;
        Ok(name)
    })
}

fn read<T>(
    bytes: &[u8],
    kind: u16,
    what: &'static str,
    body: impl FnOnce(&mut Reader<'_>) -> Result<T, AttestError>,
) -> Result<Attest<T>, AttestError> {
    let mut reader = Reader::new(bytes, what);
    if reader.u32()? != GENERATED {
        return Err(AttestError::Malformed(what));
    }
    reader.exactly(kind)?;
    let signer = reader.buffer(NAME_BYTES_MAX)?.to_vec();
    let extra = reader.buffer(64)?.to_vec();
    let clock = Clock {
        clock_ms: reader.u64()?,
        reset_count: reader.u32()?,
        restart_count: reader.u32()?,
        is_safe: match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(reader.malformed()),
        },
    };
    let firmware = reader.u64()?;
    let body = body(&mut reader)?;
    reader.end()?;
    Ok(Attest { signer, extra, clock, firmware, body })
}
