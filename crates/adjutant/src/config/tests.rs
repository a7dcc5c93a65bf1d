//! The machinery over a sample tree: verdict, key and place of many broken files, layers, and the write path.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use adjutant_domain::time::Span;
use adjutant_ports::config::{ConfigDoor, ConfigFault};

use super::key::KeyPath;
use super::load::{self, Finding, Sources, Tree};
use super::problem::{Fault, Place, Problem};
use super::replace;
use super::settings::Settings;

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Sample {
    gateway: Gateway,
    worker: Worker,
    models: BTreeMap<String, Model>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Gateway {
    /// Port of everything.
    port: u16,
    /// Address.
    bind: String,
    /// How to prove oneself.
    auth: Auth,
    /// Trusted.
    origins: Vec<String>,
    /// Idle time.
    idle: Span,
    /// Connection cap.
    #[schemars(range(min = 1, max = 1024), extend("x-live" = true))]
    connections_max: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Auth {
    mode: Mode,
    token: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// A token.
    #[default]
    Token,
    /// Nothing.
    Open,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Worker {
    runs_at_once: u32,
    #[schemars(range(min = 0.0, max = 1.0))]
    warn_at: f64,
    steal: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Model {
    base_url: String,
    max_tokens: Option<u64>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            port: 18789,
            bind: "127.0.0.1".to_owned(),
            auth: Auth::default(),
            origins: Vec::new(),
            idle: Span::from_secs(60),
            connections_max: 1024,
        }
    }
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            runs_at_once: 8,
            warn_at: 0.8,
            steal: true,
        }
    }
}

impl Tree for Sample {
    fn check(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.worker.runs_at_once == 0 {
            findings.push(Finding {
                key: KeyPath::parse("worker.runs_at_once").unwrap(),
                said: "must be at least 1: 0".to_owned(),
            });
        }
        findings
    }
}

fn sources(variables: &[(&str, &str)]) -> Sources {
    let variables = variables
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    Sources {
        file: "config.toml".into(),
        variables,
        flags: Vec::new(),
    }
}

fn problems(text: &str, variables: &[(&str, &str)]) -> Vec<Problem> {
    match load::load_text::<Sample>(text, &sources(variables)) {
        Ok(_) => Vec::new(),
        Err(error) => error.problems,
    }
}

fn verdict(problem: &Problem) -> String {
    let word = match &problem.fault {
        Fault::Syntax { .. } => "syntax".to_owned(),
        Fault::Duplicate => "twice".to_owned(),
        Fault::UnknownKey {
            nearest: Some(nearest),
        } => format!("unknown, near {nearest}"),
        Fault::UnknownKey { nearest: None } => "unknown".to_owned(),
        Fault::WrongValue { expected, .. } => format!("wants {expected}"),
        Fault::Nonsense { .. } => "nonsense".to_owned(),
        Fault::UnsetVariable { .. } => "unset".to_owned(),
        Fault::Unreadable { .. } => "unreadable".to_owned(),
    };
    let at = match &problem.place {
        Place::File { line, column, .. } => format!("{line}:{column}"),
        other => other.to_string(),
    };
    format!("{at} {} {word}", problem.key)
}

const GOOD: &str = r#"# The gateway.
[gateway]
port = 18790
bind = "0.0.0.0"
origins = ["https://a.example", "https://b.example"]
idle = "5m"
connections_max = 10

[gateway.auth]
mode = "open"

[worker]
runs_at_once = 4
warn_at = 0.5
steal = false

[models.fast]
base_url = "http://127.0.0.1:1"
max_tokens = 10
"#;

/// One line of the good file, what replaces it, and the verdict.
const MUTATIONS: &str = include_str!("mutations.tsv");

#[test]
fn a_good_file_passes() {
    assert_eq!(problems(GOOD, &[]), Vec::new());
    assert_eq!(problems("", &[]), Vec::new());
}

