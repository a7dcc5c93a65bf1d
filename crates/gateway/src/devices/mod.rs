//! Devices: the texts that are derived and never stored, and who is told when one asks or is answered.

use adjutant_domain::access::{Role, Scopes};
use adjutant_domain::device::{NewToken, PairingRequest};
use adjutant_domain::id::{DeviceId, PairingId};
use adjutant_protocol::Caller;
use adjutant_protocol::events::devices::{
    DevicePairRequested, DevicePairResolved, PairResolvedEvent,
};
use adjutant_protocol::methods::devices::PendingPairing;
use adjutant_vault::{Secret, Token, digest};

pub(crate) use adjutant_protocol::events::devices::PairDecision as Decision;

use crate::core::Core;
use crate::socket::{Farewell, Outbox};

/// Digits of a code a person types: 40 bits. No I, L, O, U.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The token of a device for a role. It follows from the gateway's token and a random salt, so that it can be told again
/// and is stored nowhere.
pub(crate) fn device_token(
    token: &Token,
    device: &DeviceId,
    role: Role,
    salt: &str,
) -> Secret<String> {
    let parts = [device.as_str(), role.word(), salt];
    let bits = token.derive("device token", &parts);
    Secret::new(adjutant_vault::base64url(bits.expose()))
}

/// What both sides show while a request is open.
pub(crate) fn pairing_code(token: &Token, id: PairingId) -> String {
    let bits = token.derive("pairing code", &[&id.to_string()]);
    let number = bits.expose()[..5]
        .iter()
        .fold(0u64, |n, byte| n << 8 | u64::from(*byte));
    let mut code = String::with_capacity(9);
    for place in (0..8u32).rev() {
        let digit = usize::try_from(number >> (place * 5) & 31).unwrap_or_default();
        code.push(char::from(DIGITS[digit]));
        if place == 4 {
            code.push('-');
        }
    }
    code
}

/// A code as it was typed, in the form that [`pairing_code`] gives: case, hyphens, blanks and look-alikes do not matter.
pub(crate) fn plain_code(typed: &str) -> String {
    let mut code: String = typed
        .chars()
        .filter(|c| !matches!(c, '-' | ' '))
        .map(|c| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            c => c,
        })
        .collect();
    if code.len() == 8 && code.is_ascii() {
        code.insert(4, '-');
    }
    code
}

/// The beginning of a device's id, which is the hash of its key, in groups that can be read out.
pub(crate) fn fingerprint(device: &DeviceId) -> String {
    let groups: Vec<&str> = (0..8)
        .filter_map(|n| device.as_str().get(n * 4..n * 4 + 4))
        .collect();
    groups.join(":")
}

impl Core {
    /// A fresh token for a role.
    pub(crate) fn mint_token(&self, device: &DeviceId, role: Role, scopes: Scopes) -> NewToken {
        let salt = format!("{:032x}", self.deps.entropy.next_u128());
        let text = device_token(&self.deps.token, device, role, &salt);
        NewToken {
            role,
            scopes,
            digest: digest(text.expose().as_bytes()),
            salt,
        }
    }

    /// A request as approvers see it.
    pub(crate) fn pending(&self, request: &PairingRequest) -> PendingPairing {
        let ask = &request.ask;
        PendingPairing {
            request_id: request.id,
            device_id: ask.device.clone(),
            public_key: ask.public_key.clone(),
            display_name: ask.display_name.clone(),
            platform: Some(ask.platform.clone()),
            device_family: ask.device_family.clone(),
            client_id: Some(ask.client_id.clone()),
            client_mode: Some(ask.client_mode.clone()),
            role: Some(ask.role),
            roles: vec![ask.role],
            scopes: ask.scopes,
            caps: ask.claims.caps.iter().cloned().collect(),
            commands: ask.claims.commands.iter().cloned().collect(),
            remote_ip: ask.remote_ip.clone(),
            silent: false,
            is_repair: request.reason != adjutant_domain::device::PairingReason::NotPaired,
            reason: request.reason,
            code: pairing_code(&self.deps.token, request.id),
            fingerprint: fingerprint(&ask.device),
            expires_at_ms: request.expires_at,
            ts: request.created_at,
        }
    }

    /// Ends a connection whose device lost its role meanwhile.
    pub(crate) async fn cut_if_revoked(&self, caller: &Caller, outbox: &Outbox) {
        let Some(id) = &caller.device else { return };
        let device = self.deps.store.device(&caller.owner, id).await;
        let stays = device.is_ok_and(|device| {
            let token = device.as_ref().and_then(|device| device.token(caller.role));
            token.is_some_and(|token| token.revoked_at.is_none())
        });
        if !stays {
            outbox.cut(revoked());
        }
    }

    /// Tells approvers that a device asks.
    pub(crate) fn tell_requested(&self, request: &PairingRequest) {
        self.hub
            .broadcast::<DevicePairRequested>(&self.pending(request), None);
    }

    /// Tells approvers how a request was answered.
    pub(crate) fn tell_resolved(&self, id: &str, device: &DeviceId, decision: Decision) {
        let event = PairResolvedEvent {
            request_id: id.to_owned(),
            device_id: device.clone(),
            decision,
            ts: self.now(),
        };
        self.hub.broadcast::<DevicePairResolved>(&event, None);
    }
}

/// How connections of a device end whose credential was taken away.
pub(crate) fn revoked() -> Farewell {
    Farewell::new(4001, "device credentials changed")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_code_has_forty_bits_and_is_read_however_it_is_typed() {
        let token = Token::parse("Zk3vQ9xW1mB7tR5yL0aH2cJ4dF6gN8pS").unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for n in 0..200u128 {
            let code = pairing_code(&token, PairingId::from_u128(n));
            assert_eq!(code.len(), 9);
            assert_eq!(plain_code(&code), code);
            assert_eq!(plain_code(&code.to_lowercase().replace('-', " ")), code);
            seen.insert(code);
        }
        assert_eq!(seen.len(), 200);
        assert_eq!(plain_code("oIl0-abcd"), "0110-ABCD");
    }
}
