//! What the authority has said over its link since it issued the certificate in service, and which of its signed
//! messages were heard. One small file, replaced whole, so that a message and its effect become durable together.
//!
//! Shape: CBOR in the form of [`crate::root::seal`], `standing` among the secrets: a kID is a token, and tokens are
//! nowhere else. kID and channel belong to one certificate and fall away with it; the memory of messages stays.
//!
//! Errors: a file that is damaged is named, told and not used. Everything in it comes again with the next heartbeat,
//! and what is not known to be new is refused meanwhile.
//!
//! Source: `docs/spec/klp.md` KLP-40, KLP-46, KLP-48.

use std::path::Path;

use kos_base::{
    Channel, EntryId, Timestamp,
    cbor::{self, CborError},
};
use kos_klp::{
    body::Alert,
    freshness::{GuardLimits, ReplayGuard},
};
use kos_policy::{
    grant::Usage,
    pairing::{Partner, Word},
};
use minicbor::{Decode, Encode, bytes::ByteVec};

use crate::root::{self, Kind, Root, RootError, file};

/// Its file in the folder of secrets. Up to version 0.1.0 it was in the state folder.
const FILE: &str = "standing";
/// Longest content in bytes: a kID, the windows of one sender, what the manifests say, and the bonds.
const BYTES_MAX: usize = 163_840;

/// What stands since the certificate with the number [`Standing::issue`] was issued.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Standing {
    /// Number of the certificate that it belongs to.
    #[n(0)]
    pub(crate) issue: u32,
    /// The authority's time when it was written.
    #[n(1)]
    pub(crate) told: Option<Timestamp>,
    /// The newest kID, if there is a newer one than that which came with the certificate.
    #[n(2)]
    pub(crate) kid: Option<ByteVec>,
    /// The firmware channel, if it was changed.
    #[n(3)]
    pub(crate) channel: Option<Channel>,
    /// [`ReplayGuard::to_bytes`]; nothing on a device that has never heard a signed message.
    #[n(4)]
    pub(crate) heard: Option<ByteVec>,
    /// The memory was lost: what was sent before this moment may have been heard.
    #[n(5)]
    pub(crate) lost_at: Option<Timestamp>,
    /// The last alert that the authority told of.
    #[n(6)]
    pub(crate) alert: Option<Alert>,
    /// The signed slice of the manifests that is in force here. It outlives the certificate.
    #[n(7)]
    pub(crate) policy: Option<ByteVec>,
    /// The signed bonds that are in force here: pairings and grants. They outlive the certificate.
    #[n(8)]
    pub(crate) bonds: Option<ByteVec>,
    /// What was said here of pairings and the authority does not know yet.
    #[n(9)]
    pub(crate) said: Option<Vec<Said>>,
    /// How often grants were used here.
    #[n(10)]
    pub(crate) used: Option<Vec<Used>>,
}

/// What was said here of a pairing.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Said {
    /// Which.
    #[n(1)]
    pub(crate) pairing: EntryId,
    /// With whom.
    #[n(2)]
    pub(crate) partner: Partner,
    /// What.
    #[n(3)]
    pub(crate) word: Word,
    /// When.
    #[n(4)]
    pub(crate) at: Timestamp,
}

/// How often a grant was used here.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Used {
    /// Which.
    #[n(1)]
    pub(crate) grant: EntryId,
    /// How often, and the highest number of a call.
    #[n(2)]
    pub(crate) usage: Usage,
}

impl Standing {
    /// Reads what stands at `root`; without a file, nothing does. A damaged one is told and forgotten. One that an
    /// earlier version left in the state folder comes into its place first.
    ///
    /// # Errors
    /// When the system refuses to read it.
    pub(crate) fn load(root: &Root, now: Timestamp) -> Result<Self, RootError> {
        let path = root.secrets().join(FILE);
        let former = root.state().join(FILE);
        if let Some(bytes) = file::read(&former)? {
            if file::read(&path)?.is_none() {
                file::replace(&path, &bytes, file::PRIVATE)?;
            }
            file::remove(&former)?;
        }
        let Some(bytes) = file::read(&path)? else { return Ok(Self::default()) };
        let content = root::open(Kind::Standing, &path, &bytes);
        let read = content.ok().and_then(|content| cbor::decode::<Self>(content, BYTES_MAX).ok());
        let whole = |read: &Self| read.heard.as_ref().is_none_or(|heard| guard_of(heard).is_ok());
        Ok(read.filter(whole).unwrap_or_else(|| {
            tracing::error!(file = %path.display(), "damaged; what it held comes with the next heartbeat");
            Self { lost_at: Some(now), ..Self::default() }
        }))
    }

