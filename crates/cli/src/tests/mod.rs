//! The command line as a whole: against a host and a gateway that are scripted, with streams that are kept.
#![allow(clippy::unwrap_used)]

mod commands;
mod db;
mod following;
mod gateway;
mod help;
mod host;
mod screen;
