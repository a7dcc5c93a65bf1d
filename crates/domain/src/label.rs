//! Where a text came from and how far it is trusted. Labels combine downward only (invariant 17).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far a text is trusted. Greater is more.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Written by strangers: web pages, channel messages, mail.
    Outside,
    /// Found in the owner's own files or printed by a command; data, not instructions.
    Workspace,
    /// Said by the model.
    Model,
    /// Said by the owner, or by this program.
    Owner,
}

/// Where a text came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Origin {
    /// The owner typed it on a paired surface.
    Owner,
    /// This program wrote it.
    System,
    /// A model wrote it.
    Model,
    /// A file.
    File {
        /// Path as the agent named it.
        path: String,
    },
    /// Output of a command.
    Command,
    /// A page.
    Web {
        /// Address after redirects.
        url: String,
    },
    /// A remembered fact.
    Memory,
    /// Another device.
    Node {
        /// Its name or id as the agent wrote it.
        node: String,
    },
}

/// Origin and trust together; travels with the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Label {
    /// Where it came from.
    pub origin: Origin,
    /// How far it is trusted.
    pub trust: Trust,
}

impl Label {
    /// The label of text straight from `origin`.
    #[must_use]
    pub fn of(origin: Origin) -> Self {
        let trust = match origin {
            Origin::Owner | Origin::System => Trust::Owner,
            Origin::Model => Trust::Model,
            Origin::File { .. } | Origin::Command | Origin::Memory => Trust::Workspace,
            Origin::Web { .. } | Origin::Node { .. } => Trust::Outside,
        };
        Self { origin, trust }
    }

    /// The same label, trusted no further than `ceiling`.
    #[must_use]
    pub fn at_most(mut self, ceiling: Trust) -> Self {
        self.trust = self.trust.min(ceiling);
        self
    }
}
