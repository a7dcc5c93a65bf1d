//! `sessions.subscribe`, `sessions.preview` and their like.

use adjutant_domain::code::Code;
use adjutant_ports::store::Hidden;
use adjutant_protocol::methods::common::NoParams;
use adjutant_protocol::methods::session_views::{
    MessagesSubscribeParams, MessagesSubscribed, PreviewItem, PreviewStatus, SessionCompacted,
    SessionPreview, SessionsCompact, SessionsCompactParams, SessionsMessagesSubscribe,
    SessionsMessagesUnsubscribe, SessionsPreview, SessionsPreviewParams, SessionsPreviewed,
    SessionsSubscribe, SessionsSubscribed, SessionsUnsubscribe,
};
use adjutant_protocol::methods::sessions::{SessionsList, SessionsListParams};
use adjutant_protocol::{Caller, Fault, Handle};

use crate::core::Core;
use crate::hub::{FEED_SESSIONS_MAX, FeedChange, FeedChanged};
use crate::methods::page;
use crate::wire;

/// Sessions of one preview.
const PREVIEWS_MAX: usize = 64;

impl Handle<SessionsSubscribe> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: SessionsListParams,
    ) -> Result<SessionsSubscribed, Fault> {
        let wants_list = params != SessionsListParams::default();
        // Subscribed first: what changes while the list is read is told, too.
        self.feed(caller, FeedChange::All)?;
        let list = if wants_list {
            Some(Handle::<SessionsList>::handle(self, caller, params).await?)
        } else {
            None
        };
        Ok(SessionsSubscribed {
            subscribed: true,
            list,
        })
    }
}

impl Handle<SessionsUnsubscribe> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        _params: NoParams,
    ) -> Result<SessionsSubscribed, Fault> {
        self.feed(caller, FeedChange::NotAll)?;
        Ok(SessionsSubscribed {
            subscribed: false,
            list: None,
        })
    }
}

impl Handle<SessionsMessagesSubscribe> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: MessagesSubscribeParams,
    ) -> Result<MessagesSubscribed, Fault> {
        let method = "sessions.messages.subscribe";
        let key = self.key(method, &params.key)?;
        Self::agrees(method, &key, params.agent_id.as_deref())?;
        self.feed(caller, FeedChange::Session(key.as_str().to_owned()))?;
        Ok(MessagesSubscribed {
            subscribed: true,
            key: key.as_str().to_owned(),
        })
    }
}

impl Handle<SessionsMessagesUnsubscribe> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: MessagesSubscribeParams,
    ) -> Result<MessagesSubscribed, Fault> {
        let key = self.key("sessions.messages.unsubscribe", &params.key)?;
        self.feed(caller, FeedChange::NotSession(key.as_str().to_owned()))?;
        Ok(MessagesSubscribed {
            subscribed: false,
            key: key.as_str().to_owned(),
        })
    }
}

impl Handle<SessionsPreview> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: SessionsPreviewParams,
    ) -> Result<SessionsPreviewed, Fault> {
        if params.keys.len() > PREVIEWS_MAX {
            let reason = format!("at /keys: at most {PREVIEWS_MAX}");
            return Err(Fault::params("sessions.preview", reason));
        }
        let limit = page(params.limit, 12, 50);
        let chars = params.max_chars.unwrap_or(240).clamp(20, 2_000);
        let chars = usize::try_from(chars).unwrap_or(usize::MAX);
        let mut previews = Vec::with_capacity(params.keys.len());
        for asked in params.keys {
            let key = self.key("sessions.preview", &asked)?;
            let Some(session) = self.deps.store.session(self.owner(), &key).await? else {
                previews.push(SessionPreview {
                    key: asked,
                    status: PreviewStatus::Missing,
                    items: Vec::new(),
                });
                continue;
            };
            let messages = self
                .deps
                .store
                .messages(self.owner(), session.thread, limit, None, Hidden::Skip)
                .await?;
            let items: Vec<PreviewItem> = messages
                .iter()
                .map(|message| {
                    let wired = wire::message(message);
                    PreviewItem {
                        role: wired.role,
                        text: wire::beginning(&wired.text(), chars),
                    }
                })
                .filter(|item| !item.text.is_empty())
                .collect();
            previews.push(SessionPreview {
                key: asked,
                status: if items.is_empty() {
                    PreviewStatus::Empty
                } else {
                    PreviewStatus::Ok
                },
                items,
            });
        }
        Ok(SessionsPreviewed {
            ts: self.now(),
            previews,
        })
    }
}

impl Handle<SessionsCompact> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: SessionsCompactParams,
    ) -> Result<SessionCompacted, Fault> {
        let key = self.key("sessions.compact", &params.key)?;
        Self::agrees("sessions.compact", &key, params.agent_id.as_deref())?;
        Ok(SessionCompacted {
            ok: true,
            key: key.as_str().to_owned(),
            compacted: false,
            reason: "runs compact by themselves when the context is full".to_owned(),
        })
    }
}

impl Core {
    fn feed(&self, caller: &Caller, change: FeedChange) -> Result<(), Fault> {
        match self.hub.change_feed(caller.connection, change) {
            FeedChanged::Done => Ok(()),
            FeedChanged::Full => Err(Fault::new(
                Code::RateLimited,
                format!("a connection may ask for {FEED_SESSIONS_MAX} sessions"),
            )
            .with_hint("ask for all of them with sessions.subscribe")),
            FeedChanged::NotHere => Err(Fault::new(
                Code::InvalidRequest,
                "this works on a frames WebSocket; over JSON-RPC use events.subscribe",
            )),
        }
    }
}
