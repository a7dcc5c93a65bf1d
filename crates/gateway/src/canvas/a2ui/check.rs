//! Whether a message says what its version lets it say: envelope, members, kinds.
//!
//! Stricter than the published schemas in two places: a component of v0.8 has exactly one type, and a known one.

use serde_json::{Map, Value};

use super::Version;
use super::catalog::{CATALOGS_8, CATALOGS_9, FUNCTIONS, Kind, Member, Need, members};
use super::place::{At, Checked, id, list, must, name_at, object, only, optional, text};

/// Bytes of a picture that comes along in a message.
const DATA_URL_BYTES_MAX: usize = 256 << 10;
/// Levels of calls within calls.
const CALLS_DEEP_MAX: usize = 16;

/// What a message does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Begin,
    Components,
    Data,
    Delete,
}

/// A message that is well formed.
#[derive(Debug, Clone)]
pub(super) struct Message<'a> {
    pub(super) version: Version,
    pub(super) act: Act,
    /// The member's name, as the version has it.
    pub(super) name: &'static str,
    pub(super) surface: &'a str,
    pub(super) body: &'a Map<String, Value>,
}

const ACTS_8: [(&str, Act); 4] = [
    ("beginRendering", Act::Begin),
    ("surfaceUpdate", Act::Components),
    ("dataModelUpdate", Act::Data),
    ("deleteSurface", Act::Delete),
];
const ACTS_9: [(&str, Act); 4] = [
    ("createSurface", Act::Begin),
    ("updateComponents", Act::Components),
    ("updateDataModel", Act::Data),
    ("deleteSurface", Act::Delete),
];

/// Reads one message.
pub(super) fn message(value: &Value) -> Checked<Message<'_>> {
    let at = At::ROOT;
    let whole = object(value, &at)?;
    let version = match whole.get("version") {
        None => Version::V08,
        Some(said) => Version::named(said.as_str().unwrap_or_default()).map_or_else(
            || {
                at.then("version")
                    .flaw("must be \"v0.9\" or \"v0.9.1\"; v0.8 has no version")
            },
            Ok,
        )?,
    };
    let acts = if version == Version::V08 {
        ACTS_8
    } else {
        ACTS_9
    };
    let mut found = None;
    for key in whole.keys().filter(|key| *key != "version") {
        let known = acts.iter().find(|(name, _)| name == key);
        match (known, found) {
            (None, _) => {
                return at
                    .then(key)
                    .flaw(format!("is not a message of {}", version.word()));
            }
            (Some(_), Some(_)) => return at.flaw("exactly one kind of message at a time"),
            (Some(act), None) => found = Some(*act),
        }
    }
    let Some((name, act)) = found else {
        return at.flaw(format!(
            "must have one of {}",
            acts.map(|(name, _)| name).join(", ")
        ));
    };
    let at = at.then(name);
    let body = object(&whole[name], &at)?;
    let surface = name_at(body, "surfaceId", &at)?;
    match (act, version) {
        (Act::Begin, Version::V08) => begin_8(body, &at)?,
        (Act::Begin, _) => begin_9(body, &at)?,
        (Act::Components, _) => components(version, body, &at)?,
        (Act::Data, Version::V08) => data_8(body, &at)?,
        (Act::Data, _) => data_9(body, &at)?,
        (Act::Delete, _) => only(body, &["surfaceId"], &at)?,
    }
    Ok(Message {
        version,
        act,
        name,
        surface,
        body,
    })
}

fn begin_8(body: &Map<String, Value>, at: &At<'_>) -> Checked<()> {
    only(body, &["surfaceId", "catalogId", "root", "styles"], at)?;
    name_at(body, "root", at)?;
    if let Some(catalog) = body.get("catalogId") {
        known_catalog(catalog, CATALOGS_8, &at.then("catalogId"))?;
    }
    let Some(styles) = body.get("styles") else {
        return Ok(());
    };
    let at = at.then("styles");
    let styles = object(styles, &at)?;
    only(styles, &["font", "primaryColor"], &at)?;
    optional(styles, "font", &at, |it, at| text(it, at).map(drop))?;
    optional(styles, "primaryColor", &at, color)
}

fn begin_9(body: &Map<String, Value>, at: &At<'_>) -> Checked<()> {
    only(
        body,
        &["surfaceId", "catalogId", "theme", "sendDataModel"],
        at,
    )?;
    known_catalog(
        must(body, "catalogId", at)?,
        CATALOGS_9,
        &at.then("catalogId"),
    )?;
    optional(body, "sendDataModel", at, flag)?;
    let Some(theme) = body.get("theme") else {
        return Ok(());
    };
    let at = at.then("theme");
    let theme = object(theme, &at)?;
    optional(theme, "primaryColor", &at, color)?;
    match theme.get("iconUrl") {
        Some(value) => url(text(value, &at.then("iconUrl"))?, &at.then("iconUrl")),
        None => Ok(()),
    }
}

