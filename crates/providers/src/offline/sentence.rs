//! From plain sentences to wishes.

use serde_json::{Value, json};

/// What one sentence wants.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Wish {
    /// One tool call.
    Call {
        /// Tool name.
        tool: &'static str,
        /// Its arguments.
        args: Value,
    },
    /// Find memories and forget what was found.
    Forget {
        /// What to look for.
        query: String,
    },
    /// A short account of the conversation.
    Summarize,
    /// A greeting, thanks, or a question about what it can do.
    Chat,
    /// No rule fits.
    Unknown(String),
}

impl Wish {
    fn call(tool: &'static str, args: Value) -> Self {
        Self::Call { tool, args }
    }
}

/// Words a sentence with a wish begins with; ` and ` only separates in front of one of them.
const VERBS: &[&str] = &[
    "list",
    "ls",
    "show",
    "read",
    "open",
    "cat",
    "print",
    "display",
    "search",
    "grep",
    "find",
    "look",
    "remember",
    "recall",
    "forget",
    "run",
    "execute",
    "write",
    "save",
    "replace",
    "change",
    "fetch",
    "get",
    "download",
    "query",
    "what",
    "tell",
    "summarize",
    "summarise",
    "note",
];

/// Words that carry no wish.
const FILLERS: &[&str] = &[
    "please",
    "now",
    "then",
    "also",
    "first",
    "finally",
    "next",
    "and",
    "afterwards",
    "ok",
    "okay",
    "can you",
    "could you",
    "would you",
    "will you",
    "i want you to",
    "i would like you to",
    "kindly",
    "after that",
    "second",
    "third",
    "hey",
    "adjutant",
];

/// All wishes of `text`, in order.
pub(crate) fn wishes(text: &str) -> Vec<Wish> {
    split(text).into_iter().map(wish).collect()
}

/// Cuts at line ends, at a period with a space behind it, at ` then `, and at ` and ` before a verb; never inside
/// quotes, and never inside something to be remembered or written down.
fn split(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut from = 0;
    let mut quote: Option<char> = None;
    let mut before = ' ';
    let mut skip_to = 0;
    for (at, c) in text.char_indices() {
        if at < skip_to {
            continue;
        }
        let rest = &text[at..];
        match quote {
            Some(close) if c == close => quote = None,
            Some(_) => {}
            None => {
                quote = match c {
                    '`' => Some('`'),
                    '"' => Some('"'),
                    '“' => Some('”'),
                    // An apostrophe is not a quote.
                    '\'' if before.is_whitespace() => Some('\''),
                    _ => None,
                };
                if quote.is_some() && !rest[c.len_utf8()..].contains(quote.unwrap_or(c)) {
                    quote = None;
                }
                let ends = c == '\n' || (matches!(c, '.' | '!' | '?') && followed_by_space(rest));
                let cut = if ends {
                    1
                } else {
                    joint(rest, is_prose(&text[from..at]))
                };
                if 0 < cut {
                    out.push(&text[from..at]);
                    from = at + cut;
                    skip_to = from;
                }
            }
        }
        before = c;
    }
    out.push(&text[from..]);
    out.into_iter()
        .map(strip)
        .filter(|clause| !clause.is_empty())
        .collect()
}

fn followed_by_space(rest: &str) -> bool {
    rest.chars().nth(1).is_none_or(char::is_whitespace)
}

/// Whether a sentence carries free text, in which `and` and `then` are just words.
fn is_prose(clause: &str) -> bool {
    let clause = strip(clause).to_lowercase();
    [
        "remember",
        "note that",
        "keep in mind",
        "write",
        "save",
        "replace",
        "change",
    ]
    .iter()
    .any(|verb| clause.starts_with(verb))
}

/// How many bytes of `rest` join two sentences here; zero when none do. A lone `;` belongs to a command.
fn joint(rest: &str, prose: bool) -> usize {
    let joints = [
        ", and then ",
        " and then ",
        ", then ",
        "; then ",
        " then ",
        ", and ",
        " and ",
    ];
    let Some(joint) = joints.iter().find(|joint| starts_with(rest, joint)) else {
        return 0;
    };
    let next = strip(&rest[joint.len()..]).to_lowercase();
    let verb_next = VERBS.iter().any(|verb| begins_with_word(&next, verb));
    let joins = if joint.contains("then") {
        !prose || verb_next
    } else {
        !prose && verb_next
    };
    if joins { joint.len() } else { 0 }
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

fn begins_with_word(text: &str, word: &str) -> bool {
    starts_with(text, word)
        && text[word.len()..]
            .chars()
            .next()
            .is_none_or(|c| !c.is_alphanumeric())
}

/// Without white space, fillers in front and `please` behind.
fn strip(clause: &str) -> &str {
    let mut clause = clause.trim().trim_start_matches([',', ';']).trim_start();
    while let Some(filler) = FILLERS
        .iter()
        .find(|filler| begins_with_word(clause, filler))
    {
        let rest = clause[filler.len()..].trim_start_matches([',', ' ', ':', '!']);
        if rest.is_empty() {
            break;
        }
        clause = rest;
    }
    let lower = clause.to_lowercase();
    match lower.strip_suffix(" please") {
        Some(rest) if lower.len() == clause.len() => clause[..rest.len()].trim_end_matches(','),
        _ => clause,
    }
}

/// What stands behind `verb` and any of `next`, if the clause begins so.
fn after<'a>(clause: &'a str, verbs: &[&str]) -> Option<&'a str> {
    verbs
        .iter()
        .filter(|verb| begins_with_word(clause, verb))
        .max_by_key(|verb| verb.len())
        .map(|verb| {
            clause[verb.len()..]
                .trim_start_matches([':', ' '])
                .trim_end()
        })
}

