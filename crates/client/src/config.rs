//! The `[client]` section of the configuration.

use adjutant_tls::Fingerprint;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::endpoint::Endpoint;

/// How commands reach gateways on other machines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Certificates by which gateways are known, as `host:port` and SHA-256 in hex with a space between:
    /// `"home.example:18789 9f86d0…"`. Such a gateway shows that certificate or none is accepted.
    pub pins: Vec<String>,
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Key below this section.
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Config {
    /// Checks every pin.
    #[must_use]
    pub fn check(&self) -> Vec<Finding> {
        let wrong = |pin: &&String| read(pin).is_none();
        self.pins
            .iter()
            .filter(wrong)
            .map(|pin| Finding {
                key: "pins",
                message: format!(
                    "`{pin}` is not a pin; write host, port and 64 hex digits: `home.example:18789 9f86d0…`"
                ),
            })
            .collect()
    }

    /// What is pinned for this gateway.
    #[must_use]
    pub fn pin_of(&self, endpoint: &Endpoint) -> Option<Fingerprint> {
        let Endpoint::Wss { url, .. } = endpoint else {
            return None;
        };
        let at = format!("{}:{}", url.host_str()?, url.port_or_known_default()?);
        self.pins
            .iter()
            .filter_map(|pin| read(pin))
            .find(|(host, _)| *host == at)
            .map(|(_, fingerprint)| fingerprint)
    }
}

fn read(pin: &str) -> Option<(String, Fingerprint)> {
    let (at, fingerprint) = pin.trim().split_once(char::is_whitespace)?;
    let (host, port) = at.rsplit_once(':')?;
    let right = !host.is_empty() && port.parse::<u16>().is_ok_and(|it| 0 < it);
    let fingerprint = Fingerprint::parse(fingerprint)?;
    right.then(|| (at.to_ascii_lowercase(), fingerprint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pin: &str) -> Config {
        Config {
            pins: vec![pin.to_owned()],
        }
    }

    #[test]
    fn a_pin_counts_for_its_host_and_port_alone() {
        let print = Fingerprint::of(b"certificate");
        let config = config(&format!("Home.example:443 {print}"));
        assert_eq!(config.check(), vec![]);
        let of = |text: &str| Endpoint::parse(text).ok().and_then(|it| config.pin_of(&it));
        assert_eq!(of("wss://home.example"), Some(print.clone()));
        assert_eq!(of("https://HOME.example:443/"), Some(print));
        assert_eq!(of("wss://home.example:444"), None);
        assert_eq!(of("wss://home.example.org"), None);
        assert_eq!(of("ws://localhost:443"), None);
    }

    #[test]
    fn half_a_pin_is_refused() {
        let print = "a".repeat(64);
        for bad in [
            print.clone(),
            format!("home.example {print}"),
            format!("home.example:0 {print}"),
            "home.example:1 abc".to_owned(),
            format!(":1 {print}"),
        ] {
            assert_eq!(config(&bad).check().len(), 1, "{bad}");
        }
    }
}
