//! `shell_run`: a command behind the walls.

use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;

use adjutant_domain::agent::TrustLevel;
use adjutant_domain::tool::{ActionClass, Effect, Operand, ToolOutcome, ToolSpec};
use adjutant_policy::Permit;
use adjutant_ports::ToolCx;

use crate::process::Runner;
use crate::tool::{Act, Halt, Traits};

/// Runs the command with the shell that policy parses, or with the system's own where that one is missing. The system
/// tree inside the walls is the host's.
const SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Args {
    command: String,
    timeout_ms: Option<u64>,
}

pub(crate) struct Run {
    spec: ToolSpec,
    runner: Runner,
    shell: &'static str,
}

impl Run {
    pub(crate) fn new(runner: Runner) -> Self {
        let traits = Traits {
            name: "shell_run",
            about: "Run a bash command in the workspace, sandboxed, without network.",
            effect: Effect::Once,
            level: TrustLevel::L4,
            class: ActionClass::ExecSandbox,
            operands: vec![Operand::Command {
                arg: "command".to_owned(),
            }],
        };
        let [bash, sh] = SHELLS;
        let shell = if std::path::Path::new(bash).exists() {
            bash
        } else {
            sh
        };
        Self {
            spec: traits.with::<Args>(),
            runner,
            shell,
        }
    }
}

#[async_trait]
impl Act for Run {
    type Args = Args;

    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn act(&self, args: Args, permit: &Permit, cx: &ToolCx) -> Result<ToolOutcome, Halt> {
        let argv = vec![self.shell.to_owned(), "-c".to_owned(), args.command];
        let outcome = self
            .runner
            .run(argv, Bytes::new(), args.timeout_ms, permit, cx)
            .await?;
        Ok(self.runner.tell(&outcome))
    }
}
