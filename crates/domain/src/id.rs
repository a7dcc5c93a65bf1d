//! Identifiers: `<prefix>_<ULID>`, opaque, sortable by birth, safe to double-click; and names people choose.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::time::Timestamp;

/// Why a text is not an identifier of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The prefix or the ULID is wrong.
    #[error("`{text}` is not a `{prefix}_…` identifier")]
    Malformed {
        /// The text, cut to 64 characters.
        text: String,
        /// The prefix that was expected.
        prefix: &'static str,
    },
    /// A chosen name breaks its rule.
    #[error("`{text}` is not a valid {what}: {rule}")]
    BadName {
        /// The text, cut to 64 characters.
        text: String,
        /// Which kind of name.
        what: &'static str,
        /// The rule in words.
        rule: &'static str,
    },
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Ulid);

        impl $name {
            /// The text in front of the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// Makes an identifier from a moment and 80 bits of entropy (the high bits of `entropy` are ignored).
            #[must_use]
            pub fn mint(at: Timestamp, entropy: u128) -> Self {
                Self(Ulid::from_parts(at.as_millis_u64(), entropy))
            }

            /// The identifier as a number: its sort order, and a stable key for derived identifiers.
            #[must_use]
            pub fn as_u128(self) -> u128 {
                self.0.0
            }

            /// The identifier made from a number, as given by [`Self::as_u128`].
            #[must_use]
            pub fn from_u128(value: u128) -> Self {
                Self(Ulid(value))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let malformed = || IdError::Malformed { text: shown(text), prefix: $prefix };
                let rest = text.strip_prefix(concat!($prefix, "_")).ok_or_else(malformed)?;
                let ulid = Ulid::from_string(rest).map_err(|_e| malformed())?;
                Ok(Self(ulid))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": concat!("^", $prefix, "_[0-9A-HJKMNP-TV-Z]{26}$"),
                })
            }
        }
    };
}

id!(
    /// One durable execution of an agent for one input.
    RunId, "run"
);
id!(
    /// A durable conversation.
    ThreadId, "thr"
);
id!(
    /// The seat a surface or channel peer has in a thread.
    SessionId, "ses"
);
id!(
    /// One utterance in a thread.
    MessageId, "msg"
);
id!(
    /// One tool call. Also the idempotency key that the tool gets.
    CallId, "call"
);
id!(
    /// One question to a person.
    ApprovalId, "appr"
);
id!(
    /// One lasting answer.
    GrantId, "grant"
);
id!(
    /// One remembered fact.
    MemoryId, "mem"
);
id!(
    /// One durable event.
    EventId, "ev"
);
id!(
    /// One reservation against a budget.
    ReservationId, "rsv"
);
id!(
    /// One worker process, new at every start.
    WorkerId, "wrk"
);
id!(
    /// One request of a device to be let in.
    PairingId, "pair"
);
id!(
    /// One request to a node.
    InvokeId, "inv"
);
id!(
    /// One permission with an end.
    LeaseId, "lease"
);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $ok:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Checks the rule and keeps the text.
            ///
            /// # Errors
            /// [`IdError::BadName`] naming the rule.
            pub fn parse(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                let ok: fn(&str) -> bool = $ok;
                if ok(&text) {
                    Ok(Self(text))
                } else {
                    Err(IdError::BadName { text: shown(&text), what: $what, rule: $rule })
                }
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(text).map_err(serde::de::Error::custom)
            }
        }
    };
}

fn is_slug(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        && text
            .as_bytes()
            .first()
            .is_some_and(u8::is_ascii_alphanumeric)
}

fn is_printable(text: &str, bytes_max: usize) -> bool {
    !text.is_empty() && text.len() <= bytes_max && !text.chars().any(char::is_control)
}

name!(
    /// The name of an agent: `main`, `helper-2`.
    AgentId,
    "agent name",
    "1 to 64 of a-z, 0-9, `-`, `_`, starting with a letter or digit",
    is_slug
);
name!(
    /// Whose data a row is.
    OwnerId,
    "owner name",
    "1 to 64 of a-z, 0-9, `-`, `_`, starting with a letter or digit",
    is_slug
);
name!(
    /// The stable key of a session: `agent:main:telegram:dm:42`.
    SessionKey,
    "session key",
    "`agent:<agent>:<rest>`, at most 512 bytes, no control characters",
    |text| {
        let mut parts = text.splitn(3, ':');
        is_printable(text, 512)
            && parts.next() == Some("agent")
            && parts.next().is_some_and(is_slug)
            && parts.next().is_some_and(|rest| !rest.is_empty())
    }
);
name!(
    /// An idempotency key chosen by a client; for a run it is also the run's name on the wire.
    ClientKey,
    "idempotency key",
    "1 to 128 printable bytes",
    |text| is_printable(text, 128)
);

