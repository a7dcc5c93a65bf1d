//! Before something goes: show it, and let the person say so.

use serde::Serialize;
use serde_json::{Value, json};

use crate::args::Removal;
use crate::cx::Cx;
use crate::failure::Failure;
use crate::terminal::Form;

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Go {
    /// Yes.
    Ahead,
    /// It was a dry run; everything is said.
    NoFurther,
}

/// What is to be confirmed.
#[derive(Clone, Copy)]
enum Doing {
    /// Something is done, each in words of its own.
    Change,
    /// Something goes.
    Removal,
}

/// Shows what will be done. Goes ahead with `--yes` or when the person agrees. The document of a dry run has the plan in it,
/// for programs.
pub(crate) async fn change(
    cx: &Cx<'_>,
    dry_run: bool,
    what: &[String],
    plan: &(impl Serialize + Sync),
) -> Result<Go, Failure> {
    let plan = || serde_json::to_value(plan).unwrap_or_default();
    if let Some(go) = unasked(cx, dry_run, Doing::Change, what, plan)? {
        return Ok(go);
    }
    for it in what {
        cx.terminal.say(&format!("This will {it}."));
    }
    let answer = cx.ask("Go on? y/n", "n").await?;
    if matches!(answer.as_str(), "y" | "Y" | "yes") {
        Ok(Go::Ahead)
    } else {
        Err(Failure::usage("not confirmed; nothing was changed"))
    }
}

/// Shows what will go. Goes ahead with `--yes` or when the person types `name`.
pub(crate) async fn removal(
    cx: &Cx<'_>,
    removal: Removal,
    name: &str,
    what: &[String],
) -> Result<Go, Failure> {
    if let Some(go) = unasked(cx, removal.dry_run, Doing::Removal, what, Value::default)? {
        return Ok(go);
    }
    for it in what {
        cx.terminal.say(&format!("This removes {it}."));
    }
    let typed = cx.ask(&format!("Type `{name}` to go on"), "").await?;
    if typed == name {
        Ok(Go::Ahead)
    } else {
        Err(Failure::usage(
            "the name does not match; nothing was removed",
        ))
    }
}

/// What needs no question: a dry run says it, `--yes` goes ahead, and where nobody can be asked it is refused. None: ask.
fn unasked(
    cx: &Cx<'_>,
    dry_run: bool,
    doing: Doing,
    what: &[String],
    plan: impl FnOnce() -> Value,
) -> Result<Option<Go>, Failure> {
    let (key, doing, between) = match doing {
        Doing::Change => ("would", "", ", and "),
        Doing::Removal => ("wouldRemove", "remove ", ", "),
    };
    if dry_run {
        match cx.terminal.form {
            Form::Json => {
                let mut document = json!({ "dryRun": true, key: what });
                let plan = plan();
                if !plan.is_null() {
                    document["plan"] = plan;
                }
                cx.terminal.document(&document)?;
            }
            Form::Human => {
                let lines: Vec<String> =
                    what.iter().map(|it| format!("would {doing}{it}")).collect();
                cx.terminal.data(&lines.join("\n"))?;
            }
        }
        return Ok(Some(Go::NoFurther));
    }
    if cx.global.yes {
        return Ok(Some(Go::Ahead));
    }
    if !cx.terminal.can_ask() {
        let what = what.join(between);
        return Err(Failure::usage(format!(
            "this would {doing}{what}; nobody can be asked here"
        ))
        .with_hint("add `--yes`, or look first with `--dry-run`"));
    }
    Ok(None)
}
