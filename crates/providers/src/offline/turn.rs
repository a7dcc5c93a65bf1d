//! One turn of the responder: where the conversation stands, and what comes next.
//!
//! It keeps no state. What was already done is read from the calls and results behind the person's last words, so that
//! a replayed or resumed run goes on where it was.

use serde_json::json;

use adjutant_domain::message::{Part, Role, text_of};
use adjutant_ports::provider::{ModelAsk, ModelCall, ModelMessage};

use super::sentence::{Wish, wishes};

/// Longest result shown in an answer, in characters.
const SHOWN_CHARS_MAX: usize = 2_000;
/// Longest line of a summary, in characters.
const SUMMARY_CHARS_MAX: usize = 160;
/// Most wishes of one message; more is not a conversation.
const WISHES_MAX: usize = 32;

const EXAMPLES: &str = "Things I understand:\n\
    - list the files in notes\n\
    - read todo.md\n\
    - search for \"milk\" in notes\n\
    - write \"buy milk\" to todo.md\n\
    - replace \"milk\" with \"tea\" in todo.md\n\
    - run `wc -l *.md`\n\
    - fetch https://example.org\n\
    - remember that the door code is 4711\n\
    - what do you remember about the door?\n\
    - forget the door code\n\n\
    Several sentences, or sentences joined by \"then\", are done one after another.";

/// What it says now, and the one tool it asks for, if any.
pub(crate) struct Turn {
    pub(crate) text: String,
    pub(crate) call: Option<ModelCall>,
}

/// A call of this run, with what came of it.
struct Done<'a> {
    name: &'a str,
    args: &'a serde_json::Value,
    text: &'a str,
    is_error: bool,
}

/// Bytes of everything in the ask, for the estimate of usage.
pub(crate) fn prompt_bytes(ask: &ModelAsk) -> usize {
    let part = |part: &Part| match part {
        Part::Text { text } | Part::Thinking { text, .. } | Part::ToolResult { text, .. } => {
            text.len()
        }
        Part::ToolCall { name, args, .. } => name.len() + args.to_string().len(),
    };
    let tools: usize = ask
        .tools
        .iter()
        .map(|tool| tool.name.len() + tool.description.len())
        .sum();
    let messages: usize = ask
        .messages
        .iter()
        .flat_map(|message| &message.parts)
        .map(part)
        .sum();
    ask.system.len() + tools + messages
}

/// The next turn of `ask`.
pub(crate) fn answer(ask: &ModelAsk) -> Turn {
    let Some((at, words)) = last_words(&ask.messages) else {
        return Turn {
            text: format!("There is nothing to answer.\n\n{EXAMPLES}"),
            call: None,
        };
    };
    let mut done = done_since(&ask.messages[at..]).into_iter();
    let mut wishes = wishes(&words);
    wishes.truncate(WISHES_MAX);
    let understood = wishes.iter().any(|wish| !matches!(wish, Wish::Unknown(_)));
    let mut report: Vec<String> = Vec::new();
    for (nth, wish) in wishes.iter().enumerate() {
        let next = Next { ask, at, nth };
        match wish {
            Wish::Call { tool, args } => match done.next() {
                Some(done) => report.push(told(&done)),
                None => match next.call(tool, args.clone(), 0) {
                    Ok(turn) => return turn,
                    Err(sentence) => report.push(sentence),
                },
            },
            Wish::Forget { query } => {
                let Some(found) = done.next() else {
                    match next.call("memory_search", json!({ "query": query }), 0) {
                        Ok(turn) => return turn,
                        Err(sentence) => report.push(sentence),
                    }
                    continue;
                };
                let Some(id) = memory_ids(found.text).next() else {
                    report.push(format!("I found no memory about `{query}`, so nothing was forgotten."));
                    continue;
                };
                match done.next() {
                    Some(done) => report.push(told(&done)),
                    None => match next.call("memory_forget", json!({ "id": id }), 1) {
                        Ok(turn) => return turn,
                        Err(sentence) => report.push(sentence),
                    },
                }
            }
            Wish::Summarize => report.push(summary(&ask.messages[..at])),
            Wish::Chat => report.push(format!(
                "I am not a model: I follow fixed rules, so that everything works without a key and a network.\n\n\
                 {EXAMPLES}"
            )),
            Wish::Unknown(clause) if understood => {
                report.push(format!("I have no rule for: {}", clipped(clause, SUMMARY_CHARS_MAX)));
            }
            Wish::Unknown(_) => {}
        }
    }
    if !understood {
        report.push(format!(
            "I follow fixed rules and have none for this. For real answers, set up a provider with \
             `adjutant setup`.\n\n{EXAMPLES}"
        ));
    }
    let text = match report.as_slice() {
        [one] => one.clone(),
        many => {
            let numbered = many
                .iter()
                .enumerate()
                .map(|(n, line)| format!("{}. {line}", n + 1));
            format!(
                "All {} steps:\n\n{}",
                many.len(),
                numbered.collect::<Vec<_>>().join("\n")
            )
        }
    };
    Turn { text, call: None }
}

/// Where a call comes from, for its identifier.
struct Next<'a> {
    ask: &'a ModelAsk,
    at: usize,
    nth: usize,
}

