//! How a worker tells a run that a signal was stored for it.

use std::task::Poll;

use futures::task::AtomicWaker;

/// A bell that the worker rings when a signal for the run was stored.
#[derive(Default)]
pub(crate) struct Bell {
    rung: std::sync::atomic::AtomicBool,
    waker: AtomicWaker,
}

impl Bell {
    pub(crate) fn ring(&self) {
        self.rung.store(true, std::sync::atomic::Ordering::Release);
        self.waker.wake();
    }

    /// Whether it rang since it was last heard.
    pub(crate) fn rang(&self) -> bool {
        self.rung.swap(false, std::sync::atomic::Ordering::AcqRel)
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
