//! Asking a node: may it be asked, is it there, was it asked before, and what does it say.

use std::time::Duration;

use serde_json::{Value, json};

use adjutant_domain::code::Code;
use adjutant_domain::device::Device;
use adjutant_domain::id::DeviceId;
use adjutant_domain::node::{
    CommandKind, Ground, INVOKE_PARAMS_BYTES_MAX, INVOKE_TIMEOUT, INVOKE_TIMEOUT_MAX, Invoke,
    InvokeAnswer, NodeFacts, NodeRules, Refused, may_invoke,
};
use adjutant_ports::store::{NewInvoke, Posted};
use adjutant_protocol::Fault;
use adjutant_vault::digest;

use super::platform_of;
use crate::core::Core;

/// The shortest time a node is given.
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// Characters of what a node says went wrong.
const MESSAGE_CHARS_MAX: usize = 2_000;
/// Members of the parameters that say "a person approved this": only who may approve may say so.
pub(super) const APPROVAL_MEMBERS: [&str; 3] = ["approved", "approvalDecision", "approvalId"];

/// What is asked, by whom.
pub(crate) struct Ask {
    /// Id, beginning of it, or name.
    pub(crate) node: String,
    pub(crate) command: String,
    pub(crate) params: Option<Value>,
    pub(crate) timeout: Option<Duration>,
    /// Whether to wait for a node that is away.
    pub(crate) queue: bool,
    pub(crate) key: String,
    /// Surface and principal, or the run.
    pub(crate) by: String,
    /// Whether the asker may answer the question whether a program runs.
    pub(crate) approves: bool,
    /// Whether the asker may change the machine's own rules.
    pub(crate) admin: bool,
}

/// What a node said.
pub(crate) struct Told {
    pub(crate) node: DeviceId,
    /// The text of the payload.
    pub(crate) payload: Option<String>,
}

impl Core {
    /// Asks a node and waits for what it says, at most until the deadline.
    pub(crate) async fn ask_node(&self, ask: Ask) -> Result<Told, Fault> {
        // Whoever asks learns that it cannot be asked; which nodes there are is for `node.list` to say.
        let found = self.node_device(&ask.node).await;
        let device = found.map_err(|fault| match fault.code {
            Code::InvalidRequest => not_connected(),
            _ => fault,
        })?;
        let key = format!(
            "{}:{}",
            if ask.by.starts_with("run:") {
                "run"
            } else {
                "rpc"
            },
            ask.key
        );
        let sent = ask
            .params
            .as_ref()
            .map(Value::to_string)
            .unwrap_or_default();
        let digest = digest(format!("{}\n{}\n{sent}", device.id, ask.command).as_bytes());
        let timeout = ask
            .timeout
            .unwrap_or(INVOKE_TIMEOUT)
            .clamp(TIMEOUT_MIN, INVOKE_TIMEOUT_MAX);
        let store = &self.deps.store;
        if let Some(seen) = store.invoke_of_key(self.owner(), &key).await? {
            if seen.digest != digest {
                return Err(adjutant_ports::store::StoreError::KeyReused.into());
            }
            return self.outcome(&device, seen).await;
        }
        if ask.command == "system.execApprovals.set" && !ask.admin {
            return Err(Fault::new(
                Code::Forbidden,
                "the list of allowed programs of a node is changed with operator.admin",
            ));
        }
        let ground = self
            .may_ask(&ask.command, &device.id, false)
            .await
            .map_err(|why| not_allowed(&ask.command, why))?;
        if self.nodes.seat(&device.id).is_none() && !ask.queue {
            return Err(not_connected());
        }
        let params = prepared(ask.params, ask.approves)?;
        let new = NewInvoke {
            owner: self.owner().clone(),
            node: device.id.clone(),
            command: ask.command,
            params,
            key,
            digest,
            asked_by: ask.by,
            deadline_at: self.now().plus(timeout),
        };
        let Ground::Lease(lease) = ground else {
            let posted = store.post_invoke(&new).await?;
            return self.outcome(&device, posted.invoke().clone()).await;
        };
        if !self.nodes.take_use(lease) {
            return Err(spent(&new.command));
        }
        let told = match store.post_invoke(&new).await {
            Ok(Posted::New(invoke)) => self.outcome(&device, invoke).await,
            Ok(Posted::Seen(invoke)) => {
                self.nodes.give_use_back(lease);
                return self.outcome(&device, invoke).await;
            }
            Err(error) => Err(error.into()),
        };
        if told.is_err() {
            // Only what worked counts.
            self.nodes.give_use_back(lease);
        }
        told
    }

