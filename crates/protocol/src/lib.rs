//! Everything a client may say and hear, and two ways to write it down.
//!
//! This crate never learns who answers, over which socket, from which database. Begin reading at [`methods`]: one row
//! per method gives its marker type, its name, its parameters and result, who may call it, and its place in the
//! schema. [`codec::JsonRpc`] and [`codec::Frames`] only translate envelopes.

pub mod access;
pub mod codec;
pub mod envelope;
pub mod events;
pub mod fault;
pub mod frames;
pub mod gate;
pub mod method;
pub mod methods;
#[cfg(feature = "schema")]
pub mod schema;
pub mod written;

pub use access::{Caller, Role, Scope, Scopes, Surface};
pub use codec::{Batch, Codec, Decoded, Frames, JsonRpc, Outbound, Refused, Request, RequestId};
pub use events::{Audience, EventSpec, EventType, Loss, event_specs};
pub use fault::{Fault, Retry, Wire, wire};
pub use method::{Access, Handle, Kind, Method, MethodSpec, Order, Reply};
pub use methods::{Server, call, find, read, specs};
pub use written::Written;
