//! From a request to its answer: role and scope, order, repeats, the handler, the clock.

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use adjutant_domain::code::Code;
use adjutant_domain::id::{AgentId, ClientKey, SessionKey};
use adjutant_protocol::{
    Caller, Codec as _, Decoded, Fault, JsonRpc, Kind, MethodSpec, Order, Outbound, Refused,
    Request, RequestId, Role, Scope,
};
use adjutant_telemetry::RequestOutcome;
use adjutant_vault::digest;

use crate::core::Core;
use crate::lanes::Ticket;

/// Calls of one connection, or of one batch, that are under way at once.
pub(crate) const CALLS_IN_FLIGHT_MAX: usize = 64;
/// How long an ordinary reading call may take.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Methods whose runs carry the key themselves: the store answers their repeats.
const KEYED_BY_RUN: [&str; 4] = ["chat.send", "agent", "tools.call", "node.invoke"];
/// Members of answers that are told once and never kept.
const TOLD_ONCE: [(&str, &str); 2] = [
    ("device.token.rotate", "token"),
    ("device.setup.code", "setupCode"),
];
/// Methods that may take as long as they take.
const UNHURRIED: [&str; 3] = ["agent.wait", "exec.approval.waitDecision", "verify.run"];

/// A call that may go on, with its place in line.
pub(crate) struct Prepared {
    pub(crate) spec: &'static MethodSpec,
    params: Box<RawValue>,
    tickets: Vec<Ticket>,
    key: Option<(ClientKey, String)>,
}

/// What the gateway must know of parameters before the handler reads them.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Peek<'a> {
    #[serde(borrow)]
    session_key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    agent_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    idempotency_key: Option<Cow<'a, str>>,
}

impl Core {
    /// Checks access and takes the call's place in line. Synchronous, so that the order is the order of arrival.
    pub(crate) fn prepare(
        &self,
        caller: &Caller,
        method: &str,
        params: Box<RawValue>,
    ) -> Result<Prepared, Fault> {
        let spec = admit(caller, method)?;
        let peek: Peek<'_> = serde_json::from_str(params.get()).unwrap_or_default();
        let mut tickets = Vec::new();
        match spec.order {
            Order::Free => {}
            Order::BySession => tickets.push(self.lanes.ticket(self.lane(&peek))),
            Order::Global(lane) => tickets.push(self.lanes.ticket(format!("={lane}"))),
        }
        let keyed = spec.kind == Kind::Write && !KEYED_BY_RUN.contains(&spec.name);
        let key = match peek.idempotency_key.as_deref().filter(|_| keyed) {
            None => None,
            Some(text) => {
                let key = ClientKey::parse(text).map_err(|e| Fault::params(spec.name, e))?;
                tickets.push(self.lanes.ticket(format!("#{}:{text}", spec.name)));
                Some((key, digest_of(&params)))
            }
        };
        Ok(Prepared {
            spec,
            params,
            tickets,
            key,
        })
    }

    fn lane(&self, peek: &Peek<'_>) -> String {
        let default = &self.deps.default_agent;
        let named = peek
            .agent_id
            .as_deref()
            .and_then(|name| AgentId::parse(name).ok());
        let agent = named.as_ref().unwrap_or(default);
        let text = peek
            .session_key
            .as_deref()
            .or(peek.key.as_deref())
            .unwrap_or("main");
        let key = SessionKey::resolve(text, agent);
        format!("@{}", key.as_ref().map_or(text, SessionKey::as_str))
    }

    /// Calls the handler.
    pub(crate) async fn run_call(
        &self,
        caller: &Caller,
        call: Prepared,
    ) -> Result<Box<RawValue>, Fault> {
        let began = self.deps.clock.monotonic();
        let spec = call.spec;
        let guarded = AssertUnwindSafe(self.run_in_turn(caller, call)).catch_unwind();
        let result = guarded.await.unwrap_or_else(|_panic| {
            Err(Fault::new(
                Code::Internal,
                format!("{} failed inside the gateway", spec.name),
            ))
        });
        let took = self.deps.clock.monotonic().saturating_sub(began);
        let outcome = if result.is_ok() {
            RequestOutcome::Ok
        } else {
            RequestOutcome::Error
        };
        self.deps.metrics.observe_request(spec.name, outcome, took);
        result.map_err(|fault| self.traced(spec.name, fault))
    }

    async fn run_in_turn(&self, caller: &Caller, call: Prepared) -> Result<Box<RawValue>, Fault> {
        let Prepared {
            spec,
            params,
            tickets,
            key,
        } = call;
        for ticket in &tickets {
            ticket.turn().await;
        }
        let Some((key, digest)) = key else {
            return self.run_handler(caller, spec, &params).await;
        };
        let store = &self.deps.store;
        if let Some(answer) = store
            .answered(&caller.owner, spec.name, &key, &digest)
            .await?
        {
            return raw(&answer);
        }
        let answer = self.run_handler(caller, spec, &params).await?;
        let mut value: Value = serde_json::from_str(answer.get()).unwrap_or_default();
        for (_, member) in TOLD_ONCE.iter().filter(|(name, _)| *name == spec.name) {
            if let Some(members) = value.as_object_mut() {
                members.remove(*member);
            }
        }
        store
            .remember_answer(&caller.owner, spec.name, &key, &digest, &value)
            .await?;
        Ok(answer)
    }

