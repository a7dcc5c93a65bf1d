//! Agent definitions as people write them: YAML, JSON or TOML, by the file's name or, failing that, by its content.

use std::path::Path;

use serde_json::{Map, Value};

use adjutant_domain::money::Micros;
use adjutant_protocol::methods::agents::AgentSpec;

use crate::failure::{Exit, Failure};

const KEYS: &[&str] = &[
    "name",
    "display_name",
    "description",
    "provider",
    "model",
    "fallbacks",
    "trust_level",
    "system_prompt",
    "tools",
    "allowed_dirs",
    "workspace",
    "approval_policy",
    "vault_grants",
    "needs",
    "budget",
    "limits",
    "reflect",
];
const BUDGET_KEYS: &[&str] = &[
    "run",
    "session",
    "day",
    "run_micros",
    "session_micros",
    "day_micros",
];
const LIMIT_KEYS: &[&str] = &[
    "max_steps",
    "timeout",
    "max_tokens",
    "max_repeats",
    "model_retries",
    "max_output_tokens",
    "context_tokens",
    "approval_timeout",
    "approval_grace",
];

/// The languages a definition can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Yaml,
    Json,
    Toml,
}

impl Language {
    fn word(self) -> &'static str {
        match self {
            Self::Yaml => "YAML",
            Self::Json => "JSON",
            Self::Toml => "TOML",
        }
    }

    fn of(path: &Path, text: &str) -> Self {
        match path
            .extension()
            .and_then(|it| it.to_str())
            .map(str::to_ascii_lowercase)
            .as_deref()
        {
            Some("yaml" | "yml") => Self::Yaml,
            Some("json") => Self::Json,
            Some("toml") => Self::Toml,
            _ if text.trim_start().starts_with('{') => Self::Json,
            // TOML assigns with `=`, YAML with `:`; the first line that does either decides.
            _ => text
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .find_map(|line| match (line.find('='), line.find(':')) {
                    (Some(equals), colon) if colon.is_none_or(|colon| equals < colon) => {
                        Some(Self::Toml)
                    }
                    (_, Some(_)) => Some(Self::Yaml),
                    _ if line.starts_with('[') => Some(Self::Toml),
                    _ => None,
                })
                .unwrap_or(Self::Yaml),
        }
    }
}

/// Reads a definition.
pub(crate) fn parse(path: &Path, text: &str) -> Result<AgentSpec, Failure> {
    let place = if path == Path::new("-") {
        "stdin".to_owned()
    } else {
        format!("`{}`", path.display())
    };
    let language = Language::of(path, text);
    let broken = |reason: String| {
        Failure::new(
            Exit::Config,
            "AGENT_INVALID",
            format!("{place} is not {}: {}", language.word(), reason.trim()),
        )
    };
    let value: Value = match language {
        Language::Yaml => {
            serde_saphyr::from_str(text).map_err(|error| broken(error.to_string()))?
        }
        Language::Toml => toml::from_str(text).map_err(|error| broken(error.to_string()))?,
        Language::Json => {
            // The gate refuses repeated keys, which the parser behind it would take silently.
            let text = adjutant_protocol::gate::check(text.as_bytes())
                .map_err(|fault| broken(fault.message))?;
            serde_json::from_str(text).map_err(|error| broken(error.to_string()))?
        }
    };
    from_value(value, &place)
}

/// Reads a definition from a tree.
pub(crate) fn from_value(value: Value, place: &str) -> Result<AgentSpec, Failure> {
    let invalid = |reason: String| {
        Failure::new(
            Exit::Config,
            "AGENT_INVALID",
            format!("the agent in {place} is not valid: {reason}"),
        )
    };
    let Value::Object(mut map) = value else {
        return Err(invalid("it must be a map of keys".to_owned()));
    };
    check_keys("", &mut map, KEYS)?;
    if let Some(Value::Object(budget)) = map.get_mut("budget") {
        check_keys("budget.", budget, BUDGET_KEYS)?;
        for (dollars, micros) in [
            ("run", "run_micros"),
            ("session", "session_micros"),
            ("day", "day_micros"),
        ] {
            if let Some(amount) = budget.remove(dollars) {
                let text = amount
                    .as_str()
                    .map_or_else(|| amount.to_string(), str::to_owned);
                let amount = Micros::parse_dollars(&text).ok_or_else(|| {
                    invalid(format!(
                        "`budget.{dollars}` is not an amount in dollars: {text}"
                    ))
                })?;
                budget.insert(micros.to_owned(), amount.0.into());
            }
        }
    }
    if let Some(Value::Object(limits)) = map.get_mut("limits") {
        check_keys("limits.", limits, LIMIT_KEYS)?;
    }
    if !map.contains_key("name") {
        return Err(invalid("`name` is missing".to_owned())
            .with_hint("give it a name, as in `name: researcher`"));
    }
    // Key by key, so that an error names its key.
    for (key, value) in &map {
        let mut one = Map::new();
        one.insert("name".to_owned(), "x".into());
        one.insert(key.clone(), value.clone());
        if let Err(error) = serde_json::from_value::<AgentSpec>(Value::Object(one)) {
            let found = serde_json::to_string(value).unwrap_or_default();
            return Err(invalid(format!(
                "`{key}` is {}: {error}",
                crate::render::one_line(&found, 80)
            )));
        }
    }
    serde_json::from_value(Value::Object(map)).map_err(|error| invalid(error.to_string()))
}

