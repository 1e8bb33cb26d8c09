//! JSON schemas of the texts of `kos-base` and of this crate, which only OpenAPI needs.

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, Schema, Type},
    },
};

/// A schema that stands for a type of another crate, under that type's name.
macro_rules! text_schema {
    ($($name:ident: $description:literal, $object:expr;)+) => {$(
        #[doc = $description]
        pub(crate) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let object: fn(ObjectBuilder) -> ObjectBuilder = $object;
                object(ObjectBuilder::new().schema_type(Type::String).description(Some($description))).into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
        }
    )+};
}

fn words(all: impl Iterator<Item = &'static str>, object: ObjectBuilder) -> ObjectBuilder {
    object.enum_values(Some(all))
}

text_schema! {
    DeviceId: "`kdev-` and 16 lower-case base32hex characters.", |o| o.pattern(Some("^kdev-[0-9a-v]{16}$"));
    AuthorityName: "Name of an authority and SPIFFE trust domain.", |o| o.pattern(Some("^[a-z0-9.-]{1,63}$"));
    KidSubject: "`k:<authority>/<device>/<n>`, n being the number of the device's certificate.",
        |o| o.pattern(Some("^k:[a-z0-9.-]{1,63}/kdev-[0-9a-v]{16}/[0-9]{3,}$"));
    KeyId: "SHA-256 of a key's SubjectPublicKeyInfo.", |o| o.pattern(Some("^[0-9a-f]{64}$"));
    Digest: "SHA-256.", |o| o.pattern(Some("^[0-9a-f]{64}$"));
    Serial: "Serial number of a certificate.", |o| o.pattern(Some("^[0-9a-f]{32}$"));
    Signature: "A signature.", |o| o.pattern(Some("^([0-9a-f]{2})+$"));
    EntryId: "A UUIDv7.", |o| o.pattern(Some("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"));
    Timestamp: "RFC 3339, UTC, with milliseconds.",
        |o| o.pattern(Some(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$"));
    Name: "1 to 64 visible characters. Untrusted: not an identifier.", |o| o.max_length(Some(64));
    GroupPath: "Labels joined by `/`, such as `berlin/line-2`.", |o| o.max_length(Some(128));
    Capability: "Something that a device offers.", |o| o.pattern(Some("^[a-z0-9][a-z0-9._-]{0,47}$"));
    Reason: "1 to 200 visible characters.", |o| o.max_length(Some(200));
    Tag: "A mark on a device.", |o| o.pattern(Some("^[a-z0-9][a-z0-9._-]{0,47}$"));
    OperatorName: "Name of an operator.", |o| o.pattern(Some("^[a-z0-9][a-z0-9._-]{0,47}$"));
    Role: "What a device is for.", |o| words(kos_base::Role::ALL.iter().map(|w| w.as_str()), o);
    SecurityProfile: "Later is stricter.", |o| words(kos_base::SecurityProfile::ALL.iter().map(|w| w.as_str()), o);
    EvidenceTier: "What a device has proven. Later is stronger.",
        |o| words(kos_base::EvidenceTier::ALL.iter().map(|w| w.as_str()), o);
    Channel: "Firmware channel.", |o| words(kos_base::Channel::ALL.iter().map(|w| w.as_str()), o);
    DeviceState: "Where a device is in its life.",
        |o| words(kos_base::DeviceState::ALL.iter().map(|w| w.as_str()), o);
}
