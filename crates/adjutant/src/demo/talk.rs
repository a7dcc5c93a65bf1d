//! A session with the throwaway gateway: words in, events out, questions to whoever watches.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use adjutant_cli::{Exit, Failure, Stage};
use adjutant_client::{Client, Notice, Notices};
use adjutant_domain::event::EventKind;
use adjutant_domain::id::{ApprovalId, ClientKey};
use adjutant_domain::need::Needs;
use adjutant_protocol::methods::agent::{AgentWait, AgentWaitParams, RunPhase, WaitStatus};
use adjutant_protocol::methods::approvals::{
    ApprovalIdParams, ApprovalsGet, ApprovalsResolve, ApprovalsResolveParams, Decision,
};
use adjutant_protocol::methods::chat::{ChatSend, ChatSendParams};

use super::starts;

/// Longest silence of the gateway, and longest wait for a run that goes on by itself.
const SILENCE_MAX: Duration = Duration::from_secs(15);
const RUN_MAX: Duration = Duration::from_secs(25);

/// Makes names of messages that differ within this process.
static MESSAGES: AtomicU64 = AtomicU64::new(1);

/// One session.
pub(super) struct Session {
    pub(super) client: Client,
    notices: Notices,
    key: &'static str,
    /// A question that was seen and not yet answered.
    open: Option<ApprovalId>,
}

/// How far a run is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// To its end; questions are put to the stage.
    Over,
    /// To its first question, which stays open.
    Asked,
    /// To the start of the call whose arguments hold these words; questions are put to the stage.
    Started(&'static str),
}

/// What was seen of a run.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// The answer.
    pub(super) text: String,
    /// `done`, `failed`, `cancelled`.
    pub(super) state: String,
    /// Whether it is over.
    pub(super) over: bool,
    /// Whether it waits for an answer.
    pub(super) waits: bool,
    /// What each call came to.
    pub(super) outcomes: Vec<String>,
    /// Questions that were put.
    pub(super) questions: u32,
    /// Questions that were answered with yes.
    pub(super) allowed: u32,
}

impl Session {
    pub(super) async fn open(client: Client, key: &'static str) -> Result<Self, Failure> {
        let notices = client.events().await?;
        Ok(Self {
            client,
            notices,
            key,
            open: None,
        })
    }

    /// Hands in a message. The name of its run.
    pub(super) async fn send(&self, words: &str) -> Result<String, Failure> {
        let n = MESSAGES.fetch_add(1, Ordering::Relaxed);
        let name = format!("demo-{}-{n}", std::process::id());
        let wrong =
            |error: &dyn std::fmt::Display| Failure::new(Exit::Failed, "DEMO", error.to_string());
        let params = ChatSendParams {
            session_key: self.key.to_owned(),
            message: words.to_owned(),
            idempotency_key: ClientKey::parse(name).map_err(|error| wrong(&error))?,
            model: None,
            thinking: None,
            deliver: None,
            attachments: None,
            timeout_ms: None,
            needs: Needs::default(),
            thread_id: None,
            session_id: None,
            agent_id: None,
            queue_mode: None,
            expected_leaf_entry_id: None,
        };
        Ok(self.client.call::<ChatSend>(params).await?.run_id)
    }

