//! The image manifest: a signed list of the files that the image holds, checked at every boot.
//!
//! Shape: COSE_Sign1 with purpose [`MANIFEST`], at most [`MANIFEST_BYTES_MAX`] bytes; payload: deterministic CBOR, a map of
//! product (0), version (1) and files (2), each file an array of absolute path and SHA-256. Paths are looked up below
//! ROOT; at most [`FILES_MAX`].
//!
//! Invariants: `Verified` means that the signature is by the trusted signer and every listed file has its digest, now.
//! Altered in any way ends the boot; a manifest or a signer that is missing is reported, and ends it only if the
//! configuration says so.
//!
//! What it does not do: find files that the list does not name, or replace a verified boot of the firmware.
//!
//! Source: `docs/spec/enrolment.md` DEV.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use aws_lc_rs::digest;
use kos_base::{
    Code, PublicKey, cbor, code,
    cose::{CoseError, Purpose, Sealed},
    digest::sha256,
    text::base64,
};
use kos_identity::enrolment::message::Image;
use minicbor::{Decode, Encode, bytes::ByteArray};

use crate::{
    config::{Config, ManifestPolicy, RootedPath},
    root::{Root, RootError, file},
};

/// What the signature of a manifest is for.
pub const MANIFEST: Purpose =
    Purpose { domain: "kos image manifest v1", typ: "application/vnd.kos.image-manifest+cose" };
/// Longest manifest in bytes.
pub const MANIFEST_BYTES_MAX: usize = 1 << 20;
/// Most files that a manifest lists.
pub const FILES_MAX: usize = 8_192;

/// What a manifest says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Manifest {
    /// What the image is for.
    #[n(0)]
    pub product: String,
    /// Which version of it.
    #[n(1)]
    pub version: String,
    /// What it holds.
    #[n(2)]
    pub files: Vec<Listed>,
}

/// One file of the image.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Listed {
    /// Absolute; looked up below ROOT.
    #[n(0)]
    pub path: String,
    /// Of its content.
    #[n(1)]
    pub sha256: ByteArray<32>,
}

