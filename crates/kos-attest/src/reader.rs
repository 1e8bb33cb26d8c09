//! A cursor over bytes of a TPM: big-endian numbers, and buffers with their length before them.
//!
//! Invariants: nothing is read past the end, nothing is kept but borrowed; [`Reader::end`] finds what follows.

use crate::AttestError;

pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// What is read, for the refusal.
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(rest: &'a [u8], what: &'static str) -> Self {
        Self { rest, what }
    }

    pub(crate) const fn malformed(&self) -> AttestError {
        AttestError::Malformed(self.what)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], AttestError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(self.malformed())?;
        self.rest = rest;
        Ok(*bytes)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, AttestError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, AttestError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, AttestError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, AttestError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A number that can only be this one.
    pub(crate) fn exactly(&mut self, wanted: u16) -> Result<(), AttestError> {
        if self.u16()? == wanted { Ok(()) } else { Err(self.malformed()) }
    }

    /// A buffer of at most `most` bytes.
    pub(crate) fn buffer(&mut self, most: usize) -> Result<&'a [u8], AttestError> {
        let length = usize::from(self.u16()?);
        let split = self.rest.split_at_checked(length).filter(|_| length <= most);
        let (bytes, rest) = split.ok_or(self.malformed())?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Nothing follows.
    pub(crate) fn end(self) -> Result<(), AttestError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed()) }
    }
}
