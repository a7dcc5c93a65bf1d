//! What the disk said last to the one thread that writes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Outage;

/// Quiet after a failure until somebody tries whether it is over. Under load others try all the time, and fail.
const REST: Duration = Duration::from_secs(1);
/// A transaction that takes longer counts as one that will not end.
const STUCK: Duration = Duration::from_secs(5);

/// Failures of the disk that come sooner than this after one that was logged are not logged as errors again.
const QUIET: Duration = Duration::from_secs(10);

/// Whether writes get through.
#[derive(Default)]
pub(crate) struct Health(Mutex<State>);

#[derive(Default)]
struct State {
    /// When the transaction under way was begun.
    begun: Option<Instant>,
    /// When the disk last refused one.
    failed: Option<Instant>,
    /// When that was last said in the log.
    said: Option<Instant>,
    /// Whether somebody tries right now.
    tried: bool,
}

/// What is known without writing.
pub(crate) enum Look {
    /// Nothing failed since the last try that succeeded.
    Well,
    /// They do not get through, in words.
    Ill(&'static str),
    /// Nobody knows: try.
    Try(Try),
}

impl Health {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transaction begins.
    pub(crate) fn begin(&self) {
        self.state().begun = Some(Instant::now());
    }

    /// It has ended.
    pub(crate) fn end(&self, outage: Option<&Outage>) {
        let mut state = self.state();
        state.begun = None;
        if outage.is_some_and(Outage::is_of_the_disk) {
            state.failed = Some(Instant::now());
        }
    }

    /// Whether this failure belongs into the log, where one of the disk may come a hundred times a second.
    pub(crate) fn is_news(&self, outage: &Outage) -> bool {
        let mut state = self.state();
        if !outage.is_of_the_disk() {
            return true;
        }
        let is_news = state.said.is_none_or(|said| QUIET <= said.elapsed());
        if is_news {
            state.said = Some(Instant::now());
        }
        is_news
    }

    /// Says what is known. At most one caller is told to try, until it drops what it got.
    pub(crate) fn look(self: &Arc<Self>) -> Look {
        let mut state = self.state();
        if state.begun.is_some_and(|begun| STUCK < begun.elapsed()) {
            return Look::Ill("a write does not end");
        }
        match state.failed {
            None => Look::Well,
            Some(failed) if failed.elapsed() < REST || state.tried => {
                Look::Ill("the last write failed")
            }
            Some(_) => {
                state.tried = true;
                Look::Try(Try(Arc::clone(self)))
            }
        }
    }

    /// A try succeeded. A write of somebody else proves less: it may have changed nothing.
    pub(crate) fn heal(&self) {
        self.state().failed = None;
    }
}

/// Somebody tries.
pub(crate) struct Try(Arc<Health>);

impl Drop for Try {
    fn drop(&mut self) {
        self.0.state().tried = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(look: &Look) -> &'static str {
        match look {
            Look::Well => "well",
            Look::Ill(_) => "ill",
            Look::Try(_) => "try",
        }
    }

    fn back(health: &Health, by: Duration) {
        let mut state = health.state();
        state.failed = state.failed.and_then(|at| at.checked_sub(by));
        state.begun = state.begun.and_then(|at| at.checked_sub(by));
    }

    #[test]
    fn after_a_failure_one_at_a_time_tries_and_only_a_try_heals() {
        let health = Arc::new(Health::default());
        assert_eq!(word(&health.look()), "well");
        health.end(Some(&Outage::Other("a bug".to_owned())));
        assert_eq!(word(&health.look()), "well");
        health.end(Some(&Outage::Disk("full".to_owned())));
        assert_eq!(word(&health.look()), "ill");
        back(&health, REST);
        let first = health.look();
        assert_eq!(word(&first), "try");
        assert_eq!(word(&health.look()), "ill");
        drop(first);
        health.end(None);
        assert_eq!(word(&health.look()), "try");
        health.heal();
        assert_eq!(word(&health.look()), "well");
    }

    #[test]
    fn a_disk_that_goes_on_failing_is_said_now_and_then() {
        let health = Health::default();
        let full = Outage::Disk("full".to_owned());
        assert!(health.is_news(&full));
        assert!(!health.is_news(&full));
        assert!(health.is_news(&Outage::Other("a bug".to_owned())));
        health.state().said = Instant::now().checked_sub(QUIET);
        assert!(health.is_news(&full));
    }

    #[test]
    fn a_write_that_does_not_end_is_seen() {
        let health = Arc::new(Health::default());
        health.begin();
        assert_eq!(word(&health.look()), "well");
        back(&health, STUCK);
        assert_eq!(word(&health.look()), "ill");
        health.end(None);
        assert_eq!(word(&health.look()), "well");
    }
}
