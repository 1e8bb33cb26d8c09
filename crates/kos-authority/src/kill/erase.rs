//! Destroying files, and what may be said of it afterwards (KILL-16, KILL-18, KILL-20 to KILL-25).
//!
//! What it does not do: reach copies that flash, snapshots and file systems with copy-on-write have made. That is why
//! nothing here says more than `cleared`.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use kos_base::text::reason;
use kos_vault::kill::Assurance;

use crate::files::sync_folder;

/// A file, a link, or a folder with everything in it.
pub(super) fn destroy(path: &Path) -> Assurance {
    match fs::symlink_metadata(path) {
        Err(error) => not_seen(error),
        Ok(meta) if meta.is_dir() => destroy_folder(path),
        Ok(meta) if meta.is_file() => destroy_file(path),
        // A socket, or a link: where it leads is not ours.
        Ok(_) => unlink(path),
    }
}

/// Everything in a folder but what is to stay.
pub(super) fn sweep(folder: &Path, stays: &[PathBuf]) -> Assurance {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return not_seen(error),
    };
    let each = entries.map(|entry| match entry.map(|entry| entry.path()) {
        Ok(path) if stays.contains(&path) => Assurance::Absent,
        Ok(path) => destroy(&path),
        Err(error) => not_seen(error),
    });
    each.fold(Assurance::Absent, Assurance::and)
}

/// The program: only what is a plain file of our own user. A link or a file of the distribution is somebody else's.
pub(super) fn delete_program(path: &Path) -> Assurance {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) => return not_seen(error),
    };
    if !meta.is_file() || meta.uid() != rustix::process::geteuid().as_raw() {
        return Assurance::Failed("not a regular file of the user that the authority runs as".to_owned());
    }
    unlink(path)
}

fn destroy_folder(folder: &Path) -> Assurance {
    let inside = sweep(folder, &[]);
    let removed = fs::remove_dir(folder).and_then(|()| sync_parent(folder));
    inside.and(told(removed, Assurance::Deleted))
}

fn destroy_file(path: &Path) -> Assurance {
    told(kos_keyring::file::remove(path), Assurance::Cleared)
}

fn unlink(path: &Path) -> Assurance {
    told(fs::remove_file(path).and_then(|()| sync_parent(path)), Assurance::Deleted)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_folder)
}

/// Only what is known not to be there is absent (KILL-24): what cannot be looked at may be there.
fn not_seen(error: io::Error) -> Assurance {
    match error.kind() {
        io::ErrorKind::NotFound => Assurance::Absent,
        _ => told(Err(error), Assurance::Absent),
    }
}

fn told(done: io::Result<()>, otherwise: Assurance) -> Assurance {
    done.map_or_else(|error| Assurance::Failed(reason(&error).to_owned()), |()| otherwise)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_folder_goes_with_everything_in_it_and_links_are_not_followed() {
        let desk = tempfile::tempdir().unwrap();
        let (keys, other) = (desk.path().join("keys"), desk.path().join("other"));
        fs::create_dir_all(keys.join("deeper")).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join("mine"), "not ours").unwrap();
        for name in ["root.key", "deeper/more", "empty"] {
            fs::write(keys.join(name), if name == "empty" { "" } else { "secret" }).unwrap();
        }
        let twin = desk.path().join("twin");
        fs::hard_link(keys.join("root.key"), &twin).unwrap();
        symlink(&other, keys.join("link")).unwrap();
        symlink(other.join("mine"), keys.join("kid.key")).unwrap();
        assert_eq!(destroy(&keys), Assurance::Deleted);
        assert!(!keys.exists());
        assert_eq!(fs::read(&twin).unwrap(), [0; 6]);
        assert_eq!(fs::read(other.join("mine")).unwrap(), b"not ours");
        assert_eq!(destroy(&keys), Assurance::Absent);
    }

    #[test]
    fn what_cannot_be_looked_at_is_not_absent() {
        let desk = tempfile::tempdir().unwrap();
        let file = desk.path().join("file");
        fs::write(&file, "").unwrap();
        for look in [destroy, delete_program, |path: &Path| sweep(path, &[])] {
            assert_eq!(look(&desk.path().join("nothing")), Assurance::Absent);
            assert!(matches!(look(&file.join("below")), Assurance::Failed(_)));
        }
    }

    #[test]
    fn a_program_of_somebody_else_stays() {
        let desk = tempfile::tempdir().unwrap();
        let (program, link) = (desk.path().join("program"), desk.path().join("link"));
        fs::write(&program, "#!").unwrap();
        symlink(&program, &link).unwrap();
        assert!(matches!(delete_program(&link), Assurance::Failed(_)));
        assert_eq!(delete_program(&program), Assurance::Deleted);
        assert_eq!(delete_program(&program), Assurance::Absent);
    }
}
