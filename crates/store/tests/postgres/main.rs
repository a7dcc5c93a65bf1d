//! The store in a real PostgreSQL: the same contract, and what only a database of many processes has to keep.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod claims;
mod cluster;
mod copying;
mod half_open;
mod look;
mod outage;
mod random;
mod refusing;
mod rls;
mod side;
mod talk;
mod tls;
mod together;
