//! The envelope around every JSON answer: `apiVersion`, `kind`, and one item or a page of items.

use serde::{
    Deserialize, Deserializer, Serialize, Serializer, de, de::DeserializeOwned, ser::SerializeStruct,
};
use serde_json::Value;

use crate::audit::LeftOut;

/// The version that every document names.
pub const API_VERSION: &str = "kos.v1";

/// Something that stands in an envelope.
pub trait Kind: Serialize + DeserializeOwned {
    /// Its name, such as `Device`. A list of it is called `DeviceList`.
    const KIND: &'static str;
}

/// One item: `{"apiVersion":"kos.v1","kind":"Device","item":{..}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document<T> {
    /// What it holds.
    pub item: T,
}

/// One page of items: `{"apiVersion":"kos.v1","kind":"DeviceList","items":[..],"next":null}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T> {
    /// The items of this page, in the order of the list.
    pub items: Vec<T>,
    /// The cursor of the next page; nothing when this is the last.
    pub next: Option<String>,
    /// Of log entries: those that were not looked at. Not written where there are none, nor of other lists.
    pub archived: Option<LeftOut>,
}

impl<T> Document<T> {
    /// An envelope around `item`.
    pub const fn new(item: T) -> Self {
        Self { item }
    }
}

impl<T> List<T> {
    /// A list that is complete.
    pub const fn complete(items: Vec<T>) -> Self {
        Self { items, next: None, archived: None }
    }
}

/// The kind that a list of `kind` has.
pub fn list_kind(kind: &str) -> String {
    format!("{kind}List")
}

impl<T: Kind> Serialize for Document<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut s = serializer.serialize_struct("Document", 3)?;
        s.serialize_field("apiVersion", API_VERSION)?;
        s.serialize_field("kind", T::KIND)?;
        s.serialize_field("item", &self.item)?;
        s.end()
    }
}

impl<T: Kind> Serialize for List<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = 4 + usize::from(self.archived.is_some());
        let mut s = serializer.serialize_struct("List", fields)?;
        s.serialize_field("apiVersion", API_VERSION)?;
        s.serialize_field("kind", &list_kind(T::KIND))?;
        s.serialize_field("items", &self.items)?;
        s.serialize_field("next", &self.next)?;
        if let Some(archived) = &self.archived {
            s.serialize_field("archived", archived)?;
        }
        s.end()
    }
}

/// Version and kind, judged before the content is read, so that a wrong document is called by its name.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    api_version: String,
    kind: String,
    #[serde(default)]
    item: Value,
    #[serde(default)]
    items: Vec<Value>,
    #[serde(default)]
    next: Option<String>,
    #[serde(default)]
    archived: Option<LeftOut>,
}

impl Raw {
    fn expect<E: de::Error>(&self, kind: &str) -> Result<(), E> {
        let say = |text: &str| kos_base::text::printable(text, 40);
        if self.api_version != API_VERSION {
            return Err(E::custom(format_args!(
                "API version `{}`, not {API_VERSION}",
                say(&self.api_version)
            )));
        }
        if self.kind != kind {
            return Err(E::custom(format_args!("document of kind `{}`, not {kind}", say(&self.kind))));
        }
        Ok(())
    }
}

impl<'de, T: Kind> Deserialize<'de> for Document<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Raw::deserialize(deserializer)?;
        raw.expect(T::KIND)?;
        serde_json::from_value(raw.item).map(Self::new).map_err(de::Error::custom)
    }
}

impl<'de, T: Kind> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Raw::deserialize(deserializer)?;
        raw.expect(&list_kind(T::KIND))?;
        let items = raw.items.into_iter().map(serde_json::from_value).collect::<Result<_, _>>();
        Ok(Self { items: items.map_err(de::Error::custom)?, next: raw.next, archived: raw.archived })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Check;

    fn check(name: &str) -> Check {
        Check { name: name.to_owned(), ok: true, detail: None, fix: None }
    }

    impl Kind for Check {
        const KIND: &'static str = "Check";
    }

    #[test]
    fn an_item_and_a_list_are_written_as_the_contract_says() {
        assert_eq!(
            serde_json::to_string(&Document::new(check("store"))).unwrap(),
            r#"{"apiVersion":"kos.v1","kind":"Check","item":{"name":"store","ok":true,"detail":null,"fix":null}}"#
        );
        assert_eq!(
            serde_json::to_string(&List::<Check>::complete(vec![])).unwrap(),
            r#"{"apiVersion":"kos.v1","kind":"CheckList","items":[],"next":null}"#
        );
        let archived = Some(LeftOut { size: 256, folder: "/a".to_owned() });
        let list = List::<Check> { archived, ..List::complete(vec![]) };
        let text = r#"{"apiVersion":"kos.v1","kind":"CheckList","items":[],"next":null,"archived":{"size":256,"folder":"/a"}}"#;
        assert_eq!(serde_json::to_string(&list).unwrap(), text);
        assert_eq!(serde_json::from_str::<List<Check>>(text).unwrap(), list);
    }

    #[test]
    fn a_document_of_another_kind_or_version_is_called_by_its_name() {
        for (text, says) in [
            (r#"{"apiVersion":"kos.v1","kind":"Plan","item":{}}"#, "document of kind `Plan`, not Check"),
            (r#"{"apiVersion":"kos.v2","kind":"Check","item":{}}"#, "API version `kos.v2`, not kos.v1"),
            (r#"{"apiVersion":"kos.v1","kind":"Check"}"#, "invalid type: null"),
        ] {
            let error = serde_json::from_str::<Document<Check>>(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn unknown_fields_of_an_answer_are_passed_over() {
        let text =
            r#"{"apiVersion":"kos.v1","kind":"Check","later":1,"item":{"name":"a","ok":true,"more":2}}"#;
        assert_eq!(serde_json::from_str::<Document<Check>>(text).unwrap().item, check("a"));
    }
}
