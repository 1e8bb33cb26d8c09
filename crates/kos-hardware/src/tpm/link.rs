//! One connection to a TPM: a command out, its answer back.
//!
//! Shape: a command and an answer each begin with a tag (2 bytes), their length (4 bytes, of all of it) and a code
//! (4 bytes), big-endian. At most [`FRAME_BYTES_MAX`].
//!
//! Errors: whatever goes wrong below the TPM is [`HardwareError::Absent`]; an answer of another length than it says is
//! [`HardwareError::Answer`]. Either way the connection is of no more use.
//!
//! What it does not do: look into commands or answers.
//!
//! Source: TPM 2.0 Library, part 1, 18 (command and response structure).

use std::{
    fs::OpenOptions,
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs as _},
    os::unix::net::UnixStream,
    time::Duration,
};

use zeroize::Zeroizing;

use super::TpmAddress;
use crate::HardwareError;

/// What a TPM of the PC client profile takes and gives at once, in bytes. Stops an answer that fills the memory.
pub(super) const FRAME_BYTES_MAX: usize = 4096;

/// How long a socket may be silent before it counts as gone. Making a key takes a slow TPM several seconds.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const HEADER_BYTES: usize = 10;

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

pub(super) struct Link {
    stream: Box<dyn Stream>,
    address: TpmAddress,
}

impl Link {
    pub(super) fn open(address: &TpmAddress) -> Result<Self, HardwareError> {
        let stream = connect(address).map_err(|error| absent(address, &error))?;
        Ok(Self { stream, address: address.clone() })
    }

    /// Sends one command and takes its answer.
    pub(super) fn transmit(&mut self, command: &[u8]) -> Result<Zeroizing<Vec<u8>>, HardwareError> {
        self.stream.write_all(command).map_err(|error| absent(&self.address, &error))?;
        let mut answer = Zeroizing::new(vec![0; FRAME_BYTES_MAX]);
        let mut have = 0;
        loop {
            let free = answer.get_mut(have..).unwrap_or_default();
            match self.stream.read(free) {
                Ok(0) => return Err(absent(&self.address, &io::ErrorKind::UnexpectedEof.into())),
                Ok(more) => have += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(absent(&self.address, &error)),
            }
            let Some(size) = answer.get(..have).and_then(announced) else { continue };
            if !(HEADER_BYTES..=FRAME_BYTES_MAX).contains(&size) || have > size {
                return Err(HardwareError::Answer("its length"));
            }
            if have == size {
                answer.truncate(size);
                return Ok(answer);
            }
        }
    }
}

fn connect(address: &TpmAddress) -> io::Result<Box<dyn Stream>> {
    match address {
        TpmAddress::Device(path) => Ok(Box::new(OpenOptions::new().read(true).write(true).open(path)?)),
        TpmAddress::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(SILENCE_MAX))?;
            stream.set_write_timeout(Some(SILENCE_MAX))?;
            Ok(Box::new(stream))
        }
        TpmAddress::Tcp(socket) => {
            let mut last = io::ErrorKind::AddrNotAvailable.into();
            for address in socket.to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, SILENCE_MAX) {
                    Ok(stream) => {
                        stream.set_nodelay(true)?;
                        stream.set_read_timeout(Some(SILENCE_MAX))?;
                        stream.set_write_timeout(Some(SILENCE_MAX))?;
                        return Ok(Box::new(stream));
                    }
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

/// The length that a header announces, once it is there.
fn announced(answer: &[u8]) -> Option<usize> {
    let header = answer.get(..HEADER_BYTES)?;
    let size = header.get(2..6)?.try_into().ok().map(u32::from_be_bytes)?;
    usize::try_from(size).ok()
}

fn absent(address: &TpmAddress, error: &io::Error) -> HardwareError {
    HardwareError::Absent(format!("{address}: {}", error.kind()))
}
