//! The newest messages of conversations that were lately driven here, so that a turn reads what came since and not
//! everything again.
//!
//! A message that has its position never changes, and positions have no gaps. So what is kept stays true; the store is asked
//! from the last known position on, and its answer begins with that message if both speak of the same conversation.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashlink::LruCache;

use adjutant_domain::id::{OwnerId, ThreadId};
use adjutant_domain::label::Origin;
use adjutant_domain::message::{Message, Part};
use adjutant_domain::run::Run;
use adjutant_ports::store::{History, HistoryAsk, Store, Stored};

use crate::context::fit;

/// Most bytes of messages kept, roughly. What was used longest ago goes first.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// A conversation whose tail is longer is read anew each time: it would push out many others.
const TAIL_BYTES_MAX: usize = BYTES_MAX / 8;
/// What an entry takes besides its messages.
const TAIL_BYTES: usize = 256;
/// What nobody used for so long is let go, so that words of a forgotten thread do not stay in a quiet worker.
const UNUSED_MAX: Duration = Duration::from_secs(600);

/// Messages with positions, oldest first and without a gap.
struct Tail {
    messages: Vec<Arc<Message>>,
    bytes: usize,
    /// When it was last used, on the monotonic clock.
    used: Duration,
}

/// Tails by conversation.
pub(crate) struct Tails {
    kept: Mutex<Kept>,
}

struct Kept {
    tails: LruCache<(OwnerId, ThreadId), Tail>,
    bytes: usize,
}

impl Default for Tails {
    fn default() -> Self {
        let kept = Kept {
            tails: LruCache::new_unbounded(),
            bytes: 0,
        };
        Self {
            kept: Mutex::new(kept),
        }
    }
}

impl Tails {
    /// What [`ThreadStore::history`](adjutant_ports::store::ThreadStore::history) says from the first position on, with less
    /// reading.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn read(
        &self,
        store: &dyn Store,
        run: &Run,
        limit: u32,
        now: Duration,
    ) -> Stored<Vec<Arc<Message>>> {
        let (owner, thread) = (&run.owner, run.thread);
        let wanted = |from| HistoryAsk {
            thread,
            run: run.id,
            from,
            limit,
        };
        let known = self.known(owner, thread);
        let from = known.last().and_then(|last| last.seq);
        let joined = match from {
            Some(from) => {
                let newer = store.history(owner, &wanted(from)).await?;
                joined(known, newer, limit as usize)
            }
            None => None,
        };
        let messages = match joined {
            Some(messages) => messages,
            None => {
                let all = store.history(owner, &wanted(0)).await?.messages;
                all.into_iter().map(Arc::new).collect()
            }
        };
        self.keep(owner, thread, &messages, now);
        Ok(messages)
    }

    /// Lets go what was not used for long.
    pub(crate) fn tidy(&self, now: Duration) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |tail: &Tail| UNUSED_MAX <= now.saturating_sub(tail.used);
        // From the one that was used longest ago.
        while kept
            .tails
            .iter()
            .next()
            .is_some_and(|(_, tail)| is_old(tail))
        {
            kept.drop_oldest();
        }
    }

    fn known(&self, owner: &OwnerId, thread: ThreadId) -> Vec<Arc<Message>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let tail = kept.tails.get(&(owner.clone(), thread));
        tail.map(|tail| tail.messages.clone()).unwrap_or_default()
    }

    fn keep(&self, owner: &OwnerId, thread: ThreadId, messages: &[Arc<Message>], now: Duration) {
        let placed: Vec<_> = messages
            .iter()
            .filter(|message| message.seq.is_some())
            .map(Arc::clone)
            .collect();
        let tail = Tail {
            bytes: TAIL_BYTES + placed.iter().map(|it| weight(it)).sum::<usize>(),
            messages: placed,
            used: now,
        };
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .put((owner.clone(), thread), tail);
    }
}

