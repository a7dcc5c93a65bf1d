//! What a command came to when it did not work: a number for scripts, a sentence for people, a code for both.

use std::fmt;
use std::process::ExitCode;

use adjutant_client::ClientError;
use serde::Serialize;
use serde_json::{Value, json};

/// The code of a failure that means: the reader of stdout has gone, say nothing more.
const READER_GONE: &str = "READER_GONE";

/// The exit codes, and nothing but these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: failed.
    Failed,
    /// 2: the command line is wrong, or input is missing.
    Usage,
    /// 3: there is no such thing.
    NotFound,
    /// 4: denied, or approval is needed.
    Denied,
    /// 5: something else was first, or the state does not allow it.
    Conflict,
    /// 6: the gateway cannot be reached.
    Unreachable,
    /// 7: it took too long.
    Timeout,
    /// 8: done in part.
    Partial,
    /// 78: the configuration is wrong.
    Config,
    /// 130: interrupted from the keyboard.
    Interrupted,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Denied => 4,
            Self::Conflict => 5,
            Self::Unreachable => 6,
            Self::Timeout => 7,
            Self::Partial => 8,
            Self::Config => 78,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

/// Why a command did not work.
#[derive(Debug, Clone, PartialEq, thiserror::Error, Serialize)]
#[error("{message}")]
pub struct Failure {
    /// Which exit code it becomes.
    #[serde(skip)]
    pub exit: Exit,
    /// Its name for programs, in upper snake case.
    pub code: String,
    /// What happened, to what.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// More, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<Value>>,
}

impl Failure {
    /// A failure with a sentence.
    #[must_use]
    pub fn new(exit: Exit, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            exit,
            code: code.into(),
            message: message.into(),
            hint: None,
            details: None,
        }
    }

    /// With what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With what to do about it when there is no such thing and nothing better was said.
    #[must_use]
    pub fn or_hint(mut self, hint: impl Into<String>) -> Self {
        if self.exit == Exit::NotFound && self.hint.is_none() {
            self.hint = Some(hint.into());
        }
        self
    }

    /// With more, for programs.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// The command line is wrong, or input is missing.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "USAGE", message)
    }

    /// There is no such thing.
    #[must_use]
    pub fn not_found(what: &str, name: impl fmt::Display) -> Self {
        Self::new(
            Exit::NotFound,
            "NOT_FOUND",
            format!("no such {what}: `{name}`"),
        )
    }

    /// It took longer than allowed.
    #[must_use]
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(Exit::Timeout, "TIMEOUT", message)
    }

    /// Interrupted from the keyboard.
    #[must_use]
    pub fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "INTERRUPTED", "interrupted")
    }

    /// The reader of stdout has gone, and wants to hear nothing more.
    #[must_use]
    pub fn reader_gone() -> Self {
        Self::new(Exit::Done, READER_GONE, "the reader has gone")
    }

    pub(crate) fn is_reader_gone(&self) -> bool {
        self.code == READER_GONE
    }

    /// A file or stream could not be read or written.
    #[must_use]
    pub fn io(what: impl fmt::Display, error: &std::io::Error) -> Self {
        let exit = match error.kind() {
            std::io::ErrorKind::NotFound => Exit::NotFound,
            std::io::ErrorKind::AlreadyExists => Exit::Conflict,
            _ => Exit::Failed,
        };
        let code = match exit {
            Exit::NotFound => "NOT_FOUND",
            Exit::Conflict => "CONFLICT",
            _ => "IO",
        };
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
            std::io::ErrorKind::AlreadyExists => "it exists already".to_owned(),
            std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => error.to_string(),
        };
        Self::new(exit, code, format!("{what}: {reason}"))
    }

    /// The document printed with `--json`.
    #[must_use]
    pub fn document(&self) -> Value {
        json!({ "error": self })
    }

    /// What a person reads: `error:` and, on its own line, `hint:`.
    #[must_use]
    pub fn text(&self) -> String {
        match &self.hint {
            Some(hint) => format!("error: {}\nhint: {hint}", self.message),
            None => format!("error: {}", self.message),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        match error {
            ClientError::BadEndpoint { hint, .. } => Self::new(Exit::Usage, "BAD_ENDPOINT", message).with_hint(hint),
            ClientError::Unreachable { .. } => Self::new(Exit::Unreachable, "UNREACHABLE", message)
                .with_hint("start a gateway with `adjutant gateway start`, or look with `adjutant gateway status`"),
            ClientError::Untrusted { hint, .. } => Self::new(Exit::Denied, "TLS_UNTRUSTED", message).with_hint(hint),
            ClientError::Refused { code, hint, retry_after, .. } => {
                let message = without_method(&code, message);
                let mut failure = Self::new(exit_of_code(&code), code, message);
                failure.hint = hint.or_else(|| {
                    retry_after.map(|span| format!("try again in {} s", span.as_millis().div_ceil(1000)))
                });
                failure
            }
            ClientError::TimedOut { .. } => {
                Self::new(Exit::Timeout, "TIMEOUT", message).with_hint("give it longer with `--timeout`, as in `--timeout 5m`")
            }
            ClientError::Closed { .. } => Self::new(Exit::Unreachable, "CONNECTION_CLOSED", message)
                .with_hint("see `adjutant status` for what became of it"),
            ClientError::Unreadable { .. } | ClientError::Unwritable { .. } => {
                Self::new(Exit::Failed, "PROTOCOL", message).with_hint(
                    "the program and the gateway may be of different versions: `adjutant gateway restart`",
                )
            }
        }
    }
}

