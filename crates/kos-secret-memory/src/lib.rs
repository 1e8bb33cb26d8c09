//! Memory for the keys of open vaults: neither swapped nor dumped, and where the kernel can, read by nobody but this process.
//!
//! Shape: [`SecretMemory`] is one page of its own, in which the keys of one vault lie ([`Chest`]). It is of the best kind that
//! the machine gives ([`Shelter`]), and tells which. [`wipe_stack`] takes away what calculations have left below.
//!
//! Invariants: the page is wiped before it is given back. Its address is of this process alone; no descriptor leads to it.
//! Unsafe code is in `mapping` and nowhere else, each piece with its argument.
//!
//! Errors: none. Where nothing protects, there is ordinary memory, and [`Shelter::Nothing`] says why.
//!
//! What it does not do: hide anything from whoever runs code in this process, or from the kernel; protect what is derived
//! or decrypted elsewhere, which is wiped soon.
//!
//! Source: memfd_secret(2), mlock(2), madvise(2); decision 0017.
#![deny(unsafe_code)]

mod mapping;

use core::{fmt, hint::black_box};

use kos_vault::{Chest, KeyBytes};
use rustix::io::Errno;
use zeroize::Zeroize as _;

use self::mapping::Mapping;

/// What protects a piece of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shelter {
    /// memfd_secret: out of the kernel's own map as well, so neither root nor a debugger reads it. It is never swapped.
    Memfd,
    /// mlock: it is never swapped and in no core file. Root reads it.
    Locked,
    /// Nothing; the kernel's reason against mlock.
    Nothing(Errno),
}

impl Shelter {
    /// Its name, as people and programs read it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memfd => "memfd_secret",
            Self::Locked => "mlock",
            Self::Nothing(_) => "none",
        }
    }

    /// What it means, or why there is none.
    pub fn detail(self) -> String {
        match self {
            Self::Memfd => "never swapped, and no other process reads it, root's included".to_owned(),
            Self::Locked => "never swapped; root can read it: this kernel gives no memfd_secret".to_owned(),
            Self::Nothing(why) => {
                format!("may be swapped: {}; LimitMEMLOCK= allows it", reason(why))
            }
        }
    }
}

fn reason(why: Errno) -> String {
    std::io::Error::from(why).kind().to_string()
}

/// One page for the keys of one vault.
pub struct SecretMemory {
    memory: Memory,
    shelter: Shelter,
}

enum Memory {
    Own(Mapping),
    Heap(Box<KeyBytes>),
}

impl SecretMemory {
    /// The best that the machine gives.
    pub fn new() -> Self {
        Self::by(Mapping::secret, Mapping::locked)
    }

    fn by(
        secret: impl FnOnce(usize) -> Result<Mapping, Errno>,
        locked: impl FnOnce(usize) -> Result<Mapping, Errno>,
    ) -> Self {
        let page = rustix::param::page_size();
        if let Ok(mapping) = secret(page) {
            return Self { memory: Memory::Own(mapping), shelter: Shelter::Memfd };
        }
        match locked(page) {
            Ok(mapping) => Self { memory: Memory::Own(mapping), shelter: Shelter::Locked },
            Err(why) => Self { memory: Memory::Heap(Box::new([[0; 32]; 4])), shelter: Shelter::Nothing(why) },
        }
    }

    /// What protects it.
    pub const fn kind(&self) -> Shelter {
        self.shelter
    }
}

impl Default for SecretMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl Chest for SecretMemory {
    fn bytes(&self) -> &KeyBytes {
        match &self.memory {
            Memory::Own(mapping) => mapping.bytes(),
            Memory::Heap(bytes) => bytes,
        }
    }

    fn bytes_mut(&mut self) -> &mut KeyBytes {
        match &mut self.memory {
            Memory::Own(mapping) => mapping.bytes_mut(),
            Memory::Heap(bytes) => bytes,
        }
    }

    fn shelter(&self) -> (&'static str, String) {
        (self.shelter.name(), self.shelter.detail())
    }
}

impl fmt::Debug for SecretMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretMemory({})", self.shelter.name())
    }
}

impl Drop for SecretMemory {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
    }
}

/// How deep calculations with keys go, in bytes of the stack.
const STACK_BYTES: usize = 128 * 1024;

