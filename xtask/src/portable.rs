//! Parts of Unix stay in modules that only Unix compiles, so that the ports to other systems do not rot.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::tree;

/// Names that exist on Unix only.
const UNIX_ONLY: &[&str] = &[
    "DirBuilderExt",
    "ExitStatusExt",
    "FileTypeExt",
    "MetadataExt",
    "OpenOptionsExt",
    "PermissionsExt",
    "UnixListener",
    "UnixStream",
    "libc::",
    "rustix::",
    "std::os::fd",
    "std::os::linux",
    "std::os::unix",
    "tokio::signal::unix",
];

/// Packages that are dependencies for Unix only.
const UNIX_PACKAGES: &[&str] = &["landlock", "libc", "rustix", "seccompiler"];

/// What makes a module one that only such systems compile, as it stands above `mod`.
const GATES: &[&str] = &["unix", "target_os = \"linux\"", "test"];

/// Files, or folders, that may name parts of Unix, with the reason.
const ALLOWED: &[(&str, &str)] = &[("xtask/src/portable.rs", "names what it forbids")];

/// Every line below `root` that names a part of Unix where another system would compile it, too.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let files: BTreeSet<PathBuf> = tree::files(root)?.into_iter().collect();
    let mut wrong = Vec::new();
    for path in &files {
        let name = path.strip_prefix(root).unwrap_or(path);
        let shown = name.display().to_string();
        if ALLOWED.iter().any(|(it, _)| shown.starts_with(it)) {
            continue;
        }
        let parts: Vec<&str> = name.iter().filter_map(|it| it.to_str()).collect();
        let is_source = matches!(
            parts.as_slice(),
            ["crates", _, "src", ..] | ["xtask", "src", ..]
        );
        if shown.ends_with("/Cargo.toml") {
            wrong.extend(packages(&shown, &read(path)?));
        } else if is_source && shown.ends_with(".rs") && !is_gated(path, &files)? {
            wrong.extend(names(&shown, &read(path)?));
        }
    }
    Ok(wrong)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// The lines that name a part of Unix. What stands below a `cfg` attribute of Unix or of tests is left out, up to the
/// end of the item: the line that closes it with the same indentation.
fn names(shown: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut gate: Option<String> = None;
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let trimmed = code.trim();
        let indent = &line[..line.len() - line.trim_start().len()];
        if number == 0 && line.starts_with("#![cfg(") && is_gate(trimmed) {
            return Vec::new();
        }
        match &gate {
            None if is_gate(trimmed) && indent.is_empty() => gate = Some(String::new()),
            None => {
                if let Some(part) = UNIX_ONLY.iter().find(|it| code.contains(**it)) {
                    let at = number + 1;
                    wrong.push(format!(
                        "{shown}:{at}: `{part}` is there on Unix only: put it into a module behind `#[cfg(unix)]`, with one for Windows beside it"
                    ));
                }
            }
            Some(open) if *open == indent && (trimmed.ends_with('}') || trimmed.ends_with(';')) => {
                gate = None;
            }
            Some(_) => {}
        }
    }
    wrong
}

/// Whether an attribute keeps its item from every system but Unix or Linux, or from the product.
fn is_gate(attribute: &str) -> bool {
    let inner = attribute
        .strip_prefix("#[cfg(")
        .or_else(|| attribute.strip_prefix("#![cfg("))
        .and_then(|it| it.strip_suffix(")]"));
    let Some(inner) = inner else {
        return false;
    };
    // `all(test, unix)` is as narrow as its narrowest part.
    let parts = inner
        .strip_prefix("all(")
        .and_then(|it| it.strip_suffix(')'))
        .unwrap_or(inner);
    parts.split(", ").any(|it| GATES.contains(&it))
}

/// Whether the file is a module, or lies in one, that is declared behind a gate.
fn is_gated(path: &Path, files: &BTreeSet<PathBuf>) -> Result<bool> {
    let mut module = path.to_owned();
    loop {
        let Some((parent, name)) = parent_of(&module, files) else {
            return Ok(false);
        };
        if declares_gated(&read(&parent)?, &name) {
            return Ok(true);
        }
        module = parent;
    }
}