fn known_catalog(value: &Value, known: &[&str], at: &At<'_>) -> Checked<()> {
    let said = text(value, at)?;
    if known.contains(&said) {
        return Ok(());
    }
    at.flaw(format!(
        "no such catalogue here; there are: {}",
        known.join(", ")
    ))
}

fn color(value: &Value, at: &At<'_>) -> Checked<()> {
    let said = text(value, at)?;
    let digits = said.strip_prefix('#').unwrap_or_default();
    if digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(());
    }
    at.flaw("must be a colour such as #00BFFF")
}

fn flag(value: &Value, at: &At<'_>) -> Checked<()> {
    if value.is_boolean() {
        return Ok(());
    }
    at.flaw("must be true or false")
}

fn data_8(body: &Map<String, Value>, at: &At<'_>) -> Checked<()> {
    only(body, &["surfaceId", "path", "contents"], at)?;
    optional(body, "path", at, |it, at| text(it, at).map(drop))?;
    let at = at.then("contents");
    entries_8(list(must(body, "contents", &At::ROOT)?, &at)?, &at, 0)
}

fn entries_8(entries: &[Value], at: &At<'_>, deep: usize) -> Checked<()> {
    for (n, entry) in entries.iter().enumerate() {
        let n = n.to_string();
        let at = at.then(&n);
        let entry = object(entry, &at)?;
        only(
            entry,
            &[
                "key",
                "valueString",
                "valueNumber",
                "valueBoolean",
                "valueMap",
            ],
            &at,
        )?;
        text(must(entry, "key", &at)?, &at.then("key"))?;
        let values: Vec<_> = entry.iter().filter(|(key, _)| *key != "key").collect();
        let [(name, value)] = values.as_slice() else {
            return at.flaw("must have exactly one value");
        };
        let at = at.then(name);
        match name.as_str() {
            "valueString" => drop(text(value, &at)?),
            "valueNumber" if value.is_number() => {}
            "valueBoolean" if value.is_boolean() => {}
            "valueMap" if deep < 1 => entries_8(list(value, &at)?, &at, deep + 1)?,
            "valueMap" => return at.flaw("a map within a map is not allowed"),
            _ => return at.flaw("is of another kind than its name says"),
        }
    }
    Ok(())
}

fn data_9(body: &Map<String, Value>, at: &At<'_>) -> Checked<()> {
    only(body, &["surfaceId", "path", "value"], at)?;
    optional(body, "path", at, |it, at| text(it, at).map(drop))
}

fn components(version: Version, body: &Map<String, Value>, at: &At<'_>) -> Checked<()> {
    only(body, &["surfaceId", "components"], at)?;
    let all = list(must(body, "components", at)?, &at.then("components"))?;
    let at = at.then("components");
    if all.is_empty() {
        return at.flaw("must not be empty");
    }
    let mut seen = std::collections::BTreeSet::new();
    for (n, component) in all.iter().enumerate() {
        let n = n.to_string();
        let at = at.then(&n);
        let component = object(component, &at)?;
        let id = name_at(component, "id", &at)?;
        if !seen.insert(id) {
            return at.then("id").flaw(format!("`{id}` is there twice"));
        }
        match version {
            Version::V08 => component_8(component, &at)?,
            Version::V09 | Version::V091 => component_9(version, component, &at)?,
        }
    }
    Ok(())
}

fn component_8(component: &Map<String, Value>, at: &At<'_>) -> Checked<()> {
    only(component, &["id", "weight", "component"], at)?;
    optional(component, "weight", at, number)?;
    let at = at.then("component");
    let kinds = object(must(component, "component", &At::ROOT)?, &at)?;
    let mut all = kinds.iter();
    let (Some((name, said)), None) = (all.next(), all.next()) else {
        return at.flaw("must have exactly one type");
    };
    let at = at.then(name);
    match members(Version::V08, name) {
        Some(known) => said_members(Version::V08, object(said, &at)?, known, &[], &at),
        None => at.flaw("is not a component of v0.8"),
    }
}

fn component_9(version: Version, component: &Map<String, Value>, at: &At<'_>) -> Checked<()> {
    let name = name_at(component, "component", at)?;
    match members(version, name) {
        Some(known) => said_members(version, component, known, &["id", "component"], at),
        None => at
            .then("component")
            .flaw(format!("`{name}` is not a component of v0.9")),
    }
}

