//! The built-in tools from the outside: a permit goes in, an outcome comes out.
#![allow(clippy::unwrap_used, missing_docs)]

mod canvas;
mod data;
mod files;
mod memory;
mod nodes;
mod offered;
mod patch;
mod process;
mod web;
mod world;
