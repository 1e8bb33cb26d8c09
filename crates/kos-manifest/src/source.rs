//! The text of a manifest, before Cedar sees it: its name, its version, and how large and deep it is.
//!
//! Shape: Cedar text whose first line is `// manifest NAME VERSION`.
//!
//! Limits: [`TEXT_BYTES_MAX`], [`POLICIES_MAX`], [`POLICY_BYTES_MAX`], [`DEPTH_MAX`]; each is checked in one walk over the
//! text, without recursion, before anything is parsed.
//!
//! Source: `docs/spec/manifest.md` MAN-1 to MAN-4.

use kos_base::{
    SecurityProfile,
    digest::{Sha256, sha256_parts},
};

/// Longest text, in bytes. Stops a manifest from filling the memory of the authority.
pub const TEXT_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Most policies of a manifest, and of all that are in force. Stops decisions and lint from taking long.
pub const POLICIES_MAX: usize = 10_000;
/// Longest policy, in bytes. Stops chains of operators that are as deep as they are long.
pub(crate) const POLICY_BYTES_MAX: usize = 4_096;
/// Deepest nesting of brackets. Stops the stack of a parser from being used up.
pub(crate) const DEPTH_MAX: usize = 16;
/// Longest name of a manifest, in characters.
const NAME_CHARS_MAX: usize = 32;
/// Bytes of the first line that are looked at.
const HEADER_BYTES_MAX: usize = 128;

/// A text with a name and a version, in its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The name of the manifest.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// All of it.
    pub text: String,
}

/// Why a text is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It has no first line of ours.
    #[error("the first line is not `// manifest NAME VERSION`")]
    Header,
    /// The name.
    #[error("a name has 1 to {NAME_CHARS_MAX} characters of a-z, 0-9 and `-`")]
    Name,
    /// The name of something else.
    #[error("a manifest is not called like a security profile")]
    Profile,
    /// The version.
    #[error("a version is a number from 1 to {}", u32::MAX)]
    Version,
    /// Over a limit.
    #[error("{0}")]
    Limit(String),
}

impl Source {
    /// Looks at a text.
    ///
    /// # Errors
    /// When it has no header, or is over a limit.
    pub fn of(text: &str) -> Result<Self, SourceError> {
        if text.len() > TEXT_BYTES_MAX {
            let had = text.len();
            return Err(SourceError::Limit(format!("{had} bytes, and {TEXT_BYTES_MAX} are the most")));
        }
        let line = text.lines().next().filter(|line| line.len() <= HEADER_BYTES_MAX);
        let words = line.and_then(|line| line.strip_prefix("// manifest ")).ok_or(SourceError::Header)?;
        let mut words = words.split_ascii_whitespace();
        let (Some(name), Some(version), None) = (words.next(), words.next(), words.next()) else {
            return Err(SourceError::Header);
        };
        let version: u32 = version.parse().map_err(|_| SourceError::Version)?;
        if version == 0 {
            return Err(SourceError::Version);
        }
        if name.len() > NAME_CHARS_MAX || !is_name(name) {
            return Err(SourceError::Name);
        }
        if name.to_ascii_uppercase().parse::<SecurityProfile>().is_ok() {
            return Err(SourceError::Profile);
        }
        measure(text)?;
        Ok(Self { name: name.to_owned(), version: version.into(), text: text.to_owned() })
    }

    /// What names this very text.
    pub fn digest(&self) -> Sha256 {
        sha256_parts("kos policy manifest text v1", [self.text.as_bytes()])
    }
}

/// Whether it is a name of a manifest or a policy.
pub(crate) fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty() && name.chars().all(fits)
}

/// Walks over the text once: comments and strings count for length alone.
fn measure(text: &str) -> Result<(), SourceError> {
    let limit = |what: String| Err(SourceError::Limit(what));
    let (mut depth, mut policies, mut begun) = (0usize, 0usize, 0usize);
    let mut bytes = text.bytes().enumerate().peekable();
    let is_long = |at: usize, begun: usize| at.saturating_sub(begun) > POLICY_BYTES_MAX;
    let long = || SourceError::Limit(format!("a policy has more than {POLICY_BYTES_MAX} bytes"));
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'/' if bytes.peek().is_some_and(|(_, next)| *next == b'/') => {
                while bytes.next_if(|(_, next)| *next != b'\n').is_some() {}
                if depth == 0 {
                    // What stands between policies is not of one.
                    let is_between = text.get(begun..at).is_some_and(|before| before.trim().is_empty());
                    begun =
                        if is_between { bytes.peek().map_or(text.len(), |(next, _)| *next) } else { begun };
                }
            }
            b'"' => {
                while let Some((_, within)) = bytes.next() {
                    match within {
                        b'\\' => drop(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            b'(' | b'[' | b'{' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return limit(format!("brackets are nested deeper than {DEPTH_MAX}"));
                }
            }
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b';' if is_long(at, begun) => return Err(long()),
            b';' if depth == 0 => {
                policies += 1;
                begun = at + 1;
                if policies > POLICIES_MAX {
                    return limit(format!("more than {POLICIES_MAX} policies"));
                }
            }
            _ => {}
        }
        if is_long(at, begun) {
            return Err(long());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(rest: &str) -> bool {
        matches!(Source::of(&format!("// manifest a 1\n{rest}")), Err(SourceError::Limit(_)))
    }

    #[test]
    fn a_manifest_says_its_name_and_version_in_its_first_line() {
        let source = Source::of("// manifest quiet-nights 12\npermit(principal, action, resource);").unwrap();
        assert_eq!((source.name.as_str(), source.version), ("quiet-nights", 12));
        for bad in [
            "",
            "permit(principal, action, resource);",
            "// manifest a",
            "// manifest a 0",
            "// manifest a -1",
            "// manifest a 4294967296",
            "// manifest A 1",
            "// manifest sec-2 1",
            "// manifest a 1 2",
            "// manifest a/b 1",
        ] {
            assert!(Source::of(bad).is_err(), "{bad}");
        }
        assert!(Source::of(&format!("// manifest {} 1", "a".repeat(33))).is_err());
    }

    #[test]
    fn what_is_huge_or_deep_is_refused_before_it_is_parsed() {
        assert!(refused(&" ".repeat(TEXT_BYTES_MAX)));
        assert!(refused(&"(".repeat(DEPTH_MAX + 1)));
        assert!(!refused(&"(".repeat(DEPTH_MAX)));
        assert!(refused(&"x;".repeat(POLICIES_MAX + 1)));
        assert!(!refused(&"x;".repeat(POLICIES_MAX)));
        assert!(refused(&format!(
            "permit(principal, action, resource) when {{ {}true }};",
            "!".repeat(5_000)
        )));
        assert!(refused(&format!("x \"{}\";", "y".repeat(POLICY_BYTES_MAX))), "strings count for length");
        // Neither brackets in strings and comments, nor comments between policies.
        assert!(!refused(&format!("x \"{}\";", "(".repeat(100))));
        assert!(!refused(&format!("x \"\\\"{}\";", "(".repeat(100))));
        assert!(!refused(&format!("// {}\nx;", "(".repeat(5_000))));
    }
}
