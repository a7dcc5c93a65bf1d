//! The node host against a gateway made of ten lines, over real sockets.
#![allow(clippy::unwrap_used, missing_docs)]

mod gateway;
mod life;
mod media;
