//! Attacks on the walls: tried from the inside with the programs every Debian has, judged from the outside.
//!
//! What a judge can see from outside (a file that changed, a connection that arrived, a process that lives) is asked
//! there; what only the inside can tell (a system call's answer) is read from its output. An attempt that did not even
//! start proves nothing and is reported as skipped.

mod scene;
mod trials;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use adjutant_ports::sandbox::{
    Command, ProcessLimits, ProcessOutcome, Profile, Sandbox, SandboxError, WorkspaceAccess,
};

use crate::probe::with_causes;
use crate::verify::scene::Scene;
use crate::verify::trials::{Tool, Trial};

/// How one attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The walls held.
    Held,
    /// Something got through.
    Escaped,
    /// It could not be tried; this is not a pass.
    Skipped,
}

/// One attempt to get out, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EscapeTrial {
    /// Short stable name.
    pub name: String,
    /// What was tried, for people.
    pub what: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What was observed.
    pub detail: String,
}

impl EscapeTrial {
    /// Whether the walls held.
    #[must_use]
    pub fn held(&self) -> bool {
        self.verdict == Verdict::Held
    }
}

/// What every script says first, so that an attempt that never began is not taken for a wall.
const BEGUN: &str = "begun\n";

/// Tries to get out of `sandbox` in every way we know; `scratch` is an empty directory for the scenery.
///
/// # Errors
/// An I/O error if the scenery (planted secrets, listeners, a process to attack) cannot be set up.
pub async fn verify(sandbox: &dyn Sandbox, scratch: &Path) -> std::io::Result<Vec<EscapeTrial>> {
    let scene = Scene::build(scratch)?;
    let tools = Tools::look(sandbox, &scene).await;
    let mut results = Vec::new();
    for trial in trials::all(&scene) {
        let (verdict, detail) = match tools.lacks(trial.tool) {
            Some(reason) => (Verdict::Skipped, reason),
            None => attempt(sandbox, &scene, &trial).await,
        };
        results.push(EscapeTrial {
            name: trial.name.to_owned(),
            what: trial.what.to_owned(),
            verdict,
            detail,
        });
    }
    Ok(results)
}

/// Which programs the attempts can use, or why nothing runs at all.
struct Tools {
    nothing_runs: Option<String>,
    no_perl: Option<String>,
}

impl Tools {
    async fn look(sandbox: &dyn Sandbox, scene: &Scene) -> Self {
        let hello = |argv: &[&str]| {
            let argv: Vec<String> = argv.iter().map(|it| (*it).to_owned()).collect();
            async move {
                let run = run(sandbox, scene, argv, WorkspaceAccess::ReadOnly, limits()).await;
                match run {
                    Ok(outcome) if outcome.stdout.as_ref() == b"hello" => None,
                    Ok(outcome) => Some(format!("{:?}: {}", outcome.ending, text(&outcome.stderr))),
                    Err(error) => Some(with_causes(&error)),
                }
            }
        };
        let nothing_runs = hello(&["sh", "-c", "printf hello"]).await;
        let no_perl = hello(&["perl", "-e", "print 'hello'"])
            .await
            .map(|it| format!("`perl` does not run inside: {it}"));
        Self {
            nothing_runs,
            no_perl,
        }
    }

    fn lacks(&self, tool: Tool) -> Option<String> {
        let perl = if tool == Tool::Perl {
            self.no_perl.clone()
        } else {
            None
        };
        self.nothing_runs.clone().or(perl)
    }
}

/// Limits of an ordinary attempt: short, so that a wall that fails open does not keep us.
fn limits() -> ProcessLimits {
    ProcessLimits {
        wall: Duration::from_secs(10),
        ..ProcessLimits::default()
    }
}

async fn attempt(sandbox: &dyn Sandbox, scene: &Scene, trial: &Trial) -> (Verdict, String) {
    let argv = match trial.tool {
        Tool::Shell => vec![
            "sh".to_owned(),
            "-c".to_owned(),
            format!("echo begun\n{}", trial.script),
        ],
        Tool::Perl => vec![
            "perl".to_owned(),
            "-e".to_owned(),
            format!("$| = 1; print \"begun\\n\";\n{}", trial.script),
        ],
    };
    let mut limits = limits();
    (trial.adjust)(&mut limits);
    let outcome = match run(sandbox, scene, argv, trial.access, limits).await {
        Ok(outcome) => outcome,
        Err(error) => return (Verdict::Skipped, with_causes(&error)),
    };
    let Some(said) = outcome.stdout.strip_prefix(BEGUN.as_bytes()) else {
        return (
            Verdict::Skipped,
            format!("the attempt did not begin: {}", text(&outcome.stderr)),
        );
    };
    let said = String::from_utf8_lossy(said.get(..said.len().min(4096)).unwrap_or_default())
        .trim()
        .to_owned();
    match (trial.judge)(
        scene,
        &Seen {
            said: &said,
            outcome: &outcome,
        },
    ) {
        Ok(detail) => (Verdict::Held, detail),
        Err(detail) => (Verdict::Escaped, detail),
    }
}

async fn run(
    sandbox: &dyn Sandbox,
    scene: &Scene,
    argv: Vec<String>,
    access: WorkspaceAccess,
    limits: ProcessLimits,
) -> Result<ProcessOutcome, SandboxError> {
    let command = Command {
        argv,
        cwd: scene.workspace.clone(),
        env: Vec::new(),
        stdin: Bytes::new(),
    };
    let profile = Profile {
        workspace: scene.workspace.clone(),
        access,
        read_only: Vec::new(),
        hidden: vec![scene.state.clone(), scene.state_inside.clone()],
        limits,
    };
    sandbox.run(command, &profile).await
}

/// What a judge looks at.
struct Seen<'a> {
    /// The beginning of standard output, after the mark.
    said: &'a str,
    outcome: &'a ProcessOutcome,
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes.get(..bytes.len().min(400)).unwrap_or_default())
        .trim()
        .to_owned()
}
