//! Several processes over one PostgreSQL, as on several machines: real gateways, real workers, the real command line.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../../store/tests/postgres/cluster.rs"]
#[allow(dead_code, reason = "the store's tests use all of it")]
mod cluster;
mod handing_over;
mod machine;
