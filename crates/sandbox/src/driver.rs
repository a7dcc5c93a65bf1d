//! Which walls are used.

use std::sync::Arc;

use adjutant_ports::sandbox::Sandbox;

use crate::config::{Config, Driver};
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
        Driver::Auto | Driver::Bubblewrap => walls(config),
    }
}

#[cfg(target_os = "linux")]
fn walls(config: &Config) -> Arc<dyn Sandbox> {
    Arc::new(crate::bubblewrap::Bubblewrap::new(config))
}

#[cfg(not(target_os = "linux"))]
fn walls(_config: &Config) -> Arc<dyn Sandbox> {
    Arc::new(NoWalls::for_this_system())
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
