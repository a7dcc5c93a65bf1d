//! `node.*`.

use std::time::Duration;

use serde_json::{Value, json};

use adjutant_domain::code::Code;
use adjutant_domain::device::Device;
use adjutant_domain::id::{DeviceId, InvokeId, LeaseId};
use adjutant_domain::node::{
    InvokeAnswer, LEASE_LIFE, LEASE_LIFE_MAX, LEASE_LIFE_MIN, LEASES_MAX, Lease,
};
use adjutant_protocol::methods::common::NoParams;
use adjutant_protocol::methods::nodes::*;
use adjutant_protocol::{Caller, Fault, Handle, Scope};

use crate::core::Core;
use crate::nodes::Ask;

/// Bytes of a name.
const NAME_BYTES_MAX: usize = 256;
/// Events of nodes that are listened to and need nothing done.
const HEARD: [&str; 4] = [
    "node.presence.alive",
    "exec.started",
    "exec.finished",
    "exec.denied",
];

impl Core {
    /// The node that calls.
    fn calling_node<'a>(&self, caller: &'a Caller) -> Result<&'a DeviceId, Fault> {
        let device = caller.device.as_ref();
        device.ok_or_else(|| Fault::new(Code::InvalidRequest, "device identity required"))
    }

    fn rows(&self, devices: &[Device]) -> Vec<NodeRow> {
        let mut rows: Vec<NodeRow> = devices.iter().map(|it| self.node_row(it)).collect();
        rows.sort_by_key(|it| {
            let name = it.display_name.clone().unwrap_or_default().to_lowercase();
            (!it.connected, name, it.node_id.clone())
        });
        rows
    }

    fn lease_shown(&self, lease: &Lease) -> LeaseShown {
        let by_wall = lease.expires_at.since(self.now());
        let by_mono = lease
            .expires_mono
            .saturating_sub(self.deps.clock.monotonic());
        LeaseShown {
            lease_id: lease.id,
            group: lease.group,
            node_id: lease.node.clone(),
            granted_by: lease.granted_by.clone(),
            at: lease.at,
            expires_at: lease.expires_at,
            expires_in_ms: u64::try_from(by_wall.min(by_mono).as_millis()).unwrap_or(u64::MAX),
            uses_left: lease.uses_left,
        }
    }

    fn leases_page(&self) -> LeasesPage {
        let live = self
            .nodes
            .live_leases(self.now(), self.deps.clock.monotonic());
        LeasesPage {
            leases: live.iter().map(|it| self.lease_shown(it)).collect(),
        }
    }
}

impl Handle<NodeList> for Core {
    async fn handle(&self, _caller: &Caller, _params: NoParams) -> Result<NodesPage, Fault> {
        let devices = self.node_devices().await?;
        Ok(NodesPage {
            ts: self.now(),
            nodes: self.rows(&devices),
        })
    }
}

impl Handle<NodeDescribe> for Core {
    async fn handle(&self, _caller: &Caller, params: NodeParams) -> Result<NodeShown, Fault> {
        let device = self.node_device(&params.node_id).await?;
        Ok(NodeShown {
            ts: self.now(),
            node: self.node_row(&device),
        })
    }
}

impl Handle<NodeRename> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: NodeRenameParams,
    ) -> Result<NodeRenamed, Fault> {
        let name = params.display_name.trim();
        if name.is_empty() || NAME_BYTES_MAX < name.len() || name.chars().any(char::is_control) {
            let reason =
                format!("at /displayName: must have 1 to {NAME_BYTES_MAX} printable bytes");
            return Err(Fault::params("node.rename", reason));
        }
        let device = self.node_device(&params.node_id).await?;
        let store = &self.deps.store;
        store
            .rename_device(self.owner(), &device.id, name, &caller.name())
            .await?;
        Ok(NodeRenamed {
            node_id: device.id,
            display_name: name.to_owned(),
        })
    }
}

impl Handle<NodeInvoke> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: NodeInvokeParams,
    ) -> Result<NodeInvoked, Fault> {
        let command = params.command.clone();
        let told = self
            .ask_node(Ask {
                node: params.node_id,
                command: params.command,
                params: params.params,
                timeout: params.timeout_ms.map(Duration::from_millis),
                queue: params.queue == Some(true),
                key: params.idempotency_key.as_str().to_owned(),
                by: caller.name(),
                approves: caller.scopes.allow(Scope::Approvals),
                admin: caller.scopes.allow(Scope::Admin),
            })
            .await?;
        let payload = told
            .payload
            .as_deref()
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or(Value::Null);
        Ok(NodeInvoked {
            ok: true,
            node_id: told.node,
            command,
            payload,
            payload_json: told.payload,
        })
    }
}

