//! Drives a claimed run to its end: decides the next step, performs it, writes it down.
//!
//! Never learns who is connected, which database, which vendor, what time it is. Begin reading at [`next`].

mod bell;
mod call;
mod config;
mod context;
mod deps;
mod drive;
mod journal;
mod model;
mod money;
mod next;
mod reflect;
mod worker;

pub use config::{Config, TokenRate, Unpriced};
pub use context::{STANDING_PROMPT, standing_bytes};
pub use deps::{Deps, Places, ToolEntry, Toolbox, ToolboxError};
pub use next::{Next, Settlement, next, settle};
pub use worker::{Home, Stop, Worker};
