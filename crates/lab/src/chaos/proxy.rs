//! A line between a program and its database that can be cut, choked and slowed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle};

use super::notes::{Ears, Messages};
use super::random::Random;

/// Bytes that travel at once.
const CHUNK: usize = 16 * 1024;

/// The line.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    listener: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// The port of the database.
    target: AtomicU64,
    /// Milliseconds that every chunk waits.
    slow_ms: AtomicU64,
    /// Whether new connections are swallowed.
    is_hole: AtomicBool,
    /// Whether notifications come through.
    ears: Ears,
    open: Mutex<Vec<Line>>,
}

/// One connection.
struct Line {
    task: AbortHandle,
    is_stuck: Arc<AtomicBool>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
        for line in self.lines().drain(..) {
            line.task.abort();
        }
    }
}

impl Proxy {
    /// A line to a port of this machine.
    pub(crate) async fn to(target: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared::default());
        shared.target.store(u64::from(target), Ordering::SeqCst);
        let own = Arc::clone(&shared);
        let listener = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let is_stuck = Arc::new(AtomicBool::new(own.is_hole.load(Ordering::SeqCst)));
                let carried = carry(near, Arc::clone(&own), Arc::clone(&is_stuck));
                let task = tokio::spawn(carried).abort_handle();
                let mut open = own.open.lock().unwrap_or_else(PoisonError::into_inner);
                open.retain(|it| !it.task.is_finished());
                open.push(Line { task, is_stuck });
            }
        });
        Ok(Self {
            port,
            shared,
            listener,
        })
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<Line>> {
        self.shared
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the line leads elsewhere.
    pub(crate) fn leads_to(&self, target: u16) {
        self.shared
            .target
            .store(u64::from(target), Ordering::SeqCst);
    }

    /// Cuts one connection in `n`. Returns how many those were.
    pub(crate) fn cut(&self, random: &mut Random, n: u64) -> u64 {
        let mut n_cut = 0;
        self.lines().retain(|line| {
            let is_hit = !line.task.is_finished() && random.once_in(n);
            if is_hit {
                line.task.abort();
                n_cut += 1;
            }
            !is_hit
        });
        n_cut
    }

    /// Every connection there is stays open and carries nothing any more, for ever; new ones as long as the hole is open.
    pub(crate) fn open_hole(&self) -> u64 {
        self.shared.is_hole.store(true, Ordering::SeqCst);
        let lines = self.lines();
        for line in lines.iter() {
            line.is_stuck.store(true, Ordering::SeqCst);
        }
        lines.iter().filter(|it| !it.task.is_finished()).count() as u64
    }

    /// New connections are carried again.
    pub(crate) fn close_hole(&self) {
        self.shared.is_hole.store(false, Ordering::SeqCst);
    }

    /// Whether those behind this line hear notifications.
    pub(crate) fn ears(&self) -> &Ears {
        &self.shared.ears
    }

    /// Every chunk waits this long.
    pub(crate) fn slow(&self, by: Duration) {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.shared.slow_ms.store(ms, Ordering::SeqCst);
    }
}

async fn carry(near: TcpStream, shared: Arc<Shared>, is_stuck: Arc<AtomicBool>) {
    if is_stuck.load(Ordering::SeqCst) {
        // Taken and held: the other side believes that somebody is there.
        let _near = near;
        return std::future::pending().await;
    }
    let port = u16::try_from(shared.target.load(Ordering::SeqCst)).unwrap_or(0);
    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else {
        return;
    };
    drop((near.set_nodelay(true), far.set_nodelay(true)));
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    let mut messages = Messages::default();
    tokio::select! {
        () = pump(near_in, far_out, &shared, &is_stuck, <[u8]>::to_vec) => {}
        () = pump(far_in, near_out, &shared, &is_stuck, |it| messages.pass(it, &shared.ears)) => {}
    }
}

/// Carries what `passes` makes of it.
async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    shared: &Shared,
    is_stuck: &AtomicBool,
    mut passes: impl FnMut(&[u8]) -> Vec<u8>,
) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(n) = from.read(&mut chunk).await {
        if is_stuck.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        let slow = shared.slow_ms.load(Ordering::SeqCst);
        if 0 < slow {
            tokio::time::sleep(Duration::from_millis(slow)).await;
        }
        let carried = passes(chunk.get(..n).unwrap_or_default());
        if n == 0 || to.write_all(&carried).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::notes::tests::message;
    use super::*;

    async fn echo() -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.into_split();
                    drop(tokio::io::copy(&mut from, &mut to).await);
                });
            }
        });
        port
    }

    async fn answers(stream: &mut TcpStream) -> bool {
        let asked = message(b'Z', b"I");
        let said = stream.write_all(&asked).await.is_ok();
        let mut answer = vec![0; asked.len()];
        let reading = stream.read_exact(&mut answer);
        let heard = tokio::time::timeout(Duration::from_millis(300), reading).await;
        said && matches!(heard, Ok(Ok(_))) && answer == asked
    }

    #[tokio::test]
    async fn a_hole_swallows_what_is_open_for_ever_and_new_lines_as_long_as_it_is_there() {
        let proxy = Proxy::to(echo().await).await.unwrap();
        let mut old = TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap();
        assert!(answers(&mut old).await);
        assert_eq!(proxy.open_hole(), 1);
        let mut new = TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap();
        assert!(!answers(&mut old).await);
        assert!(!answers(&mut new).await);
        proxy.close_hole();
        assert!(!answers(&mut old).await);
        let mut later = TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap();
        assert!(answers(&mut later).await);
    }

    #[tokio::test]
    async fn a_cut_line_ends_and_the_next_one_is_carried() {
        let proxy = Proxy::to(echo().await).await.unwrap();
        let mut line = TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap();
        assert!(answers(&mut line).await);
        let mut random = Random::new(1, "proxy");
        assert_eq!(proxy.cut(&mut random, 1), 1);
        assert!(!answers(&mut line).await);
        let mut next = TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap();
        assert!(answers(&mut next).await);
    }
}
