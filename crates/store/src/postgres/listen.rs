//! The one connection that listens, and heals itself.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio_postgres::{AsyncMessage, Client, Connection, Socket};

use crate::postgres::address::Address;
use crate::postgres::bus::{CHANNEL, PostgresBus, send};
use crate::postgres::error::{Done, Fault, chain};

/// Between two tries to listen, at first and at most.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Between two questions whether the connection still hears.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// Longest wait for an answer: a peer that is gone without a word is found in half a minute (R26).
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Longest wait for the own echo.
const ECHO_MAX: Duration = Duration::from_secs(3);

/// Until the bus stops.
pub(crate) async fn run(address: Address, pool: Pool, bus: Arc<PostgresBus>) {
    let mut pause = PAUSE_MIN;
    loop {
        let mut heard = false;
        let ended = listen(&address, &pool, &bus, &mut heard).await;
        bus.set_listening(false);
        if let Err(fault) = ended {
            tracing::warn!(
                reason = %fault.into_store(),
                "the store does not hear other processes; it looks by itself and tries to listen again"
            );
        }
        pause = if heard {
            PAUSE_MIN
        } else {
            (pause * 2).min(PAUSE_MAX)
        };
        tokio::time::sleep(pause).await;
    }
}

/// The task that drives the connection ends with whoever needs it.
struct Driver(tokio::task::JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn listen(
    address: &Address,
    pool: &Pool,
    bus: &Arc<PostgresBus>,
    heard: &mut bool,
) -> Done<()> {
    let connecting = address.config.connect(address.tls.clone());
    let (client, connection) = within(connecting).await?;
    let mut driver = Driver(tokio::spawn(drive(connection, Arc::clone(bus))));
    within(client.batch_execute("listen adjutant")).await?;
    // From here on nothing is missed; what was said before this moment is looked up.
    bus.missed();
    *heard = true;
    hears(&client, bus, pool).await?;
    loop {
        tokio::select! {
            _ended = &mut driver.0 => return Err(Fault::Late),
            () = tokio::time::sleep(HEARTBEAT) => {}
        }
        hears(&client, bus, pool).await?;
    }
}

async fn within<T>(answer: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Done<T> {
    match tokio::time::timeout(ANSWER_MAX, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_elapsed) => Err(Fault::Late),
    }
}

/// Asks whether the connection lives, and rings at the own door through another one. Behind a pooler in transaction mode
/// nobody opens, and that is worth a word.
async fn hears(client: &Client, bus: &PostgresBus, pool: &Pool) -> Done<()> {
    within(client.batch_execute("select 1")).await?;
    let rung = tokio::time::timeout(ANSWER_MAX, send(pool, &bus.echo())).await;
    if !matches!(rung, Ok(Ok(()))) {
        // Whoever cannot ring does not know, and asks again.
        return Ok(());
    }
    let is_heard = tokio::time::timeout(ECHO_MAX, bus.echoed()).await.is_ok();
    if !is_heard {
        tracing::warn!(
            "notifications do not come through this connection (a pooler in transaction mode?); \
             give a URL without it for listening. Until then the store looks every few seconds"
        );
    }
    bus.set_listening(is_heard);
    Ok(())
}

async fn drive<T>(mut connection: Connection<Socket, T>, bus: Arc<PostgresBus>)
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    loop {
        match poll_fn(|cx| connection.poll_message(cx)).await {
            Some(Ok(AsyncMessage::Notification(note))) if note.channel() == CHANNEL => {
                bus.heard(note.payload());
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                tracing::debug!(reason = chain(&error), "the listening connection broke");
                return;
            }
            None => return,
        }
    }
}
