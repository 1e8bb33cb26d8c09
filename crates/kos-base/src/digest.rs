//! SHA-256, and hashing of several parts such that no two lists of parts hash alike.

use aws_lc_rs::digest;

/// 32 bytes of SHA-256.
pub type Sha256 = [u8; 32];

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> Sha256 {
    let mut hash = Hasher::new();
    hash.update(bytes);
    hash.finish()
}

/// SHA-256 over `domain` and `parts`, each preceded by its length in bytes as a big-endian u64.
///
/// The domain names product, purpose and version (`kos device id v1`), so that a hash made for one purpose can
/// never stand in for another.
pub fn sha256_parts<'a>(domain: &str, parts: impl IntoIterator<Item = &'a [u8]>) -> Sha256 {
    let mut hash = Hasher::new();
    hash.part(domain.as_bytes());
    for part in parts {
        hash.part(part);
    }
    hash.finish()
}

struct Hasher(digest::Context);

impl Hasher {
    fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn part(&mut self, bytes: &[u8]) {
        self.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.update(bytes);
    }

    fn finish(self) -> Sha256 {
        let mut out = [0; 32];
        out.copy_from_slice(self.0.finish().as_ref());
        out
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    #[test]
    fn sha256_matches_fips_180_4() {
        assert_eq!(
            HEXLOWER.encode(&sha256(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn moving_a_boundary_between_parts_changes_the_hash() {
        let a: [&[u8]; 2] = [b"ab", b"c"];
        let b: [&[u8]; 2] = [b"a", b"bc"];
        assert_ne!(sha256_parts("kos test v1", a), sha256_parts("kos test v1", b));
        assert_ne!(sha256_parts("kos test v1", a), sha256_parts("kos test v2", a));
    }
}
