//! The loop around [`next`]: one claim, from replay to release.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};

use adjutant_domain::agent::Agent;
use adjutant_domain::approval::Approval;
use adjutant_domain::id::{ApprovalId, CallId, MessageId, WorkerId};
use adjutant_domain::label::{Label, Origin, Trust};
use adjutant_domain::message::{Message, Part, Role};
use adjutant_domain::need::Needs;
use adjutant_domain::run::{
    Entry, FailKind, Fence, Logged, ModelPhase, Outcome, Phase, Row, Run, RunState, Seq, Signal,
    Wake, Work, project,
};
use adjutant_domain::time::Timestamp;
use adjutant_domain::tool::ToolOutcome;
use adjutant_policy::Permit;
use adjutant_ports::failpoint::{self, Point};
use adjutant_ports::files::{FileScope, Files};
use adjutant_ports::store::{Claim, HistoryAsk, StoreError};

use crate::bell::Bell;
use crate::config::Config;
use crate::context::{Prefixes, Tails};
use crate::deps::Deps;
use crate::next::{Next, next};
use crate::{call, model, reflect};

/// Why a claim was let go before the run's end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Halt {
    /// Another worker has it.
    #[error("the claim was lost to another worker")]
    Fenced,
    /// The store failed; the lease will lapse and somebody takes over.
    #[error("the store failed")]
    Store(#[source] StoreError),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Fenced => Self::Fenced,
            other => Self::Store(other),
        }
    }
}

/// What one claim works with.
pub(crate) struct Cx {
    pub(crate) deps: Deps,
    pub(crate) config: Arc<Config>,
    pub(crate) run: Run,
    pub(crate) agent: Arc<Agent>,
    pub(crate) workspace: PathBuf,
    pub(crate) allowed_dirs: Vec<PathBuf>,
    pub(crate) files: Option<Arc<dyn Files>>,
    pub(crate) bell: Arc<Bell>,
    /// The conversation as the model will see it; loaded once a claim, then kept up to date from our own entries.
    pub(crate) history: Option<Vec<Arc<Message>>>,
    /// The least trusted text that this run has read.
    pub(crate) lowest_trust: Trust,
    /// Whether compaction was tried under this claim.
    pub(crate) compaction_tried: bool,
    /// What was recalled for this run's input, rendered once.
    pub(crate) recalled: Option<String>,
    /// The session's own choice of model, looked up once a claim.
    pub(crate) session_model: Option<String>,
    /// The newest messages as they were when the claim began, until they are needed.
    tail: Option<Vec<Arc<Message>>>,
    /// Whether the run to look back at was read under this claim.
    pub(crate) reflected: bool,
    /// Permits that were just given and not yet used.
    pub(crate) permits: BTreeMap<CallId, Permit>,
    /// Questions of this run, as they were asked.
    pub(crate) questions: BTreeMap<ApprovalId, Box<Approval>>,
    /// Prompt beginnings, shared between claims.
    pub(crate) prefixes: Arc<Prefixes>,
    /// Newest messages, shared between claims.
    tails: Arc<Tails>,
    pub(crate) fence: Fence,
    /// Who we are.
    worker: WorkerId,
    /// When this claim began, on both clocks.
    claimed: (Timestamp, Duration),
    /// Entries that are decided but not yet written. They are always written before the next effect.
    pub(crate) pending: Vec<Entry>,
    /// Words that came while the model was writing.
    late: Vec<Signal>,
    /// The worker that is to have the next step.
    moves_to: Option<WorkerId>,
}

impl Cx {
    /// The moment.
    pub(crate) fn now(&self) -> Timestamp {
        self.deps.clock.now()
    }

    /// The moment by which limits are judged: the wall clock of the claim and the time that really passed since, so that a
    /// clock that jumps ends no run (R37).
    pub(crate) fn moment(&self) -> Timestamp {
        let passed = self.deps.clock.monotonic().saturating_sub(self.claimed.1);
        self.claimed.0.plus(passed)
    }

    /// Fresh entropy for an identifier.
    pub(crate) fn entropy(&self) -> u128 {
        self.deps.entropy.next_u128()
    }

    /// A fresh message identifier.
    pub(crate) fn message_id(&self) -> MessageId {
        MessageId::mint(self.now(), self.entropy())
    }

    /// Decides `entry`: the state changes now, the log before the next effect.
    ///
    /// This is what makes a result and the next intent one commit. Nothing outside may happen between a note and a flush.
    pub(crate) fn note(&mut self, state: &mut RunState, entry: Entry) {
        let logged = Logged {
            seq: Seq(state.seq.0 + 1),
            at: self.moment(),
            entry,
        };
        self.learn(&logged);
        state.apply(&logged);
        self.pending.push(logged.entry);
    }