    /// The same for the certificate with the number `issue`.
    #[must_use]
    pub(crate) fn under(self, issue: u32) -> Self {
        if self.issue == issue { self } else { Self { issue, kid: None, channel: None, ..self } }
    }

    /// Replaces the file in the folder `secrets`, durably.
    ///
    /// # Errors
    /// When the system refuses; what stood before still stands.
    pub(crate) fn store(&self, secrets: &Path) -> Result<(), RootError> {
        file::replace(&secrets.join(FILE), &root::seal(Kind::Standing, &cbor::encode(self)), file::PRIVATE)
    }

    /// Which signed messages were heard.
    pub(crate) fn memory(&self) -> ReplayGuard {
        match (self.heard.as_ref().and_then(|heard| guard_of(heard).ok()), self.lost_at) {
            (Some(guard), _) => guard,
            (None, None) => ReplayGuard::new(GuardLimits::DEVICE),
            (None, Some(at)) => ReplayGuard::forgetful(GuardLimits::DEVICE, at),
        }
    }
}

fn guard_of(heard: &[u8]) -> Result<ReplayGuard, CborError> {
    ReplayGuard::from_bytes(GuardLimits::DEVICE, heard)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::Config;

    const NOW: Timestamp = Timestamp::from_unix_s(1_800_000_000);

    fn standing() -> Standing {
        Standing {
            issue: 3,
            told: Some(NOW),
            kid: Some(vec![1; 300].into()),
            channel: Some(Channel::Beta),
            heard: Some(ReplayGuard::new(GuardLimits::DEVICE).to_bytes().into()),
            lost_at: None,
            alert: None,
            policy: Some(vec![2; 49_152].into()),
            bonds: Some(vec![3; 49_152].into()),
            said: None,
            used: None,
        }
    }

    fn root(folder: &Path) -> Root {
        let root = Root::new(folder, &Config::parse("config.yaml", b"").unwrap().config);
        root.prepare().unwrap();
        root
    }

    #[test]
    fn what_stands_is_read_back_and_only_the_memory_outlives_the_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let root = root(folder.path());
        assert_eq!(Standing::load(&root, NOW).unwrap(), Standing::default());
        standing().store(root.secrets()).unwrap();
        let read = Standing::load(&root, NOW).unwrap();
        assert_eq!(read, standing());
        assert_eq!(read.clone().under(3), read);
        let next = read.under(4);
        assert_eq!((next.kid, next.channel), (None, None));
        assert_eq!((next.heard, next.policy), (standing().heard, standing().policy));
    }

    #[test]
    fn a_file_of_an_earlier_version_comes_among_the_secrets_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = root(folder.path());
        standing().store(&root.state()).unwrap();
        assert_eq!(Standing::load(&root, NOW).unwrap(), standing());
        let newer = Standing { issue: 4, ..standing() };
        newer.store(root.secrets()).unwrap();
        // As when the power went between the two steps.
        standing().store(&root.state()).unwrap();
        assert_eq!(Standing::load(&root, NOW).unwrap(), newer);
        assert_eq!(fs::read_dir(root.state()).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_file_is_forgotten_and_the_memory_counts_as_lost() {
        let folder = tempfile::tempdir().unwrap();
        let root = root(folder.path());
        standing().store(root.secrets()).unwrap();
        let path = root.secrets().join(FILE);
        let genuine = fs::read(&path).unwrap();
        for at in 0..genuine.len() {
            let mut changed = genuine.clone();
            changed[at] ^= 4;
            fs::write(&path, changed).unwrap();
            let read = Standing::load(&root, NOW).unwrap();
            assert_eq!(read, Standing { lost_at: Some(NOW), ..Standing::default() }, "byte {at}");
        }
    }
}
