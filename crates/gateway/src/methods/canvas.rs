//! `canvas.*`, `a2ui.*`.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::json;

use adjutant_domain::code::Code;
use adjutant_domain::id::SessionKey;
use adjutant_protocol::methods::canvas::{
    A2uiCapabilities, A2uiOfVersion, A2uiPush, A2uiPushParams, A2uiPushed, A2uiRejected,
    A2uiRemoved, A2uiReset, A2uiResetParams, A2uiSnapshot, A2uiSurfaces, A2uiVersion, A2uiVersions,
    CanvasBoard, CanvasFileRow, CanvasFiles, CanvasList, CanvasOfParams, CanvasOpen,
    CanvasOpenParams, CanvasOpened, NodeCanvasOpened, NodeCanvasRefresh,
};
use adjutant_protocol::methods::common::NoParams;
use adjutant_protocol::{Caller, Fault, Handle};

use crate::canvas::a2ui::{self, Version};
use crate::canvas::{Board, Room, TICKET_LIFE, blocking, has_renderer};
use crate::core::Core;

/// Bytes of messages in one call.
const PUSH_BYTES_MAX: usize = 2 << 20;

impl Handle<CanvasOpen> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: CanvasOpenParams,
    ) -> Result<CanvasOpened, Fault> {
        let room = self
            .room_of("canvas.open", params.session_key.as_deref())
            .await?;
        let detail = json!({ "session": room.session });
        self.audit(caller, "canvas.open", room.key.as_str(), detail)
            .await?;
        let board = match params.board {
            CanvasBoard::Canvas => Board::Canvas,
            CanvasBoard::A2ui => Board::A2ui,
        };
        let path = format!("/{}/{}/", board.word(), self.give_ticket(&room, caller));
        Ok(CanvasOpened {
            url: format!("{}{path}", self.base()),
            path,
            life_ms: u64::try_from(TICKET_LIFE.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

impl Handle<NodeCanvasRefresh> for Core {
    async fn handle(&self, caller: &Caller, _params: NoParams) -> Result<NodeCanvasOpened, Fault> {
        let method = "node.canvas.capability.refresh";
        let Some(device) = &caller.device else {
            return Err(Fault::params(method, "only a node may ask"));
        };
        // A ticket lets its holder look and press: for nodes that a person let show things.
        let node = self.node_device(device.as_str()).await?;
        let shows = self
            .node_row(&node)
            .commands
            .iter()
            .any(|it| it.starts_with("canvas."));
        if !shows {
            let message = "nobody has approved that this node shows a canvas";
            return Err(Fault::new(Code::Forbidden, message));
        }
        let room = self.room_of(method, None).await?;
        let ticket = self.give_ticket(&room, caller);
        Ok(NodeCanvasOpened {
            canvas_host_url: format!("{}/__openclaw__/cap/{ticket}", self.base()),
            canvas_capability: ticket,
            canvas_capability_expires_at_ms: self.now().plus(TICKET_LIFE).as_millis(),
        })
    }
}

impl Handle<CanvasList> for Core {
    async fn handle(&self, _caller: &Caller, params: CanvasOfParams) -> Result<CanvasFiles, Fault> {
        let room = self
            .room_of("canvas.list", params.session_key.as_deref())
            .await?;
        let kept = Arc::clone(&room);
        let files = blocking(move || kept.list()).await?;
        let files = files.map_err(|error| Fault::params("canvas.list", error))?;
        let rows = files.into_iter().map(|it| CanvasFileRow {
            path: it.path,
            bytes: it.bytes,
        });
        Ok(CanvasFiles {
            files: rows.collect(),
            page: room.page(),
            views: room.views() as u64,
        })
    }
}

impl Handle<A2uiPush> for Core {
    async fn handle(&self, _caller: &Caller, params: A2uiPushParams) -> Result<A2uiPushed, Fault> {
        let refuse = |reason: String| Err(Fault::params("a2ui.push", reason));
        let messages = match (params.messages, params.jsonl) {
            (Some(messages), None) if messages.is_empty() => {
                return refuse("messages is empty".to_owned());
            }
            (Some(messages), None) if a2ui::MESSAGES_MAX < messages.len() => {
                return refuse(format!("at most {} messages at once", a2ui::MESSAGES_MAX));
            }
            (Some(messages), None) => messages,
            (None, Some(text)) if PUSH_BYTES_MAX < text.len() => {
                return refuse(format!("jsonl has at most {PUSH_BYTES_MAX} bytes"));
            }
            (None, Some(text)) => match a2ui::read(&text) {
                Ok(messages) => messages,
                Err(reason) => return refuse(reason),
            },
            _ => return refuse("must have either messages or jsonl".to_owned()),
        };
        let room = self
            .room_of("a2ui.push", params.session_key.as_deref())
            .await?;
        let (kept, now) = (Arc::clone(&room), self.deps.clock.monotonic());
        let report = blocking(move || kept.push(messages, now)).await?;
        let rejected = report.rejected.into_iter().map(|it| A2uiRejected {
            index: it.index as u64,
            path: it.path,
            reason: it.reason,
        });
        Ok(A2uiPushed {
            accepted: report.accepted as u64,
            rejected: rejected.collect(),
            views: room.views() as u64,
        })
    }
}

impl Handle<A2uiReset> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: A2uiResetParams,
    ) -> Result<A2uiRemoved, Fault> {
        let room = self
            .room_of("a2ui.reset", params.session_key.as_deref())
            .await?;
        let removed = blocking(move || room.reset(params.surface_id.as_deref())).await?;
        Ok(A2uiRemoved {
            removed: removed as u64,
        })
    }
}

impl Handle<A2uiSnapshot> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: CanvasOfParams,
    ) -> Result<A2uiSurfaces, Fault> {
        let room = self
            .room_of("a2ui.snapshot", params.session_key.as_deref())
            .await?;
        let versions = room
            .snapshot()
            .into_iter()
            .map(|(version, messages)| A2uiOfVersion {
                version: version.to_owned(),
                messages,
            });
        Ok(A2uiSurfaces {
            versions: versions.collect(),
        })
    }
}