    /// Keeps the conversation in step with our own entries.
    pub(crate) fn learn(&mut self, logged: &Logged) {
        if let Entry::CallHeld { approval, .. } = &logged.entry {
            self.questions.insert(approval.id, approval.clone());
        }
        for row in project(&self.run, logged) {
            match row {
                Row::Message(message) => {
                    if message.label.trust < self.lowest_trust {
                        self.lowest_trust = message.label.trust;
                    }
                    if let Some(history) = &mut self.history {
                        history.push(Arc::new(message));
                    }
                }
                // The next prompt is built from what is left.
                Row::Hide { .. } => self.history = None,
                _ => {}
            }
        }
    }

    /// Takes a signal into the log.
    pub(crate) fn hear(&mut self, state: &mut RunState, signal: Signal) {
        match signal {
            Signal::Cancel { by } => {
                if state.cancel.is_none() {
                    self.note(state, Entry::CancelAsked { by });
                }
            }
            Signal::Answer {
                approval,
                choice,
                by,
            } => {
                // An answer to a question that is not open any more changes nothing (R12).
                if let Some(call) = state.call_held_by(approval).map(|c| c.call.id) {
                    self.note(
                        state,
                        Entry::ApprovalResolved {
                            approval,
                            call,
                            choice,
                            by,
                        },
                    );
                }
            }
            // Words that come while the model writes belong behind its reply, where the next question shows them. They
            // stay with the store until they are in the log.
            late @ Signal::Steer { .. } if matches!(state.model, ModelPhase::Asked { .. }) => {
                self.late.push(late);
            }
            Signal::Steer { message, text } => self.steer(state, message, text),
            Signal::Move { to, .. } => self.moves_to = Some(to).filter(|to| *to != self.worker),
        }
    }

    /// Takes up what had to wait for the model's reply.
    pub(crate) fn hear_late(&mut self, state: &mut RunState) {
        if !matches!(state.model, ModelPhase::Asked { .. }) {
            for signal in std::mem::take(&mut self.late) {
                self.hear(state, signal);
            }
        }
    }

    fn steer(&mut self, state: &mut RunState, message: MessageId, text: String) {
        let at = self.now();
        if let Some(history) = &mut self.history {
            history.retain(|m| m.id != message);
            history.push(Arc::new(Message {
                id: message,
                thread: self.run.thread,
                seq: None,
                role: Role::User,
                parts: vec![Part::Text { text: text.clone() }],
                run: Some(self.run.id),
                label: Label::of(Origin::Owner),
                at,
            }));
        }
        // Words that arrive while the agent waits for the owner are the answer it waits for.
        if let Some(call) = call::waits_for_owner(self, state) {
            let label = Label::of(Origin::Owner);
            let outcome = ToolOutcome::Done {
                text: text.clone(),
                label,
            };
            self.note(state, Entry::Steered { message, text });
            call::finish(self, state, call, outcome);
            return;
        }
        self.note(state, Entry::Steered { message, text });
    }

