//! One model call: route, reserve, ask, stream, settle; and what follows when it fails.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;

use adjutant_domain::id::CallId;
use adjutant_domain::message::Part;
use adjutant_domain::money::{Cost, Usage};
use adjutant_domain::run::{
    AskedBudget, Entry, FailKind, ModelFault, ModelPhase, Outcome, Retry, RunState, Work,
};
use adjutant_ports::bus::{Pulse, PulseKind};
use adjutant_ports::failpoint::{self, Point};
use adjutant_ports::provider::{Asking, ModelAsk, ModelEnd, ModelEvent, ModelMessage, Route};

use crate::context::{self, BYTES_PER_TOKEN, Prefix};
use crate::drive::{Cx, Halt};
use crate::money::{Reserved, reserve};
use crate::reflect;

/// What became of a quiet question.
pub(crate) enum Asked {
    /// A complete reply, not yet written down.
    Replied {
        /// The reply.
        end: Box<ModelEnd>,
        /// `provider/model`.
        route: String,
        /// What it cost.
        cost: Cost,
        /// What it settles.
        budget: AskedBudget,
    },
    /// No reply; what failed was written down.
    NotNow,
}

/// Asks the model once and notes what came of it. `Some` ends the run.
pub(crate) async fn ask(cx: &mut Cx, state: &mut RunState) -> Result<Option<Outcome>, Halt> {
    let routes = routes(cx);
    let route = match pick(cx, state, &routes) {
        Ok(route) => route,
        Err(outcome) => return Ok(Some(outcome)),
    };
    let tokens = context_tokens(state, &route);
    let (prefix, messages) = if let Work::Reflect { of } = state.work {
        reflect::prompt(cx, of).await?
    } else {
        let prefix = cx.prefixes.get(&cx.agent, &cx.deps.tools);
        let room =
            tokens.saturating_sub(usize::try_from(prefix.bytes).unwrap_or(0) / BYTES_PER_TOKEN);
        context::compact(cx, state, room).await?;
        if state.cancel.is_some() {
            return Ok(None);
        }
        (prefix, context::conversation(cx, room).await?)
    };
    let output_max = state.limits.agent.max_output_tokens;
    let mut ask = to_ask(&route, &prefix, messages, output_max);
    match reserve(cx, state, &route, &prefix, &mut ask).await? {
        Reserved::Go { asking, budget } => {
            let asked = Request {
                route: &route,
                asking,
                prompt_bytes: prompt_bytes(&ask),
            };
            let more_routes = (state.route_index as usize) + 1 < routes.len();
            stream(cx, state, asked, budget, more_routes).await?;
            Ok(None)
        }
        Reserved::Rest(span) => {
            let at = cx.now().plus(span);
            cx.rest_until(state, at).await?;
            Ok(None)
        }
        Reserved::Refused(outcome) => Ok(Some(outcome)),
    }
}

/// Asks without showing words to anybody: for summaries. The caller writes the reply down.
pub(crate) async fn ask_quietly(
    cx: &mut Cx,
    state: &mut RunState,
    prefix: &Prefix,
    messages: Vec<ModelMessage>,
    output_max: u32,
) -> Result<Asked, Halt> {
    let routes = routes(cx);
    let Some(Ok(route)) = routes
        .get(state.route_index as usize)
        .map(|name| cx.deps.models.route(name))
    else {
        return Ok(Asked::NotNow);
    };
    let mut ask = to_ask(&route, prefix, messages, output_max);
    let Reserved::Go { asking, budget } = reserve(cx, state, &route, prefix, &mut ask).await?
    else {
        return Ok(Asked::NotNow);
    };
    let prompt_bytes = prompt_bytes(&ask);
    let collected = cx.attend(state, collect(asking, |_| {})).await?;
    match collected {
        Some(Ok(end)) => {
            let cost = cost(&route, &end.usage);
            Ok(Asked::Replied {
                end: Box::new(end),
                route: route.name,
                cost,
                budget,
            })
        }
        Some(Err(broken)) => {
            let usage = broken.usage(prompt_bytes);
            let fault = broken.fault;
            note_failure(
                cx,
                state,
                &route.name,
                fault,
                &usage,
                cost(&route, &usage),
                budget,
            );
            Ok(Asked::NotNow)
        }
        None => {
            let usage = estimate(prompt_bytes, 0);
            note_failure(
                cx,
                state,
                &route.name,
                ModelFault::Cut,
                &usage,
                cost(&route, &usage),
                budget,
            );
            Ok(Asked::NotNow)
        }
    }
}

