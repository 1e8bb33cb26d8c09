//! Splits a key into words that people keep, and joins them again.
//!
//! Shape: a key of 32 bytes becomes [`Plan::total`] shares of 33 words, of which any [`Plan::threshold`] give the key back.
//! The words are those of [SLIP-39](https://github.com/satoshilabs/slips/blob/master/slip-0039.md), so that a tool of
//! somebody else joins them where nothing of ours is left; and the sets of such tools are joined here, also those with
//! groups, with a passphrase and from before the extendable flag.
//!
//! [`split`] makes shares, [`Sheet`] the page on which one is kept, [`Share`] reads and writes the words, [`Joiner`] takes
//! them back one by one, and [`Commitment`] is what a vault publishes of each.
//!
//! Invariants: a key comes out only of as many shares as its set asks for, all of one set and each given once. What reads
//! as a share is written in the same words. Secrets are wiped and shown by nothing but what says so in its name; no error
//! prints a word. Arithmetic on secrets has neither branches nor tables that depend on them. Looking a word up does: that
//! is done by whoever has the whole share before their eyes. Hostile input costs bounded work: [`WORDS_MAX`],
//! [`SHARES_MAX`] and [`ITERATION_EXPONENT_MAX`].
//!
//! What it does not do: draw random bytes, keep anything, know who holds what, or notice that a sheet was copied.
//!
//! Errors: [`ShareError`]; nearly all are told to the person who typed, who looks at the sheet again.
//!
//! ```
//! use kos_base::Secret;
//! use kos_shares::{FRESH_BYTES, Fresh, Identifier, Joiner, Plan, Share, split};
//!
//! // The shell draws these.
//! let fresh = Fresh { identifier: Identifier::from_random([1, 2]), bytes: Secret::new([3; FRESH_BYTES]) };
//! let shares = split(&Secret::new([4; 32]), Plan::new(2, 3)?, fresh)?;
//!
//! let mut joiner = Joiner::new();
//! for share in shares.iter().skip(1) {
//!     joiner.add(Share::parse(share.to_words().expose())?)?;
//! }
//! assert_eq!(joiner.join()?, Secret::new([4; 32]));
//! # Ok::<(), kos_shares::ShareError>(())
//! ```
//!
//! Source: `docs/spec/recovery.md` RCV-1 to RCV-26; vectors in `tests/vectors/slip39`; fuzz target `share`.

mod checksum;
mod cipher;
mod commitment;
mod field;
mod join;
mod share;
mod sheet;
mod split;
mod text;
mod word;

pub use cipher::Passphrase;
pub use commitment::Commitment;
pub use join::{Joiner, MasterSecret, Progress, join};
pub use share::{Identifier, Share};
pub use sheet::{Sheet, TEXT_CHARS_MAX};
pub use split::{FRESH_BYTES, Fresh, Plan, split};
pub use text::SecretText;
pub use word::UnknownWord;

use kos_base::{Code, approved::NotApproved, code};

/// Length of the key that we split, in bytes.
pub const KEY_BYTES: usize = 32;
/// Most shares of a group, and most groups of a set: four bits of the format.
pub const SHARES_MAX: u8 = 16;
/// Fewest words of a share: a secret of 128 bits.
pub const WORDS_MIN: usize = 20;
/// Most words of a share: a secret of 512 bits, the longest that wallets have. The format has no limit; a book of words
/// handed in as a share ends here.
pub const WORDS_MAX: usize = 59;
/// Most work that a share may ask for: 10 000 · 2^10 rounds of PBKDF2, some seconds. The format goes to 2^15, with which a
/// share that somebody made up keeps a processor busy for minutes.
pub const ITERATION_EXPONENT_MAX: u8 = 10;

/// Why shares are not made, read or joined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// A word that is in no share. Whoever typed it may be shown [`UnknownWord::nearest`].
    #[error(transparent)]
    Word(#[from] UnknownWord),
    /// So many words are no share, one was left out, or they are more than [`WORDS_MAX`].
    #[error("no share has {0} words; ours have 33")]
    Length(usize),
    /// Words were mistaken for others or stand in another order.
    #[error("the checksum does not hold: a word is another, or two changed places")]
    Checksum,
    /// The words hold together and still are no share: whoever made them erred.
    #[error("the share is malformed: {0}")]
    Malformed(&'static str),
    /// It belongs to another set than those given before.
    #[error("the share belongs to another set than those before it")]
    OtherSet,
    /// It is none of those that the vault has now: from an older sharing, of another vault, or made up.
    #[error("the share is not one of those that are in use now")]
    NotCurrent,
    /// The same share was given before.
    #[error("the share was given before")]
    Doubled,
    /// Another share with the same place in the set was given before; one of them is wrong.
    #[error("another share with the same number was given before")]
    Contradicting,
    /// The threshold, or that of its group, is reached already.
    #[error("enough shares were given before this one")]
    NotNeeded,
    /// There are fewer shares than the set asks for; at least so many more are needed.
    #[error("at least {0} more shares are needed")]
    Missing(u8),
    /// The shares contradict each other: one was made up, or two sharings have one identifier.
    #[error("the shares do not fit together")]
    Digest,
    /// They join to something that is no key of ours.
    #[error("the shares join to a secret of {0} bytes, a recovery key has {KEY_BYTES}")]
    NotAKey(usize),
    /// No such split can be made.
    #[error("no key can be split into {total} shares of which {threshold} are needed")]
    Plan {
        /// How many would be needed.
        threshold: u8,
        /// How many there would be.
        total: u8,
    },
    /// SLIP-39 passphrases are printable ASCII.
    #[error("the passphrase of a set has other characters than printable ASCII")]
    Passphrase,
    /// This build has the FIPS module, which does not approve of the cipher of shares.
    #[error(transparent)]
    NotApproved(#[from] NotApproved),
}

impl ShareError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Word(_) => code::share::SHARE_WORD,
            Self::Length(_) => code::share::SHARE_LENGTH,
            Self::Checksum => code::share::SHARE_CHECKSUM,
            Self::Malformed(_) => code::share::SHARE_MALFORMED,
            Self::OtherSet => code::share::SHARE_OTHER_SET,
            Self::NotCurrent => code::share::SHARE_NOT_CURRENT,
            Self::Doubled => code::share::SHARE_DOUBLED,
            Self::Contradicting => code::share::SHARE_CONTRADICTING,
            Self::NotNeeded => code::share::SHARE_NOT_NEEDED,
            Self::Missing(_) => code::share::SHARES_MISSING,
            Self::Digest => code::share::SHARES_DIGEST,
            Self::NotAKey(_) => code::share::SHARES_NO_KEY,
            Self::Plan { .. } => code::share::SHARE_PLAN,
            Self::Passphrase => code::share::SHARE_PASSPHRASE,
            Self::NotApproved(refusal) => refusal.code(),
        }
    }
}
