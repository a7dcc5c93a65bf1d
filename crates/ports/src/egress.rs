//! The network broker: the only way out for code that goes where a model sends it (S36, S37).

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

/// One request through the broker.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Absolute `http` or `https` address.
    pub url: String,
    /// Extra headers. `Host`, `Authorization`, `Cookie` and hop-by-hop headers are refused.
    pub headers: Vec<(String, String)>,
}

/// What a caller may reach and how much it may take.
#[derive(Debug, Clone)]
pub struct EgressGrant {
    /// `host:port` pairs that may be reached although they are not on the public internet.
    pub private_hosts: Vec<String>,
    /// Longest body, in bytes (after decoding); the rest is not read.
    pub body_bytes_max: u64,
    /// Whole-request deadline.
    pub deadline: Duration,
    /// Longest chain of redirects.
    pub redirects_max: u32,
}

impl Default for EgressGrant {
    fn default() -> Self {
        Self {
            private_hosts: Vec::new(),
            body_bytes_max: 2 << 20,
            deadline: Duration::from_secs(20),
            redirects_max: 5,
        }
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// Address after redirects.
    pub url: String,
    /// HTTP status.
    pub status: u16,
    /// `content-type`, if the server sent one.
    pub content_type: Option<String>,
    /// Body, cut at the grant's bound.
    pub body: Bytes,
    /// Whether the body was cut.
    pub truncated: bool,
}

/// Why a request did not happen or did not finish.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The address is not one the grant covers; nothing was sent there.
    #[error("refused to contact {host}: {reason}")]
    Refused {
        /// Host as named in the address.
        host: String,
        /// Which rule refused it.
        reason: String,
    },
    /// The address cannot be used at all.
    #[error("not a usable address: {reason}")]
    BadAddress {
        /// What is wrong with it.
        reason: String,
    },
    /// The deadline passed.
    #[error("no complete answer within {after:?}")]
    TimedOut {
        /// The deadline.
        after: Duration,
    },
    /// The network failed.
    #[error("the request failed: {reason}")]
    Failed {
        /// What failed, without addresses of our own network.
        reason: String,
    },
}

/// The door to the network for untrusted callers: GET only.
#[async_trait]
pub trait Egress: Send + Sync {
    /// Fetches `request` within `grant`: resolves once, connects to the vetted address, vets every redirect again.
    ///
    /// # Errors
    /// [`EgressError`], one variant per thing the caller can do about it.
    async fn get(&self, request: Outgoing, grant: &EgressGrant) -> Result<Incoming, EgressError>;
}
