//! How a worker tells a run that a signal was stored for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures::task::AtomicWaker;

/// A bell that the worker rings when a signal for the run was stored.
#[derive(Default)]
pub(crate) struct Bell {
    rung: AtomicBool,
    leave: AtomicBool,
    waker: AtomicWaker,
}

impl Bell {
    pub(crate) fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Asks whoever drives the run to give it to others before its next step.
    pub(crate) fn ask_to_leave(&self) {
        self.leave.store(true, Ordering::Release);
    }

    /// Whether the run is to go to others.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leave.load(Ordering::Acquire)
    }

    /// Whether it rang since it was last heard.
    pub(crate) fn rang(&self) -> bool {
        self.rung.swap(false, Ordering::AcqRel)
    }

    pub(crate) async fn heard(&self) {
        futures::future::poll_fn(|cx| {
            self.waker.register(cx.waker());
            if self.rang() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}
