//! The gateway's section of the configuration.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use adjutant_domain::time::Span;

/// The gateway's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// TCP port; 0 takes any free one. Needs a restart.
    pub port: u16,
    /// Address to listen on. One that other machines reach needs `allow_remote` and `tls`. Needs a restart.
    pub bind: IpAddr,
    /// Whether other machines may connect to the port. Without it `bind` is on loopback. Needs a restart.
    pub allow_remote: bool,
    /// How the port is encrypted.
    pub tls: adjutant_tls::Config,
    /// Web origins that may connect besides the gateway's own, exactly as a browser sends them: `https://panel.example:8443`.
    pub allowed_origins: Vec<String>,
    /// Host names and addresses by which the gateway may be addressed besides `localhost`, the address that was
    /// connected to and `tls.names`.
    pub allowed_hosts: Vec<String>,
    /// Addresses of proxies whose forwarding headers count. Everybody else's are refused, and nobody who comes from such
    /// an address is taken for a program of this machine.
    pub trusted_proxies: Vec<IpAddr>,
    /// A browser Control UI to serve besides.
    pub control_ui: ControlUiConfig,
    /// How fast work may be asked for.
    pub rate: RateConfig,
    /// How devices are let in.
    pub pairing: PairingConfig,
    /// What nodes may be asked.
    pub nodes: NodesConfig,
    /// Between two `tick` events, 1s to 5m.
    #[schemars(with = "String")]
    pub tick_interval: Span,
    /// Until when a connection must have shown its credential, 1s to 30s.
    #[schemars(with = "String")]
    pub handshake_timeout: Span,
    /// Connections at once, 16 to 10000.
    #[schemars(range(min = 16, max = 10_000))]
    pub connections_max: u32,
    /// Connections at once that have not shown a credential, 8 to 1024.
    #[schemars(range(min = 8, max = 1_024))]
    pub unauthenticated_max: u32,
    /// The same from one remote address, 1 to 1024. Loopback has only the total.
    #[schemars(range(min = 1, max = 1_024))]
    pub unauthenticated_per_source_max: u32,
    /// How long a new session lives; never ends by itself when absent.
    #[schemars(with = "Option<String>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_expiry: Option<Span>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 18_789,
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            allow_remote: false,
            tls: adjutant_tls::Config::default(),
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            control_ui: ControlUiConfig::default(),
            rate: RateConfig::default(),
            pairing: PairingConfig::default(),
            nodes: NodesConfig::default(),
            tick_interval: Span::from_secs(30),
            handshake_timeout: Span::from_secs(5),
            connections_max: 1_024,
            unauthenticated_max: 64,
            unauthenticated_per_source_max: 8,
            session_expiry: None,
        }
    }
}

/// A browser Control UI of the `OpenClaw` family, served as it is from a folder of its package.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ControlUiConfig {
    /// The folder with its `index.html`, as a full path (`…/node_modules/openclaw/dist/control-ui`). Nothing is served
    /// when absent. Whoever reaches the port can read what is in it, without a token. Needs a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
}

/// What nodes may be asked, beside what a person approved for each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NodesConfig {
    /// Commands and families that are let through without a lease, such as `location.get` or `browser.proxy`.
    pub allow: Vec<String>,
    /// Commands and families that are never let through. Wins over everything.
    pub deny: Vec<String>,
}

/// How devices are let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PairingConfig {
    /// Whether an operator's device on this machine that holds the gateway token is let in without a question. Never holds
    /// for nodes that offer a shell, a camera, a screen or a location, nor for what was revoked. Needs a restart.
    pub local_auto_approve: bool,
}

impl Default for PairingConfig {
    fn default() -> Self {
        Self {
            local_auto_approve: true,
        }
    }
}

/// How fast work may be asked for: `chat.send`, `agent` and `tools.call` together, per owner.
///
/// The default is far above what a person types, so that scripts of the owner are not held up; lower it when several
/// people or untrusted surfaces share a gateway (20 per minute with a burst of 10 is a good value then).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RateConfig {
    /// Refill, 1 to 1000000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_minute: u64,
    /// Most at once, 1 to 1000000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: u64,
}

