//! Frames: `req`, `res`, `event`, closed shapes.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use adjutant_domain::code::Code;

use crate::codec::{
    Codec, Decoded, METHOD_BYTES_MAX, Outbound, REQUEST_ID_BYTES_MAX, Refused, Request, RequestId,
    empty_params, member, member_raw, quoted,
};
use crate::fault::Fault;
use crate::frames::Protocol;
use crate::gate;

/// The frame format, in one of its protocol versions.
#[derive(Debug, Clone, Copy)]
pub struct Frames {
    /// The version that was negotiated.
    pub protocol: Protocol,
}

impl Codec for Frames {
    fn decode(&self, bytes: &[u8]) -> Decoded {
        Decoded::one(decode_frame(bytes))
    }

    fn encode(&self, out: Outbound<'_>) -> String {
        let mut text = String::with_capacity(96);
        match out {
            Outbound::Reply {
                id,
                result: Ok(payload),
            } => {
                text.push_str("{\"type\":\"res\"");
                member_raw(&mut text, "id", &id.to_json());
                text.push_str(",\"ok\":true");
                member_raw(&mut text, "payload", payload.get());
            }
            Outbound::Reply {
                id,
                result: Err(fault),
            } => {
                self.failure(&mut text, id, fault);
            }
            Outbound::Failed { id, fault, payload } => {
                self.failure(&mut text, id, fault);
                member_raw(&mut text, "payload", payload.get());
            }
            Outbound::Event {
                name,
                payload,
                seq,
                state_version,
            } => {
                text.push_str("{\"type\":\"event\"");
                member_raw(&mut text, "event", &quoted(name));
                member_raw(&mut text, "payload", payload.get());
                if let Some(seq) = seq {
                    member(&mut text, "seq", &seq);
                }
                if let Some((presence, health)) = state_version {
                    let value = format!("{{\"presence\":{presence},\"health\":{health}}}");
                    member_raw(&mut text, "stateVersion", &value);
                }
            }
        }
        text.push('}');
        text
    }
}

impl Frames {
    fn failure(self, text: &mut String, id: &RequestId, fault: &Fault) {
        text.push_str("{\"type\":\"res\"");
        member_raw(text, "id", &id.to_json());
        text.push_str(",\"ok\":false");
        member_raw(text, "error", &self.error(fault));
    }

    fn error(self, fault: &Fault) -> String {
        let wire = fault.wire();
        let code = match (fault.code, self.protocol) {
            // Version 3 has no word of its own for it.
            (Code::Forbidden, Protocol::V3) => "INVALID_REQUEST",
            _ => wire.frames,
        };
        let mut text = format!(
            "{{\"code\":\"{code}\",\"message\":{}",
            quoted(&fault.message)
        );
        if let Some(details) = self.details(fault, code) {
            member(&mut text, "details", &details);
        }
        if fault.is_retryable() {
            text.push_str(",\"retryable\":true");
        }
        if let Some(ms) = fault.retry_after_ms() {
            member(&mut text, "retryAfterMs", &ms);
        }
        text.push('}');
        text
    }

    /// What the closed error shape has no member for: hint, trace, and our word where the code is a coarser one.
    fn details(self, fault: &Fault, code: &str) -> Option<Value> {
        let mut details = match fault.details.as_deref() {
            Some(Value::Object(map)) => map.clone(),
            Some(other) => return Some(other.clone()),
            None => serde_json::Map::new(),
        };
        let word = fault.wire().word;
        if word != code && fault.code != Code::UnknownMethod && !details.contains_key("code") {
            details.insert("code".to_owned(), Value::from(word));
        }
        if let Some(hint) = &fault.hint {
            details.insert("hint".to_owned(), Value::from(&**hint));
        }
        if let Some(trace) = &fault.trace_id {
            details.insert("traceId".to_owned(), Value::from(&**trace));
        }
        if details.is_empty() {
            None
        } else {
            Some(Value::Object(details))
        }
    }
}

const REQUEST_MEMBERS: [&str; 6] = [
    "type",
    "id",
    "method",
    "params",
    "traceparent",
    "expectedProfileId",
];

fn refused(id: Option<&str>, reason: impl std::fmt::Display) -> Refused {
    let id = RequestId::Text(id.unwrap_or("invalid").to_owned());
    Refused {
        id,
        fault: Fault::new(
            Code::InvalidRequest,
            format!("invalid request frame: {reason}"),
        ),
    }
}

fn decode_frame(bytes: &[u8]) -> Result<Request, Refused> {
    let text = gate::check(bytes).map_err(|fault| refused(None, fault.message))?;
    if !text.trim_start().starts_with('{') {
        return Err(refused(None, "not an object"));
    }
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_str(text).map_err(|e| refused(None, e))?;
    let string = |name: &str, bytes_max: usize| {
        members
            .get(name)
            .and_then(|raw| serde_json::from_str::<String>(raw.get()).ok())
            .filter(|value| !value.is_empty() && value.len() <= bytes_max)
    };
    let id = string("id", REQUEST_ID_BYTES_MAX);
    let id = id.as_deref();
    if members.get("type").map(|raw| raw.get()) != Some("\"req\"") {
        return Err(refused(id, "`type` must be \"req\""));
    }
    if let Some(odd) = members
        .keys()
        .find(|k| !REQUEST_MEMBERS.contains(&k.as_str()))
    {
        let odd: String = odd.chars().take(64).collect();
        return Err(refused(id, format!("unexpected property '{odd}'")));
    }
    let Some(id) = id else {
        return Err(refused(None, "must have required property 'id'"));
    };
    if members.contains_key("traceparent") && string("traceparent", 128).is_none() {
        return Err(refused(
            Some(id),
            "`traceparent` must be a text of at most 128 bytes",
        ));
    }
    let method = string("method", METHOD_BYTES_MAX)
        .ok_or_else(|| refused(Some(id), "must have required property 'method'"))?;
    let params = match members.get("params") {
        None => empty_params(),
        Some(raw) if raw.get() == "null" => empty_params(),
        Some(raw) => (*raw).to_owned(),
    };
    Ok(Request {
        id: Some(RequestId::Text(id.to_owned())),
        method,
        params,
    })
}