impl Kept {
    fn put(&mut self, key: (OwnerId, ThreadId), tail: Tail) {
        let bytes = tail.bytes;
        let before = if tail.messages.is_empty() || TAIL_BYTES_MAX < bytes {
            self.tails.remove(&key)
        } else {
            self.bytes += bytes;
            self.tails.insert(key, tail)
        };
        self.bytes -= before.map_or(0, |tail| tail.bytes);
        while BYTES_MAX < self.bytes && !self.tails.is_empty() {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let oldest = self.tails.remove_lru();
        self.bytes -= oldest.map_or(0, |(_, tail)| tail.bytes);
    }
}

/// Roughly what a message takes in memory.
fn weight(message: &Message) -> usize {
    let parts: usize = message.parts.iter().map(part_weight).sum();
    let label = match &message.label.origin {
        Origin::File { path: text } | Origin::Web { url: text } | Origin::Node { node: text } => {
            text.len()
        }
        Origin::Owner | Origin::System | Origin::Model | Origin::Command | Origin::Memory => 0,
    };
    size_of::<Message>() + label + parts
}

fn part_weight(part: &Part) -> usize {
    /// A tree of JSON takes about so many times the length of its text.
    const TREE: usize = 4;
    let texts = match part {
        Part::Text { text } => text.len(),
        Part::Thinking { text, signature } => {
            text.len() + signature.as_ref().map_or(0, String::len)
        }
        Part::ToolCall {
            wire_id,
            name,
            args,
            ..
        } => wire_id.len() + name.len() + TREE * fit::json_bytes(args),
        Part::ToolResult {
            wire_id,
            name,
            text,
            ..
        } => wire_id.len() + name.len() + text.len(),
    };
    size_of::<Part>() + texts
}

/// The newest `limit` of what is known and what came since; `None` when they do not fit together, or something before them
/// is missing.
fn joined(known: Vec<Arc<Message>>, newer: History, limit: usize) -> Option<Vec<Arc<Message>>> {
    let mut joined = known;
    // What both have shows that they speak of the same conversation.
    let (last, first) = (joined.pop()?, newer.messages.first()?);
    if (last.id, last.seq) != (first.id, first.seq) {
        return None;
    }
    let is_shown = |seq| newer.hidden_through < seq;
    joined.retain(|message| message.seq.is_some_and(is_shown));
    joined.extend(newer.messages.into_iter().map(Arc::new));
    let begins = joined.first().and_then(|message| message.seq);
    let placed = joined.partition_point(|message| message.seq.is_some());
    joined.drain(..placed.saturating_sub(limit));
    (limit <= placed || begins == Some(newer.hidden_through + 1)).then_some(joined)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use adjutant_domain::id::MessageId;
    use adjutant_domain::label::Label;
    use adjutant_domain::message::Role;
    use adjutant_domain::time::Timestamp;

    use super::*;

    fn message(id: u128, seq: Option<u64>, text: &str) -> Message {
        Message {
            id: MessageId::mint(Timestamp::from_millis(1), id),
            thread: ThreadId::mint(Timestamp::from_millis(1), 1),
            seq,
            role: Role::User,
            parts: vec![Part::Text {
                text: text.to_owned(),
            }],
            run: None,
            label: Label::of(Origin::Owner),
            at: Timestamp::from_millis(1),
        }
    }

    fn placed(seqs: std::ops::RangeInclusive<u64>) -> Vec<Message> {
        seqs.map(|seq| message(u128::from(seq), Some(seq), "x"))
            .collect()
    }

    fn known(seqs: std::ops::RangeInclusive<u64>) -> Vec<Arc<Message>> {
        placed(seqs).into_iter().map(Arc::new).collect()
    }

    fn seqs(joined: Option<Vec<Arc<Message>>>) -> Option<Vec<Option<u64>>> {
        joined.map(|all| all.iter().map(|message| message.seq).collect())
    }

    fn newer(hidden_through: u64, messages: Vec<Message>) -> History {
        History {
            hidden_through,
            messages,
        }
    }

    #[test]
    fn what_came_since_follows_what_is_known() {
        let mut came = placed(4..=5);
        came.push(message(9, None, "waits"));
        let joined = joined(known(1..=4), newer(0, came), 4);
        let expected = vec![Some(2), Some(3), Some(4), Some(5), None];
        assert_eq!(seqs(joined), Some(expected));
    }

    #[test]
    fn what_is_hidden_by_now_is_left_out() {
        let joined = joined(known(1..=4), newer(2, placed(4..=5)), 10);
        assert_eq!(seqs(joined), Some(vec![Some(3), Some(4), Some(5)]));
    }

    #[test]
    fn another_conversation_and_a_gap_are_read_anew() {
        let other = vec![message(77, Some(4), "not the same")];
        assert_eq!(seqs(joined(known(1..=4), newer(0, other), 10)), None);
        assert_eq!(seqs(joined(known(1..=4), newer(0, vec![]), 10)), None);
        assert_eq!(
            seqs(joined(known(1..=4), newer(4, placed(5..=6)), 10)),
            None
        );
        // Three and four are not all there is, and five were asked for.
        assert_eq!(seqs(joined(known(3..=4), newer(0, placed(4..=5)), 5)), None);
    }

    #[test]
    fn the_bytes_kept_have_a_bound_and_the_oldest_go_first() {
        let tails = Tails::default();
        let owner = OwnerId::local();
        let text = "x".repeat(TAIL_BYTES_MAX / 2);
        let thread = |n| ThreadId::mint(Timestamp::from_millis(1), n);
        for n in 0..40 {
            let one = [Arc::new(message(n, Some(1), &text))];
            tails.keep(&owner, thread(n), &one, Duration::ZERO);
            tails.keep(&owner, thread(n), &one, Duration::ZERO);
            // Used again and again, so it stays.
            assert_eq!(tails.known(&owner, thread(0)).len(), 1);
        }
        let kept = tails.kept.lock().unwrap();
        assert!(kept.bytes <= BYTES_MAX, "{}", kept.bytes);
        let counted: usize = kept.tails.iter().map(|(_, tail)| tail.bytes).sum();
        assert_eq!(counted, kept.bytes);
        assert!(10 < kept.tails.len() && kept.tails.len() < 17);
        drop(kept);
        assert!(tails.known(&owner, thread(1)).is_empty());
        assert_eq!(tails.known(&owner, thread(39)).len(), 1);
        // One that is too long is not kept, and neither is what was known of it.
        let long = [Arc::new(message(1, Some(1), &text.repeat(3)))];
        tails.keep(&owner, thread(39), &long, Duration::ZERO);
        assert!(tails.known(&owner, thread(39)).is_empty());
    }

    #[test]
    fn what_nobody_uses_is_let_go() {
        let tails = Tails::default();
        let owner = OwnerId::local();
        let thread = |n| ThreadId::mint(Timestamp::from_millis(1), n);
        let one = [Arc::new(message(1, Some(1), "words"))];
        tails.keep(&owner, thread(1), &one, Duration::ZERO);
        tails.keep(&owner, thread(2), &one, UNUSED_MAX / 2);
        tails.tidy(UNUSED_MAX - Duration::from_millis(1));
        assert_eq!(tails.known(&owner, thread(1)).len(), 1);
        tails.keep(&owner, thread(1), &one, UNUSED_MAX);
        tails.tidy(UNUSED_MAX * 3 / 2);
        assert!(tails.known(&owner, thread(2)).is_empty());
        assert_eq!(tails.known(&owner, thread(1)).len(), 1);
        tails.tidy(UNUSED_MAX * 2);
        assert!(tails.known(&owner, thread(1)).is_empty());
        assert_eq!(tails.kept.lock().unwrap().bytes, 0);
    }
}
