//! Unmodified programs of the `OpenClaw` family against a build of ours, by `e2e/clients`.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::{lab, tree};

/// Builds the program and the stand-in model in release, unless a program is given, then drives the clients.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let root = tree::root();
    let given = |name: &str| {
        arguments
            .iter()
            .any(|it| it == name || it.starts_with(&format!("{name}=")))
    };
    let has_program = given("--gateway-bin") || given("--original");
    let out = if has_program {
        lab::build(&["adjutant-lab"])?
    } else {
        lab::build(&["adjutant", "adjutant-lab"])?
    };
    let mut command = Command::new("node");
    command.arg(root.join("e2e/clients/run.mjs"));
    if !has_program {
        command.arg("--gateway-bin").arg(out.join("adjutant"));
    }
    if !given("--lab-bin") {
        command.arg("--lab-bin").arg(out.join("adjutant-lab"));
    }
    let status = command
        .args(arguments)
        .status()
        .context("node (sudo apt-get install nodejs npm tmux chromium)")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