/// The file that declares the module in `path`, and the module's name.
fn parent_of(path: &Path, files: &BTreeSet<PathBuf>) -> Option<(PathBuf, String)> {
    let stem = path.file_stem()?.to_str()?;
    let folder = path.parent()?;
    let (folder, name) = match stem {
        "lib" | "main" => return None,
        "mod" => (folder.parent()?, folder.file_name()?.to_str()?),
        name => (folder, name),
    };
    let beside = folder.with_extension("rs");
    let candidates = [
        folder.join("mod.rs"),
        beside,
        folder.join("lib.rs"),
        folder.join("main.rs"),
    ];
    candidates
        .into_iter()
        .find(|it| it != path && files.contains(it))
        .map(|parent| (parent, name.to_owned()))
}

fn declares_gated(text: &str, module: &str) -> bool {
    let mut gated = false;
    for line in text.lines().map(str::trim) {
        let declared = line
            .strip_suffix(';')
            .and_then(|it| it.rsplit_once("mod "))
            .map(|(_, name)| name);
        if declared == Some(module) && gated {
            return true;
        }
        gated = is_gate(line) || (gated && line.starts_with("#["));
    }
    false
}

/// Dependencies for Unix that every system would have to compile.
fn packages(shown: &str, text: &str) -> Vec<String> {
    let mut section = "";
    let mut wrong = Vec::new();
    for line in text.lines() {
        if line.starts_with('[') {
            section = line;
        }
        let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
        if section == "[dependencies]" && UNIX_PACKAGES.contains(&name) {
            wrong.push(format!(
                "{shown}: `{name}` belongs below `[target.'cfg(unix)'.dependencies]`"
            ));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn parts_of_unix_stay_where_only_unix_compiles_them() {
        assert_eq!(check(tree::root()).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_part_of_unix_in_the_open_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(
            "crates/a/Cargo.toml",
            "[dependencies]\nrustix.workspace = true\n",
        );
        write(
            "crates/b/Cargo.toml",
            "[target.'cfg(unix)'.dependencies]\nrustix = \"1\"\n",
        );
        write(
            "crates/a/src/lib.rs",
            "mod open;\nmod platform;\n#[cfg(windows)]\nmod windows;\n#[cfg(all(test, unix))]\nmod tests {\n    use rustix::fs;\n}\n",
        );
        write(
            "crates/a/src/open.rs",
            "// rustix:: in words\n\nfn f() {\n    use std::os::unix::fs::PermissionsExt as _;\n}\n",
        );
        write(
            "crates/a/src/platform.rs",
            "#[cfg(unix)]\n#[path = \"u.rs\"]\nmod unix;\n#[cfg(not(unix))]\nmod other;\n",
        );
        write(
            "crates/a/src/platform/unix.rs",
            "mod deep;\nuse rustix::fs;\n",
        );
        write("crates/a/src/platform/unix/deep.rs", "use libc::c_int;\n");
        write(
            "crates/a/src/platform/other.rs",
            "use tokio::net::UnixStream;\n",
        );
        write(
            "crates/a/src/windows.rs",
            "fn f() {}\n#[cfg(unix)]\nfn g() {\n    libc::x();\n}\nuse libc::c_int;\n",
        );
        write("crates/a/tests/it.rs", "use rustix::fs;\n");
        let wrong = check(folder.path()).unwrap();
        let starts: Vec<_> = wrong
            .iter()
            .map(|it| it.split(' ').next().unwrap_or_default())
            .collect();
        assert_eq!(
            starts,
            [
                "crates/a/Cargo.toml:",
                "crates/a/src/open.rs:4:",
                "crates/a/src/platform/other.rs:1:",
                "crates/a/src/windows.rs:6:",
            ]
        );
    }
}
