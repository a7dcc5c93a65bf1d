//! What a client sees when a call does not work, and the one table of its wire forms.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use adjutant_domain::code::{Code, Coded};

/// Whether calling again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same call will fail the same way.
    Never,
    /// Once more is sensible.
    Once,
    /// Later; `retryAfterMs` says when, if known.
    After,
}

/// The wire forms of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wire {
    /// Our word; in JSON-RPC it is `error.data.code`.
    pub word: &'static str,
    /// `error.code` in Frames.
    pub frames: &'static str,
    /// `error.code` in JSON-RPC.
    pub rpc: i32,
    /// HTTP status, where the answer is not a JSON-RPC envelope.
    pub http: u16,
    /// Whether calling again can help.
    pub retry: Retry,
}

/// Our one number for everything that JSON-RPC has no number for; the word says what it is.
pub const RPC_OURS: i32 = -32000;

macro_rules! codes {
    ($( $code:ident $word:literal $frames:literal $rpc:expr, $http:literal $retry:ident; )*) => {
        /// The wire forms of a code.
        #[must_use]
        pub const fn wire(code: Code) -> Wire {
            match code {
                $( Code::$code => Wire {
                    word: $word, frames: $frames, rpc: $rpc, http: $http, retry: Retry::$retry,
                }, )*
            }
        }

        /// Every code, in the order of the table.
        pub const CODES: &[Code] = &[ $( Code::$code, )* ];
    };
}

codes! {
    // code        word                    frames                  rpc      http retry
    Unparsable     "UNPARSABLE"            "INVALID_REQUEST"       -32700, 400 Never;
    InvalidRequest "INVALID_REQUEST"       "INVALID_REQUEST"       -32600, 400 Never;
    UnknownMethod  "UNKNOWN_METHOD"        "INVALID_REQUEST"       -32601, 404 Never;
    InvalidParams  "INVALID_PARAMS"        "INVALID_REQUEST"       -32602, 400 Never;
    Internal       "INTERNAL"              "UNAVAILABLE"           -32603, 500 Once;
    NotFound       "NOT_FOUND"             "INVALID_REQUEST"       RPC_OURS, 404 Never;
    Unauthorized   "UNAUTHORIZED"          "INVALID_REQUEST"       RPC_OURS, 401 Never;
    Forbidden      "FORBIDDEN"             "FORBIDDEN"             RPC_OURS, 403 Never;
    NotPaired      "NOT_PAIRED"            "NOT_PAIRED"            RPC_OURS, 403 Never;
    Conflict       "CONFLICT"              "INVALID_REQUEST"       RPC_OURS, 409 Never;
    KeyReused      "IDEMPOTENCY_MISMATCH"  "INVALID_REQUEST"       RPC_OURS, 409 Never;
    RateLimited    "RATE_LIMITED"          "UNAVAILABLE"           RPC_OURS, 429 After;
    BudgetSpent    "BUDGET_SPENT"          "UNAVAILABLE"           RPC_OURS, 402 Never;
    TooLarge       "TOO_LARGE"             "INVALID_REQUEST"       RPC_OURS, 413 Never;
    Expired        "EXPIRED"               "INVALID_REQUEST"       RPC_OURS, 410 Never;
    AgentTimeout   "AGENT_TIMEOUT"         "AGENT_TIMEOUT"         RPC_OURS, 504 Once;
    Unavailable    "UNAVAILABLE"           "UNAVAILABLE"           RPC_OURS, 503 After;
}

/// What a client sees: a code, a sentence, and what to do. Never a Rust `Debug`, never a secret.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// What it is to a client.
    pub code: Code,
    /// A sentence.
    pub message: String,
    /// What to do about it.
    pub hint: Option<Box<str>>,
    /// How long to wait before the next attempt.
    pub retry_after: Option<Duration>,
    /// Finds the logs of this call.
    pub trace_id: Option<Box<str>>,
    /// More, for programs.
    pub details: Option<Box<Value>>,
}

impl Fault {
    /// A fault with a sentence.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
            retry_after: None,
            trace_id: None,
            details: None,
        }
    }

    /// With what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Box<str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the time to wait before the next attempt.
    #[must_use]
    pub fn with_retry_after(mut self, span: Duration) -> Self {
        self.retry_after = Some(span);
        self
    }

    /// With more, for programs.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// With the identifier that finds the logs of this call.
    #[must_use]
    pub fn with_trace(mut self, trace_id: impl Into<Box<str>>) -> Self {
        self.trace_id = Some(trace_id.into());
        self
    }

    /// Its wire forms.
    #[must_use]
    pub const fn wire(&self) -> Wire {
        wire(self.code)
    }

    /// Whether calling again can help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        !matches!(self.wire().retry, Retry::Never)
    }

    /// `retryAfterMs`, if there is one.
    #[must_use]
    pub fn retry_after_ms(&self) -> Option<u64> {
        self.retry_after
            .map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
    }

    /// Parameters of `method` do not fit.
    #[must_use]
    pub fn params(method: &str, reason: impl fmt::Display) -> Self {
        Self::new(
            Code::InvalidParams,
            format!("invalid {method} params: {reason}"),
        )
    }

    /// There is no such thing.
    #[must_use]
    pub fn not_found(what: &str, name: impl fmt::Display) -> Self {
        Self::new(Code::NotFound, format!("no such {what}: {name}"))
    }

    /// There is no such method.
    #[must_use]
    pub fn unknown_method(name: &str) -> Self {
        let name: String = name.chars().take(128).collect();
        Self::new(Code::UnknownMethod, format!("unknown method: {name}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: Coded + std::error::Error> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// Our word for a code read from the wire, as the client sees it.
#[must_use]
pub fn code_of_word(word: &str) -> Option<Code> {
    CODES.iter().copied().find(|code| wire(*code).word == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_word() {
        for code in CODES {
            assert_eq!(code_of_word(wire(*code).word), Some(*code));
        }
    }

    #[test]
    fn only_the_reserved_json_rpc_numbers_and_ours_are_used() {
        for code in CODES {
            let n = wire(*code).rpc;
            assert!(
                n == RPC_OURS || n == -32700 || (-32603..=-32600).contains(&n),
                "{code:?} {n}"
            );
        }
    }
}
