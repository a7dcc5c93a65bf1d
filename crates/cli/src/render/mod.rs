//! How things look. Everything a person reads is made here: tables, facts, Markdown, money, times, questions.
//!
//! These functions turn data into text and know nothing of terminals but their width and whether they have colour.

mod approval;
mod draft;
mod markdown;
mod paint;
mod safe;
mod stream;
mod table;
mod values;

pub(crate) use approval::{Question, question};
pub(crate) use draft::{Draft, Screen};
pub(crate) use markdown::markdown;
pub(crate) use paint::Paint;
pub(crate) use safe::{one_line, safe};
pub(crate) use stream::MarkdownStream;
pub(crate) use table::{Table, facts};
pub(crate) use values::{ago, duration, in_time, money, size, tokens, when, words};
