//! What waits to be written to one client: bounded, and at the bound the client is cut, not the gateway slowed (R25).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

use super::Farewell;

/// Messages that may wait.
pub(crate) const FRAMES_MAX: usize = 1_000;
/// Bytes of events that may wait; and as many of answers, which wait themselves when there are more.
pub(crate) const BYTES_MAX: usize = 1024 * 1024;
/// What an answer counts for at least, so that their number is bounded, too.
const REPLY_BYTES_MIN: usize = BYTES_MAX / FRAMES_MAX;
/// Places that an empty line keeps.
const KEPT_PLACES: usize = 4;

/// What happens to an event that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drop {
    /// The client is cut and can resume.
    Never,
    /// It is left out; another one says the same or more.
    WhenFull,
}

/// A message on its way out.
pub(crate) enum Out {
    Event(Utf8Bytes, Weight),
    Reply(String, Weight),
    Ping,
}

/// Bytes that are given back when they are written.
pub(crate) enum Weight {
    None,
    Events(Arc<AtomicUsize>, usize),
    Replies(Arc<Semaphore>, usize),
}

impl std::ops::Drop for Weight {
    fn drop(&mut self) {
        match self {
            Self::None => {}
            Self::Events(waiting, n) => {
                waiting.fetch_sub(*n, Ordering::AcqRel);
            }
            Self::Replies(room, n) => room.add_permits(*n),
        }
    }
}

impl Out {
    pub(crate) fn into_parts(self) -> (Message, Weight) {
        match self {
            Self::Event(text, weight) => (Message::Text(text), weight),
            Self::Reply(text, weight) => (Message::text(text), weight),
            Self::Ping => (Message::Ping(bytes::Bytes::new()), Weight::None),
        }
    }
}

/// The messages themselves. Almost every connection is idle, so an empty line takes next to no memory: a channel of tokio
/// keeps room for 32 messages.
#[derive(Default)]
struct Waiting {
    out: Mutex<Option<VecDeque<Out>>>,
    came: Notify,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<Out>>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message at the end; `false`: nobody reads any more, or there are `max` already.
    fn push(&self, out: Out, max: usize) -> bool {
        let mut line = self.lock();
        let Some(waiting) = line.as_mut().filter(|waiting| waiting.len() < max) else {
            return false;
        };
        waiting.push_back(out);
        drop(line);
        self.came.notify_one();
        true
    }

    fn pop(&self) -> Option<Out> {
        let mut line = self.lock();
        let waiting = line.as_mut()?;
        let out = waiting.pop_front();
        if waiting.is_empty() && waiting.capacity() > KEPT_PLACES {
            *waiting = VecDeque::new();
        }
        out
    }
}

/// The writing end.
pub(crate) struct Outbox {
    waiting: Arc<Waiting>,
    events: Arc<AtomicUsize>,
    replies: Arc<Semaphore>,
    cut: CancellationToken,
    farewell: Mutex<Option<Farewell>>,
    heard_ms: AtomicU64,
}

/// The reading end. When it is dropped, what waits is dropped, and nothing is taken any more.
pub(crate) struct Queue(Arc<Waiting>);

impl Queue {
    pub(crate) async fn next(&mut self) -> Out {
        loop {
            match self.0.pop() {
                Some(out) => return out,
                None => self.0.came.notified().await,
            }
        }
    }

    pub(crate) fn try_next(&mut self) -> Option<Out> {
        self.0.pop()
    }
}

impl std::ops::Drop for Queue {
    fn drop(&mut self) {
        // Not under the lock: weights are given back to those who wait for room.
        let rest = self.0.lock().take();
        drop(rest);
    }
}

impl Outbox {
    pub(crate) fn new(now: Duration) -> (Self, Queue) {
        let waiting = Arc::new(Waiting {
            out: Mutex::new(Some(VecDeque::new())),
            came: Notify::new(),
        });
        let outbox = Self {
            waiting: Arc::clone(&waiting),
            events: Arc::default(),
            replies: Arc::new(Semaphore::new(BYTES_MAX)),
            cut: CancellationToken::new(),
            farewell: Mutex::default(),
            heard_ms: AtomicU64::new(millis(now)),
        };
        (outbox, Queue(waiting))
    }

    /// Queues an event, or cuts the client. Never waits.
    pub(crate) fn event(&self, text: Utf8Bytes, drop_it: Drop) {
        let n = text.len();
        let waiting = self.events.fetch_add(n, Ordering::AcqRel);
        let weight = Weight::Events(Arc::clone(&self.events), n);
        let fits = waiting == 0 || waiting + n <= BYTES_MAX;
        let queued = fits && self.waiting.push(Out::Event(text, weight), FRAMES_MAX);
        if !queued && drop_it == Drop::Never {
            self.cut(Farewell::new(1008, "slow consumer"));
        }
    }

