//! The key that a device of SEC-1 has of its own, beside the key of its certificate.
//!
//! The source asks for a pre-shared key of 256 bits there. TLS of ours has none from outside, and one for a whole fleet is
//! forbidden; so each device has one, which goes into whatever it proves over a connection: a certificate's key that was copied
//! is not enough to speak as the device.
//!
//! Shape: the authority remembers [`OwnKeys`], numbers and salts, and makes each key anew from them and a secret of its machine's
//! vault ([`Minted::key`]), so no key lies in its store. The device keeps [`HeldKeys`] in the vault of its machine, as
//! one value of at most [`HELD_BYTES_MAX`] bytes.
//!
//! Invariants: a key that the device has not shown yet never replaces one that it has ([`OwnKeys::confirm`] is the only way); a
//! device that keeps a new key keeps the one before. So wherever either end loses its power, they have one in common.
//!
//! What it does not do: it draws no salt, seals no key and sends none.
//!
//! Source: `docs/spec/own-key.md`; RFC 5869.

use core::fmt;

use aws_lc_rs::hmac;
use minicbor::{Decode, Encode, bytes::ByteArray};
use zeroize::Zeroize as _;

use crate::{DeviceId, Secret};

/// Longest value in which a device keeps its keys, in bytes: two numbers and two keys.
pub const HELD_BYTES_MAX: usize = 2 * (4 + 32);

/// How often a key is shown before another one. A link that broke off for a reason of its own looks like a refusal, and
/// another key would be an alarm.
pub const TRIES: usize = 2;

/// `info` of the HPKE that brings a key to its device (OWN-4).
pub const SEAL_INFO: &[u8] = b"kos own key v1";

/// The additional data under which a key is sealed: its number and the device (OWN-4).
pub fn seal_aad(device: &DeviceId, number: u32) -> Vec<u8> {
    [number.to_be_bytes().as_slice(), device.as_ref().as_bytes()].concat()
}

const DOMAIN: &[u8] = b"kos own key v1";

/// From what the authority makes one key of one device.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Minted {
    /// Its number among the device's own keys, from 1.
    #[n(0)]
    pub number: u32,
    /// Random. Worth nothing without the secret of the vault.
    #[n(1)]
    salt: ByteArray<32>,
}

impl Minted {
    /// The key: HKDF over `secret`, which lies in the vault of the machine alone, for this device, number and salt (OWN-3).
    pub fn key(&self, secret: &Secret<32>, device: &DeviceId) -> Secret<32> {
        let number = self.number.to_be_bytes();
        expand(secret.expose(), &[b"key", device.as_ref().as_bytes(), &number, self.salt.as_slice()])
    }
}

/// What an authority remembers of the own keys of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct OwnKeys {
    /// The one that the device has shown, without which it is refused.
    #[n(0)]
    current: Option<Minted>,
    /// The one that it is being given.
    #[n(1)]
    next: Option<Minted>,
    /// How many there were.
    #[n(2)]
    last: u32,
    /// The certificate that it had when the newest was made.
    #[n(3)]
    issue: u32,
}

impl OwnKeys {
    /// Whether a device with this certificate is to get a new one: none was made for the certificate, and none is on its way.
    pub const fn is_due(&self, issue: u32) -> bool {
        self.next.is_none() && self.issue != issue
    }

    /// Makes the next one, unless one is on its way. Returns its number.
    pub fn mint(&mut self, salt: [u8; 32], issue: u32) -> Option<u32> {
        if self.next.is_some() {
            return None;
        }
        self.last = self.last.saturating_add(1);
        self.issue = issue;
        self.next = Some(Minted { number: self.last, salt: ByteArray::from(salt) });
        Some(self.last)
    }

    /// The one that the device has shown.
    pub const fn current(&self) -> Option<&Minted> {
        self.current.as_ref()
    }

    /// The one that it is being given.
    pub const fn next(&self) -> Option<&Minted> {
        self.next.as_ref()
    }

    /// What the device may show, newest first. Nothing stands for no key at all, which counts until one was shown.
    pub fn accepted(&self) -> impl Iterator<Item = Option<&Minted>> {
        self.next.as_ref().map(Some).into_iter().chain(core::iter::once(self.current.as_ref()))
    }

    /// Whether the key with this number counts; nothing stands for no key.
    pub fn accepts(&self, number: Option<u32>) -> bool {
        self.accepted().any(|minted| minted.map(|minted| minted.number) == number)
    }

    /// Whether the device has, or is being given, a key.
    pub const fn is_begun(&self) -> bool {
        self.current.is_some() || self.next.is_some()
    }

