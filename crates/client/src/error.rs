//! What can go wrong between a surface and a gateway.

use std::time::Duration;

/// What can go wrong between a surface and a gateway.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The address is not one this client connects to.
    #[error("`{endpoint}` cannot be used as a gateway address: {reason}")]
    BadEndpoint {
        /// The address, without anything secret.
        endpoint: String,
        /// Why not.
        reason: String,
        /// What to write instead.
        hint: String,
    },
    /// Nobody answers there.
    #[error("no gateway answers at `{endpoint}`: {reason}")]
    Unreachable {
        /// The address.
        endpoint: String,
        /// What the network said.
        reason: String,
    },
    /// Somebody answers, and it is not certain that it is the gateway. Nothing was sent.
    #[error("`{endpoint}` is not known to be the gateway: {reason}")]
    Untrusted {
        /// The address.
        endpoint: String,
        /// What was shown, with its fingerprint.
        reason: String,
        /// How to make certain.
        hint: String,
    },
    /// The gateway answered with an error.
    #[error("{message}")]
    Refused {
        /// The code on the wire: `NOT_FOUND`, `RATE_LIMITED`, …
        code: String,
        /// What happened.
        message: String,
        /// What to do about it.
        hint: Option<String>,
        /// When it may work.
        retry_after: Option<Duration>,
    },
    /// No answer within the time given.
    #[error("the gateway did not answer `{what}` within {} ms", after.as_millis())]
    TimedOut {
        /// The method, or `connect`.
        what: String,
        /// How long was waited.
        after: Duration,
    },
    /// The connection ended, and whether the call was carried out is not known.
    #[error("the connection to the gateway ended: {reason}")]
    Closed {
        /// What is known.
        reason: String,
    },
    /// The answer is not what the method promises: the two sides are of different versions, most likely.
    #[error("the gateway's answer to `{what}` cannot be read: {reason}")]
    Unreadable {
        /// The method.
        what: String,
        /// What does not fit.
        reason: String,
    },
    /// The parameters cannot be written as JSON.
    #[error("the parameters of `{what}` cannot be written: {reason}")]
    Unwritable {
        /// The method.
        what: String,
        /// What does not fit.
        reason: String,
    },
}

impl ClientError {
    /// The code on the wire, when the gateway gave one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}