fn said_members(
    version: Version,
    said: &Map<String, Value>,
    known: [&[Member]; 2],
    besides: &[&str],
    at: &At<'_>,
) -> Checked<()> {
    let all = || known.into_iter().flatten();
    for (name, _, _) in all().filter(|(_, _, need)| *need == Need::Must) {
        must(said, name, at)?;
    }
    for (name, value) in said
        .iter()
        .filter(|(name, _)| !besides.contains(&name.as_str()))
    {
        let at = at.then(name);
        let Some((_, kind, _)) = all().find(|(known, _, _)| known == name) else {
            let names: Vec<&str> = all().map(|(name, _, _)| *name).collect();
            return at.flaw(format!("is not known here; known: {}", names.join(", ")));
        };
        member(version, *kind, value, &at)?;
    }
    Ok(())
}

fn number(value: &Value, at: &At<'_>) -> Checked<()> {
    if value.is_number() {
        return Ok(());
    }
    at.flaw("must be a number")
}

fn member(version: Version, kind: Kind, value: &Value, at: &At<'_>) -> Checked<()> {
    match kind {
        Kind::Text => text(value, at).map(drop),
        Kind::Flag => flag(value, at),
        Kind::Number => number(value, at),
        Kind::Choice(words) => {
            let said = text(value, at)?;
            if words.contains(&said) {
                return Ok(());
            }
            at.flaw(format!("must be one of {}", words.join(", ")))
        }
        Kind::DynText | Kind::DynFlag | Kind::DynNumber | Kind::DynList => {
            dynamic(version, kind, value, at)
        }
        Kind::Url => {
            dynamic(version, Kind::DynText, value, at)?;
            let literal = value
                .as_str()
                .or_else(|| value.get("literalString")?.as_str());
            literal.map_or(Ok(()), |it| url(it, at))
        }
        Kind::Icon if value.get("svgPath").is_some() => {
            let drawing = object(value, at)?;
            only(drawing, &["svgPath"], at)?;
            optional(drawing, "svgPath", at, |it, at| text(it, at).map(drop))
        }
        Kind::Icon => dynamic(version, Kind::DynText, value, at),
        Kind::Id => id(value, at).map(drop),
        Kind::Children => children(version, value, at),
        Kind::Tabs => each(value, at, |it, at| {
            only(it, &["title", "child"], at)?;
            dynamic(
                version,
                Kind::DynText,
                must(it, "title", at)?,
                &at.then("title"),
            )?;
            name_at(it, "child", at).map(drop)
        }),
        Kind::Options => each(value, at, |it, at| {
            only(it, &["label", "value"], at)?;
            dynamic(
                version,
                Kind::DynText,
                must(it, "label", at)?,
                &at.then("label"),
            )?;
            text(must(it, "value", at)?, &at.then("value")).map(drop)
        }),
        Kind::Action if version == Version::V08 => action_8(value, at),
        Kind::Action => action_9(value, at),
        Kind::Checks => each(value, at, |it, at| {
            only(it, &["condition", "message"], at)?;
            text(must(it, "message", at)?, &at.then("message"))?;
            dynamic(
                version,
                Kind::DynFlag,
                must(it, "condition", at)?,
                &at.then("condition"),
            )
        }),
        Kind::Accessibility => {
            let said = object(value, at)?;
            for name in ["label", "description"] {
                if let Some(value) = said.get(name) {
                    dynamic(version, Kind::DynText, value, &at.then(name))?;
                }
            }
            Ok(())
        }
    }
}

