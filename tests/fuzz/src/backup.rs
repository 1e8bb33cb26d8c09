//! Any bytes as the archive inside a backup: refused, or exactly the files of its manifest.

use kos_backup::{Member, unpack_archive};

use crate::Verdict;

/// Takes the bytes apart.
pub fn run(bytes: &[u8]) -> Verdict {
    let mut taken = Vec::new();
    let read = unpack_archive(bytes, |name, content| {
        let mut sink = Vec::new();
        content.read_to_end(&mut sink)?;
        taken.push((name.clone(), u64::try_from(sink.len()).unwrap_or(u64::MAX)));
        Ok(())
    });
    let total: u64 = taken.iter().map(|(_, bytes)| bytes).sum();
    assert!(total <= u64::try_from(bytes.len()).unwrap_or(u64::MAX), "more came out than went in");
    for (name, _) in &taken {
        assert_eq!(name.as_str().parse::<Member>().as_ref(), Ok(name));
        assert!(
            !name.as_str().starts_with('/') && !name.as_str().split('/').any(|part| part.starts_with('.'))
        );
    }
    if let Ok(manifest) = &read {
        let listed = manifest.files.iter().map(|file| (file.name.clone(), file.bytes));
        let (mut listed, mut taken): (Vec<_>, _) = (listed.collect(), taken);
        listed.sort();
        taken.sort();
        assert_eq!(listed, taken);
    }
    Verdict::of(&read)
}
