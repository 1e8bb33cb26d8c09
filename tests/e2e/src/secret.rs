//! Secrets of a fleet, and the search for them where they must not be: as bytes, and in each form that text gives them.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use data_encoding::{BASE64, BASE64URL, HEXLOWER, HEXUPPER};
use serde_json::{Value, json};

use crate::{judge, keys};

/// What DER puts in front of a private key of 32 or of 48 bytes.
const MARKS: [([u8; 2], usize); 2] = [([0x04, 0x20], 32), ([0x04, 0x30], 48)];

/// Bytes that are to stay where they are.
#[derive(Debug, PartialEq, Eq)]
pub struct Secret {
    name: String,
    forms: Vec<(&'static str, Vec<u8>)>,
}

impl Secret {
    /// At least 16 bytes that were drawn at random.
    ///
    /// # Errors
    /// When they are fewer, so that finding them could be chance.
    pub fn new(name: &str, bytes: &[u8]) -> Result<Self> {
        ensure!(bytes.len() >= 16, "{name}: too short to be looked for");
        let mut forms = vec![
            ("bytes", bytes.to_vec()),
            ("hexadecimal", HEXLOWER.encode(bytes).into_bytes()),
            ("hexadecimal", HEXUPPER.encode(bytes).into_bytes()),
        ];
        // Base64 looks different by where in a group of three the secret begins; whole groups alone are the same anywhere.
        for skipped in 0..3 {
            let inner = bytes.get(skipped..).unwrap_or_default();
            let whole = inner.get(..inner.len() / 3 * 3).unwrap_or_default();
            forms.push(("base64", BASE64.encode(whole).into_bytes()));
            forms.push(("base64url", BASE64URL.encode(whole).into_bytes()));
        }
        Ok(Self { name: name.to_owned(), forms })
    }

    /// Text that is a secret as it stands.
    ///
    /// # Errors
    /// When it is too short.
    pub fn text(name: &str, text: &str) -> Result<Self> {
        Self::new(name, text.as_bytes())
    }

    /// What only the holder of a ticket knows: the seed of its key.
    ///
    /// # Errors
    /// When it is not a ticket.
    pub fn of_ticket(ticket: &str) -> Result<Self> {
        let text = ticket.strip_prefix("kos1.").context("not a ticket")?;
        let bytes = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes())?;
        // An array: the authority's name of fewer than 24 bytes, 16 bytes of id, 32 bytes of seed.
        let name = usize::from(*bytes.get(1).context("an empty ticket")? & 0x1f);
        let seed = name + 2 + 17;
        ensure!(bytes.get(seed..seed + 2) == Some(&[0x58, 0x20]), "the ticket has another shape");
        Self::new("the seed of a ticket", bytes.get(seed + 2..seed + 34).context("a short ticket")?)
    }

    /// The private keys that a device holds now, as a reader in another language takes them out of its vault; and the key
    /// of that vault.
    ///
    /// # Errors
    /// When its files cannot be read.
    pub fn keys_of_device(root: &Path) -> Result<Vec<Self>> {
        let folder = root.join("etc/kos/secrets");
        let Machine { opener, entries } = Machine::open(&folder)?;
        let mut keys = vec![opener];
        for (name, value) in entries {
            let secret =
                if name.starts_with("agreement-") { Some(value.as_slice()) } else { private(&value) };
            keys.push(Self::new(&name, secret.with_context(|| format!("no key in {name}"))?)?);
        }
        // One in quarantine has that of its vault, its identity and its log.
        ensure!(keys.len() >= 3, "{} keys: a device has more", keys.len());
        Ok(keys)
    }

    /// The private keys of an authority, by its data folder.
    ///
    /// # Errors
    /// When its vault does not open by the key file beside it.
    pub fn keys_of_authority(data: &Path) -> Result<Vec<Self>> {
        keys::of_authority(data)?
            .into_iter()
            .map(|(name, bytes)| {
                let key = if name == keys::STORE { Some(bytes.as_slice()) } else { private(&bytes) };
                Self::new(&name, key.with_context(|| format!("no key in {name}"))?)
            })
            .collect()
    }

    /// What it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is in `bytes`, and in which form.
    pub fn places_in<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = (&'static str, usize)> + 'a {
        self.forms.iter().flat_map(move |(form, needle)| {
            memchr::memmem::find_iter(bytes, needle).map(move |at| (*form, at))
        })
    }

    /// Fails where the secret is in `bytes`.
    ///
    /// # Errors
    /// When it is; the message names it and the form.
    pub fn is_not_in(&self, place: &str, bytes: &[u8]) -> Result<()> {
        let first = self.places_in(bytes).next();
        ensure!(first.is_none(), "{} is in {place}, as {}", self.name, first.map_or("", |(form, _)| form));
        Ok(())
    }
}

/// The vault `machine` in a folder, as a reader in another language opens it.
struct Machine {
    /// The key that opens it.
    opener: Secret,
    /// Names and what they hold.
    entries: Vec<(String, Vec<u8>)>,
}

impl Machine {
    fn open(folder: &Path) -> Result<Self> {
        let key = fs::read_to_string(folder.join("machine.key"))?;
        let file = fs::read_to_string(folder.join("machine.json"))?;
        let given = json!([{"file": file, "unlock": {"key": key.trim_end()}}]).to_string();
        let said = judge::python("crates/kos-vault/tests/judge/vault.py", &given)?;
        let said: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
        let mut entries = Vec::new();
        for entry in said.get("entries").and_then(Value::as_array).context("no entries")? {
            let text = |at: usize| entry.get(at).and_then(Value::as_str).context("another form");
            entries.push((text(0)?.to_owned(), HEXLOWER.decode(text(5)?.as_bytes())?));
        }
        let opener = Secret::new("machine.key", &HEXLOWER.decode(key.trim_end().as_bytes())?)?;
        Ok(Self { opener, entries })
    }
}

/// The private key in a PKCS#8.
fn private(der: &[u8]) -> Option<&[u8]> {
    let at = |mark: &[u8; 2], length: usize| {
        let start = der.windows(2).position(|two| two == mark)? + 2;
        der.get(start..start + length)
    };
    MARKS.iter().find_map(|(mark, length)| at(mark, *length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_form_and_at_every_place() {
        let bytes: Vec<u8> = (0..32_u8).map(|n| n.wrapping_mul(151).wrapping_add(77)).collect();
        let secret = Secret::new("it", &bytes).unwrap();
        for padding in 0..4 {
            let whole = [vec![b'x'; padding], bytes.clone(), vec![b'y'; 2]].concat();
            for text in [BASE64.encode(&whole), BASE64URL.encode(&whole), HEXLOWER.encode(&whole)] {
                assert!(secret.is_not_in("there", text.as_bytes()).is_err(), "{padding}: {text}");
            }
            assert!(secret.is_not_in("there", &whole).is_err());
            assert!(secret.is_not_in("there", whole.get(..padding + 31).unwrap()).is_ok());
        }
        assert!(Secret::new("it", b"short").is_err());
    }
}
