//! Who is there.

use std::collections::{BTreeMap, BTreeSet};

use adjutant_domain::id::DeviceId;
use adjutant_domain::time::Timestamp;
use adjutant_protocol::frames::{ClientInfo, ClientMode};
use adjutant_protocol::methods::system::Presence;
use adjutant_protocol::{Caller, Role};

use super::{Hub, PRESENT_MAX};
use crate::socket::Farewell;

/// Who has come in.
pub(crate) struct Newcomer<'a> {
    pub(crate) client: &'a ClientInfo,
    pub(crate) caller: &'a Caller,
    pub(crate) at: Timestamp,
}

impl Hub {
    /// Lists a surface or a node among those present. Commands that come and go are not listed.
    pub(crate) fn welcome(&self, id: u64, newcomer: &Newcomer<'_>) {
        let Newcomer { client, caller, at } = *newcomer;
        let passing = matches!(
            client.mode,
            ClientMode::Cli | ClientMode::Probe | ClientMode::Backend
        );
        if passing {
            return;
        }
        let host = client.display_name.as_ref().unwrap_or(&client.id);
        let words = caller.scopes.words();
        let presence = Presence {
            ts: at,
            host: Some(host.clone()),
            version: Some(client.version.clone()),
            platform: Some(client.platform.clone()),
            device_family: client.device_family.clone(),
            mode: Some(client.mode.word().to_owned()),
            reason: Some("connect".to_owned()),
            text: Some(format!("{host} · mode {}", client.mode.word())),
            device_id: caller.device.as_ref().map(ToString::to_string),
            instance_id: client.instance_id.clone(),
            roles: Some(vec![caller.role.word().to_owned()]),
            scopes: (caller.role == Role::Operator)
                .then(|| words.into_iter().map(str::to_owned).collect()),
        };
        let mut state = self.lock();
        state.present.insert(id, presence);
        state.presence_version += 1;
        self.news.notify_one();
    }

    /// Ends every connection of a device, in one role or in all.
    pub(crate) fn cut_device(&self, device: &DeviceId, role: Option<Role>, farewell: &Farewell) {
        for subscriber in self.lock().subscribers.values() {
            let meant = subscriber.device.as_ref().is_some_and(|(id, as_role)| {
                id == device && role.is_none_or(|role| role == *as_role)
            });
            if meant {
                subscriber.outbox.cut(farewell.clone());
            }
        }
    }

    /// The devices that are connected, with their roles.
    pub(crate) fn connected_devices(&self) -> BTreeSet<(DeviceId, Role)> {
        let state = self.lock();
        let devices = state.subscribers.values().filter_map(|s| s.device.clone());
        devices.collect()
    }

    /// What is connected, at most [`PRESENT_MAX`]; a device or an installation once, however many connections it has.
    pub(crate) fn present(&self) -> Vec<Presence> {
        let mut entries: BTreeMap<String, Presence> = BTreeMap::new();
        for (id, presence) in &self.lock().present {
            let name = presence
                .device_id
                .as_ref()
                .or(presence.instance_id.as_ref());
            let key = name.cloned().unwrap_or_else(|| id.to_string());
            let mut entry = presence.clone();
            if let Some(older) = entries.remove(&key) {
                let mut roles = entry.roles.take().unwrap_or_default();
                roles.extend(older.roles.unwrap_or_default());
                roles.sort();
                roles.dedup();
                entry.roles = Some(roles);
            }
            entries.insert(key, entry);
        }
        let skip = entries.len().saturating_sub(PRESENT_MAX);
        entries.into_values().skip(skip).collect()
    }

    pub(crate) fn presence_version(&self) -> u64 {
        self.lock().presence_version
    }
}