fn each(
    value: &Value,
    at: &At<'_>,
    check: impl Fn(&Map<String, Value>, &At<'_>) -> Checked<()>,
) -> Checked<()> {
    for (n, item) in list(value, at)?.iter().enumerate() {
        let n = n.to_string();
        let at = at.then(&n);
        check(object(item, &at)?, &at)?;
    }
    Ok(())
}

fn fits(kind: Kind, value: &Value) -> bool {
    match kind {
        Kind::DynText => value.is_string(),
        Kind::DynFlag => value.is_boolean(),
        Kind::DynNumber => value.is_number(),
        Kind::DynList => value
            .as_array()
            .is_some_and(|all| all.iter().all(Value::is_string)),
        _ => false,
    }
}

fn dynamic(version: Version, kind: Kind, value: &Value, at: &At<'_>) -> Checked<()> {
    if version != Version::V08 {
        return if fits(kind, value) {
            Ok(())
        } else {
            bound_9(value, at, 0)
        };
    }
    let said = object(value, at)?;
    let literal = match kind {
        Kind::DynFlag => "literalBoolean",
        Kind::DynNumber => "literalNumber",
        Kind::DynList => "literalArray",
        _ => "literalString",
    };
    only(said, &[literal, "path"], at)?;
    optional(said, "path", at, |it, at| text(it, at).map(drop))?;
    match said.get(literal) {
        Some(value) if !fits(kind, value) => at
            .then(literal)
            .flaw("is of another kind than its name says"),
        _ => Ok(()),
    }
}

/// A path or a call.
fn bound_9(value: &Value, at: &At<'_>, deep: usize) -> Checked<()> {
    let said = object(value, at)?;
    if said.contains_key("path") {
        only(said, &["path"], at)?;
        return optional(said, "path", at, |it, at| text(it, at).map(drop));
    }
    only(said, &["call", "args", "returnType"], at)?;
    let name = name_at(said, "call", at)?;
    if !FUNCTIONS.contains(&name) {
        return at.then("call").flaw(format!(
            "no such function; there are: {}",
            FUNCTIONS.join(", ")
        ));
    }
    if CALLS_DEEP_MAX < deep {
        return at.flaw("calls are nested too deeply");
    }
    let Some(args) = said.get("args") else {
        return Ok(());
    };
    let at = at.then("args");
    for (name, arg) in object(args, &at)? {
        let at = at.then(name);
        let calls = arg
            .as_array()
            .map_or(std::slice::from_ref(arg), Vec::as_slice);
        for call in calls.iter().filter(|it| it.get("call").is_some()) {
            bound_9(call, &at, deep + 1)?;
        }
    }
    Ok(())
}

fn children(version: Version, value: &Value, at: &At<'_>) -> Checked<()> {
    let ids = |value: &Value, at: &At<'_>| {
        for (n, child) in list(value, at)?.iter().enumerate() {
            id(child, &at.then(&n.to_string()))?;
        }
        Ok(())
    };
    if version != Version::V08 {
        if value.is_array() {
            return ids(value, at);
        }
        let template = object(value, at)?;
        only(template, &["componentId", "path"], at)?;
        text(must(template, "path", at)?, &at.then("path"))?;
        return name_at(template, "componentId", at).map(drop);
    }
    let said = object(value, at)?;
    only(said, &["explicitList", "template"], at)?;
    if let Some(listed) = said.get("explicitList") {
        ids(listed, &at.then("explicitList"))?;
    }
    let Some(template) = said.get("template") else {
        return Ok(());
    };
    let at = at.then("template");
    let template = object(template, &at)?;
    only(template, &["componentId", "dataBinding"], &at)?;
    text(must(template, "dataBinding", &at)?, &at.then("dataBinding"))?;
    name_at(template, "componentId", &at).map(drop)
}

fn action_8(value: &Value, at: &At<'_>) -> Checked<()> {
    let action = object(value, at)?;
    only(action, &["name", "context"], at)?;
    name_at(action, "name", at)?;
    let Some(context) = action.get("context") else {
        return Ok(());
    };
    each(context, &at.then("context"), |it, at| {
        only(it, &["key", "value"], at)?;
        text(must(it, "key", at)?, &at.then("key"))?;
        let at = at.then("value");
        let value = object(must(it, "value", &At::ROOT)?, &at)?;
        only(
            value,
            &["path", "literalString", "literalNumber", "literalBoolean"],
            &at,
        )
    })
}

fn action_9(value: &Value, at: &At<'_>) -> Checked<()> {
    let action = object(value, at)?;
    only(action, &["event", "functionCall"], at)?;
    match (action.get("event"), action.get("functionCall")) {
        (Some(event), None) => {
            let at = at.then("event");
            let event = object(event, &at)?;
            only(event, &["name", "context"], &at)?;
            name_at(event, "name", &at)?;
            optional(event, "context", &at, |it, at| object(it, at).map(drop))
        }
        (None, Some(call)) => bound_9(call, &at.then("functionCall"), 0),
        _ => at.flaw("must have either `event` or `functionCall`"),
    }
}

/// What may be loaded: pictures in the message, files of the canvas, and `https`, which is drawn only where the policy of
/// the page lets it.
fn url(said: &str, at: &At<'_>) -> Checked<()> {
    let lower = said.get(..16).unwrap_or(said).to_ascii_lowercase();
    if lower.starts_with("data:image/") && said.len() <= DATA_URL_BYTES_MAX * 4 / 3 + 64 {
        return Ok(());
    }
    let scheme = said.split(['/', '?', '#']).next().unwrap_or_default();
    let relative = !scheme.contains(':') && !said.starts_with("//");
    if lower.starts_with("https://") || relative {
        return Ok(());
    }
    at.flaw("must be https, a picture as data: of at most 256 KiB, or a file of the canvas")
}