    /// Follows the run `name`.
    pub(super) async fn follow(
        &mut self,
        name: &str,
        until: Until,
        stage: &mut dyn Stage,
    ) -> Result<Ended, Failure> {
        let mut seen = Ended::default();
        if let Some(approval) = self.open.take() {
            self.put(approval, stage, &mut seen).await?;
        }
        loop {
            let Some(kind) = self.next_of(name).await? else {
                // Pieces of a reply and other runs are none of our business.
                continue;
            };
            if let Until::Started(words) = until
                && starts(&kind, words)
            {
                return Ok(seen);
            }
            match kind {
                EventKind::ApprovalRequested { approval, .. } if until == Until::Asked => {
                    self.open = Some(approval);
                    seen.waits = true;
                    return Ok(seen);
                }
                EventKind::ApprovalRequested { approval, .. } => {
                    self.put(approval, stage, &mut seen).await?
                }
                EventKind::CallFinished { outcome, .. } => seen.outcomes.push(outcome),
                EventKind::RunFinished {
                    outcome, reason, ..
                } => {
                    let told = self.wait_over(name).await?;
                    let text = if told.text.is_empty() {
                        reason.unwrap_or_default()
                    } else {
                        told.text
                    };
                    return Ok(Ended {
                        text,
                        state: outcome,
                        over: true,
                        ..seen
                    });
                }
                _ => {}
            }
        }
    }

    /// Waits until the run is over without looking at its events.
    pub(super) async fn wait_over(&self, name: &str) -> Result<Ended, Failure> {
        let wait = u64::try_from(RUN_MAX.as_millis()).ok();
        let params = AgentWaitParams {
            run_id: name.to_owned(),
            timeout_ms: wait,
        };
        let told = self
            .client
            .call_within::<AgentWait>(RUN_MAX + SILENCE_MAX, params)
            .await?;
        if told.status == WaitStatus::Timeout {
            let message = format!("the run does not end; it is {:?}", told.state);
            return Err(Failure::new(Exit::Failed, "DEMO", message));
        }
        let state = match told.state {
            RunPhase::Done => "done",
            RunPhase::Cancelled => "cancelled",
            _ => "failed",
        };
        let text = told.text.or(told.error).unwrap_or_default();
        Ok(Ended {
            text,
            state: state.to_owned(),
            over: true,
            ..Ended::default()
        })
    }

    /// Puts the open question of the run to the stage, on a connection that did not see it come. Whether it was a yes.
    pub(super) async fn answer_open(
        &mut self,
        name: &str,
        stage: &mut dyn Stage,
    ) -> Result<bool, Failure> {
        let params = AgentWaitParams {
            run_id: name.to_owned(),
            timeout_ms: Some(0),
        };
        let told = self.client.call::<AgentWait>(params).await?;
        let Some(approval) = told.approvals.first() else {
            let message = format!(
                "the question did not outlive the kill; the run is {:?}",
                told.state
            );
            return Err(Failure::new(Exit::Failed, "DEMO", message));
        };
        let mut seen = Ended::default();
        self.put(*approval, stage, &mut seen).await?;
        Ok(seen.allowed == 1)
    }

    async fn put(
        &self,
        approval: ApprovalId,
        stage: &mut dyn Stage,
        seen: &mut Ended,
    ) -> Result<(), Failure> {
        let id = approval.to_string();
        let shown = self
            .client
            .call::<ApprovalsGet>(ApprovalIdParams { id: id.clone() })
            .await?
            .approval;
        seen.questions += 1;
        let yes = stage
            .ask(&format!("{}\nbecause: {}", shown.shown, shown.reason))
            .await;
        seen.allowed += u32::from(yes);
        let decision = if yes { Decision::Once } else { Decision::Deny };
        let params = ApprovalsResolveParams {
            id,
            decision,
            for_ms: None,
            idempotency_key: None,
        };
        self.client.call::<ApprovalsResolve>(params).await?;
        Ok(())
    }

    /// The next event of the run; none for anything else.
    async fn next_of(&mut self, name: &str) -> Result<Option<EventKind>, Failure> {
        let silent = || Failure::timeout("the gateway says nothing any more");
        let next = tokio::time::timeout(SILENCE_MAX, self.notices.next())
            .await
            .map_err(|_elapsed| silent())?;
        match next {
            None => Err(silent()),
            Some(Err(error)) => Err(error.into()),
            Some(Ok(Notice::Event(event))) if event.run_id.as_deref() == Some(name) => {
                Ok(Some(event.kind))
            }
            Some(Ok(_)) => Ok(None),
        }
    }
}