#[test]
fn every_mutated_file_is_refused_with_key_and_place() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for row in MUTATIONS
        .lines()
        .filter(|row| !row.starts_with("# ") || row.contains('\t'))
    {
        let [line, instead, expect] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("three columns: {row}");
        };
        let text = GOOD.replacen(line, instead, 1);
        assert_ne!(text, GOOD, "`{line}` is a line of the good file");
        let first = problems(&text, &[])
            .first()
            .map(verdict)
            .unwrap_or_default();
        if first != expect {
            wrong.push(format!(
                "{instead}\n  expected {expect}\n  found    {first}"
            ));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(60 <= count, "{count}");
}

#[test]
fn every_problem_is_reported_at_once() {
    let text = "[gateway]\nprot = 1\nbind = 2\n[worker]\nwarn_at = 3\n";
    let found: Vec<_> = problems(text, &[])
        .iter()
        .map(|it| it.key.to_string())
        .collect();
    assert_eq!(found, ["gateway.prot", "gateway.bind", "worker.warn_at"]);
}

#[test]
fn a_message_names_key_place_and_what_to_do() {
    let error = load::load_text::<Sample>("[gateway]\nprot = 1\nport = 70000\n", &sources(&[]))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "config.toml:2:1: unknown key `gateway.prot`\nhint: did you mean `gateway.port`?\n\
         config.toml:3:8: `gateway.port` must be an integer from 0 to 65535, found the integer 70000"
    );
}

#[test]
fn a_secret_is_not_repeated_in_a_message() {
    let text = "[gateway.auth]\ntoken = 12345\n";
    let error = load::load_text::<Sample>(text, &sources(&[])).unwrap_err();
    assert!(!error.to_string().contains("12345"), "{error}");
}

#[test]
fn the_environment_wins_over_the_file_and_flags_over_both() {
    let variables = [
        ("ADJUTANT_GATEWAY__PORT", "2"),
        ("ADJUTANT_GATEWAY__BIND", "true"),
        ("ADJUTANT_GATEWAY__AUTH__MODE", "open"),
        ("ADJUTANT_GATEWAY__ORIGINS", "[\"x\"]"),
        ("ADJUTANT_WORKER__RUNSATONCE", "3"),
        ("ADJUTANT_MODELS__FAST__BASE_URL", "u"),
        ("ADJUTANT_HOME", "/nowhere"),
        ("ADJUTANT_GATEWAY_TOKEN", "t"),
        ("ADJUTANT_TEST_GATEWAY__X", "t"),
        ("ADJUTANT_BENCH", "t"),
    ];
    let mut sources = sources(&variables);
    sources
        .flags
        .push(("gateway.connections_max".to_owned(), json!(7)));
    let text = "[gateway]\nport = 1\nconnections_max = 6\nidle = \"1h\"\n";
    let loaded = load::load_text::<Sample>(text, &sources).unwrap();
    let gateway = &loaded.tree.gateway;
    assert_eq!(
        (gateway.port, gateway.bind.as_str(), gateway.connections_max),
        (2, "true", 7)
    );
    assert_eq!(
        (gateway.auth.mode, gateway.origins.as_slice()),
        (Mode::Open, &["x".to_owned()][..])
    );
    assert_eq!(
        (loaded.tree.worker.runs_at_once, gateway.idle),
        (3, Span::from_secs(3600))
    );
    assert_eq!(
        loaded
            .tree
            .models
            .get("fast")
            .map(|it| it.base_url.as_str()),
        Some("u")
    );
}

#[test]
fn a_wrong_variable_is_refused_by_name() {
    let check = |name: &str, value: &str, expect: &str| {
        let found: Vec<_> = problems("", &[(name, value)]).iter().map(verdict).collect();
        assert_eq!(found, [expect]);
    };
    check(
        "ADJUTANT_GATEWAY__PROT",
        "1",
        "environment variable ADJUTANT_GATEWAY__PROT gateway.prot unknown, near gateway.port",
    );
    check(
        "ADJUTANT_GATEWAY__PORT",
        "many",
        "environment variable ADJUTANT_GATEWAY__PORT gateway.port wants an integer from 0 to 65535",
    );
    check(
        "ADJUTANT_GATEWAY_PORT",
        "1",
        "environment variable ADJUTANT_GATEWAY_PORT gateway.port nonsense",
    );
}

