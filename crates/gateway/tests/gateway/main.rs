//! The gateway over real sockets: TCP, the socket file, HTTP, WebSockets.

#![allow(clippy::unwrap_used)]

mod abuse;
mod compat;
mod devices;
mod frames;
mod fuzzed;
mod guards;
mod key;
mod nodes;
mod pages;
mod pairing;
mod questions;
mod replay;
mod rpc;
mod sockets;
mod surfaces;
mod tls;
mod world;
