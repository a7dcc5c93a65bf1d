//! What many connections can do.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::subject::{cpu, rss};

use super::Came;
use super::alone::{Mount, Socket, call, open};

/// Until when a client must be in.
const IN_MAX: Duration = Duration::from_secs(30);
/// Connections that are opened at the same time.
const AT_ONCE: usize = 64;
/// Memory an idle connection may cost.
const IDLE_BYTES_MAX: f64 = 9.0 * 1024.0;
/// Share of a core that idle connections may cost.
const IDLE_CPU_MAX: f64 = 0.02;
/// How long that is measured.
const IDLE_FOR: Duration = Duration::from_secs(10);
/// Pause between two attempts to come back, spread so that not all come in the same moment.
const AGAIN_MS: u64 = 100;
const AGAIN_SPREAD_MS: u64 = 400;
/// Refusals that are taken while a crowd gathers.
const REFUSALS_MAX: usize = 100;

/// Opens sockets that say nothing or half a request, and keeps opening those that are cut, until somebody with the token
/// got through.
pub(super) async fn silent(port: u16, n: usize) -> Result<Came> {
    let opening = async move {
        let mut held = Vec::with_capacity(n);
        let mut waiting = FuturesUnordered::new();
        for at in 0..n {
            waiting.push(half_open(port, at));
            if AT_ONCE <= waiting.len()
                && let Some(stream) = waiting.next().await
            {
                held.extend(stream);
            }
        }
        while let Some(stream) = waiting.next().await {
            held.extend(stream);
        }
        held
    };
    let mut opening = tokio::spawn(opening);
    // Let them fill the queue first.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let amid = tokio::time::timeout(IN_MAX, call(port)).await;
    let held = match tokio::time::timeout(Duration::from_secs(300), &mut opening).await {
        Ok(held) => held?,
        Err(late) => {
            opening.abort();
            return Err(late).context("the sockets cannot be opened");
        }
    };
    let after = tokio::time::timeout(IN_MAX, call(port)).await;
    let said = |what: &Result<Result<Duration>, tokio::time::error::Elapsed>| match what {
        Ok(Ok(took)) => (true, format!("{took:.1?}")),
        Ok(Err(error)) => (false, format!("{error:#}")),
        Err(_) => (false, format!("not within {IN_MAX:?}")),
    };
    let ((amid_in, amid), (after_in, after)) = (said(&amid), said(&after));
    Ok(Came::new(
        amid_in && after_in,
        format!(
            "{} of {n} opened; in after {amid} among them, {after} after them",
            held.len()
        ),
    ))
}

async fn half_open(port: u16, at: usize) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    if at.is_multiple_of(2) {
        // It may have been cut by now, which is as good.
        drop(stream.write_all(b"GET / HTTP/1.1\r\nHost: ").await);
    }
    Some(stream)
}

/// That many clients with the token. Those of before may still be on their way out, so a refusal is tried again.
async fn gather(port: u16, n: usize) -> Result<Vec<Socket>> {
    let mut clients = Vec::with_capacity(n);
    let mut n_refused = 0;
    while clients.len() < n {
        let batch = (n - clients.len()).min(AT_ONCE);
        let opened = (0..batch).map(|_| open(port, Mount::JsonRpc));
        for client in futures::future::join_all(opened).await {
            match client {
                Ok(client) => clients.push(client),
                Err(_) if n_refused < REFUSALS_MAX => {
                    n_refused += 1;
                    tokio::time::sleep(Duration::from_millis(AGAIN_MS)).await;
                }
                Err(error) => return Err(error).context(format!("client {}", clients.len())),
            }
        }
    }
    Ok(clients)
}

pub(super) async fn idle(port: u16, pid: u32, n: usize) -> Result<Came> {
    let before = rss(pid)?;
    // One of them is asked how many there are.
    let clients = gather(port, n - 1).await?;
    let mut status = Client::connect(port).await?;
    // They are read, so that what is sent to all does not pile up.
    let readers: Vec<_> = clients
        .into_iter()
        .map(|mut it| tokio::spawn(async move { while it.next().await.is_some() {} }))
        .collect();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let each = rss(pid)?.saturating_sub(before) as f64 / n as f64;
    let (spent, begun) = (cpu(pid)?, Instant::now());
    tokio::time::sleep(IDLE_FOR).await;
    let share = (cpu(pid)?.saturating_sub(spent)).as_secs_f64() / begun.elapsed().as_secs_f64();
    let told = status.call("status", serde_json::json!({})).await?;
    let there = told["connections"].as_u64().unwrap_or(0);
    for it in readers {
        it.abort();
    }
    Ok(Came::new(
        n as u64 <= there && each <= IDLE_BYTES_MAX && share <= IDLE_CPU_MAX,
        format!(
            "{there} there; {:.1} KB each, {:.1} % of a core",
            each / 1024.0,
            share * 100.0
        ),
    ))
}

/// Descriptors beside those of a crowd.
pub(super) const SPARE_FILES: usize = 256;

/// Clients of a gateway that dies under them, and that all come back at once.
pub(crate) struct Storm {
    begun: Instant,
    clients: JoinSet<(Duration, Socket)>,
}

impl Storm {
    /// How many files must be open at once for a storm of `n`.
    pub(crate) fn files(n: usize) -> u64 {
        // Those that are lost and those that come back.
        (n * 2 + SPARE_FILES) as u64
    }

    /// Lets `n` clients in. From now on each waits until its connection is lost, and then dials until it is back.
    pub(crate) async fn gather(port: u16, n: usize) -> Result<Self> {
        let sockets = gather(port, n).await?;
        let begun = Instant::now();
        let mut clients = JoinSet::new();
        for (at, lost) in sockets.into_iter().enumerate() {
            clients.spawn(come_back(port, at, lost, begun));
        }
        Ok(Self { begun, clients })
    }

    /// Waits until all are back, the gateway having been killed and started again.
    pub(crate) async fn passes(mut self) -> Result<Came> {
        let n = self.clients.len();
        let most = (IN_MAX * 2).saturating_sub(self.begun.elapsed());
        let mut longest = Duration::ZERO;
        let mut back = Vec::with_capacity(n);
        let all = async {
            while let Some(one) = self.clients.join_next().await {
                let (took, socket) = one?;
                longest = longest.max(took);
                back.push(socket);
            }
            anyhow::Ok(())
        };
        match tokio::time::timeout(most, all).await {
            Ok(all) => all?,
            Err(_) => bail!("{} of {n} were back after {:?}", back.len(), IN_MAX * 2),
        }
        Ok(Came::new(
            longest <= IN_MAX,
            format!(
                "{} of {n} back after {longest:.1?}, start included",
                back.len()
            ),
        ))
    }
}

/// Waits until a connection is lost, and dials until there is another. Returns when that was.
async fn come_back(port: u16, at: usize, mut lost: Socket, begun: Instant) -> (Duration, Socket) {
    while let Some(Ok(_)) = lost.next().await {}
    drop(lost);
    let mut pause = AGAIN_MS + at as u64 % AGAIN_SPREAD_MS;
    loop {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        if let Ok(socket) = open(port, Mount::JsonRpc).await {
            return (begun.elapsed(), socket);
        }
        pause = (pause * 2).min(2_000);
    }
}
