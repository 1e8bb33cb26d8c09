//! COMMAND: an order of the authority to a device.
//!
//! An order has an id of its own, so that one that is sent again is carried out once.
//!
//! Source: `docs/spec/klp.md` KLP-48.

use kos_base::{Channel, EntryId};
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::{Body, read_blob};
use crate::fields::{Field, read_map, required};

/// Longest signed wipe order, in bytes.
pub const WIPE_ORDER_BYTES_MAX: usize = 4096;

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Which order.
    pub id: EntryId,
    /// What to do.
    pub instruction: Instruction,
}

/// Longest key that is sealed, in bytes: 32 of `enc`, 32 of the key, 16 of the tag.
const OWN_KEY_BYTES_MAX: usize = 80;

/// What a device is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// Get a new certificate for a new key.
    Regenerate,
    /// Follow another firmware channel.
    SetChannel(Channel),
    /// Destroy keys and data. The order is signed on its own; the device checks that before anything else.
    Wipe(Vec<u8>),
    /// Keep the newest key of one's own (OWN-4): its number, and the key as `enc` of HPKE and the ciphertext.
    OwnKey(u32, Vec<u8>),
}

impl Body for Command {
    const BYTES_MAX: usize = WIPE_ORDER_BYTES_MAX + 64;
}

impl<C> Encode<C> for Command {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.map(2)?.u8(1)?.encode(self.id)?.u8(2)?;
        match &self.instruction {
            Instruction::Regenerate => e.array(1)?.u8(1)?.ok(),
            Instruction::SetChannel(channel) => e.array(2)?.u8(2)?.encode(channel)?.ok(),
            Instruction::Wipe(order) => e.array(2)?.u8(3)?.bytes(order)?.ok(),
            Instruction::OwnKey(number, sealed) => e.array(3)?.u8(4)?.u32(*number)?.bytes(sealed)?.ok(),
        }
    }
}

impl<'b, C> Decode<'b, C> for Command {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let (mut id, mut instruction) = (None, None);
        read_map(d, |key, d| {
            match key {
                1 => id = Some(d.decode()?),
                2 => instruction = Some(read_instruction(d)?),
                _ => return Ok(Field::Unknown),
            }
            Ok(Field::Read)
        })?;
        Ok(Self { id: required(id)?, instruction: required(instruction)? })
    }
}

fn read_instruction(d: &mut Decoder<'_>) -> Result<Instruction, decode::Error> {
    match (d.array()?, d.u8()?) {
        (Some(1), 1) => Ok(Instruction::Regenerate),
        (Some(2), 2) => d.decode().map(Instruction::SetChannel),
        (Some(2), 3) => read_blob(d, WIPE_ORDER_BYTES_MAX).map(Instruction::Wipe),
        (Some(3), 4) => Ok(Instruction::OwnKey(d.u32()?, read_blob(d, OWN_KEY_BYTES_MAX)?)),
        _ => Err(decode::Error::message("an order that this version does not know")),
    }
}

#[cfg(test)]
mod tests {
    use kos_base::Timestamp;

    use super::super::{read, write};
    use super::*;

    #[test]
    fn a_command_is_read_back_as_it_was_written() {
        let id = EntryId::from_parts(Timestamp::from_unix_ms(5), [7; 10]);
        for instruction in [
            Instruction::Regenerate,
            Instruction::SetChannel(Channel::Dev),
            Instruction::Wipe(vec![1; 4096]),
            Instruction::OwnKey(7, vec![1; OWN_KEY_BYTES_MAX]),
        ] {
            let command = Command { id, instruction };
            assert_eq!(read::<Command>(&write(&command)), Ok(command));
        }
        let long = Command { id, instruction: Instruction::Wipe(vec![1; 4097]) };
        assert!(read::<Command>(&write(&long)).is_err());
        let long = Instruction::OwnKey(7, vec![1; OWN_KEY_BYTES_MAX + 1]);
        assert!(read::<Command>(&write(&Command { id, instruction: long })).is_err());
    }

    #[test]
    fn an_unknown_order_is_refused() {
        let id = EntryId::from_parts(Timestamp::from_unix_ms(5), [7; 10]);
        let mut bytes = write(&Command { id, instruction: Instruction::Regenerate });
        *bytes.last_mut().unwrap() = 9;
        assert!(read::<Command>(&bytes).is_err());
    }
}
