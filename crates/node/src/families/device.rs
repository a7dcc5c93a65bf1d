//! `device.info`, `device.status`: what this machine is, and how it is.

use std::path::Path;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use crate::capability::{Capability, NodeFault, Offer, Order};
use crate::platform;

/// This machine.
pub(super) struct Device;

#[async_trait]
impl Capability for Device {
    fn family(&self) -> &'static str {
        "device"
    }

    fn offers(&self) -> Vec<Offer> {
        vec![Offer::reads("device.info"), Offer::reads("device.status")]
    }

    async fn invoke(&self, order: &Order) -> Result<Value, NodeFault> {
        match order.command.as_str() {
            "device.info" => Ok(info()),
            _ => Ok(status()),
        }
    }
}

fn info() -> Value {
    let mut info = Map::new();
    info.insert("name".to_owned(), json!(platform::host_name()));
    info.insert("platform".to_owned(), json!(std::env::consts::OS));
    info.insert("arch".to_owned(), json!(std::env::consts::ARCH));
    info.insert("kernel".to_owned(), json!(platform::kernel()));
    let os = line_of("/etc/os-release", "PRETTY_NAME=").map(|it| it.trim_matches('"').to_owned());
    info.insert("osVersion".to_owned(), json!(os));
    let model = first_line("/sys/class/dmi/id/product_name");
    info.insert("modelIdentifier".to_owned(), json!(model));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    info.insert("cpuCount".to_owned(), json!(cores));
    Value::Object(info)
}

fn status() -> Value {
    let memory = |name: &str| line_of("/proc/meminfo", name).and_then(|it| kilobytes(&it));
    let storage = platform::storage()
        .map(|it| json!({ "totalBytes": it.total_bytes, "availableBytes": it.available_bytes }));
    let uptime = first_line("/proc/uptime")
        .and_then(|it| it.split('.').next().and_then(|it| it.parse::<u64>().ok()));
    let load: Vec<f64> = first_line("/proc/loadavg")
        .map(|it| {
            it.split(' ')
                .take(3)
                .filter_map(|it| it.parse().ok())
                .collect()
        })
        .unwrap_or_default();
    json!({
        "battery": battery(Path::new("/sys/class/power_supply")),
        "memory": { "totalBytes": memory("MemTotal:"), "availableBytes": memory("MemAvailable:") },
        "storage": storage,
        "network": { "interfaces": interfaces(Path::new("/sys/class/net")) },
        "loadAverage": load,
        "uptimeSeconds": uptime,
    })
}

fn kilobytes(text: &str) -> Option<u64> {
    let number: u64 = text.split_whitespace().next()?.parse().ok()?;
    Some(number * 1_024)
}

fn first_line(path: impl AsRef<Path>) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

fn line_of(path: &str, start: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(start))?;
    Some(rest.trim().to_owned())
}

/// The first battery; none where there is none.
fn battery(folder: &Path) -> Option<Value> {
    let mut supplies: Vec<_> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(Result::ok)
        .collect();
    supplies.sort_by_key(std::fs::DirEntry::file_name);
    supplies.into_iter().find_map(|supply| {
        let read = |name: &str| first_line(supply.path().join(name));
        if read("type")? != "Battery" {
            return None;
        }
        let percent: u64 = read("capacity")?.parse().ok()?;
        let state = read("status").unwrap_or_default();
        Some(json!({ "level": percent, "charging": state == "Charging" || state == "Full" }))
    })
}

/// Interfaces that are up, the loopback left out.
fn interfaces(folder: &Path) -> Vec<String> {
    let mut up: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|it| first_line(it.path().join("operstate")).as_deref() == Some("up"))
        .map(|it| it.file_name().to_string_lossy().into_owned())
        .collect();
    up.sort();
    up.truncate(32);
    up
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_battery_is_read_and_its_absence_is_said() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(battery(dir.path()), None);
        for (supply, kind) in [("AC", "Mains"), ("BAT0", "Battery")] {
            let folder = dir.path().join(supply);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("type"), format!("{kind}\n")).unwrap();
            std::fs::write(folder.join("capacity"), "81\n").unwrap();
            std::fs::write(folder.join("status"), "Charging\n").unwrap();
        }
        assert_eq!(
            battery(dir.path()),
            Some(json!({ "level": 81, "charging": true }))
        );
    }

    #[test]
    fn this_machine_says_what_it_is() {
        let info = info();
        assert!(info["name"].as_str().is_some_and(|it| !it.is_empty()));
        assert!(
            status()["storage"]["totalBytes"]
                .as_u64()
                .is_some_and(|it| 0 < it)
        );
    }
}