/// Why a boot ends here.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The manifest is not one, or not by the trusted signer.
    #[error("the image manifest is not genuine: {0}")]
    Manifest(#[from] CoseError),
    /// Genuine, but of a shape that this version does not know.
    #[error("the image manifest cannot be read: {0}")]
    Shape(String),
    /// A file is not the one that was signed.
    #[error("`{path}` is not the file that the image manifest lists")]
    Altered {
        /// As the manifest writes it.
        path: String,
    },
    /// There is no manifest or no trusted signer, and the configuration wants both.
    #[error("{0}, and image.policy is `require`")]
    Missing(&'static str),
    /// The trusted signer's file is not a public key.
    #[error("/etc/kos/image.pub is not the PEM of a public key")]
    Signer,
    /// The system refuses to read a file.
    #[error(transparent)]
    File(#[from] RootError),
}

impl ImageError {
    /// The stable code.
    pub fn code(&self) -> Code {
        match self {
            Self::File(error) => error.code(),
            Self::Signer => code::config::FILE_DAMAGED,
            _ => code::enrolment::IMAGE_ALTERED,
        }
    }
}

/// Checks the image of the device at `root`.
///
/// # Errors
/// When the boot must end.
///
/// *Cost*: reads every listed file once.
pub fn check(root: &Root, config: &Config) -> Result<Image, ImageError> {
    let unverified = |why| match config.image_policy {
        ManifestPolicy::Report => Ok(Image::Unverified),
        ManifestPolicy::Require => Err(ImageError::Missing(why)),
    };
    let Some(signed) = file::read(&root.image_manifest())? else {
        return unverified("there is no image manifest");
    };
    let Some(signer) = signer(root, config)? else {
        return unverified("there is no trusted signer of images");
    };
    let payload = Sealed::parse(&signed, MANIFEST_BYTES_MAX)?.verify(MANIFEST, &signer)?;
    let manifest: Manifest =
        cbor::decode(&payload, MANIFEST_BYTES_MAX).map_err(|error| ImageError::Shape(error.to_string()))?;
    if manifest.files.len() > FILES_MAX {
        return Err(ImageError::Shape(format!("lists more than {FILES_MAX} files")));
    }
    for listed in &manifest.files {
        let altered = || ImageError::Altered { path: kos_base::text::printable(&listed.path, 200) };
        let path: RootedPath = listed.path.parse().map_err(|_| altered())?;
        match hash(&path.below(root.folder())) {
            Ok(found) if found == *listed.sha256 => {}
            _ => return Err(altered()),
        }
    }
    Ok(Image::Verified(sha256(&signed).into()))
}

fn signer(root: &Root, config: &Config) -> Result<Option<PublicKey>, ImageError> {
    if let Some(key) = &config.image_signer {
        return Ok(Some(key.clone()));
    }
    let Some(pem) = file::read(&root.image_signer())? else { return Ok(None) };
    let text = core::str::from_utf8(&pem).map_err(|_| ImageError::Signer)?;
    let body = text.trim().strip_prefix("-----BEGIN PUBLIC KEY-----");
    let body =
        body.and_then(|body| body.strip_suffix("-----END PUBLIC KEY-----")).ok_or(ImageError::Signer)?;
    let joined: String = body.split_ascii_whitespace().collect();
    let der = base64(&joined).ok_or(ImageError::Signer)?;
    PublicKey::from_spki_der(&der).map(Some).map_err(|_| ImageError::Signer)
}

/// SHA-256 of a regular file. A named pipe or device in its place would hold up the boot for ever.
fn hash(path: &Path) -> io::Result<[u8; 32]> {
    let no_wait = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let mut file = File::options().read(true).custom_flags(no_wait).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; 65_536];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => context.update(buffer.get(..count).unwrap_or_default()),
        }
    }
    <[u8; 32]>::try_from(context.finish().as_ref()).map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use kos_base::{KeyAlgorithm, cose::Unsigned, key::SignatureForm};
    use kos_net::keys::SigningKey;

    use super::*;

    struct Device {
        folder: tempfile::TempDir,
        key: SigningKey,
    }

    impl Device {
        fn new() -> Self {
            let device = Self {
                folder: tempfile::tempdir().unwrap(),
                key: SigningKey::generate(KeyAlgorithm::Ed25519).unwrap(),
            };
            device.put("etc/kos/config.yaml", b"");
            device.put("usr/bin/kosd", b"the daemon");
            device.trust(&device.key);
            device
        }

        fn put(&self, path: &str, content: &[u8]) {
            let path = self.folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }

        fn trust(&self, key: &SigningKey) {
            let base64 = data_encoding::BASE64.encode(key.public().spki_der());
            let pem = format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----\n");
            self.put("etc/kos/image.pub", pem.as_bytes());
        }

        fn sign(&self, path: &str, content: &[u8]) -> Vec<u8> {
            let files = vec![Listed { path: path.to_owned(), sha256: sha256(content).into() }];
            let manifest = Manifest { product: "kitchen".to_owned(), version: "1.2".to_owned(), files };
            let unsigned = Unsigned::new(MANIFEST, self.key.public(), cbor::encode(&manifest));
            let signature = self.key.sign(SignatureForm::Fixed, &unsigned.to_be_signed()).unwrap();
            let signed = unsigned.finish(signature);
            self.put("etc/kos/image.manifest", &signed);
            signed
        }

        fn check_with(&self, config: &str) -> Result<Image, ImageError> {
            let config = Config::parse("config.yaml", config.as_bytes()).unwrap().config;
            check(&Root::new(self.folder.path(), &config), &config)
        }
    }

    #[test]
    fn a_genuine_image_is_verified_and_names_its_manifest() {
        let device = Device::new();
        let signed = device.sign("/usr/bin/kosd", b"the daemon");
        assert_eq!(device.check_with("").unwrap(), Image::Verified(sha256(&signed).into()));
        assert!(matches!(device.check_with("image: {policy: require}"), Ok(Image::Verified(_))));
    }

    #[test]
    fn an_altered_file_or_manifest_ends_the_boot() {
        let device = Device::new();
        let signed = device.sign("/usr/bin/kosd", b"the daemon");
        let refused = |what: &str| {
            let refused = device.check_with("").unwrap_err();
            assert_eq!(refused.code().exit().code(), 8, "{what}: {refused}");
        };
        for at in 0..signed.len() {
            let mut changed = signed.clone();
            changed[at] ^= 1;
            device.put("etc/kos/image.manifest", &changed);
            refused(&format!("byte {at}"));
        }
        device.put("etc/kos/image.manifest", &signed);
        device.put("usr/bin/kosd", b"the demon");
        refused("a changed file");
        fs::remove_file(device.folder.path().join("usr/bin/kosd")).unwrap();
        refused("a missing file");
        fs::create_dir(device.folder.path().join("usr/bin/kosd")).unwrap();
        refused("a folder");
        device.sign("/usr/../bin/kosd", b"the daemon");
        refused("a path that leaves");
    }

    #[test]
    fn a_manifest_by_another_signer_ends_the_boot() {
        let device = Device::new();
        device.sign("/usr/bin/kosd", b"the daemon");
        let other = SigningKey::generate(KeyAlgorithm::Ed25519).unwrap();
        device.trust(&other);
        assert!(matches!(device.check_with(""), Err(ImageError::Manifest(CoseError::OtherKey))));
        let signer = data_encoding::BASE64.encode(device.key.public().spki_der());
        let config = format!("image: {{signer: '{signer}'}}");
        assert!(matches!(device.check_with(&config), Ok(Image::Verified(_))), "the configuration wins");
        device.put("etc/kos/image.pub", b"nonsense");
        assert!(matches!(device.check_with(""), Err(ImageError::Signer)));
    }

    #[test]
    fn what_is_missing_is_reported_unless_the_configuration_wants_it() {
        let device = Device::new();
        assert_eq!(device.check_with("").unwrap(), Image::Unverified);
        assert!(matches!(device.check_with("image: {policy: require}"), Err(ImageError::Missing(_))));
        device.sign("/usr/bin/kosd", b"the daemon");
        fs::remove_file(device.folder.path().join("etc/kos/image.pub")).unwrap();
        assert_eq!(device.check_with("").unwrap(), Image::Unverified);
        assert!(matches!(device.check_with("image: {policy: require}"), Err(ImageError::Missing(_))));
    }
}
