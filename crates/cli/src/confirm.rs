//! Before something goes: show it, and let the person say so.

use serde_json::json;

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

/// Shows what will be done. Goes ahead with `--yes` or when the person agrees.
pub(crate) async fn change(cx: &Cx<'_>, dry_run: bool, what: &[String]) -> Result<Go, Failure> {
    if dry_run {
        match cx.terminal.form {
            Form::Json => cx
                .terminal
                .document(&json!({ "dryRun": true, "would": what }))?,
            Form::Human => {
                let lines: Vec<String> = what.iter().map(|it| format!("would {it}")).collect();
                cx.terminal.data(&lines.join("\n"))?;
            }
        }
        return Ok(Go::NoFurther);
    }
    if cx.global.yes {
        return Ok(Go::Ahead);
    }
    if !cx.terminal.can_ask() {
        return Err(Failure::usage(format!(
            "this would {}; nobody can be asked here",
            what.join(", and ")
        ))
        .with_hint("add `--yes`, or look first with `--dry-run`"));
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
    if removal.dry_run {
        match cx.terminal.form {
            Form::Json => cx
                .terminal
                .document(&json!({ "dryRun": true, "wouldRemove": what }))?,
            Form::Human => {
                let lines: Vec<String> =
                    what.iter().map(|it| format!("would remove {it}")).collect();
                cx.terminal.data(&lines.join("\n"))?;
            }
        }
        return Ok(Go::NoFurther);
    }
    if cx.global.yes {
        return Ok(Go::Ahead);
    }
    if !cx.terminal.can_ask() {
        return Err(Failure::usage(format!(
            "this would remove {}; nobody can be asked here",
            what.join(", ")
        ))
        .with_hint("add `--yes`, or look first with `--dry-run`"));
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