/// Notes a failure after which the same route may be asked again at once.
pub(crate) fn note_failure(
    cx: &mut Cx,
    state: &mut RunState,
    route: &str,
    fault: ModelFault,
    usage: &Usage,
    cost: Cost,
    budget: AskedBudget,
) {
    let retry = Retry::Same { at: cx.now() };
    let entry = Entry::ModelFailed {
        route: route.to_owned(),
        fault,
        retry,
        usage: *usage,
        cost,
        budget,
    };
    cx.note(state, entry);
}

/// The fault of a reply without words.
pub(crate) fn empty_reply() -> ModelFault {
    ModelFault::Garbage {
        text: "the reply was empty".to_owned(),
    }
}

/// A model call was under way when the last worker was lost. The provider may bill it, so its reservation counts as spent
/// (TE-6), and the model is asked again: nothing of the lost reply was ever acted on.
pub(crate) fn recover(cx: &mut Cx, state: &mut RunState) {
    let ModelPhase::Asked { route, budget } = state.model.clone() else {
        return;
    };
    let cost = Cost::Priced {
        micros: budget.reserve,
    };
    let usage = Usage {
        estimated: true,
        ..Usage::default()
    };
    note_failure(cx, state, &route, ModelFault::Lost, &usage, cost, budget);
}

/// The routes of this run, best first.
fn routes(cx: &Cx) -> Vec<String> {
    let own = match (&cx.agent.provider, &cx.agent.model) {
        (Some(provider), Some(model)) => Some(format!("{provider}/{model}")),
        (Some(provider), None) => Some(provider.clone()),
        (None, Some(model)) => Some(model.clone()),
        (None, None) => None,
    };
    let chosen = cx.session_model.clone().or_else(|| own.clone());
    let fallbacks = if cx.agent.fallbacks.is_empty() && own.is_none() {
        cx.deps.models.fallbacks()
    } else {
        cx.agent.fallbacks.clone()
    };
    let first = chosen.unwrap_or_else(|| cx.deps.models.default_route());
    let mut routes = vec![first];
    for route in fallbacks {
        if !routes.contains(&route) {
            routes.push(route);
        }
    }
    // A route that cannot be had here (unknown, no credential) is passed over; when none can, the first one says why.
    let usable: Vec<String> = routes
        .iter()
        .filter(|name| cx.deps.models.route(name).is_ok())
        .cloned()
        .collect();
    if usable.is_empty() { routes } else { usable }
}

/// The route in use, or how the run ends without one.
fn pick(cx: &Cx, state: &RunState, routes: &[String]) -> Result<Route, Outcome> {
    let failed = |reason| Outcome::Failed {
        kind: FailKind::Model,
        reason,
    };
    let Some(name) = routes.get(state.route_index as usize) else {
        let last = match &state.model {
            ModelPhase::Failed { fault, .. } => fault.sentence(),
            _ => "no model is configured".to_owned(),
        };
        return Err(failed(last));
    };
    cx.deps.models.route(name).map_err(failed)
}

fn context_tokens(state: &RunState, route: &Route) -> usize {
    let agent = state.limits.agent.context_tokens;
    let room = route.context_tokens.map_or(agent, |model| {
        agent.min(model.saturating_sub(state.limits.agent.max_output_tokens))
    });
    room as usize
}