impl Default for RateConfig {
    fn default() -> Self {
        Self {
            requests_per_minute: 600,
            burst: 300,
        }
    }
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`gateway.{key}`: {message}")]
pub struct Finding {
    /// Which setting, below `gateway`.
    pub key: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl Config {
    /// Checks ranges and combinations.
    #[must_use]
    pub fn check(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut found = |key: &str, message: String| {
            findings.push(Finding {
                key: key.to_owned(),
                message,
            });
        };
        if let Some(message) = self.exposure() {
            found("bind", message);
        }
        for it in self.tls.check() {
            found(&format!("tls.{}", it.key), it.message);
        }
        for origin in &self.allowed_origins {
            if !is_origin(origin) {
                let message = format!(
                    "`{origin}` is not an origin; write scheme, host and port: `https://panel.example:8443`"
                );
                found("allowed_origins", message);
            }
        }
        for host in &self.allowed_hosts {
            let address = host.parse::<IpAddr>().is_ok();
            if !address && (host.is_empty() || host.contains(['/', ':', '*', ' ', '@'])) {
                found(
                    "allowed_hosts",
                    format!("`{host}` is not a host name without port and pattern"),
                );
            }
        }
        if let Some(dir) = &self.control_ui.dir
            && !dir.is_absolute()
        {
            found(
                "control_ui.dir",
                format!("`{}` is not a full path", dir.display()),
            );
        }
        let spans = [
            ("tick_interval", self.tick_interval, 1, 300),
            ("handshake_timeout", self.handshake_timeout, 1, 30),
        ];
        for (key, span, min, max) in spans {
            if !(min..=max).contains(&span.duration().as_secs()) {
                found(key, format!("{span} is not between {min}s and {max}s"));
            }
        }
        let counts = [
            (
                "connections_max",
                u64::from(self.connections_max),
                16,
                10_000,
            ),
            (
                "unauthenticated_max",
                u64::from(self.unauthenticated_max),
                8,
                1_024,
            ),
            (
                "unauthenticated_per_source_max",
                u64::from(self.unauthenticated_per_source_max),
                1,
                1_024,
            ),
            (
                "rate.requests_per_minute",
                self.rate.requests_per_minute,
                1,
                1_000_000,
            ),
            ("rate.burst", self.rate.burst, 1, 1_000_000),
        ];
        for (key, n, min, max) in counts {
            if !(min..=max).contains(&n) {
                found(key, format!("{n} is not between {min} and {max}"));
            }
        }
        findings
    }

    /// What is missing before other machines may reach the address, in words; none when it is on loopback or nothing is
    /// missing. The token is not asked for here: there is no gateway without one (S1, S2).
    fn exposure(&self) -> Option<String> {
        if self.bind.is_loopback() {
            return None;
        }
        let missing = match (self.allow_remote, self.tls.is_on()) {
            (true, true) => return None,
            (false, true) => "`allow_remote = true`",
            (true, false) => "TLS, such as `tls.mode = \"self_signed\"`",
            (false, false) => "`allow_remote = true` and TLS, such as `tls.mode = \"self_signed\"`",
        };
        Some(format!(
            "{} is reachable from other machines, and that needs {missing}; or use 127.0.0.1 with an SSH tunnel or a proxy \
             with TLS on this machine",
            self.bind
        ))
    }
}

fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    matches!(scheme, "http" | "https")
        && !rest.is_empty()
        && rest == rest.to_ascii_lowercase()
        && !rest.contains(['/', '*', '@', '?', '#', ' '])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_on_loopback() {
        // covers: S1
        let config = Config::default();
        assert_eq!(config.check(), vec![]);
        assert!(config.bind.is_loopback());
    }

    #[test]
    fn an_address_that_others_reach_is_refused_with_the_way_out() {
        // covers: S1, D1
        for bind in ["0.0.0.0", "192.0.2.7", "::"] {
            let bind = bind.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            let findings = Config {
                bind,
                ..Config::default()
            }
            .check();
            assert_eq!(findings.len(), 1);
            assert!(
                findings
                    .iter()
                    .all(|f| f.key == "bind" && f.message.contains("127.0.0.1"))
            );
        }
    }

    #[test]
    fn an_address_that_others_reach_needs_tls_and_permission_and_names_what_is_missing() {
        // covers: S1, D1
        let said = |allow_remote: bool, mode: adjutant_tls::Mode| {
            let tls = adjutant_tls::Config {
                mode,
                ..adjutant_tls::Config::default()
            };
            let config = Config {
                bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                allow_remote,
                tls,
                ..Config::default()
            };
            config
                .check()
                .into_iter()
                .map(|it| it.message)
                .collect::<String>()
        };
        use adjutant_tls::Mode::{Off, SelfSigned};
        assert_eq!(said(true, SelfSigned), "");
        let (flag, tls) = ("allow_remote", "tls.mode");
        assert!(said(false, SelfSigned).contains(flag) && !said(false, SelfSigned).contains(tls));
        assert!(said(true, Off).contains(tls) && !said(true, Off).contains(flag));
        assert!(said(false, Off).contains(tls) && said(false, Off).contains(flag));
    }

    #[test]
    fn hosts_are_names_and_addresses_without_a_port() {
        let with = |host: &str| Config {
            allowed_hosts: vec![host.to_owned()],
            ..Config::default()
        };
        for good in ["box.lan", "192.0.2.7", "2001:db8::1"] {
            assert_eq!(with(good).check(), vec![], "{good}");
        }
        for bad in ["box.lan:1", "*.lan", "", "https://a"] {
            assert_eq!(with(bad).check().len(), 1, "{bad}");
        }
    }

    #[test]
    fn origins_are_exact() {
        // covers: S3
        for bad in [
            "*",
            "https://*.example",
            "https://a.example/",
            "a.example",
            "ftp://a.example",
            "https://A.example",
        ] {
            let config = Config {
                allowed_origins: vec![bad.to_owned()],
                ..Config::default()
            };
            assert_eq!(config.check().len(), 1, "{bad}");
        }
        let config = Config {
            allowed_origins: vec!["https://a.example:8443".to_owned()],
            ..Config::default()
        };
        assert_eq!(config.check(), vec![]);
    }

    #[test]
    fn the_folder_of_the_control_ui_is_a_full_path() {
        let folder = |dir: &str| Config {
            control_ui: ControlUiConfig {
                dir: Some(PathBuf::from(dir)),
            },
            ..Config::default()
        };
        assert_eq!(folder("/srv/ui").check(), vec![]);
        assert_eq!(folder("ui").check().len(), 1);
    }

    #[test]
    fn unknown_settings_are_refused() {
        assert!(serde_json::from_str::<Config>(r#"{"prot": 1}"#).is_err());
        assert!(serde_json::from_str::<Config>(r#"{"rate": {"rpm": 1}}"#).is_err());
    }
}
