//! Why something happened: a fold over a run's log into causes and effects.
//!
//! Nothing is recorded a second time; the log is the only source. Every sentence is made from facts of the log, never from
//! the model's own account of itself.

mod said;

use std::collections::BTreeMap;

use serde::Serialize;

use adjutant_domain::id::{ApprovalId, CallId};
use adjutant_domain::message::Part;
use adjutant_domain::run::{Entry, Logged, Seq};
use adjutant_domain::time::Timestamp;

/// Steps of one chain at most; a longer one keeps its beginning and its end.
const CHAIN_MAX: usize = 200;

/// What a node stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// The run was accepted.
    Input,
    /// A worker took it.
    Claim,
    /// The model was asked.
    Ask,
    /// The model replied.
    Reply,
    /// A model call failed.
    Fault,
    /// Policy admitted a call.
    Verdict,
    /// A person was asked.
    Question,
    /// The question was answered.
    Answer,
    /// An effect began.
    Start,
    /// A call ended.
    Result,
    /// Something arrived from outside: words, or the wish to stop.
    Signal,
    /// Messages were hidden behind a summary.
    Summary,
    /// The run began to wait.
    Wait,
    /// The run ended.
    End,
}

/// How one node led to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeKind {
    /// It was the cause.
    Caused,
    /// A result was part of the next question to the model.
    Answered,
    /// It was tried again.
    Retried,
    /// A person's yes let it go on.
    Approved,
    /// A no stopped it.
    Blocked,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Node {
    /// Its entry's place in the log, which is also its name.
    pub seq: Seq,
    /// When it was written.
    pub at: Timestamp,
    /// What it stands for.
    pub kind: NodeKind,
    /// The call it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<CallId>,
    /// What happened, as one sentence of at most 160 characters.
    pub said: String,
    /// What each policy stage said, for verdicts, questions and refusals.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trail: Vec<String>,
}

/// A cause and its effect; always points forward in the log, so there is no cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Edge {
    /// The cause.
    pub from: Seq,
    /// The effect.
    pub to: Seq,
    /// How.
    pub kind: EdgeKind,
}

/// The causes and effects of one run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Graph {
    /// Steps in the order of the log.
    pub nodes: Vec<Node>,
    /// Causes, the main one of each step first.
    pub edges: Vec<Edge>,
}

impl Graph {
    /// The graph of a log. Deterministic: the same log gives the same graph.
    #[must_use]
    pub fn of(log: &[Logged]) -> Self {
        let mut fold = Fold::default();
        for logged in log {
            fold.take(logged);
        }
        fold.graph
    }

    /// Why `call` happened, and what came of it: one sentence per step, from the trigger of the run to the call's last
    /// entry. Empty when the run has no such call.
    #[must_use]
    pub fn why(&self, call: CallId) -> Vec<String> {
        let last = self.nodes.iter().rev().find(|node| node.call == Some(call));
        last.map(|node| self.chain(node.seq)).unwrap_or_default()
    }

    /// The chain of main causes that ends at `seq`, oldest first.
    #[must_use]
    pub fn chain(&self, seq: Seq) -> Vec<String> {
        let mut chain = Vec::new();
        let mut here = self.node(seq);
        while let Some(node) = here {
            chain.push(node);
            // Edges point forward, so every step back has a smaller number and the walk ends.
            here = self.cause_of(node.seq);
        }
        chain.reverse();
        let surplus = chain.len().saturating_sub(CHAIN_MAX);
        let mut sentences = Vec::new();
        for (place, node) in chain.iter().enumerate() {
            let left_out = 0 < surplus && (1..=surplus).contains(&place);
            if left_out {
                if place == 1 {
                    sentences.push(format!("… {surplus} steps"));
                }
                continue;
            }
            sentences.push(node.said.clone());
            sentences.extend(node.trail.iter().map(|it| format!("  {it}")));
        }
        sentences
    }

    /// The whole run as text for people: one line per step, with the time since the start.
    #[must_use]
    pub fn trail(&self) -> String {
        let start = self.nodes.first().map(|node| node.at).unwrap_or_default();
        let mut text = String::new();
        for node in &self.nodes {
            let after = node.at.since(start);
            let line = format!(
                "{:>4}  +{:>6}.{:03}s  {} {}\n",
                node.seq.0,
                after.as_secs(),
                after.subsec_millis(),
                mark(node.kind),
                node.said
            );
            text.push_str(&line);
            for said in &node.trail {
                text.push_str(&format!("{:21}{said}\n", ""));
            }
        }
        text
    }

