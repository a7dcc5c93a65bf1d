//! Habits a compiler does not check: long files, empty promises, paths of one machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::tree;

/// Lines after which a file must say what its single idea is.
const LINES_MAX: usize = 600;

/// Files that are looked at.
const ENDINGS: &[&str] = &["rs", "toml", "md", "sql", "sh", "json", "yaml", "yml"];

/// Everything that is untidy below `root`.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let long = long_files(root)?;
    let mut wrong = Vec::new();
    let mut seen_long = Vec::new();
    for path in tree::files(root)? {
        let name = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .display()
            .to_string();
        let ending = path
            .extension()
            .and_then(|it| it.to_str())
            .unwrap_or_default();
        let is_hook = name.starts_with(".ci/");
        if !ENDINGS.contains(&ending) && !is_hook {
            continue;
        }
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        wrong.extend(words(&name, &text, root));
        let lines = text.lines().count();
        if ending == "rs" && LINES_MAX < lines {
            if !long.contains_key(&name) {
                wrong.push(format!("{name} has {lines} lines: split it, or say its one idea in crates/long-files.toml"));
            }
            seen_long.push(name);
        }
    }
    for name in long.keys().filter(|name| !seen_long.contains(name)) {
        wrong.push(format!(
            "{name} is no longer long: take it out of crates/long-files.toml"
        ));
    }
    Ok(wrong)
}

fn long_files(root: &Path) -> Result<BTreeMap<String, String>> {
    let path = root.join("crates/long-files.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    toml::from_str(&text).context("reading crates/long-files.toml")
}

fn words(name: &str, text: &str, root: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    // This file names what it forbids.
    if name == "xtask/src/tidy.rs" {
        return wrong;
    }
    let root = root.display().to_string();
    // A root such as `/src` would be found everywhere.
    let root_is_telling = 1 < root.matches('/').count();
    for (number, line) in text.lines().enumerate() {
        let at = number + 1;
        // In code only comments promise anything; a constant may have any name.
        let is_promise = |before: &str| !name.ends_with(".rs") || before.contains("//");
        if let Some((before, after)) = line.split_once("TODO")
            && is_promise(before)
            && ![" when ", " until ", " once "]
                .iter()
                .any(|word| after.contains(word))
        {
            wrong.push(format!(
                "{name}:{at}: a TODO names the condition under which it becomes wrong"
            ));
        }
        if line.contains("FIXME") || line.contains("XXX:") {
            wrong.push(format!("{name}:{at}: fix it or say when it must be fixed"));
        }
        let foreign = ["/Users/", "C:\\Users\\"]
            .iter()
            .any(|it| line.contains(it));
        if foreign || (root_is_telling && line.contains(&root)) {
            wrong.push(format!("{name}:{at}: an absolute path of one machine"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_project_is_tidy() {
        assert_eq!(check(tree::root()).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn untidiness_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(
            "crates/long-files.toml",
            "\"crates/a.rs\" = \"a table\"\n\"crates/gone.rs\" = \"was long\"\n",
        );
        write("crates/a.rs", &"//\n".repeat(700));
        write("crates/b.rs", &"//\n".repeat(700));
        write("c.md", "TODO: better\nTODO when the second codec comes\n");
        write("d.toml", "path = \"/Users/ana/x\"\n");
        write("target/e.rs", "FIXME\n");
        write("crates/f.rs", "const TODO: &str = \"\";\n");
        let wrong = check(folder.path()).unwrap();
        let starts: Vec<_> = wrong
            .iter()
            .map(|it| it.split(' ').next().unwrap_or_default())
            .collect();
        assert_eq!(
            starts,
            ["c.md:1:", "crates/b.rs", "d.toml:1:", "crates/gone.rs"]
        );
    }
}