    /// The device has shown the key with this number: the one before counts no more. False when that is known.
    pub fn confirm(&mut self, number: u32) -> bool {
        match self.next.take_if(|next| next.number == number) {
            Some(shown) => {
                self.current = Some(shown);
                true
            }
            None => false,
        }
    }

    /// Takes over that keys up to this number were made. False when that is known.
    pub fn catch_up(&mut self, made: u32) -> bool {
        let is_newer = made > self.last;
        self.last = self.last.max(made);
        is_newer
    }

    /// Forgets every key, since the device has come back by its identity key; numbers go on.
    pub fn begin_anew(&mut self) {
        *self = Self { last: self.last, ..Self::default() };
    }
}

/// The keys that a device keeps: the newest, and the one before.
#[derive(Default)]
pub struct HeldKeys {
    newest: Option<(u32, Secret<32>)>,
    before: Option<(u32, Secret<32>)>,
}

impl HeldKeys {
    /// Takes a key that the authority gave. False when it is the newest already.
    pub fn take(&mut self, number: u32, key: Secret<32>) -> bool {
        if self.newest.as_ref().is_some_and(|newest| *newest == (number, key_of(&key))) {
            return false;
        }
        self.before = self.newest.replace((number, key));
        true
    }

    /// Newest first.
    pub fn keys(&self) -> impl Iterator<Item = &(u32, Secret<32>)> {
        self.newest.iter().chain(&self.before)
    }

    /// Which to show after so many refusals: the newest, the one before, none, and from the beginning, each
    /// [`TRIES`] times. After a power cut the authority may know an earlier key (OWN-9).
    pub fn chosen(&self, refusals: usize) -> Option<&Secret<32>> {
        let count = self.keys().count();
        self.keys().nth(refusals / TRIES % (count + 1)).map(|(_, key)| key)
    }

    /// As the vault keeps them.
    pub fn to_bytes(&self) -> zeroize::Zeroizing<Vec<u8>> {
        let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(HELD_BYTES_MAX));
        for (number, key) in self.keys() {
            bytes.extend(number.to_be_bytes());
            bytes.extend(key.expose());
        }
        bytes
    }

    /// Reads them back. Nothing when these are no keys.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (entries, rest) = bytes.as_chunks::<36>();
        let read = |entry: &[u8; 36]| {
            let (number, key) = entry.split_first_chunk::<4>()?;
            Some((u32::from_be_bytes(*number), Secret::new(key.try_into().ok()?)))
        };
        if entries.len() > 2 || !rest.is_empty() {
            return None;
        }
        let mut entries = entries.iter();
        let newest = entries.next().map(read);
        let before = entries.next().map(read);
        Some(Self { newest: newest.flatten(), before: before.flatten() })
    }
}

fn key_of(key: &Secret<32>) -> Secret<32> {
    Secret::new(*key.expose())
}

impl fmt::Debug for HeldKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys().map(|(number, _)| number)).finish()
    }
}

/// What a proof is bound to when the device has a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The keys of a link (KLP-31).
    Link,
    /// What is signed for a renewal (PRF-3).
    Renewal,
}

/// What takes the place of what TLS exports for `purpose` (OWN-6): both ends make the same only with the same key.
pub fn mix(purpose: Purpose, exporter: &Secret<32>, key: &Secret<32>) -> Secret<32> {
    let mut both = [0; 64];
    let (one, two) = both.split_at_mut(32);
    one.copy_from_slice(exporter.expose());
    two.copy_from_slice(key.expose());
    let word: &[u8] = match purpose {
        Purpose::Link => b"link",
        Purpose::Renewal => b"renewal",
    };
    let mixed = expand(&both, &[word]);
    both.zeroize();
    mixed
}

