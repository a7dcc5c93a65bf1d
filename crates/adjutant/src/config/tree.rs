//! The tree: one line per section, and the two sections that belong to no other crate.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use adjutant_domain::agent::{AgentBudget, ApprovalPolicy, TrustLevel};
use adjutant_domain::id::AgentId;
use adjutant_domain::money::Micros;

use super::key::KeyPath;
use super::load::{Finding, Tree};

/// Settings of adjutant.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Where the gateway listens and whom it lets in.
    pub(crate) gateway: adjutant_gateway::Config,
    /// How workers drive runs.
    pub(crate) worker: adjutant_engine::Config,
    /// How long the store keeps what it need not keep for ever.
    pub(crate) store: adjutant_store::Config,
    /// Model providers: where they are, which keys they get, what they cost.
    pub(crate) providers: adjutant_providers::Config,
    /// The built-in tools.
    pub(crate) tools: adjutant_tools::Config,
    /// The walls around commands.
    pub(crate) sandbox: adjutant_sandbox::Config,
    /// Money caps for everything together.
    pub(crate) budget: BudgetConfig,
    /// This machine as a node: which gateway gets what of it.
    pub(crate) node: adjutant_node::Config,
    /// How commands reach gateways on other machines.
    pub(crate) client: adjutant_client::Config,
    /// The log.
    pub(crate) logging: adjutant_telemetry::Config,
    /// The default agent.
    pub(crate) agents: AgentDefaults,
}

/// Money caps. They hold together with those of an agent; the smaller one decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BudgetConfig {
    /// Dollars per local day, as text: `"2.50"`. Absent means no cap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) day: Option<Dollars>,
    /// Dollars per session. Absent means no cap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<Dollars>,
    /// Dollars per run. Absent means no cap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<Dollars>,
}

impl BudgetConfig {
    /// As caps for an agent that has none of its own.
    pub(crate) fn caps(&self) -> AgentBudget {
        AgentBudget {
            run_micros: self.run.map(|it| it.0),
            session_micros: self.session.map(|it| it.0),
            day_micros: self.day.map(|it| it.0),
        }
    }
}

/// An amount of money as people write it: dollars with at most six decimals, in quotes, so that no floating point
/// number comes near it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dollars(pub(crate) Micros);

impl fmt::Display for Dollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0.0 / 1_000_000, self.0.0 % 1_000_000);
        let decimals = format!("{rest:06}");
        let decimals = decimals.trim_end_matches('0');
        match decimals.len() {
            0 => write!(f, "{whole}"),
            1 => write!(f, "{whole}.{decimals}0"),
            _ => write!(f, "{whole}.{decimals}"),
        }
    }
}

impl Serialize for Dollars {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Dollars {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let amount = Micros::parse_dollars(&text).ok_or_else(|| {
            let shown: String = text.chars().take(32).collect();
            serde::de::Error::custom(format!(
                "`{shown}` is not an amount in dollars such as `2.50`"
            ))
        });
        amount.map(Self)
    }
}

impl JsonSchema for Dollars {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Dollars".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^\\$?[0-9]+(\\.[0-9]{1,6})?$" })
    }
}

/// Which agent answers when none is named, and how it is made on the first start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AgentDefaults {
    /// The agent that answers when none is named.
    pub(crate) default: AgentId,
    /// Its folder when it is made. Absent means `workspace` in the state directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) workspace: Option<String>,
    /// How much it may do when it is made, 1 to 5.
    pub(crate) trust_level: TrustLevel,
    /// When it asks, when it is made.
    pub(crate) approval_policy: ApprovalPolicy,
}

impl Default for AgentDefaults {
    fn default() -> Self {
        Self {
            default: AgentId::main(),
            workspace: None,
            // Commands run behind the walls, and everything beyond reading asks first.
            trust_level: TrustLevel::L4,
            approval_policy: ApprovalPolicy::AskNewTools,
        }
    }
}

impl AgentDefaults {
    fn check(&self) -> Vec<(&'static str, String)> {
        let mut findings = Vec::new();
        if self.approval_policy == ApprovalPolicy::Auto && self.trust_level != TrustLevel::L5 {
            let level = self.trust_level.number();
            findings.push((
                "approval_policy",
                format!("`auto` needs `trust_level = 5`: {level}"),
            ));
        }
        if self.workspace.as_deref() == Some("") {
            findings.push((
                "workspace",
                "must not be empty; leave it out instead".to_owned(),
            ));
        }
        findings
    }
}

