//! Surfaces of A2UI: checked, kept whole, and told to views in order.
//!
//! The host draws nothing and changes nothing: a message that is well formed goes to the renderer as it came. What is kept
//! is the state it leads to, so that a view that opens later, or comes back, is told the same surface in few messages.

mod catalog;
mod check;
mod data;
mod place;
mod press;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use adjutant_ports::canvas::RejectedMessage;

pub(crate) use self::press::WITHHELD;

use self::check::{Act, Message};
use self::place::{At, Checked, Flaw};
use super::room::News;

/// Surfaces of one session.
const SURFACES_MAX: usize = 20;
/// Components of one surface.
const COMPONENTS_MAX: usize = 1_000;
/// Levels of components.
const DEPTH_MAX: usize = 50;
/// Bytes of the data of one surface.
const DATA_BYTES_MAX: usize = 256 << 10;
/// Bytes of one message.
const MESSAGE_BYTES_MAX: usize = 512 << 10;
/// Messages at once, of one session.
pub(crate) const MESSAGES_MAX: usize = 200;
/// Messages a second, of one session; as many as [`MESSAGES_MAX`] may come at once.
const MESSAGES_PER_SECOND: f64 = 20.0;

/// Versions of the protocol that are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Version {
    #[serde(rename = "v0.8")]
    V08,
    #[serde(rename = "v0.9")]
    V09,
    #[serde(rename = "v0.9.1")]
    V091,
}

impl Version {
    pub(crate) const ALL: [Self; 3] = [Self::V08, Self::V09, Self::V091];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::V08 => "v0.8",
            Self::V09 => "v0.9",
            Self::V091 => "v0.9.1",
        }
    }

    /// One that says its name in every message.
    fn named(word: &str) -> Option<Self> {
        match word {
            "v0.9" => Some(Self::V09),
            "v0.9.1" => Some(Self::V091),
            _ => None,
        }
    }

    /// Catalogues that are drawn in this version.
    pub(crate) fn catalogs(self) -> &'static [&'static str] {
        match self {
            Self::V08 => catalog::CATALOGS_8,
            Self::V09 | Self::V091 => catalog::CATALOGS_9,
        }
    }
}

/// What became of messages.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) accepted: usize,
    pub(crate) rejected: Vec<RejectedMessage>,
}

/// All surfaces of a session.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Surfaces {
    rev: u64,
    surfaces: BTreeMap<String, Surface>,
    #[serde(skip)]
    budget: Option<(f64, Duration)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Surface {
    version: Version,
    /// What began it; v0.8 may say this late.
    begun: Option<Map<String, Value>>,
    components: Map<String, Value>,
    /// v0.9: the data. v0.8: the updates that lead to it, since its values have kinds of their own.
    data: Value,
}

impl Surface {
    fn new(version: Version) -> Self {
        let data = match version {
            Version::V08 => json!([]),
            Version::V09 | Version::V091 => json!({}),
        };
        Self {
            version,
            begun: None,
            components: Map::new(),
            data,
        }
    }

    fn messages(&self, id: &str) -> Vec<Value> {
        let components: Vec<&Value> = self.components.values().collect();
        let mut all = Vec::new();
        let say = |name: &str, body: Value| match self.version {
            Version::V08 => json!({ name: body }),
            version => json!({ "version": version.word(), name: body }),
        };
        if self.version == Version::V08 {
            if !components.is_empty() {
                all.push(say(
                    "surfaceUpdate",
                    json!({ "surfaceId": id, "components": components }),
                ));
            }
            let updates = self.data.as_array().cloned().unwrap_or_default();
            all.extend(updates.into_iter().map(|it| say("dataModelUpdate", it)));
            all.extend(self.begun.iter().map(|it| say("beginRendering", json!(it))));
            return all;
        }
        all.extend(self.begun.iter().map(|it| say("createSurface", json!(it))));
        all.push(say(
            "updateDataModel",
            json!({ "surfaceId": id, "path": "/", "value": self.data }),
        ));
        if !components.is_empty() {
            all.push(say(
                "updateComponents",
                json!({ "surfaceId": id, "components": components }),
            ));
        }
        all
    }
}

impl Surfaces {
    /// Takes messages one by one; those that are wrong change nothing.
    pub(crate) fn push(&mut self, messages: Vec<Value>, now: Duration) -> (Report, Vec<News>) {
        let (mut report, mut news) = (Report::default(), Vec::new());
        for (index, message) in messages.into_iter().enumerate() {
            match self.take(&message, now) {
                Ok(version) => {
                    report.accepted += 1;
                    news.push(self.news(version, vec![message]));
                }
                Err(Flaw { path, reason }) => report.rejected.push(RejectedMessage {
                    index,
                    path,
                    reason,
                }),
            }
        }
        (report, news)
    }

