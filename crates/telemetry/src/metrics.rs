//! Counters and histograms, derived from durable events in one place, so that no code counts by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::metrics::{Label, counter, gauge, histogram, with_local_recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use adjutant_domain::approval::Choice;
use adjutant_domain::event::{Event, EventKind};
use adjutant_domain::id::{CallId, RunId};
use adjutant_domain::money::{Cost, Usage};
use adjutant_domain::time::Timestamp;

/// Distinct values of one label of one family; further ones become `other`.
const LABEL_VALUES_MAX: usize = 200;

/// Runs and calls whose start is remembered until their end. Older ones are forgotten and lose their duration.
const OPEN_MAX: usize = 10_000;

/// Events between two times the histograms are drained, so that they stay small when nobody scrapes.
const UPKEEP_EVERY: u64 = 1_024;

/// Upper bounds of the duration buckets in seconds: 0.005·2ⁿ.
const BUCKETS: &[f64] = &[
    0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];

/// Every family: name, kind, help. One without samples is still announced.
const FAMILIES: &[(&str, &str, &str)] = &[
    (
        "adjutant_approvals_total",
        "counter",
        "Answered questions, by decision.",
    ),
    (
        "adjutant_build_info",
        "gauge",
        "Always 1; the version is a label.",
    ),
    (
        "adjutant_events_total",
        "counter",
        "Durable events, by type.",
    ),
    (
        "adjutant_llm_calls_total",
        "counter",
        "Model calls, by provider, model and outcome.",
    ),
    (
        "adjutant_llm_cost_micros_total",
        "counter",
        "Known cost in millionths of a dollar.",
    ),
    (
        "adjutant_llm_tokens_total",
        "counter",
        "Tokens, by provider, model and kind.",
    ),
    (
        "adjutant_llm_unpriced_calls_total",
        "counter",
        "Model calls without a known price.",
    ),
    (
        "adjutant_rpc_duration_seconds",
        "histogram",
        "Time of a request, by method.",
    ),
    (
        "adjutant_rpc_requests_total",
        "counter",
        "Requests, by method and outcome.",
    ),
    (
        "adjutant_run_duration_seconds",
        "histogram",
        "From the first claim of a run to its end.",
    ),
    (
        "adjutant_runs_active",
        "gauge",
        "Runs that a worker drives.",
    ),
    (
        "adjutant_runs_parked",
        "gauge",
        "Runs that rest, in the whole store.",
    ),
    (
        "adjutant_runs_parked_total",
        "counter",
        "Times a run began to wait, by reason.",
    ),
    (
        "adjutant_runs_queued",
        "gauge",
        "Runs that wait for a worker, in the whole store.",
    ),
    (
        "adjutant_runs_resumed_total",
        "counter",
        "Times a run was taken over after a crash.",
    ),
    (
        "adjutant_runs_running",
        "gauge",
        "Runs that a worker has, in the whole store.",
    ),
    (
        "adjutant_runs_total",
        "counter",
        "Finished runs, by outcome.",
    ),
    (
        "adjutant_store_up",
        "gauge",
        "Whether the store answered when it was asked for these figures.",
    ),
    (
        "adjutant_tool_calls_total",
        "counter",
        "Finished tool calls, by tool and outcome.",
    ),
    (
        "adjutant_tool_duration_seconds",
        "histogram",
        "Time of a tool call, by tool.",
    ),
    (
        "adjutant_worker_slots",
        "gauge",
        "Runs that the workers that take some can have at once.",
    ),
    (
        "adjutant_workers_alive",
        "gauge",
        "Workers that are heard of.",
    ),
];

/// The whole store, seen at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Runs that wait for a worker.
    pub queued: u64,
    /// Runs that a worker has.
    pub running: u64,
    /// Runs that rest.
    pub parked: u64,
    /// Workers that are heard of.
    pub workers: u64,
    /// Runs that those of them that take some can have at once.
    pub slots: u64,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestOutcome {
    /// With a result.
    Ok,
    /// With an error for the caller.
    Error,
}

