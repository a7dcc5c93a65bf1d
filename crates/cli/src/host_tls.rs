//! What is told about the certificate of a gateway.

use adjutant_domain::time::Timestamp;
use serde::Serialize;

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsState {
    /// SHA-256 in hex: what clients pin.
    pub fingerprint: String,
    /// Until when it is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
}
