//! What shares do: join when they are enough, and be refused in every other case for the right reason.
#![cfg(test)]

mod sample;

use kos_base::Secret;
use kos_shares::{Commitment, Identifier, Joiner, Passphrase, Plan, Progress, Share, ShareError, join};
use proptest::prelude::*;
use sample::{KEY, shares, shares_of, words};

fn check_refused(words: &[&str], why: &ShareError) {
    assert_eq!(&Share::parse(&words.join(" ")).unwrap_err(), why, "{words:?}");
}

/// The same share once more.
fn again(share: &Share) -> Share {
    Share::parse(share.to_words().expose()).unwrap()
}

fn pick(shares: &[Share], chosen: impl IntoIterator<Item = usize>) -> Vec<Share> {
    chosen.into_iter().map(|index| again(&shares[index])).collect()
}

fn joiner_with(shares: Vec<Share>) -> Joiner {
    let mut joiner = Joiner::new();
    for share in shares {
        joiner.add(share).unwrap();
    }
    joiner
}

#[test]
fn every_subset_of_up_to_five_shares_joins_exactly_when_it_has_the_threshold() {
    let plans = (1..=5).flat_map(|total| (1..=total).map(move |threshold| (threshold, total)));
    for (threshold, total) in plans.filter(|(threshold, total)| Plan::new(*threshold, *total).is_ok()) {
        let shares = shares(threshold, total, 1);
        assert_eq!(shares.len(), usize::from(total));
        for subset in 1_u32..1 << total {
            let chosen = (0..usize::from(total)).filter(|index| subset & (1 << index) != 0);
            let joined = join(pick(&shares, chosen));
            let expected = match u8::try_from(subset.count_ones()).unwrap() {
                given if given < threshold => Err(ShareError::Missing(threshold - given)),
                given if given > threshold => Err(ShareError::NotNeeded),
                _ => Ok(Secret::new(KEY)),
            };
            assert_eq!(joined, expected, "{threshold} of {total}, {subset:b}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_threshold_of_shares_in_any_order_joins_and_one_less_does_not(
        key: [u8; 32],
        seed: u64,
        (threshold, order) in (2_u8..=16).prop_flat_map(|total| {
            (2..=total, Just((0..usize::from(total)).collect::<Vec<_>>()).prop_shuffle())
        }),
    ) {
        let shares = shares_of(key, threshold, u8::try_from(order.len()).unwrap(), seed);
        let mut joiner = Joiner::new();
        for (given, index) in (1..).zip(order.iter().take(usize::from(threshold))) {
            prop_assert_eq!(joiner.join(), Err(ShareError::Missing(if given == 1 { 1 } else { threshold - given + 1 })));
            let progress = joiner.add(again(&shares[*index])).unwrap();
            let missing = threshold - given;
            prop_assert_eq!(progress, if missing == 0 { Progress::Complete } else { Progress::Missing(missing) });
        }
        prop_assert!(joiner.join() == Ok(Secret::new(key)));
    }
}

#[test]
fn a_share_has_33_words_and_says_its_place() {
    for (number, share) in (1..).zip(&shares(3, 5, 1)) {
        assert_eq!(words(share).split(' ').count(), 33);
        assert_eq!((share.number(), share.threshold()), (number, 3));
        assert_eq!(share.identifier(), shares(3, 5, 1)[0].identifier());
        assert_eq!(Identifier::from_random(share.identifier().to_bytes()), share.identifier());
        assert!(again(share) == *share);
    }
}

#[test]
fn words_are_read_however_they_are_set() {
    let share = &shares(2, 3, 1)[0];
    let text = words(share);
    for typed in
        [text.to_uppercase(), text.replace(' ', "\n"), format!("\t{}\r\n ", text.replace(' ', "   "))]
    {
        assert!(Share::parse(&typed).unwrap() == *share, "{typed:?}");
    }
}

/// The code is linear: what holds for the places of one share holds for every share of 33 words.
#[test]
fn every_change_of_one_word_is_refused() {
    let share = &shares(2, 3, 1)[1];
    let text = words(share);
    let list: Vec<&str> = include_str!("../src/words.txt").lines().collect();
    let right: Vec<&str> = text.split(' ').collect();
    let mut changed = 0;
    for place in 0..right.len() {
        for word in list.iter().filter(|word| **word != right[place]) {
            let mut words = right.clone();
            words[place] = word;
            check_refused(&words, &ShareError::Checksum);
            changed += 1;
        }
    }
    assert_eq!(changed, 33 * 1023);
}

#[test]
fn words_that_changed_places_are_refused() {
    let text = words(&shares(2, 3, 1)[0]);
    let right: Vec<&str> = text.split(' ').collect();
    for one in 0..right.len() {
        for other in (0..one).filter(|other| right[*other] != right[one]) {
            let mut words = right.clone();
            words.swap(one, other);
            check_refused(&words, &ShareError::Checksum);
        }
    }
}

#[test]
fn a_share_with_more_or_fewer_words_is_refused() {
    let text = words(&shares(2, 3, 1)[0]);
    let right: Vec<&str> = text.split(' ').collect();
    for count in 0..right.len() {
        let refused = Share::parse(&right[..count].join(" ")).unwrap_err();
        assert!(
            matches!(refused, ShareError::Length(found) if found == count) || refused == ShareError::Checksum
        );
    }
    check_refused(&[], &ShareError::Length(0));
    check_refused(&right[..19], &ShareError::Length(19));
    check_refused(&[right.as_slice(), &right[..1]].concat(), &ShareError::Length(34));
    check_refused(&vec!["academic"; 59], &ShareError::Checksum);
    // What is behind the last word that a share can have is not even looked at.
    check_refused(&[vec!["academic"; 60], vec!["nonsense"; 60]].concat(), &ShareError::Length(60));
}

#[test]
fn a_word_that_is_none_is_named_by_its_place() {
    let text = words(&shares(2, 3, 1)[0]);
    let typed = text.split(' ').enumerate().map(|(index, word)| if index == 6 { &word[..4] } else { word });
    let error = Share::parse(&typed.collect::<Vec<_>>().join(" ")).unwrap_err();
    let ShareError::Word(unknown) = &error else { panic!("{error:?}") };
    assert_eq!((unknown.position(), unknown.nearest()), (7, text.split(' ').nth(6)));
    assert_eq!(error.to_string(), "word 7 is not in the list of words");
}

#[test]
fn a_share_counts_once() {
    let shares = shares(3, 5, 1);
    let mut joiner = joiner_with(pick(&shares, [1]));
    assert_eq!(joiner.add(again(&shares[1])), Err(ShareError::Doubled));
    assert_eq!(joiner.progress(), Progress::Missing(2));
    joiner.add(again(&shares[4])).unwrap();
    assert_eq!(joiner.add(again(&shares[1])), Err(ShareError::Doubled));
    assert_eq!(joiner.add(again(&shares[0])), Ok(Progress::Complete));
    assert_eq!(joiner.add(again(&shares[2])), Err(ShareError::NotNeeded));
    assert_eq!(joiner.join(), Ok(Secret::new(KEY)));
}

#[test]
fn shares_of_an_older_sharing_are_refused_and_do_no_harm() {
    let (older, newer) = (shares(2, 3, 1), shares(2, 3, 2));
    assert_ne!(older[0].identifier(), newer[0].identifier());
    let mut joiner = joiner_with(pick(&newer, [0]));
    assert_eq!(joiner.add(again(&older[1])), Err(ShareError::OtherSet));
    assert_eq!(joiner.add(again(&newer[1])), Ok(Progress::Complete));
    assert_eq!(joiner.join(), Ok(Secret::new(KEY)));
}

#[test]
fn shares_with_other_thresholds_are_of_another_set() {
    // The same bytes, so that all else agrees.
    let (two, three) = (shares(2, 5, 1), shares(3, 5, 1));
    assert_eq!(two[0].identifier(), three[0].identifier());
    assert_eq!(joiner_with(pick(&two, [0])).add(again(&three[1])), Err(ShareError::OtherSet));
}

/// Two sharings that happen to draw the same identifier.
#[test]
fn shares_of_another_key_with_the_same_identifier_do_not_join() {
    let (one, other) = (shares(2, 3, 1), shares_of([9; 32], 2, 3, 1));
    assert_eq!(one[0].identifier(), other[0].identifier());
    assert_eq!(joiner_with(pick(&one, [0])).add(again(&other[0])), Err(ShareError::Contradicting));
    let mixed = vec![again(&one[0]), again(&other[1])];
    assert_eq!(join(mixed), Err(ShareError::Digest));
}

#[test]
fn commitments_let_in_the_shares_in_use_and_no_others() {
    let (older, newer) = (shares(2, 3, 1), shares(2, 3, 2));
    let commitments: Vec<Commitment> = newer.iter().map(Commitment::of).collect();
    let kept: Vec<Commitment> =
        commitments.iter().map(|commitment| Commitment::from_bytes(*commitment.as_bytes())).collect();
    let mut joiner = Joiner::for_vault(&kept);
    // Here the first share does not decide what the set is.
    assert_eq!(joiner.add(again(&older[0])), Err(ShareError::NotCurrent));
    assert_eq!(joiner.progress(), Progress::Missing(1));
    assert_eq!(joiner.add(again(&newer[2])), Ok(Progress::Missing(1)));
    // The same number and identifier do not help a share that was made up.
    assert_eq!(joiner.add(again(&shares_of([9; 32], 2, 3, 2)[0])), Err(ShareError::NotCurrent));
    assert_eq!(joiner.add(again(&newer[0])), Ok(Progress::Complete));
    assert_eq!(joiner.join(), Ok(Secret::new(KEY)));
    assert_eq!(Joiner::for_vault(&[]).add(again(&newer[0])), Err(ShareError::NotCurrent));
}

#[test]
fn commitments_differ_by_share_and_sharing() {
    let mut seen: Vec<String> = Vec::new();
    for share in shares(2, 3, 1).iter().chain(&shares(2, 3, 2)).chain(&shares_of([9; 32], 2, 3, 1)) {
        seen.push(Commitment::of(share).to_string());
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 9);
    assert_eq!(seen[0].len(), 64);
}

#[test]
fn nothing_prints_a_word_or_the_key() {
    let shares = shares(2, 3, 1);
    let joiner = joiner_with(pick(&shares, [0, 1]));
    let text = words(&shares[0]);
    let joined = joiner.join_guarded(&Passphrase::none());
    let printed = format!("{shares:?} {joiner:?} {joined:?} {:?}", shares[0].to_words());
    for word in text.split(' ') {
        assert!(!printed.to_lowercase().contains(word), "{word} in {printed}");
    }
    assert!(!printed.contains(&KEY[0].to_string()), "{printed}");
}

#[test]
fn a_passphrase_is_printable_ascii() {
    assert!(Passphrase::new(" correct horse~".to_owned()).is_ok());
    for bad in ["\n", "ü", "a\u{7f}"] {
        assert_eq!(Passphrase::new(bad.to_owned()).unwrap_err(), ShareError::Passphrase);
    }
}
