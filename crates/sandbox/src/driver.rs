//! Which walls are used.

use std::sync::Arc;

use adjutant_ports::sandbox::Sandbox;
#[cfg(target_os = "linux")]
use adjutant_ports::sandbox::{Command, ProcessOutcome, Profile, SandboxError, SandboxReport};
#[cfg(target_os = "linux")]
use tokio::sync::OnceCell;

#[cfg(target_os = "linux")]
use crate::bubblewrap::Bubblewrap;
use crate::config::{Config, Driver};
#[cfg(target_os = "linux")]
use crate::native::Native;
use crate::nothing::NoWalls;

/// The sandbox for this machine.
///
/// Nothing is probed here: the first command or report does that, once. Without working walls every command is refused
/// with [`SandboxError::Unavailable`](adjutant_ports::sandbox::SandboxError::Unavailable); none runs on the host.
#[must_use]
pub fn best(config: &Config) -> Arc<dyn Sandbox> {
    match config.driver {
        Driver::None => Arc::new(NoWalls::new(
            "`sandbox.driver` is set to `none`, so commands are not run",
        )),
        driver => walls(driver, config),
    }
}

#[cfg(target_os = "linux")]
fn walls(driver: Driver, config: &Config) -> Arc<dyn Sandbox> {
    match driver {
        Driver::Bubblewrap => Arc::new(Bubblewrap::new(config)),
        Driver::Native => Arc::new(Native::new(config)),
        Driver::Auto | Driver::None => {
            Arc::new(BestWalls::new(Bubblewrap::new(config), Native::new(config)))
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn walls(_driver: Driver, _config: &Config) -> Arc<dyn Sandbox> {
    Arc::new(NoWalls::for_this_system())
}

/// There are no inner parts to play on this system.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn play_inner_part() -> Option<std::process::ExitCode> {
    None
}

/// bubblewrap where it works, else the walls of this program, else a refusal that gives both reasons.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub struct BestWalls {
    bubblewrap: Bubblewrap,
    native: Native,
    chosen: OnceCell<Chosen>,
}

#[cfg(target_os = "linux")]
#[derive(Debug)]
enum Chosen {
    Bubblewrap,
    Native,
    Nothing(NoWalls),
}

#[cfg(target_os = "linux")]
impl BestWalls {
    /// Chooses when it is first used.
    #[must_use]
    pub fn new(bubblewrap: Bubblewrap, native: Native) -> Self {
        Self {
            bubblewrap,
            native,
            chosen: OnceCell::new(),
        }
    }

    async fn chosen(&self) -> &dyn Sandbox {
        let choose = || async {
            let first = self.bubblewrap.report().await;
            if first.available {
                return Chosen::Bubblewrap;
            }
            let second = self.native.report().await;
            if second.available {
                tracing::debug!(why = first.missing.join("; "), "bubblewrap is not used");
                return Chosen::Native;
            }
            let missing: Vec<String> = [first.missing, second.missing].concat();
            Chosen::Nothing(NoWalls::new(missing.join("; and ")))
        };
        match self.chosen.get_or_init(choose).await {
            Chosen::Bubblewrap => &self.bubblewrap,
            Chosen::Native => &self.native,
            Chosen::Nothing(refusal) => refusal,
        }
    }
}

#[cfg(target_os = "linux")]
#[async_trait::async_trait]
impl Sandbox for BestWalls {
    async fn run(
        &self,
        command: Command,
        profile: &Profile,
    ) -> Result<ProcessOutcome, SandboxError> {
        self.chosen().await.run(command, profile).await
    }

    async fn report(&self) -> SandboxReport {
        self.chosen().await.report().await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use adjutant_ports::sandbox::{Command, ProcessLimits, Profile, SandboxError, WorkspaceAccess};
    use bytes::Bytes;

    // covers: S34
    #[tokio::test]
    async fn without_a_driver_commands_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = best(&Config {
            driver: Driver::None,
            ..Config::default()
        });
        let command = Command {
            argv: vec!["touch".into(), "ran".into()],
            cwd: dir.path().into(),
            env: vec![],
            stdin: Bytes::new(),
        };
        let profile = Profile {
            workspace: dir.path().into(),
            access: WorkspaceAccess::ReadWrite,
            read_only: vec![],
            hidden: vec![],
            limits: ProcessLimits::default(),
        };
        let result = sandbox.run(command, &profile).await;
        assert!(matches!(result, Err(SandboxError::Unavailable { .. })));
        assert!(!sandbox.report().await.available);
        assert!(!dir.path().join("ran").exists());
    }
}
