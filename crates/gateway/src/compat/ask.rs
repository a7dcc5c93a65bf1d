//! What an OpenAI-style request asks for: which agent, which session, which words.

use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use adjutant_domain::id::{AgentId, ClientKey, SessionKey};
use adjutant_vault::digest;

use crate::compat::problem::Problem;
use crate::core::Core;

/// Turns of one request.
const TURNS_MAX: usize = 1_000;
/// Bytes of a name that becomes part of a session key as it is.
const SLUG_BYTES_MAX: usize = 64;

/// What is asked for.
#[derive(Debug)]
pub(super) struct Ask {
    /// The model as it was asked for; answers repeat it.
    pub(super) model: String,
    pub(super) session: SessionKey,
    pub(super) words: String,
    pub(super) key: ClientKey,
    pub(super) stream: bool,
    /// Whether a stream of completions ends with what it used.
    pub(super) usage: bool,
    /// Whether a client that goes away stops its run.
    pub(super) cancel_on_leave: bool,
    /// The conversation that was named; answers repeat it.
    pub(super) conversation: Option<String>,
    pub(super) previous: Option<String>,
}

/// Words, or parts of which some are words.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Words(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Turn {
    #[serde(rename = "type")]
    kind: Option<String>,
    role: Option<String>,
    content: Option<Content>,
}

#[derive(Debug, Default, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Format {
    #[serde(rename = "type")]
    kind: String,
}

