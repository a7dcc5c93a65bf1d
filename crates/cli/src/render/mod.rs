//! How things look. Everything a person reads is made here: tables, facts, Markdown, money, times, questions.
//!
//! These functions turn data into text and know nothing of terminals but their width and whether they have colour.

mod approval;
mod markdown;
mod paint;
mod safe;
mod table;
mod values;

pub(crate) use approval::{Question, question};
pub(crate) use markdown::{MarkdownStream, markdown};
pub(crate) use paint::Paint;
pub(crate) use safe::{one_line, safe};
pub(crate) use table::{Table, facts};
pub(crate) use values::{ago, duration, in_time, money, tokens, when, words};
