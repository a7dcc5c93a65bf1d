//! `runs.*`, `trace.*`.

use std::collections::BTreeMap;

use adjutant_domain::approval::Choice;
use adjutant_domain::code::Code;
use adjutant_domain::id::CallId;
use adjutant_domain::message::Part;
use adjutant_domain::run::{Entry, Logged, Retry, RunState, Seq, Signal, Work};
use adjutant_ports::store::Duty;
use adjutant_protocol::methods::runs::{
    LogEntry, RunLog, RunMoved, RunsList, RunsListParams, RunsLog, RunsLogParams, RunsMove,
    RunsMoveParams, RunsPage, TraceExplained, TraceStep, TraceWhy, TraceWhyParams,
};
use adjutant_protocol::{Caller, Fault, Handle};

use crate::core::Core;
use crate::methods::{PAGE_MAX, page};
use crate::wire;

/// Bytes of entries in one answer.
const LOG_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Characters of a tool's text in an explanation.
const PREVIEW_CHARS: usize = 240;

impl Handle<RunsList> for Core {
    async fn handle(&self, _caller: &Caller, params: RunsListParams) -> Result<RunsPage, Fault> {
        let limit = page(params.limit, 50, PAGE_MAX);
        let mut runs = if params.active == Some(true) {
            let session = match params.session_key.as_deref() {
                None => None,
                Some(text) => Some(self.session(&self.key("runs.list", text)?).await?.id),
            };
            self.deps.store.active_runs(self.owner(), session).await?
        } else {
            self.deps.store.recent_runs(self.owner(), limit).await?
        };
        runs.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(RunsPage {
            runs: self.run_rows(&runs).await?,
        })
    }
}

impl Handle<RunsLog> for Core {
    async fn handle(&self, _caller: &Caller, params: RunsLogParams) -> Result<RunLog, Fault> {
        let info = self.run_info(&params.run_id).await?;
        let from = Seq(params.from.unwrap_or(1));
        let log = self.deps.store.log(self.owner(), info.run.id, from).await?;
        let (mut entries, mut bytes, mut next) = (Vec::new(), 0, None);
        for logged in log {
            let entry = serde_json::to_value(&logged.entry)
                .map_err(|e| Fault::new(Code::Internal, e.to_string()))?;
            bytes += entry.to_string().len();
            if bytes > LOG_BYTES_MAX && !entries.is_empty() {
                next = Some(logged.seq.0);
                break;
            }
            entries.push(LogEntry {
                seq: logged.seq.0,
                at: logged.at,
                entry,
            });
        }
        Ok(RunLog {
            run: wire::run_row(&info),
            entries,
            next,
        })
    }
}

impl Handle<RunsMove> for Core {
    async fn handle(&self, caller: &Caller, params: RunsMoveParams) -> Result<RunMoved, Fault> {
        let info = self.run_info(&params.run_id).await?;
        let worker = self.worker_named(&params.to).await?;
        let to = worker.info.id;
        if worker.duty() == Duty::Draining {
            let message = format!("worker {to} takes no more runs: it was asked to drain");
            return Err(Fault::new(Code::Conflict, message));
        }
        if !info.run.needs.met_by(&worker.info.offers) {
            let message = format!(
                "the run needs a worker that offers {}, and worker {to} offers {}",
                info.run.needs, worker.info.offers
            );
            return Err(Fault::new(Code::Conflict, message));
        }
        let there = info.worker == Some(to);
        if !there {
            let run = info.run.id;
            let detail = serde_json::json!({ "to": to });
            self.audit(caller, "run.move", &run.to_string(), detail)
                .await?;
            let moved = Signal::Move {
                to,
                by: caller.name(),
            };
            if !self.deps.store.signal(self.owner(), run, moved).await? {
                let message = "the run is over: there is no next step to take";
                return Err(Fault::new(Code::Conflict, message));
            }
        }
        Ok(RunMoved {
            run: wire::run_row(&info),
            to,
            there,
        })
    }
}

