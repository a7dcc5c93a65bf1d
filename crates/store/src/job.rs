//! What the writer is asked to do: jobs that are done once, and jobs that wait for something to do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use futures::channel::oneshot;
use tokio::sync::OwnedSemaphorePermit;

use adjutant_ports::store::{StoreError, Stored};

use crate::error::{Done, Outage};
use crate::tx::{Durability, Tx};

/// How a job ended.
pub(crate) enum Ran {
    Kept,
    Undone,
    Broken(Outage),
    /// It found nothing and waits: for work, or until this moment.
    Waits(Instant),
}

pub(crate) trait Job: Send {
    fn durability(&self) -> Durability;
    fn run(&mut self, tx: &mut Tx<'_>) -> Ran;
    /// How long it may wait without being run at all, if it may.
    fn may_wait_until(&self) -> Option<Instant>;
    /// Whether it was withdrawn: nobody waits for the answer, and it must not be done any more.
    fn is_withdrawn(&self) -> bool;
    /// `None`: committed, or refused by the job itself.
    fn answer(self: Box<Self>, outage: Option<Outage>);
}

/// What a job that may wait says.
pub(crate) enum Found<T> {
    /// This is the answer.
    Some(T),
    /// Nothing yet. Without news, look again after this time.
    Nothing {
        /// Until something comes by time alone.
        rest: Duration,
        /// The answer when patience ends.
        empty: T,
    },
}

pub(crate) struct Task<T, F> {
    durability: Durability,
    work: Option<F>,
    result: Option<Stored<T>>,
    reply: oneshot::Sender<Stored<T>>,
    _permit: OwnedSemaphorePermit,
}

/// A relaxed job that is tried again whenever there is work, until its deadline.
pub(crate) struct Patient<T, F> {
    work: F,
    deadline: Instant,
    result: Option<Stored<T>>,
    reply: oneshot::Sender<Stored<T>>,
    _permit: OwnedSemaphorePermit,
}

impl<T, F> Task<T, F> {
    pub(crate) fn new(
        durability: Durability,
        work: F,
        permit: OwnedSemaphorePermit,
    ) -> (Self, oneshot::Receiver<Stored<T>>) {
        let (reply, answer) = oneshot::channel();
        let task = Self {
            durability,
            work: Some(work),
            result: None,
            reply,
            _permit: permit,
        };
        (task, answer)
    }
}

impl<T, F> Patient<T, F> {
    pub(crate) fn new(
        deadline: Instant,
        work: F,
        permit: OwnedSemaphorePermit,
    ) -> (Self, oneshot::Receiver<Stored<T>>) {
        let (reply, answer) = oneshot::channel();
        let job = Self {
            work,
            deadline,
            result: None,
            reply,
            _permit: permit,
        };
        (job, answer)
    }
}

impl<T, F> Job for Task<T, F>
where
    T: Send,
    F: FnOnce(&mut Tx<'_>) -> Done<T> + Send,
{
    fn durability(&self) -> Durability {
        self.durability
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> Ran {
        let Some(work) = self.work.take() else {
            return Ran::Undone;
        };
        let (result, ran) = guarded(|| work(tx), |_| Ran::Kept);
        self.result = Some(result);
        ran
    }

    fn may_wait_until(&self) -> Option<Instant> {
        None
    }

    /// What was handed in is done, whoever waits for it.
    fn is_withdrawn(&self) -> bool {
        false
    }

    fn answer(self: Box<Self>, outage: Option<Outage>) {
        reply(self.reply, self.result, outage);
    }
}

impl<T, F> Job for Patient<T, F>
where
    T: Send,
    F: FnMut(&mut Tx<'_>) -> Done<Found<T>> + Send,
{
    fn durability(&self) -> Durability {
        Durability::Relaxed
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> Ran {
        let deadline = self.deadline;
        let work = &mut self.work;
        let (result, ran) = guarded(
            || work(tx),
            |found| match found {
                Found::Some(_) => Ran::Kept,
                Found::Nothing { rest, .. } => match Instant::now() {
                    now if deadline <= now => Ran::Kept,
                    now => Ran::Waits(deadline.min(now + *rest)),
                },
            },
        );
        self.result = Some(result.map(|found| match found {
            Found::Some(value) | Found::Nothing { empty: value, .. } => value,
        }));
        ran
    }

    fn may_wait_until(&self) -> Option<Instant> {
        Some(self.deadline).filter(|deadline| Instant::now() < *deadline)
    }

    fn is_withdrawn(&self) -> bool {
        self.reply.is_canceled()
    }

    fn answer(self: Box<Self>, outage: Option<Outage>) {
        reply(self.reply, self.result, outage);
    }
}

/// Runs a job's work. A bug in one statement's mapping must not end the store for everybody (R34).
fn guarded<V>(work: impl FnOnce() -> Done<V>, kept: impl FnOnce(&V) -> Ran) -> (Stored<V>, Ran) {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => {
            let ran = kept(&value);
            (Ok(value), ran)
        }
        Ok(Err(fault)) => {
            let broken = fault.is_outage();
            let error = fault.into_store();
            let ran = if broken {
                Ran::Broken(shared(&error))
            } else {
                Ran::Undone
            };
            (Err(error), ran)
        }
        Err(_panic) => {
            let reason = "a write panicked; it was undone".to_owned();
            let error = StoreError::Failed {
                reason,
                source: None,
            };
            (Err(error), Ran::Undone)
        }
    }
}

fn reply<T>(to: oneshot::Sender<Stored<T>>, own: Option<Stored<T>>, outage: Option<Outage>) {
    let result = match (own, outage) {
        (Some(Err(own)), _) => Err(own),
        (_, Some(outage)) => Err(outage.into_store()),
        (Some(Ok(value)), None) => Ok(value),
        (None, None) => Err(gone()),
    };
    // An error only says that nobody waits any more.
    drop(to.send(result));
}

pub(crate) fn shared(error: &StoreError) -> Outage {
    match error {
        StoreError::Degraded { reason } => Outage::Disk(reason.clone()),
        StoreError::Corrupt { reason } => Outage::Damage(reason.clone()),
        other => Outage::Other(other.to_string()),
    }
}

pub(crate) fn gone() -> StoreError {
    StoreError::Failed {
        reason: "the store is closed".to_owned(),
        source: None,
    }
}
