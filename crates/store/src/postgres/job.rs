//! Work of any kind as one kind of object, so that what runs it (the task, the tries, the transaction) is compiled once and not
//! once for every operation of the store.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;

use crate::postgres::error::Done;
use crate::postgres::tx::Tx;

/// What is done in a transaction. It may be run again when somebody was in the way.
pub(crate) trait Job: Send + Sync {
    fn run<'a>(&'a self, tx: &'a mut Tx<'_>) -> BoxFuture<'a, Done<()>>;
}

/// Work, what it is about, and what it gave when it was run last.
pub(crate) struct Op<A, T, W> {
    args: A,
    work: W,
    value: Mutex<Option<T>>,
}

impl<A, T, W> Op<A, T, W> {
    pub(crate) fn new(args: A, work: W) -> Arc<Self>
    where
        W: for<'a> Fn(&'a mut Tx<'_>, &'a A) -> BoxFuture<'a, Done<T>>,
    {
        let value = Mutex::new(None);
        Arc::new(Self { args, work, value })
    }

    /// What the last run gave; some after a transaction that was committed.
    pub(crate) fn take(&self) -> Option<T> {
        let mut value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        value.take()
    }
}

impl<A, T, W> Job for Op<A, T, W>
where
    A: Send + Sync,
    T: Send,
    W: for<'a> Fn(&'a mut Tx<'_>, &'a A) -> BoxFuture<'a, Done<T>> + Send + Sync,
{
    fn run<'a>(&'a self, tx: &'a mut Tx<'_>) -> BoxFuture<'a, Done<()>> {
        let work = (self.work)(tx, &self.args);
        Box::pin(async move {
            let value = work.await?;
            *self.value.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
            Ok(())
        })
    }
}