impl Handle<TraceWhy> for Core {
    async fn handle(
        &self,
        _caller: &Caller,
        params: TraceWhyParams,
    ) -> Result<TraceExplained, Fault> {
        let info = self.run_info(&params.run_id).await?;
        let log = self
            .deps
            .store
            .log(self.owner(), info.run.id, Seq(1))
            .await?;
        let state = RunState::replay(&log);
        let mut names = BTreeMap::new();
        let steps = log
            .iter()
            .filter_map(|logged| step(logged, &mut names))
            .collect();
        Ok(TraceExplained {
            run: wire::run_row(&info),
            steps,
            claims: state.claims,
            usage: state.usage,
            cost_micros: state.spent,
            unpriced: state.unpriced,
        })
    }
}

/// One entry as a step for people; `names` collects which call is of which tool.
fn step(logged: &Logged, names: &mut BTreeMap<CallId, String>) -> Option<TraceStep> {
    let at = logged.at;
    let note = |text: String| Some(TraceStep::Note { at, text });
    match &logged.entry {
        Entry::Accepted { work, .. } => {
            if let Work::Call { call, name, .. } = work {
                names.insert(*call, name.clone());
            }
            note("accepted".to_owned())
        }
        Entry::Claimed { worker, fence, .. } => {
            note(format!("claimed by {worker}, claim {}", fence.0))
        }
        Entry::ModelAsked { .. } | Entry::CallStarted { .. } => None,
        Entry::ModelReplied {
            parts,
            route,
            usage,
            cost,
            ..
        } => {
            let mut calls = 0;
            for part in parts {
                if let Part::ToolCall { call, name, .. } = part {
                    names.insert(*call, name.clone());
                    calls += 1;
                }
            }
            Some(TraceStep::Model {
                at,
                route: route.clone(),
                usage: *usage,
                cost_micros: cost.micros(),
                calls,
            })
        }
        Entry::ModelFailed {
            route,
            fault,
            retry,
            ..
        } => Some(TraceStep::ModelFailed {
            at,
            route: route.clone(),
            reason: fault.sentence(),
            retries: !matches!(retry, Retry::GiveUp),
        }),
        Entry::CallAdmitted { call, trail } => Some(TraceStep::Judged {
            at,
            call: *call,
            tool: names.get(call).cloned(),
            verdict: "admitted".to_owned(),
            trail: trail.clone(),
        }),
        Entry::CallHeld { approval, trail } => Some(TraceStep::Judged {
            at,
            call: approval.call,
            tool: Some(approval.tool.clone()),
            verdict: "held".to_owned(),
            trail: trail.clone(),
        }),
        Entry::CallFinished {
            call,
            name,
            outcome,
            ..
        } => Some(TraceStep::Call {
            at,
            call: *call,
            tool: name.clone(),
            outcome: outcome.word().to_owned(),
            preview: wire::beginning(outcome.text(), PREVIEW_CHARS),
        }),
        Entry::ApprovalResolved {
            call, choice, by, ..
        } => Some(TraceStep::Answered {
            at,
            call: *call,
            answer: answer(choice).to_owned(),
            by: by.clone(),
        }),
        Entry::Steered { .. } => note("the owner said more".to_owned()),
        Entry::CancelAsked { by } => note(format!("{by} asked to stop")),
        Entry::Compacted { through, .. } => {
            note(format!("messages up to {through} were summed up"))
        }
        Entry::Parked { until } => note(format!("waits: {}", until.word())),
        Entry::Finished { outcome, .. } => note(format!("ended: {}", outcome.word())),
    }
}

fn answer(choice: &Choice) -> &'static str {
    match choice {
        Choice::Once => "once",
        Choice::Session => "session",
        Choice::For { .. } => "for",
        Choice::Always => "always",
        Choice::Deny => "deny",
    }
}
