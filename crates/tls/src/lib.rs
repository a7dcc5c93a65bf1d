//! Who is at the other end of an encrypted connection: certificates, their renewal, pins.
//!
//! Both ends are here so that they mean the same by a fingerprint. This crate never learns what is said over the
//! connection. Begin reading at [`Server::open`] for the side that listens and [`connect`] for the side that dials.

mod acme;
mod certificate;
mod config;
mod dial;
mod fingerprint;
mod own;
mod platform;
mod server;

pub use certificate::{CertificateError, Leaf, leaf};
pub use config::{AcmeConfig, Config, Finding, Mode};
pub use dial::{ClientStream, ConnectError, Trust, connect};
pub use fingerprint::Fingerprint;
pub use server::{Server, ServerStream};
