//! What this device says of itself for enforcement modules, and what it makes of that itself.
//!
//! Where its state lies is read from the kernel: the mount below which the folder is, the block device of that, and the
//! name that device-mapper gave it. Nobody can check it from outside, so it is told as a claim.
//!
//! Source: `docs/spec/modules.md`; proc_pid_mountinfo(5); `Documentation/ABI/testing/sysfs-block-dm` of the kernel.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kos_policy::module::{Disk, Report};

use crate::clock::Clock;

/// Deepest stack of block devices that is followed. Stops a stack that leads to itself.
const DEPTH_MAX: usize = 8;
/// Longest file that is read, in bytes.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Looks at this device for the modules.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    host: PathBuf,
    state: PathBuf,
}

impl Watch {
    /// Looks at the machine whose root is `host`, and at the folder `state` on it.
    pub(crate) const fn new(host: PathBuf, state: PathBuf) -> Self {
        Self { host, state }
    }

    /// Looks once.
    pub(crate) fn report(&self, clock: &Clock) -> Report {
        let state = fs::canonicalize(&self.state).unwrap_or_else(|_| self.state.clone());
        Report { clock: clock.system(), steps_back: clock.steps_back(), disk: disk_of(&self.host, &state) }
    }
}

/// Where a folder lies.
fn disk_of(host: &Path, folder: &Path) -> Disk {
    let Some(mounts) = read(&host.join("proc/self/mountinfo")) else { return Disk::Unknown };
    let under = mounts.lines().filter_map(mount).filter(|mount| folder.starts_with(&mount.point));
    // Of mounts at the same place the last one counts.
    let deepest = under.reduce(|best, next| if next.point.starts_with(&best.point) { next } else { best });
    match deepest {
        Some(Mount { kind, .. }) if ["tmpfs", "ramfs"].contains(&kind.as_str()) => Disk::Memory,
        Some(Mount { device, .. }) => block(&host.join("sys/dev/block").join(device), DEPTH_MAX),
        None => Disk::Unknown,
    }
}

struct Mount {
    /// `MAJOR:MINOR`.
    device: String,
    point: PathBuf,
    kind: String,
}

/// A line of mountinfo: id, parent, device, root, mount point, options, fields until ` - `, type.
fn mount(line: &str) -> Option<Mount> {
    let (front, back) = line.split_once(" - ")?;
    let mut words = front.split(' ').skip(2);
    let (device, point) = (words.next()?, words.nth(1)?);
    let numbers = device.split_once(':')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(numbers.0) || !is_number(numbers.1) {
        return None;
    }
    let kind = back.split(' ').next()?.to_owned();
    Some(Mount { device: device.to_owned(), point: unescaped(point).into(), kind })
}

/// Spaces and the like stand there as three octal digits.
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

/// What a block device is, and what lies below it: every one of them has to be encrypted.
fn block(device: &Path, depth: usize) -> Disk {
    if !device.is_dir() || depth == 0 {
        // A file system of its own numbers, say: what lies below it is not told.
        return Disk::Unknown;
    }
    if read(&device.join("dm/uuid")).is_some_and(|uuid| uuid.starts_with("CRYPT-")) {
        return Disk::DmCrypt;
    }
    let below = fs::read_dir(device.join("slaves")).into_iter().flatten().flatten();
    let below: Vec<_> = below.map(|entry| block(&entry.path(), depth - 1)).collect();
    match below.as_slice() {
        [] => Disk::Plain,
        all if all.iter().all(|disk| *disk == Disk::DmCrypt) => Disk::DmCrypt,
        all if all.contains(&Disk::Unknown) => Disk::Unknown,
        _ => Disk::Plain,
    }
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().filter(|text| text.len() <= TEXT_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with a plain disk, LUKS on it, LVM on LUKS, and a mirror of which one half is encrypted.
    fn machine() -> tempfile::TempDir {
        let host = tempfile::tempdir().unwrap();
        let at = |path: &str| host.path().join(path);
        fs::create_dir_all(at("proc/self")).unwrap();
        fs::write(
            at("proc/self/mountinfo"),
            "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
             22 21 0:5 / /run rw shared:2 - tmpfs tmpfs rw\n\
             23 21 253:0 / /secret rw - ext4 /dev/mapper/luks rw\n\
             24 21 253:1 / /lvm\\040on\\040luks rw master:1 - xfs /dev/mapper/vg-lv rw\n\
             25 21 9:0 / /mirror rw - ext4 /dev/md0 rw\n\
             26 21 0:31 / /pool rw - btrfs /dev/sdb rw\n\
             27 23 8:1 /home /secret/over rw - ext4 /dev/sda1 rw\n\
             nonsense\n28 21 x:y / /bad rw - ext4 /dev/x rw\n",
        )
        .unwrap();
        for (device, uuid) in [
            ("8:1", None),
            ("253:0", Some("CRYPT-LUKS2-0a1b-luks")),
            ("253:1", Some("LVM-abc")),
            ("9:0", None),
        ] {
            let folder = at("sys/dev/block").join(device);
            fs::create_dir_all(folder.join("slaves")).unwrap();
            if let Some(uuid) = uuid {
                fs::create_dir_all(folder.join("dm")).unwrap();
                fs::write(folder.join("dm/uuid"), uuid).unwrap();
            }
        }
        let link = |of: &str, to: &str| {
            let name = to.replace(':', "-");
            let slaves = at("sys/dev/block").join(of).join("slaves");
            std::os::unix::fs::symlink(at("sys/dev/block").join(to), slaves.join(name)).unwrap();
        };
        link("253:1", "253:0");
        link("9:0", "253:0");
        link("9:0", "8:1");
        host
    }

    #[test]
    fn a_folder_lies_where_its_deepest_mount_does_and_all_below_has_to_be_encrypted() {
        let host = machine();
        for (folder, disk) in [
            ("/var/lib/kos", Disk::Plain),
            ("/run/kos", Disk::Memory),
            ("/secret/kos", Disk::DmCrypt),
            ("/secret/over/kos", Disk::Plain),
            ("/secretly", Disk::Plain),
            ("/lvm on luks/kos", Disk::DmCrypt),
            ("/mirror/kos", Disk::Plain),
            ("/pool/kos", Disk::Unknown),
        ] {
            assert_eq!(disk_of(host.path(), Path::new(folder)), disk, "{folder}");
        }
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(disk_of(empty.path(), Path::new("/")), Disk::Unknown);
    }

    #[test]
    fn a_stack_that_leads_to_itself_ends() {
        let host = tempfile::tempdir().unwrap();
        let device = host.path().join("8:1");
        fs::create_dir_all(device.join("slaves")).unwrap();
        std::os::unix::fs::symlink(&device, device.join("slaves/itself")).unwrap();
        assert_eq!(block(&device, DEPTH_MAX), Disk::Unknown);
    }
}
