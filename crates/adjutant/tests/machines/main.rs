//! PostgreSQL under the real program: several processes over one database, as on several machines, and an installation that
//! moves there.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../../store/tests/postgres/cluster.rs"]
#[allow(dead_code, reason = "the store's tests use all of it")]
mod cluster;
mod handing_over;
mod machine;
mod moving;
mod offers;
#[path = "../common/process.rs"]
mod process;
