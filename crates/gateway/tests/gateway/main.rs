//! The gateway over real sockets: TCP, the socket file, HTTP, WebSockets.

#![allow(clippy::unwrap_used)]

mod abuse;
mod devices;
mod frames;
mod guards;
mod key;
mod pages;
mod pairing;
mod rpc;
mod sockets;
mod world;
