//! `cargo xtask test`: what the tests need, then the tests.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::tree;

/// Looks around, says what is missing, runs the tests, and repeats the closing lines at the end.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    for line in prepare()? {
        eprintln!("{line}");
    }
    let cargo = std::env::var("CARGO").unwrap_or_else(|_unset| "cargo".to_owned());
    let mut child = Command::new(cargo)
        .args(["test", "--workspace", "--locked", "--no-fail-fast"])
        .args(arguments)
        .current_dir(tree::root())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting cargo test")?;
    let stdout = child.stdout.take().context("cargo test has no output")?;
    let mut closing = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("reading the output of cargo test")?;
        println!("{line}");
        if line.starts_with("test result:") {
            closing.push(line);
        }
    }
    let status = child.wait().context("waiting for cargo test")?;
    println!(
        "\n{}",
        summary(&closing, if status.success() { "ok" } else { "FAILED" })
    );
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Brings what can be brought and names the rest with the command that installs it.
fn prepare() -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let walls = Command::new("bwrap")
        .args(["--unshare-all", "--ro-bind", "/", "/", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match walls {
        Ok(status) if status.success() => lines.push("found: bubblewrap, with user namespaces".to_owned()),
        Ok(_) => lines.push(
            "missing: user namespaces; sandbox tests say so and skip. Allow them with: \
             sudo sysctl -w kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0"
                .to_owned(),
        ),
        Err(_) => lines.push(
            "missing: bubblewrap; tests of its walls say so and skip. Install it with: sudo apt-get install bubblewrap"
                .to_owned(),
        ),
    }
    lines.push(postgres());
    let has_npm = Command::new("npm")
        .arg("--version")
        .output()
        .is_ok_and(|out| out.status.success());
    for folder in npm_folders()? {
        let shown = folder
            .strip_prefix(tree::root())
            .unwrap_or(&folder)
            .display()
            .to_string();
        if is_installed(&folder) {
            lines.push(format!("found: {shown}/node_modules"));
        } else if has_npm {
            eprintln!("installing the test servers of {shown} (npm ci)");
            let done = Command::new("npm")
                .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
                .current_dir(&folder)
                .stdout(Stdio::null())
                .status();
            if done.is_ok_and(|status| status.success()) {
                lines.push(format!("installed: {shown}/node_modules"));
            } else {
                lines.push(format!(
                    "missing: npm ci failed in {shown}; tests against its servers say so and skip"
                ));
            }
        } else {
            lines.push(format!(
                "missing: Node.js; tests against the servers of {shown} say so and skip. \
                 Install it with: sudo apt-get install nodejs npm"
            ));
        }
    }
    for folder in folders_with("requirements.txt")? {
        lines.push(python(&folder));
    }
    Ok(lines)
}

/// The server that the tests of the PostgreSQL store start for themselves, or the one they are told to use.
fn postgres() -> String {
    if std::env::var_os("ADJUTANT_TEST_POSTGRES_URL").is_some() {
        return "found: ADJUTANT_TEST_POSTGRES_URL".to_owned();
    }
    let packaged = Path::new("/usr/lib/postgresql");
    let has_server = packaged
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .any(|version| version.path().join("bin/initdb").exists());
    let has_pooler = Path::new("/usr/sbin/pgbouncer").exists();
    match (has_server, has_pooler) {
        (true, true) => "found: PostgreSQL and pgbouncer".to_owned(),
        (true, false) => "missing: pgbouncer; the test with a pooler says so and skips. \
                          Install it with: sudo apt-get install pgbouncer"
            .to_owned(),
        (false, _) => "missing: PostgreSQL; tests against it say so and skip. Install it with: \
                       sudo apt-get install postgresql pgbouncer"
            .to_owned(),
    }
}

/// Makes the virtual environment of a test beside its list of packages, which has a digest for each.
fn python(folder: &Path) -> String {
    let shown = folder
        .strip_prefix(tree::root())
        .unwrap_or(folder)
        .display();
    let list = folder.join("requirements.txt");
    let mark = folder.join(".venv/installed.txt");
    let wanted = std::fs::read_to_string(&list).unwrap_or_default();
    if std::fs::read_to_string(&mark).is_ok_and(|it| it == wanted) {
        return format!("found: {shown}/.venv");
    }
    eprintln!("installing the Python packages of {shown}");
    let run = |program: PathBuf, arguments: &[&str]| {
        let done = Command::new(program)
            .args(arguments)
            .current_dir(folder)
            .stdout(Stdio::null())
            .status();
        done.is_ok_and(|status| status.success())
    };
    let made = run("python3".into(), &["-m", "venv", ".venv"])
        && run(
            folder.join(".venv/bin/pip"),
            &[
                "install",
                "--quiet",
                "--no-deps",
                "--require-hashes",
                "--only-binary=:all:",
                "-r",
                "requirements.txt",
            ],
        )
        && std::fs::write(&mark, wanted).is_ok();
    if made {
        format!("installed: {shown}/.venv")
    } else {
        format!(
            "missing: the Python packages of {shown}; tests with them say so and skip. \
             They need: sudo apt-get install python3-venv"
        )
    }
}

/// Folders of the tests with an npm lock file.
fn npm_folders() -> Result<Vec<PathBuf>> {
    folders_with("package-lock.json")
}

/// Folders that hold a file of this name.
fn folders_with(name: &str) -> Result<Vec<PathBuf>> {
    let files = tree::files(tree::root())?;
    // The clients of `e2e` come with their own script.
    let kept = |path: &Path| {
        path.components().any(|part| {
            ["tests", "web", "apps"]
                .iter()
                .any(|it| part.as_os_str() == *it)
        })
    };
    let locks = files
        .into_iter()
        .filter(|path| path.ends_with(name) && kept(path));
    Ok(locks
        .filter_map(|path| path.parent().map(Path::to_owned))
        .collect())
}

/// Whether what is installed is as new as the lock file.
fn is_installed(folder: &Path) -> bool {
    let changed = |path: PathBuf| path.metadata().and_then(|it| it.modified()).ok();
    let lock = changed(folder.join("package-lock.json"));
    let installed = changed(folder.join("node_modules/.package-lock.json"));
    matches!((lock, installed), (Some(lock), Some(installed)) if lock <= installed)
}

/// The closing lines and their sum.
fn summary(closing: &[String], verdict: &str) -> String {
    let count = |word: &str| -> u64 {
        let counts = closing.iter().filter_map(|line| {
            let part = line
                .split(['.', ';'])
                .map(str::trim)
                .find(|part| part.ends_with(word))?;
            part.strip_suffix(word)?.trim().parse::<u64>().ok()
        });
        counts.sum()
    };
    let busy = closing
        .iter()
        .filter(|line| !line.contains(" 0 passed; 0 failed"));
    let lines: Vec<&str> = busy.map(String::as_str).collect();
    format!(
        "{}\ntest result: {verdict}. {} passed; {} failed; {} ignored; {} test programs",
        lines.join("\n"),
        count(" passed"),
        count(" failed"),
        count(" ignored"),
        closing.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_added_up() {
        let closing = [
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.04s",
            "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.04s",
            "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ]
        .map(str::to_owned);
        let text = summary(&closing, "FAILED");
        assert_eq!(text.lines().count(), 3);
        let last = text.lines().last();
        assert_eq!(
            last,
            Some("test result: FAILED. 7 passed; 2 failed; 1 ignored; 3 test programs")
        );
    }
}
