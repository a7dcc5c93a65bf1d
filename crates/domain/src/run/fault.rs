//! How a model call ended, and what follows when it failed (R31).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::{Span, Timestamp};

/// Why the model stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum StopReason {
    /// It was done.
    End,
    /// It wants tools.
    ToolUse,
    /// It reached its output limit.
    Length,
    /// It, or a filter, refused.
    Refusal,
    /// Something we have no word for.
    Other {
        /// The provider's word.
        text: String,
    },
}

/// How a model call failed (R31).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum ModelFault {
    /// The credential is missing, wrong or not allowed this.
    Auth {
        /// The provider's words.
        text: String,
    },
    /// Too many requests, or no quota left for now.
    RateLimited {
        /// The provider's hint.
        retry_after: Option<Span>,
    },
    /// The provider is overloaded or broken.
    Unavailable {
        /// The provider's words.
        text: String,
    },
    /// No answer in time.
    TimedOut,
    /// The stream ended before the reply was complete.
    Cut,
    /// The answer could not be understood.
    Garbage {
        /// What was wrong.
        text: String,
    },
    /// The request itself was refused: too long, malformed, unknown model.
    Rejected {
        /// The provider's words.
        text: String,
    },
    /// The worker died while the answer was on its way.
    Lost,
}

impl ModelFault {
    /// Whether asking the same route again can help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::RateLimited { .. }
            | Self::Unavailable { .. }
            | Self::TimedOut
            | Self::Cut
            | Self::Garbage { .. }
            | Self::Lost => true,
            Self::Auth { .. } | Self::Rejected { .. } => false,
        }
    }

    /// A sentence for people; never holds a secret, because providers scrub theirs.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::Auth { text } => format!("the provider refused the credential: {text}"),
            Self::RateLimited {
                retry_after: Some(span),
            } => {
                format!("rate limited; the provider asks to wait {span}")
            }
            Self::RateLimited { retry_after: None } => "rate limited by the provider".to_owned(),
            Self::Unavailable { text } => format!("the provider is unavailable: {text}"),
            Self::TimedOut => "the provider did not answer in time".to_owned(),
            Self::Cut => "the answer was cut off".to_owned(),
            Self::Garbage { text } => format!("the answer could not be understood: {text}"),
            Self::Rejected { text } => format!("the provider rejected the request: {text}"),
            Self::Lost => "the worker was lost while the answer was on its way".to_owned(),
        }
    }
}

/// What follows a failed model call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Retry {
    /// The same route again.
    Same {
        /// Not before.
        at: Timestamp,
    },
    /// The next route, at once.
    NextRoute,
    /// Nothing: the run fails.
    GiveUp,
}