/// HKDF with the domain as salt, for one block: RFC 5869, 2.3 with L = 32 is HMAC(PRK, info | 1). Each part of the info is
/// preceded by its length in one byte.
fn expand(input: &[u8], parts: &[&[u8]]) -> Secret<32> {
    let key = |bytes: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
    let root = hmac::sign(&key(DOMAIN), input);
    let mut context = hmac::Context::with_key(&key(root.as_ref()));
    for part in parts {
        context.update(&[u8::try_from(part.len()).unwrap_or(u8::MAX)]);
        context.update(part);
    }
    context.update(&[1]);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.sign().as_ref());
    let secret = Secret::new(bytes);
    bytes.zeroize();
    secret
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(last: char) -> DeviceId {
        format!("kdev-000000000000000{last}").parse().unwrap()
    }

    #[test]
    fn every_device_number_salt_and_secret_has_a_key_of_its_own() {
        let minted = |number, salt| Minted { number, salt: ByteArray::from([salt; 32]) };
        let key = |minted: &Minted, secret: u8, last| {
            *minted.key(&Secret::new([secret; 32]), &device(last)).expose()
        };
        let all = [
            key(&minted(1, 1), 7, '1'),
            key(&minted(2, 1), 7, '1'),
            key(&minted(1, 2), 7, '1'),
            key(&minted(1, 1), 8, '1'),
            key(&minted(1, 1), 7, '2'),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        assert_eq!(key(&minted(1, 1), 7, '1'), all[0]);
    }

    #[test]
    fn hkdf_is_that_of_the_rfc() {
        // A key of `tests/vectors/token/make.py`'s HKDF: salt and info as above.
        let made = mix(Purpose::Link, &Secret::new([1; 32]), &Secret::new([2; 32]));
        let root = aws_lc_rs::hkdf::Salt::new(aws_lc_rs::hkdf::HKDF_SHA256, DOMAIN)
            .extract(&[[1; 32], [2; 32]].concat());
        let mut wanted = [0; 32];
        let info: [&[u8]; 2] = [&[4], b"link"];
        root.expand(&info, aws_lc_rs::hkdf::HKDF_SHA256).unwrap().fill(&mut wanted).unwrap();
        assert_eq!(*made.expose(), wanted);
        let other = mix(Purpose::Renewal, &Secret::new([1; 32]), &Secret::new([2; 32]));
        assert_ne!(made, other);
    }

    #[test]
    fn what_a_device_holds_is_read_back_and_shows_nothing() {
        let mut held = HeldKeys::default();
        for (number, byte) in [(1, 1), (2, 2), (3, 3)] {
            assert!(held.take(number, Secret::new([byte; 32])));
            assert!(!held.take(number, Secret::new([byte; 32])));
        }
        let bytes = held.to_bytes();
        let numbers = |held: &HeldKeys| held.keys().map(|(number, _)| *number).collect::<Vec<_>>();
        assert_eq!((bytes.len(), numbers(&held)), (HELD_BYTES_MAX, vec![3, 2]));
        assert_eq!(numbers(&HeldKeys::from_bytes(&bytes).unwrap()), [3, 2]);
        assert_eq!(HeldKeys::from_bytes(&[]).unwrap().keys().count(), 0);
        for bad in [&bytes[1..], &[0; 35], &[0; 37], &[0; 108]] {
            assert!(HeldKeys::from_bytes(bad).is_none());
        }
        assert_eq!(format!("{held:?}"), "[3, 2]");
        // Each is shown twice before another one.
        let shown: Vec<_> = (0..7).map(|n| held.chosen(n).map(|key| key.expose()[0])).collect();
        let [newest, before] = [0, 1].map(|at| held.keys().nth(at).map(|(_, key)| key.expose()[0]));
        assert_eq!(shown, [newest, newest, before, before, None, None, newest]);
    }

    #[test]
    fn a_key_that_was_not_shown_replaces_none() {
        let mut keys = OwnKeys::default();
        let accepted =
            |keys: &OwnKeys| keys.accepted().map(|key| key.map(|key| key.number)).collect::<Vec<_>>();
        assert_eq!((keys.is_due(1), accepted(&keys)), (true, vec![None]));
        assert_eq!(keys.mint([1; 32], 1), Some(1));
        assert_eq!(
            (keys.mint([1; 32], 1), keys.is_due(2), accepted(&keys)),
            (None, false, vec![Some(1), None])
        );
        assert!(!keys.confirm(2) && keys.confirm(1) && !keys.confirm(1));
        assert_eq!((keys.is_due(1), keys.is_due(2), accepted(&keys)), (false, true, vec![Some(1)]));
        assert_eq!(keys.mint([2; 32], 2), Some(2));
        assert_eq!(accepted(&keys), [Some(2), Some(1)]);
        assert!(keys.accepts(Some(2)) && keys.accepts(Some(1)) && !keys.accepts(None));
        let mut shown = keys.clone();
        assert!(shown.confirm(2) && shown.accepts(Some(2)));
        assert!(!shown.accepts(Some(1)) && !shown.accepts(None), "what was replaced counts no more");
        // Of what the record does not know, the numbers go on.
        assert!(!keys.catch_up(2) && keys.catch_up(7));
        keys.begin_anew();
        assert_eq!((keys.is_due(3), accepted(&keys)), (true, vec![None]));
        assert_eq!(keys.mint([3; 32], 3), Some(8));
    }
}
