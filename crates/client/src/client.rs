//! Calls to a gateway.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::sync::{broadcast, mpsc, oneshot};

use adjutant_protocol::{Kind, Method};

use crate::dial::dial;
use crate::endpoint::{Credential, Endpoint};
use crate::error::ClientError;
use crate::link::{Heard, Link, Pending, Repeat};
use crate::notices::{Notices, read};

/// How long a call may take when nobody says otherwise.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a lost connection is dialled again before it counts as gone.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Calls that may be on their way to the link at once.
const ORDERS_MAX: usize = 256;

/// Notifications kept for a listener that is slow; beyond that it catches up from the event feed.
const HEARD_MAX: usize = 1024;

/// Something the gateway says without being asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    /// Its name.
    pub method: String,
    /// Its content.
    pub params: Value,
}

/// A connection to a gateway that dials again when it is lost. Clones share it; it closes with the last of them.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    endpoint: Endpoint,
    orders: mpsc::Sender<Pending>,
    heard: broadcast::Sender<Heard>,
}

impl Client {
    /// Opens a connection, once: the caller is told at once when nobody answers. Later losses are dialled again for
    /// [`PATIENCE`].
    ///
    /// # Errors
    /// [`ClientError::Unreachable`], [`ClientError::Untrusted`], [`ClientError::Refused`] or [`ClientError::TimedOut`].
    pub async fn connect(endpoint: Endpoint, credential: Credential) -> Result<Self, ClientError> {
        Self::connect_with(endpoint, credential, PATIENCE).await
    }

    /// As [`Client::connect`], dialling again for `patience` after a loss.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_with(
        endpoint: Endpoint,
        credential: Credential,
        patience: Duration,
    ) -> Result<Self, ClientError> {
        // A `Url` may have been built by hand: check it again before anything is sent there (S6).
        let endpoint = endpoint.checked()?;
        let socket = dial(&endpoint, &credential).await?;
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let (heard, _) = broadcast::channel(HEARD_MAX);
        let link = Link {
            endpoint: endpoint.clone(),
            credential,
            orders: inbox,
            notices: heard.clone(),
            patience,
            in_flight: BTreeMap::new(),
            waiting: VecDeque::new(),
            next_id: 1,
        };
        // The task ends by itself when the last sender of `orders` is gone.
        tokio::spawn(link.run(socket));
        Ok(Self {
            shared: Arc::new(Shared {
                endpoint,
                orders,
                heard,
            }),
        })
    }

    /// Where the gateway is.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.shared.endpoint
    }

    /// Calls a method. It is sent again after a lost connection if it reads, or carries an idempotency key.
    ///
    /// # Errors
    /// Every [`ClientError`] but [`ClientError::BadEndpoint`].
    pub async fn call<M>(&self, params: M::Params) -> Result<M::Result, ClientError>
    where
        M: Method,
        M::Params: Serialize,
    {
        self.call_within::<M>(CALL_TIMEOUT, params).await
    }

    /// As [`Client::call`], for a method that may take up to `timeout`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn call_within<M>(
        &self,
        timeout: Duration,
        params: M::Params,
    ) -> Result<M::Result, ClientError>
    where
        M: Method,
        M::Params: Serialize,
    {
        let params = serde_json::to_value(params).map_err(|error| ClientError::Unwritable {
            what: M::NAME.to_owned(),
            reason: error.to_string(),
        })?;
        let repeat = repeat_of(M::NAME, &params);
        // In a box: what waits for the answer is compiled once and not for every method.
        let sent = Box::pin(self.send(M::NAME, params, repeat, timeout));
        read(M::NAME, sent.await?)
    }

    /// Calls a method by name.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn call_value(&self, method: &str, params: Value) -> Result<Value, ClientError> {
        self.call_value_within(CALL_TIMEOUT, method, params).await
    }

    /// As [`Client::call_value`], for a method that may take up to `timeout`.
    ///
    /// # Errors
    /// As [`Client::call_value`].
    pub async fn call_value_within(
        &self,
        timeout: Duration,
        method: &str,
        params: Value,
    ) -> Result<Value, ClientError> {
        let repeat = repeat_of(method, &params);
        self.send(method, params, repeat, timeout).await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        params: Value,
        repeat: Repeat,
        timeout: Duration,
    ) -> Result<Value, ClientError> {
        let (reply, answer) = oneshot::channel();
        let pending = Pending {
            method: method.to_owned(),
            params,
            repeat,
            reply,
        };
        let gone = || ClientError::Closed {
            reason: "the gateway is gone".to_owned(),
        };
        let exchange = async {
            self.shared
                .orders
                .send(pending)
                .await
                .map_err(|_closed| gone())?;
            answer.await.map_err(|_dropped| gone())?
        };
        match tokio::time::timeout(timeout, exchange).await {
            Ok(result) => result,
            Err(_too_late) => Err(ClientError::TimedOut {
                what: method.to_owned(),
                after: timeout,
            }),
        }
    }

    pub(crate) fn listen(&self) -> broadcast::Receiver<Heard> {
        self.shared.heard.subscribe()
    }

    /// Everything the gateway says from now on: durable events without gap or repetition, and live pulses.
    ///
    /// # Errors
    /// As [`Client::call_value`]: the place in the feed is asked for first.
    pub async fn events(&self) -> Result<Notices, ClientError> {
        Notices::from_now(self.clone()).await
    }
}

fn repeat_of(method: &str, params: &Value) -> Repeat {
    let reads = adjutant_protocol::find(method).is_some_and(|row| row.kind == Kind::Read);
    let has_key = params.get("idempotencyKey").is_some_and(Value::is_string);
    if reads || has_key {
        Repeat::Safe
    } else {
        Repeat::Never
    }
}
