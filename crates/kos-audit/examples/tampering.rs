//! Writes `tests/vectors/audit/tampering` anew: `cargo run -p kos-audit --example tampering`.
#![expect(clippy::disallowed_methods, reason = "writes the vectors that others read")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a generator of tests")]

#[path = "../tests/written/tampered.rs"]
mod tampered;
#[path = "../tests/written/mod.rs"]
mod written;

use std::{fs, path::Path};

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/audit/tampering");
    drop(fs::remove_dir_all(&folder));
    for (path, bytes) in tampered::folder() {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}
