//! Bytes from a thread that writes to a task that sends: at most a few pieces are under way.

use std::io;

use axum::body::Bytes;
use tokio::sync::mpsc;

/// Longest piece, in bytes.
const PIECE_BYTES_MAX: usize = 64 * 1024;
/// Pieces under way; a reader that is slow makes the writer wait.
const PIECES_MAX: usize = 8;

/// What is read at the other end: pieces, and at the end nothing, or why there is no end.
pub(crate) type Chunks = mpsc::Receiver<io::Result<Bytes>>;

/// The end that is written to, by a thread that may wait.
#[derive(Debug)]
pub(crate) struct Pipe {
    to: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Pipe {
    pub(crate) fn new() -> (Self, Chunks) {
        let (to, from) = mpsc::channel(PIECES_MAX);
        (Self { to, piece: Vec::with_capacity(PIECE_BYTES_MAX) }, from)
    }

    /// Tells the reader that what it got is not whole.
    pub(crate) fn breaking(&self) -> impl FnOnce(io::Error) + use<> {
        let to = self.to.clone();
        move |error| drop(to.blocking_send(Err(error)))
    }
}

impl io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE_BYTES_MAX - self.piece.len();
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.piece.extend_from_slice(taken);
        if self.piece.len() == PIECE_BYTES_MAX {
            self.flush()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES_MAX));
        self.to.blocking_send(Ok(Bytes::from(piece))).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[tokio::test]
    async fn what_is_written_arrives_in_order_and_a_reader_that_goes_away_ends_it() {
        let (mut pipe, mut chunks) = Pipe::new();
        let written: Vec<u8> = (0..200_000u32).flat_map(u32::to_be_bytes).collect();
        let content = written.clone();
        let writing = tokio::task::spawn_blocking(move || {
            pipe.write_all(&content)?;
            pipe.flush()
        });
        let mut read = Vec::new();
        while let Some(piece) = chunks.recv().await {
            read.extend_from_slice(&piece.unwrap());
        }
        assert_eq!(read, written);
        assert!(writing.await.unwrap().is_ok());

        let (mut pipe, chunks) = Pipe::new();
        drop(chunks);
        let writing = tokio::task::spawn_blocking(move || pipe.write_all(&[0; PIECE_BYTES_MAX]));
        assert_eq!(writing.await.unwrap().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