    fn node(&self, seq: Seq) -> Option<&Node> {
        let place = self
            .nodes
            .binary_search_by_key(&seq, |node| node.seq)
            .ok()?;
        self.nodes.get(place)
    }

    fn cause_of(&self, seq: Seq) -> Option<&Node> {
        let edge = self.edges.iter().find(|edge| edge.to == seq)?;
        self.node(edge.from)
    }
}

/// One character per kind, so that a long trail can be read at a glance.
fn mark(kind: NodeKind) -> char {
    match kind {
        NodeKind::Input => '>',
        NodeKind::Claim => '~',
        NodeKind::Ask => '?',
        NodeKind::Reply => '<',
        NodeKind::Fault => 'x',
        NodeKind::Verdict => '+',
        NodeKind::Question | NodeKind::Answer => '!',
        NodeKind::Start | NodeKind::Result => '*',
        NodeKind::Signal => '^',
        NodeKind::Summary => '#',
        NodeKind::Wait => '-',
        NodeKind::End => '.',
    }
}

/// What the fold remembers of the log so far.
#[derive(Debug, Default)]
struct Fold {
    graph: Graph,
    input: Option<Seq>,
    /// What the next question to the model follows from, the main cause first.
    pending: Vec<(Seq, EdgeKind)>,
    ask: Option<Seq>,
    reply: Option<Seq>,
    fault: Option<Seq>,
    cancel: Option<Seq>,
    calls: BTreeMap<CallId, CallSoFar>,
    questions: BTreeMap<ApprovalId, Seq>,
    names: BTreeMap<CallId, String>,
    rest: said::Rest,
}

/// The last entries about one call.
#[derive(Debug, Default, Clone, Copy)]
struct CallSoFar {
    wanted: Option<Seq>,
    held: Option<Seq>,
    answered: Option<(Seq, EdgeKind)>,
    admitted: Option<Seq>,
    started: Option<Seq>,
}

impl Fold {
    fn take(&mut self, logged: &Logged) {
        let seq = logged.seq;
        let (kind, call) = kind_of(&logged.entry);
        let name = call
            .and_then(|call| self.names.get(&call))
            .cloned()
            .unwrap_or_default();
        let causes = self.causes(&logged.entry);
        for (from, kind) in causes {
            if from < seq {
                self.graph.edges.push(Edge {
                    from,
                    to: seq,
                    kind,
                });
            }
        }
        self.graph.nodes.push(Node {
            seq,
            at: logged.at,
            kind,
            call,
            said: said::sentence(&logged.entry, &name, self.rest),
            trail: said::trail(&logged.entry),
        });
        self.remember(seq, &logged.entry);
    }

    /// What led to `entry`, the main cause first.
    fn causes(&self, entry: &Entry) -> Vec<(Seq, EdgeKind)> {
        use EdgeKind::{Caused, Retried};
        let one =
            |seq: Option<Seq>, kind: EdgeKind| seq.map(|seq| vec![(seq, kind)]).unwrap_or_default();
        let so_far = |call: &CallId| self.calls.get(call).copied().unwrap_or_default();
        match entry {
            Entry::Accepted { .. } | Entry::CancelAsked { .. } => Vec::new(),
            Entry::Claimed { .. } | Entry::Steered { .. } => one(self.input, Caused),
            Entry::ModelAsked { .. } => self.pending.clone(),
            Entry::ModelReplied { .. } | Entry::ModelFailed { .. } => one(self.ask, Caused),
            Entry::CallAdmitted { call, .. } => {
                let call = so_far(call);
                // A yes is the reason; that the model wanted it lies behind the question.
                call.answered
                    .map_or_else(|| one(call.wanted, Caused), |answer| vec![answer])
            }
            Entry::CallHeld { approval, .. } => one(so_far(&approval.call).wanted, Caused),
            Entry::ApprovalResolved { approval, .. } => {
                one(self.questions.get(approval).copied(), Caused)
            }
            Entry::CallStarted { call, .. } => {
                let call = so_far(call);
                match call.started {
                    Some(before) => one(Some(before), Retried),
                    None => one(call.admitted.or(call.wanted), Caused),
                }
            }
            Entry::CallFinished { call, .. } => {
                let call = so_far(call);
                if call.started.is_some() {
                    return one(call.started, Caused);
                }
                match (call.admitted, call.answered) {
                    (None, Some(answer)) => vec![answer],
                    (Some(admitted), _) => one(Some(admitted), Caused),
                    (None, None) => one(call.held.or(call.wanted), Caused),
                }
            }
            Entry::Compacted { .. } => one(self.reply.or(self.input), Caused),
            Entry::Parked { .. } => {
                let open = self.calls.values().filter_map(|call| call.held).max();
                one(open.max(self.fault).or(self.input), Caused)
            }
            Entry::Finished { .. } => {
                let mut causes = one(self.cancel, Caused);
                let last = self.fault.max(self.reply);
                let results = self.pending.iter().map(|(seq, _)| *seq).max();
                causes.extend(one(last.max(results).or(self.input), Caused));
                causes
            }
        }
    }

