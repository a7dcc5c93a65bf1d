//! Bounds on the shape of a script, checked before the grammar meets it.
//!
//! The tokenizer and the grammar call themselves for each nested part, so a script could otherwise use up the stack.

use brush_parser::Token;

use super::{Finding, NESTING_MAX};

/// Most expansions and substitutions in one script; the tokenizer calls itself for each nested one.
const EXPANSIONS_MAX: usize = 64;
/// Most words in one script that could open a loop, a condition or a group; the grammar calls itself for each.
const OPENERS_MAX: usize = 32;
/// Most brackets in a word that begins like an array element, whose subscript the grammar reads by calling itself.
const SUBSCRIPTS_MAX: usize = 16;
/// Most digits in a row in front of a redirection. More would not be a descriptor.
const DESCRIPTOR_DIGITS_MAX: usize = 6;

pub(super) fn expansions_limit(script: &str) -> Option<Finding> {
    let n_openers = ["$(", "${", "$[", "`"]
        .iter()
        .map(|opener| script.matches(opener).count())
        .sum::<usize>();
    let n_here = script.matches("<<").count();
    (EXPANSIONS_MAX < n_openers + n_here).then(|| {
        Finding::refuses(
            "limit.expansions",
            "More of it is decided at run time than anyone could check.",
        )
    })
}

/// Nesting as the grammar will meet it, counted so that nothing in the text can make it look shallower.
pub(super) fn nesting_limit(tokens: &[Token]) -> Option<Finding> {
    const OPENERS: &[&str] = &[
        "if", "while", "until", "for", "case", "{", "coproc", "function", "select", "[[", "!",
        "time",
    ];
    let mut depth = 0_usize;
    let mut deepest = 0_usize;
    let mut n_openers = 0_usize;
    let mut in_case = false;
    let mut in_test = false;
    for token in tokens {
        match token {
            Token::Operator(text, _) if text == "(" => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            // The brackets of a case pattern close without having been opened.
            Token::Operator(text, _) if text == ")" && !in_case => depth = depth.saturating_sub(1),
            // Inside double brackets each of these is one more level of an expression.
            Token::Operator(text, _) if in_test && matches!(text.as_str(), "&&" | "||") => {
                n_openers += 1
            }
            Token::Word(text, _) if SUBSCRIPTS_MAX < subscripts(text) => return Some(too_deep()),
            Token::Word(text, _) if OPENERS.contains(&text.as_str()) => {
                n_openers += 1;
                in_case |= text == "case";
                in_test |= text == "[[";
            }
            _ => {}
        }
    }
    (NESTING_MAX < deepest || OPENERS_MAX < n_openers).then(too_deep)
}

pub(super) fn too_deep() -> Finding {
    Finding::refuses(
        "limit.nesting",
        "Commands are nested too deeply to be checked.",
    )
}

/// How many brackets `word` holds if it begins like `name[` or `[`.
fn subscripts(word: &str) -> usize {
    let after_name = word.trim_start_matches(|c: char| c == '_' || c.is_ascii_alphanumeric());
    if !after_name.starts_with('[') {
        return 0;
    }
    word.chars()
        .filter(|c| matches!(c, '[' | '(' | '{' | '$'))
        .count()
}

/// Digits before a redirection that no descriptor could have.
pub(super) fn has_long_descriptor(script: &str) -> bool {
    let mut n_digits = 0_usize;
    for c in script.chars() {
        if c.is_ascii_digit() {
            n_digits += 1;
        } else if matches!(c, '<' | '>') && DESCRIPTOR_DIGITS_MAX < n_digits {
            return true;
        } else {
            n_digits = 0;
        }
    }
    false
}
