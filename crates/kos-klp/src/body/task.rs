//! TASK_REQUEST: what an agent asks of a device, or a device of an agent.
//!
//! Source: `docs/spec/klp.md` KLP-112; `docs/spec/grant.md`.

use kos_policy::{grant::CALL_BYTES_MAX, pairing::AgentId};
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::{Body, read_blob};
use crate::fields::{Field, read_map};

/// Longest task for an agent, in bytes.
const TASK_BYTES_MAX: usize = 16_384;

/// Work for somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// A call that an agent signed, for the device that it is sent to.
    Call(Vec<u8>),
    /// Something for an agent.
    ForAgent {
        /// Which.
        agent: AgentId,
        /// What, in a form that the two agree on.
        content: Vec<u8>,
    },
}

impl Body for Task {
    const BYTES_MAX: usize = TASK_BYTES_MAX + 256;
}

impl<C> Encode<C> for Task {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        match self {
            Self::Call(signed) => e.map(1)?.u8(1)?.bytes(signed)?.ok(),
            Self::ForAgent { agent, content } => e.map(2)?.u8(2)?.encode(agent)?.u8(3)?.bytes(content)?.ok(),
        }
    }
}

impl<'b, C> Decode<'b, C> for Task {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let (mut call, mut agent, mut content) = (None, None, None);
        read_map(d, |key, d| {
            match key {
                1 => call = Some(read_blob(d, CALL_BYTES_MAX)?),
                2 => agent = Some(d.decode()?),
                3 => content = Some(read_blob(d, TASK_BYTES_MAX)?),
                _ => return Ok(Field::Unknown),
            }
            Ok(Field::Read)
        })?;
        match (call, agent, content) {
            (Some(call), None, None) => Ok(Self::Call(call)),
            (None, Some(agent), Some(content)) => Ok(Self::ForAgent { agent, content }),
            _ => Err(decode::Error::message("neither a call nor a task for an agent")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{read, write};
    use super::*;

    #[test]
    fn a_task_is_read_back_and_nothing_between_the_two() {
        let agent: AgentId = "kai:home".parse().unwrap();
        for task in
            [Task::Call(vec![7; CALL_BYTES_MAX]), Task::ForAgent { agent, content: vec![7; TASK_BYTES_MAX] }]
        {
            assert_eq!(read::<Task>(&write(&task)), Ok(task));
        }
        assert!(read::<Task>(&write(&Task::Call(vec![7; CALL_BYTES_MAX + 1]))).is_err());
        for bad in [&[0xa0][..], &[0xa1, 3, 0x40], &[0xa2, 1, 0x40, 3, 0x40]] {
            assert!(read::<Task>(bad).is_err(), "{bad:?}");
        }
    }
}
