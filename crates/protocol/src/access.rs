//! Who calls, and what they may do.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use adjutant_domain::id::OwnerId;

/// What a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A person's surface: terminal, browser, script.
    Operator,
    /// A machine that lends its abilities.
    Node,
}

/// A right of an operator.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Scope {
    /// See.
    #[serde(rename = "operator.read")]
    Read,
    /// Talk and act; implies read.
    #[serde(rename = "operator.write")]
    Write,
    /// Change settings; implies everything.
    #[serde(rename = "operator.admin")]
    Admin,
    /// Answer questions of agents.
    #[serde(rename = "operator.approvals")]
    Approvals,
    /// Admit devices.
    #[serde(rename = "operator.pairing")]
    Pairing,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Read,
        Self::Write,
        Self::Admin,
        Self::Approvals,
        Self::Pairing,
    ];

    /// As on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "operator.read",
            Self::Write => "operator.write",
            Self::Admin => "operator.admin",
            Self::Approvals => "operator.approvals",
            Self::Pairing => "operator.pairing",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Read => 1,
            Self::Write => 2,
            Self::Admin => 4,
            Self::Approvals => 8,
            Self::Pairing => 16,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a text is not a scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown scope")]
pub struct UnknownScope;

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.word() == text)
            .ok_or(UnknownScope)
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// None at all.
    pub const NONE: Self = Self(0);
    /// Every scope.
    pub const ALL: Self = Self(31);

    /// The set of the given scopes.
    #[must_use]
    pub fn of(scopes: &[Scope]) -> Self {
        scopes
            .iter()
            .fold(Self::NONE, |set, scope| Self(set.0 | scope.bit()))
    }

    /// Whether a method that asks for `scope` may be called: admin implies all, write implies read.
    #[must_use]
    pub const fn allow(self, scope: Scope) -> bool {
        let implied = match scope {
            Scope::Read => Scope::Write.bit(),
            Scope::Write | Scope::Admin | Scope::Approvals | Scope::Pairing => 0,
        };
        self.0 & (scope.bit() | implied | Scope::Admin.bit()) != 0
    }

    /// The part of `asked` that this set covers: a client can only narrow what it has (S10).
    #[must_use]
    pub fn narrowed_to(self, asked: &[Scope]) -> Self {
        let allowed: Vec<Scope> = asked.iter().copied().filter(|s| self.allow(*s)).collect();
        Self::of(&allowed)
    }

    /// The words of the set, in a fixed order.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        Scope::ALL
            .into_iter()
            .filter(|s| self.0 & s.bit() != 0)
            .map(Scope::word)
            .collect()
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_implies_all_and_write_implies_read() {
        // covers: S10
        for scope in Scope::ALL {
            assert!(Scopes::of(&[Scope::Admin]).allow(scope));
            assert!(!Scopes::NONE.allow(scope));
        }
        let write = Scopes::of(&[Scope::Write]);
        assert!(write.allow(Scope::Read) && write.allow(Scope::Write));
        assert!(!write.allow(Scope::Admin) && !write.allow(Scope::Approvals));
        assert!(!Scopes::of(&[Scope::Read]).allow(Scope::Write));
    }

    #[test]
    fn a_client_can_only_narrow_what_it_has() {
        // covers: S10
        let read = Scopes::of(&[Scope::Read]);
        assert_eq!(read.narrowed_to(&[Scope::Admin, Scope::Read]), read);
        assert_eq!(Scopes::ALL.narrowed_to(&[Scope::Read]), read);
        assert_eq!(Scopes::ALL.narrowed_to(&[]), Scopes::NONE);
    }
}
