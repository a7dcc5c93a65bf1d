//! How work enters: one way for every method that starts a run.

use std::time::Duration;

use serde_json::json;

use adjutant_domain::agent::Agent;
use adjutant_domain::code::Code;
use adjutant_domain::id::{ClientKey, MessageId, RunId, SessionKey, ThreadId};
use adjutant_domain::label::Label;
use adjutant_domain::message::{Message, Role};
use adjutant_domain::need::{NEEDS_MAX, Needs};
use adjutant_domain::run::{Limits, Run, Work};
use adjutant_domain::session::Session;
use adjutant_domain::time::Span;
use adjutant_ports::failpoint::{self, Point};
use adjutant_ports::store::{Accepted, Intake, Rate, SessionPatch, Take, text_parts};
use adjutant_protocol::Fault;
use adjutant_vault::digest;

use crate::core::Core;
use crate::methods::expired;
use crate::wire;

/// Bytes of one message.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// A wish to start a run.
pub(crate) struct Wish<'a> {
    pub(crate) method: &'static str,
    pub(crate) key: &'a SessionKey,
    pub(crate) client_key: &'a ClientKey,
    /// The user's words; none for a plain tool call.
    pub(crate) message: Option<&'a str>,
    pub(crate) work: Work,
    pub(crate) model: Option<&'a str>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) thread: Option<ThreadId>,
    pub(crate) label: Option<&'a str>,
    /// What a worker must offer, besides what the agent needs.
    pub(crate) needs: Option<&'a Needs>,
    /// Whose words the message is.
    pub(crate) said_by: Label,
}

/// Work that was accepted.
pub(crate) struct Admitted {
    /// What became of it.
    pub(crate) accepted: Accepted,
    /// What no worker offers that is heard of; the run waits for one that does.
    pub(crate) waits_for: Option<Needs>,
}

impl Core {
    /// Accepts work: durable when this returns.
    pub(crate) async fn accept(&self, wish: Wish<'_>) -> Result<Admitted, Fault> {
        if let Some(text) = wish.message {
            check_message(wish.method, text)?;
        }
        self.check_model(wish.method, wish.model)?;
        let digest = digest_of(&wish);
        let agent = self.agent(&wish.key.agent()).await?;
        let session = self.seat(&wish).await?;
        let now = self.now();
        let mint = || self.deps.entropy.next_u128();
        let run = Run {
            id: RunId::mint(now, mint()),
            owner: self.owner().clone(),
            agent: agent.name.clone(),
            session: session.id,
            session_key: session.key.clone(),
            thread: session.thread,
            client_key: Some(wish.client_key.clone()),
            priority: 0,
            needs: wish
                .needs
                .map_or_else(|| agent.needs.clone(), |more| agent.needs.and(more)),
        };
        check_needs(wish.method, &run.needs)?;
        let needs = run.needs.clone();
        let message = wish.message.map(|text| Message {
            id: MessageId::mint(now, mint()),
            thread: session.thread,
            seq: None,
            role: Role::User,
            parts: text_parts(text),
            run: Some(run.id),
            label: wish.said_by.clone(),
            at: now,
        });
        let limits = self.limits(&agent, wish.timeout);
        let intake = Intake {
            run,
            message,
            limits,
            work: wish.work,
            method: wish.method,
            digest,
        };
        let accepted = self.deps.store.accept(intake).await?;
        failpoint::reach(Point::AfterAccept);
        let waits_for = match accepted {
            // The message is accepted, whether or not this can be told.
            Accepted::New { .. } => self.offered_by_none(&needs).await.unwrap_or_default(),
            Accepted::Repeat { .. } | Accepted::Steered { .. } => None,
        };
        Ok(Admitted {
            accepted,
            waits_for,
        })
    }

