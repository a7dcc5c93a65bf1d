//! Other devices: what they offer, and asking them.

mod invoke;
mod list;

pub(crate) use invoke::{Invoke, Look};
pub(crate) use list::List;