/// Counters of this process.
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    labels: BTreeMap<(&'static str, &'static str), BTreeSet<String>>,
    runs: BTreeMap<RunId, Timestamp>,
    calls: BTreeMap<CallId, Timestamp>,
    active: BTreeSet<RunId>,
    events: u64,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Counters at zero. `version` is shown by `adjutant_build_info`.
    ///
    /// # Panics
    /// Never: the buckets are a constant with a value in it.
    #[must_use]
    pub fn new(version: &str) -> Self {
        let recorder = PrometheusBuilder::new()
            .set_buckets(BUCKETS)
            .expect("the list of buckets is a constant and not empty")
            .build_recorder();
        let handle = recorder.handle();
        let metrics = Self {
            recorder,
            handle,
            seen: Mutex::default(),
        };
        with_local_recorder(&metrics.recorder, || {
            for (name, kind, help) in FAMILIES {
                match *kind {
                    "counter" => ::metrics::describe_counter!(*name, *help),
                    "gauge" => ::metrics::describe_gauge!(*name, *help),
                    _ => ::metrics::describe_histogram!(*name, *help),
                }
            }
            gauge!("adjutant_build_info", "version" => version.to_owned()).set(1.0);
        });
        metrics
    }

    /// Takes one durable fact into account. Call it once per event and process.
    pub fn observe(&self, event: &Event) {
        let mut seen = self.guard();
        with_local_recorder(&self.recorder, || seen.observe(event));
        seen.events = seen.events.wrapping_add(1);
        if seen.events.is_multiple_of(UPKEEP_EVERY) {
            self.handle.run_upkeep();
        }
    }

    /// Takes one answered request into account.
    pub fn observe_request(&self, method: &str, outcome: RequestOutcome, took: Duration) {
        let mut seen = self.guard();
        let family = "adjutant_rpc_requests_total";
        let method = seen.label(family, "method", method);
        let outcome = match outcome {
            RequestOutcome::Ok => "ok",
            RequestOutcome::Error => "error",
        };
        with_local_recorder(&self.recorder, || {
            counter!(family, "method" => method.clone(), "outcome" => outcome).increment(1);
            histogram!("adjutant_rpc_duration_seconds", "method" => method)
                .record(took.as_secs_f64());
        });
    }

    /// Takes the state of the store into account; `None`: it did not answer, and the figures stay what they were.
    pub fn observe_load(&self, load: Option<Load>) {
        let _guard = self.guard();
        let set = |name: &'static str, n: u64| {
            gauge!(name).set(f64::from(u32::try_from(n).unwrap_or(u32::MAX)));
        };
        with_local_recorder(&self.recorder, || {
            set("adjutant_store_up", u64::from(load.is_some()));
            let Some(load) = load else { return };
            set("adjutant_runs_queued", load.queued);
            set("adjutant_runs_running", load.running);
            set("adjutant_runs_parked", load.parked);
            set("adjutant_workers_alive", load.workers);
            set("adjutant_worker_slots", load.slots);
        });
    }

    /// All families in the Prometheus text format, 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = self.handle.render();
        for (name, kind, help) in FAMILIES {
            let announced = text.contains(&format!("# TYPE {name} "));
            if !announced {
                text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n\n"));
            }
        }
        text.push_str(&process_families());
        text
    }

    fn guard(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn observe(&mut self, event: &Event) {
        counter!("adjutant_events_total", "type" => event_word(&event.kind)).increment(1);
        match &event.kind {
            EventKind::RunStarted | EventKind::RunWoken | EventKind::RunResumed { .. } => {
                if let EventKind::RunResumed { .. } = event.kind {
                    counter!("adjutant_runs_resumed_total").increment(1);
                }
                if let Some(run) = event.run {
                    remember(&mut self.runs, run, event.at);
                    self.active.insert(run);
                    self.show_active();
                }
            }
            EventKind::RunParked { reason } => {
                let reason = self.label("adjutant_runs_parked_total", "reason", reason);
                counter!("adjutant_runs_parked_total", "reason" => reason).increment(1);
                self.rest(event.run);
            }
            EventKind::RunFinished { outcome, .. } => {
                let outcome = self.label("adjutant_runs_total", "outcome", outcome);
                counter!("adjutant_runs_total", "outcome" => outcome).increment(1);
                self.rest(event.run);
                if let Some(began) = event.run.and_then(|run| self.runs.remove(&run)) {
                    histogram!("adjutant_run_duration_seconds")
                        .record(event.at.since(began).as_secs_f64());
                }
            }
            EventKind::ModelReplied {
                route, usage, cost, ..
            } => {
                self.model_call(route, "ok");
                self.tokens(route, usage, cost);
            }
            EventKind::ModelFailed { route, .. } => self.model_call(route, "error"),
            EventKind::CallStarted { call, .. } => remember(&mut self.calls, *call, event.at),
            EventKind::CallFinished {
                call,
                name,
                outcome,
                ..
            } => {
                let tool = self.label("adjutant_tool_calls_total", "tool", name);
                let outcome = self.label("adjutant_tool_calls_total", "outcome", outcome);
                counter!("adjutant_tool_calls_total", "tool" => tool.clone(), "outcome" => outcome)
                    .increment(1);
                if let Some(began) = self.calls.remove(call) {
                    histogram!("adjutant_tool_duration_seconds", "tool" => tool)
                        .record(event.at.since(began).as_secs_f64());
                }
            }
            EventKind::ApprovalResolved { choice, .. } => {
                counter!("adjutant_approvals_total", "decision" => choice_word(choice))
                    .increment(1);
            }
            EventKind::SessionCreated { .. }
            | EventKind::SessionChanged { .. }
            | EventKind::SessionDeleted
            | EventKind::RunQueued { .. }
            | EventKind::ApprovalRequested { .. }
            | EventKind::Compacted { .. }
            | EventKind::MessageAdded { .. }
            | EventKind::Changed { .. } => {}
        }
    }

    fn rest(&mut self, run: Option<RunId>) {
        if let Some(run) = run {
            self.active.remove(&run);
            self.show_active();
        }
    }

    fn show_active(&self) {
        let active = u32::try_from(self.active.len()).unwrap_or(u32::MAX);
        gauge!("adjutant_runs_active").set(f64::from(active));
    }

    fn model_labels(&mut self, route: &str) -> Vec<Label> {
        let (provider, model) = route.split_once('/').unwrap_or((route, ""));
        let family = "adjutant_llm_calls_total";
        let provider = self.label(family, "provider", provider);
        let model = self.label(family, "model", model);
        vec![Label::new("provider", provider), Label::new("model", model)]
    }

    fn model_call(&mut self, route: &str, outcome: &'static str) {
        let mut labels = self.model_labels(route);
        labels.push(Label::new("outcome", outcome));
        counter!("adjutant_llm_calls_total", labels).increment(1);
    }

    fn tokens(&mut self, route: &str, usage: &Usage, cost: &Cost) {
        let labels = self.model_labels(route);
        let kinds = [
            ("input", usage.input),
            ("output", usage.output),
            ("cache_read", usage.cache_read),
            ("cache_write", usage.cache_write),
        ];
        for (kind, tokens) in kinds {
            let mut labels = labels.clone();
            labels.push(Label::new("kind", kind));
            counter!("adjutant_llm_tokens_total", labels).increment(tokens);
        }
        match cost.micros() {
            Some(micros) => counter!("adjutant_llm_cost_micros_total", labels).increment(micros.0),
            None => counter!("adjutant_llm_unpriced_calls_total", labels).increment(1),
        }
    }

    /// `value`, or `other` when the family already has many.
    fn label(&mut self, family: &'static str, name: &'static str, value: &str) -> String {
        let values = self.labels.entry((family, name)).or_default();
        if values.contains(value) {
            return value.to_owned();
        }
        if LABEL_VALUES_MAX <= values.len() {
            return "other".to_owned();
        }
        values.insert(value.to_owned());
        value.to_owned()
    }
}