    /// Takes one request from the owner's bucket.
    pub(crate) async fn take_rate(&self) -> Result<(), Fault> {
        let rate = Rate {
            burst: self.config.rate.burst,
            per_minute: self.config.rate.requests_per_minute,
        };
        let bucket = format!("requests:{}", self.owner());
        match self.deps.store.take(&bucket, 1, rate).await? {
            Take::Taken => Ok(()),
            Take::Wait(span) => {
                let message = format!("more than {} requests per minute", rate.per_minute);
                Err(Fault::new(Code::RateLimited, message).with_retry_after(span))
            }
        }
    }

    fn limits(&self, agent: &Agent, timeout: Option<Duration>) -> Limits {
        let mut limits = (self.deps.limits)(agent);
        if let Some(timeout) = timeout.filter(|span| !span.is_zero()) {
            limits.agent.timeout = limits.agent.timeout.min(Span::from(timeout));
        }
        limits
    }

    pub(super) fn check_model(&self, method: &str, model: Option<&str>) -> Result<(), Fault> {
        match model {
            None => Ok(()),
            Some(route) => self
                .deps
                .models
                .route(route)
                .map(drop)
                .map_err(|reason| Fault::params(method, reason)),
        }
    }

    /// The session, made when there is none, with the settings that came along.
    async fn seat(&self, wish: &Wish<'_>) -> Result<Session, Fault> {
        let (store, owner) = (&self.deps.store, self.owner());
        let session = match store.session(owner, wish.key).await? {
            Some(session) => session,
            None => {
                let expiry = self.config.session_expiry.map(Span::duration);
                store
                    .open_session(owner, wish.key, wish.thread, expiry)
                    .await?
            }
        };
        if wire::is_expired(&session, self.now()) {
            return Err(expired(wish.key));
        }
        if let Some(thread) = wish.thread.filter(|thread| *thread != session.thread) {
            let message = format!(
                "the session {} looks at another thread than {thread}",
                wish.key
            );
            return Err(Fault::new(Code::Conflict, message));
        }
        let model = wish
            .model
            .filter(|model| session.model.as_deref() != Some(model));
        let label = wish
            .label
            .filter(|label| session.label.as_deref() != Some(label));
        if model.is_none() && label.is_none() {
            return Ok(session);
        }
        let patch = SessionPatch {
            model: model.map(|model| Some(model.to_owned())),
            label: label.map(|label| Some(label.to_owned())),
            ..SessionPatch::default()
        };
        Ok(store.patch_session(owner, wish.key, patch).await?)
    }
}

fn check_message(method: &str, text: &str) -> Result<(), Fault> {
    if text.trim().is_empty() {
        return Err(Fault::params(method, "message is empty"));
    }
    if text.len() > MESSAGE_BYTES_MAX {
        let message = format!(
            "the message has {} bytes; at most {MESSAGE_BYTES_MAX}",
            text.len()
        );
        return Err(Fault::new(Code::TooLarge, message)
            .with_hint("put long texts into a file of the workspace"));
    }
    Ok(())
}

pub(super) fn check_needs(method: &str, needs: &Needs) -> Result<(), Fault> {
    if NEEDS_MAX < needs.len() {
        let reason = format!("more than {NEEDS_MAX} things are needed of a worker");
        return Err(Fault::params(method, reason));
    }
    Ok(())
}

fn digest_of(wish: &Wish<'_>) -> String {
    let what = match &wish.work {
        Work::Chat => json!(["chat", wish.message]),
        Work::Call { name, args, .. } => json!(["call", name, args]),
        Work::Reflect { of } => json!(["reflect", of]),
    };
    let mut all =
        json!({ "key": wish.key, "what": what, "model": wish.model, "thread": wish.thread });
    // Left out when there are none: keys that were used before there were needs stay what they were.
    if let Some(needs) = wish.needs.filter(|needs| !needs.is_empty()) {
        all["needs"] = json!(needs);
    }
    all.sort_all_objects();
    digest(all.to_string().as_bytes())
}
