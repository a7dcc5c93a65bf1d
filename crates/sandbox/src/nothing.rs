//! The sandbox of a machine without walls: it says what is missing and runs nothing (S34).

use async_trait::async_trait;

use adjutant_ports::sandbox::{
    Command, ProcessOutcome, Profile, Sandbox, SandboxError, SandboxReport,
};

/// Refuses every command and names what is missing.
#[derive(Debug, Clone)]
pub struct NoWalls {
    missing: String,
}

impl NoWalls {
    /// `missing` says what is missing and what would bring it.
    #[must_use]
    pub fn new(missing: impl Into<String>) -> Self {
        Self {
            missing: missing.into(),
        }
    }

    /// The refusal for this operating system, for which no driver exists.
    #[must_use]
    pub fn for_this_system() -> Self {
        Self::new(format!(
            "there is no process sandbox for {} yet, so commands are not run; use a Linux machine or a Linux virtual machine",
            std::env::consts::OS
        ))
    }
}

#[async_trait]
impl Sandbox for NoWalls {
    async fn run(
        &self,
        _command: Command,
        _profile: &Profile,
    ) -> Result<ProcessOutcome, SandboxError> {
        Err(SandboxError::Unavailable {
            reason: self.missing.clone(),
        })
    }

    async fn report(&self) -> SandboxReport {
        SandboxReport {
            driver: "none".to_owned(),
            available: false,
            floor: Vec::new(),
            missing: vec![self.missing.clone()],
        }
    }
}
