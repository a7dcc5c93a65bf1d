//! How many connections may be here without a credential (S8, R27).
//!
//! At the bound nobody is turned away at once: the next connection waits in the kernel's queue until a place is free,
//! and a connection that has been silent for a while gives its place up. So a thousand clients that come back at once
//! all get in, and a crowd of silent ones cannot keep others out.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// From this age on a connection without credential gives its place to a newer one.
const PATIENCE: Duration = Duration::from_secs(1);

struct Held {
    since: Instant,
    source: Option<IpAddr>,
    evict: CancellationToken,
}

#[derive(Default)]
struct Places {
    next: u64,
    held: BTreeMap<u64, Held>,
    remote: HashMap<IpAddr, u32>,
}

/// The places.
pub(crate) struct Admission {
    places: Mutex<Places>,
    freed: Notify,
    total_max: usize,
    source_max: u32,
}

/// A place. Given back on drop: when the connection ends, or when it has shown its credential.
pub(crate) struct Slot {
    admission: Arc<Admission>,
    id: u64,
    evicted: CancellationToken,
}

impl Admission {
    pub(crate) fn new(total_max: u32, source_max: u32) -> Arc<Self> {
        Arc::new(Self {
            places: Mutex::default(),
            freed: Notify::new(),
            total_max: usize::try_from(total_max).unwrap_or(usize::MAX),
            source_max,
        })
    }

    /// Waits until there is a place for one more.
    pub(crate) async fn vacancy(&self) {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            let wait = {
                let mut places = self.lock();
                if places.held.len() < self.total_max {
                    return;
                }
                // Identifiers grow with time, so the first is the oldest.
                let oldest = places
                    .held
                    .iter()
                    .next()
                    .map(|(id, held)| (*id, held.since.elapsed()));
                match oldest {
                    Some((id, age)) if age >= PATIENCE => {
                        if let Some(held) = places.held.get(&id) {
                            held.evict.cancel();
                        }
                        places.remove(id);
                        return;
                    }
                    Some((_, age)) => PATIENCE.saturating_sub(age),
                    None => return,
                }
            };
            drop(tokio::time::timeout(wait, freed).await);
        }
    }

    /// Takes a place. None: this source has too many. Loopback and the socket file have only the total.
    pub(crate) fn take(self: &Arc<Self>, source: Option<IpAddr>) -> Option<Slot> {
        let source = source
            .map(|ip| ip.to_canonical())
            .filter(|ip| !ip.is_loopback());
        let mut places = self.lock();
        if let Some(ip) = source {
            let n = places.remote.entry(ip).or_default();
            if *n >= self.source_max {
                return None;
            }
            *n += 1;
        }
        let id = places.next;
        places.next += 1;
        let evicted = CancellationToken::new();
        places.held.insert(
            id,
            Held {
                since: Instant::now(),
                source,
                evict: evicted.clone(),
            },
        );
        Some(Slot {
            admission: Arc::clone(self),
            id,
            evicted,
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn remove(&mut self, id: u64) {
        let Some(held) = self.held.remove(&id) else {
            return;
        };
        let Some(ip) = held.source else { return };
        if let Some(n) = self.remote.get_mut(&ip) {
            *n -= 1;
            if *n == 0 {
                self.remote.remove(&ip);
            }
        }
    }
}

impl Slot {
    /// Cancelled when the place is needed for somebody else.
    pub(crate) fn evicted(&self) -> CancellationToken {
        self.evicted.clone()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.admission.lock().remove(self.id);
        self.admission.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn at_the_bound_the_oldest_silent_connection_gives_its_place_up() {
        // covers: S8, R27
        let admission = Admission::new(2, 8);
        let first = admission.take(None);
        let second = admission.take(None);
        let began = Instant::now();
        admission.vacancy().await;
        assert!(began.elapsed() >= PATIENCE);
        assert!(first.is_some_and(|slot| slot.evicted().is_cancelled()));
        assert!(second.is_some_and(|slot| !slot.evicted().is_cancelled()));
    }

    #[tokio::test]
    async fn a_place_that_is_given_back_is_free_at_once() {
        let admission = Admission::new(1, 8);
        let slot = admission.take(None);
        let began = Instant::now();
        let waiting = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.vacancy().await }
        });
        tokio::task::yield_now().await;
        drop(slot);
        assert!(waiting.await.is_ok());
        assert!(began.elapsed() < PATIENCE);
    }

    #[test]
    fn one_remote_source_has_its_own_bound_and_loopback_has_not() {
        // covers: S8
        let admission = Admission::new(64, 2);
        let remote = "192.0.2.1".parse().ok();
        let local = "127.0.0.1".parse().ok();
        let held = (admission.take(remote), admission.take(remote));
        assert!(held.0.is_some() && held.1.is_some());
        assert!(admission.take(remote).is_none());
        let locals: Vec<_> = (0..10).map(|_| admission.take(local)).collect();
        assert!(locals.iter().all(Option::is_some));
        drop(held);
        assert!(admission.take(remote).is_some());
    }
}
