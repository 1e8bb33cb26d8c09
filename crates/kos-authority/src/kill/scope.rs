//! What goes and what stays, by how the keys of this run really open.
//!
//! The settings may say something else by now: they hold from the next start on, and a key file may be in its new place.
//!
//! Source: KILL-16, KILL-19, KILL-22.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use kos_base::text::reason;
use kos_keyring::Opener;
use kos_vault::kill::{ProgramFate, Target};

use crate::{
    authority::{Home, Shared},
    keys::Keep,
};

/// Everything that a firing is about.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    home: &'a Home,
    /// Where the keys of this run are.
    keep: &'a Keep,
    /// What opened them.
    opener: Opener,
    /// Whether a token has keys of CAs.
    is_in_token: bool,
}

impl<'a> Scope<'a> {
    pub(super) fn of(shared: &'a Shared) -> Self {
        Self {
            home: &shared.home,
            keep: &shared.keep,
            opener: shared.kept.protection.opener,
            is_in_token: shared.keys.has_references(),
        }
    }

    /// What goes, in its order (KILL-16): everything in the folder but what is to stay. The program, if it goes, is last.
    pub(super) fn targets(&self, program: ProgramFate) -> Vec<Target> {
        let (home, place) = (self.home, self.keep.vault());
        let mut targets: Vec<Target> = self.key_files().iter().map(|path| Target::new(text(path))).collect();
        if self.opener == Opener::Tpm || place.tpm.sealed.exists() {
            // The TPM would open a copy of what it sealed.
            targets.push(Target::new(text(&place.tpm.sealed)));
        }
        targets.push(match self.only_key() {
            Some(key) => Target::sealed(text(&place.vault), text(&key)),
            None => Target::new(text(&place.vault)),
        });
        let folder = self.keep.folder().to_owned();
        let mut paths = vec![folder.clone(), beside(folder, ".new"), home.vaults(), home.store()];
        paths.extend(["-wal", "-shm", "-journal"].map(|ending| beside(home.store(), ending)));
        let stays = kept(home).map(|(path, _)| path);
        let unfinished = beside(home.kill_journal(), ".new");
        let mut rest: Vec<PathBuf> = fs::read_dir(home.folder())
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| !paths.contains(path) && !stays.contains(path) && *path != unfinished)
            .collect();
        rest.sort();
        paths.extend(rest);
        targets.extend(paths.iter().map(|path| Target::new(text(path))));
        // What a request that was under way has written meanwhile.
        targets.push(Target::new(format!("{}/", home.folder().display())));
        if program == ProgramFate::Delete {
            let own = fs::read_link("/proc/self/exe");
            targets.push(Target::new(own.map_or_else(|_| "/proc/self/exe".to_owned(), |path| text(&path))));
        }
        targets
    }

    /// What stays (KILL-19).
    pub(super) fn remaining(&self) -> Vec<String> {
        let mut left = kept(self.home).map(|(path, what)| format!("{}: {what}", path.display())).to_vec();
        match self.opener {
            Opener::KeyFile => left.extend(self.key_out_of_reach()),
            Opener::Credential => {
                left.push("the systemd credential of the keys: destroy it where it comes from".to_owned());
            }
            Opener::Tpm => {}
        }
        if self.is_in_token {
            left.push("the keys of the CAs in the token: destroy them there".to_owned());
        }
        left
    }

    /// Every place of a key file that is known: that of this run, the one in the folder, and what the settings say by now.
    fn key_files(&self) -> Vec<PathBuf> {
        let by_now = self.home.keep_at_the_end(None).vault().key_file;
        let mut files = Vec::with_capacity(3);
        for path in [self.keep.vault().key_file, self.keep.own_key_file(), by_now] {
            if !files.contains(&path) {
                files.push(path);
            }
        }
        files
    }

    /// The key file that opened the vault, if it is a file that can be destroyed and no other one is known.
    fn only_key(&self) -> Option<PathBuf> {
        let key = self.keep.vault().key_file;
        let is_there = |path: &PathBuf| !matches!(look(path), Err(e) if e.kind() == io::ErrorKind::NotFound);
        let others = self.key_files().into_iter().filter(|path| *path != key);
        let is_only = self.opener == Opener::KeyFile && look(&key).is_ok_and(|meta| meta.is_file());
        (is_only && !others.into_iter().any(|path| is_there(&path))).then_some(key)
    }

    /// In words, why the key that opened the vault is not destroyed.
    fn key_out_of_reach(&self) -> Option<String> {
        let path = self.keep.vault().key_file;
        let shown = path.display();
        match look(&path) {
            Ok(meta) if meta.is_file() => None,
            Ok(_) => {
                Some(format!("what the key file {shown} leads to: it is no file itself; destroy it there"))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Some(format!("the key file {shown}, which was not there: destroy it wherever it is"))
            }
            Err(error) => Some(format!("the key file {shown}: {}", reason(&error))),
        }
    }
}

