//! `adjutant completions`, `man`, `version`: text about the program itself.

use crate::args::{CompletionsArgs, ManArgs};
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::terminal::Form;

pub(super) fn completions(cx: &Cx<'_>, args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::command(), "adjutant", &mut script);
    let shell = args.shell.to_string();
    text(cx, "script", &script, serde_json::json!({ "shell": shell }))
}

pub(super) fn man(cx: &Cx<'_>, args: &ManArgs) -> Result<Exit, Failure> {
    if let Some(dir) = &args.dir {
        let failed = |error: &std::io::Error| {
            Failure::io(
                format!("cannot write the pages to `{}`", dir.display()),
                error,
            )
        };
        std::fs::create_dir_all(dir).map_err(|error| failed(&error))?;
        clap_mangen::generate_to(crate::command(), dir).map_err(|error| failed(&error))?;
        let shown = dir.display().to_string();
        cx.terminal
            .show(&serde_json::json!({ "path": shown }), || {
                format!("wrote the manual pages to {shown}")
            })?;
        return Ok(Exit::Done);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(crate::command())
        .render(&mut page)
        .map_err(|error| Failure::io("cannot render the manual page", &error))?;
    text(cx, "page", &page, serde_json::json!({}))
}

/// The text as it is, or with `--json` as `name` of a document.
fn text(
    cx: &Cx<'_>,
    name: &str,
    bytes: &[u8],
    mut document: serde_json::Value,
) -> Result<Exit, Failure> {
    let text = String::from_utf8_lossy(bytes);
    match cx.terminal.form {
        Form::Human => cx.terminal.raw(&text)?,
        Form::Json => {
            document[name] = serde_json::Value::from(text);
            cx.terminal.document(&document)?;
        }
    }
    Ok(Exit::Done)
}

pub(super) fn version(cx: &Cx<'_>) -> Result<Exit, Failure> {
    let build = cx.host.build();
    cx.terminal.show(&build, || {
        let commit = build
            .commit
            .as_ref()
            .map_or_else(String::new, |it| format!(" ({it})"));
        format!(
            "adjutant {}{commit}\n{} build for {}, SQLite {}",
            build.version, build.profile, build.platform, build.sqlite
        )
    })?;
    Ok(Exit::Done)
}
