//! Which places a call touches, and whether they are the agent's to touch. Lexical only: the path broker resolves
//! links by descriptor when the tool runs (S39), and refuses again.

use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};

use adjutant_domain::tool::{ActionClass, Operand};

use crate::call::{Draft, Facts};
use crate::stages::Step;

pub(crate) fn stage(draft: &mut Draft, facts: &Facts<'_>) -> Step {
    let Some(card) = facts.card else {
        return Step::deny("there is no such tool");
    };
    for operand in &card.spec().operands {
        let (arg, writes) = match operand {
            Operand::ReadPath { arg } => (arg, false),
            Operand::WritePath { arg } => (arg, true),
            Operand::Patch { arg } => {
                if let Some(patch) = draft.call.args.get(arg).and_then(Value::as_str) {
                    if patch.contains("*** Delete File: ") || patch.contains("+++ /dev/null") {
                        draft.class = draft.class.max(ActionClass::Delete);
                    }
                    let paths = patched_paths(patch);
                    draft.resolved.push(("files".to_owned(), json!(paths)));
                    draft.grant_hint = Some(format!("{} {}", draft.call.name, json!(paths)));
                    for path in paths {
                        if let Some(no) = judge(draft, facts, &path, true) {
                            return no;
                        }
                    }
                }
                continue;
            }
            Operand::Url { arg } => {
                if let Some(url) = draft.call.args.get(arg).and_then(Value::as_str) {
                    let Some(origin) = origin_of(url) else {
                        return Step::deny(format!("`{url}` is not an `http` or `https` address"));
                    };
                    draft.resolved.push(("origin".to_owned(), json!(origin)));
                    draft.grant_hint = Some(format!("{} {origin}", draft.call.name));
                }
                continue;
            }
            Operand::Command { .. } | Operand::Code { .. } => continue,
        };
        if let Some(path) = draft.call.args.get(arg).and_then(Value::as_str) {
            let path = path.to_owned();
            if writes {
                draft.grant_hint = Some(format!(
                    "{} {path} in {}",
                    draft.call.name,
                    facts.workspace.display()
                ));
            }
            if let Some(no) = judge(draft, facts, &path, writes) {
                return no;
            }
        }
    }
    Step::pass("inside the allowed places")
}

fn judge(draft: &mut Draft, facts: &Facts<'_>, path: &str, writes: bool) -> Option<Step> {
    let full = normalise(facts.workspace, path);
    if full.starts_with(facts.state_dir) && !full.starts_with(facts.workspace) {
        return Some(Step::deny(format!(
            "`{path}` lies in adjutant's own state, which no agent sees"
        )));
    }
    let inside = full.starts_with(facts.workspace);
    let allowed = inside || facts.allowed_dirs.iter().any(|dir| full.starts_with(dir));
    if !allowed {
        return Some(Step::deny(format!(
            "`{path}` is outside of the folders agent `{}` may see ({})",
            facts.agent.name,
            facts.workspace.display()
        )));
    }
    if writes && !inside {
        draft.class = draft.class.max(ActionClass::WriteOutside);
    }
    None
}

/// Joins and removes `.` and `..` without looking at the disk.
fn normalise(base: &Path, path: &str) -> PathBuf {
    let mut out = PathBuf::new();
    for part in base.join(path).components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => out.push(part),
        }
    }
    out
}

/// `scheme://host:port` in lower case.
fn origin_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "http" && scheme != "https" {
        return None;
    }
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    if authority.is_empty() || authority.contains('@') {
        return None;
    }
    Some(format!("{scheme}://{}", authority.to_ascii_lowercase()))
}

/// The paths a patch writes: unified diffs (`+++ b/x`, `--- a/x`) and the `*** Update File: x` form.
fn patched_paths(patch: &str) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    for line in patch.lines() {
        let named = [
            "*** Update File: ",
            "*** Add File: ",
            "*** Delete File: ",
            "*** Move to: ",
        ]
        .iter()
        .find_map(|prefix| line.strip_prefix(prefix));
        let diffed = ["+++ ", "--- "]
            .iter()
            .find_map(|prefix| line.strip_prefix(prefix))
            .map(|rest| {
                let rest = rest.split('\t').next().unwrap_or(rest);
                rest.strip_prefix("a/")
                    .or_else(|| rest.strip_prefix("b/"))
                    .unwrap_or(rest)
            });
        if let Some(path) = named.or(diffed).map(str::trim)
            && path != "/dev/null"
            && !path.is_empty()
            && !paths.iter().any(|p| p == path)
        {
            paths.push(path.to_owned());
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_removed_before_a_place_is_judged() {
        assert_eq!(
            normalise(Path::new("/w/a"), "../b/./c"),
            Path::new("/w/b/c")
        );
        assert_eq!(
            normalise(Path::new("/w"), "../../../etc/passwd"),
            Path::new("/etc/passwd")
        );
        assert_eq!(normalise(Path::new("/w"), "/w/x"), Path::new("/w/x"));
    }

    #[test]
    fn both_patch_forms_name_their_files() {
        assert_eq!(
            patched_paths("--- a/x.md\n+++ b/x.md\n@@ -1 +1 @@\n-a\n+b\n"),
            ["x.md"]
        );
        assert_eq!(
            patched_paths("*** Begin Patch\n*** Add File: n/y.md\n+hi\n*** End Patch"),
            ["n/y.md"]
        );
        assert_eq!(patched_paths("--- /dev/null\n+++ b/new.md\n"), ["new.md"]);
    }

    #[test]
    fn credentials_in_an_address_are_not_an_origin() {
        assert_eq!(
            origin_of("https://Example.com/a"),
            Some("https://example.com".to_owned())
        );
        assert_eq!(origin_of("https://a@b/"), None);
        assert_eq!(origin_of("file:///etc/passwd"), None);
    }
}
