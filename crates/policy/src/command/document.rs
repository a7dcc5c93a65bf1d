//! Here-documents, taken out before the parser sees the script.
//!
//! A script with a document in it is opaque whatever else it says, and the tokenizer does not come to an end on some
//! malformed ones. So the lines of a document are cut out by hand and its operator becomes a here-string; the rest is
//! then read as usual, for its segments and for what must be refused.

/// A script without its documents.
pub(super) struct Split {
    /// The script, each document replaced by a here-string that holds its tag.
    pub(super) outer: String,
    /// The documents.
    pub(super) documents: Vec<Document>,
}

/// One document.
pub(super) struct Document {
    pub(super) body: String,
    /// The shell replaces variables and substitutions in it.
    pub(super) expands: bool,
    /// The line that opened it names a shell, so the body is a script.
    pub(super) is_script: bool,
}

/// Takes the documents out of `script`, if it has any.
pub(super) fn split(script: &str) -> Option<Split> {
    if !without_strings(script).contains("<<") {
        return None;
    }
    let mut outer = String::new();
    let mut documents = Vec::new();
    let mut lines = script.lines();
    while let Some(line) = lines.next() {
        outer.push_str(&as_strings(line));
        outer.push('\n');
        for (tag, expands) in tags(line) {
            let mut body = String::new();
            for inner in lines.by_ref() {
                if inner.trim_start_matches('\t') == tag {
                    break;
                }
                body.push_str(inner);
                body.push('\n');
            }
            documents.push(Document {
                body,
                expands,
                is_script: names_shell(line),
            });
        }
    }
    Some(Split { outer, documents })
}

fn without_strings(text: &str) -> String {
    text.replace("<<<", " ")
}

/// `line` with every document operator turned into that of a here-string. Nothing that is left could open a document.
fn as_strings(line: &str) -> String {
    let kept = line
        .replace("<<<", "\u{1}")
        .replace("<<-", "<<")
        .replace("<<", " <<< ");
    kept.replace('\u{1}', " <<< ")
}

/// The tags on `line`, and whether their documents are expanded.
fn tags(line: &str) -> Vec<(String, bool)> {
    let line = without_strings(line);
    let mut tags = Vec::new();
    for after in line.split("<<").skip(1) {
        let word: String = after
            .trim_start_matches('-')
            .trim_start()
            .chars()
            .take_while(|c| {
                !c.is_whitespace() && !matches!(c, ';' | '|' | '&' | '<' | '>' | '(' | ')')
            })
            .collect();
        let tag: String = word
            .chars()
            .filter(|c| !matches!(c, '\'' | '"' | '\\'))
            .collect();
        tags.push((tag.clone(), tag == word));
    }
    tags
}

fn names_shell(line: &str) -> bool {
    line.split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| {
            matches!(
                word,
                "sh" | "bash" | "dash" | "ash" | "zsh" | "ksh" | "eval" | "source" | "su" | "sudo"
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_cut_out_and_the_rest_stays() {
        let split = split("cat > x <<'EOF'\nrm -rf /\nEOF\nls")
            .unwrap_or_else(|| panic!("there is a document"));
        assert_eq!(split.outer, "cat > x  <<< 'EOF'\nls\n");
        let [document] = split.documents.as_slice() else {
            panic!("there is one document")
        };
        assert_eq!(document.body, "rm -rf /\n");
        assert!(!document.expands && !document.is_script);
    }

    #[test]
    fn nothing_that_is_left_opens_a_document() {
        for script in [
            "a << b",
            "a <<- b",
            "a <<<< b",
            "a <<<<<< b",
            "<<<<<<-<<-<<",
            "a <<\"\"\n",
            "<<<-<<",
        ] {
            if let Some(split) = split(script) {
                assert!(
                    !without_strings(&split.outer).contains("<<"),
                    "{script}: {}",
                    split.outer
                );
            }
        }
    }
}
