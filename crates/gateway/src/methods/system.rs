//! `health`, `status`, `events.*`, `rpc.discover`, `verify.run`, `audit.list`.

use std::io::Read as _;
use std::sync::atomic::Ordering;

use flate2::read::GzDecoder;
use serde_json::Value;

use adjutant_domain::code::Code;
use adjutant_protocol::methods::common::{KeyOnly, NoParams};
use adjutant_protocol::methods::system::{
    AuditList, AuditListParams, AuditPage, AuditRow, EventsPage, EventsSince, EventsSinceParams,
    EventsSubscribe, EventsSubscribeParams, EventsSubscribed, Health, HealthParams, HealthReport,
    Presence, RpcDiscover, Status, StatusParams, StatusReport, SystemPresence, VerifyCheck,
    VerifyFound, VerifyRun, WireEvent,
};
use adjutant_protocol::{Caller, Fault, Handle};

use crate::core::Core;
use crate::hub::CatchUp;
use crate::methods::{PAGE_MAX, page};

/// Events read at once for a client that catches up.
const CATCH_UP_PAGE: u32 = 200;

impl Handle<Health> for Core {
    async fn handle(&self, _caller: &Caller, _params: HealthParams) -> Result<HealthReport, Fault> {
        let snapshot = self.snapshot().await?;
        // Others hear the report, too, when it is newer than the one they have.
        self.hub.news.notify_one();
        Ok(snapshot.health.clone())
    }
}

impl Handle<Status> for Core {
    async fn handle(&self, _caller: &Caller, _params: StatusParams) -> Result<StatusReport, Fault> {
        let mut status = self.snapshot().await?.status.clone();
        status.uptime_ms = u64::try_from(self.uptime().as_millis()).unwrap_or(u64::MAX);
        status.connections = self.connections.load(Ordering::Relaxed);
        Ok(status)
    }
}

impl Handle<SystemPresence> for Core {
    async fn handle(&self, _caller: &Caller, _params: NoParams) -> Result<Vec<Presence>, Fault> {
        Ok(self.presence())
    }
}

impl Handle<EventsSince> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: EventsSinceParams,
    ) -> Result<EventsPage, Fault> {
        let limit = page(params.limit, 200, PAGE_MAX);
        let key = params
            .session_key
            .as_deref()
            .map(|text| self.key("events.since", text))
            .transpose()?;
        let events = self
            .deps
            .store
            .events_since(self.owner(), params.cursor, limit)
            .await?;
        let has_more = u32::try_from(events.len()).unwrap_or(u32::MAX) >= limit;
        let cursor = events.last().map_or(params.cursor, |event| event.cursor);
        let wanted = events
            .into_iter()
            .filter(|event| key.is_none() || event.session == key);
        Ok(EventsPage {
            events: wanted.map(WireEvent::from).collect(),
            cursor,
            has_more,
        })
    }
}

impl Handle<EventsSubscribe> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: EventsSubscribeParams,
    ) -> Result<EventsSubscribed, Fault> {
        let key = params
            .session_key
            .as_deref()
            .map(|text| self.key("events.subscribe", text))
            .transpose()?;
        let key = key.map(|key| key.as_str().to_owned());
        let Some((subscribed, cursor, catch_up)) =
            self.hub
                .want(caller.connection, key, params.all, params.cursor)
        else {
            let message =
                "events.subscribe works on a JSON-RPC WebSocket; over HTTP ask events.since";
            return Err(Fault::new(Code::InvalidRequest, message));
        };
        if let Some(catch_up) = catch_up {
            self.bring_up_to_date(caller.connection, cursor, catch_up);
        }
        Ok(EventsSubscribed { subscribed, cursor })
    }
}

/// As it was drawn from the method table, packed with gzip: the program does not carry what draws it.
const OPENRPC: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/openrpc.json.gz"));

impl Handle<RpcDiscover> for Core {
    async fn handle(&self, _caller: &Caller, _params: NoParams) -> Result<Value, Fault> {
        let broken = |error: &dyn std::error::Error| Fault::new(Code::Internal, error.to_string());
        let mut text = String::new();
        GzDecoder::new(OPENRPC)
            .read_to_string(&mut text)
            .map_err(|error| broken(&error))?;
        let mut document: Value = serde_json::from_str(&text).map_err(|error| broken(&error))?;
        document["info"]["version"] = self.deps.version.clone().into();
        Ok(document)
    }
}

impl Handle<VerifyRun> for Core {
    async fn handle(&self, _caller: &Caller, _params: KeyOnly) -> Result<VerifyFound, Fault> {
        let report = self.deps.store.verify().await?;
        Ok(VerifyFound {
            ok: report.findings.is_empty(),
            checked: report
                .checked
                .into_iter()
                .map(|(name, count)| VerifyCheck { name, count })
                .collect(),
            findings: report.findings,
        })
    }
}

impl Handle<AuditList> for Core {
    async fn handle(&self, _caller: &Caller, params: AuditListParams) -> Result<AuditPage, Fault> {
        let limit = page(params.limit, 100, PAGE_MAX);
        let records = self.deps.store.audit_records(self.owner(), limit).await?;
        let records = records.into_iter().map(|it| AuditRow {
            seq: it.seq,
            at: it.at,
            by: it.by,
            action: it.action,
            subject: it.subject,
            detail: it.detail,
            hash: it.hash,
        });
        Ok(AuditPage {
            records: records.collect(),
        })
    }
}

impl Core {
    /// Sends older events to one client, page by page as it reads them, until it hears the new ones.
    fn bring_up_to_date(&self, connection: u64, from: u64, catch_up: CatchUp) {
        let Some(core) = self.shared() else { return };
        tokio::spawn(async move {
            let mut cursor = from;
            loop {
                let Ok(events) = core
                    .deps
                    .store
                    .events_since(core.owner(), cursor, CATCH_UP_PAGE)
                    .await
                else {
                    return core.hub.give_up(connection);
                };
                let Some((outbox, texts, done)) = core.hub.hand_over(connection, catch_up, &events)
                else {
                    return;
                };
                for text in texts {
                    outbox.reply(text).await;
                }
                if done {
                    return;
                }
                cursor = events.last().map_or(cursor, |event| event.cursor);
            }
        });
    }
}
