//! The lab: measurements and torments of a release build, by `crates/lab`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context as _, Result, bail};

use crate::tree;

/// Builds these packages in release. Returns where the programs are.
///
/// One after the other: built together, each has the features of libraries that the other asks for, and what is measured is
/// not what people build.
pub(crate) fn build(packages: &[&str]) -> Result<PathBuf> {
    let root = tree::root();
    for package in packages {
        let built = Command::new(env!("CARGO"))
            .current_dir(root)
            .args(["build", "--release", "--locked", "--package", package])
            .status();
        if !built.context("cargo build")?.success() {
            bail!("the release build of {package} failed");
        }
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
    Ok(verdict(status))
}

/// Builds the program in release, and once more for development with the feature `failpoints`, in a folder of its own; then
/// runs the fault campaign. With `--dev` first, the development build is tormented in both roles, and so nothing is said about
/// the binary for every day.
pub(crate) fn chaos(arguments: &[String]) -> Result<ExitCode> {
    let is_dev = arguments.first().is_some_and(|it| it == "--dev");
    let rest = arguments.get(usize::from(is_dev)..).unwrap_or_default();
    let root = tree::root();
    let armed = target(root).join("failpoints");
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(root)
        .args(["build", "--locked", "--package", "adjutant", "--package"])
        .args(["adjutant-lab", "--features", "adjutant/failpoints"])
        .arg("--target-dir")
        .arg(&armed);
    if !command.status().context("cargo build")?.success() {
        bail!("the build with fail points failed");
    }
    let armed = armed.join("debug");
    let out = if is_dev {
        armed.clone()
    } else {
        build(&["adjutant", "adjutant-lab"])?
    };
    let status = Command::new(out.join("adjutant-lab"))
        .arg("chaos")
        .arg("--adjutant")
        .arg(out.join("adjutant"))
        .arg("--failpoints")
        .arg(armed.join("adjutant"))
        .args(rest)
        .status()
        .context("the lab")?;
    Ok(verdict(status))
}

/// The exit code of the lab is its verdict; one that was killed has none.
fn verdict(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Where release builds go.
fn folder(root: &Path) -> PathBuf {
    target(root).join("release")
}

fn target(root: &Path) -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    root.join(target)
}