    /// Queues an answer, as soon as there is room.
    pub(crate) async fn reply(&self, text: String) {
        let n = text.len().clamp(REPLY_BYTES_MIN, BYTES_MAX);
        let room = async {
            let permit = self
                .replies
                .acquire_many(u32::try_from(n).unwrap_or(u32::MAX))
                .await
                .ok()?;
            permit.forget();
            let weight = Weight::Replies(Arc::clone(&self.replies), n);
            // Their bytes bound them. If nobody reads any more, the connection is over.
            Some(self.waiting.push(Out::Reply(text, weight), usize::MAX))
        };
        let _cut_or_over = self.cut.run_until_cancelled(room).await;
    }

    /// Asks whether the client is there.
    pub(crate) fn ping(&self) {
        // A full queue answers the question in its own way.
        self.waiting.push(Out::Ping, FRAMES_MAX);
    }

    /// Ends the connection.
    pub(crate) fn cut(&self, farewell: Farewell) {
        let mut held = self.farewell.lock().unwrap_or_else(PoisonError::into_inner);
        held.get_or_insert(farewell);
        drop(held);
        self.cut.cancel();
    }

    pub(crate) async fn cut_off(&self) {
        self.cut.cancelled().await;
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.is_cancelled()
    }

    pub(crate) fn farewell(&self) -> Farewell {
        let held = self.farewell.lock().unwrap_or_else(PoisonError::into_inner);
        held.clone().unwrap_or_else(|| Farewell::new(1000, ""))
    }

    pub(crate) fn heard(&self, now: Duration) {
        self.heard_ms.store(millis(now), Ordering::Relaxed);
    }

    pub(crate) fn silence(&self, now: Duration) -> Duration {
        Duration::from_millis(millis(now).saturating_sub(self.heard_ms.load(Ordering::Relaxed)))
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_does_not_read_is_cut_at_a_thousand_messages() {
        // covers: R25
        let (outbox, _queue) = Outbox::new(Duration::ZERO);
        for _ in 0..FRAMES_MAX {
            outbox.event("x".into(), Drop::Never);
        }
        assert!(!outbox.is_cut());
        outbox.event("x".into(), Drop::WhenFull);
        assert!(!outbox.is_cut());
        outbox.event("x".into(), Drop::Never);
        assert!(outbox.is_cut() && outbox.farewell().code == 1008);
    }

    #[test]
    fn a_client_that_does_not_read_is_cut_at_a_mebibyte() {
        // covers: R25
        let (outbox, mut queue) = Outbox::new(Duration::ZERO);
        let half = "x".repeat(BYTES_MAX / 2);
        outbox.event(half.as_str().into(), Drop::Never);
        outbox.event(half.as_str().into(), Drop::Never);
        assert!(!outbox.is_cut());
        drop(queue.try_next());
        outbox.event(half.as_str().into(), Drop::Never);
        assert!(!outbox.is_cut());
        outbox.event("x".into(), Drop::Never);
        assert!(outbox.is_cut());
    }

    #[tokio::test]
    async fn small_answers_are_bounded_by_their_number() {
        // covers: R25
        let (outbox, queue) = Outbox::new(Duration::ZERO);
        let outbox = Arc::new(outbox);
        let say = |outbox: Arc<Outbox>| async move { outbox.reply("x".to_owned()).await };
        for _ in 0..FRAMES_MAX {
            say(Arc::clone(&outbox)).await;
        }
        let next = tokio::spawn(say(Arc::clone(&outbox)));
        tokio::task::yield_now().await;
        assert!(!next.is_finished());
        // Whoever waits to answer a client that is gone waits no longer.
        drop(queue);
        assert!(next.await.is_ok());
        say(outbox).await;
    }

    #[tokio::test]
    async fn a_line_that_was_long_and_is_empty_keeps_no_room() {
        let (outbox, mut queue) = Outbox::new(Duration::ZERO);
        for _ in 0..100 {
            outbox.event("x".into(), Drop::Never);
        }
        while queue.try_next().is_some() {}
        let room = outbox.waiting.lock().as_ref().map(VecDeque::capacity);
        assert!(room.is_some_and(|room| room <= KEPT_PLACES), "{room:?}");
    }

    #[tokio::test]
    async fn an_answer_waits_for_room_instead_of_cutting() {
        let (outbox, mut queue) = Outbox::new(Duration::ZERO);
        let outbox = Arc::new(outbox);
        outbox.reply("x".repeat(BYTES_MAX * 3)).await;
        let second = tokio::spawn({
            let outbox = Arc::clone(&outbox);
            async move { outbox.reply("y".to_owned()).await }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(queue.next().await);
        assert!(second.await.is_ok() && !outbox.is_cut());
        assert!(matches!(queue.next().await, Out::Reply(text, _) if text == "y"));
    }
}
