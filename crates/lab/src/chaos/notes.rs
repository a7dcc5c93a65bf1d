//! What a PostgreSQL server says, message by message, so that its notifications can be kept back.
//!
//! Every message of a server is a letter and four bytes of length, which count themselves; only the answer to a wish for TLS
//! is not, and the campaign does not wish for it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Letter and length.
const HEAD: usize = 5;
/// The letter of a notification.
const NOTIFICATION: u8 = b'A';
/// What the gateway says when there is work.
const WORK: &[u8] = b"\"work\":true";

/// Whether notifications come through, and how many that told of work did or did not.
#[derive(Debug, Default)]
pub(crate) struct Ears {
    is_deaf: AtomicBool,
    heard: AtomicU64,
    missed: AtomicU64,
}

impl Ears {
    /// From now on nobody hears notifications; everything else is carried.
    pub(crate) fn close(&self) {
        self.is_deaf.store(true, Ordering::SeqCst);
    }

    /// From now on they are heard again.
    pub(crate) fn open(&self) {
        self.is_deaf.store(false, Ordering::SeqCst);
    }

    /// Notifications of work that came through.
    pub(crate) fn heard(&self) -> u64 {
        self.heard.load(Ordering::SeqCst)
    }

    /// Notifications of work that were sent to somebody who listened, and were kept back.
    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::SeqCst)
    }

    fn lets_through(&self, message: &[u8]) -> bool {
        if message.first() != Some(&NOTIFICATION) {
            return true;
        }
        let is_deaf = self.is_deaf.load(Ordering::SeqCst);
        if message.windows(WORK.len()).any(|it| it == WORK) {
            let count = if is_deaf { &self.missed } else { &self.heard };
            count.fetch_add(1, Ordering::SeqCst);
        }
        !is_deaf
    }
}

/// One connection: what has come of a message that is not whole yet.
#[derive(Debug, Default)]
pub(crate) struct Messages(Vec<u8>);

impl Messages {
    /// What of these bytes, and of those that waited for them, may go on.
    pub(crate) fn pass(&mut self, bytes: &[u8], ears: &Ears) -> Vec<u8> {
        self.0.extend_from_slice(bytes);
        let mut carried = Vec::new();
        let mut rest = self.0.as_slice();
        while let Some((message, tail)) = split(rest) {
            if ears.lets_through(message) {
                carried.extend_from_slice(message);
            }
            rest = tail;
        }
        self.0 = rest.to_vec();
        carried
    }
}

/// The first message, if it is whole, and what is behind it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let head: &[u8; HEAD] = bytes.first_chunk()?;
    let [_, length @ ..] = *head;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    bytes.split_at_checked(length + 1)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A message with this letter.
    pub(crate) fn message(letter: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap_or(0);
        let mut bytes = vec![letter];
        bytes.extend(length.to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn note(text: &str) -> Vec<u8> {
        let mut body = vec![0, 0, 0, 7];
        body.extend(b"adjutant\0");
        body.extend(text.as_bytes());
        body.push(0);
        message(NOTIFICATION, &body)
    }

    #[test]
    fn a_message_is_carried_when_it_is_whole() {
        let (ears, mut messages) = (Ears::default(), Messages::default());
        let whole = message(b'D', b"a row");
        let (first, second) = whole.split_at(7);
        assert_eq!(messages.pass(first, &ears), b"");
        assert_eq!(messages.pass(second, &ears), whole);
    }

    #[test]
    fn the_deaf_miss_notifications_and_nothing_else() {
        let (ears, mut messages) = (Ears::default(), Messages::default());
        ears.close();
        let (row, work) = (message(b'D', b"a row"), note("{\"work\":true}"));
        let echo = note("{\"echo\":true}");
        let all = [row.clone(), work.clone(), echo, row.clone()].concat();
        assert_eq!(messages.pass(&all, &ears), [row.clone(), row].concat());
        assert_eq!((ears.heard(), ears.missed()), (0, 1));
        ears.open();
        assert_eq!(messages.pass(&work, &ears), work);
        assert_eq!((ears.heard(), ears.missed()), (1, 1));
    }
}
