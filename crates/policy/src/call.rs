//! The pipeline for tool calls: facts in, verdict and trail out.

use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use adjutant_domain::agent::Agent;
use adjutant_domain::approval::Grant;
use adjutant_domain::id::SessionId;
use adjutant_domain::label::Trust;
use adjutant_domain::run::TrailStep;
use adjutant_domain::time::Timestamp;
use adjutant_domain::tool::{ActionClass, ToolCall, ToolSpec};

use crate::command::Analysis;
use crate::permit::{Permit, WorkspaceMode};
use crate::stages::{STAGES, Step};

/// A tool with its compiled schema. Made once per tool, not per call.
#[derive(Debug)]
pub struct Card {
    spec: ToolSpec,
    validator: jsonschema::Validator,
}

/// A tool whose schema is not a schema.
#[derive(Debug, thiserror::Error)]
#[error("the schema of tool `{tool}` cannot be used: {reason}")]
pub struct CardError {
    tool: String,
    reason: String,
}

impl Card {
    /// Compiles the schema.
    ///
    /// # Errors
    /// [`CardError`] when it is not a JSON Schema.
    pub fn new(spec: ToolSpec) -> Result<Self, CardError> {
        let validator = jsonschema::validator_for(&spec.schema).map_err(|e| CardError {
            tool: spec.name.clone(),
            reason: e.to_string(),
        })?;
        Ok(Self { spec, validator })
    }

    /// The tool.
    #[must_use]
    pub fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    /// The first thing that is wrong with `args`, as a sentence naming the argument.
    pub(crate) fn misfit(&self, args: &Value) -> Option<String> {
        let error = self.validator.iter_errors(args).next()?;
        let at = error.instance_path().to_string();
        Some(if at.is_empty() {
            error.to_string()
        } else {
            format!("`{at}`: {error}")
        })
    }
}

/// Everything the pipeline may know. Read by the engine right before the question is asked.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The agent that asks.
    pub agent: &'a Agent,
    /// In which session.
    pub session: SessionId,
    /// The tool, when this installation has it.
    pub card: Option<&'a Card>,
    /// The moment.
    pub now: Timestamp,
    /// The agent's folder.
    pub workspace: &'a Path,
    /// Folders it may see besides.
    pub allowed_dirs: &'a [std::path::PathBuf],
    /// Our own state: never visible.
    pub state_dir: &'a Path,
    /// The owner's home.
    pub home: &'a Path,
    /// Lasting answers.
    pub grants: &'a [Grant],
    /// The digest a person said yes to, when this call comes back from a question.
    pub approved_digest: Option<&'a str>,
    /// The least trusted text this run has read.
    pub lowest_trust: Trust,
    /// Whether a person asked for this very call (`adjutant tool call`).
    pub by_owner: bool,
}

/// A question for a person.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Question {
    /// Kind of effect.
    pub class: ActionClass,
    /// Digest of the exact call.
    pub digest: String,
    /// The exact call, resolved.
    pub canonical: Value,
    /// The complete, escaped text.
    pub shown: String,
    /// Why it asks.
    pub reason: String,
    /// What a lasting answer would cover; none when it must be asked each time (S32).
    pub grant_key: Option<String>,
}

/// What the pipeline says.
#[derive(Debug)]
pub enum Verdict {
    /// Go on.
    Admit(Permit),
    /// Ask a person.
    Ask(Box<Question>),
    /// No; the sentence is for the model.
    Deny(String),
}

/// A verdict and what every stage said on the way.
#[derive(Debug)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// One line a stage, up to the one that decided.
    pub trail: Vec<TrailStep>,
}

/// What stages work on. It starts wide open and stages can only narrow it.
#[derive(Debug)]
pub struct Draft {
    /// The call.
    pub call: ToolCall,
    /// Kind of effect; stages may raise it.
    pub class: ActionClass,
    /// The shell analysis, when there is a command.
    pub analysis: Option<Analysis>,
    /// Why a person must be asked; the first reason given wins.
    pub ask: Option<String>,
    /// Whether text from elsewhere may stand behind the call; no setting switches that question off (S22).
    pub tainted: bool,
    /// Whether a lasting answer is out of the question.
    pub never_remember: bool,
    /// Parts of the canonical form that stages resolved.
    pub resolved: Vec<(String, Value)>,
    /// What a grant would cover, when a stage knows better than the exact arguments.
    pub grant_hint: Option<String>,
    /// How a confined process may touch the workspace.
    pub workspace: WorkspaceMode,
}

impl Draft {
    /// Notes a reason to ask a person.
    pub(crate) fn ask(&mut self, reason: impl Into<String>) {
        if self.ask.is_none() {
            self.ask = Some(reason.into());
        }
    }

