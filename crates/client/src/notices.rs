//! What the gateway says without being asked, in order, without gap and without repetition.
//!
//! Durable events carry a cursor. Whatever was missed while a connection was lost, or because this side was slow, is
//! asked for with `events.since` and given out before anything newer; whatever comes twice is dropped by its cursor.
//! Deltas are not durable: after a gap the listener is told, and finds the whole text in the event that follows.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use adjutant_protocol::Method;
use adjutant_protocol::methods::system::{
    EventsSince, EventsSubscribe, EventsSubscribed, WireDelta, WireEvent,
};

use crate::client::{Client, Notification};
use crate::error::ClientError;
use crate::link::{Heard, Repeat};

/// Events asked for at once.
const PAGE: u32 = 500;

/// How long catching up may wait for one answer; a lost connection is dialled again within this time.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(45);

/// Something the gateway says.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// A durable fact.
    Event(Box<WireEvent>),
    /// A live piece of a reply; may be lost.
    Delta(WireDelta),
    /// Something this version has no name for.
    Other(Notification),
    /// Live pieces were lost; durable facts were not.
    Gap(Gap),
}

/// Why live pieces were lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gap {
    /// The connection is lost and is being dialled again.
    Interrupted {
        /// What is known.
        reason: String,
    },
    /// The connection is back, and everything durable that was missed follows.
    Resumed,
    /// This side was too slow.
    Lagged {
        /// How many notifications were dropped.
        missed: u64,
    },
}

/// The stream of notices of one listener.
pub struct Notices {
    client: Client,
    heard: broadcast::Receiver<Heard>,
    ready: VecDeque<Notice>,
    /// Everything up to here was given out.
    cursor: u64,
    owed: Debt,
    over: bool,
}

impl Notices {
    pub(crate) async fn from_now(client: Client) -> Result<Self, ClientError> {
        let heard = client.listen();
        let cursor = subscribe(&client).await?;
        Ok(Self {
            client,
            heard,
            ready: VecDeque::new(),
            cursor,
            owed: Debt::Nothing,
            over: false,
        })
    }

    /// Everything up to here was given out: the place to go on from with `events.since`.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The next notice, or none once the gateway is gone. Dropping the future loses nothing.
    ///
    /// # Errors
    /// Why there is nothing more, once.
    pub async fn next(&mut self) -> Option<Result<Notice, ClientError>> {
        loop {
            if let Some(notice) = self.ready.pop_front() {
                match &notice {
                    Notice::Event(event) => self.cursor = self.cursor.max(event.cursor),
                    Notice::Other(it) => self.cursor = self.cursor.max(cursor_of(&it.params)),
                    Notice::Delta(_) | Notice::Gap(_) => {}
                }
                return Some(Ok(notice));
            }
            if self.over {
                return None;
            }
            // The debt is noted before anything is awaited, and paid only when all of it is here.
            if self.owed == Debt::Missed {
                match self.missed().await {
                    Ok(missed) => self.ready.extend(missed),
                    Err(error) => {
                        self.over = true;
                        return Some(Err(error));
                    }
                }
                self.owed = Debt::Nothing;
                continue;
            }
            match self.heard.recv().await {
                Ok(Heard::Notification(notification)) => {
                    self.ready.extend(self.sort(&notification))
                }
                Ok(Heard::Lost { reason }) => self
                    .ready
                    .push_back(Notice::Gap(Gap::Interrupted { reason })),
                Ok(Heard::Back) => {
                    self.owed = Debt::Missed;
                    self.ready.push_back(Notice::Gap(Gap::Resumed));
                }
                Err(RecvError::Lagged(missed)) => {
                    // `Back` may have been among what was dropped.
                    self.owed = Debt::Missed;
                    self.ready.push_back(Notice::Gap(Gap::Lagged { missed }));
                }
                Ok(Heard::Ended(error)) => {
                    self.over = true;
                    return Some(Err(error));
                }
                Err(RecvError::Closed) => {
                    self.over = true;
                    return None;
                }
            }
        }
    }

    /// A notification as a notice; none when it was given out before.
    fn sort(&self, notification: &Notification) -> Option<Notice> {
        let other = || Notice::Other(notification.clone());
        match notification.method.as_str() {
            "event" => {
                let cursor = cursor_of(&notification.params);
                if cursor != 0 && cursor <= self.cursor {
                    return None;
                }
                // A kind of event that came after this version is passed on as it is.
                Some(
                    serde_json::from_value(notification.params.clone())
                        .map_or_else(|_newer| other(), Notice::Event),
                )
            }
            "delta" => Some(
                serde_json::from_value(notification.params.clone())
                    .map_or_else(|_newer| other(), Notice::Delta),
            ),
            _ => Some(other()),
        }
    }

    /// Every durable event after the last one that was given out.
    async fn missed(&self) -> Result<Vec<Notice>, ClientError> {
        subscribe(&self.client).await?;
        let mut after = self.cursor;
        let mut missed = Vec::new();
        loop {
            let params = json!({ "cursor": after, "limit": PAGE });
            let value = self
                .client
                .send(EventsSince::NAME, params, Repeat::Safe, CATCH_UP_TIMEOUT)
                .await?;
            let page = read::<Page>(EventsSince::NAME, value)?;
            for params in page.events {
                missed.extend(self.sort(&Notification {
                    method: "event".to_owned(),
                    params,
                }));
            }
            if !page.has_more || page.cursor <= after {
                return Ok(missed);
            }
            after = page.cursor;
        }
    }
}

/// Whether something must be fetched before anything newer is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Debt {
    Nothing,
    Missed,
}

/// A page of events of which some may be of a kind that came after this version.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    events: Vec<Value>,
    cursor: u64,
    has_more: bool,
}

fn cursor_of(params: &Value) -> u64 {
    params.get("cursor").and_then(Value::as_u64).unwrap_or(0)
}

async fn subscribe(client: &Client) -> Result<u64, ClientError> {
    let params = json!({ "all": true });
    let value = client
        .send(
            EventsSubscribe::NAME,
            params,
            Repeat::Safe,
            CATCH_UP_TIMEOUT,
        )
        .await?;
    read::<EventsSubscribed>(EventsSubscribe::NAME, value).map(|it| it.cursor)
}

pub(crate) fn read<T: serde::de::DeserializeOwned>(
    what: &str,
    value: serde_json::Value,
) -> Result<T, ClientError> {
    serde_json::from_value(value).map_err(|error| ClientError::Unreadable {
        what: what.to_owned(),
        reason: error.to_string(),
    })
}
