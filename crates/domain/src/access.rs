//! What a connection may be, and what an operator may do.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a connection is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A person's surface: terminal, browser, script.
    Operator,
    /// A machine that lends its abilities.
    Node,
}

impl Role {
    /// As on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Node => "node",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a text is not a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown role; it is `operator` or `node`")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        match text {
            "operator" => Ok(Self::Operator),
            "node" => Ok(Self::Node),
            _ => Err(UnknownRole),
        }
    }
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

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every scope of `other` may be used by whoever has this set.
    #[must_use]
    pub fn cover(self, other: Self) -> bool {
        self.missing_for(other).is_none()
    }

    /// The first scope of `other` that this set does not cover.
    #[must_use]
    pub fn missing_for(self, other: Self) -> Option<Scope> {
        other.iter().find(|scope| !self.allow(*scope))
    }

    /// The scopes, in a fixed order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL
            .into_iter()
            .filter(move |s| self.0 & s.bit() != 0)
    }

    /// The scopes among these words; words that mean nothing here are left out.
    pub fn of_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let scopes: Vec<Scope> = words
            .into_iter()
            .filter_map(|word| word.parse().ok())
            .collect();
        Self::of(&scopes)
    }

    /// The part of `asked` that this set covers.
    #[must_use]
    pub fn narrowed_to_set(self, asked: Self) -> Self {
        let asked: Vec<Scope> = asked.iter().collect();
        self.narrowed_to(&asked)
    }

    /// The words of the set, in a fixed order.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        self.iter().map(Scope::word).collect()
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.words())
    }
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::of(&Vec::<Scope>::deserialize(deserializer)?))
    }
}

impl JsonSchema for Scopes {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scopes".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Vec::<Scope>::json_schema(generator)
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

    #[test]
    fn a_set_survives_its_text_form_and_knows_what_it_covers() {
        let set = Scopes::of(&[Scope::Write, Scope::Pairing]);
        let text = serde_json::to_string(&set).unwrap_or_default();
        assert_eq!(text, r#"["operator.write","operator.pairing"]"#);
        assert_eq!(serde_json::from_str::<Scopes>(&text).ok(), Some(set));
        assert!(set.cover(Scopes::of(&[Scope::Read])) && !set.cover(Scopes::ALL));
        assert_eq!(
            set.missing_for(Scopes::of(&[Scope::Read, Scope::Approvals])),
            Some(Scope::Approvals)
        );
        assert_eq!(
            Scopes::of_words(["operator.read", "operator.talk"]).words(),
            ["operator.read"]
        );
    }
}
