//! What a body or a query looks like, for the table of routes.

use utoipa::{
    ToSchema,
    openapi::{RefOr, schema::Schema},
};

use crate::envelope::Kind;

/// Schemas by name.
pub type Schemas = Vec<(String, RefOr<Schema>)>;

/// The form of a body or a query.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// There is none.
    Nothing,
    /// A JSON object without envelope: what requests and queries are.
    Plain(Named),
    /// One item in an envelope of this kind.
    Document(&'static str, Named),
    /// A page of items; the kind is that of one.
    List(&'static str, Named),
    /// Bytes of this type.
    Raw(Media),
}

/// A type of this crate, by its schema.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// Its name.
    pub(crate) name: fn() -> String,
    /// Adds its schema and those that it refers to.
    pub(crate) collect: fn(&mut Schemas),
}

/// Types of bodies that are not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// JSON that somebody else defines.
    Json,
    /// Any bytes.
    Bytes,
    /// A DER revocation list.
    Crl,
    /// Server-sent events, each with a JSON document as its data.
    Events,
}

impl Media {
    /// As HTTP writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Bytes => "application/octet-stream",
            Self::Crl => "application/pkix-crl",
            Self::Events => "text/event-stream",
        }
    }
}

impl Shape {
    pub(super) const fn nothing() -> Self {
        Self::Nothing
    }

    pub(super) const fn plain<T: ToSchema>() -> Self {
        Self::Plain(Named::of::<T>())
    }

    pub(super) const fn document<T: Kind + ToSchema>() -> Self {
        Self::Document(T::KIND, Named::of::<T>())
    }

    pub(super) const fn list<T: Kind + ToSchema>() -> Self {
        Self::List(T::KIND, Named::of::<T>())
    }

    pub(super) const fn raw(media: Media) -> Self {
        Self::Raw(media)
    }

    /// The type inside, when it is one of ours.
    pub(crate) const fn named(self) -> Option<Named> {
        match self {
            Self::Plain(named) | Self::Document(_, named) | Self::List(_, named) => Some(named),
            Self::Nothing | Self::Raw(_) => None,
        }
    }
}

impl Named {
    const fn of<T: ToSchema>() -> Self {
        Self { name: || T::name().into_owned(), collect: collect::<T> }
    }
}

fn collect<T: ToSchema>(schemas: &mut Schemas) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}
