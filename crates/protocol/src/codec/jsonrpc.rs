//! JSON-RPC 2.0: single calls, batches, notifications.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use adjutant_domain::code::Code;

use crate::codec::{
    BATCH_CALLS_MAX, Batch, Codec, Decoded, METHOD_BYTES_MAX, Outbound, REQUEST_ID_BYTES_MAX,
    Refused, Request, RequestId, empty_params, member, member_raw, quoted,
};
use crate::fault::{Fault, Retry};
use crate::gate;

/// JSON-RPC 2.0.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonRpc;

impl Codec for JsonRpc {
    fn decode(&self, bytes: &[u8]) -> Decoded {
        let text = match gate::check(bytes) {
            Ok(text) => text,
            Err(fault) => {
                return Decoded::one(Err(Refused {
                    id: RequestId::Null,
                    fault,
                }));
            }
        };
        if text.trim_start().starts_with('[') {
            decode_batch(text)
        } else {
            Decoded::one(decode_one(text))
        }
    }

    fn encode(&self, out: Outbound<'_>) -> String {
        let mut text = String::with_capacity(64);
        text.push_str("{\"jsonrpc\":\"2.0\"");
        match out {
            Outbound::Reply {
                id,
                result: Ok(result),
            } => {
                member_raw(&mut text, "id", &id.to_json());
                member_raw(&mut text, "result", result.get());
            }
            Outbound::Reply {
                id,
                result: Err(fault),
            }
            | Outbound::Failed { id, fault, .. } => {
                member_raw(&mut text, "id", &id.to_json());
                member_raw(&mut text, "error", &error(fault));
            }
            Outbound::Event { name, payload, .. } => {
                member_raw(&mut text, "method", &quoted(name));
                member_raw(&mut text, "params", payload.get());
            }
        }
        text.push('}');
        text
    }
}

impl JsonRpc {
    /// Joins answers to one batch answer; none when every request was a notification.
    #[must_use]
    pub fn join(replies: &[String]) -> Option<String> {
        if replies.is_empty() {
            None
        } else {
            Some(format!("[{}]", replies.join(",")))
        }
    }
}

fn error(fault: &Fault) -> String {
    let wire = fault.wire();
    let mut data = format!(
        "{{\"code\":\"{}\",\"retryable\":{}",
        wire.word,
        wire.retry != Retry::Never
    );
    if let Some(ms) = fault.retry_after_ms() {
        member(&mut data, "retryAfterMs", &ms);
    }
    if let Some(hint) = &fault.hint {
        member(&mut data, "hint", hint);
    }
    if let Some(trace) = &fault.trace_id {
        member(&mut data, "traceId", trace);
    }
    if let Some(details) = &fault.details {
        member(&mut data, "details", details);
    }
    data.push('}');
    format!(
        "{{\"code\":{},\"message\":{},\"data\":{data}}}",
        wire.rpc,
        quoted(&fault.message)
    )
}

fn refused(id: RequestId, reason: impl Into<String>) -> Refused {
    let reason = reason.into();
    Refused {
        id,
        fault: Fault::new(Code::InvalidRequest, format!("invalid request: {reason}")),
    }
}

fn decode_batch(text: &str) -> Decoded {
    let items: Vec<&RawValue> = match serde_json::from_str(text) {
        Ok(items) => items,
        Err(e) => return Decoded::one(Err(refused(RequestId::Null, e.to_string()))),
    };
    if items.is_empty() {
        return Decoded::one(Err(refused(RequestId::Null, "an empty batch")));
    }
    if items.len() > BATCH_CALLS_MAX {
        let reason = format!(
            "a batch of {} calls; at most {BATCH_CALLS_MAX}",
            items.len()
        );
        return Decoded::one(Err(refused(RequestId::Null, reason)));
    }
    Decoded::Batch(
        items
            .into_iter()
            .map(|item| decode_one(item.get()))
            .collect::<Batch>(),
    )
}

fn decode_one(text: &str) -> Result<Request, Refused> {
    if !text.trim_start().starts_with('{') {
        return Err(refused(RequestId::Null, "not an object"));
    }
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_str(text).map_err(|e| refused(RequestId::Null, e.to_string()))?;
    let id =
        match members.get("id") {
            None => None,
            Some(raw) => Some(decode_id(raw).ok_or_else(|| {
                refused(RequestId::Null, "`id` must be a string, a number or null")
            })?),
        };
    let reply_id = || id.clone().unwrap_or(RequestId::Null);
    if members.get("jsonrpc").map(|raw| raw.get()) != Some("\"2.0\"") {
        return Err(refused(reply_id(), "`jsonrpc` must be \"2.0\""));
    }
    if let Some(odd) = members
        .keys()
        .find(|k| !["jsonrpc", "id", "method", "params"].contains(&k.as_str()))
    {
        let odd: String = odd.chars().take(64).collect();
        return Err(refused(reply_id(), format!("unexpected member `{odd}`")));
    }
    let method: String = members
        .get("method")
        .and_then(|raw| serde_json::from_str(raw.get()).ok())
        .filter(|name: &String| !name.is_empty() && name.len() <= METHOD_BYTES_MAX)
        .ok_or_else(|| refused(reply_id(), "`method` must be a name"))?;
    let params = match members.get("params") {
        None => empty_params(),
        Some(raw) if raw.get().starts_with(['{', '[']) => (*raw).to_owned(),
        Some(_) => return Err(refused(reply_id(), "`params` must be an object")),
    };
    Ok(Request { id, method, params })
}

fn decode_id(raw: &RawValue) -> Option<RequestId> {
    if raw.get().len() > REQUEST_ID_BYTES_MAX {
        return None;
    }
    match serde_json::from_str(raw.get()).ok()? {
        serde_json::Value::Null => Some(RequestId::Null),
        serde_json::Value::Number(n) => Some(RequestId::Number(n)),
        serde_json::Value::String(text) => Some(RequestId::Text(text)),
        serde_json::Value::Bool(_) | serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
            None
        }
    }
}
