//! The gateway from elsewhere, with the programs that people put between: every recipe of the guide that can be run on
//! one machine. Skips where a program is missing, and says so.
#![cfg(unix)]
#![allow(clippy::unwrap_used, missing_docs)]

mod acme;
mod certificate;
mod place;
#[path = "../common/process.rs"]
mod process;
mod proxy;
mod tunnel;
