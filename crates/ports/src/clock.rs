//! Time and entropy: injected, so that a simulation is a seed (architecture 8.9).

use std::time::Duration;

use futures::future::BoxFuture;

use adjutant_domain::time::Timestamp;

/// Time.
pub trait Clock: Send + Sync {
    /// The wall clock: for rows and for people. May jump.
    fn now(&self) -> Timestamp;
    /// Time since some fixed moment; never goes back (R37). For deadlines within a process.
    fn monotonic(&self) -> Duration;
    /// Resolves `span` later on the monotonic clock.
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()>;
    /// The owner's local day as `YYYY-MM-DD`, for day budgets.
    fn local_day(&self) -> String;
}

/// Random bits.
pub trait Entropy: Send + Sync {
    /// 128 fresh bits.
    fn next_u128(&self) -> u128;
}
