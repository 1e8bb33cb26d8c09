//! Slots: the master key, wrapped for one secret each.
//!
//! Every kind of slot comes down to a slot secret of 32 bytes. From it and the slot's salt follow a commitment, which stands
//! in the file and is compared first, and the key that wraps the master key. GCM alone would let a slot open under several
//! secrets.
//!
//! What it does not do: ask for passphrases, fetch keys from files, TPMs or people. [`KeySource`] only says where a key is.
//!
//! Source: KV-11 to KV-18, KV-34 to KV-36; RFC 7748.

use core::fmt;

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use kos_base::{
    AgreementKey, Secret, Timestamp,
    approved::{Algorithm, Mode},
    digest::{Sha256, sha256_parts},
};

use crate::{
    Passkey, PasskeySlot, Passphrase, PrfOutput, SlotName, VaultError, Work,
    fresh::Draws,
    keys::{SingleUse, derive, same},
    version::Owner,
};

const HEAD: &str = "kos vault v1 slot";
const COMMITMENT: &str = "kos vault v1 commitment";
const WRAP: &str = "kos vault v1 wrap";
const SEALED: &str = "kos vault v1 sealed slot";

/// Where the secret of a key slot comes from; for people to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file that only root reads.
    File,
    /// A systemd credential.
    Credential,
    /// Sealed by a TPM.
    Tpm,
    /// A PKCS#11 token or a security key.
    Token,
    /// Put together from the shares of several people.
    Shares,
}

impl KeySource {
    pub(crate) const ALL: [Self; 5] = [Self::File, Self::Credential, Self::Tpm, Self::Token, Self::Shares];

    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Credential => "credential",
            Self::Tpm => "tpm",
            Self::Token => "token",
            Self::Shares => "shares",
        }
    }
}

/// An X25519 key that lies somewhere else, and opens what was sealed to its public half.
pub struct OfflineKey(PrivateKey);

impl OfflineKey {
    /// Takes the 32 bytes of the private key.
    ///
    /// # Errors
    /// [`VaultError::Fault`] when the library refuses them; it takes any. [`VaultError::NotApproved`] in the build with the
    /// FIPS module.
    pub fn new(bytes: &Secret<32>) -> Result<Self, VaultError> {
        Mode::BUILT.admit(Algorithm::X25519)?;
        PrivateKey::from_private_key(&X25519, bytes.expose()).map(Self).map_err(|_| VaultError::Fault)
    }

    /// The public half, which slots are written for.
    ///
    /// # Errors
    /// [`VaultError::Fault`].
    pub fn recipient(&self) -> Result<AgreementKey, VaultError> {
        let public = self.0.compute_public_key().map_err(|_| VaultError::Fault)?;
        public.as_ref().try_into().map(AgreementKey).map_err(|_| VaultError::Fault)
    }

    /// The shared secret; `None` when it is zero, which a key of small order makes it.
    pub fn agree(&self, peer: &AgreementKey) -> Option<Secret<32>> {
        let peer = UnparsedPublicKey::new(&X25519, peer.0);
        agree(&self.0, peer, (), |shared| shared.try_into().map(Secret::new).map_err(|_| ())).ok()
    }
}

impl fmt::Debug for OfflineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OfflineKey(..)")
    }
}

/// What an offline key and the ephemeral key of one slot agree on: it opens that slot, and nothing else of the same offline
/// key. So the key itself need not go where the vault is.
pub struct Agreed(Secret<32>);

impl Agreed {
    /// Takes it over; `None` when it is zero, which a key of small order makes it.
    pub fn new(bytes: Secret<32>) -> Option<Self> {
        (!same(bytes.expose(), &[0; 32])).then_some(Self(bytes))
    }
}

impl fmt::Debug for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Agreed(..)")
    }
}

/// What the holder of an offline key has to know of its slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfflineSlot {
    /// The slot's name.
    pub name: SlotName,
    /// For whom it was written.
    pub recipient: AgreementKey,
    /// With which key the recipient's agrees.
    pub ephemeral: AgreementKey,
}

