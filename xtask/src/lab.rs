//! The lab: measurements and torments of a release build, by `crates/lab`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::tree;

/// Builds these packages in release. Returns where the programs are.
pub(crate) fn build(packages: &[&str]) -> Result<PathBuf> {
    let root = tree::root();
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(root)
        .args(["build", "--release", "--locked"]);
    for package in packages {
        command.args(["--package", package]);
    }
    if !command.status().context("cargo build")?.success() {
        bail!("the release build failed");
    }
    Ok(folder(root))
}

/// Builds the program and the lab in release, then runs one of the lab's commands on the program.
pub(crate) fn run(command: &str, arguments: &[String]) -> Result<ExitCode> {
    let out = build(&["adjutant", "adjutant-lab"])?;
    let status = Command::new(out.join("adjutant-lab"))
        .arg(command)
        .arg("--adjutant")
        .arg(out.join("adjutant"))
        .args(arguments)
        .status()
        .context("the lab")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Where release builds go.
fn folder(root: &Path) -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    root.join(target).join("release")
}
