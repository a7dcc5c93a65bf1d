//! The event table of the frames protocol: one file per family, one row per event.
//!
//! A row gives the marker type that [`EventType`] speaks through, the name in `hello-ok`, the payload's schema, who may
//! hear the event and whether a slow client may miss it. A name that has no row cannot be sent.

use schemars::JsonSchema;
#[cfg(feature = "schema")]
use schemars::{Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::access::{Role, Scope, Scopes};

pub mod connection;
pub mod devices;
pub mod nodes;
pub mod questions;
pub mod runs;
pub mod sessions;

/// Who hears an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Every socket that is let in, nodes included.
    Everyone,
    /// Operators with this scope.
    Operators(Scope),
    /// Operators that can read and asked for changes of sessions.
    Subscribers,
    /// One socket that it is aimed at. Such events carry no number.
    OneSocket,
}

impl Audience {
    /// Whether a connection with this role and these scopes may hear such an event at all; what is aimed at one socket
    /// is not for others. Nodes hear only what is for everyone.
    #[must_use]
    pub const fn includes(self, role: Role, scopes: Scopes) -> bool {
        match (self, role) {
            (Self::Everyone, _) => true,
            (Self::OneSocket, _) | (Self::Operators(_) | Self::Subscribers, Role::Node) => false,
            (Self::Operators(scope), Role::Operator) => scopes.allow(scope),
            (Self::Subscribers, Role::Operator) => scopes.allow(Scope::Read),
        }
    }

    /// As in the schema: `everyone`, `subscribers`, `one-socket`, or the scope.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Everyone => "everyone",
            Self::Operators(scope) => scope.word(),
            Self::Subscribers => "subscribers",
            Self::OneSocket => "one-socket",
        }
    }
}

/// What happens to an event when a client does not read fast enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It is never left out: the client is cut instead.
    Never,
    /// It is left out: a later one says the same or more.
    WhenFull,
    /// Pieces of a text that a later event repeats are left out; everything else is not.
    Pieces,
}

impl Loss {
    /// As in the schema.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::WhenFull => "when-full",
            Self::Pieces => "pieces",
        }
    }
}

/// A row of the table, as data.
#[derive(Debug, Clone, Copy)]
pub struct EventSpec {
    /// Name on the wire.
    pub name: &'static str,
    /// What it says: the row's comment, line by line.
    pub docs: &'static [&'static str],
    /// Who hears it.
    pub audience: Audience,
    /// Whether it may be left out.
    pub loss: Loss,
    /// Schema of the payload.
    #[cfg(feature = "schema")]
    pub payload: fn(&mut SchemaGenerator) -> Schema,
}

impl EventSpec {
    /// The comment as one paragraph.
    #[must_use]
    pub fn summary(&self) -> String {
        let lines: Vec<&str> = self.docs.iter().map(|line| line.trim()).collect();
        lines.join(" ")
    }
}

/// One event.
pub trait EventType: Send + Sync + 'static {
    /// Its row.
    const SPEC: EventSpec;
    /// What it carries.
    type Payload: Serialize + DeserializeOwned + JsonSchema + Send + 'static;
}

macro_rules! events {
    ($(
        $(#[doc = $doc:literal])*
        $marker:ident = $name:literal ($payload:ty) { to: $audience:expr, loss: $loss:ident }
    )*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Debug, Clone, Copy)]
            pub struct $marker;

            impl $crate::events::EventType for $marker {
                const SPEC: $crate::events::EventSpec = $crate::events::EventSpec {
                    name: $name,
                    docs: &[ $( $doc ),* ],
                    audience: $audience,
                    loss: $crate::events::Loss::$loss,
                    #[cfg(feature = "schema")]
                    payload: |generator| generator.subschema_for::<$payload>(),
                };
                type Payload = $payload;
            }
        )*

        /// The rows of this family.
        pub(crate) const ROWS: &[$crate::events::EventSpec] =
            &[ $( <$marker as $crate::events::EventType>::SPEC, )* ];
    };
}

pub(crate) use events;

/// Every row, family by family.
pub const FAMILIES: &[(&str, &[EventSpec])] = &[
    ("connection", connection::ROWS),
    ("devices", devices::ROWS),
    ("nodes", nodes::ROWS),
    ("questions", questions::ROWS),
    ("runs", runs::ROWS),
    ("sessions", sessions::ROWS),
];

/// Every row.
pub fn event_specs() -> impl Iterator<Item = &'static EventSpec> {
    FAMILIES.iter().flat_map(|(_, rows)| rows.iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_and_operators_without_scopes_hear_only_what_is_for_everyone() {
        // covers: S11
        for row in event_specs() {
            let open = row.audience == Audience::Everyone;
            assert_eq!(
                row.audience.includes(Role::Node, Scopes::ALL),
                open,
                "{}",
                row.name
            );
            assert_eq!(
                row.audience.includes(Role::Operator, Scopes::NONE),
                open,
                "{}",
                row.name
            );
        }
        let approvals = Audience::Operators(Scope::Approvals);
        assert!(approvals.includes(Role::Operator, Scopes::of(&[Scope::Approvals])));
        assert!(!approvals.includes(Role::Operator, Scopes::of(&[Scope::Write])));
    }
}
