//! Words in the manner of each language.

/// In quotes, escaped as JSON does; all three languages read it the same way for what a schema holds.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// `run_queued`, `per-sender`, `chat.send` and `toolCall` as `RunQueued`, `PerSender`, `ChatSend`, `ToolCall`.
pub(crate) fn camel(text: &str) -> String {
    let parts = text.split(|c: char| !c.is_ascii_alphanumeric());
    parts
        .map(|part| {
            let mut letters = part.chars();
            letters.next().map_or_else(String::new, |first| {
                first.to_ascii_uppercase().to_string() + letters.as_str()
            })
        })
        .collect()
}

/// The same with a small first letter.
pub(crate) fn lower_camel(text: &str) -> String {
    let text = camel(text);
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_ascii_lowercase().to_string() + letters.as_str()
    })
}

/// The same in capitals: `RUN_QUEUED`.
pub(crate) fn capitals(text: &str) -> String {
    let mut out = String::new();
    let mut small_before = false;
    for letter in text.chars() {
        if !letter.is_ascii_alphanumeric() {
            out.push('_');
            small_before = false;
            continue;
        }
        if letter.is_ascii_uppercase() && small_before {
            out.push('_');
        }
        small_before = letter.is_ascii_lowercase();
        out.push(letter.to_ascii_uppercase());
    }
    out
}

/// A documentation comment, with its line end; nothing for nothing.
pub(crate) fn comment(docs: &str, indent: &str) -> String {
    if docs.is_empty() {
        return String::new();
    }
    let docs = docs.replace("*/", "* /").replace("/*", "/ *");
    let docs: Vec<&str> = docs.lines().map(str::trim).collect();
    format!("{indent}/** {} */\n", docs.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_follow_the_manner_of_the_language() {
        assert_eq!(camel("run_queued"), "RunQueued");
        assert_eq!(camel("toolCall"), "ToolCall");
        assert_eq!(lower_camel("chat.send"), "chatSend");
        assert_eq!(capitals("per-sender"), "PER_SENDER");
        assert_eq!(capitals("toolResult"), "TOOL_RESULT");
    }
}
