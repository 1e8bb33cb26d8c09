//! What manifests may speak of, and which of it has a door.
//!
//! Source: `docs/spec/manifest.md` MAN-5 to MAN-9.

use std::sync::LazyLock;

use cedar_policy::{EntityId, EntityTypeName, EntityUid, Schema};
use kos_klp::message::MessageType;
use kos_policy::Errand;

/// The schema, as Cedar writes it.
pub const TEXT: &str = include_str!("schema.cedarschema");

/// The one action that something asks about.
pub(crate) const SEND: &str = "send";

/// The schema; nothing if this version of Cedar does not read it, which a test rules out.
pub(crate) fn schema() -> Option<&'static Schema> {
    static SCHEMA: LazyLock<Option<Schema>> =
        LazyLock::new(|| Schema::from_cedarschema_str(TEXT).ok().map(|(schema, _)| schema));
    SCHEMA.as_ref()
}

/// An entity.
pub(crate) fn uid(kind: &str, id: &str) -> Option<EntityUid> {
    let kind: EntityTypeName = kind.parse().ok()?;
    Some(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

/// Whether manifests decide on messages of this type. What keeps a device alive, and alarms, no manifest shuts off:
/// neither could then be mended by another one.
pub fn is_governed(kind: MessageType) -> bool {
    kind.errand().is_some_and(|errand| !matches!(errand, Errand::Upkeep | Errand::Alert))
}

/// The types on which they decide.
pub fn governed() -> impl Iterator<Item = (&'static str, Errand)> {
    MessageType::all()
        .filter(|kind| is_governed(*kind))
        .filter_map(|kind| Some((kind.name(), kind.errand()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_read_and_its_actions_are_those_of_the_specification() {
        let actions = schema().unwrap().actions();
        let mut actions: Vec<_> = actions.map(|action| action.id().unescaped().to_owned()).collect();
        actions.sort_unstable();
        assert_eq!(
            actions,
            ["call", "execute", "map", "publish", "read", "send", "subscribe", "update", "write"]
        );
        let spec = include_str!("../../../docs/spec/manifest.md");
        for action in &actions {
            assert!(spec.contains(&format!("| `{action}` |")), "{action}");
        }
        assert!(spec.contains(TEXT.split_once("\n\n").unwrap().1.trim_end()), "the schema itself");
        for (message, errand) in governed() {
            assert!(spec.contains(&format!("`{message}`")), "{message} for {}", errand.as_str());
        }
        assert!(!is_governed(MessageType::HEARTBEAT) && !is_governed(MessageType::ALERT));
    }
}