fn remember<K: Ord>(open: &mut BTreeMap<K, Timestamp>, key: K, at: Timestamp) {
    open.entry(key).or_insert(at);
    if OPEN_MAX < open.len() {
        // Identifiers sort by birth: the first is the oldest.
        open.pop_first();
    }
}

fn choice_word(choice: &Choice) -> &'static str {
    match choice {
        Choice::Once => "once",
        Choice::Session => "session",
        Choice::For { .. } => "for",
        Choice::Always => "always",
        Choice::Deny => "deny",
    }
}

fn event_word(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::SessionCreated { .. } => "session_created",
        EventKind::SessionChanged { .. } => "session_changed",
        EventKind::SessionDeleted => "session_deleted",
        EventKind::RunQueued { .. } => "run_queued",
        EventKind::RunStarted => "run_started",
        EventKind::RunWoken => "run_woken",
        EventKind::RunResumed { .. } => "run_resumed",
        EventKind::RunParked { .. } => "run_parked",
        EventKind::ModelReplied { .. } => "model_replied",
        EventKind::ModelFailed { .. } => "model_failed",
        EventKind::CallStarted { .. } => "call_started",
        EventKind::CallFinished { .. } => "call_finished",
        EventKind::ApprovalRequested { .. } => "approval_requested",
        EventKind::ApprovalResolved { .. } => "approval_resolved",
        EventKind::Compacted { .. } => "compacted",
        EventKind::RunFinished { .. } => "run_finished",
        EventKind::MessageAdded { .. } => "message_added",
        EventKind::Changed { .. } => "changed",
    }
}

/// The usual families about the process, where the system tells them.
fn process_families() -> String {
    let mut text = String::new();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| {
        let kib = line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?;
        kib.trim().parse::<u64>().ok()
    });
    if let Some(kib) = resident {
        let name = "process_resident_memory_bytes";
        let line = format!(
            "# HELP {name} Resident memory.\n# TYPE {name} gauge\n{name} {}\n",
            kib * 1024
        );
        text.push_str(&line);
    }
    if let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") {
        let name = "process_open_fds";
        let open = descriptors.count();
        // Writing into a String cannot fail.
        write!(
            text,
            "# HELP {name} Open descriptors.\n# TYPE {name} gauge\n{name} {open}\n"
        )
        .unwrap_or_default();
    }
    text
}

#[cfg(test)]
#[path = "metrics/tests.rs"]
mod tests;
