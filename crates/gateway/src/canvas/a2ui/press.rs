//! What a press may say: an action that a component offers, without what was typed into a field that hides it.
//!
//! What an agent is told, a model is told. A hidden field holds what must not go there, so whatever the context draws from
//! it is withheld; rather too much than too little.

use serde_json::Value;

use super::Surface;

/// What stands in the place of a value that is withheld.
pub(crate) const WITHHELD: &str = "(withheld: it was typed into a hidden field)";

/// The members of the context that are withheld. None: no such component sends this action. A component that is made from
/// a template has the id of the template and more.
pub(super) fn withheld(surface: &Surface, component: &str, action: &str) -> Option<Vec<String>> {
    let context = surface.components.iter().find_map(|(id, said)| {
        let said = said.pointer("/component/Button").unwrap_or(said);
        let action_said = said
            .pointer("/action/event")
            .or_else(|| said.get("action"))?;
        let fits = component.starts_with(id.as_str()) && action_said.get("name")? == action;
        fits.then(|| action_said.get("context").unwrap_or(&Value::Null))
    })?;
    let hidden: Vec<&str> = surface
        .components
        .values()
        .filter_map(hidden_path)
        .collect();
    let entries: Vec<(&str, &Value)> = match context {
        Value::Array(entries) => entries
            .iter()
            .filter_map(|it| Some((it.get("key")?.as_str()?, it)))
            .collect(),
        Value::Object(entries) => entries.iter().map(|(key, it)| (key.as_str(), it)).collect(),
        _ => Vec::new(),
    };
    let drawn = |it: &Value| hidden.iter().any(|path| draws_on(it, path));
    let kept = entries.into_iter().filter(|(_, it)| drawn(it));
    Some(kept.map(|(key, _)| key.to_owned()).collect())
}

/// Where a field that hides what is typed keeps it.
fn hidden_path(component: &Value) -> Option<&str> {
    let old = component.pointer("/component/TextField");
    let (kind, bound) = match old {
        Some(field) => (field.get("textFieldType"), field.get("text")),
        None => (component.get("variant"), component.get("value")),
    };
    kind.filter(|it| *it == "obscured")?;
    bound?.get("path")?.as_str()
}

/// Whether a value says, holds or leads to what is at this path.
fn draws_on(value: &Value, hidden: &str) -> bool {
    match value {
        Value::String(said) => {
            let (said, hidden) = (said.trim_matches('/'), hidden.trim_matches('/'));
            said.is_empty()
                || said == "."
                || said.contains(hidden)
                || hidden.starts_with(&format!("{said}/"))
                || hidden.ends_with(&format!("/{said}"))
        }
        Value::Array(all) => all.iter().any(|it| draws_on(it, hidden)),
        Value::Object(all) => all.values().any(|it| draws_on(it, hidden)),
        _ => false,
    }
}