impl Handle<A2uiCapabilities> for Core {
    async fn handle(&self, _caller: &Caller, _params: NoParams) -> Result<A2uiVersions, Fault> {
        let versions = Version::ALL.into_iter().map(|version| A2uiVersion {
            version: version.word().to_owned(),
            catalogs: version
                .catalogs()
                .iter()
                .map(|it| (*it).to_owned())
                .collect(),
        });
        Ok(A2uiVersions {
            renderer: has_renderer(),
            versions: versions.collect(),
        })
    }
}

impl Core {
    /// Where this machine's browsers find the gateway.
    fn base(&self) -> String {
        let scheme = if self.config.tls.is_on() {
            "https"
        } else {
            "http"
        };
        match (self.config.bind, self.port()) {
            (bind, port) if bind.is_loopback() || bind.is_unspecified() => {
                format!("{scheme}://localhost:{port}")
            }
            (IpAddr::V4(ip), port) => format!("{scheme}://{ip}:{port}"),
            (IpAddr::V6(ip), port) => format!("{scheme}://[{ip}]:{port}"),
        }
    }

    /// The canvas of the session that is meant; the session is made when there is none.
    async fn room_of(&self, method: &str, session_key: Option<&str>) -> Result<Arc<Room>, Fault> {
        let key = match session_key {
            Some(text) => self.key(method, text)?,
            None => SessionKey::main_of(&self.deps.default_agent),
        };
        let (store, owner) = (&self.deps.store, self.owner());
        let session = match store.session(owner, &key).await? {
            Some(session) => session,
            None => {
                self.agent(&key.agent()).await?;
                let expiry = self
                    .config
                    .session_expiry
                    .map(adjutant_domain::time::Span::duration);
                store.open_session(owner, &key, None, expiry).await?
            }
        };
        self.canvas_of(session.id, session.key).await
    }
}
