//! `runs.*`, `trace.*`: what is being done and what was done.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use adjutant_domain::id::{CallId, ClientKey, RunId, ThreadId, WorkerId};
use adjutant_domain::money::{Micros, Usage};
use adjutant_domain::need::Needs;
use adjutant_domain::run::TrailStep;
use adjutant_domain::time::Timestamp;

use crate::method::{Order, methods};
use crate::methods::agent::RunPhase;

methods! {
    /// List runs, newest first, or only those that are not over, oldest first.
    RunsList = "runs.list" (RunsListParams) -> RunsPage
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Return a run's log, entry by entry.
    RunsLog = "runs.log" (RunsLogParams) -> RunLog
        { access: Read, kind: Read, order: Order::Free, reply: Once }

    /// Let another worker take a run's next step. What is under way ends where it began; a run that waits goes there when it
    /// goes on. Clients that follow the run notice nothing.
    RunsMove = "runs.move" (RunsMoveParams) -> RunMoved
        { access: Admin, kind: Write, order: Order::Free, reply: Once }

    /// Explain a run: each step, what policy said about each call, what each model call cost.
    TraceWhy = "trace.why" (TraceWhyParams) -> TraceExplained
        { access: Read, kind: Read, order: Order::Free, reply: Once }
}

/// Parameters of `runs.list`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunsListParams {
    /// At most this many; 1 to 1,000, by default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only those that are not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// Only those of this session; counts with `active`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
}

/// A run in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunRow {
    /// Name on the wire.
    pub run_id: String,
    /// Identifier.
    pub id: RunId,
    /// The agent.
    pub agent_id: String,
    /// The session.
    pub session_key: String,
    /// The thread.
    pub thread_id: ThreadId,
    /// Where it stands.
    pub state: RunPhase,
    /// Why it waits or how it ended badly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What a worker must offer to take it.
    #[serde(default, skip_serializing_if = "Needs::is_empty")]
    pub needs: Needs,
    /// The worker that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// First claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// End.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// Result of `runs.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunsPage {
    /// The runs.
    pub runs: Vec<RunRow>,
}

/// Parameters of `runs.move`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunsMoveParams {
    /// Name or identifier.
    pub run_id: String,
    /// The worker: its identifier, the beginning or the end of it (at least six characters), or the name of its host where
    /// that has only one.
    pub to: String,
    /// Makes a repeat harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<ClientKey>,
}

/// Result of `runs.move`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunMoved {
    /// The run as it stands now; `worker` still tells who has it.
    pub run: RunRow,
    /// The worker that is to have the next step.
    pub to: WorkerId,
    /// Whether it has the run already.
    pub there: bool,
}

/// Parameters of `runs.log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunsLogParams {
    /// Name or identifier.
    pub run_id: String,
    /// From this position on; 1 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
}

/// Result of `runs.log`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunLog {
    /// The run.
    pub run: RunRow,
    /// Its entries.
    pub entries: Vec<LogEntry>,
    /// Where to go on when the log was too long for one answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// One fact of a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    /// Place, from 1.
    pub seq: u64,
    /// When it was written.
    pub at: Timestamp,
    /// The fact, with its kind in `type`.
    pub entry: Value,
}

/// Parameters of `trace.why`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TraceWhyParams {
    /// Name or identifier.
    pub run_id: String,
}

/// One step of a run, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum TraceStep {
    /// A model answered.
    #[serde(rename_all = "camelCase")]
    Model {
        /// When.
        at: Timestamp,
        /// `provider/model`.
        route: String,
        /// Token counts.
        usage: Usage,
        /// Cost; null when no price is known.
        cost_micros: Option<Micros>,
        /// How many calls it asked for.
        calls: u32,
    },
    /// A model did not answer.
    #[serde(rename_all = "camelCase")]
    ModelFailed {
        /// When.
        at: Timestamp,
        /// `provider/model`.
        route: String,
        /// What happened.
        reason: String,
        /// Whether it was tried again.
        retries: bool,
    },
    /// Policy judged a call.
    #[serde(rename_all = "camelCase")]
    Judged {
        /// When.
        at: Timestamp,
        /// The call.
        call: CallId,
        /// Tool name, when the log says it.
        tool: Option<String>,
        /// `admitted` or `held`.
        verdict: String,
        /// What each stage said.
        trail: Vec<TrailStep>,
    },
    /// A question was answered.
    #[serde(rename_all = "camelCase")]
    Answered {
        /// When.
        at: Timestamp,
        /// The call that waited.
        call: CallId,
        /// `once`, `session`, `for`, `always`, `deny`.
        answer: String,
        /// Who answered.
        by: String,
    },
    /// A call ended.
    #[serde(rename_all = "camelCase")]
    Call {
        /// When.
        at: Timestamp,
        /// The call.
        call: CallId,
        /// Tool name.
        tool: String,
        /// `done`, `failed`, `denied`, `unknown`.
        outcome: String,
        /// The beginning of the text the model got.
        preview: String,
    },
    /// The run was taken over, waited, was steered, cancelled or compacted.
    #[serde(rename_all = "camelCase")]
    Note {
        /// When.
        at: Timestamp,
        /// A sentence.
        text: String,
    },
}

/// Result of `trace.why`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TraceExplained {
    /// The run.
    pub run: RunRow,
    /// Its steps, in order.
    pub steps: Vec<TraceStep>,
    /// How many workers had it.
    pub claims: u64,
    /// Token counts.
    pub usage: Usage,
    /// Known cost.
    pub cost_micros: Micros,
    /// Whether some call had no known price.
    pub unpriced: bool,
}
