//! Questions that clients ask before they run a command elsewhere: in memory, because they mean nothing without the
//! connection that waits for the answer. Questions of agents are durable and live in the store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Notify;

use adjutant_domain::time::Timestamp;
use adjutant_protocol::methods::exec_approvals::ExecDecision;

/// Open questions at once.
const OPEN_MAX: usize = 256;
/// How long an answer is kept for whoever asks after it.
const KEPT: Duration = Duration::from_secs(300);

/// One question.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) id: String,
    /// What is asked, in the words of the protocol.
    pub(crate) request: Value,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// When silence becomes no, on the monotonic clock.
    lapses: Duration,
    pub(crate) answer: Option<(ExecDecision, String)>,
    heard: Arc<Notify>,
}

impl Asked {
    pub(crate) fn is_open(&self, now: Duration) -> bool {
        self.answer.is_none() && now < self.lapses
    }
}

/// Why a question was not taken or not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There are too many.
    Full,
    /// One with this name is known.
    Known,
    /// None with this name is open.
    Unknown,
}

/// What a new question says.
pub(crate) struct Draft {
    pub(crate) id: String,
    pub(crate) request: Value,
    pub(crate) created_at: Timestamp,
    pub(crate) waits: Duration,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Questions {
    asked: Mutex<BTreeMap<String, Asked>>,
}

impl Questions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a question.
    pub(crate) fn ask(&self, draft: Draft, now: Duration) -> Result<Asked, Refusal> {
        let mut all = self.lock();
        all.retain(|_, asked| now < asked.lapses + KEPT);
        if all.contains_key(&draft.id) {
            return Err(Refusal::Known);
        }
        // Answered ones make room before an open one is refused.
        if all.len() >= OPEN_MAX {
            all.retain(|_, asked| asked.is_open(now));
        }
        if all.len() >= OPEN_MAX {
            return Err(Refusal::Full);
        }
        let asked = Asked {
            id: draft.id.clone(),
            request: draft.request,
            created_at: draft.created_at,
            expires_at: draft.created_at.plus(draft.waits),
            lapses: now + draft.waits,
            answer: None,
            heard: Arc::default(),
        };
        all.insert(draft.id, asked.clone());
        Ok(asked)
    }

    pub(crate) fn get(&self, id: &str) -> Option<Asked> {
        self.lock().get(id).cloned()
    }

    /// Those that nobody has answered, newest first.
    pub(crate) fn open(&self, now: Duration) -> Vec<Asked> {
        let mut open: Vec<Asked> = self
            .lock()
            .values()
            .filter(|asked| asked.is_open(now))
            .cloned()
            .collect();
        open.sort_by_key(|asked| std::cmp::Reverse(asked.created_at));
        open
    }

    /// Answers one; the first answer counts.
    pub(crate) fn answer(
        &self,
        id: &str,
        decision: ExecDecision,
        by: &str,
        now: Duration,
    ) -> Result<Asked, Refusal> {
        let mut all = self.lock();
        let asked = all
            .get_mut(id)
            .filter(|asked| asked.is_open(now))
            .ok_or(Refusal::Unknown)?;
        asked.answer = Some((decision, by.to_owned()));
        asked.heard.notify_waiters();
        Ok(asked.clone())
    }

    /// Resolves when the question is answered or nobody did in time.
    pub(crate) async fn decision(&self, asked: &Asked, now: Duration) -> Option<ExecDecision> {
        let heard = asked.heard.notified();
        tokio::pin!(heard);
        // Listens from here on: an answer between the look and the wait is not missed.
        heard.as_mut().enable();
        let answered = |asked: Option<Asked>| asked.and_then(|asked| asked.answer);
        if answered(self.get(&asked.id)).is_none() {
            let left = asked.lapses.saturating_sub(now);
            drop(tokio::time::timeout(left, heard).await);
        }
        answered(self.get(&asked.id)).map(|(decision, _)| decision)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn draft(id: &str) -> Draft {
        Draft {
            id: id.to_owned(),
            request: Value::Null,
            created_at: Timestamp::default(),
            waits: Duration::from_secs(60),
        }
    }

    #[test]
    fn the_first_answer_counts_and_none_after_the_time() {
        // covers: S31
        let questions = Questions::default();
        let start = Duration::ZERO;
        questions.ask(draft("a"), start).unwrap();
        assert_eq!(
            questions.ask(draft("a"), start).unwrap_err(),
            Refusal::Known
        );
        let yes = ExecDecision::AllowOnce;
        assert!(questions.answer("a", yes, "me", start).is_ok());
        let late = questions.answer("a", ExecDecision::Deny, "you", start);
        assert_eq!(late.unwrap_err(), Refusal::Unknown);
        assert_eq!(questions.get("a").unwrap().answer.unwrap().0, yes);
        questions.ask(draft("b"), start).unwrap();
        let after = Duration::from_secs(61);
        assert!(questions.open(after).is_empty());
        assert_eq!(
            questions.answer("b", yes, "me", after).unwrap_err(),
            Refusal::Unknown
        );
    }

    #[test]
    fn a_flood_of_questions_ends_and_answered_ones_make_room() {
        // covers: R29
        let questions = Questions::default();
        let start = Duration::ZERO;
        for n in 0..OPEN_MAX {
            questions.ask(draft(&n.to_string()), start).unwrap();
        }
        assert_eq!(
            questions.ask(draft("more"), start).unwrap_err(),
            Refusal::Full
        );
        questions
            .answer("7", ExecDecision::Deny, "me", start)
            .unwrap();
        assert!(questions.ask(draft("more"), start).is_ok());
    }

    #[tokio::test]
    async fn who_waits_hears_the_answer_and_silence_is_no_answer() {
        let questions = Arc::new(Questions::default());
        let asked = questions.ask(draft("a"), Duration::ZERO).unwrap();
        let waiting = tokio::spawn({
            let (questions, asked) = (Arc::clone(&questions), asked.clone());
            async move { questions.decision(&asked, Duration::ZERO).await }
        });
        tokio::task::yield_now().await;
        questions
            .answer("a", ExecDecision::AllowAlways, "me", Duration::ZERO)
            .unwrap();
        assert_eq!(waiting.await.unwrap(), Some(ExecDecision::AllowAlways));
        let asked = questions.ask(draft("b"), Duration::ZERO).unwrap();
        let lapsed = Duration::from_secs(60);
        assert_eq!(questions.decision(&asked, lapsed).await, None);
    }
}
