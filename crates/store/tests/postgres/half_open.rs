//! A program that went silent in the middle of a transaction: frozen, or behind a line that carries nothing any more.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use adjutant_ports::store::{Offer, RunStore as _};

use crate::cluster::{cluster, open_real, runtime};
use crate::talk::{append, finished, intake, session, worker};

/// What the first round trip of an append has in it.
const APPEND: &[u8] = b"set head = head +";
const SOCKET: &str = ".s.PGSQL.5432";
/// R40: nobody else waits longer than this.
const STALL_MAX: Duration = Duration::from_secs(8);

/// A line to the socket in `to` that carries the beginning of an append and nothing behind it, once `is_armed`.
fn line(at: &Path, to: PathBuf, is_armed: Arc<AtomicBool>) {
    let listener = UnixListener::bind(at.join(SOCKET)).unwrap();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = UnixStream::connect(to.join(SOCKET)).await.unwrap();
            tokio::spawn(carry(near, far, Arc::clone(&is_armed)));
        }
    });
}

async fn carry(near: UnixStream, far: UnixStream, is_armed: Arc<AtomicBool>) {
    let (mut near_in, mut near_out) = near.into_split();
    let (mut far_in, mut far_out) = far.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut far_in, &mut near_out).await });
    let mut chunk = vec![0; 64 * 1024];
    while let Ok(n) = near_in.read(&mut chunk).await {
        if n == 0 || far_out.write_all(&chunk[..n]).await.is_err() {
            return;
        }
        let is_append = chunk[..n].windows(APPEND.len()).any(|it| it == APPEND);
        if is_append && is_armed.load(Ordering::SeqCst) {
            // Answered, open, and silent for ever.
            return std::future::pending().await;
        }
    }
}

// covers: R26, R40
#[test]
fn a_program_that_went_silent_within_a_transaction_stops_nobody_else() {
    let Some(cluster) = cluster() else { return };
    let Some(dir) = cluster.dir.clone() else {
        return;
    };
    let database = cluster.database();
    runtime().block_on(async {
        let between = tempfile::tempdir().unwrap();
        let is_armed = Arc::new(AtomicBool::new(false));
        line(between.path(), dir, Arc::clone(&is_armed));
        let host = between.path().display().to_string().replace('/', "%2F");
        let url = format!("postgresql://adjutant_test@/{}?host={host}", database.name);
        let silent = open_real(&url, 2).await;
        let other = open_real(&database.url, 2).await;
        let seat = session(&*other, "main").await;
        other.accept(intake(&seat, None, "hello")).await.unwrap();
        let offer = Offer::one(worker());
        let lease = Duration::from_millis(200);
        let claim = silent.claim(&offer, lease).await.unwrap().remove(0);
        is_armed.store(true, Ordering::SeqCst);
        let stuck = tokio::spawn(async move {
            drop(append(&*silent, &claim, vec![finished()]).await);
        });
        let begun = Instant::now();
        let patient = Offer {
            patience: STALL_MAX,
            ..Offer::one(worker())
        };
        let mut claims = Vec::new();
        while claims.is_empty() && begun.elapsed() < STALL_MAX {
            claims = other.claim(&patient, lease).await.unwrap_or_default();
        }
        let waited = begun.elapsed();
        stuck.abort();
        assert_eq!(claims.len(), 1, "nobody could take the run over");
        assert!(waited < STALL_MAX, "{waited:?}");
    });
}
