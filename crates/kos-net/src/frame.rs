//! Frames on a byte stream: the unit of enrolment and of KLP on every stream carrier.
//!
//! Shape: length of the body in bytes (4, big-endian, 1 to 65 536), then the body. Nothing else: no type, no
//! checksum; the stream below is authenticated.
//!
//! Invariants: a frame is handed out whole or not at all; memory grows with what has arrived, never with what a
//! length promises; both directions have deadlines, so a peer that trickles or stops reading holds nothing for long.
//! [`FrameReader::read`] may be cancelled and called again without losing a byte or extending a deadline.
//!
//! Errors: every one of them ends the stream; there is no way to find the next frame.
//!
//! Source: `docs/spec/enrolment.md`, `docs/spec/klp.md`.

use std::{io, time::Duration};

use kos_base::{Code, code};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::{Instant, timeout, timeout_at},
};

/// Longest body, in bytes. Stops a peer from making us buffer without bound.
pub const FRAME_BYTES_MAX: usize = 65_536;

/// Bytes of the length in front of a body.
const LENGTH_BYTES: usize = 4;

/// Room for reading ahead, in bytes; what an idle reader costs.
const READ_AHEAD_BYTES: usize = 1_024;

/// Most room added at once for a long frame, in bytes, so that a promised length alone buys no memory.
const GROWTH_BYTES_MAX: usize = 16_384;

/// How long a reader waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// From the wish to read until the first byte of a frame.
    pub silence: Duration,
    /// From the first byte of a frame until its last. Stops a peer that trickles.
    pub body: Duration,
}

/// Why no frame came or went.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer closed the stream inside a frame.
    #[error("the stream ended inside a frame")]
    Truncated,
    /// A frame without a body.
    #[error("empty frame")]
    Empty,
    /// A length above [`FRAME_BYTES_MAX`], announced by the peer or asked of us.
    #[error("frame of {bytes} bytes, more than {FRAME_BYTES_MAX}")]
    TooLong {
        /// The length.
        bytes: usize,
    },
    /// The peer sent nothing for too long.
    #[error("the peer was silent for too long")]
    Silent,
    /// The peer sent a frame, or took ours, too slowly.
    #[error("the peer was too slow")]
    Slow,
    /// The stream failed.
    #[error("the stream failed")]
    Io(#[source] io::Error),
}

impl FrameError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Empty | Self::TooLong { .. } => code::klp::KLP_MALFORMED,
            Self::Truncated | Self::Silent | Self::Slow | Self::Io(_) => code::klp::KLP_LINK,
        }
    }
}

/// Reads frames from `R`.
#[derive(Debug)]
pub struct FrameReader<R> {
    io: R,
    patience: Patience,
    buffer: Vec<u8>,
    /// When the wait for the frame's first byte, or for its rest, began.
    waiting_since: Option<Instant>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader over `io`.
    pub const fn new(io: R, patience: Patience) -> Self {
        Self { io, patience, buffer: Vec::new(), waiting_since: None }
    }

    /// Changes how long the next frames are waited for.
    pub const fn set_patience(&mut self, patience: Patience) {
        self.patience = patience;
    }

    /// The next body, or `None` when the peer closed the stream between two frames.
    ///
    /// # Errors
    /// When the peer breaks the form, is too slow, or the stream fails. Drop the stream.
    pub async fn read(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        loop {
            let missing = match self.body_bytes()? {
                None => LENGTH_BYTES,
                Some(bytes) => match (LENGTH_BYTES + bytes).checked_sub(self.buffer.len()) {
                    Some(missing) if missing > 0 => missing,
                    _ => return Ok(Some(self.take(bytes))),
                },
            };
            let in_frame = !self.buffer.is_empty();
            let since = *self.waiting_since.get_or_insert_with(Instant::now);
            let (wait, late) = match in_frame {
                true => (self.patience.body, FrameError::Slow),
                false => (self.patience.silence, FrameError::Silent),
            };
            self.buffer.reserve(missing.clamp(READ_AHEAD_BYTES, GROWTH_BYTES_MAX));
            let read = timeout_at(since + wait, self.io.read_buf(&mut self.buffer)).await;
            match read.map_err(|_| late)?.map_err(FrameError::Io)? {
                0 if in_frame => return Err(FrameError::Truncated),
                0 => return Ok(None),
                _ if !in_frame => self.waiting_since = Some(Instant::now()),
                _ => {}
            }
        }
    }

    /// Length of the body that stands at the front of the buffer, once its length has arrived.
    fn body_bytes(&self) -> Result<Option<usize>, FrameError> {
        let Some(length) = self.buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        match usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX) {
            0 => Err(FrameError::Empty),
            bytes if bytes > FRAME_BYTES_MAX => Err(FrameError::TooLong { bytes }),
            bytes => Ok(Some(bytes)),
        }
    }

    fn take(&mut self, bytes: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(LENGTH_BYTES + bytes);
        let mut body = std::mem::replace(&mut self.buffer, rest);
        body.drain(..LENGTH_BYTES);
        self.waiting_since = (!self.buffer.is_empty()).then(Instant::now);
        body
    }
}

/// Appends `body` as a frame to `out`.
///
/// # Errors
/// When the body is empty or too long; nothing was appended.
pub fn append(out: &mut Vec<u8>, body: &[u8]) -> Result<(), FrameError> {
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= FRAME_BYTES_MAX);
    match length.ok_or(FrameError::TooLong { bytes: body.len() })? {
        0 => Err(FrameError::Empty),
        length => {
            out.reserve(LENGTH_BYTES + body.len());
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(body);
            Ok(())
        }
    }
}

