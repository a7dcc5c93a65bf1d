//! The memory of a process while something happens to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::subject::rss;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks at a process until it is told to stop.
pub(super) struct Watch {
    before: u64,
    most: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Watch {
    pub(super) fn begin(pid: u32) -> Self {
        let before = rss(pid).unwrap_or(0);
        let (most, over) = (Arc::new(AtomicU64::new(before)), Arc::default());
        let watch = Self {
            before,
            most: Arc::clone(&most),
            over: Arc::clone(&over),
        };
        // A thread: the runtime is what makes the noise.
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                most.fetch_max(rss(pid).unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(LOOK_EVERY);
            }
        });
        watch
    }

    /// By how many bytes it grew at most.
    pub(super) fn end(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.most
            .load(Ordering::Relaxed)
            .saturating_sub(self.before)
    }
}