    async fn run_handler(
        &self,
        caller: &Caller,
        spec: &'static MethodSpec,
        params: &RawValue,
    ) -> Result<Box<RawValue>, Fault> {
        let call = adjutant_protocol::call(self, caller, spec.name, params);
        if spec.kind == Kind::Write || UNHURRIED.contains(&spec.name) {
            return call.await;
        }
        tokio::time::timeout(READ_TIMEOUT, call)
            .await
            .unwrap_or_else(|_late| {
                let message = format!(
                    "{} took longer than {} s",
                    spec.name,
                    READ_TIMEOUT.as_secs()
                );
                Err(Fault::new(Code::Unavailable, message).with_retry_after(Duration::from_secs(1)))
            })
    }

    /// A bug of ours gets an identifier that finds it in the logs.
    fn traced(&self, method: &str, fault: Fault) -> Fault {
        if fault.code != Code::Internal || fault.trace_id.is_some() {
            return fault;
        }
        let trace = self.uuid();
        tracing::error!(%trace, method, reason = %fault.message, "a call failed inside the gateway");
        fault.with_trace(trace)
    }

    /// Answers what came in one JSON-RPC message; none when nothing in it wants an answer.
    pub(crate) async fn answer_rpc(&self, caller: &Caller, decoded: Decoded) -> Option<String> {
        match decoded {
            Decoded::One(item) => self.answer_one(caller, *item).await,
            Decoded::Batch(items) => {
                // Places in line are taken for all of them first, in order; then they run side by side.
                let prepared: Vec<_> = items
                    .into_iter()
                    .map(|item| self.prepare_item(caller, item))
                    .collect();
                let replies: Vec<Option<String>> = futures::stream::iter(prepared)
                    .map(|item| self.answer_prepared(caller, item))
                    .buffered(CALLS_IN_FLIGHT_MAX)
                    .collect()
                    .await;
                JsonRpc::join(&replies.into_iter().flatten().collect::<Vec<_>>())
            }
        }
    }

    async fn answer_one(&self, caller: &Caller, item: Result<Request, Refused>) -> Option<String> {
        let item = self.prepare_item(caller, item);
        self.answer_prepared(caller, item).await
    }

    fn prepare_item(&self, caller: &Caller, item: Result<Request, Refused>) -> Item {
        match item {
            Err(refused) => (Some(refused.id), Err(refused.fault)),
            Ok(Request { id, method, params }) => (id, self.prepare(caller, &method, params)),
        }
    }

    async fn answer_prepared(&self, caller: &Caller, (id, prepared): Item) -> Option<String> {
        let result = match prepared {
            Ok(call) => self.run_call(caller, call).await,
            Err(fault) => Err(fault),
        };
        let id = id?;
        Some(JsonRpc.encode(Outbound::Reply {
            id: &id,
            result: result.as_deref(),
        }))
    }
}

type Item = (Option<RequestId>, Result<Prepared, Fault>);

/// Whether this role may make this call; what does not exist is for operators to find out.
pub(crate) fn role_fits(role: Role, method: &str) -> bool {
    let wanted = adjutant_protocol::find(method).map_or(Role::Operator, |spec| spec.access.role());
    role == wanted
}

/// Role and scope come before existence, so that nobody can list what they may not call (S11).
fn admit(caller: &Caller, method: &str) -> Result<&'static MethodSpec, Fault> {
    if !role_fits(caller.role, method) {
        let message = format!("unauthorized role: {}", caller.role);
        return Err(Fault::new(Code::InvalidRequest, message));
    }
    let spec = adjutant_protocol::find(method);
    let Some(scope) = spec.map_or(Some(Scope::Admin), |spec| spec.access.scope()) else {
        return spec.ok_or_else(|| Fault::unknown_method(method));
    };
    if !caller.scopes.allow(scope) {
        let details = json!({
            "code": "MISSING_SCOPE", "missingScope": scope.word(), "requiredScopes": [scope.word()],
        });
        return Err(
            Fault::new(Code::Forbidden, format!("missing scope: {scope}")).with_details(details),
        );
    }
    spec.ok_or_else(|| Fault::unknown_method(method))
}

/// Digest of everything that makes two requests the same: the parameters without the key, members sorted.
fn digest_of(params: &RawValue) -> String {
    let mut value: Value = serde_json::from_str(params.get()).unwrap_or_default();
    if let Some(members) = value.as_object_mut() {
        members.remove("idempotencyKey");
    }
    value.sort_all_objects();
    digest(value.to_string().as_bytes())
}

fn raw(value: &Value) -> Result<Box<RawValue>, Fault> {
    serde_json::value::to_raw_value(value).map_err(|e| Fault::new(Code::Internal, e.to_string()))
}