/// Brings the keys into one spelling and refuses those that mean nothing.
fn check_keys(prefix: &str, map: &mut Map<String, Value>, known: &[&str]) -> Result<(), Failure> {
    let given: Vec<String> = map.keys().cloned().collect();
    for key in given {
        let plain = snake(&key);
        if !known.contains(&plain.as_str()) {
            let message = format!("unknown key `{prefix}{key}` in the agent's definition");
            let hint = match crate::nearest(&plain, known.iter().copied()) {
                Some(near) => format!("did you mean `{prefix}{near}`?"),
                None => format!("known keys: {}", known.join(", ")),
            };
            return Err(Failure::new(Exit::Config, "UNKNOWN_KEY", message).with_hint(hint));
        }
        if plain != key
            && let Some(value) = map.remove(&key)
        {
            if map.contains_key(&plain) {
                let message = format!("`{prefix}{plain}` is given twice");
                return Err(Failure::new(Exit::Config, "REPEATED_KEY", message));
            }
            map.insert(plain, value);
        }
    }
    Ok(())
}

/// `displayName` as `display_name`.
fn snake(key: &str) -> String {
    let mut out = String::with_capacity(key.len() + 4);
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out.trim_start_matches('_').replace('-', "_")
}

/// The definition as a tree with the keys people write.
pub(crate) fn to_value(spec: &AgentSpec) -> Value {
    fn spelled(value: Value) -> Value {
        match value {
            Value::Object(map) => map
                .into_iter()
                .map(|(key, value)| (snake(&key), spelled(value)))
                .collect(),
            other => other,
        }
    }
    serde_json::to_value(spec).map_or(Value::Null, spelled)
}

/// The definition as YAML, for an editor.
pub(crate) fn to_yaml(spec: &AgentSpec) -> Result<String, Failure> {
    serde_saphyr::to_string(&to_value(spec)).map_err(|error| {
        Failure::new(
            Exit::Failed,
            "INTERNAL",
            format!("the agent cannot be written as YAML: {error}"),
        )
    })
}

/// Applies `key=value` to a definition. An empty value removes the key.
pub(crate) fn change(spec: &AgentSpec, changes: &[String]) -> Result<AgentSpec, Failure> {
    let mut tree = to_value(spec);
    for change in changes {
        let Some((key, text)) = change.split_once('=') else {
            return Err(Failure::usage(format!("`{change}` is not `KEY=VALUE`"))
                .with_hint("write it like `--set model=gpt-5-mini`"));
        };
        let mut target = &mut tree;
        let mut path = key.split('.').map(snake).peekable();
        while let (Some(step), Value::Object(map)) = (path.next(), target) {
            if path.peek().is_some() {
                target = map.entry(step).or_insert_with(|| Value::Object(Map::new()));
            } else if text.is_empty() {
                map.remove(&step);
                break;
            } else {
                map.insert(step, plain_value(text));
                break;
            }
        }
    }
    from_value(tree, "`--set`")
}

