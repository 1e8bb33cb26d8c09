//! `klp://host/path?query#fragment`, with one normal form.
//!
//! A parser of our own, because generic URL parsers treat unknown schemes each in their own way: whether `..` is
//! resolved, a host lower-cased, a port dropped. Here two addresses are equal when their normal forms are equal bytes,
//! and what would need interpretation (user information, ports, dot segments, repeated query keys) is refused.
//!
//! Not here: what a host resolves to, and who may be reached; names are looked up by the shell, certificates decide.
//!
//! Limits: [`ADDRESS_BYTES_MAX`] and those of KLP-6 and KLP-7; each stops an address from costing more than its share
//! of a message or a table. Errors: the text came from a person or a stranger; show the reason, do not guess.
//!
//! Source: `docs/spec/klp.md` KLP-1 to KLP-9; RFC 3986; `tests/vectors/klp/addresses.txt`; fuzz target `klp_address`.

mod host;

use core::{fmt, str::FromStr};

use kos_base::Code;

pub(crate) use self::host::is_dns_name;
pub use self::host::{Host, NodeId};

/// Longest address, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 1024;
/// Longest path, in bytes.
pub const PATH_BYTES_MAX: usize = 512;
/// Most segments of a path.
pub const PATH_SEGMENTS_MAX: usize = 16;
/// Longest query, in bytes.
pub const QUERY_BYTES_MAX: usize = 512;
/// Most pairs of a query.
pub const QUERY_PAIRS_MAX: usize = 16;
/// Longest fragment, in bytes.
pub const FRAGMENT_BYTES_MAX: usize = 128;

const SCHEME: &str = "klp";

/// An address in its normal form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: Host,
    path: String,
    query: Option<String>,
    fragment: Option<String>,
}

/// Why a text is not an address. [`AddressError::word`] is the name that the vector file uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Over a limit.
    #[error("address, path, query or fragment is too long")]
    TooLong,
    /// Does not begin with `klp://`.
    #[error("the address does not begin with `klp://`")]
    Scheme,
    /// No host, or one that is neither a kDNS name nor `node~` and a node id.
    #[error("the host is neither a kDNS name nor `node~` and a node id")]
    Host,
    /// Has user information.
    #[error("an address has no user information")]
    UserInfo,
    /// Has a port.
    #[error("an address has no port")]
    Port,
    /// A character that must be percent-encoded, or is not ASCII.
    #[error("a character that must be percent-encoded")]
    Character,
    /// A `%` without two hex digits, or bytes that are not UTF-8.
    #[error("percent-encoding that does not give UTF-8")]
    PercentEncoding,
    /// A control character, encoded.
    #[error("an encoded control character")]
    Control,
    /// `.`, `..` or an empty segment.
    #[error("a path segment that is empty, `.` or `..`")]
    Segment,
    /// An empty or repeated query key.
    #[error("a query key that is empty or repeated")]
    QueryKey,
}

impl AddressError {
    /// Name of the reason in `tests/vectors/klp/addresses.txt`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::TooLong => "too-long",
            Self::Scheme => "scheme",
            Self::Host => "host",
            Self::UserInfo => "user-info",
            Self::Port => "port",
            Self::Character => "character",
            Self::PercentEncoding => "percent-encoding",
            Self::Control => "control",
            Self::Segment => "segment",
            Self::QueryKey => "query-key",
        }
    }

    /// The stable code.
    pub const fn code(self) -> Code {
        kos_base::code::klp::KLP_ADDRESS
    }
}

impl Address {
    /// The root of a host.
    pub fn root(host: Host) -> Self {
        Self { host, path: "/".to_owned(), query: None, fragment: None }
    }

    /// The host.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The path, beginning with `/`, percent-encoded.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The segments of the path, decoded. The root has one empty segment, a path that ends in `/` a last empty one.
    pub fn segments(&self) -> impl Iterator<Item = String> {
        self.path.split('/').skip(1).map(decoded)
    }

    /// The query, percent-encoded.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The pairs of the query, decoded. A bare key has no value.
    pub fn pairs(&self) -> impl Iterator<Item = (String, Option<String>)> {
        self.query.iter().flat_map(|query| query.split('&')).map(|pair| match pair.split_once('=') {
            Some((key, value)) => (decoded(key), Some(decoded(value))),
            None => (decoded(pair), None),
        })
    }

    /// The fragment, percent-encoded. For the sender's own use.
    pub fn fragment(&self) -> Option<&str> {
        self.fragment.as_deref()
    }

    /// What may be sent: the normal form without the fragment (KLP-8).
    pub fn wire_form(&self) -> String {
        let (mark, query) = self.query.as_deref().map_or(("", ""), |query| ("?", query));
        format!("{SCHEME}://{}{}{mark}{query}", self.host, self.path)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.wire_form())?;
        self.fragment.iter().try_for_each(|fragment| write!(f, "#{fragment}"))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        if s.len() > ADDRESS_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        let (scheme, rest) = s.split_once("://").ok_or(AddressError::Scheme)?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(AddressError::Scheme);
        }
        let (rest, fragment) = split_optional(rest, '#');
        let (rest, query) = split_optional(rest, '?');
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        Ok(Self {
            host: parse_host(host)?,
            path: normal_path(path)?,
            query: query.map(normal_query).transpose()?,
            fragment: fragment.map(|text| normal(text, FRAGMENT_BYTES_MAX)).transpose()?,
        })
    }
}

/// Splits at the first `mark`; nothing behind it is the same as no mark.
fn split_optional(text: &str, mark: char) -> (&str, Option<&str>) {
    match text.split_once(mark) {
        Some((before, after)) => (before, Some(after).filter(|after| !after.is_empty())),
        None => (text, None),
    }
}

