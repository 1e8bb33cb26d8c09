//! ACK: what became of a message.
//!
//! Source: `docs/spec/klp.md` KLP-47.

use kos_base::Code;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::{Body, DetailText, read_blob};
use crate::fields::{Field, read_map, required};

/// Longest result, in bytes.
const RESULT_BYTES_MAX: usize = 4096;

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    status: u16,
    detail: Option<DetailText>,
    result: Option<Vec<u8>>,
}

impl Ack {
    /// Done. The meaning of `result` is given by the type that is answered.
    pub const fn done(result: Option<Vec<u8>>) -> Self {
        Self { status: 0, detail: None, result }
    }

    /// Refused, with the code that says why and a sentence that may be shown.
    pub fn refused(code: Code, detail: &str) -> Self {
        Self { status: code.number(), detail: Some(DetailText::cut(detail)), result: None }
    }

    /// The number of an error code; 0 when it is done.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The peer's words about it.
    pub const fn detail(&self) -> Option<&DetailText> {
        self.detail.as_ref()
    }

    /// The result.
    pub fn result(&self) -> Option<&[u8]> {
        self.result.as_deref()
    }
}

impl Body for Ack {
    const BYTES_MAX: usize = 4608;
}

impl<C> Encode<C> for Ack {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.map(1 + u64::from(self.detail.is_some()) + u64::from(self.result.is_some()))?;
        e.u8(1)?.u16(self.status)?;
        if let Some(detail) = &self.detail {
            e.u8(2)?.encode(detail)?;
        }
        if let Some(result) = &self.result {
            e.u8(3)?.bytes(result)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Ack {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let (mut status, mut detail, mut result) = (None, None, None);
        read_map(d, |key, d| {
            match key {
                1 => status = Some(d.u16()?),
                2 => detail = Some(d.decode()?),
                3 => result = Some(read_blob(d, RESULT_BYTES_MAX)?),
                _ => return Ok(Field::Unknown),
            }
            Ok(Field::Read)
        })?;
        Ok(Self { status: required(status)?, detail, result })
    }
}

#[cfg(test)]
mod tests {
    use kos_base::code::klp::KLP_TYPE;

    use super::super::{read, write};
    use super::*;

    #[test]
    fn an_ack_is_read_back_as_it_was_written() {
        for ack in
            [Ack::done(None), Ack::done(Some(vec![7; 4096])), Ack::refused(KLP_TYPE, &"no ".repeat(200))]
        {
            assert_eq!(read::<Ack>(&write(&ack)), Ok(ack));
        }
        assert!(read::<Ack>(&write(&Ack::done(Some(vec![7; 4097])))).is_err());
        assert_eq!(Ack::refused(KLP_TYPE, "").status(), 410);
    }
}
