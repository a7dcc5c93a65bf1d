//! `file_edit`: one text in a file replaced by another.
//!
//! The call may be repeated after a crash, so it must be safe to repeat: an edit that would still find its `old` text in
//! its own result is refused, and one that finds only results of itself says that it is done already.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use adjutant_domain::agent::TrustLevel;
use adjutant_domain::tool::{ActionClass, Effect, Operand, ToolOutcome, ToolSpec};
use adjutant_policy::Permit;
use adjutant_ports::ToolCx;
use adjutant_ports::files::WriteMode;

use crate::files::exact_text;
use crate::thread::apart;
use crate::tool::{Act, Halt, Traits, report};

/// How much text is compared at the places found, in bytes: a long text that overlaps itself costs its square.
const COMPARED_BYTES_MAX: usize = 256 << 20;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Args {
    path: String,
    /// Exact text, found once
    old: String,
    new: String,
    /// Replace every place
    all: Option<bool>,
}

pub(crate) struct Edit {
    spec: ToolSpec,
}

impl Edit {
    pub(crate) fn new() -> Self {
        let traits = Traits {
            name: "file_edit",
            about: "Replace text in a file.",
            effect: Effect::Idempotent,
            level: TrustLevel::L3,
            class: ActionClass::Write,
            operands: vec![Operand::WritePath {
                arg: "path".to_owned(),
            }],
        };
        Self {
            spec: traits.with::<Args>(),
        }
    }
}

#[async_trait]
impl Act for Edit {
    type Args = Args;

    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn act(&self, args: Args, _permit: &Permit, cx: &ToolCx) -> Result<ToolOutcome, Halt> {
        let files = cx.files.clone();
        apart(cx.deadline, move |_until| {
            let text = exact_text(&*files, &args.path)?;
            match edited(&text, &args)? {
                Edited::Already => Ok(report(format!("`{}` already has this change", args.path))),
                Edited::Now { text, n_places } => {
                    files.write(&args.path, text.as_bytes(), WriteMode::Replace)?;
                    let places = if n_places == 1 {
                        "1 place".to_owned()
                    } else {
                        format!("{n_places} places")
                    };
                    Ok(report(format!("changed {places} in `{}`", args.path)))
                }
            }
        })
        .await
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Edited {
    Now { text: String, n_places: usize },
    Already,
}

fn edited(text: &str, args: &Args) -> Result<Edited, Halt> {
    let Args {
        path,
        old,
        new,
        all,
    } = args;
    if old.is_empty() {
        return Err(Halt::failed(
            "`old` is empty; use `file_write` to write a whole file",
        ));
    }
    if old == new {
        return Err(Halt::failed(
            "`old` and `new` are the same, so there is nothing to change",
        ));
    }
    let places = open_places(text, old, new)?;
    if places.is_empty() {
        if !new.is_empty() && text.contains(new.as_str()) {
            return Ok(Edited::Already);
        }
        return Err(Halt::failed(format!(
            "`old` was not found in `{path}`; read the file and copy the text exactly, white space included"
        )));
    }
    let places = match (all.unwrap_or(false), places.as_slice()) {
        (true, _) => apart_from_each_other(&places, old.len()),
        (false, [_]) => places,
        (false, _) => {
            return Err(Halt::failed(format!(
                "`old` was found {} times in `{path}`; give more text around it, or set `all`",
                places.len()
            )));
        }
    };
    let mut result = String::with_capacity(text.len() + places.len() * new.len());
    let mut from = 0;
    for at in &places {
        result.push_str(&text[from..*at]);
        result.push_str(new);
        from = at + old.len();
    }
    result.push_str(&text[from..]);
    if !open_places(&result, old, new)?.is_empty() {
        return Err(Halt::failed(format!(
            "after this change `old` would be found in `{path}` again; give more text around it"
        )));
    }
    Ok(Edited::Now {
        text: result,
        n_places: places.len(),
    })
}

/// Where `old` begins, overlaps included, except inside a `new` that is there already.
fn open_places(text: &str, old: &str, new: &str) -> Result<Vec<usize>, Halt> {
    let made: Vec<usize> = if new.contains(old) {
        starts(text, new)?
    } else {
        Vec::new()
    };
    let is_made = |at: &usize| {
        let later = made.partition_point(|start| start <= at);
        // Any `new` that begins before and reaches over the place covers it; the nearest reaches farthest.
        later
            .checked_sub(1)
            .and_then(|it| made.get(it))
            .is_some_and(|start| at + old.len() <= start + new.len())
    };
    Ok(starts(text, old)?
        .into_iter()
        .filter(|at| !is_made(at))
        .collect())
}

/// Every position where `part` begins, overlaps included.
fn starts(text: &str, part: &str) -> Result<Vec<usize>, Halt> {
    let mut found: Vec<usize> = Vec::new();
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find(part)) {
        if COMPARED_BYTES_MAX < found.len().saturating_mul(part.len()) {
            return Err(Halt::failed(
                "the text to replace is found too often; use `file_write`",
            ));
        }
        found.push(from + at);
        from = text.ceil_char_boundary(from + at + 1);
    }
    Ok(found)
}

/// The places that are left when one that overlaps the place before is passed over.
fn apart_from_each_other(places: &[usize], len: usize) -> Vec<usize> {
    let mut kept: Vec<usize> = Vec::with_capacity(places.len());
    for at in places {
        if kept.last().is_none_or(|last| last + len <= *at) {
            kept.push(*at);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn args(old: &str, new: &str, all: bool) -> Args {
        Args {
            path: "f".to_owned(),
            old: old.to_owned(),
            new: new.to_owned(),
            all: Some(all),
        }
    }

    fn once(text: &str, old: &str, new: &str) -> Result<Edited, Halt> {
        edited(text, &args(old, new, false))
    }

    #[test]
    fn an_addition_is_not_added_twice() {
        let Edited::Now { text, .. } = once("a\n", "a", "a\nb").unwrap() else {
            panic!("not changed")
        };
        assert_eq!(text, "a\nb\n");
        assert_eq!(once(&text, "a", "a\nb").unwrap(), Edited::Already);
    }

    #[test]
    fn text_that_is_found_more_than_once_is_left_alone() {
        assert!(once("aa", "a", "b").is_err());
        assert!(once("aaa", "aa", "b").is_err());
        assert!(once("b", "x", "y").is_err());
    }

    proptest! {
        // covers: R4
        #[test]
        fn a_second_run_changes_nothing(text in "[ab]{0,12}", old in "[ab]{1,3}", new in "[ab]{0,4}", all: bool) {
            let args = args(&old, &new, all);
            if let Ok(Edited::Now { text, .. }) = edited(&text, &args) {
                let again = edited(&text, &args);
                prop_assert!(!matches!(again, Ok(Edited::Now { .. })), "{:?}", again);
            }
        }
    }
}
