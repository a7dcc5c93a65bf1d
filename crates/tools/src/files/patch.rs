//! `apply_patch`: several changes to several files, all of them or none.
//!
//! Two forms are read: unified diffs and the `*** Begin Patch` form. Every result is computed before the first write;
//! when a write fails, what was written before is put back.

mod blocks;
mod unified;

use std::collections::BTreeSet;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use adjutant_domain::agent::TrustLevel;
use adjutant_domain::tool::{ActionClass, Effect, Operand, ToolOutcome, ToolSpec};
use adjutant_policy::Permit;
use adjutant_ports::files::{FileError, WriteMode};
use adjutant_ports::{Files, ToolCx};

use crate::files::exact_text;
use crate::thread::apart;
use crate::tool::{Act, Halt, Traits, report};

/// Most files in one patch.
const FILES_MAX: usize = 100;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Args {
    /// Unified diff or *** Begin Patch form
    patch: String,
}

pub(crate) struct ApplyPatch {
    spec: ToolSpec,
}

impl ApplyPatch {
    pub(crate) fn new() -> Self {
        let traits = Traits {
            name: "apply_patch",
            about: "Change several files, all or none.",
            effect: Effect::Once,
            level: TrustLevel::L3,
            class: ActionClass::Write,
            operands: vec![Operand::Patch {
                arg: "patch".to_owned(),
            }],
        };
        Self {
            spec: traits.with::<Args>(),
        }
    }
}

#[async_trait]
impl Act for ApplyPatch {
    type Args = Args;

    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn act(&self, args: Args, _permit: &Permit, cx: &ToolCx) -> Result<ToolOutcome, Halt> {
        let files = cx.files.clone();
        apart(cx.deadline, move |_until| {
            let mut steps = Vec::new();
            for change in changes(&args.patch)? {
                change.plan(&*files, &mut steps)?;
            }
            carry_out(&*files, &steps)?;
            let done: Vec<String> = steps.iter().map(Step::done).collect();
            Ok(report(done.join("\n")))
        })
        .await
    }

    async fn look_back(&self, args: Args, cx: &ToolCx) -> Option<ToolOutcome> {
        let files = cx.files.clone();
        apart(cx.deadline, move |_until| {
            let states: Vec<State> = changes(&args.patch)?.iter().map(|it| it.state(&*files)).collect();
            Ok(if states.iter().all(|it| *it == State::After) {
                Some(report("the patch was applied before the interruption"))
            } else if states.iter().all(|it| *it == State::Before) {
                let text = "the patch was not applied: the interruption came first, and no file was changed";
                Some(ToolOutcome::Failed { text: text.to_owned() })
            } else {
                None
            })
        })
        .await
        .ok()
        .flatten()
    }
}

/// What a patch says about one file.
#[derive(Debug)]
enum Change<'a> {
    /// A new file.
    Add { path: String, content: String },
    /// A file that goes.
    Delete {
        path: String,
        expected: Option<diffy::Patch<'a, str>>,
    },
    /// A file that changes, and perhaps its name.
    Update {
        path: String,
        to: Option<String>,
        edit: Edit<'a>,
    },
}

/// How a text becomes another one.
#[derive(Debug)]
enum Edit<'a> {
    Unified(diffy::Patch<'a, str>),
    Blocks(Vec<blocks::Block<'a>>),
}

impl Edit<'_> {
    fn forward(&self, text: &str) -> Result<String, String> {
        match self {
            Self::Unified(patch) => diffy::apply(text, patch).map_err(|error| error.to_string()),
            Self::Blocks(blocks) => blocks::apply(text, blocks),
        }
    }

    fn backward(&self, text: &str) -> Result<String, String> {
        match self {
            Self::Unified(patch) => {
                diffy::apply(text, &patch.reverse()).map_err(|error| error.to_string())
            }
            Self::Blocks(blocks) => {
                let reversed: Vec<_> = blocks.iter().map(blocks::Block::reversed).collect();
                blocks::apply(text, &reversed)
            }
        }
    }
}

/// One thing that is done to one path.
#[derive(Debug)]
struct Step {
    path: String,
    before: Option<String>,
    after: Option<String>,
}

impl Step {
    fn done(&self) -> String {
        let Self { path, .. } = self;
        match (&self.before, &self.after) {
            (None, _) => format!("created `{path}`"),
            (Some(_), Some(_)) => format!("changed `{path}`"),
            (Some(_), None) => format!("removed `{path}`"),
        }
    }
}

/// Which side of a change the disk shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Before,
    After,
    Unclear,
}

/// Reads a patch in either form.
fn changes(patch: &str) -> Result<Vec<Change<'_>>, Halt> {
    let changes = if blocks::is_meant(patch) {
        blocks::parse(patch)
    } else {
        unified::parse(patch)
    };
    let changes =
        changes.map_err(|reason| Halt::failed(format!("the patch cannot be read: {reason}")))?;
    if changes.is_empty() {
        return Err(Halt::failed(
            "the patch names no file; use `--- a/x` and `+++ b/x` before the hunks, or the `*** Begin Patch` form",
        ));
    }
    if FILES_MAX < changes.len() {
        return Err(Halt::failed(format!(
            "the patch names {} files, the most is {FILES_MAX}",
            changes.len()
        )));
    }
    let mut seen = BTreeSet::new();
    for path in changes.iter().flat_map(Change::paths) {
        if !seen.insert(path) {
            return Err(Halt::failed(format!(
                "the patch names `{path}` twice; put its changes in one place"
            )));
        }
    }
    Ok(changes)
}

