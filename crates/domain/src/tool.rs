//! Tools: what a model may call, and what a call came to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::agent::TrustLevel;
use crate::id::CallId;
use crate::label::Label;

/// What happens if a call runs twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing outside changes: may run again at will, and beside other reads.
    Reads,
    /// The second run changes nothing more: may run again with the same key (the call id).
    Idempotent,
    /// The second run would do it again: never repeated by a machine (R4).
    Once,
}

/// What kind of effect a call has, for approval rules (`subsystems/approvals.md`, AP-5).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ActionClass {
    /// Talks to the owner only.
    Talk,
    /// Reads inside the allowed folders or the agent's own memory.
    Read,
    /// Remembers or forgets something of the agent's own.
    Remember,
    /// Writes inside the workspace.
    Write,
    /// Writes in another allowed folder.
    WriteOutside,
    /// Removes something.
    Delete,
    /// Runs a command inside the sandbox.
    ExecSandbox,
    /// Fetches from the network.
    NetRead,
    /// Has another device do, record or tell something.
    Device,
}

impl ActionClass {
    /// Whether `ask_destructive` asks for it.
    #[must_use]
    pub fn is_destructive(self) -> bool {
        match self {
            Self::Talk
            | Self::Read
            | Self::Remember
            | Self::Write
            | Self::ExecSandbox
            | Self::NetRead => false,
            Self::WriteOutside | Self::Delete | Self::Device => true,
        }
    }
}

/// What an argument means to policy, so that the pipeline can judge a call without knowing the tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Operand {
    /// A path that is read.
    ReadPath {
        /// Argument name.
        arg: String,
    },
    /// A path that is written.
    WritePath {
        /// Argument name.
        arg: String,
    },
    /// A patch that names the paths it writes (unified diff or `*** Update File:` form).
    Patch {
        /// Argument name.
        arg: String,
    },
    /// A shell script.
    Command {
        /// Argument name.
        arg: String,
    },
    /// Source text for an interpreter.
    Code {
        /// Argument name.
        arg: String,
    },
    /// An address to fetch.
    Url {
        /// Argument name.
        arg: String,
    },
}

/// Something a model may call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolSpec {
    /// Name, unique: `file_read`.
    pub name: String,
    /// One sentence for the model.
    pub description: String,
    /// JSON Schema of the arguments, an object.
    pub schema: Value,
    /// What happens if a call runs twice.
    pub effect: Effect,
    /// Trust level from which an agent may have it.
    pub level: TrustLevel,
    /// Kind of effect; policy may raise it from the operands.
    pub class: ActionClass,
    /// What the arguments mean to policy.
    pub operands: Vec<Operand>,
    /// Whether the call waits for the owner's words instead of acting (`ask_user`).
    #[serde(default)]
    pub asks_owner: bool,
}

/// One call, as the model asked for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolCall {
    /// Our identifier and the idempotency key for the tool.
    pub id: CallId,
    /// The provider's identifier.
    pub wire_id: String,
    /// Tool name.
    pub name: String,
    /// Arguments.
    pub args: Value,
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum ToolOutcome {
    /// It did its work.
    Done {
        /// Text for the model.
        text: String,
        /// Where the text came from.
        label: Label,
    },
    /// It failed in a way the model can read and perhaps repair.
    Failed {
        /// What happened, to what, and what to try.
        text: String,
    },
    /// Policy or a person said no; nothing happened.
    Denied {
        /// Who said no and why.
        text: String,
    },
    /// It was started and nobody can say whether it happened (a crash in between). Not repeated by a machine.
    Unknown {
        /// What is known.
        text: String,
    },
}

impl ToolOutcome {
    /// The text for the model.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Done { text, .. }
            | Self::Failed { text }
            | Self::Denied { text }
            | Self::Unknown { text } => text,
        }
    }

    /// Whether the model should read it as an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        !matches!(self, Self::Done { .. })
    }

    /// One word, for events and metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
            Self::Failed { .. } => "failed",
            Self::Denied { .. } => "denied",
            Self::Unknown { .. } => "unknown",
        }
    }
}