impl Handle<NodeInvokeResult> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: NodeInvokeResultParams,
    ) -> Result<NodeInvokeTaken, Fault> {
        let node = self.calling_node(caller)?;
        if params.node_id != node.as_str() {
            return Err(Fault::new(Code::InvalidRequest, "nodeId mismatch"));
        }
        let ignored = NodeInvokeTaken {
            ok: true,
            ignored: Some(true),
        };
        let Ok(id) = params.id.parse::<InvokeId>() else {
            return Ok(ignored);
        };
        let answer = answer_of(params);
        let store = &self.deps.store;
        match store.answer_invoke(self.owner(), node, id, &answer).await? {
            Some(_) => {
                self.nodes.answered(id, &answer);
                Ok(NodeInvokeTaken {
                    ok: true,
                    ignored: None,
                })
            }
            None => Ok(ignored),
        }
    }
}

/// What a node said, with what is no JSON taken for a failure.
fn answer_of(params: NodeInvokeResultParams) -> InvokeAnswer {
    if !params.ok {
        let said = params.error.unwrap_or_default();
        return InvokeAnswer::Failed {
            code: said.code.map(|it| it.chars().take(128).collect()),
            message: said
                .message
                .unwrap_or_default()
                .chars()
                .take(4_000)
                .collect(),
        };
    }
    let text = match (params.payload_json, params.payload) {
        (Some(text), _) => Some(text),
        (None, Some(payload)) => Some(payload.to_string()),
        (None, None) => None,
    };
    let reads = |text: &String| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    if text.as_ref().is_none_or(reads) {
        InvokeAnswer::Done(text)
    } else {
        InvokeAnswer::Failed {
            code: Some("INVALID_RESULT".to_owned()),
            message: "the node's answer is no JSON".to_owned(),
        }
    }
}

impl Handle<NodeEvent> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: NodeEventParams,
    ) -> Result<NodeEventTaken, Fault> {
        let node = self.calling_node(caller)?;
        let payload = match (&params.payload_json, params.payload) {
            (Some(text), _) => serde_json::from_str(text).unwrap_or(Value::Null),
            (None, payload) => payload.unwrap_or(Value::Null),
        };
        let handled = match params.event.as_str() {
            "node.host.stats" => self.nodes.note_stats(node, payload),
            event => HEARD.contains(&event),
        };
        Ok(NodeEventTaken {
            ok: true,
            event: params.event.chars().take(128).collect(),
            handled,
            reason: (!handled).then(|| "nothing here listens to it".to_owned()),
        })
    }
}

impl Handle<NodePairList> for Core {
    async fn handle(&self, _caller: &Caller, _params: NoParams) -> Result<NodePairPage, Fault> {
        let devices = self.node_devices().await?;
        let open = self.nodes.open_surfaces();
        let pending = open.iter().filter_map(|(node, surface)| {
            let device = devices.iter().find(|it| it.id == *node)?;
            Some(self.pending_surface(device, surface))
        });
        Ok(NodePairPage {
            pending: pending.collect(),
            paired: self.rows(&devices),
        })
    }
}

fn unknown_request() -> Fault {
    Fault::new(Code::InvalidRequest, "unknown requestId")
}

impl Handle<NodePairApprove> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: NodePairParams,
    ) -> Result<NodePairApproved, Fault> {
        let (node, surface) = self
            .nodes
            .surface(&params.request_id)
            .ok_or_else(unknown_request)?;
        if !surface.claims.are_harmless() && !caller.scopes.allow(Scope::Admin) {
            let details = json!({
                "code": "MISSING_SCOPE", "missingScope": Scope::Admin.word(),
                "requiredScopes": [Scope::Pairing.word(), Scope::Admin.word()],
            });
            let message = format!("missing scope: {}", Scope::Admin.word());
            return Err(Fault::new(Code::Forbidden, message).with_details(details));
        }
        let store = &self.deps.store;
        let device = store
            .approve_claims(self.owner(), &node, &surface.claims, &caller.name())
            .await?;
        self.nodes.close_surface(&node);
        self.tell_surface(&node, &params.request_id, "approved");
        Ok(NodePairApproved {
            request_id: params.request_id,
            node: self.node_row(&device),
        })
    }
}

impl Handle<NodePairReject> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: NodePairParams,
    ) -> Result<NodePairRejected, Fault> {
        let (node, surface) = self
            .nodes
            .surface(&params.request_id)
            .ok_or_else(unknown_request)?;
        let detail = json!({ "commands": surface.claims.commands });
        self.audit(caller, "node.pair.reject", node.as_str(), detail)
            .await?;
        self.nodes.refuse_surface(&node);
        self.tell_surface(&node, &params.request_id, "rejected");
        Ok(NodePairRejected {
            request_id: params.request_id,
            node_id: node,
        })
    }
}

