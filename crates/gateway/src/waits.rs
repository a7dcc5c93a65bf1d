//! Who waits for the end of which run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

use adjutant_domain::id::RunId;

/// Entries kept before forgotten ones are swept.
const WAITS_SWEEP: usize = 256;

/// Wakes those who wait. A wake-up is a hint: the store says what is so.
#[derive(Default)]
pub(crate) struct Waits {
    runs: Mutex<HashMap<RunId, Weak<Notify>>>,
}

impl Waits {
    /// Hears from this run until dropped.
    pub(crate) fn listen(&self, run: RunId) -> Arc<Notify> {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if runs.len() >= WAITS_SWEEP {
            runs.retain(|_, weak| weak.strong_count() > 0);
        }
        if let Some(notify) = runs.get(&run).and_then(Weak::upgrade) {
            return notify;
        }
        let notify = Arc::new(Notify::new());
        runs.insert(run, Arc::downgrade(&notify));
        notify
    }

    pub(crate) fn wake(&self, run: RunId) {
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(notify) = runs.get(&run).and_then(Weak::upgrade) {
            notify.notify_waiters();
        }
    }

    pub(crate) fn wake_all(&self) {
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        for notify in runs.values().filter_map(Weak::upgrade) {
            notify.notify_waiters();
        }
    }
}
