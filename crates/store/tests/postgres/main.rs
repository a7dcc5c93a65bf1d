//! The store in a real PostgreSQL: the same contract, and what only a database of many processes has to keep.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod cluster;
mod conformance;
mod rls;
