//! Recovery shares: reading ends, what was read is written in the same words, no wrong word is printed, shares join only
//! when they are enough, and a sheet with any names holds no tag that we did not write.

use kos_base::Timestamp;
use kos_shares::{Commitment, Joiner, Passphrase, Plan, Progress, Share, ShareError, Sheet};

use crate::Verdict;

/// The first share that `kos-shares` makes of a key of nines, as the tests of the corpora say.
const OURS: &str = include_str!("../../../fuzz/corpus/share/ours");

/// Most shares that are collected: more than any set needs.
const SHARES_MAX: usize = 40;

/// Reads the bytes as shares, one a line, as names on a sheet, and as slips of the pen.
pub fn run(bytes: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(bytes);
    check_sheet(&text);
    check_slips(bytes);
    check_shares(&text)
}

fn check_shares(text: &str) -> Verdict {
    let mut joiner = Joiner::new();
    let mut verdict = Verdict::Refused;
    for line in text.lines().take(SHARES_MAX) {
        let share = Share::parse(line);
        verdict = verdict.or(Verdict::of(&share));
        let Ok(share) = share else { continue };
        let words: Vec<String> = line.split_whitespace().map(str::to_ascii_lowercase).collect();
        assert_eq!(share.to_words().expose(), words.join(" "));
        assert_eq!(Joiner::for_vault(&[]).add(copy(&share)), Err(ShareError::NotCurrent));
        assert!(Joiner::for_vault(&[Commitment::of(&share)]).add(copy(&share)).is_ok());

        let before = joiner.progress();
        let after = joiner.add(share);
        match after {
            Ok(progress) => assert_eq!(progress, joiner.progress()),
            Err(_) => assert_eq!(before, joiner.progress(), "a refused share changes nothing"),
        }
    }
    let joined = joiner.join_guarded(&Passphrase::none());
    match joiner.progress() {
        Progress::Missing(count) => assert_eq!(joined, Err(ShareError::Missing(count))),
        Progress::Complete => assert!(matches!(joined, Ok(_) | Err(ShareError::Digest))),
    }
    verdict
}

/// Two bytes are a slip: which word, and which of the others was written in its place. Up to three are always noticed, but
/// in the second word, which says what kind of code it is.
fn check_slips(bytes: &[u8]) {
    let share = ours();
    let words = share.to_words();
    let right: Vec<&str> = words.expose().split(' ').collect();
    let mut slipped = right.clone();
    for slip in bytes.chunks_exact(2).take(3) {
        let [place, other] = slip else { continue };
        let (place, other) = (usize::from(*place) % right.len(), usize::from(*other) % right.len());
        if place == 1 {
            continue;
        }
        if let (Some(at), Some(word)) = (slipped.get_mut(place), right.get(other)) {
            *at = word;
        }
    }
    assert_eq!(Share::parse(&slipped.join(" ")).is_ok(), slipped == right);
}

fn check_sheet(name: &str) {
    let share = ours();
    let plan = Plan::new(2, 3).expect("a plan");
    let made_at = Timestamp::from_unix_s(1_795_170_000);
    let sheet = Sheet { share: &share, vault: name, holder: name, plan, made_at };
    let plain = Sheet { vault: "", holder: "", ..sheet };
    let tags = |sheet: &Sheet<'_>| sheet.to_html().expose().matches(['<', '>']).count();
    assert_eq!(tags(&sheet), tags(&plain));
    let lines = |sheet: &Sheet<'_>| sheet.to_text().expose().split(['\n', '\r']).count();
    assert_eq!(lines(&sheet), lines(&plain));
}

/// A share of a set of ours that is the same in every run.
fn ours() -> Share {
    Share::parse(OURS).expect("the corpus holds it")
}

fn copy(share: &Share) -> Share {
    Share::parse(share.to_words().expose()).expect("what was written is read")
}
