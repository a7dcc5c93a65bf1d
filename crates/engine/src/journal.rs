//! Writing: what was decided becomes the log, before anything outside happens.

use std::time::Duration;

use adjutant_domain::run::{Entry, Logged, RunState, Seq};
use adjutant_ports::failpoint::{self, Point};
use adjutant_ports::store::{Append, Appended, Cap, StoreError};

use crate::call;
use crate::drive::{Cx, Halt};

/// How long a result is kept in hand while the disk cannot be written.
const DEGRADED_MAX: Duration = Duration::from_secs(600);
/// How often it is tried again.
const DEGRADED_REST: Duration = Duration::from_millis(500);

impl Cx {
    /// Writes what was noted.
    pub(crate) async fn flush(&mut self, state: &mut RunState) -> Result<(), Halt> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.write(state, None, Vec::new()).await
    }

    /// Writes what was noted together with `entry`, under `caps`. On a refusal by a cap nothing is written and the notes
    /// stay noted.
    pub(crate) async fn append_under(
        &mut self,
        state: &mut RunState,
        entry: Entry,
        caps: Vec<Cap>,
    ) -> Result<Result<(), StoreError>, Halt> {
        match self.write(state, Some(entry), caps).await {
            Err(Halt::Store(refusal @ StoreError::Budget { .. })) => Ok(Err(refusal)),
            Err(halt) => Err(halt),
            Ok(()) => Ok(Ok(())),
        }
    }

    async fn write(
        &mut self,
        state: &mut RunState,
        last: Option<Entry>,
        caps: Vec<Cap>,
    ) -> Result<(), Halt> {
        let written = state.seq.0.saturating_sub(self.pending.len() as u64);
        let mut entries = std::mem::take(&mut self.pending);
        let extra = usize::from(last.is_some());
        let n_noted = entries.len();
        entries.extend(last);
        let appended = match self.append_patiently(&entries, &caps, Seq(written)).await {
            Ok(appended) => appended,
            Err(error) => {
                // Only a refusal by a cap leaves the run ours; then the notes are noted again.
                entries.truncate(n_noted);
                self.pending = entries;
                return Err(error.into());
            }
        };
        reached(&appended.logged);
        let fresh = appended.logged.len().saturating_sub(extra);
        let at = self.moment();
        for logged in appended.logged.into_iter().skip(fresh) {
            let logged = Logged { at, ..logged };
            self.learn(&logged);
            state.apply(&logged);
        }
        for signal in appended.signals {
            self.hear(state, signal);
        }
        Ok(())
    }

    /// Writes entries behind position `written`. While the disk cannot be written it tries again: what has happened
    /// outside is known here and nowhere else, and a restart could only call it unknown (R19).
    async fn append_patiently(
        &self,
        entries: &[Entry],
        caps: &[Cap],
        written: Seq,
    ) -> Result<Appended, StoreError> {
        let begun = self.deps.clock.monotonic();
        loop {
            let append = Append {
                run: &self.run,
                fence: self.fence,
                entries: entries.to_vec(),
                caps: caps.to_vec(),
                grants: call::grants_of(self, entries),
            };
            let error = match self.deps.store.append(append).await {
                Err(error @ StoreError::Degraded { .. }) => error,
                other => return other,
            };
            if DEGRADED_MAX <= self.deps.clock.monotonic().saturating_sub(begun) {
                return Err(error);
            }
            self.deps.clock.sleep(DEGRADED_REST).await;
            // A flush that failed may still have reached the disk: then the log knows better than we do.
            let behind = Seq(written.0 + 1);
            let found = self
                .deps
                .store
                .log(&self.run.owner, self.run.id, behind)
                .await?;
            if !found.is_empty() {
                return Err(error);
            }
        }
    }
}

/// The arrows that are crossed when an entry is in the log.
fn reached(logged: &[Logged]) {
    for it in logged {
        match it.entry {
            Entry::Parked { .. } => failpoint::reach(Point::AfterPark),
            Entry::CallFinished { .. } => failpoint::reach(Point::AfterResult),
            Entry::ApprovalResolved { .. } => failpoint::reach(Point::AfterResolution),
            Entry::Finished { .. } => failpoint::reach(Point::AfterFinish),
            _ => {}
        }
    }
}