#[test]
fn a_wrong_value_is_refused_even_when_a_later_layer_hides_it() {
    let found = problems(
        "[gateway]\nport = 70000\n",
        &[("ADJUTANT_GATEWAY__PORT", "1")],
    );
    assert_eq!(found.len(), 1);
}

struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn with(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if !text.is_empty() {
            fs::write(folder.path().join("config.toml"), text).unwrap();
        }
        Self { folder }
    }

    fn open(&self, variables: &[(&str, &str)]) -> Settings<Sample> {
        let sources = Sources::usual(self.folder.path(), sources(variables).variables);
        Settings::open(sources, self.folder.path()).unwrap()
    }

    fn text(&self) -> String {
        fs::read_to_string(self.folder.path().join("config.toml")).unwrap()
    }

    fn backups(&self) -> Vec<String> {
        let folder = self.folder.path().join("backups/config");
        let paths = replace::backups(&folder).unwrap_or_default();
        paths
            .iter()
            .map(|path| fs::read_to_string(path).unwrap())
            .collect()
    }
}

#[test]
fn a_value_tells_its_layer_file_and_line() {
    let home = Home::with("\n[gateway]\nport = 5\n");
    let settings = home.open(&[("ADJUTANT_WORKER__STEAL", "false")]);
    let port = settings.explain("gateway.port").unwrap();
    assert_eq!(
        (port.layer.as_str(), port.line, port.value, port.default),
        ("file", Some(3), json!(5), json!(18789))
    );
    assert_eq!(
        (port.docs.as_str(), port.restart),
        ("Port of everything.", true)
    );
    let steal = settings.explain("worker.steal").unwrap();
    assert_eq!(
        (steal.layer.as_str(), steal.line, steal.value),
        ("environment", None, json!(false))
    );
    let cap = settings.explain("gateway.connections_max").unwrap();
    assert_eq!(
        (cap.layer.as_str(), cap.value, cap.restart),
        ("default", json!(1024), false)
    );
    let unknown = settings.explain("gateway.prot").unwrap_err();
    assert!(
        matches!(unknown, ConfigFault::UnknownKey { nearest: Some(near), .. } if near == "gateway.port")
    );
}

