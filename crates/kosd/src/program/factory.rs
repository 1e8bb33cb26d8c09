//! `kosd factory` and `kosd vouch`: what is done before a device meets its authority.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use data_encoding::BASE64;
use kos_api::{
    routes::LOCAL_VOUCH,
    voucher::{Vouch, VouchFor},
};
use kos_base::{KeyId, SecurityProfile, code, text::reason};
use kosd::{life, socket::Asker};

use super::{Failure, options, print, show::root};

/// Longest grant in bytes.
const GRANT_BYTES_MAX: u64 = 4096;

/// Prints the public half of the identity key, which it makes if there is none. Text before the PEM block is the key's id.
pub(super) fn factory(folder: &Path) -> Result<(), Failure> {
    let key = life::factory(folder, options())?;
    let text = BASE64.encode(key.spki_der());
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    let pem = lines.join("\n");
    print(&format!("{}\n-----BEGIN PUBLIC KEY-----\n{pem}\n-----END PUBLIC KEY-----\n", key.id()))
}

/// What a running device is asked to say.
pub(super) struct Word<'a> {
    pub(super) grant: &'a Path,
    pub(super) key: KeyId,
    pub(super) profile: SecurityProfile,
    pub(super) hours: u64,
    pub(super) out: &'a Path,
}

pub(super) async fn vouch(folder: &Path, word: Word<'_>) -> Result<(), Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::new(code::config::FILE_UNREADABLE, format!("{}: {}", word.grant.display(), reason(&error)))
    };
    let mut grant = Vec::new();
    let file = File::open(word.grant).map_err(unreadable)?;
    file.take(GRANT_BYTES_MAX).read_to_end(&mut grant).map_err(unreadable)?;
    let request = VouchFor {
        grant: BASE64.encode(&grant),
        key_id: word.key,
        profile: word.profile,
        lifetime_seconds: word.hours.saturating_mul(3600),
    };
    let body =
        serde_json::to_vec(&request).map_err(|e| Failure::new(code::config::INTERNAL, e.to_string()))?;
    let asker = Asker::connect(&root(folder)?.socket()).await?;
    let said: Vouch = asker.ask(&LOCAL_VOUCH, body).await?;
    let signed = BASE64.decode(said.file.as_bytes());
    let signed = signed.map_err(|error| Failure::new(code::config::INTERNAL, error.to_string()))?;
    let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(word.out);
    let written = written.and_then(|mut file| file.write_all(&signed));
    written.map_err(|error| {
        Failure::new(code::config::FILE_UNWRITABLE, format!("{}: {}", word.out.display(), reason(&error)))
    })?;
    print(&format!("{} may come in as {} until {}\n", said.key_id, word.profile, said.expires_at))
}
