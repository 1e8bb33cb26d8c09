//! People and programs that may use the API over the network.

use kos_base::{KeyId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{envelope::Kind, hex::Serial, schema, text::OperatorName};

/// Asks for an operator certificate. The request contributes its key and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateOperator {
    /// Who it is. Not the name of an active operator.
    #[schema(value_type = schema::OperatorName)]
    pub name: OperatorName,
    /// What they may do.
    pub role: OperatorRole,
    /// PEM of a PKCS#10 request without attributes, made where the key stays.
    pub csr: String,
}

/// What an operator may do. Each includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OperatorRole {
    /// Look.
    Viewer,
    /// Make tickets and decide on devices.
    Operator,
    /// Decide on the authority and its operators.
    Admin,
}

impl OperatorRole {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// An operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operator {
    /// Who it is.
    #[schema(value_type = schema::OperatorName)]
    pub name: OperatorName,
    /// What they may do.
    pub role: OperatorRole,
    /// The key of the certificate.
    #[schema(value_type = schema::KeyId)]
    pub key_id: KeyId,
    /// Serial of the certificate.
    #[schema(value_type = schema::Serial)]
    pub cert_serial: Serial,
    /// When the certificate ends.
    #[schema(value_type = schema::Timestamp)]
    pub cert_not_after: Timestamp,
    /// When it was made.
    #[schema(value_type = schema::Timestamp)]
    pub created_at: Timestamp,
    /// Whether it may still be used.
    pub state: OperatorState,
    /// PEM of the certificate and its issuer; only in the answer that creates it.
    pub certificates: Option<String>,
    /// PEM of the root by which the server is known; only in the answer that creates it.
    pub root: Option<String>,
}

impl Kind for Operator {
    const KIND: &'static str = "Operator";
}

/// Whether an operator may still use the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OperatorState {
    /// Yes.
    Active,
    /// The certificate has run out.
    Expired,
    /// Somebody took it back.
    Removed,
}
