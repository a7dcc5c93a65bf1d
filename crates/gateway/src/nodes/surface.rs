//! What a node offers beyond what a person approved: held back, listed, approved or refused.

use serde_json::json;

use adjutant_domain::access::Scope;
use adjutant_domain::device::{Device, NodeClaims};
use adjutant_domain::id::DeviceId;
use adjutant_domain::time::Timestamp;
use adjutant_protocol::EventType as _;
use adjutant_protocol::events::nodes::{NodePairDecision, NodePairRequested, NodePairResolved};
use adjutant_protocol::methods::nodes::PendingSurface;

use super::{Nodes, Seat};
use crate::core::Core;

/// What a node offers, and nobody has approved.
#[derive(Debug, Clone)]
pub(crate) struct Surface {
    pub(crate) request: String,
    pub(crate) claims: NodeClaims,
    pub(crate) at: Timestamp,
    /// Whether a person has refused exactly this.
    pub(crate) refused: bool,
}

impl Nodes {
    /// The open request of this name.
    pub(crate) fn surface(&self, request: &str) -> Option<(DeviceId, Surface)> {
        let state = self.lock();
        let mut open = state.surfaces.iter().filter(|(_, it)| !it.refused);
        open.find(|(_, it)| it.request == request)
            .map(|(node, it)| (node.clone(), it.clone()))
    }

    /// Every open request.
    pub(crate) fn open_surfaces(&self) -> Vec<(DeviceId, Surface)> {
        let state = self.lock();
        let open = state.surfaces.iter().filter(|(_, it)| !it.refused);
        open.map(|(node, it)| (node.clone(), it.clone())).collect()
    }

    pub(crate) fn close_surface(&self, node: &DeviceId) {
        self.lock().surfaces.remove(node);
    }

    /// Refuses it; the same offer is not asked about again while this process lives.
    pub(crate) fn refuse_surface(&self, node: &DeviceId) {
        if let Some(surface) = self.lock().surfaces.get_mut(node) {
            surface.refused = true;
        }
    }
}

impl Core {
    /// Compares what a node offers with what was approved, and asks if there is more.
    pub(super) fn look_at_surface(&self, device: &Device, seat: &Seat) {
        let claims = &seat.session.claims;
        if claims.commands.is_subset(&device.claims.commands) {
            self.nodes.close_surface(&device.id);
            return;
        }
        let surface = {
            let mut state = self.nodes.lock();
            let before = state.surfaces.get(&device.id);
            if before.is_some_and(|it| it.claims.commands == claims.commands) {
                return;
            }
            let surface = Surface {
                request: self.uuid(),
                claims: claims.clone(),
                at: self.now(),
                refused: false,
            };
            state.surfaces.insert(device.id.clone(), surface.clone());
            surface
        };
        let pending = self.pending_surface(device, &surface);
        self.hub.broadcast::<NodePairRequested>(&pending, None);
    }

    /// A request as approvers see it.
    pub(crate) fn pending_surface(&self, device: &Device, surface: &Surface) -> PendingSurface {
        let client = self.nodes.seat(&device.id).map(|it| it.session.client);
        let mut scopes = vec![Scope::Pairing.word().to_owned()];
        if !surface.claims.are_harmless() {
            scopes.push(Scope::Admin.word().to_owned());
        }
        let new = surface.claims.commands.difference(&device.claims.commands);
        PendingSurface {
            request_id: surface.request.clone(),
            node_id: device.id.clone(),
            display_name: device
                .display_name
                .clone()
                .or_else(|| client.as_ref().and_then(|it| it.display_name.clone())),
            platform: client.as_ref().map(|it| it.platform.clone()),
            version: client.as_ref().map(|it| it.version.clone()),
            caps: surface.claims.caps.iter().cloned().collect(),
            commands: surface.claims.commands.iter().cloned().collect(),
            new_commands: new.cloned().collect(),
            required_approve_scopes: scopes,
            ts: surface.at,
        }
    }

    /// Tells approvers and the node how a request was answered.
    pub(crate) fn tell_surface(&self, node: &DeviceId, request: &str, decision: &str) {
        let payload = NodePairDecision {
            request_id: request.to_owned(),
            node_id: node.clone(),
            decision: decision.to_owned(),
            ts: self.now(),
        };
        self.hub.broadcast::<NodePairResolved>(&payload, None);
        if let Some(seat) = self.nodes.seat(node) {
            seat.say(NodePairResolved::SPEC.name, &json!(payload));
        }
    }
}