fn parse_host(text: &str) -> Result<Host, AddressError> {
    if text.contains('@') {
        return Err(AddressError::UserInfo);
    }
    if text.contains(':') && !text.starts_with('[') {
        return Err(AddressError::Port);
    }
    text.parse()
}

fn normal_path(text: &str) -> Result<String, AddressError> {
    if text.is_empty() {
        return Ok("/".to_owned());
    }
    if text.contains('?') {
        return Err(AddressError::Character);
    }
    let path = normal(text, PATH_BYTES_MAX)?;
    // Unreserved characters are decoded by now, so an encoded dot segment is a plain one.
    let mut segments = path.split('/').skip(1).peekable();
    let mut count = 0;
    while let Some(segment) = segments.next() {
        count += 1;
        let empty_inside = segment.is_empty() && segments.peek().is_some();
        if empty_inside || matches!(segment, "." | "..") {
            return Err(AddressError::Segment);
        }
    }
    if count > PATH_SEGMENTS_MAX { Err(AddressError::TooLong) } else { Ok(path) }
}

fn normal_query(text: &str) -> Result<String, AddressError> {
    let query = normal(text, QUERY_BYTES_MAX)?;
    let mut keys: Vec<&str> =
        query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(key, _)| key)).collect();
    if keys.len() > QUERY_PAIRS_MAX {
        return Err(AddressError::TooLong);
    }
    keys.sort_unstable();
    let repeated = keys.iter().zip(keys.iter().skip(1)).any(|(a, b)| a == b);
    if repeated || keys.iter().any(|key| key.is_empty()) {
        return Err(AddressError::QueryKey);
    }
    drop(keys);
    Ok(query)
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `pchar` of RFC 3986 without percent-encoding, and the `/` and `?` that stand between or inside parts.
const fn is_plain(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'!'..=b'*' if byte != b'"' && byte != b'#' && byte != b'%')
        || matches!(byte, b'+' | b',' | b';' | b'=' | b':' | b'@' | b'/' | b'?')
}

/// Decodes what needs no percent-encoding, writes the rest with upper-case digits, and checks the decoded text.
fn normal(text: &str, bytes_max: usize) -> Result<String, AddressError> {
    let mut out = String::with_capacity(text.len());
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit =
                || bytes.next().and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
            let (high, low) = digit().zip(digit()).ok_or(AddressError::PercentEncoding)?;
            let decoded = high << 4 | low;
            if is_unreserved(decoded) {
                out.push(char::from(decoded));
            } else {
                out.push_str(&format!("%{decoded:02X}"));
            }
            plain.push(decoded);
        } else if is_plain(byte) {
            out.push(char::from(byte));
            plain.push(byte);
        } else {
            return Err(AddressError::Character);
        }
    }
    let plain = core::str::from_utf8(&plain).map_err(|_| AddressError::PercentEncoding)?;
    if plain.chars().any(char::is_control) {
        return Err(AddressError::Control);
    }
    if out.len() > bytes_max { Err(AddressError::TooLong) } else { Ok(out) }
}

/// The text behind a part of a normal form.
fn decoded(normal: &str) -> String {
    let mut out = Vec::with_capacity(normal.len());
    let mut rest = normal.bytes();
    while let Some(byte) = rest.next() {
        let mut digit =
            || rest.next().and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        out.push(if byte == b'%' {
            digit().zip(digit()).map_or(byte, |(high, low)| high << 4 | low)
        } else {
            byte
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VECTORS: &str = include_str!("../../../../tests/vectors/klp/addresses.txt");

    #[test]
    fn every_address_of_the_vector_file_is_judged_as_it_says() {
        let mut cases = 0;
        for line in VECTORS.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")) {
            let parts: Vec<&str> = line.split('\t').collect();
            let [verdict, input, result] = parts[..] else { panic!("{line}") };
            let input = &input.replace("{600}", &"a".repeat(600)).replace("{64}", &"a".repeat(64));
            match (verdict, input.parse::<Address>()) {
                ("accept", Ok(address)) => assert_eq!(address.to_string(), result, "{input}"),
                ("refuse", Err(error)) => assert_eq!(error.word(), result, "{input}"),
                (_, outcome) => panic!("{line}: {outcome:?}"),
            }
            cases += 1;
        }
        assert!(cases > 60, "{cases}");
    }

    #[test]
    fn the_fragment_never_leaves_the_sender() {
        let address: Address = "klp://gate.attic/agents/1?view=full#secret-place".parse().unwrap();
        assert_eq!(address.fragment(), Some("secret-place"));
        assert_eq!(address.wire_form(), "klp://gate.attic/agents/1?view=full");
    }

    #[test]
    fn segments_and_pairs_are_decoded() {
        let address: Address = "klp://attic/a%2Fb/K%C3%BCche?q=1%262&bare".parse().unwrap();
        assert_eq!(address.segments().collect::<Vec<_>>(), ["a/b", "Küche"]);
        let pairs: Vec<_> = address.pairs().collect();
        assert_eq!(pairs, [("q".to_owned(), Some("1&2".to_owned())), ("bare".to_owned(), None)]);
    }

    proptest! {
        #[test]
        fn a_normal_form_is_its_own_normal_form(text in "[kK]lp://[a-zA-Z0-9~.-]{1,12}(/[!-~]{0,12}){0,3}(\\?[!-~]{0,20})?(#[!-~]{0,9})?") {
            if let Ok(address) = text.parse::<Address>() {
                let normal = address.to_string();
                prop_assert_eq!(normal.parse::<Address>().unwrap().to_string(), normal);
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "(klp://)?\\PC{0,80}") {
            drop(text.parse::<Address>());
        }
    }
}
