//! How `connect` is refused: what is said, and with which close code.

use std::time::Duration;

use serde_json::{Value, json};

use adjutant_domain::code::Code;
use adjutant_domain::device::{Device, PairingRequest, PairingState};
use adjutant_protocol::frames::{ConnectParams, Protocol};
use adjutant_protocol::{Fault, Role, Scope};

use crate::devices::{fingerprint, pairing_code};
use adjutant_vault::Token;

/// A refusal of `connect`.
pub(super) struct No {
    pub(super) fault: Fault,
    pub(super) code: u16,
    /// The close reason, where it says more than the message.
    pub(super) reason: Option<String>,
}

impl No {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            fault: Fault::new(Code::InvalidRequest, message),
            code: 1008,
            reason: None,
        }
    }

    pub(super) fn with(message: impl Into<String>, details: Value) -> Self {
        let mut no = Self::new(message);
        no.fault = no.fault.with_details(details);
        no
    }

    /// A fault inside the gateway, or of its store.
    pub(super) fn broken(fault: Fault) -> Self {
        Self {
            fault,
            code: 1011,
            reason: None,
        }
    }
}

pub(super) fn schema(reason: impl std::fmt::Display) -> No {
    No::new(format!("invalid connect params: {reason}"))
}

pub(super) fn protocol(params: &ConnectParams) -> No {
    let details = json!({
        "code": "PROTOCOL_MISMATCH",
        "expectedProtocol": Protocol::V4.number(),
        "clientMinProtocol": params.min_protocol,
        "clientMaxProtocol": params.max_protocol,
        "minimumProbeProtocol": Protocol::V3.number(),
    });
    let mut no = No::with("protocol mismatch", details);
    no.code = 1002;
    no
}

pub(super) fn device_required() -> No {
    let details = json!({ "code": "DEVICE_IDENTITY_REQUIRED" });
    let mut no = No::with("device identity required", details);
    no.fault.code = Code::NotPaired;
    no
}

pub(super) fn browser_device_required() -> No {
    let details = json!({ "code": "CONTROL_UI_DEVICE_IDENTITY_REQUIRED" });
    No::with("control ui requires device identity", details)
}

pub(super) fn origin() -> No {
    let details = json!({ "code": "CONTROL_UI_ORIGIN_NOT_ALLOWED" });
    No::with(
        "origin not allowed: a browser client must send one",
        details,
    )
}

/// What a client can do about a credential that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextStep {
    /// Try once more with the device's stored token.
    DeviceToken,
    /// Get another credential.
    Credentials,
}

pub(super) fn unauthorized(what: &str, code: &str, reason: &str, next: NextStep) -> No {
    let (retry, step) = match next {
        NextStep::DeviceToken => (true, "retry_with_device_token"),
        NextStep::Credentials => (false, "update_auth_credentials"),
    };
    let details = json!({
        "code": code,
        "authReason": reason,
        "canRetryWithDeviceToken": retry,
        "recommendedNextStep": step,
    });
    let mut no = No::with(format!("unauthorized: {what}"), details);
    no.fault.code = Code::Unauthorized;
    no
}

pub(super) fn scope_mismatch(scope: Scope) -> No {
    unauthorized(
        &format!("this device token does not cover {scope}"),
        "AUTH_SCOPE_MISMATCH",
        "scope_mismatch",
        NextStep::Credentials,
    )
}

pub(super) fn locked_out(left: Duration) -> No {
    let details = json!({
        "code": "AUTH_RATE_LIMITED", "authReason": "rate_limited", "recommendedNextStep": "wait_then_retry",
        "retryable": true,
    });
    let mut no = No::with(
        "unauthorized: too many failed attempts, try again later",
        details,
    );
    no.fault.code = Code::Unauthorized;
    no.fault = no.fault.with_retry_after(left);
    no
}

/// The device must be let in first; says how, in the words of the version.
pub(super) fn not_paired(
    protocol: Protocol,
    token: &Token,
    request: &PairingRequest,
    known: Option<&Device>,
) -> No {
    let (ask, why) = (&request.ask, request.reason);
    let mut details = json!({
        "code": "PAIRING_REQUIRED", "requestId": request.id, "reason": why.word(),
        "pairingCode": pairing_code(token, request.id), "fingerprint": fingerprint(&ask.device),
        "expiresAtMs": request.expires_at,
    });
    let rejected = request.state == PairingState::Rejected;
    let mut message = "pairing required".to_owned();
    let mut reason = None;
    if protocol == Protocol::V4 {
        let sentence = if rejected {
            "the request was rejected"
        } else {
            why.sentence()
        };
        message = format!("{message}: {sentence}");
        reason = Some(format!("{message} (requestId: {})", request.id));
        let more = json!({
            "deviceId": ask.device, "requestedRole": ask.role, "requestedScopes": ask.scopes,
            "remediationHint": format!("On the gateway's machine: adjutant pairing approve {}", request.id),
        });
        merge(&mut details, more);
        if let Some(known) = known {
            let has = json!({ "approvedRoles": known.roles, "approvedScopes": known.scopes });
            merge(&mut details, has);
        }
        // A machine that waits may look again by itself; a command should end and say what it was told.
        if ask.role == Role::Node && !rejected {
            merge(
                &mut details,
                json!({ "recommendedNextStep": "wait_then_retry", "pauseReconnect": false }),
            );
        }
    }
    let mut no = No::with(message, details);
    no.fault.code = Code::NotPaired;
    no.reason = reason;
    no
}

/// Too many requests wait; a person has to look at them first.
pub(super) fn too_many_requests(what: &str) -> No {
    let details = json!({ "code": "PAIRING_LIMIT", "recommendedNextStep": "wait_then_retry" });
    let mut no = No::with(
        format!("too many pairing requests: {what} is full"),
        details,
    );
    no.fault.code = Code::Unavailable;
    no.fault = no.fault.with_retry_after(Duration::from_secs(60));
    no
}

fn merge(into: &mut Value, more: Value) {
    if let (Some(into), Value::Object(more)) = (into.as_object_mut(), more) {
        into.extend(more);
    }
}
