//! What was asked before: a repeated request gets the first answer, also after a reconnect or a restart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use adjutant_domain::time::Timestamp;

use crate::capability::{Effect, NodeFault};
use crate::credential::write_private;

/// Answers kept.
const ENTRIES_MAX: usize = 256;
/// Bytes of all of them.
const BYTES_MAX: u64 = 64 << 20;
/// How long an answer is kept.
const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How a command ended: the text of its payload, or its fault.
pub(crate) type Outcome = Result<String, NodeFault>;

/// The answers of one node, by idempotency key.
pub(crate) struct Results {
    folder: PathBuf,
    running: Mutex<BTreeMap<String, Running>>,
}

struct Running {
    digest: String,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// What is known of a key.
pub(crate) enum Known {
    /// Nothing: carry it out.
    Fresh(Ticket),
    /// Somebody carries it out right now.
    Running(watch::Receiver<Option<Outcome>>),
    /// It ended.
    Done(Outcome),
    /// It was begun by a process that is gone, and nobody knows how far it came.
    Lost,
    /// The key was used for something else.
    Other,
}

/// The right to carry a request out.
pub(crate) struct Ticket {
    results: Arc<Results>,
    key: String,
    digest: String,
    outcome: watch::Sender<Option<Outcome>>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    key: String,
    /// Of command and parameters.
    digest: String,
    at: Timestamp,
    /// None: begun.
    #[serde(default)]
    payload: Option<String>,
    #[serde(default)]
    fault: Option<NodeFault>,
}

impl Results {
    pub(crate) fn open(folder: &Path) -> std::io::Result<Arc<Self>> {
        crate::platform::folders_for_owner()
            .recursive(true)
            .create(folder)?;
        Ok(Arc::new(Self {
            folder: folder.to_owned(),
            running: Mutex::default(),
        }))
    }

    /// What is known of `key`, and the right to go on if nothing is. `digest` is of command and parameters.
    pub(crate) fn begin(
        self: &Arc<Self>,
        key: &str,
        digest: &str,
        effect: Effect,
        now: Timestamp,
    ) -> Known {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(it) = running.get(key) {
            return if it.digest == digest {
                Known::Running(it.outcome.clone())
            } else {
                Known::Other
            };
        }
        if let Some(row) = self.read(key) {
            if row.key != key || row.digest != digest {
                return Known::Other;
            }
            match (row.payload, row.fault, effect) {
                (Some(payload), _, _) => return Known::Done(Ok(payload)),
                (None, Some(fault), _) => return Known::Done(Err(fault)),
                (None, None, Effect::Once) => return Known::Lost,
                (None, None, Effect::Reads) => {}
            }
        }
        let (outcome, receiver) = watch::channel(None);
        let digest = digest.to_owned();
        running.insert(
            key.to_owned(),
            Running {
                digest: digest.clone(),
                outcome: receiver,
            },
        );
        drop(running);
        let ticket = Ticket {
            results: Arc::clone(self),
            key: key.to_owned(),
            digest,
            outcome,
        };
        if effect == Effect::Once {
            // Before the effect: after a crash the key must not look unused.
            ticket.write(now, None);
        }
        Known::Fresh(ticket)
    }

    fn file(&self, key: &str) -> PathBuf {
        self.folder
            .join(format!("{}.json", adjutant_vault::digest(key.as_bytes())))
    }

    fn read(&self, key: &str) -> Option<Row> {
        serde_json::from_slice(&std::fs::read(self.file(key)).ok()?).ok()
    }

    /// Removes what is too old or too much, oldest first.
    pub(crate) fn prune(&self) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else {
            return;
        };
        let mut files: Vec<_> = entries
            .filter_map(Result::ok)
            .filter_map(|entry| {
                let meta = entry.metadata().ok()?;
                Some((meta.modified().ok()?, meta.len(), entry.path()))
            })
            .collect();
        files.sort();
        let mut bytes: u64 = files.iter().map(|(_, len, _)| len).sum();
        let mut left = files.len();
        for (modified, len, path) in files {
            let old = modified.elapsed().is_ok_and(|age| KEPT_FOR < age);
            if !old && left <= ENTRIES_MAX && bytes <= BYTES_MAX {
                break;
            }
            if std::fs::remove_file(&path).is_ok() {
                bytes = bytes.saturating_sub(len);
                left -= 1;
            }
        }
    }
}