    fn news(&mut self, version: Version, messages: Vec<Value>) -> News {
        self.rev += 1;
        News::Surface {
            rev: self.rev,
            version: version.word(),
            messages,
        }
    }

    /// How many changes there were.
    pub(crate) fn rev(&self) -> u64 {
        self.rev
    }

    /// The surfaces as they are, each as messages that build it. All carry the same number: what comes next is one more.
    pub(crate) fn snapshot(&self) -> Vec<News> {
        let all = self.surfaces.iter();
        all.map(|(id, surface)| News::Surface {
            rev: self.rev,
            version: surface.version.word(),
            messages: surface.messages(id),
        })
        .collect()
    }

    /// Takes away one surface, or all.
    pub(crate) fn reset(&mut self, surface: Option<&str>) -> Vec<News> {
        let gone: Vec<String> = self
            .surfaces
            .keys()
            .filter(|id| surface.is_none_or(|wanted| *id == wanted))
            .cloned()
            .collect();
        let mut news = Vec::new();
        for id in gone {
            let Some(surface) = self.surfaces.remove(&id) else {
                continue;
            };
            let body = json!({ "surfaceId": id });
            let message = match surface.version {
                Version::V08 => json!({ "deleteSurface": body }),
                version => json!({ "version": version.word(), "deleteSurface": body }),
            };
            news.push(self.news(surface.version, vec![message]));
        }
        news
    }

    /// What is withheld of this action of this component. None: nothing on the surface sends it.
    pub(crate) fn withheld(
        &self,
        surface: &str,
        component: &str,
        action: &str,
    ) -> Option<Vec<String>> {
        press::withheld(self.surfaces.get(surface)?, component, action)
    }

    fn take(&mut self, value: &Value, now: Duration) -> Checked<Version> {
        self.spend(now)?;
        if MESSAGE_BYTES_MAX < value.to_string().len() {
            return At::ROOT.flaw(format!("a message has at most {MESSAGE_BYTES_MAX} bytes"));
        }
        let message = check::message(value)?;
        let before = self.surfaces.get(message.surface);
        if let Some(before) = before
            && before.version != message.version
            && (before.version == Version::V08 || message.version == Version::V08)
        {
            let began = before.version.word();
            return At::ROOT.flaw(format!(
                "A2UI_VERSION_MIX: the surface began in {began} and stays there"
            ));
        }
        if message.act == Act::Delete {
            if self.surfaces.remove(message.surface).is_none() {
                return none_of(&message);
            }
            return Ok(message.version);
        }
        let mut surface = match (before, message.act) {
            (Some(_), Act::Begin) if message.version != Version::V08 => {
                return At::ROOT.flaw("the surface exists already; delete it first");
            }
            (Some(before), _) => before.clone(),
            (None, Act::Begin) => Surface::new(message.version),
            (None, _) if message.version == Version::V08 => Surface::new(Version::V08),
            (None, _) => return none_of(&message),
        };
        apply(&mut surface, &message)?;
        if !self.surfaces.contains_key(message.surface) && SURFACES_MAX <= self.surfaces.len() {
            return At::ROOT.flaw(format!("at most {SURFACES_MAX} surfaces; delete one first"));
        }
        self.surfaces.insert(message.surface.to_owned(), surface);
        Ok(message.version)
    }

    fn spend(&mut self, now: Duration) -> Checked<()> {
        let most = f64::from(u32::try_from(MESSAGES_MAX).unwrap_or(u32::MAX));
        let (left, counted_at) = self.budget.unwrap_or((most, now));
        let back = now.saturating_sub(counted_at).as_secs_f64() * MESSAGES_PER_SECOND;
        let left = (left + back).min(most);
        if left < 1.0 {
            self.budget = Some((left, now));
            return At::ROOT.flaw(format!(
                "more than {MESSAGES_PER_SECOND} messages a second; wait a little"
            ));
        }
        self.budget = Some((left - 1.0, now));
        Ok(())
    }
}

fn none_of<T>(message: &Message<'_>) -> Checked<T> {
    At::ROOT
        .then(message.name)
        .then("surfaceId")
        .flaw(format!("there is no surface `{}`", message.surface))
}

