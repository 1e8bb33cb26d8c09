//! Writing a backup, file by file, into any stream.

use std::io::{self, Read, Write};

use age::stream::StreamWriter;
use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;
use tar::{Builder, EntryType, Header};

use crate::{BackupError, Content, MEMBER_BYTES_MAX, Manifest, Member, Sealing};

/// A backup that is being written. Dropped before [`Packer::finish`], it leaves a file that nobody can take for whole.
pub struct Packer<W: Write> {
    archive: Builder<StreamWriter<W>>,
    made_at_s: u64,
    files: Vec<Content>,
}

impl<W: Write> Packer<W> {
    /// Begins one on `file`, with the moment that its files carry.
    ///
    /// # Errors
    /// [`BackupError::Io`] when the stream fails.
    ///
    /// *Cost*: about a second for a passphrase.
    pub fn begin(file: W, sealing: Sealing, made_at: kos_base::Timestamp) -> Result<Self, BackupError> {
        let mut archive = Builder::new(sealing.seal(file)?);
        archive.mode(tar::HeaderMode::Deterministic);
        Ok(Self { archive, made_at_s: made_at.unix_ms() / 1_000, files: Vec::new() })
    }

    /// Adds a file of `bytes` bytes.
    ///
    /// # Errors
    /// [`BackupError::Io`] when a stream fails or `content` is shorter; the backup is worth nothing then.
    pub fn add(&mut self, name: Member, bytes: u64, content: impl Read) -> Result<(), BackupError> {
        if bytes > MEMBER_BYTES_MAX {
            return Err(BackupError::Io(io::ErrorKind::FileTooLarge.into()));
        }
        let mut hashing = Hashing { inner: content.take(bytes), digest: Context::new(&SHA256), read: 0 };
        let mut header = self.header(bytes);
        self.archive.append_data(&mut header, name.as_str(), &mut hashing).map_err(BackupError::Io)?;
        if hashing.read != bytes {
            return Err(BackupError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        let sha256 = HEXLOWER.encode(hashing.digest.finish().as_ref());
        self.files.push(Content { name, bytes, sha256 });
        Ok(())
    }

    /// Writes the manifest, whose `files` are those that were added, and ends the file.
    ///
    /// # Errors
    /// [`BackupError::Io`] when the stream fails.
    pub fn finish(mut self, manifest: Manifest) -> Result<(W, Manifest), BackupError> {
        let manifest = Manifest { files: core::mem::take(&mut self.files), ..manifest };
        let text = serde_json::to_vec(&manifest).map_err(|e| BackupError::Io(e.into()))?;
        let mut header = self.header(u64::try_from(text.len()).unwrap_or(u64::MAX));
        self.archive.append_data(&mut header, Member::MANIFEST, text.as_slice()).map_err(BackupError::Io)?;
        let sealed = self.archive.into_inner().map_err(BackupError::Io)?;
        Ok((sealed.finish().map_err(BackupError::Io)?, manifest))
    }

    fn header(&self, bytes: u64) -> Header {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_mtime(self.made_at_s);
        header
    }
}

impl<W: Write> core::fmt::Debug for Packer<W> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Packer({} files)", self.files.len())
    }
}

/// Counts and digests what passes.
pub(crate) struct Hashing<R> {
    pub(crate) inner: R,
    pub(crate) digest: Context,
    pub(crate) read: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.digest.update(buffer.get(..count).unwrap_or_default());
        self.read += u64::try_from(count).unwrap_or(u64::MAX);
        Ok(count)
    }
}