impl Next<'_> {
    /// Asks for `tool`; or a sentence, if the agent has no such tool.
    fn call(&self, tool: &str, args: serde_json::Value, step: u32) -> Result<Turn, String> {
        if !self.ask.tools.iter().any(|known| known.name == tool) {
            return Err(format!(
                "This agent has no tool `{tool}`, so I could not do that."
            ));
        }
        // The same place in the same conversation gives the same identifier, and no other place does.
        let wire_id = format!(
            "off_{}_{}_{step}_{}",
            self.at,
            self.nth,
            self.ask.messages.len()
        );
        let text = format!("{}.", doing(tool, &args));
        Ok(Turn {
            text,
            call: Some(ModelCall {
                wire_id,
                name: tool.to_owned(),
                args,
            }),
        })
    }
}

/// The person's last words and where they stand. What stands inside a fence (a summary, recalled memories) was not said
/// by the person.
fn last_words(messages: &[ModelMessage]) -> Option<(usize, String)> {
    messages.iter().enumerate().rev().find_map(|(at, message)| {
        if message.role != Role::User {
            return None;
        }
        let words: Vec<&str> = message
            .parts
            .iter()
            .filter_map(|part| match part {
                Part::Text { text } if inside_fence(text).is_none() => Some(text.trim()),
                _ => None,
            })
            .filter(|text| !text.is_empty())
            .collect();
        (!words.is_empty()).then(|| (at, words.join("\n")))
    })
}

/// What stands inside `<data-NONCE from="…">` and `</data-NONCE>`, if the whole text is such a fence.
fn inside_fence(text: &str) -> Option<&str> {
    let (head, rest) = text.trim().strip_prefix("<data-")?.split_once(">\n")?;
    let nonce = head.split_whitespace().next()?;
    let rest = rest
        .strip_suffix('>')?
        .strip_suffix(nonce)?
        .strip_suffix("</data-")?;
    Some(rest.strip_suffix('\n').unwrap_or(rest))
}

/// Calls with results, in order.
fn done_since(messages: &[ModelMessage]) -> Vec<Done<'_>> {
    let parts = || messages.iter().flat_map(|message| &message.parts);
    parts()
        .filter_map(|part| {
            let Part::ToolCall {
                call, name, args, ..
            } = part
            else {
                return None;
            };
            parts().find_map(|part| match part {
                Part::ToolResult {
                    call: of,
                    text,
                    is_error,
                    ..
                } if of == call => Some(Done {
                    name,
                    args,
                    text,
                    is_error: *is_error,
                }),
                _ => None,
            })
        })
        .collect()
}

fn doing(tool: &str, args: &serde_json::Value) -> String {
    let arg = |name: &str| {
        args.get(name)
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
    };
    match tool {
        "file_list" if arg("path").is_empty() => "Listing the files".to_owned(),
        "file_list" => format!("Listing the files in `{}`", arg("path")),
        "file_read" => format!("Reading `{}`", arg("path")),
        "file_search" => format!("Searching for `{}`", arg("query")),
        "file_write" => format!("Writing `{}`", arg("path")),
        "file_edit" => format!("Editing `{}`", arg("path")),
        "shell_run" => format!("Running `{}`", arg("command")),
        "web_fetch" => format!("Fetching {}", arg("url")),
        "memory_write" => "Remembering that".to_owned(),
        "memory_search" => format!("Looking into memory for `{}`", arg("query")),
        "memory_forget" => format!("Forgetting `{}`", arg("id")),
        "json_query" => format!("Looking up `{}` in `{}`", arg("filter"), arg("path")),
        other => format!("Using `{other}`"),
    }
}

/// What a finished call came to, as the tool said it.
fn told(done: &Done<'_>) -> String {
    let what = doing(done.name, done.args);
    let text = inside_fence(done.text).unwrap_or(done.text);
    let text = clipped(text.trim(), SHOWN_CHARS_MAX);
    match (done.is_error, text.is_empty()) {
        (true, true) => format!("{what}: it did not work."),
        (true, false) => format!("{what}: it did not work: {text}"),
        (false, true) => format!("{what}: done."),
        (false, false) => {
            // A fence longer than any inside keeps the result apart from our own words.
            let fence = "`".repeat(longest_fence(&text).max(2) + 1);
            format!("{what}:\n{fence}\n{text}\n{fence}")
        }
    }
}

fn longest_fence(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

/// Identifiers of memories in a search result.
fn memory_ids(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| {
            word.strip_prefix("mem_")
                .is_some_and(|rest| rest.len() == 26)
        })
}

fn summary(messages: &[ModelMessage]) -> String {
    let lines: Vec<String> = messages
        .iter()
        .filter_map(|message| {
            let who = match message.role {
                Role::User => "you",
                Role::Assistant => "I",
                Role::Summary => "before that",
                Role::Tool => return None,
            };
            let words = text_of(&message.parts);
            let line = inside_fence(&words)
                .unwrap_or(&words)
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            (!line.is_empty()).then(|| format!("- {who}: {}", clipped(&line, SUMMARY_CHARS_MAX)))
        })
        .collect();
    if lines.is_empty() {
        return "There is nothing to summarize.".to_owned();
    }
    format!("What was said, shortened by rule:\n{}", lines.join("\n"))
}

fn clipped(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((cut, _)) => format!(
            "{}… ({} characters in all)",
            &text[..cut],
            text.chars().count()
        ),
        None => text.to_owned(),
    }
}