name!(
    /// The name of a device: the SHA-256 of its public key.
    DeviceId,
    "device id",
    "64 lowercase hex digits",
    |text| text.len() == 64
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
);

name!(
    /// One thing that a run needs of its worker, and a worker may offer: `computer-use`, `machine:studio`.
    Need,
    "need",
    "1 to 64 of a-z, 0-9, `-`, `_`, `.`, with `:` between parts, each starting with a letter or digit",
    |text| text.len() <= 64 && text.split(':').all(is_need_part)
);

fn is_need_part(text: &str) -> bool {
    let is_ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    text.bytes().all(is_ok)
        && text
            .as_bytes()
            .first()
            .is_some_and(u8::is_ascii_alphanumeric)
}

impl Need {
    /// What every worker offers by itself: the machine it is on. Whatever a name cannot hold becomes `-`.
    #[must_use]
    pub fn machine(host: &str) -> Self {
        const PREFIX: &str = "machine:";
        let plain: String = host
            .chars()
            .map(|c| match c.to_ascii_lowercase() {
                c if c.is_ascii_alphanumeric() || c == '.' || c == '_' => c,
                _ => '-',
            })
            .collect();
        let plain = plain.trim_start_matches(['-', '.', '_']);
        let plain = if plain.is_empty() { "unnamed" } else { plain };
        let kept = plain.len().min(64 - PREFIX.len());
        Self(format!("{PREFIX}{}", &plain[..kept]))
    }
}

impl DeviceId {
    /// The first twelve digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl OwnerId {
    /// The owner of a fresh installation.
    #[must_use]
    pub fn local() -> Self {
        Self("owner".to_owned())
    }
}

impl AgentId {
    /// The agent of a fresh installation.
    #[must_use]
    pub fn main() -> Self {
        Self("main".to_owned())
    }
}

impl SessionKey {
    /// The main session of `agent`.
    #[must_use]
    pub fn main_of(agent: &AgentId) -> Self {
        Self(format!("agent:{agent}:main"))
    }

    /// Resolves what a client wrote: a full key, `main`, or the rest of a key of the default agent.
    ///
    /// # Errors
    /// [`IdError::BadName`] when no valid key results.
    pub fn resolve(text: &str, default_agent: &AgentId) -> Result<Self, IdError> {
        if text.starts_with("agent:") {
            Self::parse(text)
        } else {
            Self::parse(format!("agent:{default_agent}:{text}"))
        }
    }

    /// The agent named in the key.
    #[must_use]
    pub fn agent(&self) -> AgentId {
        let name = self.0.split(':').nth(1).unwrap_or_default();
        AgentId(name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text_form() {
        let id = RunId::mint(Timestamp::from_millis(1_700_000_000_000), 42);
        assert_eq!(id.to_string().parse::<RunId>(), Ok(id));
        assert_eq!(serde_json::to_string(&id).map(|s| s.len()).ok(), Some(32));
    }

    #[test]
    fn ids_of_another_kind_are_refused() {
        let id = ThreadId::mint(Timestamp::from_millis(1), 1).to_string();
        assert!(id.parse::<RunId>().is_err());
    }

    #[test]
    fn later_ids_sort_after_earlier_ones() {
        let a = RunId::mint(Timestamp::from_millis(1), u128::MAX);
        let b = RunId::mint(Timestamp::from_millis(2), 0);
        assert!(a < b && a.to_string() < b.to_string());
    }

    #[test]
    fn short_session_keys_belong_to_the_default_agent() {
        let main = AgentId::main();
        let key = SessionKey::resolve("main", &main);
        assert_eq!(key.as_ref().map(SessionKey::as_str), Ok("agent:main:main"));
        assert_eq!(key.map(|k| k.agent()), Ok(main.clone()));
        assert!(SessionKey::resolve("agent:BAD:x", &main).is_err());
        assert!(SessionKey::resolve("", &main).is_err());
    }
}