impl Change<'_> {
    fn paths(&self) -> impl Iterator<Item = &str> {
        let (path, to) = match self {
            Self::Add { path, .. } | Self::Delete { path, .. } => (path, None),
            Self::Update { path, to, .. } => (path, to.as_deref()),
        };
        std::iter::once(path.as_str()).chain(to)
    }

    /// Adds what this change does to `steps`; nothing is written.
    fn plan(&self, files: &dyn Files, steps: &mut Vec<Step>) -> Result<(), Halt> {
        match self {
            Self::Add { path, content } => {
                steps.push(Step {
                    path: path.clone(),
                    before: absent(files, path)?,
                    after: Some(content.clone()),
                });
            }
            Self::Delete { path, expected } => {
                let before = exact_text(files, path)?;
                if let Some(patch) = expected {
                    let rest = diffy::apply(&before, patch)
                        .map_err(|error| misfit(path, &error.to_string()))?;
                    if !rest.is_empty() {
                        return Err(misfit(
                            path,
                            "the file has more lines than the patch removes",
                        ));
                    }
                }
                steps.push(Step {
                    path: path.clone(),
                    before: Some(before),
                    after: None,
                });
            }
            Self::Update { path, to, edit } => {
                let before = exact_text(files, path)?;
                let after = edit
                    .forward(&before)
                    .map_err(|reason| misfit(path, &reason))?;
                match to {
                    None => steps.push(Step {
                        path: path.clone(),
                        before: Some(before),
                        after: Some(after),
                    }),
                    Some(to) => {
                        // The new name first: at no moment is the text nowhere.
                        steps.push(Step {
                            path: to.clone(),
                            before: absent(files, to)?,
                            after: Some(after),
                        });
                        steps.push(Step {
                            path: path.clone(),
                            before: Some(before),
                            after: None,
                        });
                    }
                }
            }
        }
        Ok(())
    }

    /// Which side of this change the disk shows.
    fn state(&self, files: &dyn Files) -> State {
        match self {
            Self::Add { path, content } => match text_of(files, path) {
                Ok(None) => State::Before,
                Ok(Some(text)) if text == *content => State::After,
                Ok(Some(_)) | Err(_) => State::Unclear,
            },
            Self::Delete { path, .. } => match text_of(files, path) {
                Ok(None) => State::After,
                Ok(Some(_)) => State::Before,
                Err(_) => State::Unclear,
            },
            Self::Update {
                path,
                to: None,
                edit,
            } => match text_of(files, path) {
                Ok(Some(text)) => match (edit.forward(&text).is_ok(), edit.backward(&text).is_ok())
                {
                    (true, false) => State::Before,
                    (false, true) => State::After,
                    (true, true) | (false, false) => State::Unclear,
                },
                Ok(None) | Err(_) => State::Unclear,
            },
            Self::Update {
                path,
                to: Some(to),
                edit,
            } => match (text_of(files, path), text_of(files, to)) {
                (Ok(Some(text)), Ok(None)) if edit.forward(&text).is_ok() => State::Before,
                (Ok(None), Ok(Some(text))) if edit.backward(&text).is_ok() => State::After,
                _ => State::Unclear,
            },
        }
    }
}

fn misfit(path: &str, reason: &str) -> Halt {
    Halt::failed(format!(
        "the patch does not fit `{path}`, so no file was changed: {reason}; read the file again"
    ))
}

fn text_of(files: &dyn Files, path: &str) -> Result<Option<String>, Halt> {
    match files.stat(path) {
        Ok(_) => exact_text(files, path).map(Some),
        Err(FileError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Nothing, or the reason why there must be nothing.
fn absent(files: &dyn Files, path: &str) -> Result<Option<String>, Halt> {
    match files.stat(path) {
        Ok(_) => Err(Halt::failed(format!(
            "`{path}` exists already, so no file was changed"
        ))),
        Err(FileError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Writes everything, or puts back what was written.
fn carry_out(files: &dyn Files, steps: &[Step]) -> Result<(), Halt> {
    for (index, step) in steps.iter().enumerate() {
        let Err(error) = put(
            files,
            &step.path,
            step.before.as_deref(),
            step.after.as_deref(),
        ) else {
            continue;
        };
        let stuck: Vec<&str> = steps[..index]
            .iter()
            .rev()
            .filter(|it| put(files, &it.path, it.after.as_deref(), it.before.as_deref()).is_err())
            .map(|it| it.path.as_str())
            .collect();
        let rest = if stuck.is_empty() {
            "every file is as before".to_owned()
        } else {
            format!("these files could not be put back: {}", stuck.join(", "))
        };
        return Err(Halt::failed(format!("{error}; {rest}")));
    }
    Ok(())
}

fn put(
    files: &dyn Files,
    path: &str,
    from: Option<&str>,
    to: Option<&str>,
) -> Result<(), FileError> {
    match (from, to) {
        (None, Some(text)) => files
            .write(path, text.as_bytes(), WriteMode::CreateNew)
            .map(drop),
        (Some(_), Some(text)) => files
            .write(path, text.as_bytes(), WriteMode::Replace)
            .map(drop),
        (_, None) => files.remove(path),
    }
}
