//! Pages of the web.

mod fetch;
mod readable;

pub(crate) use fetch::Fetch;