fn to_ask(
    route: &Route,
    prefix: &Prefix,
    messages: Vec<ModelMessage>,
    output_tokens: u32,
) -> ModelAsk {
    ModelAsk {
        model: route.model.clone(),
        system: Arc::clone(&prefix.system),
        tools: Arc::clone(&prefix.tools),
        messages,
        max_output_tokens: output_tokens,
    }
}

/// A request that is written down.
struct Request<'a> {
    route: &'a Route,
    asking: Asking<'a>,
    prompt_bytes: u64,
}

async fn stream(
    cx: &mut Cx,
    state: &mut RunState,
    request: Request<'_>,
    budget: AskedBudget,
    more_routes: bool,
) -> Result<(), Halt> {
    let Request {
        route,
        asking,
        prompt_bytes,
    } = request;
    let bus = Arc::clone(&cx.deps.bus);
    let (run, session) = (cx.run.id, cx.run.session_key.clone());
    let run_name: Arc<str> = cx.run.name().into();
    let mut any = false;
    let pulse = |kind| {
        bus.pulse(Pulse {
            run,
            run_name: Arc::clone(&run_name),
            session: session.clone(),
            kind,
        });
    };
    failpoint::reach(Point::BeforeModel);
    let heard = cx
        .attend(
            state,
            collect(asking, |kind| {
                any = true;
                pulse(kind);
            }),
        )
        .await?;
    failpoint::reach(Point::AfterModel);
    match heard {
        Some(Ok(end)) => note_reply(cx, state, route, end, budget),
        Some(Err(broken)) => {
            let usage = broken.usage(prompt_bytes);
            let fault = broken.fault;
            if any {
                pulse(PulseKind::Reset);
            }
            let retry = follow_up(cx, state, &fault, more_routes);
            tracing::warn!(route = %route.name, fault = ?std::mem::discriminant(&fault), "model call failed");
            let cost = cost(route, &usage);
            let entry = Entry::ModelFailed {
                route: route.name.clone(),
                fault,
                retry,
                usage,
                cost,
                budget,
            };
            cx.note(state, entry);
        }
        None => {
            let usage = estimate(prompt_bytes, 0);
            let entry = Entry::ModelFailed {
                route: route.name.clone(),
                fault: ModelFault::Cut,
                retry: Retry::GiveUp,
                cost: cost(route, &usage),
                usage,
                budget,
            };
            cx.note(state, entry);
        }
    }
    Ok(())
}

fn note_reply(
    cx: &mut Cx,
    state: &mut RunState,
    route: &Route,
    end: ModelEnd,
    budget: AskedBudget,
) {
    let now = cx.now();
    let mut parts = Vec::with_capacity(end.calls.len() + 2);
    for (text, signature) in end.thinking {
        parts.push(Part::Thinking { text, signature });
    }
    if !end.text.is_empty() {
        parts.push(Part::Text { text: end.text });
    }
    for call in end.calls {
        parts.push(Part::ToolCall {
            call: CallId::mint(now, cx.entropy()),
            wire_id: call.wire_id,
            name: call.name,
            args: call.args,
        });
    }
    let entry = Entry::ModelReplied {
        message: cx.message_id(),
        parts,
        stop: end.stop,
        route: route.name.clone(),
        cost: cost(route, &end.usage),
        usage: end.usage,
        budget,
    };
    cx.note(state, entry);
}

fn cost(route: &Route, usage: &Usage) -> Cost {
    route.price.map_or(Cost::Unpriced, |price| Cost::Priced {
        micros: price.cost(usage),
    })
}

/// A stream without a usable reply.
struct Broken {
    fault: ModelFault,
    /// Bytes heard before it.
    heard: usize,
    /// What the provider says it counted, when it came to its end.
    usage: Option<Usage>,
}