    /// Waits for `effect` while saying that we live and listening for a stop.
    ///
    /// `Ok(None)`: somebody asked to stop; the effect was dropped.
    pub(crate) async fn attend<T>(
        &mut self,
        state: &mut RunState,
        effect: impl Future<Output = T>,
    ) -> Result<Option<T>, Halt> {
        let mut effect = pin!(effect);
        let bell = Arc::clone(&self.bell);
        loop {
            let beat = self.deps.clock.sleep(self.config.heartbeat.duration());
            let heard = pin!(bell.heard());
            match select(effect.as_mut(), select(heard, beat)).await {
                Either::Left((value, _)) => return Ok(Some(value)),
                Either::Right((_, _)) => {
                    self.extend(state).await?;
                    if state.cancel.is_some() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    async fn extend(&mut self, state: &mut RunState) -> Result<(), Halt> {
        let lease = self.config.lease.duration();
        let extended = self.deps.store.extend(self.run.id, self.fence, lease).await;
        let signals = match extended {
            Err(StoreError::Fenced) => return Err(Halt::Fenced),
            // The fence guards the log, not the lease: what is under way goes on, and its result is written if it can be.
            Err(error) => {
                tracing::warn!(run = %self.run.id, %error, "could not say that the run lives");
                Vec::new()
            }
            Ok(signals) => signals,
        };
        for signal in signals {
            self.hear(state, signal);
        }
        Ok(())
    }

    /// The conversation, loaded when it is not at hand.
    pub(crate) async fn history(&mut self) -> Result<&[Arc<Message>], Halt> {
        if self.history.is_none() {
            let limit = self.config.history_messages;
            let store = Arc::clone(&self.deps.store);
            let mut messages = match self.tail.take() {
                Some(tail) => tail,
                None => {
                    let now = self.deps.clock.monotonic();
                    self.tails.read(&*store, &self.run, limit, now).await?
                }
            };
            // What this run itself has said must be there in full, however long it is.
            let own = messages
                .iter()
                .filter(|m| m.run == Some(self.run.id))
                .count();
            if own == messages.len() && messages.len() >= limit as usize {
                let wanted = HistoryAsk {
                    thread: self.run.thread,
                    run: self.run.id,
                    from: 0,
                    limit: limit.saturating_mul(10),
                };
                let all = store.history(&self.run.owner, &wanted).await?.messages;
                messages = all
                    .into_iter()
                    .filter(|m| m.run == Some(self.run.id))
                    .map(Arc::new)
                    .collect();
            }
            for message in &messages {
                self.lowest_trust = self.lowest_trust.min(message.label.trust);
            }
            // What is decided but not yet written belongs to it, too.
            for entry in &self.pending {
                let logged = Logged {
                    seq: Seq(0),
                    at: self.now(),
                    entry: entry.clone(),
                };
                for row in project(&self.run, &logged) {
                    if let Row::Message(message) = row {
                        messages.push(Arc::new(message));
                    }
                }
            }
            self.history = Some(messages);
        }
        Ok(self.history.as_deref().unwrap_or_default())
    }

    /// How long one tool call may take: the tool's ceiling, or what is left of the run's time.
    pub(crate) fn tool_deadline(&self, state: &RunState) -> Duration {
        let left = state
            .limits
            .agent
            .timeout
            .duration()
            .saturating_sub(state.active_time(self.moment()));
        self.config
            .tool_timeout
            .duration()
            .min(left.max(Duration::from_secs(1)))
    }

    async fn finish(&mut self, state: &mut RunState, outcome: Outcome) -> Result<(), Halt> {
        // What was begun and never answered is said, not dropped (R4).
        let begun: Vec<CallId> = state
            .calls
            .iter()
            .filter(|c| c.phase != Phase::Finished && 0 < c.starts)
            .map(|c| c.call.id)
            .collect();
        for id in begun {
            let text = "the run ended before this call had a result".to_owned();
            call::finish(self, state, id, ToolOutcome::Unknown { text });
        }
        let entry = Entry::Finished {
            outcome,
            usage: state.usage,
            cost: state.cost(),
        };
        self.note(state, entry);
        failpoint::reach(Point::BeforeFinish);
        self.flush(state).await?;
        tracing::info!(run = %self.run.id, outcome = state.outcome.as_ref().map(Outcome::word), "run finished");
        reflect::after(self, state).await;
        Ok(())
    }

    async fn park(&mut self, state: &mut RunState, until: Wake) -> Result<(), Halt> {
        let until = match until {
            Wake::Approval { until } if call::waits_for_owner(self, state).is_some() => {
                Wake::Owner { until }
            }
            other => other,
        };
        self.note(state, Entry::Parked { until });
        self.flush(state).await
    }
}

/// What the claims of a worker share: read once, used by all.
#[derive(Clone, Default)]
pub(crate) struct Caches {
    /// Beginnings of prompts.
    prefixes: Arc<Prefixes>,
    /// Newest messages of conversations.
    tails: Arc<Tails>,
}

impl Caches {
    /// Lets go what was not used for long.
    pub(crate) fn tidy(&self, now: Duration) {
        self.tails.tidy(now);
    }
}

/// Drives one claim until the run rests or ends.
#[tracing::instrument(name = "run", skip_all, fields(run = %claim.run.id, fence = claim.fence.0))]
pub(crate) async fn drive(
    deps: Deps,
    config: Arc<Config>,
    caches: Caches,
    bell: Arc<Bell>,
    worker: WorkerId,
    claim: Claim,
) -> Result<(), Halt> {
    let Claim {
        run,
        fence,
        log,
        signals,
    } = claim;
    failpoint::reach(Point::AfterClaim);
    let mut state = RunState::replay(&log);
    let claimed = (deps.clock.now(), deps.clock.monotonic());
    state.judge_time_from(claimed.0);
    // What every claim needs, asked for at once: the reads wait for each other's threads, not for each other.
    let (agent, session, tail) = futures::join!(
        deps.store.agent(&run.owner, &run.agent),
        deps.store.session_by_id(&run.owner, run.session),
        caches
            .tails
            .read(&*deps.store, &run, config.history_messages, claimed.1),
    );
    let agent = agent?;
    let session_model = session?.and_then(|s| s.model);
    let known = agent.is_some();
    let agent = agent.unwrap_or_else(|| Arc::new(nobody(&run)));
    let workspace = PathBuf::from(&agent.workspace);
    let allowed_dirs: Vec<PathBuf> = agent.allowed_dirs.iter().map(PathBuf::from).collect();
    let mut cx = Cx {
        config,
        fence,
        worker,
        claimed,
        bell,
        workspace,
        allowed_dirs,
        files: None,
        history: None,
        lowest_trust: Trust::Owner,
        compaction_tried: false,
        recalled: None,
        session_model,
        tail: Some(tail?),
        reflected: false,
        permits: BTreeMap::new(),
        questions: BTreeMap::new(),
        prefixes: caches.prefixes,
        tails: caches.tails,
        pending: Vec::new(),
        late: Vec::new(),
        moves_to: None,
        agent,
        run,
        deps,
    };
    for logged in &log {
        cx.learn(logged);
    }
    for signal in signals {
        cx.hear(&mut state, signal);
    }
    if !known {
        let reason = format!("agent `{}` does not exist any more", cx.run.agent);
        return cx
            .finish(
                &mut state,
                Outcome::Failed {
                    kind: FailKind::Internal,
                    reason,
                },
            )
            .await;
    }
    steps(&mut cx, &mut state).await
}

async fn steps(cx: &mut Cx, state: &mut RunState) -> Result<(), Halt> {
    loop {
        cx.hear_late(state);
        let step = next(state, cx.moment());
        if let Some(until) = cx.handover(&step) {
            return cx.park(state, until).await;
        }
        match step {
            Next::Settle(calls) => call::settle_all(cx, state, &calls).await?,
            Next::Admit(calls) => call::admit(cx, state, &calls).await?,
            Next::Run(calls) => call::run(cx, state, &calls).await?,
            Next::Recover => model::recover(cx, state),
            Next::AskModel => {
                if let Some(outcome) = model::ask(cx, state).await? {
                    return cx.finish(state, outcome).await;
                }
                if state.parked.is_some() {
                    return Ok(());
                }
            }
            Next::Wait(until) => return cx.park(state, until).await,
            Next::Finish(_) => {
                // Words that arrived while the answer was being written deserve an answer, not an end. The bell says
                // whether there are any; then the last reply and the end are one commit.
                if cx.bell.rang() {
                    cx.extend(state).await?;
                    cx.hear_late(state);
                }
                if let Next::Finish(latest) = next(state, cx.moment()) {
                    return cx.finish(state, latest).await;
                }
            }
            Next::Rest => return cx.flush(state).await,
        }
    }
}

/// How long a run is kept for the worker that it was given to.
const KEPT_FOR: Duration = Duration::from_secs(10);

impl Cx {
    /// Whether `step` is for another worker to take. What ends or rests here takes nobody else.
    fn handover(&self, step: &Next) -> Option<Wake> {
        if matches!(step, Next::Wait(_) | Next::Finish(_) | Next::Rest) {
            return None;
        }
        match self.moves_to {
            Some(to) => Some(Wake::Handover {
                to: Some(to),
                until: self.now().plus(KEPT_FOR),
            }),
            None => self.bell.is_leaving().then(|| Wake::Handover {
                to: None,
                until: self.now(),
            }),
        }
    }

    /// Parks from inside a step.
    pub(crate) async fn rest_until(
        &mut self,
        state: &mut RunState,
        at: Timestamp,
    ) -> Result<(), Halt> {
        self.park(state, Wake::Retry { at }).await
    }

    /// The agent's files, opened once a claim.
    pub(crate) fn open_files(&mut self) -> Result<Arc<dyn Files>, String> {
        if let Some(files) = &self.files {
            return Ok(Arc::clone(files));
        }
        let scope = FileScope {
            workspace: self.workspace.clone(),
            allowed_dirs: self.allowed_dirs.clone(),
            denied: vec![self.deps.places.state_dir.clone()],
        };
        let files = (self.deps.files)(&scope).map_err(|e| e.to_string())?;
        self.files = Some(Arc::clone(&files));
        Ok(files)
    }

    /// Whether a person asked for this call themselves.
    pub(crate) fn by_owner(&self, state: &RunState, call: CallId) -> bool {
        matches!(&state.work, Work::Call { call: asked, .. } if *asked == call)
    }
}

/// What stands in for an agent that was deleted while its run was queued: it may do nothing.
fn nobody(run: &Run) -> Agent {
    Agent {
        owner: run.owner.clone(),
        name: run.agent.clone(),
        display_name: String::new(),
        description: String::new(),
        provider: None,
        model: None,
        fallbacks: Vec::new(),
        trust_level: adjutant_domain::agent::TrustLevel::L1,
        system_prompt: String::new(),
        tools: Some(Vec::new()),
        allowed_dirs: Vec::new(),
        workspace: String::new(),
        approval_policy: adjutant_domain::agent::ApprovalPolicy::Block,
        vault_grants: Vec::new(),
        needs: Needs::default(),
        budget: adjutant_domain::agent::AgentBudget::default(),
        limits: adjutant_domain::agent::AgentLimits::default(),
        reflect: false,
        revision: 0,
        updated_at: Timestamp::default(),
    }
}
