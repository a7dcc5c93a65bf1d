//! One transaction as a job sees it, and what is told to others after its commit.

use rusqlite::Connection;

use adjutant_domain::event::{Event, EventKind};
use adjutant_domain::id::{OwnerId, RunId, SessionKey, WorkerId};
use adjutant_domain::run::Run;
use adjutant_domain::time::Timestamp;
use adjutant_ports::clock::Entropy;

use crate::error::Done;
use crate::leases::{LeaseChange, Leases};
use crate::sql::{Sql, json, opt};
use crate::steady::Steady;

/// Whether the answer must wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Survives power loss.
    Flushed,
    /// Survives the death of the process.
    Relaxed,
}

/// What a job may use.
pub(crate) struct Tx<'a> {
    pub(crate) db: &'a Connection,
    /// The wall clock.
    pub(crate) now: Timestamp,
    /// For leases, wake-ups and buckets.
    pub(crate) steady: &'a Steady,
    pub(crate) entropy: &'a dyn Entropy,
    /// As of the last commit.
    pub(crate) leases: &'a Leases,
    pub(crate) cursor: &'a mut u64,
    pub(crate) said: Said,
}

/// What is told to the bus, the leases and the writer after the commit.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) events: Vec<Event>,
    pub(crate) signalled: Vec<RunId>,
    pub(crate) orders: Vec<WorkerId>,
    pub(crate) leases: Vec<LeaseChange>,
    pub(crate) work: bool,
    pub(crate) scrub: bool,
    pub(crate) settled: bool,
}

impl std::ops::Deref for Tx<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.db
    }
}

impl Tx<'_> {
    /// Adds a fact to the feed.
    pub(crate) fn event(
        &mut self,
        owner: &OwnerId,
        about: Option<(RunId, &str)>,
        session: Option<&SessionKey>,
        kind: EventKind,
    ) -> Done<()> {
        *self.cursor += 1;
        let event = Event {
            cursor: *self.cursor,
            owner: owner.clone(),
            at: self.now,
            run: about.map(|(run, _)| run),
            run_name: about.map(|(_, name)| name.to_owned()),
            session: session.cloned(),
            kind,
        };
        self.exec(
            "insert into events (cursor, owner, at, run, run_name, session, kind) values (?, ?, ?, ?, ?, ?, ?)",
            rusqlite::params![
                event.cursor,
                owner.as_str(),
                event.at.as_millis(),
                opt(event.run.as_ref()),
                event.run_name,
                session.map(SessionKey::as_str),
                json(&event.kind)?,
            ],
        )?;
        self.said.events.push(event);
        Ok(())
    }

    /// Adds a fact about a run to the feed.
    pub(crate) fn run_event(&mut self, run: &Run, kind: EventKind) -> Done<()> {
        self.event(
            &run.owner,
            Some((run.id, &run.name())),
            Some(&run.session_key),
            kind,
        )
    }

    /// Says that a worker should look for work.
    pub(crate) fn nudge(&mut self) {
        self.said.work = true;
    }

    /// Says that a look for work left none that the one who looked could take.
    pub(crate) fn settle(&mut self) {
        self.said.settled = true;
    }

    /// Says that words were removed, which the WAL still holds: it is emptied in the next quiet moment.
    pub(crate) fn scrub(&mut self) {
        self.said.scrub = true;
    }

    /// Says that a signal for this run was stored.
    pub(crate) fn signalled(&mut self, run: RunId) {
        self.said.signalled.push(run);
    }

    /// Says that this worker was asked for something.
    pub(crate) fn order(&mut self, worker: WorkerId) {
        self.said.orders.push(worker);
    }

    /// Says who has a run from the commit on.
    pub(crate) fn lease(&mut self, change: LeaseChange) {
        self.said.leases.push(change);
    }

    /// The newest cursor that was given out.
    pub(crate) fn cursor(&self) -> u64 {
        *self.cursor
    }
}