fn apply(surface: &mut Surface, message: &Message<'_>) -> Checked<()> {
    let at = At::ROOT.then(message.name);
    match (message.act, message.version) {
        (Act::Begin, _) => surface.begun = Some(message.body.clone()),
        (Act::Components, _) => {
            let listed = message.body["components"].as_array();
            for component in listed.into_iter().flatten() {
                let id = component["id"].as_str().unwrap_or_default();
                surface.components.insert(id.to_owned(), component.clone());
            }
            if COMPONENTS_MAX < surface.components.len() {
                return at.flaw(format!("a surface has at most {COMPONENTS_MAX} components"));
            }
            check_tree(surface, &at.then("components"))?;
        }
        (Act::Data, Version::V08) => {
            let path = path_of(message.body);
            // What is written at a place takes the place of all that was written at it and beneath it.
            let beneath = format!("{}/", path.trim_end_matches('/'));
            if let Some(updates) = surface.data.as_array_mut() {
                updates.retain(|it| {
                    let other = it.as_object().map_or("/", path_of);
                    other != path && !format!("{other}/").starts_with(&beneath)
                });
                updates.push(Value::Object(message.body.clone()));
            }
        }
        (Act::Data, _) => {
            let value = message.body.get("value").cloned();
            data::set(&mut surface.data, path_of(message.body), value)
                .or_else(|reason| at.then("path").flaw(reason))?;
        }
        (Act::Delete, _) => {}
    }
    if message.act == Act::Data && DATA_BYTES_MAX < surface.data.to_string().len() {
        return at.flaw(format!(
            "the data of a surface has at most {DATA_BYTES_MAX} bytes"
        ));
    }
    Ok(())
}

fn path_of(body: &Map<String, Value>) -> &str {
    body.get("path").and_then(Value::as_str).unwrap_or("/")
}

/// No component within itself, and not too deep. A child that is not there yet is drawn when it comes.
fn check_tree(surface: &Surface, at: &At<'_>) -> Checked<()> {
    let mut heights = BTreeMap::new();
    for id in surface.components.keys() {
        height(surface, id, &mut Vec::new(), &mut heights, at)?;
    }
    Ok(())
}

/// Levels of a component and what it shows. Each is counted once, however often it is shown.
fn height<'a>(
    surface: &'a Surface,
    id: &'a str,
    way: &mut Vec<&'a str>,
    heights: &mut BTreeMap<&'a str, usize>,
    at: &At<'_>,
) -> Checked<usize> {
    if let Some(known) = heights.get(id) {
        return Ok(*known);
    }
    if way.contains(&id) {
        return at.flaw(format!("`{id}` lies within itself"));
    }
    let Some(component) = surface.components.get(id) else {
        return Ok(0);
    };
    let mut levels = 0;
    way.push(id);
    if way.len() <= DEPTH_MAX {
        for child in children_of(component) {
            levels = levels.max(height(surface, child, way, heights, at)?);
        }
    } else {
        levels = DEPTH_MAX;
    }
    way.pop();
    levels += 1;
    if DEPTH_MAX < levels {
        return at.flaw(format!("components lie more than {DEPTH_MAX} deep"));
    }
    heights.insert(id, levels);
    Ok(levels)
}

/// The ids of components that this one shows.
fn children_of(component: &Value) -> Vec<&str> {
    let said = match component.get("component") {
        Some(Value::Object(kinds)) => kinds.values().next().unwrap_or(component),
        _ => component,
    };
    let mut all = Vec::new();
    for name in [
        "child",
        "entryPointChild",
        "contentChild",
        "trigger",
        "content",
    ] {
        all.extend(said.get(name).and_then(Value::as_str));
    }
    if let Some(children) = said.get("children") {
        let listed = children.get("explicitList").unwrap_or(children);
        all.extend(
            listed
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str),
        );
        let template = children.get("template").unwrap_or(children);
        all.extend(template.get("componentId").and_then(Value::as_str));
    }
    for name in ["tabs", "tabItems"] {
        let tabs = said.get(name).and_then(Value::as_array);
        let children = tabs.into_iter().flatten().filter_map(|it| it.get("child"));
        all.extend(children.filter_map(Value::as_str));
    }
    all
}

/// Messages as they are written: JSON Lines, a list, one object, or an object with `messages`.
///
/// # Errors
/// A sentence about the line that is no JSON.
pub(crate) fn read(text: &str) -> Result<Vec<Value>, String> {
    let messages = match serde_json::from_str::<Value>(text) {
        Ok(Value::Array(all)) => all,
        Ok(Value::Object(mut one)) => match one.get_mut("messages") {
            Some(Value::Array(all)) => std::mem::take(all),
            _ => vec![Value::Object(one)],
        },
        Ok(_) => return Err("messages are objects".to_owned()),
        Err(whole) => {
            let lines = text
                .lines()
                .enumerate()
                .filter(|(_, it)| !it.trim().is_empty());
            let read = lines.map(|(n, line)| {
                serde_json::from_str(line).map_err(|error| {
                    match text.trim_start().starts_with('[') {
                        true => format!("this is not JSON: {whole}"),
                        false => format!("line {} is not JSON: {error}", n + 1),
                    }
                })
            });
            read.collect::<Result<Vec<Value>, String>>()?
        }
    };
    match messages.len() {
        0 => Err("there is no message".to_owned()),
        n if MESSAGES_MAX < n => Err(format!("at most {MESSAGES_MAX} messages at once")),
        _ => Ok(messages),
    }
}

#[cfg(test)]
mod tests;