/// Writes zeros over what calls that have returned left on the stack of this thread: values that were handed on, and what a
/// compiler put aside. For the end of work with keys, at the place that began it.
#[inline(never)]
pub fn wipe_stack() {
    let mut below = [0_u8; STACK_BYTES];
    below.zeroize();
    black_box(&below);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD: KeyBytes = [[0x5a; 32]; 4];

    /// The lines of the mapping with this address in `/proc/self/smaps`.
    fn smaps(address: usize) -> String {
        let text = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut found = String::new();
        let mut is_it = false;
        for line in text.lines() {
            let range = line.split(' ').next().unwrap_or_default().split_once('-');
            let range = range.and_then(|(from, to)| {
                Some(usize::from_str_radix(from, 16).ok()?..usize::from_str_radix(to, 16).ok()?)
            });
            is_it = range.map_or(is_it, |range| range.contains(&address));
            if is_it {
                found.push_str(line);
                found.push('\n');
            }
        }
        found
    }

    fn address(memory: &SecretMemory) -> usize {
        memory.bytes().as_ptr().addr()
    }

    /// What `/proc/self/mem` gives at an address.
    fn read_as_root(address: usize) -> std::io::Result<Vec<u8>> {
        use std::io::{Read as _, Seek as _, SeekFrom};
        let mut memory = std::fs::File::open("/proc/self/mem")?;
        memory.seek(SeekFrom::Start(u64::try_from(address).unwrap()))?;
        let mut bytes = vec![0; HELD.as_flattened().len()];
        memory.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn keeps(memory: &mut SecretMemory) {
        assert_eq!(memory.bytes(), &[[0; 32]; 4]);
        memory.bytes_mut().copy_from_slice(&HELD);
        assert_eq!(memory.bytes(), &HELD);
        assert!(!format!("{memory:?}").contains("5a") && !format!("{memory:?}").contains("90"));
    }

    #[test]
    fn each_kind_of_memory_keeps_what_is_put_in() {
        let none = |_| Err(Errno::NOSYS);
        for (mut memory, shelter) in [
            (SecretMemory::new(), SecretMemory::new().kind()),
            (SecretMemory::by(none, Mapping::locked), Shelter::Locked),
            (SecretMemory::by(none, |_| Err(Errno::NOMEM)), Shelter::Nothing(Errno::NOMEM)),
        ] {
            assert_eq!(memory.kind(), shelter);
            keeps(&mut memory);
        }
    }

    #[test]
    fn locked_memory_is_locked_and_in_no_core_file() {
        let mut memory = SecretMemory::by(|_| Err(Errno::NOSYS), Mapping::locked);
        keeps(&mut memory);
        let shown = smaps(address(&memory));
        let flags = shown.lines().find(|line| line.starts_with("VmFlags:")).unwrap();
        assert!(flags.contains(" lo") && flags.contains(" dd") && flags.contains(" dc"), "{shown}");
        assert_eq!(read_as_root(address(&memory)).unwrap(), HELD.as_flattened());
    }

    #[test]
    fn secret_memory_is_read_by_nobody_else() {
        let mut memory = SecretMemory::by(Mapping::secret, |_| Err(Errno::NOSYS));
        // A kernel without it is allowed; what is told then is tested above.
        if memory.kind() == Shelter::Memfd {
            keeps(&mut memory);
            let shown = smaps(address(&memory));
            assert!(shown.contains("secretmem") && shown.contains(" lo"), "{shown}");
            assert!(read_as_root(address(&memory)).is_err());
        }
    }

    #[test]
    fn memory_is_given_back_wiped() {
        // A page that is given back cannot be read any more; the heap keeps what was in it.
        let mut memory = SecretMemory::by(|_| Err(Errno::NOSYS), |_| Err(Errno::NOMEM));
        keeps(&mut memory);
        let place = address(&memory);
        assert_eq!(read_as_root(place).unwrap(), HELD.as_flattened());
        drop(memory);
        // The allocator writes its own words into the beginning.
        assert!(!read_as_root(place).unwrap().windows(16).any(|part| part == [0x5a; 16]));
    }

    #[inline(never)]
    fn leave_something() -> usize {
        let bytes = black_box([0xa7_u8; 512]);
        black_box(&bytes).as_ptr().addr()
    }

    #[test]
    fn the_stack_is_wiped() {
        let place = leave_something();
        wipe_stack();
        assert!(!read_as_root(place).unwrap().windows(32).any(|part| part == [0xa7; 32]));
    }
}