/// Cuts at the last (or first) of `words`, each a word between spaces.
fn cut_at<'a>(text: &'a str, words: &[&str], last: bool) -> Option<(&'a str, &'a str)> {
    let lower = text.to_ascii_lowercase();
    let found = words.iter().filter_map(|word| {
        let pattern = format!(" {word} ");
        let at = if last {
            lower.rfind(&pattern)
        } else {
            lower.find(&pattern)
        }?;
        Some((at, pattern.len()))
    });
    let (at, len) = if last { found.max() } else { found.min() }?;
    Some((text[..at].trim(), text[at + len..].trim()))
}

/// The text between the first pair of quotes, if it begins with one.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    for (open, close) in [
        ("```", "```"),
        ("`", "`"),
        ("\"", "\""),
        ("“", "”"),
        ("'", "'"),
    ] {
        if let Some(rest) = text.strip_prefix(open)
            && let Some(end) = rest.find(close)
        {
            return Some((&rest[..end], rest[end + close.len()..].trim()));
        }
    }
    None
}

/// `text` without its quotes, or without the punctuation at its end.
fn bare(text: &str) -> &str {
    match quoted(text) {
        Some((inner, rest)) if rest.trim_matches(['.', '!', '?']).is_empty() => inner,
        _ => text.trim().trim_end_matches(['.', '!', '?', ',']).trim(),
    }
}

/// A path as people mention one: `the file notes/x.txt`, `my notes folder`, `notes/`.
fn path(text: &str) -> &str {
    let mut text = bare(text);
    while let Some(rest) = after(
        text,
        &[
            "the",
            "my",
            "our",
            "this",
            "file",
            "folder",
            "directory",
            "contents of",
            "content of",
            "all",
            "of",
        ],
    ) {
        if rest.is_empty() {
            break;
        }
        text = rest;
    }
    for word in [" folder", " directory", " file"] {
        text = text.strip_suffix(word).unwrap_or(text);
    }
    bare(text)
}

/// Words for the place one already is in.
fn is_here(path: &str) -> bool {
    matches!(
        path.to_lowercase().as_str(),
        "" | "." | "here" | "workspace" | "current" | "it" | "there" | "files" | "everything"
    )
}

fn wish(clause: &str) -> Wish {
    let clause = strip(clause);
    listing(clause)
        .or_else(|| memory(clause))
        .or_else(|| command(clause))
        .or_else(|| web(clause))
        .or_else(|| search(clause))
        .or_else(|| writing(clause))
        .or_else(|| reading(clause))
        .or_else(|| chat(clause))
        .unwrap_or_else(|| Wish::Unknown(clause.to_owned()))
}

fn listing(clause: &str) -> Option<Wish> {
    let rest = after(
        clause,
        &[
            "list files",
            "list the files",
            "list all files",
            "list all the files",
            "list my files",
            "show files",
            "show the files",
            "show me the files",
            "show all files",
            "show me all files",
            "what files are",
            "which files are",
            "what is in",
            "what's in",
            "list",
            "ls",
            "dir",
        ],
    )?;
    let lower = clause.to_lowercase();
    let asks = lower.starts_with("what") || lower.starts_with("which");
    if asks && (lower.contains("memory") || rest.contains('.')) {
        return None;
    }
    let rest = after(rest, &["in", "of", "under", "inside", "from", "at"]).unwrap_or(rest);
    let place = path(rest);
    let args = if is_here(place) {
        json!({})
    } else {
        json!({ "path": place })
    };
    Some(Wish::call("file_list", args))
}

fn memory(clause: &str) -> Option<Wish> {
    let search = after(
        clause,
        &[
            "what do you remember about",
            "what do you know about",
            "do you remember",
            "recall",
            "search memory for",
            "search your memory for",
            "search my memories for",
            "what did i say about",
            "what did i tell you about",
            "what do you remember of",
        ],
    );
    if let Some(query) = search {
        return Some(Wish::call("memory_search", json!({ "query": bare(query) })));
    }
    if let Some(query) = after(
        clause,
        &[
            "forget about",
            "forget that",
            "forget what i said about",
            "forget",
        ],
    ) {
        return Some(Wish::Forget {
            query: bare(query).to_owned(),
        });
    }
    let text = after(
        clause,
        &[
            "remember that",
            "remember",
            "note that",
            "keep in mind that",
            "keep in mind",
        ],
    )?;
    (!bare(text).is_empty()).then(|| Wish::call("memory_write", json!({ "text": bare(text) })))
}