impl Tree for Config {
    fn check(&self) -> Vec<Finding> {
        let mut all = Vec::new();
        let mut add = |section: &str, key: &str, said: String| {
            let text = format!("{section}.{key}");
            let key = KeyPath::parse(&text).unwrap_or_else(|| KeyPath::root().with(section));
            all.push(Finding { key, said });
        };
        for it in self.gateway.check() {
            add("gateway", &it.key, it.message);
        }
        for (key, said) in self.worker.check() {
            add("worker", key, said);
        }
        if let Err(it) = self.store.check() {
            let said = format!("must be between {} and {}: {}", it.min, it.max, it.found);
            add("store", it.key, said);
        }
        for it in self.providers.check() {
            add("providers", &it.key, it.message);
        }
        for it in self.tools.check() {
            add("tools", it.key, it.message);
        }
        for it in self.sandbox.check() {
            add("sandbox", it.key, it.message);
        }
        for it in self.node.check() {
            add("node", &it.key, it.message);
        }
        for it in self.client.check() {
            add("client", it.key, it.message);
        }
        for it in self.logging.check() {
            add("logging", it.key, it.message);
        }
        for (key, said) in self.agents.check() {
            add("agents", key, said);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use adjutant_ports::config::ConfigDoor;

    use super::*;
    use crate::config::{Settings, Sources};

    fn open(text: &str) -> Result<Config, String> {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("config.toml"), text).unwrap();
        let sources = Sources::usual(home.path(), std::collections::BTreeMap::new());
        let settings = Settings::open(sources, home.path()).map_err(|error| error.to_string())?;
        Ok(settings.current().tree.clone())
    }

    #[track_caller]
    fn check(text: &str, words: &[&str]) {
        let said = open(text).unwrap_err();
        for word in words {
            assert!(said.contains(word), "`{word}` is not in: {said}");
        }
    }

    #[test]
    fn the_defaults_are_valid_and_every_default_survives_its_text_form() {
        assert_eq!(Config::default().check(), Vec::new());
        let text = toml::to_string(&Config::default()).unwrap();
        let again = open(&text).unwrap();
        assert_eq!(
            serde_json::to_value(&again).unwrap(),
            serde_json::to_value(Config::default()).unwrap()
        );
    }

    #[test]
    fn every_section_refuses_an_unknown_key_with_its_place_and_the_nearest_one() {
        check(
            "[gateway]\nprot = 1\n",
            &["config.toml:2:1", "gateway.prot", "`gateway.port`"],
        );
        check(
            "[worker]\nrun_at_once = 1\n",
            &[":2:1", "`worker.runs_at_once`"],
        );
        check("[store]\nreader = 1\n", &[":2:1", "`store.readers`"]);
        check(
            "[providers.openai]\nbaseurl = 'x'\n",
            &[":2:1", "`providers.openai.base_url`"],
        );
        check(
            "[tools.web]\ntimout = '1s'\n",
            &[":2:1", "`tools.web.timeout`"],
        );
        check("[sandbox]\ndrivr = 'auto'\n", &[":2:1", "`sandbox.driver`"]);
        check("[budget]\nweek = '1'\n", &[":2:1", "budget.week"]);
        check("[node]\ngatewy = 'x'\n", &[":2:1", "`node.gateway`"]);
        check("[client]\npin = []\n", &[":2:1", "`client.pins`"]);
        check(
            "[gateway.tls]\nmoed = 'off'\n",
            &[":2:1", "`gateway.tls.mode`"],
        );
        check("[logging]\nlevle = 'info'\n", &[":2:1", "`logging.level`"]);
        check("[agents]\ndefalt = 'main'\n", &[":2:1", "`agents.default`"]);
    }

    #[test]
    fn every_section_refuses_a_value_out_of_range_with_its_place() {
        check(
            "[gateway]\nport = 70000\n",
            &[":2:8", "gateway.port", "0 to 65535"],
        );
        check(
            "[gateway]\nbind = '0.0.0.0'\n",
            &[":2:8", "gateway.bind", "TLS"],
        );
        check(
            "[gateway.tls]\nmode = 'files'\n",
            &["gateway.tls.certificate", "gateway.tls.key"],
        );
        check("[client]\npins = ['x']\n", &[":2:8", "client.pins"]);
        check("[gateway]\nbind = 'home'\n", &[":2:8", "gateway.bind"]);
        check(
            "[worker]\nruns_at_once = 0\n",
            &[":2:16", "worker.runs_at_once"],
        );
        check(
            "[store]\nreaders = 17\n",
            &[":2:11", "store.readers", "1 to 16"],
        );
        check(
            "[providers]\ntimeout = '0s'\n",
            &[":2:11", "providers.timeout"],
        );
        check(
            "[tools.shell]\ntimeout = '1ms'\n",
            &[":2:11", "tools.shell.timeout"],
        );
        check("[sandbox]\npids = 1\n", &[":2:8", "sandbox.pids"]);
        check(
            "[budget]\nday = '1.2.3'\n",
            &[":2:7", "budget.day", "dollars"],
        );
        check("[budget]\nday = 1.5\n", &[":2:7", "budget.day", "a string"]);
        check(
            "[logging]\nmax_bytes = 1\n",
            &[":2:13", "logging.max_bytes"],
        );
        check(
            "[agents]\ndefault = 'Not A Name'\n",
            &[":2:11", "agents.default"],
        );
        check(
            "[agents]\ntrust_level = 6\n",
            &[":2:15", "agents.trust_level", "1 to 5"],
        );
        check(
            "[agents]\napproval_policy = 'auto'\n",
            &[":2:19", "agents.approval_policy"],
        );
    }

    #[test]
    fn dollars_are_text_and_become_exact_caps() {
        let config = open("[budget]\nday = '2.50'\nrun = '$0.000001'\nsession = '3'\n").unwrap();
        let caps = config.budget.caps();
        assert_eq!(caps.day_micros, Some(Micros(2_500_000)));
        assert_eq!(caps.run_micros, Some(Micros(1)));
        let shown = serde_json::to_value(&config.budget).unwrap();
        assert_eq!(
            shown,
            serde_json::json!({ "day": "2.50", "session": "3", "run": "0.000001" })
        );
    }

    #[test]
    fn the_committed_schema_is_the_one_of_the_tree() {
        let home = tempfile::tempdir().unwrap();
        let sources = Sources::usual(home.path(), std::collections::BTreeMap::new());
        let schema = Settings::open(sources, home.path()).unwrap().schema();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schema/config.json");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        let wanted = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        assert!(
            committed == wanted,
            "schema/config.json is out of date: run `cargo xtask gen`"
        );
    }
}