impl Broken {
    /// What the provider may bill. A request that was refused costs nothing; one that was read and answered with silence
    /// does.
    fn usage(&self, prompt_bytes: u64) -> Usage {
        let read = 0 < self.heard
            || matches!(
                self.fault,
                ModelFault::TimedOut | ModelFault::Cut | ModelFault::Garbage { .. }
            );
        self.usage.unwrap_or(if read {
            estimate(prompt_bytes, self.heard)
        } else {
            Usage::default()
        })
    }
}

/// Reads a stream to its clean end.
async fn collect(asking: Asking<'_>, mut hear: impl FnMut(PulseKind)) -> Result<ModelEnd, Broken> {
    let mut heard = 0;
    let mut whole = None;
    let broken = |fault, heard| Broken {
        fault,
        heard,
        usage: None,
    };
    let mut events = asking.await.map_err(|fault| broken(fault, 0))?;
    while let Some(event) = events.next().await {
        if whole.is_some() {
            // The reply is complete; what is left of the body is only read so that the connection can be used again.
            continue;
        }
        match event.map_err(|fault| broken(fault, heard))? {
            ModelEvent::Text(text) => {
                heard += text.len();
                hear(PulseKind::Text(text.into()));
            }
            ModelEvent::Thinking(text) => {
                heard += text.len();
                hear(PulseKind::Thinking(text.into()));
            }
            ModelEvent::CallBegun { .. } => heard += 1,
            ModelEvent::End(end) => whole = Some(end),
        }
    }
    // No clean end: partial output is never presented as final (R6).
    let end = whole.ok_or_else(|| broken(ModelFault::Cut, heard))?;
    let empty = end.text.is_empty() && end.calls.is_empty() && end.thinking.is_empty();
    let refused = matches!(end.stop, adjutant_domain::run::StopReason::Refusal);
    if empty && !refused {
        return Err(Broken {
            fault: empty_reply(),
            heard,
            usage: Some(end.usage),
        });
    }
    Ok(end)
}

/// What follows a fault: the same route later, the next route, or the end. Jitter comes from the injected entropy.
fn follow_up(cx: &Cx, state: &RunState, fault: &ModelFault, more_routes: bool) -> Retry {
    let elsewhere = if more_routes {
        Retry::NextRoute
    } else {
        Retry::GiveUp
    };
    if !fault.is_retryable() || state.limits.agent.model_retries <= state.failures {
        return elsewhere;
    }
    let first = cx.config.backoff_first.duration();
    let longest = cx.config.backoff_max.duration();
    let doubled = first.saturating_mul(
        1_u32
            .checked_shl(state.failures.min(20))
            .unwrap_or(u32::MAX),
    );
    let span = doubled.min(longest);
    // Full wait down to half of it, so that many runs do not come back at once.
    let half = u64::try_from(span.as_millis() / 2)
        .unwrap_or(u64::MAX)
        .max(1);
    let jitter = u64::try_from(cx.entropy() % u128::from(half)).unwrap_or(0);
    let mut wait = Duration::from_millis(half + jitter);
    if let ModelFault::RateLimited {
        retry_after: Some(hint),
    } = fault
    {
        if cx.config.retry_after_max.duration() < hint.duration() {
            return elsewhere;
        }
        wait = wait.max(hint.duration());
    }
    Retry::Same {
        at: cx.now().plus(wait),
    }
}

pub(crate) fn messages_bytes(messages: &[ModelMessage]) -> u64 {
    messages
        .iter()
        .map(|m| context::message_bytes(m) as u64)
        .sum()
}

fn prompt_bytes(ask: &ModelAsk) -> u64 {
    let tools: usize = ask
        .tools
        .iter()
        .map(|t| t.name.len() + t.description.len() + 200)
        .sum();
    (ask.system.len() + tools) as u64 + messages_bytes(&ask.messages)
}

/// What a provider may bill for a reply that was not completed.
fn estimate(prompt_bytes: u64, heard: usize) -> Usage {
    Usage {
        input: prompt_bytes / 4,
        output: heard as u64 / 4,
        estimated: true,
        ..Usage::default()
    }
}
