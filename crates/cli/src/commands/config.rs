//! `adjutant config`: settings. With `--gateway` those of that gateway, else the file of this machine.

use std::io::Write as _;
use std::path::PathBuf;

use adjutant_protocol::methods::common::NoParams;
use adjutant_protocol::methods::config::{
    ConfigExplain, ConfigExplainParams, ConfigGet, ConfigGetParams, ConfigSchema, ConfigSet,
    ConfigSetParams, ConfigUnset, ConfigUnsetParams,
};
use serde_json::{Value, json};

use crate::args::ConfigCommand;
use crate::confirm::{self, Go};
use crate::connect::{Connection, fresh_key, fresh_word};
use crate::cx::Cx;
use crate::failure::{Exit, Failure};
use crate::host::{ConfigChanged, ConfigExplained};
use crate::platform;
use crate::render::facts;

pub(super) async fn config(cx: &Cx<'_>, command: ConfigCommand) -> Result<Exit, Failure> {
    if cx.global.gateway.is_some() {
        return remote(cx, command).await;
    }
    match command {
        ConfigCommand::Get { key } => {
            let value = cx.host.config_get(key.as_deref())?;
            cx.terminal.show(&value, || plainly(&value))?;
        }
        ConfigCommand::Set { key, value } => {
            let value = typed_for(&cx.host.config_explain(&key)?.kind, &value);
            let changed = cx.host.config_change(&key, Some(value))?;
            cx.terminal
                .show(&changed, || said(&changed, &format!("set {key}")))?;
        }
        ConfigCommand::Unset { key, removal } => {
            let now = cx.host.config_get(Some(&key))?;
            let what = [format!(
                "`{key}` (now {}) from the configuration; its default holds again",
                plainly(&now)
            )];
            // Nothing is lost that a backup of the file does not hold: only a dry run is worth words.
            if !removal.dry_run || confirm::removal(cx, removal, &key, &what).await? == Go::Ahead {
                let changed = cx.host.config_change(&key, None)?;
                cx.terminal
                    .show(&changed, || said(&changed, &format!("unset {key}")))?;
            }
        }
        ConfigCommand::Edit => edit(cx)?,
        ConfigCommand::Explain { key } => {
            let it = cx.host.config_explain(&key)?;
            cx.terminal.show(&it, || explained(cx, &it))?;
        }
        ConfigCommand::Schema => cx.terminal.document(&cx.host.config_schema())?,
        ConfigCommand::Path => {
            let path = cx.host.config_path()?;
            cx.terminal
                .show(&json!({ "path": path }), || path.display().to_string())?;
        }
        ConfigCommand::Validate { file } => {
            let valid = cx.host.config_validate(file.as_deref())?;
            cx.terminal.show(&valid, || {
                let mut text = format!("{} is valid", valid.path.display());
                for warning in &valid.warnings {
                    text.push_str(&format!(
                        "\n{} {warning}",
                        cx.terminal.paint().yellow("warning:")
                    ));
                }
                text
            })?;
        }
    }
    Ok(Exit::Done)
}

async fn remote(cx: &Cx<'_>, command: ConfigCommand) -> Result<Exit, Failure> {
    let gateway = Connection::to_running(cx).await?;
    match command {
        ConfigCommand::Get { key } => {
            let shown = gateway.call::<ConfigGet>(ConfigGetParams { key }).await?;
            cx.terminal.show(&shown.config, || plainly(&shown.config))?;
        }
        ConfigCommand::Set { key, value } => {
            let params = ConfigSetParams {
                key: key.clone(),
                value: typed(&value),
                base_hash: None,
                idempotency_key: Some(fresh_key()?),
            };
            let changed = gateway.call::<ConfigSet>(params).await?;
            cx.terminal.show(&changed, || {
                restart_note(&changed.needs_restart, format!("set {key}"))
            })?;
        }
        ConfigCommand::Unset { key, removal } => {
            let what = [format!(
                "`{key}` from the configuration; its default holds again"
            )];
            if !removal.dry_run || confirm::removal(cx, removal, &key, &what).await? == Go::Ahead {
                let params = ConfigUnsetParams {
                    key: key.clone(),
                    base_hash: None,
                    idempotency_key: Some(fresh_key()?),
                };
                let changed = gateway.call::<ConfigUnset>(params).await?;
                cx.terminal.show(&changed, || {
                    restart_note(&changed.needs_restart, format!("unset {key}"))
                })?;
            }
        }
        ConfigCommand::Explain { key } => {
            let it = gateway
                .call::<ConfigExplain>(ConfigExplainParams { key })
                .await?;
            let place = match (&it.file, it.line) {
                (Some(file), Some(line)) => Some(format!("{file}:{line}")),
                (file, _) => file.clone(),
            };
            let it = ConfigExplained {
                key: it.key,
                value: it.value,
                layer: it.layer,
                place,
                default: it.default,
                kind: String::new(),
                docs: it.docs,
                needs_restart: it.restart,
            };
            cx.terminal.show(&it, || explained(cx, &it))?;
        }
        ConfigCommand::Schema => {
            let schema = gateway.call::<ConfigSchema>(NoParams {}).await?;
            cx.terminal.document(&schema.schema)?;
        }
        ConfigCommand::Edit | ConfigCommand::Path | ConfigCommand::Validate { .. } => {
            return Err(Failure::usage(
                "this command works on the file of this machine, not through `--gateway`",
            )
            .with_hint("leave out `--gateway`, or use `config get` and `config set`"));
        }
    }
    Ok(Exit::Done)
}

