//! Stable error codes: `KOS-E` and four digits, never reused.
//!
//! Every failure that a person or program can meet has one. The code carries its title, the exit code of the command
//! line and one fix, so that `kosctl explain` works without a server and `docs/reference/errors.md` is written from
//! the same table. Areas: 00 use and config, 01 store, 02 enrolment, 03 certificates, 04 KLP, 05 audit, 06 vault,
//! 07 policy and attestation, 08 vouchers, tokens of requests, pairings, grants, rights and lists, 09 the build with the
//! FIPS module.

pub mod access;
pub mod approved;
pub mod attest;
pub mod audit;
pub mod certificate;
pub mod config;
pub mod enrolment;
pub mod hardware;
pub mod kill;
pub mod klp;
pub mod lists;
pub mod manifest;
pub mod pairing;
pub mod policy;
pub mod quarantine;
pub mod second;
pub mod share;
pub mod store;
pub mod token;
pub mod vault;
pub mod voucher;

use core::fmt;

/// What a program's exit tells its caller. Frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// Anything without a kind of its own.
    Other = 1,
    /// The caller asked for something that makes no sense.
    Usage = 2,
    /// The thing is not there.
    NotFound = 3,
    /// Not signed in; who is and lacks rights is refused.
    NotSignedIn = 4,
    /// Refused by a rule.
    Refused = 5,
    /// Somebody else changed it, or it is so already in another way.
    Conflict = 6,
    /// Unreachable or overloaded; try later.
    Unreachable = 7,
    /// A signature, chain or pin failed; never retried.
    Trust = 8,
    /// Partly done.
    Partly = 9,
    /// A check says no.
    CheckFailed = 10,
}

impl Exit {
    /// All of them, by number.
    pub const ALL: [Self; 10] = [
        Self::Other,
        Self::Usage,
        Self::NotFound,
        Self::NotSignedIn,
        Self::Refused,
        Self::Conflict,
        Self::Unreachable,
        Self::Trust,
        Self::Partly,
        Self::CheckFailed,
    ];

    /// The process's exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Other => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::NotSignedIn => 4,
            Self::Refused => 5,
            Self::Conflict => 6,
            Self::Unreachable => 7,
            Self::Trust => 8,
            Self::Partly => 9,
            Self::CheckFailed => 10,
        }
    }

    /// The status with which the HTTP API reports it.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Other | Self::CheckFailed | Self::Partly => 500,
            Self::Usage => 400,
            Self::NotFound => 404,
            Self::NotSignedIn => 401,
            Self::Refused | Self::Trust => 403,
            Self::Conflict => 409,
            Self::Unreachable => 503,
        }
    }
}

/// One failure of the table.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    number: u16,
    title: &'static str,
    exit: Exit,
    fix: &'static str,
}

impl Code {
    pub(crate) const fn new(number: u16, title: &'static str, exit: Exit, fix: &'static str) -> Self {
        Self { number, title, exit, fix }
    }

    /// The four digits.
    pub const fn number(self) -> u16 {
        self.number
    }

    /// What happened, in one lower-case sentence.
    pub const fn title(self) -> &'static str {
        self.title
    }

    /// How a program that meets it ends.
    pub const fn exit(self) -> Exit {
        self.exit
    }

    /// The one thing to try first.
    pub const fn fix(self) -> &'static str {
        self.fix
    }

    /// Every code, by number.
    pub fn all() -> impl Iterator<Item = Self> {
        let areas = [
            config::ALL,
            store::ALL,
            enrolment::ALL,
            certificate::ALL,
            klp::ALL,
            audit::ALL,
            vault::ALL,
            share::ALL,
            hardware::ALL,
            kill::ALL,
            policy::ALL,
            attest::ALL,
            quarantine::ALL,
            manifest::ALL,
            voucher::ALL,
            token::ALL,
            pairing::ALL,
            access::ALL,
            second::ALL,
            lists::ALL,
            approved::ALL,
        ];
        areas.into_iter().flatten().copied()
    }

    /// The code written `KOS-E0231`, `E0231`, `0231` or `231`.
    pub fn find(text: &str) -> Option<Self> {
        let digits = text.trim_start_matches("KOS-").trim_start_matches(['E', 'e']);
        let number: u16 = digits.parse().ok()?;
        Self::all().find(|c| c.number == number)
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Code {}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KOS-E{:04}", self.number)
    }
}

/// Declares the codes of one area: constants, and `ALL` in the same order.
macro_rules! codes {
    ($($(#[$meta:meta])* $name:ident = $number:literal, $title:literal, $exit:ident, $fix:literal;)+) => {
        $(
            #[doc = $title]
            pub const $name: $crate::Code =
                $crate::Code::new($number, $title, $crate::code::Exit::$exit, $fix);
        )+
        pub(super) const ALL: &[$crate::Code] = &[$($name,)+];
    };
}
use codes;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_are_never_shared() {
        let numbers: Vec<_> = Code::all().map(Code::number).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    }

    #[test]
    fn titles_and_fixes_follow_the_house_style() {
        for code in Code::all() {
            let lower = code.title().chars().next().is_some_and(|c| {
                !c.is_uppercase() || code.title().starts_with("CSR") || code.title().starts_with("CRL")
            });
            assert!(lower && !code.title().ends_with('.'), "{code}: {}", code.title());
            assert!(!code.fix().is_empty(), "{code}");
        }
    }

    #[test]
    fn a_code_is_found_however_it_is_typed() {
        for text in ["KOS-E0201", "E0201", "0201", "201"] {
            assert_eq!(Code::find(text).map(Code::number), Some(201), "{text}");
        }
        assert!(Code::find("9999").is_none());
    }
}