    fn remember(&mut self, seq: Seq, entry: &Entry) {
        use EdgeKind::{Answered, Approved, Blocked, Caused, Retried};
        match entry {
            Entry::Accepted { work, .. } => {
                self.input = Some(seq);
                self.pending = vec![(seq, Caused)];
                if let adjutant_domain::run::Work::Call { call, name, .. } = work {
                    self.want(*call, name, seq);
                }
            }
            Entry::ModelAsked { .. } => {
                self.ask = Some(seq);
            }
            Entry::ModelReplied { parts, .. } => {
                self.reply = Some(seq);
                self.fault = None;
                self.pending.clear();
                for part in parts {
                    if let Part::ToolCall { call, name, .. } = part {
                        self.want(*call, name, seq);
                    }
                }
            }
            Entry::ModelFailed { .. } => {
                self.fault = Some(seq);
                self.pending.insert(0, (seq, Retried));
            }
            Entry::CallAdmitted { call, .. } => {
                self.calls.entry(*call).or_default().admitted = Some(seq);
            }
            Entry::CallHeld { approval, .. } => {
                self.questions.insert(approval.id, seq);
                self.calls.entry(approval.call).or_default().held = Some(seq);
            }
            Entry::ApprovalResolved { call, choice, .. } => {
                let kind = if choice.allows() { Approved } else { Blocked };
                let call = self.calls.entry(*call).or_default();
                call.answered = Some((seq, kind));
                call.held = None;
            }
            Entry::CallStarted { call, .. } => {
                self.calls.entry(*call).or_default().started = Some(seq);
            }
            Entry::CallFinished { call, .. } => {
                self.calls.entry(*call).or_default().held = None;
                // The last result leads the list: the model went on when it was there.
                self.pending.insert(0, (seq, Answered));
            }
            Entry::Steered { .. } => self.pending.push((seq, Caused)),
            Entry::CancelAsked { .. } => self.cancel = Some(seq),
            Entry::Claimed { .. } => self.rest = said::Rest::Running,
            Entry::Parked { .. } => self.rest = said::Rest::Parked,
            Entry::Compacted { .. } | Entry::Finished { .. } => {}
        }
    }

    fn want(&mut self, call: CallId, name: &str, seq: Seq) {
        self.names.insert(call, name.to_owned());
        self.calls.insert(
            call,
            CallSoFar {
                wanted: Some(seq),
                ..CallSoFar::default()
            },
        );
    }
}

fn kind_of(entry: &Entry) -> (NodeKind, Option<CallId>) {
    match entry {
        Entry::Accepted { .. } => (NodeKind::Input, None),
        Entry::Claimed { .. } => (NodeKind::Claim, None),
        Entry::ModelAsked { .. } => (NodeKind::Ask, None),
        Entry::ModelReplied { .. } => (NodeKind::Reply, None),
        Entry::ModelFailed { .. } => (NodeKind::Fault, None),
        Entry::CallAdmitted { call, .. } => (NodeKind::Verdict, Some(*call)),
        Entry::CallHeld { approval, .. } => (NodeKind::Question, Some(approval.call)),
        Entry::ApprovalResolved { call, .. } => (NodeKind::Answer, Some(*call)),
        Entry::CallStarted { call, .. } => (NodeKind::Start, Some(*call)),
        Entry::CallFinished { call, .. } => (NodeKind::Result, Some(*call)),
        Entry::Steered { .. } | Entry::CancelAsked { .. } => (NodeKind::Signal, None),
        Entry::Compacted { .. } => (NodeKind::Summary, None),
        Entry::Parked { .. } => (NodeKind::Wait, None),
        Entry::Finished { .. } => (NodeKind::End, None),
    }
}

#[cfg(test)]
mod tests;