/// What stays, and why.
pub(super) fn kept(home: &Home) -> [(PathBuf, &'static str); 5] {
    [
        (home.log(), "the log with its last checkpoint, as proof"),
        (home.death_notice(), "the signed notice"),
        (home.kill_report(), "this report"),
        (home.kill_journal(), "the journal of the kill switch, which refuses every start"),
        (home.folder().join("store.lock"), "an empty file"),
    ]
}

fn look(path: &Path) -> io::Result<fs::Metadata> {
    fs::symlink_metadata(path)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn beside(path: PathBuf, ending: &str) -> PathBuf {
    let mut name = path.into_os_string();
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;
    use crate::settings::Settings;

    /// An authority whose keys opened by the file `first`.
    fn opened(data: &TempDir) -> (Home, Keep, PathBuf) {
        let (home, key) = (Home::below(data.path()), data.path().join("first"));
        fs::create_dir_all(home.folder().join("keys")).unwrap();
        fs::write(&key, "key").unwrap();
        let settings = Settings { keys_file: Some(key.clone()), ..Settings::default() };
        let keep = home.keep(&settings, None);
        (home, keep, key)
    }

    fn key_of_vault(scope: &Scope<'_>) -> Option<String> {
        let targets = scope.targets(ProgramFate::Keep);
        let vault = targets.iter().find(|target| target.path.ends_with("keys/machine.json")).unwrap();
        vault.key.clone()
    }

    #[test]
    fn the_keys_go_as_they_opened_whatever_the_settings_say_by_now() {
        let data = tempfile::tempdir().unwrap();
        let (home, keep, key) = opened(&data);
        let scope = Scope { home: &home, keep: &keep, opener: Opener::KeyFile, is_in_token: false };
        assert_eq!(key_of_vault(&scope), Some(text(&key)));
        // Who changes the settings for the next start has put a copy of the key there.
        let next = data.path().join("next");
        fs::write(&next, "key").unwrap();
        fs::write(home.settings(), format!("keys_file: {}\n", next.display())).unwrap();
        let paths: Vec<_> = scope.targets(ProgramFate::Keep).into_iter().map(|target| target.path).collect();
        let own = home.folder().join("keys/machine.key");
        assert_eq!(paths.first_chunk(), Some(&[text(&key), text(&own), text(&next)]));
        // It is not the only key, so nothing more is said of the vault than of any file.
        assert_eq!(key_of_vault(&scope), None);
        fs::write(home.settings(), "keys_opener: credential\n").unwrap();
        assert_eq!(key_of_vault(&scope), Some(text(&key)));
        assert!(!scope.remaining().iter().any(|line| line.contains("credential")));
        let scope = Scope { opener: Opener::Credential, ..scope };
        fs::remove_file(home.settings()).unwrap();
        assert_eq!(key_of_vault(&scope), None);
        assert!(scope.remaining().iter().any(|line| line.contains("credential")));
    }

    #[test]
    fn a_key_file_that_cannot_be_destroyed_is_told() {
        let data = tempfile::tempdir().unwrap();
        let (home, keep, key) = opened(&data);
        let scope = Scope { home: &home, keep: &keep, opener: Opener::KeyFile, is_in_token: false };
        let told = || scope.remaining().into_iter().any(|line| line.contains(&text(&key)));
        assert!(!told());
        fs::remove_file(&key).unwrap();
        assert!(told() && key_of_vault(&scope).is_none(), "{:?}", scope.remaining());
        symlink("/dev/null", &key).unwrap();
        assert!(told() && key_of_vault(&scope).is_none(), "{:?}", scope.remaining());
    }
}