    /// The exact call with everything that was resolved, as one document.
    fn canonical(&self, facts: &Facts<'_>) -> Value {
        let mut resolved = serde_json::Map::new();
        for (name, value) in &self.resolved {
            resolved.insert(name.clone(), value.clone());
        }
        json!({
            "call": self.call.id,
            "agent": facts.agent.name,
            "tool": self.call.name,
            "arguments": self.call.args,
            "workspace": facts.workspace.to_string_lossy(),
            "access": match self.workspace {
                WorkspaceMode::ReadOnly => "read-only",
                WorkspaceMode::ReadWrite => "read-write",
            },
            "resolved": resolved,
        })
    }

    /// What a lasting answer would cover: the exact call unless a stage said what part of it matters.
    pub(crate) fn grant_key(&self, facts: &Facts<'_>) -> Option<String> {
        if self.never_remember {
            return None;
        }
        Some(self.grant_hint.clone().unwrap_or_else(|| {
            format!(
                "{} {} in {}",
                self.call.name,
                self.call.args,
                facts.workspace.display()
            )
        }))
    }
}

/// Judges one call. The only maker of a [`Permit`].
///
/// The call that was judged is inside the permit: what is approved is what runs (S29). A call that comes back from a
/// person is judged again in full, and the answer counts only if the digest is still the same.
#[must_use]
pub fn admit_call(call: ToolCall, facts: &Facts<'_>) -> Decision {
    let class = facts
        .card
        .map_or(ActionClass::Talk, |card| card.spec().class);
    let mut draft = Draft {
        call,
        class,
        analysis: None,
        ask: None,
        tainted: false,
        never_remember: false,
        resolved: Vec::new(),
        grant_hint: None,
        workspace: WorkspaceMode::ReadOnly,
    };
    let mut trail = Vec::with_capacity(STAGES.len());
    for (name, stage) in STAGES {
        let step = stage(&mut draft, facts);
        let (said, stop) = match step {
            Step::Pass(said) => (said, None),
            Step::Deny(reason) => (reason.clone(), Some(reason)),
        };
        trail.push(TrailStep {
            stage: (*name).to_owned(),
            said,
        });
        if let Some(reason) = stop {
            return Decision {
                verdict: Verdict::Deny(reason),
                trail,
            };
        }
    }
    let canonical = draft.canonical(facts);
    let digest = digest_of(&canonical);
    let answered = facts.approved_digest == Some(digest.as_str());
    if facts.approved_digest.is_some() && !answered {
        // What runs is what was approved; anything else is a new wish, and the model may make it (S29).
        let reason =
            "changed since approval: the place or the rules are not those the owner said yes to"
                .to_owned();
        trail.push(TrailStep {
            stage: "answer".to_owned(),
            said: reason.clone(),
        });
        return Decision {
            verdict: Verdict::Deny(reason),
            trail,
        };
    }
    let Some(reason) = draft.ask.clone().filter(|_| !answered) else {
        if answered {
            trail.push(TrailStep {
                stage: "answer".to_owned(),
                said: "a person said yes to exactly this".to_owned(),
            });
        }
        let permit = Permit::new(draft.call, digest, draft.workspace, facts.lowest_trust);
        return Decision {
            verdict: Verdict::Admit(permit),
            trail,
        };
    };
    let question = Question {
        class: draft.class,
        digest,
        shown: shown(&draft, facts),
        reason,
        grant_key: draft.grant_key(facts),
        canonical,
    };
    Decision {
        verdict: Verdict::Ask(Box::new(question)),
        trail,
    }
}

fn digest_of(canonical: &Value) -> String {
    use std::fmt::Write as _;
    let bytes = Sha256::digest(canonical.to_string().as_bytes());
    bytes.iter().fold(String::with_capacity(64), |mut out, b| {
        // Writing to a String cannot fail.
        if write!(out, "{b:02x}").is_err() {
            out.clear();
        }
        out
    })
}

/// The complete text a person reads: nothing is cut, odd characters are shown escaped (S30).
fn shown(draft: &Draft, facts: &Facts<'_>) -> String {
    let mut lines = vec![format!(
        "{} wants to use {}",
        facts.agent.name, draft.call.name
    )];
    if let Some(analysis) = &draft.analysis {
        lines.push(format!("  $ {}", analysis.escaped));
    }
    if let Value::Object(args) = &draft.call.args {
        for (name, value) in args {
            let is_command =
                draft.analysis.is_some() && value.as_str().is_some() && name == "command";
            if !is_command {
                lines.push(format!("  {name}: {}", escape(&plain(value))));
            }
        }
    }
    lines.push(format!("  in {}", facts.workspace.display()));
    lines.join("\n")
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// Shows control, format and other invisible characters as `\u{…}`; newlines and tabs stay.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let invisible = (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
                | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}');
        if invisible {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}