/// Writes `body` as one frame and flushes it.
///
/// # Errors
/// When the body has no legal length (nothing was written), or the peer does not take it within `deadline`, or the
/// stream fails (drop the stream).
pub async fn write<W>(io: &mut W, body: &[u8], deadline: Duration) -> Result<(), FrameError>
where
    W: AsyncWrite + Unpin,
{
    let mut frame = Vec::new();
    append(&mut frame, body)?;
    write_bytes(io, &frame, deadline).await
}

/// Writes frames made with [`append`] and flushes them.
///
/// # Errors
/// As [`write()`].
pub async fn write_bytes<W>(io: &mut W, frames: &[u8], deadline: Duration) -> Result<(), FrameError>
where
    W: AsyncWrite + Unpin,
{
    let written = timeout(deadline, async {
        io.write_all(frames).await?;
        io.flush().await
    });
    written.await.map_err(|_| FrameError::Slow)?.map_err(FrameError::Io)
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    const PATIENCE: Patience = Patience { silence: Duration::from_secs(60), body: Duration::from_secs(5) };

    async fn outcome(bytes: &[u8]) -> Result<Option<Vec<u8>>, FrameError> {
        FrameReader::new(bytes, PATIENCE).read().await
    }

    #[tokio::test]
    async fn frames_of_every_size_arrive_whole_however_they_are_cut() {
        for size in [1, 3, 4, 5, 1_019, 1_020, 1_021, 16_384, FRAME_BYTES_MAX] {
            let body = vec![7; size];
            let mut bytes = Vec::new();
            append(&mut bytes, &body).unwrap();
            append(&mut bytes, b"next").unwrap();
            for pipe_bytes in [1, 7, 1_024, 200_000] {
                let (mut near, far) = duplex(pipe_bytes);
                let writing = async {
                    near.write_all(&bytes).await.unwrap();
                    drop(near);
                };
                let mut reader = FrameReader::new(far, PATIENCE);
                let reading = async {
                    assert_eq!(reader.read().await.unwrap().as_ref(), Some(&body), "{size} {pipe_bytes}");
                    assert_eq!(reader.read().await.unwrap().as_deref(), Some(b"next".as_slice()));
                    assert!(reader.read().await.unwrap().is_none());
                };
                tokio::join!(writing, reading);
            }
        }
    }

    #[tokio::test]
    async fn malformed_streams_are_told_apart() {
        assert!(matches!(outcome(b"").await, Ok(None)));
        assert!(matches!(outcome(&[0]).await, Err(FrameError::Truncated)));
        assert!(matches!(outcome(&[0, 0, 0]).await, Err(FrameError::Truncated)));
        assert!(matches!(outcome(&[0, 0, 0, 2, 1]).await, Err(FrameError::Truncated)));
        assert!(matches!(outcome(&[0, 0, 0, 0]).await, Err(FrameError::Empty)));
        assert!(matches!(outcome(&[0, 1, 0, 1, 9]).await, Err(FrameError::TooLong { bytes: 65_537 })));
        assert!(matches!(outcome(b"GET / HTTP/1.1\r\n").await, Err(FrameError::TooLong { .. })));
        assert!(matches!(append(&mut Vec::new(), &[]), Err(FrameError::Empty)));
        let long = vec![0; FRAME_BYTES_MAX + 1];
        assert!(matches!(append(&mut Vec::new(), &long), Err(FrameError::TooLong { bytes: 65_537 })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_and_one_that_trickles_are_given_up() {
        let (_near, far) = duplex(64);
        let begun = Instant::now();
        assert!(matches!(FrameReader::new(far, PATIENCE).read().await, Err(FrameError::Silent)));
        assert_eq!(begun.elapsed().as_secs(), 60);

        let (mut near, far) = duplex(64);
        let begun = Instant::now();
        let trickle = async {
            for byte in [0, 0, 0, 200].into_iter().chain([1; 200]) {
                near.write_all(&[byte]).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let mut reader = FrameReader::new(far, PATIENCE);
        tokio::select! {
            read = reader.read() => assert!(matches!(read, Err(FrameError::Slow))),
            () = trickle => unreachable!("the reader gives up first"),
        }
        assert_eq!(begun.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_read_loses_no_byte_and_buys_no_time() {
        let (mut near, far) = duplex(64);
        let mut reader = FrameReader::new(far, PATIENCE);
        for byte in [0, 0, 0, 2, b'h'] {
            near.write_all(&[byte]).await.unwrap();
            assert!(timeout(Duration::from_millis(10), reader.read()).await.is_err());
        }
        near.write_all(b"i").await.unwrap();
        assert_eq!(reader.read().await.unwrap().as_deref(), Some(b"hi".as_slice()));

        near.write_all(&[0]).await.unwrap();
        let begun = Instant::now();
        while timeout(Duration::from_secs(1), reader.read()).await.is_err() {}
        assert!(begun.elapsed() <= Duration::from_secs(6));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_stops_reading_is_given_up() {
        let (mut near, _far) = duplex(16);
        let written = write(&mut near, &[1; 64], Duration::from_secs(5)).await;
        assert!(matches!(written, Err(FrameError::Slow)));
    }

    #[tokio::test]
    async fn a_promised_length_alone_buys_no_memory() {
        let (mut near, far) = duplex(64);
        let mut reader = FrameReader::new(far, PATIENCE);
        near.write_all(&[0, 1, 0, 0, 1]).await.unwrap();
        assert!(timeout(Duration::from_millis(10), reader.read()).await.is_err());
        assert!(reader.buffer.capacity() <= READ_AHEAD_BYTES + 2 * GROWTH_BYTES_MAX);
    }
}
