//! Events and live signals as JSON-RPC notifications.

use serde_json::value::RawValue;

use adjutant_domain::event::Event;
use adjutant_ports::{Pulse, PulseKind};
use adjutant_protocol::methods::system::{DeltaKind, WireDelta, WireEvent};
use adjutant_protocol::{Codec as _, JsonRpc, Outbound};

pub(super) fn rpc_event(event: &Event) -> String {
    notification("event", &WireEvent::from(event.clone()))
}

pub(super) fn rpc_delta(pulse: &Pulse, seq: u64) -> String {
    let (kind, text, call_id) = match &pulse.kind {
        PulseKind::Text(text) => (DeltaKind::Text, text.to_string(), None),
        PulseKind::Thinking(text) => (DeltaKind::Thinking, text.to_string(), None),
        PulseKind::Reset => (DeltaKind::Reset, String::new(), None),
        PulseKind::Progress { call, text } => (
            DeltaKind::Progress,
            text.to_string(),
            Some(call.to_string()),
        ),
    };
    let session_key = pulse.session.as_str().to_owned();
    notification(
        "delta",
        &WireDelta {
            run_id: pulse.run_name.to_string(),
            session_key,
            seq,
            kind,
            text,
            call_id,
        },
    )
}

fn notification<T: serde::Serialize>(name: &str, params: &T) -> String {
    let payload =
        serde_json::value::to_raw_value(params).unwrap_or_else(|_e| RawValue::NULL.to_owned());
    JsonRpc.encode(Outbound::Event {
        name,
        payload: &payload,
        seq: None,
        state_version: None,
    })
}