impl Ticket {
    /// Keeps the outcome and tells it to all who wait.
    pub(crate) fn finish(self, outcome: Outcome, now: Timestamp) {
        self.write(now, Some(&outcome));
        self.outcome.send_replace(Some(outcome));
        let results = Arc::clone(&self.results);
        drop(self);
        results.prune();
    }

    /// Nothing was begun: the key is free again. Who waits hears `outcome`.
    pub(crate) fn give_up(self, outcome: Outcome) {
        drop(std::fs::remove_file(self.results.file(&self.key)));
        self.outcome.send_replace(Some(outcome));
    }

    fn write(&self, at: Timestamp, outcome: Option<&Outcome>) {
        let row = Row {
            key: self.key.clone(),
            digest: self.digest.clone(),
            at,
            payload: outcome.and_then(|it| it.as_ref().ok().cloned()),
            fault: outcome.and_then(|it| it.as_ref().err().cloned()),
        };
        let written = serde_json::to_vec(&row)
            .map_err(std::io::Error::from)
            .and_then(|bytes| write_private(&self.results.file(&self.key), &bytes));
        if let Err(error) = written {
            tracing::warn!(%error, "an answer cannot be kept; a repeated request would not be recognised");
        }
    }
}

/// However it ends, nobody waits for it any more.
impl Drop for Ticket {
    fn drop(&mut self) {
        let mut running = self.results.running.lock();
        running
            .as_mut()
            .unwrap_or_else(|poisoned| poisoned.get_mut())
            .remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1);

    fn fresh(known: Known) -> Ticket {
        match known {
            Known::Fresh(ticket) => ticket,
            _ => panic!("not fresh"),
        }
    }

    #[tokio::test]
    async fn a_repeated_key_gets_the_first_answer_also_from_another_process() {
        let dir = tempfile::tempdir().unwrap();
        let results = Results::open(dir.path()).unwrap();
        let ticket = fresh(results.begin("k", "d", Effect::Once, NOW));
        let Known::Running(mut waits) = results.begin("k", "d", Effect::Once, NOW) else {
            panic!("not running");
        };
        ticket.finish(Ok("1".to_owned()), NOW);
        let told = waits.wait_for(Option::is_some).await.unwrap().clone();
        assert_eq!(told, Some(Ok("1".to_owned())));
        let again = Results::open(dir.path()).unwrap();
        assert!(
            matches!(again.begin("k", "d", Effect::Once, NOW), Known::Done(Ok(text)) if text == "1")
        );
        assert!(matches!(
            again.begin("k", "other", Effect::Once, NOW),
            Known::Other
        ));
    }

    #[test]
    fn what_a_dead_process_began_is_lost_if_it_acts_and_free_if_it_looks() {
        let dir = tempfile::tempdir().unwrap();
        let results = Results::open(dir.path()).unwrap();
        let _acts = fresh(results.begin("acts", "d", Effect::Once, NOW));
        let _looks = fresh(results.begin("looks", "d", Effect::Reads, NOW));
        let again = Results::open(dir.path()).unwrap();
        assert!(matches!(
            again.begin("acts", "d", Effect::Once, NOW),
            Known::Lost
        ));
        assert!(matches!(
            again.begin("looks", "d", Effect::Reads, NOW),
            Known::Fresh(_)
        ));
    }

    #[test]
    fn a_request_that_was_not_begun_leaves_its_key_free() {
        let dir = tempfile::tempdir().unwrap();
        let results = Results::open(dir.path()).unwrap();
        let ticket = fresh(results.begin("k", "d", Effect::Once, NOW));
        ticket.give_up(Err(NodeFault::new("NODE_BUSY", "busy")));
        assert!(matches!(
            results.begin("k", "d", Effect::Once, NOW),
            Known::Fresh(_)
        ));
    }

    #[test]
    fn no_more_than_a_bounded_number_of_answers_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let results = Results::open(dir.path()).unwrap();
        for n in 0..ENTRIES_MAX + 5 {
            let ticket = fresh(results.begin(&n.to_string(), "d", Effect::Reads, NOW));
            ticket.finish(Ok("{}".to_owned()), NOW);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), ENTRIES_MAX);
    }
}
