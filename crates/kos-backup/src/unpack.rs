//! Reading a backup that anybody may have made.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;
use serde::Deserialize;
use tar::{Archive, Entry, EntryType};

use crate::{
    BackupError, Content, MANIFEST_BYTES_MAX, MEMBER_BYTES_MAX, MEMBERS_MAX, Manifest, Member, Opening,
    pack::Hashing,
};

/// Reads a backup: hands each file to `take` as it comes, which reads it to its end or not, and returns the manifest once
/// everything agrees with it.
///
/// Nothing that `take` got counts before this returns `Ok`: put it beside its place, and move it afterwards.
///
/// # Errors
/// [`BackupError::WrongKey`] before anything is handed out; otherwise what is wrong with the file.
///
/// *Cost*: about a second for a passphrase, at most 2^22 rounds of scrypt whatever the file says.
pub fn unpack<R: Read>(
    file: R,
    opening: &Opening,
    take: impl FnMut(&Member, &mut dyn Read) -> io::Result<()>,
) -> Result<Manifest, BackupError> {
    unpack_archive(opening.open(file)?, take)
}

/// Reads what is inside the seal.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_archive<R: Read>(
    archive: R,
    mut take: impl FnMut(&Member, &mut dyn Read) -> io::Result<()>,
) -> Result<Manifest, BackupError> {
    let mut archive = Archive::new(archive);
    let mut found: BTreeMap<Member, Content> = BTreeMap::new();
    let mut manifest = None;
    for entry in archive.entries().map_err(read_failed)?.raw(true) {
        let entry = entry.map_err(read_failed)?;
        if manifest.is_some() {
            return Err(BackupError::damaged("something stands behind its manifest"));
        }
        match header(&entry)? {
            Named::Manifest => manifest = Some(read_manifest(entry)?),
            Named::Member(_) if found.len() >= MEMBERS_MAX => {
                return Err(BackupError::damaged("too many files"));
            }
            Named::Member(name) => {
                let content = read_member(entry, name, &mut take)?;
                if let Some(twice) = found.insert(content.name.clone(), content) {
                    return Err(BackupError::damaged(format!("`{}` stands there twice", twice.name)));
                }
            }
        }
    }
    // Whatever follows the end of the archive is read, so that the seal over the whole file is checked.
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(read_failed)?;
    let manifest = manifest.ok_or_else(|| BackupError::damaged("it has no manifest"))?;
    compare(&manifest, &found)?;
    Ok(manifest)
}

enum Named {
    Manifest,
    Member(Member),
}

fn header<R: Read>(entry: &Entry<'_, R>) -> Result<Named, BackupError> {
    let header = entry.header();
    if header.entry_type() != EntryType::Regular {
        return Err(BackupError::damaged("something that is not a plain file"));
    }
    let path = header.path_bytes();
    let path = core::str::from_utf8(&path).map_err(|_| BackupError::damaged("a name that is not UTF-8"))?;
    if path == Member::MANIFEST {
        return Ok(Named::Manifest);
    }
    path.parse().map(Named::Member).map_err(|e: crate::ParseMemberError| BackupError::damaged(e.to_string()))
}

fn read_member<R: Read>(
    entry: Entry<'_, R>,
    name: Member,
    take: &mut impl FnMut(&Member, &mut dyn Read) -> io::Result<()>,
) -> Result<Content, BackupError> {
    let bytes = entry.header().size().map_err(read_failed)?;
    if bytes > MEMBER_BYTES_MAX {
        return Err(BackupError::damaged(format!("`{name}` is too long")));
    }
    let mut hashing = Hashing { inner: entry, digest: Context::new(&SHA256), read: 0 };
    take(&name, &mut hashing).map_err(read_failed)?;
    io::copy(&mut hashing, &mut io::sink()).map_err(read_failed)?;
    if hashing.read != bytes {
        return Err(BackupError::damaged(format!("`{name}` is cut")));
    }
    let sha256 = HEXLOWER.encode(hashing.digest.finish().as_ref());
    Ok(Content { name, bytes, sha256 })
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

fn read_manifest<R: Read>(entry: Entry<'_, R>) -> Result<Manifest, BackupError> {
    let mut text = Vec::new();
    entry.take(MANIFEST_BYTES_MAX + 1).read_to_end(&mut text).map_err(read_failed)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MANIFEST_BYTES_MAX {
        return Err(BackupError::damaged("its manifest is too long"));
    }
    let unread = |e: serde_json::Error| BackupError::damaged(format!("its manifest: {e}"));
    let Versioned { version } = serde_json::from_slice(&text).map_err(unread)?;
    if version > Manifest::VERSION {
        return Err(BackupError::Newer(version));
    }
    serde_json::from_slice(&text).map_err(unread)
}

fn compare(manifest: &Manifest, found: &BTreeMap<Member, Content>) -> Result<(), BackupError> {
    for listed in &manifest.files {
        match found.get(&listed.name) {
            Some(content) if content == listed => {}
            Some(_) => return Err(BackupError::damaged(format!("`{}` is not what was put in", listed.name))),
            None => return Err(BackupError::damaged(format!("`{}` is missing", listed.name))),
        }
    }
    if manifest.files.len() != found.len() {
        return Err(BackupError::damaged("it holds a file that its manifest does not name"));
    }
    Ok(())
}

/// A stream that ends early or does not authenticate is damage; anything else is the machine's.
fn read_failed(error: io::Error) -> BackupError {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    match error.kind() {
        InvalidData | InvalidInput | Other | UnexpectedEof => BackupError::damaged(error.to_string()),
        _ => BackupError::Io(error),
    }
}