    /// What comes, or came, of a request.
    async fn outcome(&self, device: &Device, invoke: Invoke) -> Result<Told, Fault> {
        if let Some(answer) = invoke.answer {
            return told(device, answer);
        }
        let now = self.now();
        if !invoke.is_open(now) {
            return Err(timed_out());
        }
        let waits = self.nodes.wait(invoke.id);
        if let Some(seat) = self.nodes.seat(&device.id) {
            let known = self.started_at <= invoke.created_at;
            self.nodes.give(&seat, &invoke, known, now);
        }
        // A node that came in between may have answered before anybody waited.
        let again = self.deps.store.invoke(self.owner(), invoke.id).await?;
        let answer = match again.and_then(|it| it.answer) {
            Some(answer) => Some(answer),
            None => {
                let left = invoke.deadline_at.since(self.now());
                tokio::select! {
                    answer = waits => answer.ok(),
                    () = self.deps.clock.sleep(left) => None,
                    () = self.stop.cancelled() => None,
                }
            }
        };
        self.nodes.leave(invoke.id);
        match answer {
            Some(answer) => told(device, answer),
            None => Err(timed_out()),
        }
    }

    /// Whether a node may be asked for `command` now. `again`: it was allowed before, and only an end counts.
    pub(super) async fn may_ask(
        &self,
        command: &str,
        node: &DeviceId,
        again: bool,
    ) -> Result<Ground, Refused> {
        let device = self.deps.store.device(self.owner(), node).await;
        let Ok(Some(device)) = device else {
            return Err(Refused::NotApproved);
        };
        let claimed = match self.nodes.seat(node) {
            Some(seat) => seat.session.claims.commands,
            // Away: what it offered when it was approved; it is asked again when it is back.
            None => device.claims.commands.clone(),
        };
        let facts = NodeFacts {
            node,
            platform: platform_of(&device),
            claimed: &claimed,
            approved: &device.claims.commands,
        };
        let config = &self.config.nodes;
        let rules = NodeRules {
            allow: &config.allow,
            deny: &config.deny,
        };
        let (now, mono) = (self.now(), self.deps.clock.monotonic());
        let leases = self.nodes.live_leases(now, mono);
        match may_invoke(command, facts, rules, &leases, now, mono) {
            // The use was counted when it was asked the first time; whether the lease still lives is what matters.
            Err(Refused::NotArmed(group))
                if again && self.nodes.is_spent(group, node, now, mono) =>
            {
                Ok(Ground::Standing)
            }
            other => other,
        }
    }
}

/// The parameters as the node gets them.
fn prepared(params: Option<Value>, approves: bool) -> Result<Option<String>, Fault> {
    let mut params = match params {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(params)) => params,
        Some(_) => {
            return Err(Fault::params(
                "node.invoke",
                "at /params: must be an object",
            ));
        }
    };
    if !approves {
        for name in APPROVAL_MEMBERS {
            params.remove(name);
        }
    }
    let text = Value::Object(params).to_string();
    if INVOKE_PARAMS_BYTES_MAX < text.len() {
        return Err(Fault::new(
            Code::TooLarge,
            format!(
                "the parameters have {} bytes, at most {INVOKE_PARAMS_BYTES_MAX} are passed on",
                text.len()
            ),
        ));
    }
    Ok(Some(text))
}

fn told(device: &Device, answer: InvokeAnswer) -> Result<Told, Fault> {
    match answer {
        InvokeAnswer::Done(payload) => Ok(Told {
            node: device.id.clone(),
            payload,
        }),
        InvokeAnswer::Failed { code, message } => {
            let message: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
            let details =
                json!({ "code": "NODE_ERROR", "nodeError": { "code": code, "message": message } });
            let shown = if message.is_empty() {
                "the node could not do it"
            } else {
                &message
            };
            Err(Fault::new(Code::Unavailable, shown).with_details(details))
        }
    }
}

/// Somebody else had the last use a moment ago.
fn spent(command: &str) -> Fault {
    let why = match CommandKind::of(command) {
        CommandKind::Leased(group) => Refused::NotArmed(group),
        CommandKind::Plain | CommandKind::Shell | CommandKind::Unknown => Refused::NotAllowed,
    };
    not_allowed(command, why)
}

fn not_connected() -> Fault {
    Fault::new(Code::Unavailable, "node not connected")
        .with_details(json!({ "code": "NOT_CONNECTED" }))
}

fn timed_out() -> Fault {
    Fault::new(Code::Unavailable, "node invoke timed out")
        .with_details(json!({ "code": "TIMEOUT" }))
}

fn not_allowed(command: &str, why: Refused) -> Fault {
    let details = match why {
        Refused::NotArmed(group) => {
            json!({ "reason": why.word(), "command": command, "group": group })
        }
        _ => json!({ "reason": why.word(), "command": command }),
    };
    let shown: String = command.chars().take(128).collect();
    let fault = Fault::new(
        Code::InvalidRequest,
        format!("node command not allowed: {shown}: {why}"),
    )
    .with_details(details);
    match why {
        Refused::NotArmed(group) => fault.with_hint(format!(
            "`adjutant nodes lease arm {group}` lets it through for a while"
        )),
        Refused::NotApproved => fault.with_hint("see `adjutant nodes pending`"),
        _ => fault,
    }
}