impl Handle<NodeRunnerInventoryUpdate> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        _params: RunnerInventoryParams,
    ) -> Result<NodeParams, Fault> {
        Ok(NodeParams {
            node_id: self.calling_node(caller)?.as_str().to_owned(),
        })
    }
}

impl Handle<NodeSkillsUpdate> for Core {
    async fn handle(&self, caller: &Caller, _: NodeSkillsParams) -> Result<NodeSkills, Fault> {
        Ok(NodeSkills {
            node_id: self.calling_node(caller)?.clone(),
            skills: vec![],
        })
    }
}

impl Handle<NodePluginToolsUpdate> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        _: NodePluginToolsParams,
    ) -> Result<NodePluginTools, Fault> {
        Ok(NodePluginTools {
            node_id: self.calling_node(caller)?.clone(),
            tools: vec![],
        })
    }
}

impl Handle<SkillsBins> for Core {
    async fn handle(&self, _caller: &Caller, _params: NoParams) -> Result<Bins, Fault> {
        Ok(Bins::default())
    }
}

impl Handle<NodePendingPull> for Core {
    async fn handle(&self, caller: &Caller, _params: NoParams) -> Result<PendingActions, Fault> {
        let node = self.calling_node(caller)?.clone();
        let open = self.deps.store.open_invokes(self.owner(), &node).await?;
        let actions = open.into_iter().map(|it| PendingAction {
            id: it.id,
            command: it.command,
            params_json: it.params,
            enqueued_at_ms: it.created_at,
        });
        Ok(PendingActions {
            actions: actions.collect(),
            node_id: node,
        })
    }
}

impl Handle<NodePendingAck> for Core {
    async fn handle(
        &self,
        caller: &Caller,
        params: PendingAckParams,
    ) -> Result<PendingAcked, Fault> {
        let node = self.calling_node(caller)?.clone();
        let open = self.deps.store.open_invokes(self.owner(), &node).await?;
        let waiting: Vec<InvokeId> = open.into_iter().map(|it| it.id).collect();
        let named = |id: &&InvokeId| params.ids.iter().any(|it| *it == id.to_string());
        let acked_ids: Vec<InvokeId> = waiting.iter().filter(named).copied().collect();
        Ok(PendingAcked {
            node_id: node,
            remaining_count: (waiting.len() - acked_ids.len()) as u64,
            acked_ids,
        })
    }
}

impl Handle<NodeLeaseList> for Core {
    async fn handle(&self, _caller: &Caller, _params: NoParams) -> Result<LeasesPage, Fault> {
        Ok(self.leases_page())
    }
}

impl Handle<NodeLeaseArm> for Core {
    async fn handle(&self, caller: &Caller, params: LeaseArmParams) -> Result<LeaseShown, Fault> {
        let life = params.duration_ms.map_or(LEASE_LIFE, Duration::from_millis);
        if !(LEASE_LIFE_MIN..=LEASE_LIFE_MAX).contains(&life) {
            let reason = "at /durationMs: must be between 10 s and 4 h";
            return Err(Fault::params("node.lease.arm", reason));
        }
        if params.uses.is_some_and(|it| !(1..=100).contains(&it)) {
            return Err(Fault::params(
                "node.lease.arm",
                "at /uses: must be 1 to 100",
            ));
        }
        let node = match &params.node_id {
            None => None,
            Some(text) => Some(self.node_device(text).await?.id),
        };
        let (now, mono) = (self.now(), self.deps.clock.monotonic());
        let lease = Lease {
            id: LeaseId::mint(now, self.deps.entropy.next_u128()),
            group: params.group,
            node,
            granted_by: caller.name(),
            at: now,
            expires_at: now.plus(life),
            expires_mono: mono + life,
            uses_left: params.uses,
        };
        let detail = json!({
            "group": lease.group, "node": lease.node, "expiresAt": lease.expires_at, "uses": lease.uses_left,
        });
        // Written down before it counts (S49).
        self.audit(caller, "node.lease.arm", &lease.id.to_string(), detail)
            .await?;
        self.nodes.live_leases(now, mono);
        let shown = self.lease_shown(&lease);
        if !self.nodes.arm(lease) {
            let message = format!("{LEASES_MAX} leases are armed already; end one first");
            return Err(Fault::new(Code::Conflict, message));
        }
        Ok(shown)
    }
}

impl Handle<NodeLeaseEnd> for Core {
    async fn handle(&self, caller: &Caller, params: LeaseEndParams) -> Result<LeasesPage, Fault> {
        // Ending always succeeds, so it comes before it is written down.
        let ended = self.nodes.end_leases(params.lease_id, params.group);
        for lease in &ended {
            let detail = json!({ "group": lease.group, "reason": "disarmed" });
            self.audit(caller, "node.lease.end", &lease.id.to_string(), detail)
                .await?;
        }
        Ok(self.leases_page())
    }
}
