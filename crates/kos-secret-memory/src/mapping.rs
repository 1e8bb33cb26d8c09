//! One page of memory from the kernel: the only unsafe code of the project.
//!
//! Invariants: `start` is the beginning of a mapping of `length` bytes, at least the size of [`KeyBytes`], readable and writable, that
//! this value alone knows of, from its making to its end. No descriptor of it is open, so nothing can cut it short or write
//! to it but this value.
#![expect(unsafe_code, reason = "system calls that give memory; decision 0017")]

use core::{
    ffi::c_void,
    ptr::{NonNull, null_mut},
};
use std::os::fd::{FromRawFd as _, OwnedFd};

use kos_vault::KeyBytes;
use rustix::{
    fs::ftruncate,
    io::Errno,
    mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap, mmap_anonymous, munmap},
};

/// See the module.
pub(crate) struct Mapping {
    start: NonNull<c_void>,
    length: usize,
}

// SAFETY: the memory is of no thread; it is reached through this value alone, by `&` for reading and by `&mut` for writing.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Memory that the kernel itself does not map.
    pub(crate) fn secret(length: usize) -> Result<Self, Errno> {
        let descriptor = memfd_secret()?;
        ftruncate(&descriptor, u64::try_from(length).map_err(|_| Errno::INVAL)?)?;
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: no address is asked for, so nothing that is mapped already is replaced.
        let start = unsafe { mmap(null_mut(), length, access, flags, &descriptor, 0) };
        Self::at(start?, length)
    }

    /// Memory that is not swapped, and not in core files or children.
    pub(crate) fn locked(length: usize) -> Result<Self, Errno> {
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: no address is asked for, so nothing that is mapped already is replaced.
        let start = unsafe { mmap_anonymous(null_mut(), length, access, flags) };
        let mapping = Self::at(start?, length)?;
        // SAFETY: the range is the mapping; locking changes no byte of it.
        unsafe { mlock(mapping.start.as_ptr(), length) }?;
        for advice in [Advice::LinuxDontDump, Advice::LinuxDontFork] {
            // SAFETY: the range is the mapping; neither advice changes a byte of it in this process.
            unsafe { madvise(mapping.start.as_ptr(), length, advice) }?;
        }
        Ok(mapping)
    }

    fn at(start: *mut c_void, length: usize) -> Result<Self, Errno> {
        let start = NonNull::new(start).ok_or(Errno::NOMEM)?;
        let mapping = Self { start, length };
        if length < size_of::<KeyBytes>() { Err(Errno::INVAL) } else { Ok(mapping) }
    }

    /// The front of it.
    pub(crate) const fn bytes(&self) -> &KeyBytes {
        // SAFETY: the invariants of the module: there are so many bytes, the kernel gave them as zeros, they live as long as
        // `self`, and nobody writes while they are borrowed. Any byte is a `u8`, and a page is aligned for it.
        unsafe { self.start.cast().as_ref() }
    }

    /// The front of it, for writing.
    pub(crate) const fn bytes_mut(&mut self) -> &mut KeyBytes {
        // SAFETY: as in `bytes`, and `self` is borrowed alone.
        unsafe { self.start.cast().as_mut() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is of this value, which ends here; nothing borrows from it any more.
        let given_back = unsafe { munmap(self.start.as_ptr(), self.length) };
        // It fails for addresses that are no mapping only.
        debug_assert_eq!(given_back, Ok(()));
    }
}

/// A descriptor of memory that the kernel does not map, closed on exec.
fn memfd_secret() -> Result<OwnedFd, Errno> {
    // SAFETY: the call has one argument, flags, and touches no memory of ours.
    let returned = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let failed = || Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::NOSYS);
    let descriptor = i32::try_from(returned).ok().filter(|number| *number >= 0).ok_or_else(failed)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
