//! What is particular to an event: a JSON object of closed form (AUD-14 to AUD-16).
//!
//! Numbers are whole and small enough for every JSON reader, keys are camelCase ASCII, and members stand in the order of
//! their keys at every depth, whatever the map that they came in kept. So serialising gives RFC 8785.

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value};

use crate::personal::Personal;

/// Details that always speak of a person: [`Details`] takes them only as [`Personal`] values (AUD-16).
pub const PERSONAL_DETAILS: [&str; 5] = ["email", "localUser", "networkAddress", "operator", "user"];

/// Deepest nesting; stops stack exhaustion in whoever reads them.
const DEPTH_MAX: usize = 6;

/// Longest key, in bytes; keeps a stranger's text out of the keys.
const KEY_BYTES_MAX: usize = 64;

/// Largest whole number that every JSON reader keeps exactly (RFC 7493).
const NUMBER_MAX: u64 = (1 << 53) - 1;

/// The details of one entry. Members are in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Details(Map<String, Value>);

/// Why a JSON object cannot be the details of an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DetailsError {
    /// A key that is not camelCase ASCII of at most 64 characters.
    #[error("`{0}` is not a camelCase key of at most {KEY_BYTES_MAX} characters")]
    Key(String),
    /// A fraction, or a number beyond 2^53 - 1 either way.
    #[error("`{0}` is not a whole number within 2^53 - 1")]
    Number(String),
    /// Nested deeper than 6.
    #[error("details nested deeper than {DEPTH_MAX}")]
    TooDeep,
    /// A detail about a person that is not sealed.
    #[error("`{0}` speaks of a person and must be sealed")]
    Personal(String),
}

impl Details {
    /// No details.
    pub fn none() -> Self {
        Self::default()
    }

    /// Checks a JSON object and puts its members in order.
    ///
    /// # Errors
    /// When it cannot be the details of an entry. Seal what speaks of a person, write fractions as whole numbers of a
    /// smaller unit, and keep what strangers chose in values.
    pub fn new(members: Map<String, Value>) -> Result<Self, DetailsError> {
        for (key, value) in &members {
            if PERSONAL_DETAILS.contains(&key.as_str()) && Personal::deserialize(value).is_err() {
                return Err(DetailsError::Personal(key.clone()));
            }
        }
        in_order(members, 1).map(Self)
    }

    /// The same with a sealed value under `key`, in place of any other.
    ///
    /// # Errors
    /// When `key` is not a key.
    pub fn with_personal(mut self, key: &str, value: &Personal) -> Result<Self, DetailsError> {
        self.0.insert(key.to_owned(), value.to_json());
        Self::new(self.0)
    }

    /// The members.
    pub const fn members(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The sealed values among them, for whoever holds the keys.
    pub fn personal(&self) -> impl Iterator<Item = (&str, Personal)> {
        self.0.iter().filter_map(|(key, value)| Some((key.as_str(), Personal::deserialize(value).ok()?)))
    }
}

fn in_order(members: Map<String, Value>, depth: usize) -> Result<Map<String, Value>, DetailsError> {
    let mut members: Vec<_> = members.into_iter().collect();
    members.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let checked = members.into_iter().map(|(key, value)| {
        if !is_key(&key) {
            return Err(DetailsError::Key(kos_base::text::printable(&key, 80)));
        }
        if depth > 1 && PERSONAL_DETAILS.contains(&key.as_str()) {
            return Err(DetailsError::Personal(key));
        }
        Ok((key, value_in_order(value, depth)?))
    });
    checked.collect()
}

fn value_in_order(value: Value, depth: usize) -> Result<Value, DetailsError> {
    match value {
        Value::Object(_) | Value::Array(_) if depth == DEPTH_MAX => Err(DetailsError::TooDeep),
        Value::Object(members) => in_order(members, depth + 1).map(Value::Object),
        Value::Array(items) => {
            let items = items.into_iter().map(|item| value_in_order(item, depth + 1));
            items.collect::<Result<_, _>>().map(Value::Array)
        }
        Value::Number(number) => {
            let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            match magnitude {
                Some(0..=NUMBER_MAX) => Ok(Value::Number(number)),
                _ => Err(DetailsError::Number(number.to_string())),
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(value),
    }
}

fn is_key(key: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&key.len())
        && key.starts_with(|first: char| first.is_ascii_lowercase())
        && key.bytes().all(|b| b.is_ascii_alphanumeric())
}

impl<'de> Deserialize<'de> for Details {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::new(Map::deserialize(d)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(value: Value, want: Result<&str, DetailsError>) {
        let Value::Object(members) = value else { panic!("not an object") };
        let got = Details::new(members).map(|details| serde_json::to_string(&details).unwrap());
        assert_eq!(got, want.map(str::to_owned));
    }

    #[test]
    fn members_are_put_in_order_at_every_depth() {
        check(
            json!({"b": [{"z": 1, "a": -2}], "a": "k\u{1}\n\u{fc}/", "c": null}),
            Ok(r#"{"a":"k\u0001\nü/","b":[{"a":-2,"z":1}],"c":null}"#),
        );
        check(json!({}), Ok("{}"));
    }

    #[test]
    fn what_other_readers_could_read_differently_is_refused() {
        check(json!({"a": 1.5}), Err(DetailsError::Number("1.5".into())));
        check(json!({"a": 1u64 << 53}), Err(DetailsError::Number("9007199254740992".into())));
        check(json!({"a": -(1i64 << 53)}), Err(DetailsError::Number("-9007199254740992".into())));
        for key in ["", "A", "a-b", "a_b", "ä", "1a", &"a".repeat(65)] {
            check(json!({key: 1}), Err(DetailsError::Key(key.into())));
        }
        check(json!({"a": [[[[[[1]]]]]]}), Err(DetailsError::TooDeep));
    }

    #[test]
    fn people_in_the_clear_are_refused() {
        for value in [json!("anna"), json!(null), json!({"sealed": "AAAA"})] {
            check(json!({"user": value}), Err(DetailsError::Personal("user".into())));
        }
        check(json!({"owner": {"email": "a@b"}}), Err(DetailsError::Personal("email".into())));
    }
}