/// Members of `POST /v1/chat/completions` that count here; the agent's settings decide about the rest.
#[derive(Debug, Deserialize)]
struct Completions {
    model: Option<String>,
    messages: Vec<Turn>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    n: Option<u32>,
    tools: Option<Vec<Value>>,
    functions: Option<Vec<Value>>,
    response_format: Option<Format>,
    user: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Input {
    Words(String),
    Items(Vec<Turn>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Conversation {
    Id(String),
    Object { id: String },
}

#[derive(Debug, Deserialize)]
struct TextOptions {
    format: Option<Format>,
}

/// Members of `POST /v1/responses` that count here.
#[derive(Debug, Deserialize)]
struct Responses {
    model: Option<String>,
    input: Input,
    instructions: Option<String>,
    stream: Option<bool>,
    background: Option<bool>,
    tools: Option<Vec<Value>>,
    text: Option<TextOptions>,
    conversation: Option<Conversation>,
    previous_response_id: Option<String>,
    user: Option<String>,
}

/// A turn as words: who speaks, what is said.
type Said = (String, String);

pub(super) async fn completions(
    core: &Core,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Ask, Problem> {
    let request: Completions = parse(body)?;
    refuse_tools(request.tools.as_deref())?;
    refuse_tools(request.functions.as_deref())?;
    refuse_format("response_format", request.response_format.as_ref())?;
    if request.n.is_some_and(|n| n != 1) {
        return Err(Problem::param(
            "n",
            "an agent gives one answer; `n` must be 1",
        ));
    }
    let said = said("messages", request.messages)?;
    let place = Place {
        user: request.user,
        conversation: None,
        previous: None,
    };
    let mut ask = ask(core, headers, request.model, place, &said).await?;
    ask.stream = request.stream == Some(true);
    ask.usage = request.stream_options.and_then(|it| it.include_usage) == Some(true);
    Ok(ask)
}

pub(super) async fn responses(
    core: &Core,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Ask, Problem> {
    let request: Responses = parse(body)?;
    refuse_tools(request.tools.as_deref())?;
    refuse_format("text", request.text.and_then(|it| it.format).as_ref())?;
    if request.background == Some(true) {
        return Err(Problem::param(
            "background",
            "not supported; every run is durable and goes on without its client",
        ));
    }
    let mut turns: Vec<Said> = Vec::new();
    if let Some(words) = request.instructions.filter(|it| !it.trim().is_empty()) {
        turns.push(("system".to_owned(), words));
    }
    match request.input {
        Input::Words(words) => turns.push(("user".to_owned(), words)),
        Input::Items(items) => turns.extend(said("input", items)?),
    }
    let conversation = request.conversation.map(|it| match it {
        Conversation::Id(id) | Conversation::Object { id } => id,
    });
    let place = Place {
        user: request.user,
        conversation,
        previous: request.previous_response_id,
    };
    let mut ask = ask(core, headers, request.model, place, &turns).await?;
    ask.stream = request.stream == Some(true);
    Ok(ask)
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    let text = adjutant_protocol::gate::check(body)
        .map_err(|fault| Problem::bad(fault.message.to_string()))?;
    serde_json::from_str(text).map_err(|error| {
        let reason: String = error.to_string().chars().take(300).collect();
        Problem::bad(format!("the body is not a request: {reason}"))
    })
}

/// Tools of the client would have to run at the client; here the agent's own run, behind its policy.
fn refuse_tools(tools: Option<&[Value]>) -> Result<(), Problem> {
    if tools.is_some_and(|it| !it.is_empty()) {
        return Err(Problem::param(
            "tools",
            "the agent uses its own tools; a client cannot bring any",
        ));
    }
    Ok(())
}

fn refuse_format(param: &'static str, format: Option<&Format>) -> Result<(), Problem> {
    if format.is_some_and(|it| it.kind != "text") {
        return Err(Problem::param(
            param,
            "answers are text; no other format is supported",
        ));
    }
    Ok(())
}

fn said(param: &'static str, turns: Vec<Turn>) -> Result<Vec<Said>, Problem> {
    if turns.len() > TURNS_MAX {
        return Err(Problem::param(param, format!("at most {TURNS_MAX} turns")));
    }
    let mut all = Vec::new();
    for turn in turns {
        let role = match (turn.kind.as_deref(), turn.role.as_deref()) {
            (None | Some("message"), Some("system" | "developer")) => "system",
            (None | Some("message"), Some("user")) => "user",
            (None | Some("message"), Some("assistant")) => "assistant",
            // What the agent did by itself, given back; its log has it.
            (Some("mcp_call" | "reasoning"), _) => continue,
            (kind, role) => {
                let what = role
                    .or(kind)
                    .unwrap_or("a turn without a role")
                    .chars()
                    .take(40)
                    .collect::<String>();
                return Err(Problem::param(
                    param,
                    format!("cannot take {what}: only system, user and assistant speak"),
                ));
            }
        };
        let words = match turn.content {
            None => String::new(),
            Some(Content::Words(words)) => words,
            Some(Content::Parts(parts)) => parts_words(param, parts)?,
        };
        if !words.trim().is_empty() {
            all.push((role.to_owned(), words));
        }
    }
    Ok(all)
}

fn parts_words(param: &'static str, parts: Vec<Part>) -> Result<String, Problem> {
    let mut words = Vec::new();
    for part in parts {
        match (part.kind.as_str(), part.text) {
            ("text" | "input_text" | "output_text", Some(text)) => words.push(text),
            (kind, _) => {
                let kind: String = kind.chars().take(40).collect();
                let message = format!(
                    "parts of the kind {kind} are not supported; put the file into the workspace and name it"
                );
                return Err(Problem::param(param, message));
            }
        }
    }
    Ok(words.join("\n"))
}

/// What says which session.
struct Place {
    user: Option<String>,
    conversation: Option<String>,
    previous: Option<String>,
}

async fn ask(
    core: &Core,
    headers: &HeaderMap,
    model: Option<String>,
    place: Place,
    said: &[Said],
) -> Result<Ask, Problem> {
    if said.last().is_none_or(|(role, _)| role != "user") {
        return Err(Problem::bad("the last turn must be the user's, with words"));
    }
    let model = model.unwrap_or_else(|| "adjutant".to_owned());
    let agent = agent_of(core, &model).await?;
    let key = match header(headers, "idempotency-key")? {
        Some(text) => ClientKey::parse(text),
        None => ClientKey::parse(format!("openai-{}", core.uuid())),
    };
    let key = key.map_err(|error| Problem::bad(format!("Idempotency-Key: {error}")))?;
    let session = session_of(core, headers, &agent, &key, &place).await?;
    let continues = core
        .deps
        .store
        .session(core.owner(), &session)
        .await
        .map_err(Problem::store)?;
    let cancel_on_leave = match header(headers, "x-adjutant-on-disconnect")?.as_deref() {
        None | Some("continue") => false,
        Some("cancel") => true,
        Some(_) => {
            return Err(Problem::bad(
                "X-Adjutant-On-Disconnect is `continue` or `cancel`",
            ));
        }
    };
    Ok(Ask {
        words: words(said, continues.is_some()),
        model,
        session,
        key,
        stream: false,
        usage: false,
        cancel_on_leave,
        conversation: place.conversation,
        previous: place.previous,
    })
}

fn header(headers: &HeaderMap, name: &str) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let text = value
        .to_str()
        .map_err(|_not_text| Problem::bad(format!("the header {name} is not text")))?;
    Ok(Some(text.trim().to_owned()))
}

/// `adjutant/<agent>`, `<agent>`, or `adjutant` for the default one.
async fn agent_of(core: &Core, model: &str) -> Result<AgentId, Problem> {
    let name = model.strip_prefix("adjutant/").unwrap_or(model);
    let agent = if model == "adjutant" {
        core.deps.default_agent.clone()
    } else {
        AgentId::parse(name).map_err(|_bad| Problem::no_model(model))?
    };
    let known = core
        .deps
        .store
        .agent(core.owner(), &agent)
        .await
        .map_err(Problem::store)?;
    known
        .map(|it| it.name.clone())
        .ok_or_else(|| Problem::no_model(model))
}

/// The header, else the answer that is continued, else the conversation, else the user. Without any of them each
/// request has a session of its own.
async fn session_of(
    core: &Core,
    headers: &HeaderMap,
    agent: &AgentId,
    key: &ClientKey,
    place: &Place,
) -> Result<SessionKey, Problem> {
    let session = if let Some(text) = header(headers, "x-adjutant-session")? {
        text
    } else if let Some(previous) = &place.previous {
        let run = previous
            .strip_prefix("resp_")
            .map(|rest| format!("run_{rest}"));
        let known = match &run {
            Some(run) => core
                .deps
                .store
                .run(core.owner(), run)
                .await
                .map_err(Problem::store)?,
            None => None,
        };
        let Some(known) = known else {
            let message = "previous_response_id: no such response";
            return Err(Problem::param("previous_response_id", message)
                .coded("previous_response_not_found"));
        };
        known.run.session_key.as_str().to_owned()
    } else if let Some(conversation) = &place.conversation {
        format!("openai:{}", slug(conversation))
    } else if let Some(user) = place.user.as_deref().filter(|it| !it.is_empty()) {
        format!("openai:{}", slug(user))
    } else {
        format!("openai:request-{}", short(key.as_str()))
    };
    let session =
        SessionKey::resolve(&session, agent).map_err(|error| Problem::bad(error.to_string()))?;
    if session.agent() != *agent {
        let message = format!("the session {session} belongs to another agent than {agent}");
        return Err(Problem::param("model", message));
    }
    Ok(session)
}

/// A name as part of a session key: as it is where that is possible, else its digest.
fn slug(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if name.len() <= SLUG_BYTES_MAX && !name.is_empty() && name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("name-{}", short(name))
    }
}

fn short(text: &str) -> String {
    digest(text.as_bytes())
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(24)
        .collect()
}

/// What the agent is told. A session that exists has its own memory of the conversation: only what is new is said.
/// Otherwise the turns before the last are told first.
fn words(said: &[Said], continues: bool) -> String {
    let after = said
        .iter()
        .rposition(|(role, _)| role == "assistant")
        .map_or(0, |at| at + 1);
    let (before, new) = said.split_at(after);
    let join = |turns: &mut dyn Iterator<Item = &Said>| {
        turns
            .map(|(_, words)| words.as_str())
            .collect::<Vec<_>>()
            .join("\n\n")
    };
    let now = if after == 0 {
        join(&mut new.iter())
    } else {
        join(&mut new.iter().filter(|(role, _)| role != "system"))
    };
    if continues || before.is_empty() {
        return now;
    }
    let mut text = String::new();
    let rules = join(&mut said.iter().filter(|(role, _)| role == "system"));
    if !rules.is_empty() {
        text.push_str(&rules);
        text.push_str("\n\n");
    }
    text.push_str("Earlier in this conversation:\n");
    for (role, words) in before.iter().filter(|(role, _)| role != "system") {
        text.push_str(&format!("{role}: {words}\n"));
    }
    text.push_str("\nNow:\n");
    text.push_str(&now);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(all: &[(&str, &str)]) -> Vec<Said> {
        all.iter()
            .map(|(role, words)| ((*role).to_owned(), (*words).to_owned()))
            .collect()
    }

    #[test]
    fn a_session_that_exists_hears_only_what_is_new() {
        let said = turns(&[
            ("system", "be brief"),
            ("user", "a"),
            ("assistant", "b"),
            ("user", "c"),
            ("user", "d"),
        ]);
        assert_eq!(words(&said, true), "c\n\nd");
    }

    #[test]
    fn a_new_session_is_told_what_came_before() {
        let said = turns(&[
            ("system", "be brief"),
            ("user", "a"),
            ("assistant", "b"),
            ("user", "c"),
        ]);
        assert_eq!(
            words(&said, false),
            "be brief\n\nEarlier in this conversation:\nuser: a\nassistant: b\n\nNow:\nc"
        );
        assert_eq!(
            words(&turns(&[("system", "s"), ("user", "a")]), false),
            "s\n\na"
        );
    }

    #[test]
    fn names_that_are_no_part_of_a_key_become_digests() {
        assert_eq!(slug("anna-1"), "anna-1");
        assert!(slug("Anna@example.org").starts_with("name-"));
        assert_ne!(slug("Anna"), slug("anna"));
    }
}
