//! A world in a box: a seeded scheduler, a clock, a store, models and tools, and faults.
//!
//! A development dependency only. A simulation is a seed: the same seed gives the same history.

pub mod conformance;

mod bus;
mod clock;
mod entropy;
mod memory_store;
mod scheduler;
mod script;

pub use bus::SimBus;
pub use clock::SimClock;
pub use entropy::SimEntropy;
pub use memory_store::{Faults, MemoryStore, Snapshot, Weakness};
pub use scheduler::{Crash, Scheduler};
pub use script::{Effects, NoFiles, ScriptModels, ScriptTool};
