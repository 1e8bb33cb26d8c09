//! How a device gets, proves, renews and loses an identity.
