//! A second, deliberately small reading of a script, to hold the parser to account.
//!
//! The parser knows all of bash; this file knows only words, quotes, comments and the operators that a safe-read may
//! contain. A script is a safe-read only if both see the same tokens, so a slip in either one costs a question and not
//! a breach.

/// A token as both readers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Operator(String),
    Word(String),
}

const OPERATORS: &[&str] = &[
    "&&", "||", ">>", ">&", "<&", "&>", ";", "|", "(", ")", "<", ">", "\n", "&",
];

/// Splits `script` into tokens; nothing if it holds anything this reader does not know.
pub(super) fn split(script: &str) -> Option<Vec<Token>> {
    let chars: Vec<char> = script.chars().collect();
    let mut tokens = Vec::new();
    let mut word = String::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        match c {
            ' ' | '\t' => {
                flush(&mut word, &mut tokens);
                at += 1;
            }
            '#' if word.is_empty() => {
                while chars.get(at).is_some_and(|c| *c != '\n') {
                    at += 1;
                }
            }
            '\\' => {
                match chars.get(at + 1)? {
                    '\n' => {}
                    escaped => word.extend(['\\', *escaped]),
                }
                at += 2;
            }
            '\'' => at = quoted(&chars, at, &mut word)?,
            '"' => at = double_quoted(&chars, at, &mut word)?,
            '$' => match chars.get(at + 1)? {
                // An exit code, a process number, a count: digits, whatever happens.
                digits @ ('?' | '$' | '#') => {
                    word.extend(['$', *digits]);
                    at += 2;
                }
                _ => return None,
            },
            '`' => return None,
            '&' | '|' | ';' | '(' | ')' | '<' | '>' | '\n' => {
                flush(&mut word, &mut tokens);
                let operator = operator(&chars, at)?;
                at += operator.len();
                tokens.push(Token::Operator(operator.to_owned()));
            }
            _ => {
                word.push(c);
                at += 1;
            }
        }
    }
    flush(&mut word, &mut tokens);
    Some(tokens)
}

fn flush(word: &mut String, tokens: &mut Vec<Token>) {
    if !word.is_empty() {
        tokens.push(Token::Word(std::mem::take(word)));
    }
}

/// The operator at `at`, if the run of operator characters there is one we know.
fn operator(chars: &[char], at: usize) -> Option<&'static str> {
    let rest: String = chars.iter().skip(at).take(3).collect();
    let unknown = ["<<", "<>", ">|", ";;", ";&", "|&", "&>>", "<(", ">("];
    if unknown.iter().any(|op| rest.starts_with(op)) {
        return None;
    }
    OPERATORS.iter().copied().find(|op| rest.starts_with(op))
}

fn quoted(chars: &[char], start: usize, word: &mut String) -> Option<usize> {
    let close = chars.iter().skip(start + 1).position(|c| *c == '\'')? + start + 1;
    word.extend(chars.get(start..=close)?);
    Some(close + 1)
}

fn double_quoted(chars: &[char], start: usize, word: &mut String) -> Option<usize> {
    word.push('"');
    let mut at = start + 1;
    loop {
        match chars.get(at)? {
            '"' => {
                word.push('"');
                return Some(at + 1);
            }
            '\\' => match chars.get(at + 1)? {
                // Harmless in itself, but the two readers need not agree on it.
                '\n' => return None,
                escaped => {
                    word.extend(['\\', *escaped]);
                    at += 2;
                }
            },
            // The few expansions that are only digits are the one thing let through.
            '$' => match chars.get(at + 1)? {
                '?' | '$' | '#' | '"' | ' ' => {
                    word.push('$');
                    at += 1;
                }
                _ => return None,
            },
            '`' => return None,
            c => {
                word.push(*c);
                at += 1;
            }
        }
    }
}