/// What a new slot is for.
#[derive(Clone, Copy, Debug)]
pub enum NewSlot<'a> {
    /// Whoever knows a passphrase, at this cost of a guess.
    Passphrase(&'a Passphrase, Work),
    /// Whoever has 256 random bits.
    Key(&'a Secret<32>, KeySource),
    /// Whoever has the private key to this public one.
    Offline(AgreementKey),
    /// Whoever has this passkey, which gave that.
    Passkey(&'a Passkey, &'a PrfOutput),
}

/// What opens a vault.
#[derive(Clone, Copy, Debug)]
pub enum Unlock<'a> {
    /// A passphrase.
    Passphrase(&'a Passphrase),
    /// 256 bits, wherever they came from.
    Key(&'a Secret<32>),
    /// An offline key. Anybody can write a vault for one: compare the head before you believe it (KV-18).
    Offline(&'a OfflineKey),
    /// What an offline key agreed on with the slot; the same warning.
    Agreed(&'a Agreed),
    /// What a passkey gave for the salt of its slot.
    Passkey(&'a PrfOutput),
}

/// What a slot says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotInfo {
    /// Its name.
    pub name: SlotName,
    /// What opens it.
    pub kind: SlotKind,
    /// When it was first written.
    pub created: Timestamp,
}

/// What opens a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// A passphrase, at this cost of a guess.
    Passphrase(Work),
    /// 256 bits, from there.
    Key(KeySource),
    /// The private key to this public one.
    Offline(AgreementKey),
    /// A passkey; which one, [`Sealed::passkey_slots`](crate::Sealed::passkey_slots) says.
    Passkey,
}

/// What is needed, beside the secret, to come to the slot secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) info: SlotInfo,
    pub(crate) salt: [u8; 32],
    /// Of an offline slot; zeros otherwise, and then not in the file.
    pub(crate) ephemeral: [u8; 32],
    /// Of a slot of a passkey, and of no other.
    pub(crate) passkey: Option<Passkey>,
    pub(crate) commitment: [u8; 32],
    pub(crate) iv: [u8; 12],
    pub(crate) wrapped: [u8; 32],
    pub(crate) tag: [u8; 16],
}

impl Slot {
    /// Wraps the master key.
    pub(crate) fn write(
        owner: Owner<'_>,
        info: SlotInfo,
        secret: Writing<'_>,
        master: &[u8; 32],
        draws: &Draws,
    ) -> Result<Self, VaultError> {
        let place = [info.name.as_str().as_bytes()];
        let salt = *draws.draw("slot salt", &place)?.expose();
        let iv = *draws.draw("slot iv", &place)?.expose();
        let (mut ephemeral, mut passkey) = ([0; 32], None);
        let secret = match secret {
            Writing::Passphrase(passphrase, work) => work.derive(passphrase, &salt)?,
            Writing::Key(secret) => Secret::new(*secret.expose()),
            Writing::Offline(recipient) => {
                let key = OfflineKey::new(&draws.draw("slot ephemeral", &place)?)?;
                ephemeral = key.recipient()?.0;
                key.agree(&recipient).ok_or(VaultError::WrongSecret)?
            }
            Writing::Passkey(which, output) => {
                passkey = Some(which.clone());
                Secret::new(*output.0.expose())
            }
        };
        let (commitment, wrapped, tag) = ([0; 32], [0; 32], [0; 16]);
        let mut slot = Self { info, salt, ephemeral, passkey, commitment, iv, wrapped, tag };
        let head = slot.head(owner);
        slot.commitment = *slot.follow(&secret, COMMITMENT, &head)?.expose();
        let mut text = *master;
        slot.tag = SingleUse::new(slot.follow(&secret, WRAP, &head)?).seal(&iv, head, &mut text)?;
        slot.wrapped = text;
        Ok(slot)
    }

    /// What the holder of its key has to know, if it is an offline slot.
    pub(crate) fn offline(&self) -> Option<OfflineSlot> {
        let SlotKind::Offline(recipient) = self.info.kind else { return None };
        let ephemeral = AgreementKey(self.ephemeral);
        Some(OfflineSlot { name: self.info.name.clone(), recipient, ephemeral })
    }

    /// What whoever asks its passkey has to know, if it is the slot of one.
    pub(crate) fn passkey(&self) -> Option<PasskeySlot> {
        let passkey = self.passkey.clone()?;
        Some(PasskeySlot { name: self.info.name.clone(), passkey })
    }

    /// Whether it is of the kind that `unlock` could open.
    pub(crate) const fn is_for(&self, unlock: Unlock<'_>) -> bool {
        matches!(
            (self.info.kind, unlock),
            (SlotKind::Passphrase(_), Unlock::Passphrase(_))
                | (SlotKind::Key(_), Unlock::Key(_))
                | (SlotKind::Offline(_), Unlock::Offline(_) | Unlock::Agreed(_))
                | (SlotKind::Passkey, Unlock::Passkey(_))
        )
    }

    /// The master key; `None` when the secret is not that of this slot.
    ///
    /// *Cost*: that of the passphrase, for a passphrase slot.
    pub(crate) fn open(
        &self,
        owner: Owner<'_>,
        unlock: Unlock<'_>,
    ) -> Result<Option<Secret<32>>, VaultError> {
        let Some(secret) = self.secret(unlock)? else { return Ok(None) };
        let head = self.head(owner);
        if !same(self.follow(&secret, COMMITMENT, &head)?.expose(), &self.commitment) {
            return Ok(None);
        }
        let key = SingleUse::new(self.follow(&secret, WRAP, &head)?);
        let opened = key.open(&self.iv, &head, &self.wrapped, &self.tag)?;
        // The commitment held, so the secret is right: the wrapped key was changed.
        let master = opened.and_then(|master| master.as_slice().try_into().ok());
        master.map(|master| Some(Secret::new(master))).ok_or(VaultError::Forged)
    }

    /// Part of the root (KV-25).
    pub(crate) fn digest(&self, owner: Owner<'_>) -> Sha256 {
        let head = self.head(owner);
        let parts: [&[u8]; 5] = [&head, &self.commitment, &self.iv, &self.wrapped, &self.tag];
        sha256_parts(SEALED, parts)
    }

    /// The slot secret (KV-13); `None` when `unlock` is of another kind.
    fn secret(&self, unlock: Unlock<'_>) -> Result<Option<Secret<32>>, VaultError> {
        match (self.info.kind, unlock) {
            (SlotKind::Passphrase(work), Unlock::Passphrase(passphrase)) => {
                work.derive(passphrase, &self.salt).map(Some)
            }
            (SlotKind::Key(_), Unlock::Key(secret)) => Ok(Some(Secret::new(*secret.expose()))),
            (SlotKind::Offline(_), Unlock::Offline(key)) => Ok(key.agree(&AgreementKey(self.ephemeral))),
            (SlotKind::Offline(_), Unlock::Agreed(agreed)) => {
                Mode::BUILT.admit(Algorithm::X25519)?;
                Ok(Some(Secret::new(*agreed.0.expose())))
            }
            (SlotKind::Passkey, Unlock::Passkey(output)) => Ok(Some(Secret::new(*output.0.expose()))),
            _ => Ok(None),
        }
    }

    fn follow(&self, secret: &Secret<32>, label: &str, head: &Sha256) -> Result<Secret<32>, VaultError> {
        derive(&self.salt, secret.expose(), label, &[head])
    }

    /// KV-14, KV-35.
    fn head(&self, owner: Owner<'_>) -> Sha256 {
        let number = |n: u32| u64::from(n).to_be_bytes().to_vec();
        let (kind, own): (&str, Vec<Vec<u8>>) = match self.info.kind {
            SlotKind::Passphrase(work) => {
                let (algorithm, numbers) = match work {
                    Work::Argon2id { iterations, memory_kib, parallelism } => {
                        (Work::ARGON2ID, [iterations, memory_kib, parallelism])
                    }
                    Work::Pbkdf2 { iterations } => (Work::PBKDF2, [iterations, 0, 0]),
                };
                let [iterations, memory, lanes] = numbers.map(number);
                ("passphrase", vec![algorithm.as_bytes().to_vec(), iterations, memory, lanes])
            }
            SlotKind::Key(source) => ("key", vec![source.as_str().as_bytes().to_vec()]),
            SlotKind::Offline(recipient) => ("offline", vec![recipient.0.to_vec(), self.ephemeral.to_vec()]),
            SlotKind::Passkey => ("passkey", self.passkey.as_ref().map(parts).unwrap_or_default()),
        };
        let created = self.info.created.unix_ms().to_be_bytes();
        let common: [&[u8]; 5] = [
            owner.vault.as_bytes(),
            owner.environment.as_str().as_bytes(),
            self.info.name.as_str().as_bytes(),
            &created,
            kind.as_bytes(),
        ];
        let own = own.iter().map(Vec::as_slice);
        sha256_parts(HEAD, common.into_iter().chain(own).chain([self.salt.as_slice()]))
    }
}

/// What the head of its slot has of a passkey.
fn parts(passkey: &Passkey) -> Vec<Vec<u8>> {
    let relying_party = passkey.relying_party().as_str().as_bytes();
    vec![passkey.credential().to_vec(), relying_party.to_vec(), passkey.prf_salt().to_vec()]
}

/// The secret for which a slot is written; its kind is that of the slot's info.
#[derive(Clone, Copy)]
pub(crate) enum Writing<'a> {
    Passphrase(&'a Passphrase, Work),
    Key(&'a Secret<32>),
    Offline(AgreementKey),
    Passkey(&'a Passkey, &'a PrfOutput),
}

impl<'a> NewSlot<'a> {
    /// Refuses a passphrase or work that protects too little.
    pub(crate) fn admit(self) -> Result<(SlotKind, Writing<'a>), VaultError> {
        match self {
            Self::Passphrase(passphrase, work) => {
                passphrase.admit()?;
                work.admit_written()?;
                Ok((SlotKind::Passphrase(work), Writing::Passphrase(passphrase, work)))
            }
            Self::Key(secret, source) => Ok((SlotKind::Key(source), Writing::Key(secret))),
            Self::Offline(recipient) => Ok((SlotKind::Offline(recipient), Writing::Offline(recipient))),
            Self::Passkey(passkey, output) => Ok((SlotKind::Passkey, Writing::Passkey(passkey, output))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Environment, Fresh, VaultId};

    fn check(kind: SlotKind, writing: Writing<'_>, right: Unlock<'_>, wrong: Unlock<'_>) {
        let (vault, other) = (VaultId::from_bytes([1; 16]), VaultId::from_bytes([2; 16]));
        let environment: Environment = "machine".parse().unwrap();
        let owner = Owner { vault: &vault, environment: &environment };
        let info = SlotInfo { name: "a".parse().unwrap(), kind, created: Timestamp::from_unix_ms(1) };
        let master = Secret::new([5; 32]);
        let draws = Fresh::new(Secret::new([6; 32])).draws();
        let slot = Slot::write(owner, info, writing, master.expose(), &draws).unwrap();

        assert_eq!(slot.open(owner, right).unwrap().as_ref(), Some(&master));
        assert_eq!(slot.open(owner, wrong), Ok(None), "the commitment tells a wrong secret");
        let elsewhere = Owner { vault: &other, environment: &environment };
        assert_eq!(slot.open(elsewhere, right), Ok(None), "the commitment holds in this vault only");
        let other_commitment = Slot { commitment: [0; 32], ..slot.clone() };
        assert_eq!(other_commitment.open(owner, right), Ok(None), "nothing is opened without its commitment");
        let mut renamed = slot.clone();
        renamed.info.name = "b".parse().unwrap();
        assert_eq!(renamed.open(owner, right), Ok(None));
        let mut changed = slot;
        changed.wrapped[0] ^= 1;
        assert_eq!(changed.open(owner, right), Err(VaultError::Forged));
    }

    #[test]
    fn a_key_opens_its_slot() {
        let (right, wrong) = (Secret::new([3; 32]), Secret::new([4; 32]));
        check(SlotKind::Key(KeySource::Tpm), Writing::Key(&right), Unlock::Key(&right), Unlock::Key(&wrong));
    }

    #[test]
    fn an_offline_key_opens_its_slot() {
        let [right, wrong] = [3, 4].map(|byte| OfflineKey::new(&Secret::new([byte; 32])).unwrap());
        let recipient = right.recipient().unwrap();
        let unlocks = (Unlock::Offline(&right), Unlock::Offline(&wrong));
        check(SlotKind::Offline(recipient), Writing::Offline(recipient), unlocks.0, unlocks.1);
    }

    #[test]
    fn a_passkey_opens_its_slot_and_all_that_is_said_of_it_counts() {
        let [right, wrong] = [3, 4].map(|byte| PrfOutput::new(Secret::new([byte; 32])).unwrap());
        let passkey = |id: u8, domain: &str, salt: u8| {
            Passkey::new(vec![id; 16], domain.parse().unwrap(), [salt; 32]).unwrap()
        };
        let told = passkey(8, "localhost", 9);
        let writing = Writing::Passkey(&told, &right);
        check(SlotKind::Passkey, writing, Unlock::Passkey(&right), Unlock::Passkey(&wrong));
        let key = Secret::new([3; 32]);
        check(SlotKind::Passkey, writing, Unlock::Passkey(&right), Unlock::Key(&key));

        let (vault, environment) = (VaultId::from_bytes([1; 16]), "machine".parse().unwrap());
        let owner = Owner { vault: &vault, environment: &environment };
        let kind = SlotKind::Passkey;
        let info = SlotInfo { name: "a".parse().unwrap(), kind, created: Timestamp::from_unix_ms(1) };
        let draws = Fresh::new(Secret::new([6; 32])).draws();
        let slot = Slot::write(owner, info, writing, &[7; 32], &draws).unwrap();
        assert_eq!(slot.passkey().unwrap().passkey, told);
        for other in
            [passkey(7, "localhost", 9), passkey(8, "localhost.example", 9), passkey(8, "localhost", 8)]
        {
            let edited = Slot { passkey: Some(other), ..slot.clone() };
            assert_eq!(edited.open(owner, Unlock::Passkey(&right)), Ok(None));
        }
    }

    /// The bytes that begin there and count up to the next multiple of 16, over and over.
    fn run<const N: usize>(from: u8) -> [u8; N] {
        core::array::from_fn(|at| from + u8::try_from(at % 16).unwrap())
    }

    #[test]
    fn a_passkey_leads_to_the_keys_of_kv_37() {
        let environment = "default".parse().unwrap();
        let owner = Owner { vault: &VaultId::from_bytes(run(0)), environment: &environment };
        let created = Timestamp::from_unix_ms(1_795_170_000_007);
        let info = SlotInfo { name: "blue key".parse().unwrap(), kind: SlotKind::Passkey, created };
        let passkey = Passkey::new(run::<16>(0xa0).to_vec(), "localhost".parse().unwrap(), run(0xb0));
        let output = PrfOutput::new(Secret::new(run(0xd0))).unwrap();
        let writing = Writing::Passkey(passkey.as_ref().unwrap(), &output);
        let draws = Fresh::new(Secret::new([6; 32])).draws();
        let slot = Slot::write(owner, info, writing, &[7; 32], &draws).unwrap();
        let slot = Slot { salt: run(0xc0), ..slot };
        let head = slot.head(owner);
        let follow = |label| *slot.follow(&output.0, label, &head).unwrap().expose();
        let hex = |bytes: [u8; 32]| data_encoding::HEXLOWER.encode(&bytes);
        assert_eq!(hex(head), "87ac1d7953d3fa414011b0245660e49e09c4e8783d9ddef295bf888fde8d49cc");
        assert_eq!(
            hex(follow(COMMITMENT)),
            "6e354fc55bfeb70e95ecf49231d69082f690cb22f3775726ea58bda8a1c07e50"
        );
        assert_eq!(hex(follow(WRAP)), "480e2091a316e1f63674c4bb3d3371bcc90de8778275364704ecad1551b12045");
    }

    #[test]
    fn a_passphrase_opens_its_slot() {
        let [right, wrong] = ["correct horse", "battery staple"]
            .map(|text| Passphrase::new(zeroize::Zeroizing::new(text.to_owned())).unwrap());
        for work in [
            Work::Argon2id { iterations: 2, memory_kib: 19_456, parallelism: 1 },
            Work::Pbkdf2 { iterations: 220_000 },
        ] {
            let unlocks = (Unlock::Passphrase(&right), Unlock::Passphrase(&wrong));
            check(SlotKind::Passphrase(work), Writing::Passphrase(&right, work), unlocks.0, unlocks.1);
        }
    }

    #[test]
    fn what_an_offline_key_agreed_on_opens_the_slot_and_zero_is_refused() {
        let others = [3, 4].map(|byte| Agreed::new(Secret::new([byte; 32])).unwrap());
        assert!(Agreed::new(Secret::new([0; 32])).is_none());
        let key = OfflineKey::new(&Secret::new([5; 32])).unwrap();
        let recipient = key.recipient().unwrap();
        let (vault, environment) = (VaultId::from_bytes([1; 16]), "machine".parse().unwrap());
        let owner = Owner { vault: &vault, environment: &environment };
        let kind = SlotKind::Offline(recipient);
        let info = SlotInfo { name: "a".parse().unwrap(), kind, created: Timestamp::from_unix_ms(1) };
        let draws = Fresh::new(Secret::new([6; 32])).draws();
        let master = Secret::new([7; 32]);
        let slot = Slot::write(owner, info, Writing::Offline(recipient), master.expose(), &draws).unwrap();
        let told = slot.offline().unwrap();
        assert_eq!(told.recipient, recipient);
        let agreed = Agreed::new(key.agree(&told.ephemeral).unwrap()).unwrap();
        assert_eq!(slot.open(owner, Unlock::Agreed(&agreed)).unwrap(), Some(master));
        for other in &others {
            assert_eq!(slot.open(owner, Unlock::Agreed(other)), Ok(None));
        }
    }

    #[test]
    fn a_recipient_of_small_order_is_refused() {
        let key = OfflineKey::new(&Secret::new([3; 32])).unwrap();
        assert!(key.agree(&AgreementKey([0; 32])).is_none());
    }
}
