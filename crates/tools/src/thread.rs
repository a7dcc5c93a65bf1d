//! Blocking work on a thread of its own, so that no file and no page holds up the runs beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::channel::oneshot;

use adjutant_ports::ToolError;

use crate::tool::Halt;

/// Room for deep recursion over pages and values from outside. Only touched pages cost memory.
const STACK_BYTES: usize = 64 << 20;

/// Says when work on a thread is to end: at its deadline, or when nobody waits for it any more.
#[derive(Debug, Clone)]
pub(crate) struct Until {
    at: Instant,
    dropped: Arc<AtomicBool>,
}

impl Until {
    /// Whether the work is to end now. Cheap; asked once per file or per step.
    pub(crate) fn is_over(&self) -> bool {
        self.dropped.load(Ordering::Relaxed) || self.at <= Instant::now()
    }
}

/// Tells the thread when the future that waits for it is gone.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does `work` on a thread of its own. Dropping the future tells the thread through [`Until`]; work that has begun a
/// single write finishes it.
pub(crate) async fn apart<T, W>(deadline: Duration, work: W) -> Result<T, Halt>
where
    T: Send + 'static,
    W: FnOnce(&Until) -> Result<T, Halt> + Send + 'static,
{
    let (send, receive) = oneshot::channel();
    let dropped = Arc::new(AtomicBool::new(false));
    let waiting = Waiting(Arc::clone(&dropped));
    // A deadline too far away for the clock is one that is never reached; a day stands for it.
    let now = Instant::now();
    let at = now
        .checked_add(deadline)
        .unwrap_or(now + Duration::from_secs(24 * 3600));
    let until = Until { at, dropped };
    std::thread::Builder::new()
        .name("adjutant-tool".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            // The receiver may be gone: then nobody wants the answer.
            send.send(work(&until)).ok();
        })
        .map_err(|error| broken(format!("no thread could be started: {error}")))?;
    let result = receive
        .await
        .map_err(|oneshot::Canceled| broken("the work stopped with a panic"))?;
    drop(waiting);
    result
}

fn broken(reason: impl Into<String>) -> Halt {
    Halt::Broken(ToolError::Internal {
        reason: reason.into(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::mpsc;

    use futures::FutureExt;
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn work_ends_when_nobody_waits_for_it() {
        let (ended, end) = mpsc::channel();
        let work = apart(Duration::from_secs(60), move |until| {
            while !until.is_over() {
                std::thread::yield_now();
            }
            ended.send(()).ok();
            Ok(())
        });
        let mut work = Box::pin(work);
        assert!(work.as_mut().now_or_never().is_none());
        drop(work);
        end.recv_timeout(Duration::from_secs(10)).unwrap();
    }

    #[test]
    fn a_panic_on_the_thread_is_an_error_here() {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let result = block_on(apart::<(), _>(Duration::from_secs(1), |_| {
            panic!("on purpose")
        }));
        std::panic::set_hook(hook);
        assert!(matches!(
            result,
            Err(Halt::Broken(ToolError::Internal { .. }))
        ));
    }
}