fn command(clause: &str) -> Option<Wish> {
    let rest = after(
        clause,
        &[
            "run",
            "execute",
            "run the command",
            "run command",
            "execute the command",
            "run the shell command",
            "run this",
            "run this command",
        ],
    )?;
    let command = match quoted(rest) {
        Some((inner, _)) => inner.trim(),
        None => rest.trim().trim_end_matches('.'),
    };
    (!command.is_empty()).then(|| Wish::call("shell_run", json!({ "command": command })))
}

fn web(clause: &str) -> Option<Wish> {
    after(
        clause,
        &[
            "fetch",
            "get",
            "download",
            "read",
            "open",
            "show",
            "summarize",
            "summarise",
            "what is on",
        ],
    )?;
    let words =
        clause.split(|c: char| c.is_whitespace() || matches!(c, '`' | '"' | '<' | '>' | '“' | '”'));
    let url = words
        .filter(|word| word.starts_with("http://") || word.starts_with("https://"))
        .map(|word| word.trim_end_matches(['.', ',', '!', '?', ')']))
        .next()?;
    Some(Wish::call("web_fetch", json!({ "url": url })))
}

fn search(clause: &str) -> Option<Wish> {
    let rest = after(
        clause,
        &[
            "search for",
            "look for",
            "find",
            "grep for",
            "grep",
            "search",
            "search the files for",
            "search files for",
        ],
    )?;
    // "search notes for X" says the place first.
    if let Some((place, query)) = cut_at(rest, &["for"], false)
        && quoted(rest).is_none()
        && !clause.to_lowercase().starts_with("find")
    {
        let place = path(after(place, &["in"]).unwrap_or(place));
        return Some(searched(bare(query), place));
    }
    let (query, place) = match quoted(rest) {
        Some((query, behind)) => (
            query,
            after(behind, &["in", "inside", "under", "within"]).unwrap_or_default(),
        ),
        None => cut_at(rest, &["in", "inside", "under", "within"], true).unwrap_or((rest, "")),
    };
    Some(searched(bare(query), path(place)))
}

fn searched(query: &str, place: &str) -> Wish {
    let args = if is_here(place) {
        json!({ "query": query })
    } else {
        json!({ "query": query, "path": place })
    };
    Wish::call("file_search", args)
}

fn writing(clause: &str) -> Option<Wish> {
    if let Some(rest) = after(clause, &["replace", "change"]) {
        let (old, behind) = match quoted(rest) {
            Some((old, behind)) => (old, after(behind, &["with", "by", "to", "into"])?),
            None => cut_at(rest, &["with", "by", "to", "into"], false)?,
        };
        let (new, place) = match quoted(behind) {
            Some((new, behind)) => (new, after(behind, &["in", "inside", "of"])?),
            None => cut_at(behind, &["in", "inside"], true)?,
        };
        return Some(Wish::call(
            "file_edit",
            json!({ "path": path(place), "old": old, "new": new }),
        ));
    }
    let rest = after(clause, &["write", "save", "put"])?;
    let (content, place) = match quoted(rest) {
        Some((content, behind)) => (content, after(behind, &["to", "into", "in", "as"])?),
        None => cut_at(rest, &["to", "into", "in", "as"], true)?,
    };
    let place = path(place);
    (!place.is_empty())
        .then(|| Wish::call("file_write", json!({ "path": place, "content": content })))
}

fn reading(clause: &str) -> Option<Wish> {
    if let Some(rest) = after(clause, &["query"])
        && let Some((place, filter)) = cut_at(rest, &["for", "with"], false)
    {
        return Some(Wish::call(
            "json_query",
            json!({ "path": path(place), "filter": bare(filter) }),
        ));
    }
    let rest = after(
        clause,
        &[
            "read",
            "show",
            "show me",
            "open",
            "cat",
            "print",
            "display",
            "what does",
            "what is in",
            "what's in",
            "tell me what is in",
            "get",
        ],
    )?;
    let place = path(rest);
    let place = place
        .strip_suffix(" say")
        .or(place.strip_suffix(" contain"))
        .unwrap_or(place);
    let one_name = !place.is_empty()
        && (rest.contains(['`', '"', '“']) || !place.contains(char::is_whitespace));
    let names_a_file =
        place.contains(['.', '/']) || starts_with(clause, "read") || starts_with(clause, "cat");
    (one_name && names_a_file).then(|| Wish::call("file_read", json!({ "path": place })))
}

fn chat(clause: &str) -> Option<Wish> {
    if after(clause, &["summarize", "summarise"]).is_some() {
        return Some(Wish::Summarize);
    }
    let lower = clause.trim_end_matches(['.', '!', '?']).to_lowercase();
    let small_talk = [
        "hello",
        "hi",
        "hey",
        "good morning",
        "good evening",
        "thanks",
        "thank you",
        "help",
        "what can you do",
        "who are you",
        "are you a model",
        "ping",
    ];
    small_talk.contains(&lower.as_str()).then_some(Wish::Chat)
}