/// JSON if it is JSON, else text.
pub(crate) fn plain_value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_not_json| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const YAML: &str = "name: researcher\ndisplay_name: Researcher\ntrust_level: 2\nsystem_prompt: |\n  Be brief.\n\
        tools: [file_read, web_fetch]\nallowed_dirs: [/srv/papers]\napproval_policy: ask_always\n\
        budget: {day: $2.50}\nlimits: {max_steps: 5, timeout: 10m}\n";
    const JSON: &str = r#"{"name":"researcher","displayName":"Researcher","trustLevel":2,"systemPrompt":"Be brief.\n",
        "tools":["file_read","web_fetch"],"allowedDirs":["/srv/papers"],"approvalPolicy":"ask_always",
        "budget":{"dayMicros":2500000},"limits":{"maxSteps":5,"timeout":"10m"}}"#;
    const TOML: &str = "name = \"researcher\"\ndisplay_name = \"Researcher\"\ntrust_level = 2\n\
        system_prompt = \"Be brief.\\n\"\ntools = [\"file_read\", \"web_fetch\"]\nallowed_dirs = [\"/srv/papers\"]\n\
        approval_policy = \"ask_always\"\n[budget]\nday = 2.5\n[limits]\nmax_steps = 5\ntimeout = \"10m\"\n";

    fn read(name: &str, text: &str) -> Result<AgentSpec, Failure> {
        parse(Path::new(name), text)
    }

    #[test]
    fn the_three_languages_say_the_same() {
        let yaml = read("a.yaml", YAML).unwrap();
        assert_eq!(yaml.budget.day_micros, Some(Micros(2_500_000)));
        assert_eq!(yaml.limits.max_steps, Some(5));
        assert_eq!(yaml.system_prompt, "Be brief.\n");
        assert_eq!(read("a.json", JSON).unwrap(), yaml);
        assert_eq!(read("a.toml", TOML).unwrap(), yaml);
    }

    #[test]
    fn without_an_extension_the_content_decides() {
        let yaml = read("a.yaml", YAML).unwrap();
        for text in [YAML, JSON, TOML] {
            assert_eq!(read("-", text).unwrap(), yaml);
        }
    }

    #[track_caller]
    fn refused(text: &str, shown: &str) {
        let failure = read("a.yaml", text).unwrap_err();
        assert_eq!(failure.exit, Exit::Config);
        assert_eq!(failure.text(), shown);
    }

    #[test]
    fn an_unknown_key_is_refused_naming_the_nearest() {
        refused(
            "name: a\ntrust_lvel: 2\n",
            "error: unknown key `trust_lvel` in the agent's definition\nhint: did you mean `trust_level`?",
        );
        refused(
            "name: a\nlimits: {max_step: 2}\n",
            "error: unknown key `limits.max_step` in the agent's definition\nhint: did you mean `limits.max_steps`?",
        );
    }

    #[test]
    fn a_wrong_value_is_refused_naming_its_key() {
        refused(
            "name: a\ntrust_level: 9\n",
            "error: the agent in `a.yaml` is not valid: `trust_level` is 9: trust level 9 is not between 1 and 5",
        );
        refused(
            "description: a\n",
            "error: the agent in `a.yaml` is not valid: `name` is missing\nhint: give it a name, as in `name: researcher`",
        );
        refused(
            "name: a\nbudget: {day: much}\n",
            "error: the agent in `a.yaml` is not valid: `budget.day` is not an amount in dollars: much",
        );
    }

    #[test]
    fn repeated_keys_are_refused() {
        assert!(read("a.yaml", "name: a\nname: b\n").is_err());
        assert!(read("a.json", r#"{"name":"a","name":"b"}"#).is_err());
        assert!(read("a.toml", "name = \"a\"\nname = \"b\"\n").is_err());
        assert!(
            read(
                "a.json",
                r#"{"name":"a","displayName":"b","display_name":"c"}"#
            )
            .is_err()
        );
    }

    #[test]
    fn a_definition_survives_the_editor() {
        let spec = read("a.yaml", YAML).unwrap();
        let text = to_yaml(&spec).unwrap();
        assert_eq!(read("a.yaml", &text).unwrap(), spec);
        assert!(text.contains("trust_level: 2"), "{text}");
    }

    #[test]
    fn single_keys_can_be_changed_and_removed() {
        let spec = read("a.yaml", YAML).unwrap();
        let set = |changes: &[&str]| {
            change(
                &spec,
                &changes
                    .iter()
                    .map(|it| (*it).to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        let changed = set(&[
            "model=gpt-5-mini",
            "limits.max_steps=9",
            "tools=",
            "allowed_dirs=[\"/a\"]",
        ])
        .unwrap();
        assert_eq!(changed.model.as_deref(), Some("gpt-5-mini"));
        assert_eq!(changed.limits.max_steps, Some(9));
        assert_eq!(changed.tools, None);
        assert_eq!(changed.allowed_dirs, ["/a"]);
        assert!(
            set(&["modl=x"])
                .unwrap_err()
                .hint
                .unwrap()
                .contains("`model`")
        );
        assert_eq!(set(&["model"]).unwrap_err().exit, Exit::Usage);
    }
}
