//! The `[tools]` section of the configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use adjutant_domain::time::Span;

/// Settings of the built-in tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Longest result shown to the model, in bytes; the rest is cut with a mark that states the size.
    pub output_bytes: usize,
    /// Commands and programs.
    pub shell: Shell,
    /// Pages.
    pub web: Web,
}

/// Settings of `shell_run` and `code_run`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Shell {
    /// Time a command gets when the call does not say.
    pub timeout: Span,
    /// Most time a call may ask for.
    pub timeout_max: Span,
}

/// Settings of `web_fetch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Web {
    /// `host:port` pairs that may be fetched although they are not on the public internet.
    pub private_hosts: Vec<String>,
    /// Longest page, in bytes; the rest is not read.
    pub max_bytes: u64,
    /// Time for one page, redirects included.
    pub timeout: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            output_bytes: 16 << 10,
            shell: Shell::default(),
            web: Web::default(),
        }
    }
}

impl Default for Shell {
    fn default() -> Self {
        Self {
            timeout: Span::from_secs(120),
            timeout_max: Span::from_secs(600),
        }
    }
}

impl Default for Web {
    fn default() -> Self {
        Self {
            private_hosts: Vec::new(),
            max_bytes: 2 << 20,
            timeout: Span::from_secs(20),
        }
    }
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Key below this section.
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Config {
    /// Values that parse but make no sense; empty when the section is fine.
    #[must_use]
    pub fn check(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut within = |key: &'static str, ok: bool, rule: &str, found: String| {
            if !ok {
                findings.push(Finding {
                    key,
                    message: format!("must be {rule}: {found}"),
                });
            }
        };
        let second = Span::from_secs(1);
        let day = Span::from_secs(24 * 3600);
        let span_ok =
            |span: Span| second.duration() <= span.duration() && span.duration() <= day.duration();
        let bytes = self.output_bytes;
        within(
            "output_bytes",
            (1 << 10..=1 << 20).contains(&bytes),
            "between 1024 and 1048576",
            bytes.to_string(),
        );
        let shell = &self.shell;
        within(
            "shell.timeout",
            span_ok(shell.timeout),
            "between 1s and 1d",
            shell.timeout.to_string(),
        );
        within(
            "shell.timeout_max",
            span_ok(shell.timeout_max),
            "between 1s and 1d",
            shell.timeout_max.to_string(),
        );
        within(
            "shell.timeout_max",
            shell.timeout.duration() <= shell.timeout_max.duration(),
            "at least `shell.timeout`",
            shell.timeout_max.to_string(),
        );
        let web = &self.web;
        within(
            "web.timeout",
            span_ok(web.timeout),
            "between 1s and 1d",
            web.timeout.to_string(),
        );
        within(
            "web.max_bytes",
            (1 << 10..=64 << 20).contains(&web.max_bytes),
            "between 1024 and 67108864",
            web.max_bytes.to_string(),
        );
        for host in &web.private_hosts {
            within(
                "web.private_hosts",
                is_host_and_port(host),
                "`host:port`",
                format!("`{host}`"),
            );
        }
        findings
    }
}

fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let bare = !host.contains(['/', '@', ' ']);
        !host.is_empty() && bare && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_defaults_pass_the_check() {
        assert_eq!(Config::default().check(), Vec::new());
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(serde_json::from_str::<Config>(r#"{"shell":{"timeout":"30s"}}"#).is_ok());
        assert!(serde_json::from_str::<Config>(r#"{"shell":{"time_out":"30s"}}"#).is_err());
    }

    #[test]
    fn values_out_of_range_are_named_with_their_key() {
        let config: Config = serde_json::from_str(
            r#"{"output_bytes":10,"shell":{"timeout":"20m","timeout_max":"10m"},
                "web":{"private_hosts":["localhost","http://a:1","10.0.0.1:8080"]}}"#,
        )
        .unwrap();
        let keys: Vec<_> = config.check().into_iter().map(|it| it.key).collect();
        assert_eq!(
            keys,
            [
                "output_bytes",
                "shell.timeout_max",
                "web.private_hosts",
                "web.private_hosts"
            ]
        );
    }
}