/// A refusal of arguments without the name of the method: people typed a command.
fn without_method(code: &str, message: String) -> String {
    match message.split_once(" params: ") {
        Some((head, rest)) if code == "INVALID_PARAMS" && head.starts_with("invalid ") => {
            rest.to_owned()
        }
        _ => message,
    }
}

/// The exit code for a code on the wire.
fn exit_of_code(code: &str) -> Exit {
    match code {
        "NOT_FOUND" => Exit::NotFound,
        "FORBIDDEN" | "UNAUTHORIZED" | "NOT_PAIRED" | "BUDGET_SPENT" => Exit::Denied,
        "CONFLICT" | "IDEMPOTENCY_MISMATCH" | "EXPIRED" => Exit::Conflict,
        "AGENT_TIMEOUT" => Exit::Timeout,
        "INVALID_PARAMS" => Exit::Usage,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[track_caller]
    fn check(code: &str, exit: u8) {
        let error = ClientError::Refused {
            code: code.to_owned(),
            message: "no".to_owned(),
            hint: None,
            retry_after: None,
        };
        assert_eq!(Failure::from(error).exit.number(), exit, "{code}");
    }

    #[test]
    fn codes_on_the_wire_become_the_documented_exit_codes() {
        check("NOT_FOUND", 3);
        check("FORBIDDEN", 4);
        check("BUDGET_SPENT", 4);
        check("CONFLICT", 5);
        check("AGENT_TIMEOUT", 7);
        check("INTERNAL", 1);
    }

    #[test]
    fn a_refusal_of_arguments_does_not_speak_of_methods() {
        let failure = Failure::from(ClientError::Refused {
            code: "INVALID_PARAMS".to_owned(),
            message: "invalid agents.create params: there is no tool `x`".to_owned(),
            hint: None,
            retry_after: None,
        });
        assert_eq!(failure.message, "there is no tool `x`");
        assert_eq!(failure.exit, Exit::Usage);
    }

    #[test]
    fn an_absent_gateway_is_exit_6_and_says_how_to_start_one() {
        let failure = Failure::from(ClientError::Unreachable {
            endpoint: "unix:/tmp/x".to_owned(),
            reason: "the socket file does not exist".to_owned(),
        });
        assert_eq!(failure.exit, Exit::Unreachable);
        insta::assert_snapshot!(failure.text(), @r"
        error: no gateway answers at `unix:/tmp/x`: the socket file does not exist
        hint: start a gateway with `adjutant gateway start`, or look with `adjutant gateway status`
        ");
    }

    #[test]
    fn a_rate_limit_says_when_to_try_again() {
        let failure = Failure::from(ClientError::Refused {
            code: "RATE_LIMITED".to_owned(),
            message: "too many attempts".to_owned(),
            hint: None,
            retry_after: Some(Duration::from_millis(1_500)),
        });
        assert_eq!(failure.hint.as_deref(), Some("try again in 2 s"));
    }

    #[test]
    fn the_json_form_has_code_message_and_hint() {
        let failure = Failure::not_found("agent", "x").with_hint("see `adjutant agent list`");
        insta::assert_snapshot!(failure.document(), @r#"{"error":{"code":"NOT_FOUND","message":"no such agent: `x`","hint":"see `adjutant agent list`"}}"#);
    }
}