/// TOML or JSON; what is neither is text.
fn typed(text: &str) -> Value {
    if let Ok(value) = serde_json::from_str(text) {
        return value;
    }
    let toml: Result<Value, _> = toml::from_str(&format!("value = {text}"));
    match toml {
        Ok(Value::Object(mut map)) if map.len() == 1 => map.remove("value").unwrap_or_default(),
        _ => Value::String(text.to_owned()),
    }
}

/// The same for a setting whose kind is known: what must be text is text, even if it looks like a number.
fn typed_for(kind: &str, text: &str) -> Value {
    match typed(text) {
        Value::Number(_) | Value::Bool(_) if kind == "string" => Value::String(text.to_owned()),
        value => value,
    }
}

/// Text as it is, anything else as JSON.
fn plainly(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    }
}

fn said(changed: &ConfigChanged, what: &str) -> String {
    restart_note(
        &changed.needs_restart,
        format!("{what} in {}", changed.path.display()),
    )
}

fn restart_note(keys: &[String], text: String) -> String {
    if keys.is_empty() {
        return text;
    }
    format!(
        "{text}\n{} will count after `adjutant gateway restart`",
        keys.join(", ")
    )
}

fn explained(cx: &Cx<'_>, it: &ConfigExplained) -> String {
    facts(
        cx.terminal.paint(),
        &[
            ("key", it.key.clone()),
            ("value", plainly(&it.value)),
            (
                "from",
                it.place.as_ref().map_or_else(
                    || it.layer.clone(),
                    |place| format!("{}, {place}", it.layer),
                ),
            ),
            ("default", plainly(&it.default)),
            ("type", it.kind.clone()),
            ("what", it.docs.clone()),
            (
                "restart",
                if it.needs_restart {
                    "needed after a change"
                } else {
                    "not needed"
                }
                .to_owned(),
            ),
        ],
    )
}

/// Opens the file in the person's editor until it is right or the person gives up.
fn edit(cx: &Cx<'_>) -> Result<(), Failure> {
    if !cx.terminal.can_ask() {
        return Err(Failure::usage("an editor needs a terminal")
            .with_hint("use `adjutant config set <KEY> <VALUE>`"));
    }
    let path = cx.host.config_path()?;
    let before = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(Failure::io(
                format!("cannot read `{}`", path.display()),
                &error,
            ));
        }
    };
    let after = edit_text(&before, "toml")?;
    if after == before {
        cx.terminal.note("nothing was changed");
        return Ok(());
    }
    let changed = cx.host.config_replace(&before, &after)?;
    cx.terminal.show(&changed, || said(&changed, "saved"))
}

/// The text after the person has edited it. The draft is readable by its owner only and is removed again, unless the
/// editor failed.
pub(super) fn edit_text(text: &str, extension: &str) -> Result<String, Failure> {
    let draft: PathBuf =
        std::env::temp_dir().join(format!("adjutant-{}.{extension}", fresh_word()));
    let shown = draft.display().to_string();
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    let mut file = platform::for_owner(&mut options)
        .open(&draft)
        .map_err(|error| Failure::io(format!("cannot make the draft `{shown}`"), &error))?;
    file.write_all(text.as_bytes())
        .map_err(|error| Failure::io(format!("cannot write the draft `{shown}`"), &error))?;
    drop(file);
    let editor = ["VISUAL", "EDITOR"]
        .iter()
        .find_map(|name| {
            std::env::var(name)
                .ok()
                .filter(|value| !value.trim().is_empty())
        })
        .unwrap_or_else(|| platform::EDITOR.to_owned());
    // The variable may hold arguments, as in `code --wait`.
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or(platform::EDITOR);
    let status = std::process::Command::new(program)
        .args(words)
        .arg(&draft)
        .status()
        .map_err(|error| {
            Failure::io(format!("cannot start the editor `{program}`"), &error)
                .with_hint("set `EDITOR` to one you have")
        })?;
    if !status.success() {
        return Err(Failure::new(
            Exit::Failed,
            "EDITOR",
            format!("the editor `{program}` failed; the draft is `{shown}`"),
        ));
    }
    let edited = std::fs::read_to_string(&draft)
        .map_err(|error| Failure::io(format!("cannot read the draft `{shown}`"), &error))?;
    // A draft that stays behind does no harm.
    drop(std::fs::remove_file(&draft));
    Ok(edited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_toml_json_or_text() {
        assert_eq!(typed("18790"), json!(18790));
        assert_eq!(typed("[\"a\", \"b\"]"), json!(["a", "b"]));
        assert_eq!(typed("{ a = 1 }"), json!({ "a": 1 }));
        assert_eq!(typed("'quoted'"), json!("quoted"));
        assert_eq!(typed("openai/gpt-5-mini"), json!("openai/gpt-5-mini"));
        assert_eq!(typed("1\nother = 2"), json!("1\nother = 2"));
    }

    #[test]
    fn a_number_for_a_setting_of_text_is_text() {
        assert_eq!(typed_for("string", "5.00"), json!("5.00"));
        assert_eq!(typed_for("string", "'x'"), json!("x"));
        assert_eq!(typed_for("integer", "5"), json!(5));
    }
}
