//! Who calls, and what they may do.

use adjutant_domain::id::{DeviceId, OwnerId};

pub use adjutant_domain::access::{Role, Scope, Scopes, UnknownRole, UnknownScope};

/// Through which door a call came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// JSON-RPC over HTTP.
    Http,
    /// JSON-RPC over a WebSocket.
    JsonRpcSocket,
    /// Frames over a WebSocket.
    FramesSocket,
}

impl Surface {
    /// One word, for the audit trail.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::JsonRpcSocket => "jsonrpc",
            Self::FramesSocket => "frames",
        }
    }
}

/// Who calls.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Whose data the call reads and writes.
    pub owner: OwnerId,
    /// Which credential: `token`, `socket`, a device.
    pub principal: String,
    /// The device that proved its key, if one did.
    pub device: Option<DeviceId>,
    /// What the connection is.
    pub role: Role,
    /// What it may do.
    pub scopes: Scopes,
    /// Through which door it came.
    pub surface: Surface,
    /// The connection, unique while this process lives.
    pub connection: u64,
}

impl Caller {
    /// `surface:principal`, for the audit trail.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}:{}", self.surface.word(), self.principal)
    }
}
