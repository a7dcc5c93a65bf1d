//! The three frame shapes, from the node's side.

use serde::Deserialize;
use serde_json::{Value, json};

/// What a gateway says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Said {
    /// Something happened, or is asked for.
    Event {
        event: String,
        #[serde(default)]
        payload: Value,
    },
    /// An answer.
    Res {
        id: String,
        ok: bool,
        #[serde(default)]
        payload: Value,
        #[serde(default)]
        error: Option<Refusal>,
    },
}

/// An error of the gateway.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refusal {
    #[serde(default)]
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) details: Value,
    #[serde(default)]
    pub(crate) retry_after_ms: Option<u64>,
}

impl Refusal {
    /// `details.code`, the finer word.
    pub(crate) fn detail(&self, name: &str) -> Option<&str> {
        self.details.get(name).and_then(Value::as_str)
    }
}

/// A request frame.
pub(crate) fn request(id: &str, method: &str, params: &Value) -> String {
    json!({ "type": "req", "id": id, "method": method, "params": params }).to_string()
}

/// `connect.challenge`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Challenge {
    pub(crate) nonce: String,
    #[serde(default)]
    pub(crate) ts: Option<i64>,
}

/// What the node reads of `hello-ok`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Hello {
    pub(crate) protocol: u32,
    #[serde(default)]
    pub(crate) auth: HelloAuth,
    #[serde(default)]
    pub(crate) policy: HelloPolicy,
}

/// What the node may do, and with which token next time.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HelloAuth {
    #[serde(default)]
    pub(crate) device_token: Option<String>,
}

impl std::fmt::Debug for HelloAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HelloAuth(…)")
    }
}

/// Bounds of the connection.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HelloPolicy {
    #[serde(default)]
    pub(crate) max_payload: Option<u64>,
    #[serde(default)]
    pub(crate) tick_interval_ms: Option<u64>,
}

/// `node.invoke.request`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InvokeRequest {
    pub(crate) id: String,
    pub(crate) node_id: String,
    pub(crate) command: String,
    #[serde(default, rename = "paramsJSON")]
    pub(crate) params_json: Option<String>,
    #[serde(default)]
    pub(crate) timeout_ms: Option<u64>,
    #[serde(default)]
    pub(crate) idempotency_key: Option<String>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn recorded_frames_of_three_releases_are_read() {
        let challenge = r#"{"type":"event","event":"connect.challenge","payload":{"nonce":"7dee","ts":1795252673472,"capabilities":["model-catalog-snapshot"]}}"#;
        let Said::Event { event, payload } = serde_json::from_str(challenge).unwrap() else {
            panic!("not an event");
        };
        assert_eq!(event, "connect.challenge");
        assert_eq!(
            Challenge::deserialize(&payload).unwrap().ts,
            Some(1_795_252_673_472)
        );

        let refused = r#"{"type":"res","id":"x","ok":false,"error":{"code":"NOT_PAIRED","message":"pairing required","details":{"code":"PAIRING_REQUIRED","requestId":"cc26","reason":"not-paired"}}}"#;
        let Said::Res { ok, error, .. } = serde_json::from_str(refused).unwrap() else {
            panic!("not an answer");
        };
        assert!(!ok);
        assert_eq!(error.unwrap().detail("requestId"), Some("cc26"));

        let invoke = r#"{"type":"event","event":"node.invoke.request","payload":{"id":"ec04","nodeId":"bfb1","command":"system.which","paramsJSON":"{\"bins\":[\"uname\"]}","timeoutMs":14990,"idempotencyKey":"8c5e"}}"#;
        let Said::Event { payload, .. } = serde_json::from_str(invoke).unwrap() else {
            panic!("not an event");
        };
        let request = InvokeRequest::deserialize(&payload).unwrap();
        assert_eq!(
            request.params_json.as_deref(),
            Some(r#"{"bins":["uname"]}"#)
        );
        assert_eq!(request.timeout_ms, Some(14_990));
    }
}
