//! Questions to tables and documents.

mod filter;
mod meter;
mod query;
mod table;
mod weave;

pub(crate) use query::Query;
