//! What an error is to a client: a closed list. The wire forms are one table in `adjutant-protocol`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an error is to a client.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    /// The bytes are not the format.
    Unparsable,
    /// The envelope is wrong.
    InvalidRequest,
    /// No such method.
    UnknownMethod,
    /// The parameters do not fit.
    InvalidParams,
    /// A bug of ours.
    Internal,
    /// No such thing.
    NotFound,
    /// The credential is missing or wrong.
    Unauthorized,
    /// The credential lacks the scope.
    Forbidden,
    /// The device is not paired.
    NotPaired,
    /// Somebody else changed it first, or the state does not allow it.
    Conflict,
    /// The same idempotency key with another body.
    KeyReused,
    /// Too much, too soon.
    RateLimited,
    /// The money or token cap is reached.
    BudgetSpent,
    /// Larger than a limit.
    TooLarge,
    /// A session that ended by its expiry rule.
    Expired,
    /// The agent did not finish in time.
    AgentTimeout,
    /// May work later.
    Unavailable,
}

/// Every public error says what it is to a client.
pub trait Coded {
    /// Its place in the closed list.
    fn code(&self) -> Code;
}