#[test]
fn a_set_value_keeps_comments_backs_up_and_closes_the_file_to_others() {
    let home = Home::with(GOOD);
    let settings = home.open(&[]);
    let change = settings
        .set("gateway.port", Some(json!(9)), Some(&settings.hash()))
        .unwrap();
    assert_eq!(
        (change.keys.as_slice(), &change.hash),
        (&["gateway.port".to_owned()][..], &settings.hash())
    );
    assert_eq!(change.needs_restart, ["gateway.port"]);
    assert_eq!(home.text(), GOOD.replace("port = 18790", "port = 9"));
    assert_eq!(home.backups(), [GOOD]);
    let mode = fs::metadata(settings.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(settings.get(Some("gateway.port")).unwrap(), json!(9));
    let live = settings
        .set("gateway.connections_max", Some(json!(5)), None)
        .unwrap();
    assert_eq!((live.keys.len(), live.needs_restart.len()), (1, 0));
    settings.set("gateway.port", None, None).unwrap();
    assert_eq!(settings.get(Some("gateway.port")).unwrap(), json!(18789));
    assert!(!home.text().contains("\nport"));
}

#[test]
fn the_first_setting_makes_the_file() {
    let home = Home::with("");
    let settings = home.open(&[]);
    settings
        .set(
            "models.fast.base_url",
            Some(json!("http://127.0.0.1:1")),
            None,
        )
        .unwrap();
    assert_eq!(
        home.text(),
        "[models.fast]\nbase_url = \"http://127.0.0.1:1\"\n"
    );
    assert_eq!(home.backups(), Vec::<String>::new());
}

#[test]
fn a_value_that_would_not_be_valid_changes_nothing() {
    let home = Home::with(GOOD);
    let settings = home.open(&[]);
    for (key, value) in [
        ("gateway.port", json!("x")),
        ("gateway.port", json!(70000)),
        ("gateway.port", json!(null)),
        ("worker.runs_at_once", json!(0)),
        ("gateway.bind", json!("${UNSET_VARIABLE}")),
        ("gateway.port.deeper", json!(1)),
    ] {
        let fault = settings.set(key, Some(value), None).unwrap_err();
        assert!(
            matches!(
                fault,
                ConfigFault::Invalid { .. } | ConfigFault::UnknownKey { .. }
            ),
            "{fault}"
        );
    }
    assert_eq!((home.text().as_str(), home.backups().len()), (GOOD, 0));
    assert_eq!(settings.current().tree.gateway.port, 18790);
}

#[test]
fn of_two_writers_with_one_base_one_wins_and_one_conflicts() {
    let home = Home::with(GOOD);
    let base = home.open(&[]).hash();
    let barrier = Barrier::new(2);
    let write = |port: u16| {
        let settings = home.open(&[]);
        barrier.wait();
        settings.set("gateway.port", Some(json!(port)), Some(&base))
    };
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(|| write(1));
        let two = scope.spawn(|| write(2));
        (one.join().unwrap(), two.join().unwrap())
    });
    let (winner, loser) = if one.is_ok() { (1, two) } else { (2, one) };
    assert!(
        matches!(loser, Err(ConfigFault::Conflict { .. })),
        "{loser:?}"
    );
    assert_eq!(
        home.text(),
        GOOD.replace("port = 18790", &format!("port = {winner}"))
    );
}

#[test]
fn twenty_backups_are_kept() {
    let home = Home::with(GOOD);
    let settings = home.open(&[]);
    for port in 0..25 {
        settings
            .set("gateway.port", Some(json!(port)), None)
            .unwrap();
    }
    let kept = home.backups();
    assert_eq!(kept.len(), replace::BACKUPS_MAX);
    assert!(kept.last().is_some_and(|text| text.contains("port = 23")));
}

#[test]
fn secrets_and_variables_are_shown_as_written() {
    let text = "[gateway]\nbind = \"${HERE}\"\n[gateway.auth]\ntoken = \"hunter2\"\n";
    let settings = Home::with(text).open(&[("HERE", "::1")]);
    assert_eq!(settings.current().tree.gateway.bind, "::1");
    let shown = settings.get(None).unwrap();
    assert_eq!(shown["gateway"]["bind"], json!("${HERE}"));
    assert_eq!(shown["gateway"]["auth"]["token"], json!("(hidden)"));
    assert_eq!(
        settings.explain("gateway.auth.token").unwrap().value,
        json!("(hidden)")
    );
}

#[test]
fn an_edited_text_is_checked_before_it_replaces_the_file() {
    let home = Home::with(GOOD);
    let settings = home.open(&[]);
    let base = settings.hash();
    assert!(matches!(
        settings.replace("port = 1\n", &base),
        Err(ConfigFault::Invalid { .. })
    ));
    assert!(matches!(
        settings.replace("", "other"),
        Err(ConfigFault::Conflict { .. })
    ));
    let change = settings.replace("[gateway]\nport = 4\n", &base).unwrap();
    assert!(
        change.keys.contains(&"models.fast".to_owned()),
        "{:?}",
        change.keys
    );
    assert_eq!(settings.text().unwrap(), "[gateway]\nport = 4\n");
}

#[test]
fn the_schema_is_of_2020_12_and_strict() {
    let schema = Home::with("").open(&[]).schema();
    assert_eq!(
        schema["$schema"],
        json!("https://json-schema.org/draft/2020-12/schema")
    );
    assert_eq!(schema["additionalProperties"], json!(false));
}
