//! What a family of commands is: one trait, one fault.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What happens if a command runs twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it only looks.
    Reads,
    /// It happens twice: it is never run again after its outcome was lost.
    Once,
}

/// One command of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// `camera.snap`.
    pub name: &'static str,
    /// What happens if it runs twice.
    pub effect: Effect,
    /// Commands with the same word do not run at the same time: there is one camera, one screen.
    pub alone: Option<&'static str>,
}

impl Offer {
    /// A command that only looks.
    #[must_use]
    pub const fn reads(name: &'static str) -> Self {
        Self {
            name,
            effect: Effect::Reads,
            alone: None,
        }
    }

    /// A command that acts.
    #[must_use]
    pub const fn once(name: &'static str) -> Self {
        Self {
            name,
            effect: Effect::Once,
            alone: None,
        }
    }

    /// The same, alone with its kind.
    #[must_use]
    pub const fn alone(mut self, word: &'static str) -> Self {
        self.alone = Some(word);
        self
    }
}

/// One command to carry out.
#[derive(Debug, Clone)]
pub struct Order {
    /// `camera.snap`.
    pub command: String,
    /// Its parameters; an object.
    pub params: Value,
    /// How long the asker waits.
    pub timeout: Duration,
    /// Bytes an answer may have on this connection.
    pub answer_bytes_max: usize,
}

impl Order {
    /// The parameters as a type.
    ///
    /// # Errors
    /// `INVALID_PARAMS` naming what does not fit.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, NodeFault> {
        T::deserialize(&self.params)
            .map_err(|error| NodeFault::new("INVALID_PARAMS", format!("{}: {error}", self.command)))
    }
}

/// Why a command was not carried out, or did not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, Deserialize)]
#[error("{message}")]
pub struct NodeFault {
    /// `INVALID_PARAMS`, `CAMERA_DISABLED`, …
    pub code: String,
    /// What happened, and what to do about it.
    pub message: String,
}

impl NodeFault {
    /// A fault.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
        }
    }

    pub(crate) fn params(message: impl Into<String>) -> Self {
        Self::new("INVALID_PARAMS", message)
    }
}

/// A family of commands this machine really has.
#[async_trait]
pub trait Capability: Send + Sync {
    /// Its word in `caps`: `system`, `camera`, …
    fn family(&self) -> &'static str;

    /// Its commands.
    fn offers(&self) -> Vec<Offer>;

    /// Carries one out. Dropping the future ends whatever it started.
    ///
    /// # Errors
    /// [`NodeFault`], which the asker sees.
    async fn invoke(&self, order: &Order) -> Result<Value, NodeFault>;
}
