//! What a running program has in its memory, as root can read it.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
};

use anyhow::{Context as _, Result, ensure};

use crate::secret::Secret;

/// Most bytes that are read at once.
const CHUNK: usize = 4 * 1024 * 1024;
/// How much of a chunk is read again with the next, so that nothing hides between two: more than any secret has.
const OVERLAP: usize = 128 * 1024;

/// A piece of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    start: u64,
    end: u64,
    readable: bool,
    /// The file or purpose, for instance `[heap]`; empty for memory that was only asked for.
    pub name: String,
}

/// What a search has looked at and found.
#[derive(Clone, Debug, Default)]
pub struct Searched {
    /// Bytes that were read.
    pub bytes: u64,
    /// Names of mappings that the kernel lets nobody read.
    pub closed: Vec<String>,
    /// What was found where, in words.
    pub found: Vec<String>,
}

/// The memory of a process.
///
/// # Errors
/// When it does not run.
pub fn mappings(pid: u32) -> Result<Vec<Mapping>> {
    let text = fs::read_to_string(format!("/proc/{pid}/maps")).context("no such process")?;
    text.lines().map(|line| parse(line).with_context(|| format!("a mapping `{line}`"))).collect()
}

/// `START-END PERMISSIONS OFFSET DEVICE INODE NAME`.
fn parse(line: &str) -> Option<Mapping> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let address = |text| u64::from_str_radix(text, 16).ok();
    let readable = words.next()?.starts_with('r');
    let name = words.skip(3).collect::<Vec<_>>().join(" ");
    Some(Mapping { start: address(start)?, end: address(end)?, readable, name })
}

/// Looks for secrets in all memory of a process.
///
/// # Errors
/// When the memory cannot be read, which root can.
pub fn search(pid: u32, secrets: &[Secret]) -> Result<Searched> {
    let mut memory = File::open(format!("/proc/{pid}/mem")).context("its memory cannot be opened")?;
    let mut searched = Searched::default();
    for mapping in mappings(pid)?.iter().filter(|mapping| mapping.readable) {
        let mut at = mapping.start;
        let mut read_any = false;
        while at < mapping.end {
            let length = usize::try_from(mapping.end - at).unwrap_or(CHUNK).min(CHUNK);
            let mut bytes = vec![0; length];
            memory.seek(SeekFrom::Start(at))?;
            if memory.read_exact(&mut bytes).is_err() {
                break;
            }
            read_any = true;
            for secret in secrets {
                for (form, offset) in secret.places_in(&bytes) {
                    let address = at + u64::try_from(offset)?;
                    let place = if mapping.name.is_empty() { "memory" } else { &mapping.name };
                    searched.found.push(format!("{} is in {place} at {address:x}, as {form}", secret.name()));
                }
            }
            let last = at + u64::try_from(length)? >= mapping.end;
            at += u64::try_from(if last { length } else { length - OVERLAP })?;
        }
        if read_any {
            searched.bytes += at - mapping.start;
        } else {
            searched.closed.push(mapping.name.clone());
        }
    }
    ensure!(searched.bytes > 0, "nothing could be read");
    searched.found.sort_unstable();
    searched.found.dedup();
    Ok(searched)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_read_with_and_without_a_name() {
        let mapping = parse("7f00-8f00 rw-p 00000000 00:00 0 ").unwrap();
        assert_eq!(
            (mapping.start, mapping.end, mapping.readable, mapping.name.as_str()),
            (0x7f00, 0x8f00, true, "")
        );
        assert_eq!(
            parse("1-2 ---p 00000000 00:0e 5 /secretmem (deleted)").unwrap().name,
            "/secretmem (deleted)"
        );
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn what_this_process_holds_is_found() {
        let held =
            Box::new([0x5a_u8, 0x17, 0xc3, 0x99, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        let secret = Secret::new("it", held.as_slice()).unwrap();
        let searched = search(std::process::id(), &[secret]).unwrap();
        assert!(searched.found.iter().any(|found| found.starts_with("it is in")), "{searched:?}");
    }
}
